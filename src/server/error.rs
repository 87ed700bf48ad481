//! Why a sidecar does not serve.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::disk::socket::SocketError;
use crate::error::ErrorKind;

/// Why a sidecar does not serve, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No socket could be opened.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The file of the token does not do.
    #[error("the token file {} is not used: {why}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is nothing to serve on.
    #[error("there is neither a socket nor an address to listen on")]
    Nowhere,
    /// The system refused.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Socket(SocketError::TooLong { .. }) | Self::Nowhere => ErrorKind::Usage,
            Self::Socket(SocketError::Directory { .. } | SocketError::Taken { .. })
            | Self::TokenFile { .. } => ErrorKind::Refused,
            Self::Socket(_) | Self::Listen { .. } | Self::System { .. } => ErrorKind::Failed,
        }
    }

    /// The way out, where there is one to name.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Socket(SocketError::TooLong { .. }) => Some("name a shorter path with --socket"),
            Self::Socket(SocketError::Directory { .. }) => {
                Some("name a path in a directory of yours with mode 0700 with --socket")
            }
            Self::Socket(SocketError::Taken { .. }) => {
                Some("look what it is, and take it away or name another path with --socket")
            }
            Self::TokenFile { .. } => {
                Some("give a file of yours with mode 0600; where none is, one is made")
            }
            _ => None,
        }
    }
}
