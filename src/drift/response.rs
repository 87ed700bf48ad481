//! From a verdict to what is done about it.
//!
//! A policy says for each family of signals how strong the answer is; each answer includes the weaker
//! ones: *observe* writes an event, *checkpoint* takes a recovery checkpoint and calls the hook,
//! *restart* starts the agent again as it is, *restore* goes back to a checkpoint from before the
//! onset, *halt* stops the agent and asks a human. Findings that are not bad enough yet are observed.
//! Answered are all findings at once, by the strongest answer.
//!
//! What keeps that in bounds, in this order:
//!
//! 1. A cause is answered once, and again only where a stronger answer is due.
//! 2. With `response = "observe"` everything is a dry run. With `response = "policy"` nothing
//!    statistical is answered by more than a checkpoint; with `"restore"` everything that can be
//!    undone by going back is answered so.
//! 3. Where there is a terminal nothing is answered by more than a checkpoint unless `on_terminal`
//!    asks for it, and nothing statistical ever.
//! 4. When more than a share of the active agents alarm on the same within a time, the cause is
//!    shared (a provider is down): one event, and nothing more than a checkpoint.
//! 5. Restores of the store within an hour are limited; beyond, nothing more than a checkpoint.
//! 6. After a restore or a restart the agent is left alone for a while; then it is asked again.
//! 7. Restores of the agent within an hour are limited, and so are those for the like of one cause
//!    that did not help, each of which goes one checkpoint further back; beyond, the agent is halted.
//!
//! Times are those of the store, in milliseconds.

use serde::{Deserialize, Serialize};

use super::Options;
use super::ledger::{Cause, Ledger, Rung};
use super::policy::{Policy, Response};
use super::verdict::{Finding, Verdict};
use crate::state::{AgentId, Seq};

/// Why an answer is weaker than the policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Cap {
    /// It is a dry run.
    DryRun,
    /// It is statistical.
    Statistical,
    /// There is a terminal.
    Terminal,
    /// So many agents alarm on the same.
    SharedCause {
        /// How many.
        agents: u64,
    },
    /// Agents of the store were restored so often within an hour.
    StoreLimit {
        /// How often.
        restores: u64,
    },
}

impl std::fmt::Display for Cap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DryRun => f.write_str("only observed, as drift.response asks"),
            Self::Statistical => f.write_str(
                "it may be chance, so nothing goes back without drift.response = \"restore\"",
            ),
            Self::Terminal => f.write_str("the agent has a terminal"),
            Self::SharedCause { agents } => {
                write!(f, "{agents} agents alarm on the same, so the cause is not the agent's")
            }
            Self::StoreLimit { restores } => {
                write!(f, "{restores} restores of this store within an hour are the limit")
            }
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Measure {
    /// Nothing: nothing is wrong, or it is answered.
    Nothing,
    /// An event.
    Observe,
    /// An event, a recovery checkpoint, the hook.
    Checkpoint,
    /// Ask again then: the agent is left alone after its last restore or restart.
    Wait {
        /// When, by the store's time.
        until_ms: u64,
    },
    /// Start the agent again as it is.
    Restart,
    /// Go back.
    Restore {
        /// To before this observation.
        onset: u64,
        /// And behind this checkpoint, which was tried.
        tried: Option<Seq>,
    },
    /// Stop the agent and ask a human.
    Halt,
}

/// What the agent is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Directive {
    /// Go on.
    Continue,
    /// You are about to be restored: stop and start from what is given to you.
    Restore,
    /// Stop.
    Stop,
}

/// A decision, with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Decision {
    /// What is to be done.
    pub measure: Measure,
    /// What it answers; to be written down with what was done.
    pub causes: Vec<Cause>,
    /// Why the answer is weaker than the policy says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<Cap>,
    /// The cause is shared and was told of already: no event of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
    /// Why, in sentences for a person.
    pub why: String,
}

impl Decision {
    fn nothing() -> Self {
        let (causes, caps) = (Vec::new(), Vec::new());
        Self { measure: Measure::Nothing, causes, caps, told: false, why: String::new() }
    }

    /// What the agent is told.
    #[must_use]
    pub fn directive(&self) -> Directive {
        match self.measure {
            Measure::Restore { .. } => Directive::Restore,
            Measure::Restart | Measure::Halt => Directive::Stop,
            Measure::Nothing | Measure::Observe | Measure::Checkpoint | Measure::Wait { .. } => {
                Directive::Continue
            }
        }
    }

    /// How strong the answer is; none where there is none yet.
    #[must_use]
    pub fn strength(&self) -> Option<Policy> {
        match self.measure {
            Measure::Nothing | Measure::Wait { .. } => None,
            Measure::Observe => Some(Policy::Observe),
            Measure::Checkpoint => Some(Policy::Checkpoint),
            Measure::Restart => Some(Policy::Restart),
            Measure::Restore { .. } => Some(Policy::Restore),
            Measure::Halt => Some(Policy::Halt),
        }
    }

    /// The decision where a restore found nothing to go back to: the agent is halted.
    #[must_use]
    pub fn nowhere_to_go(mut self) -> Self {
        self.measure = Measure::Halt;
        self.why.push_str("; no sound checkpoint from before the onset is left to go back to");
        self.why.push_str(ASK);
        self
    }
}

/// What a human can do.
const ASK: &str = ". The agent is stopped; nothing was deleted. `stateward drift` shows what is \
    there, `stateward restore REF` goes back by hand, `stateward drift mark REF good` says what is good";

