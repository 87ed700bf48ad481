//! Who asks for what: the policies of the responses, and their bounds.

use serde::{Deserialize, Serialize};

use super::signals::catalogue::Family;
use super::signals::{Level, count, within};
use super::verdict::Finding;
use super::{Error, Options};
use crate::state::Span;

/// How strong an answer is; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// An event.
    Observe,
    /// A recovery checkpoint, and the hook.
    Checkpoint,
    /// The agent is started again as it is.
    Restart,
    /// The agent goes back to before the onset.
    Restore,
    /// The agent is stopped, and a human is asked.
    Halt,
}

impl Policy {
    /// The name, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Checkpoint => "checkpoint",
            Self::Restart => "restart",
            Self::Restore => "restore",
            Self::Halt => "halt",
        }
    }
}

/// What policies are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// A dry run: events only.
    Observe,
    /// The policies as they stand; nothing statistical goes back.
    #[default]
    Policy,
    /// Whatever can be undone by going back is; what is statistical too.
    Restore,
}

/// How each family of signals is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policies {
    /// Change of a number.
    pub metric: Policy,
    /// Repetition, error streak, redo, thrash.
    pub behaviour: Policy,
    /// Stall, silence.
    pub inactivity: Policy,
    /// Quick exits.
    pub crash_loop: Policy,
    /// Losses of state and files.
    pub shrinkage: Policy,
    /// Invariants, schema.
    pub invariant: Policy,
    /// A state file that is missing or damaged.
    pub state_file: Policy,
    /// Files changed behind the agent's back.
    pub foreign: Policy,
    /// Protected paths touched.
    pub protected: Policy,
    /// Damage in what is kept.
    pub integrity: Policy,
    /// Budgets.
    pub budget: Policy,
    /// Cycles and uptime.
    pub limit: Policy,
    /// Detectors of the user's own.
    pub custom: Policy,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            metric: Policy::Observe,
            behaviour: Policy::Checkpoint,
            inactivity: Policy::Checkpoint,
            crash_loop: Policy::Checkpoint,
            shrinkage: Policy::Checkpoint,
            invariant: Policy::Restore,
            state_file: Policy::Restore,
            foreign: Policy::Observe,
            protected: Policy::Checkpoint,
            integrity: Policy::Checkpoint,
            budget: Policy::Checkpoint,
            limit: Policy::Checkpoint,
            custom: Policy::Checkpoint,
        }
    }
}

/// What keeps restores from flapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestoreLimits {
    /// After a restore or a restart an agent is left alone for so long.
    pub cool_down: Span,
    /// Restores of one agent within an hour, before it is halted.
    pub per_hour_agent: u64,
    /// Restores of all agents of a store within an hour.
    pub per_hour_store: u64,
    /// Restores for the like of one cause, each one further back, before the agent is halted.
    pub rungs_max: u64,
    /// A restore after which the like did not come again for so long has helped.
    pub helped_after: Span,
    /// Restart, restore and halt where there is a terminal too.
    pub on_terminal: bool,
}

impl Default for RestoreLimits {
    fn default() -> Self {
        Self {
            cool_down: Span::from_minutes(5),
            per_hour_agent: 4,
            per_hour_store: 10,
            rungs_max: 3,
            helped_after: Span::from_hours(2),
            on_terminal: false,
        }
    }
}

/// When a cause counts as shared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SharedCause {
    /// More than this share of the active agents alarm on the same.
    pub share: f64,
    /// And no fewer than so many.
    pub agents_min: u64,
    /// Within this time.
    pub within: Span,
}

impl Default for SharedCause {
    fn default() -> Self {
        Self { share: 0.25, agents_min: 3, within: Span::from_minutes(5) }
    }
}

impl Policies {
    /// The answer to a family.
    #[must_use]
    pub fn of(&self, family: Family) -> Policy {
        match family {
            Family::Metric => self.metric,
            Family::Behaviour => self.behaviour,
            Family::Inactivity => self.inactivity,
            Family::CrashLoop => self.crash_loop,
            Family::Shrinkage => self.shrinkage,
            Family::Invariant => self.invariant,
            Family::StateFile => self.state_file,
            Family::Foreign => self.foreign,
            Family::Protected => self.protected,
            Family::Integrity => self.integrity,
            Family::Budget => self.budget,
            Family::Limit => self.limit,
            Family::Custom => self.custom,
        }
    }

    /// Checks that nothing goes back which going back does not undo.
    ///
    /// # Errors
    /// [`Error::Option`] with the key.
    pub fn check(&self) -> Result<(), Error> {
        let never = [
            ("policies.limit", self.limit, "a limit refreshes and never goes back"),
            ("policies.foreign", self.foreign, "what others changed is not the agent's drift"),
            ("policies.integrity", self.integrity, "damage is healed, not gone back from"),
        ];
        match never.into_iter().find(|(_, policy, _)| *policy == Policy::Restore) {
            None => Ok(()),
            Some((key, _, why)) => {
                Err(Error::Option { key, why: format!("it is not `restore`: {why}") })
            }
        }
    }
}

impl RestoreLimits {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        let least = count(self.cool_down.as_ms());
        within("restores.helped_after", count(self.helped_after.as_ms()), least, 1e15)
    }
}

impl SharedCause {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        within("shared_cause.share", self.share, 0.0, 1.0)?;
        within("shared_cause.agents_min", count(self.agents_min), 1.0, 1e9)
    }
}

impl Options {
    /// The answer to a finding by policy alone.
    pub(super) fn wish(&self, finding: &Finding) -> Policy {
        let family = finding.signal.family();
        let acts_at = match family {
            Family::Metric | Family::Limit | Family::Foreign => Level::Suspect,
            _ => Level::Drifting,
        };
        if finding.level < acts_at {
            return Policy::Observe;
        }
        let policy = self.policies.of(family);
        let undone_by_going_back = match family {
            Family::Metric
            | Family::Behaviour
            | Family::Inactivity
            | Family::CrashLoop
            | Family::Shrinkage
            | Family::Invariant
            | Family::StateFile
            | Family::Protected
            | Family::Custom => true,
            Family::Foreign | Family::Integrity | Family::Budget | Family::Limit => false,
        };
        if self.response == Response::Restore && undone_by_going_back {
            return policy.max(Policy::Restore);
        }
        policy
    }
}
