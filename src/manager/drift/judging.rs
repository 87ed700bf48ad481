//! From a sighting to what is told: the verdict, the words for the log, and what is due.

use serde::Serialize;

use super::super::agent::Agent;
use super::watches::Watching;
use super::words;
use crate::drift::{
    Answer, Cap, Case, Cause, Decision, Directive, Ledger, Level, Measure, Policy, Verdict, decide,
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
    let options = &watches.options;
    let verdict = watching.watch.verdict();
    let now_ms = committer.store_time_ms();
    tell(agent.id(), watching, &verdict, now_ms);
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
    announce(&case, &decision, &mut ledger, &mut watching.words);
    if decision.measure == Measure::Observe {
        let (agent_id, causes) = (agent.id().clone(), decision.causes.clone());
        let done = Policy::Observe;
        let answer = Answer { agent_id, at_ms: now_ms, causes, done, restored: None };
        // That it was found is said already; that more would have been done is not.
        if !decision.caps.is_empty() && !decision.told {
            let word = words::answer_in_words(&answer, verdict.observation, &decision.why);
            watching.words.push(word);
        }
        ledger.note(answer);
    }
    drop(ledger);
    if !watching.words.is_empty() {
        agent.manager().note_observed(&watches.seat(agent.id()));
    }
    Judged { verdict, decision, halted: watching.halted }
}

/// Says what was found since it was last said, and what is let go.
fn tell(agent: &AgentId, watching: &mut Watching, verdict: &Verdict, now_ms: u64) {
    let mut now = Vec::with_capacity(verdict.findings.len());
    for finding in &verdict.findings {
        let cause = Cause::of(finding);
        let before = watching.told.iter().find(|(known, _)| *known == cause);
        let before = before.map_or(Level::Ok, |(_, level)| *level);
        if finding.level > before {
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
}

/// Says once that a cause is shared.
fn announce(case: &Case<'_>, decision: &Decision, ledger: &mut Ledger, said: &mut Vec<What>) {
    let shared = decision.caps.iter().find_map(|cap| match cap {
        Cap::SharedCause { agents } => Some(*agents),
        _ => None,
    });
    let Some(agents) = shared.filter(|_| !decision.told) else { return };
    for cause in &decision.causes {
        ledger.announce(cause, case.now_ms);
        said.push(What::DriftShared {
            agent_id: case.agent.clone(),
            store_time_ms: case.now_ms,
            cause: words::cause_in_words(cause),
            agents,
        });
    }
}
