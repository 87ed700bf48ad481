//! Decisions with a virtual clock: what is answered how, how often, and when it stops.

use super::*;
use crate::drift::choice::{Candidate, choose};
use crate::drift::ledger::Answer;
use crate::drift::policy::Policies;
use crate::drift::signals::catalogue::Signal;
use crate::drift::signals::{Evidence, Level};
use crate::state::{Digest, Kind, Span, Taint};

const MINUTE: u64 = 60_000;

fn finding(signal: Signal, level: Level, onset: u64, raised_at: u64) -> Finding {
    let evidence = Evidence { words: "because".into(), ..Evidence::default() };
    Finding { signal, subject: String::new(), level, onset, raised_at, evidence }
}

fn verdict(findings: Vec<Finding>) -> Verdict {
    let level = findings.iter().map(|it| it.level).max().unwrap_or_default();
    Verdict { level, observation: 1000, onset: None, findings }
}

/// A store with its agents, and a clock that is moved by hand.
struct Store {
    options: Options,
    ledger: Ledger,
    now_ms: u64,
    active: u64,
    terminal: bool,
}

impl Store {
    fn new() -> Self {
        let (options, ledger) = (Options::default(), Ledger::default());
        Self { options, ledger, now_ms: 1_000_000_000, active: 1, terminal: false }
    }

    fn decide(&mut self, agent: &str, findings: &[Finding]) -> Decision {
        let (agent, verdict) = (AgentId::new(agent).unwrap(), verdict(findings.to_vec()));
        self.ledger.alarm(&agent, findings, self.now_ms);
        let case = Case {
            agent: &agent,
            verdict: &verdict,
            terminal: self.terminal,
            active_agents: self.active,
            now_ms: self.now_ms,
        };
        decide(&case, &self.ledger, &self.options)
    }

    /// Decides and does it; a restore goes to the checkpoint `restored`.
    fn act(&mut self, agent: &str, findings: &[Finding], restored: Option<u64>) -> Decision {
        let decision = self.decide(agent, findings);
        if let Some(done) = decision.strength() {
            let restored = restored.filter(|_| done == Policy::Restore).map(Seq);
            let agent_id = AgentId::new(agent).unwrap();
            let causes = decision.causes.clone();
            self.ledger.note(Answer { agent_id, at_ms: self.now_ms, causes, done, restored });
        }
        decision
    }
}

fn measure(findings: &[Finding], change: impl FnOnce(&mut Store)) -> Measure {
    let mut store = Store::new();
    change(&mut store);
    store.options.check().unwrap();
    store.decide("a", findings).measure
}

#[test]
fn defaults_are_those_of_the_design() {
    let restore = Measure::Restore { onset: 900, tried: None };
    for (signal, level, expected) in [
        (Signal::StateFile, Level::Drifting, restore.clone()),
        (Signal::Invariant, Level::Drifting, restore.clone()),
        (Signal::Repetition, Level::Drifting, Measure::Checkpoint),
        (Signal::Stall, Level::Drifting, Measure::Checkpoint),
        (Signal::CrashLoop, Level::Drifting, Measure::Checkpoint),
        (Signal::Budget, Level::Drifting, Measure::Checkpoint),
        (Signal::Uptime, Level::Suspect, Measure::Checkpoint),
        (Signal::Metric, Level::Suspect, Measure::Observe),
        (Signal::Foreign, Level::Suspect, Measure::Observe),
        (Signal::Repetition, Level::Suspect, Measure::Observe),
        (Signal::Invariant, Level::Suspect, Measure::Observe),
    ] {
        assert_eq!(measure(&[finding(signal, level, 900, 950)], |_| {}), expected, "{signal}");
    }
    assert_eq!(measure(&[], |_| {}), Measure::Nothing);
}

#[test]
fn nothing_statistical_goes_back_unless_asked_and_never_on_a_terminal() {
    let redo = [finding(Signal::Redo, Level::Drifting, 900, 950)];
    let metric = [finding(Signal::Metric, Level::Suspect, 900, 950)];
    let restore = Measure::Restore { onset: 900, tried: None };
    let behaviour = |store: &mut Store| store.options.policies.behaviour = Policy::Restore;
    assert_eq!(measure(&redo, behaviour), Measure::Checkpoint);
    let asked = |store: &mut Store| store.options.response = Response::Restore;
    assert_eq!(measure(&redo, asked), restore);
    assert_eq!(measure(&metric, asked), restore);
    let on_terminal = |store: &mut Store| {
        store.options.response = Response::Restore;
        store.options.restores.on_terminal = true;
        store.terminal = true;
    };
    assert_eq!(measure(&redo, on_terminal), Measure::Checkpoint);
    assert_eq!(measure(&metric, on_terminal), Measure::Checkpoint);
    let invariant = [finding(Signal::Invariant, Level::Drifting, 900, 950)];
    assert_eq!(measure(&invariant, on_terminal), restore);
    assert_eq!(measure(&invariant, |store| store.terminal = true), Measure::Checkpoint);
}

