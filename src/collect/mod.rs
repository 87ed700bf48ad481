//! What is kept: the agent's own state, its workspace, and when they are worth keeping.
//!
//! [`StateSource`] is where an agent hands over state it holds itself and takes it back after a
//! restore. [`SavePolicy`] answers a loop that asks whether a checkpoint is due; it is a function of
//! its arguments and asks no clock.
//!
//! A [`Workspace`] is a directory tree that is scanned again and again: it
//! remembers what it saw ([`known`]), so that a scan costs what changed. The way of a scan: [`walk`]
//! looks at directories with several threads and compares each name ([`visit`]), [`rules`] says what
//! is ignored, [`reading`] turns changed files into blocks, [`sqlite`] takes a database together with
//! its log, [`pages`] names the directories from the bottom up, [`cache`] carries what is known to
//! the next process, [`watch`] says where to look first.
//!
//! The stage makes nothing durable: it hands blocks to a [`Sink`]. It changes nothing in a workspace
//! and follows no link in it.

mod beside;
mod cache;
mod extent;
mod files;
mod horizon;
mod known;
mod pages;
mod queue;
mod reading;
mod rules;
mod save_policy;
mod sink;
mod source;
mod sqlite;
mod state_files;
mod visit;
mod walk;
mod watch;
mod workspace;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::ErrorKind;
use crate::state::{ByteSize, Span};

pub(crate) use rules::Rules;
#[cfg(test)]
pub(crate) use rules::STORE_FILES;
pub use save_policy::{Automatic, Due, Moment, SavePolicy, SavePolicyError, Saved};
pub use sink::Progress;
pub(crate) use sink::Sink;
pub use sink::SinkError;
pub use source::{SourceError, StateSource};
pub(crate) use sqlite::{beside, database_of, is_index, is_of_database};
pub(crate) use state_files::{StateFilesFound, state_files};
#[cfg(feature = "cli")]
pub(crate) use workspace::check_root;
pub(crate) use workspace::{Depth, Place, Scanned, Workspace};

/// How workspaces are scanned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Leave out what can be made again: directories with a `CACHEDIR.TAG`, and those named
    /// `node_modules`, `.venv`, `__pycache__` or `target`.
    pub ignore_defaults: bool,
    /// Larger files are skipped and listed.
    pub file_bytes_max: ByteSize,
    /// Let the system say where to look, while a process stays alive; only on Linux.
    pub watch: bool,
    /// A routine scan trusts those notices no longer than this after the last walk of everything.
    pub walk_every: Span,
    /// Threads that scan; 0 for one to a core, at most 8.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ignore_defaults: true,
            file_bytes_max: ByteSize(100_000_000),
            watch: true,
            walk_every: Span::from_minutes(5),
            threads: 0,
        }
    }
}

const THREADS_MAX: usize = 64;

impl Options {
    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        if self.threads > THREADS_MAX {
            Err(Error::Options("workspace.threads is at most 64"))
        } else if self.file_bytes_max.0 == 0 {
            Err(Error::Options("workspace.file_bytes_max is 1 or more"))
        } else {
            Ok(())
        }
    }
}

/// Why a workspace cannot be scanned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option makes no sense.
    #[error("option out of range: {0}")]
    Options(&'static str),
    /// There is no directory.
    #[error("there is no directory at {}", path.display())]
    NoDirectory {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It is the whole machine, or all that a user has.
    #[error("{} {what}: too much for a workspace", path.display())]
    TooWide {
        /// The directory.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It would keep the store in the store.
    #[error("the workspace {} lies inside the store {}", path.display(), store.display())]
    InsideStore {
        /// The workspace.
        path: PathBuf,
        /// The store.
        store: PathBuf,
    },
    /// The disk refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Whoever takes the blocks failed.
    #[error("cannot hand over the content of the workspace: {0}")]
    Sink(#[from] SinkError),
}

impl Error {
    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Options(_) => ErrorKind::Usage,
            Self::NoDirectory { .. } => ErrorKind::NotFound,
            Self::TooWide { .. } | Self::InsideStore { .. } => ErrorKind::Refused,
            Self::Io { .. } | Self::Sink(_) => ErrorKind::Failed,
        }
    }

    /// The way out, where there is one to name.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoDirectory { .. } => "name the directory the agent works in",
            Self::TooWide { .. } => "name the directory the agent works in, or insist with --force",
            Self::InsideStore { .. } => "put the store elsewhere with --store DIR",
            Self::Options(_) | Self::Io { .. } | Self::Sink(_) => return None,
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests;
