//! Every signal by name: what family it belongs to, and what it lives on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Everything that can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Signal {
    /// A number changed; its subject is the name of the metric.
    Metric,
    /// The same is done again and again, and nothing changes.
    Repetition,
    /// The same action fails again and again.
    ErrorStreak,
    /// What had been done is done again after a compaction.
    Redo,
    /// The workspace goes back and forth.
    Thrash,
    /// The agent is busy, and nothing comes of it.
    Stall,
    /// Nothing is heard of the agent.
    Silence,
    /// The process ends quickly, again and again.
    CrashLoop,
    /// The state or the workspace loses what it had.
    Shrinkage,
    /// A rule about the state is broken.
    Invariant,
    /// The state does not fit its JSON Schema.
    Schema,
    /// A state file is missing or damaged.
    StateFile,
    /// Files were changed behind the agent's back.
    Foreign,
    /// A protected path was touched.
    Protected,
    /// What is kept of the agent is damaged.
    Integrity,
    /// More is spent than may be; its subject is the budget.
    Budget,
    /// The process has lived for many cycles.
    Cycles,
    /// The process has lived for long.
    Uptime,
    /// A detector of the user's own; its subject is the detector's name.
    Custom,
}

/// What signals have in common that are answered in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Family {
    /// A number changed.
    Metric,
    /// Going round in circles: repetition, error streak, redo, thrash.
    Behaviour,
    /// Nothing comes, of the agent or of its work: stall, silence.
    Inactivity,
    /// The process ends quickly, again and again.
    CrashLoop,
    /// The state or the workspace loses what it had.
    Shrinkage,
    /// What must hold of the state does not: invariants, schema.
    Invariant,
    /// A state file is missing or damaged.
    StateFile,
    /// Files were changed behind the agent's back.
    Foreign,
    /// A protected path was touched.
    Protected,
    /// What is kept of the agent is damaged.
    Integrity,
    /// More is spent than may be.
    Budget,
    /// The process has lived its time.
    Limit,
    /// A detector of the user's own.
    Custom,
}

impl Signal {
    /// Every signal, in the order in which they are shown.
    pub const ALL: [Self; 19] = [
        Self::StateFile,
        Self::Invariant,
        Self::Schema,
        Self::Shrinkage,
        Self::Repetition,
        Self::ErrorStreak,
        Self::Redo,
        Self::Thrash,
        Self::Stall,
        Self::Silence,
        Self::CrashLoop,
        Self::Metric,
        Self::Budget,
        Self::Cycles,
        Self::Uptime,
        Self::Foreign,
        Self::Protected,
        Self::Integrity,
        Self::Custom,
    ];

    /// What it has in common with others.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            Self::Metric => Family::Metric,
            Self::Repetition | Self::ErrorStreak | Self::Redo | Self::Thrash => Family::Behaviour,
            Self::Stall | Self::Silence => Family::Inactivity,
            Self::CrashLoop => Family::CrashLoop,
            Self::Shrinkage => Family::Shrinkage,
            Self::Invariant | Self::Schema => Family::Invariant,
            Self::StateFile => Family::StateFile,
            Self::Foreign => Family::Foreign,
            Self::Protected => Family::Protected,
            Self::Integrity => Family::Integrity,
            Self::Budget => Family::Budget,
            Self::Cycles | Self::Uptime => Family::Limit,
            Self::Custom => Family::Custom,
        }
    }

    /// Whether it rests on comparing numbers with what is usual, so that it may err by chance.
    #[must_use]
    pub fn is_statistical(self) -> bool {
        matches!(self, Self::Metric | Self::Redo)
    }

    /// What must be seen for it to say anything.
    #[must_use]
    pub fn lives_on(self) -> &'static str {
        match self {
            Self::Metric => "numbers in observations, or a process group",
            Self::Repetition => "actions with an input digest, or output",
            Self::ErrorStreak => "actions that say whether they went well",
            Self::Redo => "actions with an input digest, and events `compaction`",
            Self::Thrash | Self::Protected => "a watched workspace",
            Self::Stall => "a state, a workspace, output or progress that changed once",
            Self::Silence => "a first sign of life",
            Self::CrashLoop => "a process that is started again when it ends",
            Self::Shrinkage => "states that are JSON objects",
            Self::Invariant => "states, and rules in `drift.invariants`",
            Self::Schema => "states, and a schema in `drift.schema`",
            Self::StateFile => "a state file",
            Self::Foreign => "a workspace or a state file, and sessions",
            Self::Integrity => "nothing; damage is told when it is found",
            Self::Budget => "the metric that `drift.budgets` names",
            Self::Cycles => "observations, and `drift.limits.cycles_max`",
            Self::Uptime => "`drift.limits.uptime_max`",
            Self::Custom => "a detector of your own",
        }
    }

    /// The name, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metric => "metric",
            Self::Repetition => "repetition",
            Self::ErrorStreak => "error_streak",
            Self::Redo => "redo",
            Self::Thrash => "thrash",
            Self::Stall => "stall",
            Self::Silence => "silence",
            Self::CrashLoop => "crash_loop",
            Self::Shrinkage => "shrinkage",
            Self::Invariant => "invariant",
            Self::Schema => "schema",
            Self::StateFile => "state_file",
            Self::Foreign => "foreign",
            Self::Protected => "protected",
            Self::Integrity => "integrity",
            Self::Budget => "budget",
            Self::Cycles => "cycles",
            Self::Uptime => "uptime",
            Self::Custom => "custom",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_is_listed_once_and_named_as_in_json() {
        let mut names: Vec<String> = Signal::ALL.iter().map(ToString::to_string).collect();
        for (signal, name) in Signal::ALL.iter().zip(&names) {
            assert_eq!(serde_json::to_string(signal).unwrap(), format!("\"{name}\""));
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Signal::ALL.len());
    }
}
