//! The coarse kinds of error, by which callers branch.
//!
//! Exit codes and HTTP statuses follow from the kind, each in one place: exit codes here, statuses
//! in the server.

use serde::{Deserialize, Serialize};

/// What sort of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum ErrorKind {
    /// Something went wrong that is none of the others.
    Failed,
    /// Not to be had just now; trying later may help.
    Unavailable,
    /// The request itself is wrong.
    Usage,
    /// There is no such thing.
    NotFound,
    /// What was asked for is damaged.
    Damaged,
    /// Another process or session holds it.
    Locked,
    /// No target could store it.
    Unstored,
    /// Not done because it would do harm.
    Refused,
    /// The state changed since the caller last saw it.
    Stale,
}

impl ErrorKind {
    /// The exit code of the command line.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed | Self::Unavailable | Self::Stale => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Damaged => 4,
            Self::Locked => 5,
            Self::Unstored => 6,
            Self::Refused => 7,
        }
    }
}
