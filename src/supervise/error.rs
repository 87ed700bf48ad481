//! What can go wrong in running an agent.

use std::io;
use std::path::PathBuf;

use crate::disk::Holder;
use crate::error::ErrorKind;
use crate::manager;
use crate::server;
use crate::server::client::ClientError;
use crate::state::AgentId;

/// Why an agent is not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process runs it.
    #[error("agent {agent} is being run by {}", name(holder.as_deref()))]
    Claimed {
        /// Which agent.
        agent: AgentId,
        /// Who runs it, where that can be read.
        holder: Option<Box<Holder>>,
    },
    /// The claim could not be made.
    #[error("cannot claim the agent with {}: {source}", path.display())]
    Claim {
        /// The file of the claim.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The command could not be started.
    #[error("cannot run {command}: {source}")]
    Spawn {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// The system refused something that running a command needs.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// What a predecessor left running does not end.
    #[error("what a killed run left running does not end: {pids}")]
    Survives {
        /// The numbers of the processes.
        pids: String,
    },
    /// There is no sidecar to keep the agent, and none can be made.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// The answer of the sidecar that keeps the agent.
    #[error(transparent)]
    Sidecar(#[from] ClientError),
    /// The library's answer.
    #[error(transparent)]
    Manager(#[from] manager::Error),
}

fn name(holder: Option<&Holder>) -> String {
    holder.map_or_else(|| "another process, which did not say who it is".into(), Holder::to_string)
}

impl Error {
    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Claimed { .. } => ErrorKind::Locked,
            Self::Spawn { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Manager(error) => error.kind(),
            Self::Server(error) => error.kind(),
            Self::Sidecar(error) => error.kind(),
            Self::Claim { .. }
            | Self::Spawn { .. }
            | Self::System { .. }
            | Self::Survives { .. } => ErrorKind::Failed,
        }
    }

    /// The way out, where there is one to name.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Claimed { .. } => {
                "end that one first, or give this agent another id with --agent"
            }
            Self::Survives { .. } => "end it by hand, or take it over with --adopt",
            Self::Manager(error) => return error.hint(),
            Self::Sidecar(error) => return error.hint(),
            Self::Server(error) => return error.hint().map(str::to_owned),
            _ => return None,
        };
        Some(text.to_owned())
    }
}
