//! Where what is seen of an agent comes from: each place is fed, or nothing came from there yet.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::sighting::Sighting;
use super::watch::Feed;

/// A place that sightings come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Source {
    /// What the agent says of itself, or its transcript does.
    Observations,
    /// Its state, as it is kept.
    State,
    /// The files it keeps its state in.
    StateFiles,
    /// Its workspace.
    Workspace,
    /// Its process group.
    ProcessGroup,
    /// What it prints.
    Output,
}

/// Whether anything came from a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct SourceStatus {
    /// Which.
    pub source: Source,
    /// `fed`, or `blind` where nothing came from there yet.
    pub feed: Feed,
}

impl Source {
    /// Every one, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Observations,
        Self::State,
        Self::StateFiles,
        Self::Workspace,
        Self::ProcessGroup,
        Self::Output,
    ];

    /// Where a sighting comes from; none for what others find around the agent.
    pub(super) fn of(sighting: &Sighting) -> Option<Self> {
        match sighting {
            Sighting::Observation(_) => Some(Self::Observations),
            Sighting::State(_) => Some(Self::State),
            Sighting::StateFile(_) => Some(Self::StateFiles),
            Sighting::Workspace(_) => Some(Self::Workspace),
            Sighting::Process(_) | Sighting::Begun | Sighting::Exited(_) => {
                Some(Self::ProcessGroup)
            }
            Sighting::Output(_) => Some(Self::Output),
            Sighting::Foreign(_) | Sighting::Damage(_) => None,
        }
    }

    /// What feeds it, in words.
    #[must_use]
    pub fn fed_by(self) -> &'static str {
        match self {
            Self::Observations => "`observe`, or `run --transcript`",
            Self::State => "checkpoints with a state",
            Self::StateFiles => "`run --state` and `--state-file`",
            Self::Workspace => "`run --workspace`",
            Self::ProcessGroup => "`run`",
            Self::Output => "`run`, where the output is no terminal",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Observations => "observations",
            Self::State => "state",
            Self::StateFiles => "state files",
            Self::Workspace => "workspace",
            Self::ProcessGroup => "process group",
            Self::Output => "output",
        })
    }
}
