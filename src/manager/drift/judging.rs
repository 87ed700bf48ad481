//! From a sighting to what is told: the verdict, the words for the log, and what is due.

use serde::Serialize;

use super::super::agent::Agent;
use super::watches::Watching;
use super::words;
use crate::drift::policy::{Response, SharedCause};
use crate::drift::{
    Answer, Case, Cause, Decision, Directive, Ledger, Level, Measure, Options, Policy, Verdict,
    decide,
};
use crate::encode::event::What;
use crate::state::AgentId;

/// How an agent stands after it was observed, and what it is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Observed {
    /// How it stands, and why.
    pub verdict: Verdict,
    /// What it is told.
    pub directive: Directive,
    /// Something is to be done that has not been done: [`Agent::respond`] does it.
    pub due: bool,
}

/// A verdict with what follows from it.
pub(super) struct Judged {
    pub verdict: Verdict,
    pub decision: Decision,
    pub halted: bool,
}

impl Observed {
    /// Nothing is wrong and nothing is due.
    pub(super) fn fine(observation: u64) -> Self {
        let directive = Directive::Continue;
        Self { verdict: Verdict::ok(observation), directive, due: false }
    }
}

impl From<Judged> for Observed {
    fn from(judged: Judged) -> Self {
        let Judged { verdict, decision, halted } = judged;
        let directive = if halted { Directive::Stop } else { decision.directive() };
        let due = decision.strength().is_some_and(|done| done > Policy::Observe);
        Self { verdict, directive, due }
    }
}

/// Whether nothing needs to be said or decided at this level.
pub(super) fn is_quiet(watching: &Watching, level: Level) -> bool {
    level == Level::Ok && watching.told.is_empty() && !watching.halted
}

/// Judges how an agent stands. What is new is said with the next commit; what is only to be observed
/// is thereby done.
pub(super) fn judge(agent: &Agent, watching: &mut Watching) -> Judged {
    let committer = agent.committer();
    let watches = &committer.watches;
    let options = watches.options(agent.id());
    let verdict = watching.watch.verdict();
    let now_ms = committer.store_time_ms();
    let worse = tell(agent.id(), watching, &verdict, now_ms);
    let within = std::time::Duration::from_millis(options.shared_cause.within.as_ms());
    let active_agents = match verdict.level {
        Level::Ok => 1,
        Level::Suspect | Level::Drifting => watches.active_agents(committer, within).max(1),
    };
    let mut ledger = watches.ledger(committer);
    ledger.alarm(agent.id(), &verdict.findings, now_ms);
    let terminal = watching.terminal;
    let case = Case { agent: agent.id(), verdict: &verdict, terminal, active_agents, now_ms };
    let decision = decide(&case, &ledger, options);
    announce((&case, &options.shared_cause), &decision.causes, &mut ledger, &mut watching.words);
    if decision.measure == Measure::Observe {
        let (agent_id, causes) = (agent.id().clone(), decision.causes.clone());
        let done = Policy::Observe;
        let answer = Answer { agent_id, at_ms: now_ms, causes, done, restored: None };
        ledger.note(answer);
    }
    drop(ledger);
    if worse && options.response == Response::Observe {
        watching.words.extend(would_be_done(&case, options));
    }
    if !watching.words.is_empty() {
        agent.manager().note_observed(&watches.seat(agent.id()));
    }
    Judged { verdict, decision, halted: watching.halted }
}

/// What a dry run would have done, where that is more than an event.
fn would_be_done(case: &Case<'_>, options: &Options) -> Option<What> {
    let policy = Options { response: Response::Policy, ..options.clone() };
    let decision = decide(case, &Ledger::default(), &policy);
    let would = decision.strength().filter(|done| *done > Policy::Observe)?;
    let answer = Answer {
        agent_id: case.agent.clone(),
        at_ms: case.now_ms,
        causes: decision.causes,
        done: Policy::Observe,
        restored: None,
    };
    let why = format!(
        "drift.response = \"observe\", so nothing was done; else the answer were `{}`: {}",
        would.as_str(),
        decision.why
    );
    Some(words::answer_in_words(&answer, case.verdict.observation, &why))
}

/// Says what was found since it was last said, and what is let go; whether anything is worse than it
/// was.
fn tell(agent: &AgentId, watching: &mut Watching, verdict: &Verdict, now_ms: u64) -> bool {
    let mut worse = false;
    let mut now = Vec::with_capacity(verdict.findings.len());
    for finding in &verdict.findings {
        let cause = Cause::of(finding);
        let before = watching.told.iter().find(|(known, _)| *known == cause);
        let before = before.map_or(Level::Ok, |(_, level)| *level);
        if finding.level > before {
            worse = true;
            watching.words.push(words::found_in_words(agent, finding, now_ms));
        }
        now.push((cause, finding.level.max(before)));
    }
    let gone =
        watching.told.iter().filter(|(known, _)| now.iter().all(|(cause, _)| cause != known));
    let (agent_id, observation) = (agent.clone(), verdict.observation);
    watching.words.extend(gone.map(|(cause, _)| What::DriftCalmed {
        agent_id: agent_id.clone(),
        observation,
        cause: words::cause_in_words(cause),
    }));
    watching.told = now;
    worse
}

/// Says once of each cause that it is shared.
fn announce(
    (case, rule): (&Case<'_>, &SharedCause),
    causes: &[Cause],
    ledger: &mut Ledger,
    said: &mut Vec<What>,
) {
    for cause in causes {
        let sharing = ledger.sharing(cause, case.active_agents, case.now_ms, rule);
        let Some(agents) = sharing.filter(|_| !ledger.is_announced(cause, case.now_ms, rule))
        else {
            continue;
        };
        ledger.announce(cause, case.now_ms);
        said.push(What::DriftShared {
            agent_id: case.agent.clone(),
            store_time_ms: case.now_ms,
            cause: words::cause_in_words(cause),
            agents,
        });
    }
}
