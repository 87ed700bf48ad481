//! The way back: what a restore would replace, and the replacing.
//!
//! A restore in place first takes a `recovery` checkpoint of what it is about to replace, says in
//! the log that it has begun, replaces, and says that it has finished with a checkpoint of its own;
//! the manager calls these steps in that order. This stage plans, without touching anything, and
//! replaces a state file durably: whoever reads it meets the old bytes or the new ones, never a mix.

mod apply;
mod foreign;
mod materialise;
mod plan;
mod put_back;
mod staging;
mod state_file;
mod tree_plan;
mod write;

use std::io;
use std::path::{Path, PathBuf};

use crate::error::ErrorKind;

pub(crate) use apply::{Outcome, Report, Restore, Way};
pub(crate) use foreign::Sessions;
pub(crate) use materialise::materialise;
pub use plan::{Files, plan};
#[cfg(feature = "cli")]
pub(crate) use put_back::put_back_where;
pub(crate) use put_back::{put_back, read_current};
pub(crate) use staging::{Staging, discard_staging};
pub(crate) use state_file::{
    holds_one_of, is_spare, look as look_at_state_file, owner_of, put_back_file, remove,
    stray_companions, with_journals,
};
pub use tree_plan::{Reason, Untouched};
pub(crate) use tree_plan::{Rules, Scope, Side, TreePlan, plan_tree};
pub(crate) use write::{Cause, Content, Progress};

/// Why something could not be put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The bytes of a kept file could not be had.
    #[error("cannot read what is kept of {}: {source}", path.display())]
    Content {
        /// The file in the workspace.
        path: PathBuf,
        /// Why not.
        source: Cause,
    },
    /// The disk gave back other bytes than were written.
    #[error("{} reads back otherwise than it was written", path.display())]
    Unproven {
        /// The file in the workspace.
        path: PathBuf,
    },
    /// What is restored elsewhere needs an empty directory.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// The first name found.
        path: PathBuf,
    },
    /// A restore failed half-way, and so did the taking back. What stood in the places named lies in
    /// the workspace where the second path says; nothing else is missing.
    #[error("{why}; and it could not be taken back: {back}; {}", told(places))]
    Stuck {
        /// Why it failed.
        why: Box<Error>,
        /// Why it could not be taken back.
        back: Box<Error>,
        /// Places in the workspace, and where their things lie.
        places: Vec<(PathBuf, PathBuf)>,
    },
}

impl Error {
    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            _ if self.is_of_directory() => ErrorKind::Refused,
            Self::Io { .. } | Self::Unproven { .. } | Self::Stuck { .. } => ErrorKind::Failed,
            Self::Content { .. } => ErrorKind::Damaged,
            Self::NotEmpty { .. } => ErrorKind::Refused,
        }
    }

    /// The way out, where there is one to name.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        self.is_of_directory()
            .then_some("move the directory away that stands there, or restore elsewhere")
    }

    /// Whether a directory stands where a file is to be.
    fn is_of_directory(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::IsADirectory)
    }

    fn io(doing: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        let path = path.as_ref();
        // The root of a workspace has no name of its own.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Self::Io { doing, path: path.to_owned(), source }
    }
}

/// Places told to be shown are these many at most; the error has all.
const PLACES_SHOWN_MAX: usize = 10;

fn told(places: &[(PathBuf, PathBuf)]) -> String {
    let shown = places.iter().take(PLACES_SHOWN_MAX);
    let mut told: Vec<String> = shown
        .map(|(place, slot)| format!("what stood at {} is {}", place.display(), slot.display()))
        .collect();
    if places.len() > PLACES_SHOWN_MAX {
        told.push(format!("and {} more", places.len() - PLACES_SHOWN_MAX));
    }
    if told.is_empty() { "nothing is out of its place".to_owned() } else { told.join(", ") }
}

#[cfg(test)]
mod tests;