/// Whose verdict it is, and when.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// Whose.
    pub agent: &'a AgentId,
    /// How the agent stands.
    pub verdict: &'a Verdict,
    /// It has a terminal.
    pub terminal: bool,
    /// Agents of the store that are at work, this one included.
    pub active_agents: u64,
    /// The store's time.
    pub now_ms: u64,
}

/// Decides what is to be done; [`Ledger::alarm`] comes first, [`Ledger::note`] after it was done.
#[must_use]
pub fn decide(case: &Case<'_>, ledger: &Ledger, options: &Options) -> Decision {
    let wanted: Vec<Wanted<'_>> = case
        .verdict
        .findings
        .iter()
        .map(|finding| Wanted::of(finding, case, ledger, options))
        .filter(|wanted| wanted.is_news(case, ledger))
        .collect();
    let Some(strongest) = wanted.iter().max_by_key(|wanted| wanted.policy) else {
        return Decision::nothing();
    };
    let mut decision = Decision {
        measure: Measure::Observe,
        causes: wanted.iter().map(|wanted| wanted.cause.clone()).collect(),
        caps: strongest.caps.clone(),
        told: wanted.iter().all(|wanted| wanted.told),
        why: strongest.words(),
    };
    decision.measure = match strongest.policy {
        Policy::Observe => Measure::Observe,
        Policy::Checkpoint => Measure::Checkpoint,
        Policy::Restart | Policy::Restore => strongest.intervene(case, ledger, options),
        Policy::Halt => Measure::Halt,
    };
    if decision.measure == Measure::Halt {
        decision.why.push_str(&strongest.end_of_the_ladder(case, ledger, options));
        decision.why.push_str(ASK);
    }
    decision
}

/// The answer that one finding asks for.
struct Wanted<'a> {
    finding: &'a Finding,
    cause: Cause,
    policy: Policy,
    caps: Vec<Cap>,
    told: bool,
}

impl<'a> Wanted<'a> {
    fn of(finding: &'a Finding, case: &Case<'_>, ledger: &Ledger, options: &Options) -> Self {
        let policy = options.wish(finding);
        let cause = Cause::of(finding);
        let mut wanted = Self { finding, cause, policy, caps: Vec::new(), told: false };
        let statistical = finding.signal.is_statistical();
        if options.response == Response::Observe {
            wanted.cap(Policy::Observe, Cap::DryRun);
        }
        if statistical && options.response != Response::Restore {
            wanted.cap(Policy::Checkpoint, Cap::Statistical);
        }
        if case.terminal && (statistical || !options.restores.on_terminal) {
            wanted.cap(Policy::Checkpoint, Cap::Terminal);
        }
        let rule = &options.shared_cause;
        let sharing = ledger.sharing(&wanted.cause, case.active_agents, case.now_ms, rule);
        if let Some(agents) = sharing {
            wanted.told = ledger.is_announced(&wanted.cause, case.now_ms, rule);
            wanted.caps.push(Cap::SharedCause { agents });
            wanted.policy = wanted.policy.min(Policy::Checkpoint);
        }
        let (_, restores) = ledger.restores_of_the_hour(case.agent, case.now_ms);
        if wanted.policy == Policy::Restore && restores >= options.restores.per_hour_store {
            wanted.cap(Policy::Checkpoint, Cap::StoreLimit { restores });
        }
        wanted
    }

    fn cap(&mut self, most: Policy, why: Cap) {
        if self.policy > most {
            self.policy = most;
            self.caps.push(why);
        }
    }

    /// Whether the cause has had no answer as strong as this.
    fn is_news(&self, case: &Case<'_>, ledger: &Ledger) -> bool {
        ledger.answered(case.agent, &self.cause).is_none_or(|answered| answered < self.policy)
    }

    /// Restart or restore, if it is time and not too often.
    fn intervene(&self, case: &Case<'_>, ledger: &Ledger, options: &Options) -> Measure {
        if let Some(until_ms) = ledger.cooling_until(case.agent, case.now_ms, &options.restores) {
            return Measure::Wait { until_ms };
        }
        if self.policy == Policy::Restart {
            return Measure::Restart;
        }
        let Rung { restores, tried } = self.rung(case, ledger, options);
        let (own, _) = ledger.restores_of_the_hour(case.agent, case.now_ms);
        if restores >= options.restores.rungs_max || own >= options.restores.per_hour_agent {
            return Measure::Halt;
        }
        Measure::Restore { onset: self.finding.onset, tried }
    }

    fn rung(&self, case: &Case<'_>, ledger: &Ledger, options: &Options) -> Rung {
        ledger.rung(case.agent, &self.cause, case.now_ms, &options.restores)
    }

    fn words(&self) -> String {
        let Finding { signal, subject, onset, evidence, .. } = self.finding;
        let subject = if subject.is_empty() { String::new() } else { format!(" {subject}") };
        let mut words = format!("{signal}{subject} since observation {onset}: {}", evidence.words);
        for cap in &self.caps {
            words.push_str("; ");
            words.push_str(&cap.to_string());
        }
        words
    }

    /// Why an agent that should be restored is halted.
    fn end_of_the_ladder(&self, case: &Case<'_>, ledger: &Ledger, options: &Options) -> String {
        if self.policy == Policy::Halt {
            return String::new();
        }
        let Rung { restores, .. } = self.rung(case, ledger, options);
        if restores >= options.restores.rungs_max {
            return format!("; {restores} restores, each one further back, did not help");
        }
        let (own, _) = ledger.restores_of_the_hour(case.agent, case.now_ms);
        format!("; {own} restores of this agent within an hour are the limit")
    }
}

#[cfg(test)]
mod tests;