#[test]
fn a_dry_run_only_observes() {
    let all: Vec<Finding> =
        Signal::ALL.map(|signal| finding(signal, Level::Drifting, 900, 950)).to_vec();
    let mut store = Store::new();
    store.options.response = Response::Observe;
    let decision = store.decide("a", &all);
    assert_eq!(decision.measure, Measure::Observe);
    assert_eq!(decision.causes.len(), all.len());
    assert_eq!(decision.directive(), Directive::Continue);
    store.options.response = Response::Restore;
    for (signal, family) in [(Signal::Budget, "budget"), (Signal::Cycles, "limit")] {
        let findings = [finding(signal, Level::Drifting, 900, 950)];
        assert_eq!(store.decide("a", &findings).measure, Measure::Checkpoint, "{family}");
    }
}

#[test]
fn a_cause_is_answered_once_and_again_only_by_more() {
    let mut store = Store::new();
    let suspect = [finding(Signal::Repetition, Level::Suspect, 900, 950)];
    let drifting = [finding(Signal::Repetition, Level::Drifting, 900, 950)];
    assert_eq!(store.act("a", &suspect, None).measure, Measure::Observe);
    assert_eq!(store.act("a", &suspect, None).measure, Measure::Nothing);
    assert_eq!(store.act("a", &drifting, None).measure, Measure::Checkpoint);
    for _ in 0..100 {
        store.now_ms += 10 * MINUTE;
        assert_eq!(store.act("a", &drifting, None).measure, Measure::Nothing);
    }
    let anew = [finding(Signal::Repetition, Level::Drifting, 990, 995)];
    assert_eq!(store.act("a", &anew, None).measure, Measure::Checkpoint, "raised anew");
    assert_eq!(store.act("b", &drifting, None).measure, Measure::Checkpoint, "another agent");
}

#[test]
fn all_findings_are_answered_by_the_strongest() {
    let mut store = Store::new();
    let both = [
        finding(Signal::Repetition, Level::Drifting, 800, 950),
        finding(Signal::Invariant, Level::Drifting, 900, 951),
        finding(Signal::Metric, Level::Suspect, 700, 940),
    ];
    let decision = store.act("a", &both, Some(5));
    assert_eq!(decision.measure, Measure::Restore { onset: 900, tried: None });
    assert_eq!((decision.causes.len(), decision.directive()), (3, Directive::Restore));
    assert!(decision.why.contains("invariant since observation 900: because"), "{}", decision.why);
    assert_eq!(store.act("a", &both, None).measure, Measure::Nothing);
}

#[test]
fn the_ladder_goes_one_further_back_each_time_and_then_asks() {
    let mut store = Store::new();
    let mut tried = Vec::new();
    let mut raised_at = 950;
    for restored in [7, 6, 5] {
        raised_at += 50;
        let broken = [finding(Signal::Invariant, Level::Drifting, raised_at - 5, raised_at)];
        let Measure::Restore { onset, tried: before } =
            store.act("a", &broken, Some(restored)).measure
        else {
            panic!("restore number {restored}")
        };
        assert_eq!(onset, raised_at - 5);
        tried.push(before.map(|seq| seq.0));
        let again = [finding(Signal::Invariant, Level::Drifting, raised_at, raised_at + 10)];
        let soon = store.act("a", &again, None).measure;
        assert_eq!(soon, Measure::Wait { until_ms: store.now_ms + 5 * MINUTE });
        store.now_ms += 5 * MINUTE;
    }
    assert_eq!(tried, [None, Some(7), Some(6)]);
    let broken = [finding(Signal::Invariant, Level::Drifting, 1300, 1310)];
    let end = store.act("a", &broken, None);
    assert_eq!((end.measure.clone(), end.directive()), (Measure::Halt, Directive::Stop));
    for part in
        ["3 restores, each one further back, did not help", "nothing was deleted", "drift mark"]
    {
        assert!(end.why.contains(part), "{}", end.why);
    }
    assert_eq!(store.act("a", &broken, None).measure, Measure::Nothing, "it asks once");
}

#[test]
fn a_restore_that_helped_ends_the_ladder() {
    let mut store = Store::new();
    for (raised_at, hours) in [(100, 0), (200, 3), (300, 3), (400, 3), (500, 3)] {
        store.now_ms += hours * 60 * MINUTE;
        let broken = [finding(Signal::Invariant, Level::Drifting, raised_at, raised_at)];
        let measure = store.act("a", &broken, Some(raised_at / 10)).measure;
        assert_eq!(measure, Measure::Restore { onset: raised_at, tried: None });
    }
}

