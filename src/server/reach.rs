//! How a store is reached: open in this process, or through the sidecar that holds it.

use std::path::{Path, PathBuf};

use super::api::Call;
use super::client::{Client, ClientError};
use crate::disk::{Disk, read_holder};
use crate::error::ErrorKind;
use crate::manager::{self, CheckpointManager};
use crate::state::Attempt;
use crate::store::Layout;

/// A store that can be asked.
#[derive(Debug, Clone)]
pub(crate) enum Reach {
    /// It is open here.
    Here(CheckpointManager),
    /// A sidecar holds it.
    There(Client),
}

/// Why what was asked was not done.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// The library's answer.
    #[error(transparent)]
    Here(#[from] manager::Error),
    /// The sidecar's.
    #[error(transparent)]
    There(#[from] ClientError),
}

impl ReachError {
    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Here(error) => error.kind(),
            Self::There(error) => error.kind(),
        }
    }

    /// The way out, where there is one to name.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Here(error) => error.hint(),
            Self::There(error) => error.hint(),
        }
    }

    /// Every try to commit, where the error is of a commit.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Self::Here(error) => error.attempts(),
            Self::There(error) => error.attempts(),
        }
    }
}

impl Reach {
    /// Asks, and waits for the answer.
    pub(crate) fn call<C: Call>(&self, call: C) -> Result<C::Answer, ReachError> {
        Ok(match self {
            Self::Here(manager) => call.perform(manager)?,
            Self::There(client) => client.call(&call)?,
        })
    }
}

/// The socket that the lock of a store names; whether anybody answers there is another question.
pub(crate) fn socket_of(disk: &dyn Disk, store: &Path) -> Option<PathBuf> {
    read_holder(disk, &Layout::new(store).lock())?.socket
}
