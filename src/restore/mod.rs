//! The way back: what a restore would replace, and the replacing.
//!
//! A restore in place first takes a `recovery` checkpoint of what it is about to replace, says in
//! the log that it has begun, replaces, and says that it has finished with a checkpoint of its own;
//! the manager calls these steps in that order. This stage plans, without touching anything, and
//! replaces a state file durably: whoever reads it meets the old bytes or the new ones, never a mix.

mod plan;
mod put_back;

use std::io;
use std::path::PathBuf;

use crate::error::ErrorKind;

pub use plan::{Files, plan};
pub(crate) use put_back::{put_back, read_current};

/// Why a state file could not be put back.
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
}

impl Error {
    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } => ErrorKind::Failed,
        }
    }
}