#[test]
fn restores_within_an_hour_are_limited_for_the_agent_and_for_the_store() {
    let mut store = Store::new();
    store.options.restores.cool_down = Span::ZERO;
    store.options.restores.helped_after = Span::ZERO;
    store.active = 100;
    let broken = |at| [finding(Signal::Invariant, Level::Drifting, at, at)];
    let measures: Vec<Measure> =
        (1..=5).map(|at| store.act("a", &broken(at), None).measure).collect();
    assert!(measures[..4].iter().all(|measure| matches!(measure, Measure::Restore { .. })));
    assert_eq!(measures[4], Measure::Halt);
    for other in 0..6 {
        let measure = store.act(&format!("b{other}"), &broken(1), None).measure;
        assert!(matches!(measure, Measure::Restore { .. }), "{other}");
    }
    let late = store.act("c", &broken(1), None);
    assert_eq!(late.measure, Measure::Checkpoint);
    assert_eq!(late.caps, [Cap::StoreLimit { restores: 10 }]);
    store.now_ms += 61 * MINUTE;
    assert!(matches!(store.act("d", &broken(1), None).measure, Measure::Restore { .. }));
}

#[test]
fn fifty_agents_whose_provider_is_down_are_told_of_once() {
    let mut store = Store::new();
    store.active = 50;
    store.options.policies.behaviour = Policy::Restore;
    let mut events = 0;
    let mut restored = 0;
    for agent in 0..50 {
        store.now_ms += 2000;
        let name = format!("agent-{agent}");
        let down = [finding(Signal::ErrorStreak, Level::Drifting, 90, 98)];
        let decision = store.act(&name, &down, Some(3));
        restored += u64::from(matches!(decision.measure, Measure::Restore { .. }));
        if let [Cap::SharedCause { .. }] = decision.caps[..] {
            assert_eq!(decision.measure, Measure::Checkpoint);
            events += u64::from(!decision.told);
            store.ledger.announce(&decision.causes[0], store.now_ms);
        }
    }
    assert_eq!(events, 1);
    assert!(restored <= 10, "no more than the store's limit before it is plain: {restored}");
}

#[test]
fn three_of_fifty_and_two_of_two_do_not_share_a_cause() {
    for (active, agents, shared) in [(50, 3, false), (50, 13, true), (2, 2, false), (8, 3, true)] {
        let mut store = Store::new();
        store.active = active;
        let down = [finding(Signal::Stall, Level::Drifting, 90, 98)];
        let last = (0..agents).map(|n| store.act(&format!("a{n}"), &down, None)).last().unwrap();
        assert_eq!(!last.caps.is_empty(), shared, "{agents} of {active}");
        store.now_ms += 6 * MINUTE;
        let later = store.act("late", &down, None);
        assert!(later.caps.is_empty(), "what was more than five minutes ago does not count");
    }
}

#[test]
fn limits_refresh_and_never_go_back() {
    let mut policies = Policies { limit: Policy::Restart, ..Policies::default() };
    policies.check().unwrap();
    let old = [finding(Signal::Uptime, Level::Suspect, 1001, 1000)];
    assert_eq!(measure(&old, |store| store.options.policies = policies), Measure::Restart);
    policies.limit = Policy::Restore;
    let error = policies.check().unwrap_err().to_string();
    assert!(error.contains("drift.policies.limit") && error.contains("refreshes"), "{error}");
}

/// An agent that breaks an invariant ten observations after each start, for as long as it is let.
#[test]
fn an_agent_that_drifts_again_and_again_comes_to_rest() {
    let mut store = Store::new();
    let candidate = |seq: u64| Candidate {
        seq: Seq(seq),
        kind: Kind::Routine,
        observation: Some(seq * 10),
        sound: true,
        taint: Taint::None,
        before_reset: false,
        digest: Digest::of(&seq.to_le_bytes()),
    };
    let mut line: Vec<Candidate> = (1..=20).map(candidate).collect();
    let (mut number, mut restores, mut halted) = (205, Vec::new(), 0);
    for _ in 0..10_000 {
        store.now_ms += MINUTE / 10;
        let broken = [finding(Signal::Invariant, Level::Drifting, number - 5, number)];
        match store.decide("a", &broken).measure {
            Measure::Restore { onset, tried } => {
                let choice = choose(&line, onset, tried);
                let chosen = choice.chosen.unwrap();
                store.act("a", &broken, Some(chosen.0));
                for candidate in &mut line {
                    if choice.taints.contains(&candidate.seq) {
                        candidate.taint = Taint::Marked;
                    }
                }
                restores.push(chosen.0);
                number += 10;
            }
            Measure::Halt => {
                store.act("a", &broken, None);
                halted += 1;
            }
            Measure::Nothing | Measure::Wait { .. } => {}
            measure => panic!("{measure:?}"),
        }
    }
    assert_eq!((restores, halted), (vec![19, 18, 17], 1));
}
