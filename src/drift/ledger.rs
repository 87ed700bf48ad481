//! What was answered to which agent, and who alarmed lately: the memory of the responses of a store.
//!
//! It is not part of what a restore brings back: it is what keeps restores from flapping. Whoever
//! acts writes down what was done ([`Answer`]) where it survives, as an event, and folds the answers
//! into a ledger again at the next start. Times are those of the store, in milliseconds, which advance
//! only by credible amounts.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::policy::{Policy, RestoreLimits, SharedCause};
use super::signals::catalogue::Signal;
use super::verdict::Finding;
use crate::state::{AgentId, Seq};

/// Answers that are remembered.
const ANSWERS_MAX: usize = 4096;

/// Alarms that are remembered.
const ALARMS_MAX: usize = 4096;

const HOUR_MS: u64 = 60 * 60 * 1000;

/// What a response is about: one finding, from when it is raised until it is let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Cause {
    /// What told it.
    pub signal: Signal,
    /// The metric, the budget, the detector; empty where the signal has but one subject.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The observation at which it was raised.
    pub raised_at: u64,
}

impl Cause {
    /// The cause that a finding is.
    #[must_use]
    pub fn of(finding: &Finding) -> Self {
        let Finding { signal, subject, raised_at, .. } = finding;
        Self { signal: *signal, subject: subject.clone(), raised_at: *raised_at }
    }

    /// The same thing, whenever it was raised.
    fn is_like(&self, other: &Self) -> bool {
        self.signal == other.signal && self.subject == other.subject
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// To which agent.
    pub agent_id: AgentId,
    /// When, by the store's time.
    pub at_ms: u64,
    /// For what.
    pub causes: Vec<Cause>,
    /// What.
    pub done: Policy,
    /// The checkpoint that was gone back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Seq>,
}

/// An agent that alarmed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Alarm {
    agent_id: AgentId,
    at_ms: u64,
    cause: Cause,
}

/// How far down an agent is for one cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rung {
    /// Restores that did not help.
    pub restores: u64,
    /// The oldest checkpoint that was gone back to.
    pub tried: Option<Seq>,
}

/// The memory of the responses of a store.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    answers: VecDeque<Answer>,
    alarms: VecDeque<Alarm>,
    /// Causes that were called shared, and when last.
    shared: Vec<(Cause, u64)>,
}

impl Ledger {
    /// Writes down what was done, in the order of time.
    pub fn note(&mut self, answer: Answer) {
        if self.answers.len() == ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back(answer);
    }

    /// Writes down what an agent alarms on; to be called before a response is decided on.
    pub fn alarm(&mut self, agent: &AgentId, findings: &[Finding], now_ms: u64) {
        for finding in findings {
            let cause = Cause::of(finding);
            let known = |it: &Alarm| it.agent_id == *agent && it.cause == cause;
            if self.alarms.iter().rev().any(known) {
                continue;
            }
            if self.alarms.len() == ALARMS_MAX {
                self.alarms.pop_front();
            }
            self.alarms.push_back(Alarm { agent_id: agent.clone(), at_ms: now_ms, cause });
        }
    }

    /// Writes down that a cause was told to be shared.
    pub fn announce(&mut self, cause: &Cause, now_ms: u64) {
        self.shared.retain(|(known, _)| !known.is_like(cause));
        self.shared.push((cause.clone(), now_ms));
    }

    /// How many agents alarm on the same, where that is so many that the cause is shared.
    pub(crate) fn sharing(
        &self,
        cause: &Cause,
        active: u64,
        now_ms: u64,
        rule: &SharedCause,
    ) -> Option<u64> {
        let since = now_ms.saturating_sub(rule.within.as_ms());
        let alike = self.alarms.iter().filter(|it| it.at_ms >= since && it.cause.is_like(cause));
        let agents = alike.map(|alarm| &alarm.agent_id).collect::<BTreeSet<_>>().len() as u64;
        let share = super::signals::count(agents) > rule.share * super::signals::count(active);
        (agents >= rule.agents_min && share).then_some(agents)
    }

    /// Whether a cause was told to be shared within the time that the rule looks at.
    pub(crate) fn is_announced(&self, cause: &Cause, now_ms: u64, rule: &SharedCause) -> bool {
        let since = now_ms.saturating_sub(rule.within.as_ms());
        self.shared.iter().any(|(known, at_ms)| known.is_like(cause) && *at_ms >= since)
    }

    /// The strongest answer a cause got so far.
    pub(crate) fn answered(&self, agent: &AgentId, cause: &Cause) -> Option<Policy> {
        let same = |it: &&Answer| it.agent_id == *agent && it.causes.contains(cause);
        self.answers.iter().filter(same).map(|answer| answer.done).max()
    }

    /// The restores and restarts of an agent, the newest first.
    fn interventions(&self, agent: &AgentId) -> impl Iterator<Item = &Answer> {
        let strong = |done| matches!(done, Policy::Restart | Policy::Restore);
        self.answers.iter().rev().filter(move |it| it.agent_id == *agent && strong(it.done))
    }

    /// Until when an agent is left alone after its last restore or restart.
    pub(crate) fn cooling_until(
        &self,
        agent: &AgentId,
        now_ms: u64,
        limits: &RestoreLimits,
    ) -> Option<u64> {
        let last = self.interventions(agent).next()?;
        let until = last.at_ms.saturating_add(limits.cool_down.as_ms());
        (until > now_ms).then_some(until)
    }

    /// Restores within the last hour, of one agent and of all.
    pub(crate) fn restores_of_the_hour(&self, agent: &AgentId, now_ms: u64) -> (u64, u64) {
        let since = now_ms.saturating_sub(HOUR_MS);
        let recent =
            self.answers.iter().filter(|it| it.at_ms >= since && it.done == Policy::Restore);
        recent.fold((0, 0), |(own, all), it| (own + u64::from(it.agent_id == *agent), all + 1))
    }

    /// How far down an agent is: restores for the like of a cause, each too soon after the one before
    /// for that to have helped.
    pub(crate) fn rung(
        &self,
        agent: &AgentId,
        cause: &Cause,
        now_ms: u64,
        limits: &RestoreLimits,
    ) -> Rung {
        let mut rung = Rung::default();
        let mut later = now_ms;
        let alike = |it: &&Answer| it.causes.iter().any(|known| known.is_like(cause));
        for answer in self.interventions(agent).filter(alike) {
            if later.saturating_sub(answer.at_ms) >= limits.helped_after.as_ms() {
                break;
            }
            later = answer.at_ms;
            rung.restores += u64::from(answer.done == Policy::Restore);
            rung.tried = rung.tried.into_iter().chain(answer.restored).min();
        }
        rung
    }
}
