//! Configuration: every key, its default, and where its value came from.
//!
//! Layers, the nearer winning key by key: flag, environment (`STATEWARD_SECTION__KEY`), the file of
//! `--config` or `STATEWARD_CONFIG`, `./stateward.toml`, `$XDG_CONFIG_HOME/stateward/config.toml`,
//! `/etc/stateward/config.toml`, the defaults. A list is one value and is replaced whole. Each layer
//! is checked by itself, so that a mistake is reported where it was written, and an unknown key is an
//! error in every layer. Relative paths in a file are relative to that file's directory; elsewhere to
//! the working directory.
//!
//! The stages know nothing of this: each gets its own options, whose field names are the key names.

mod agents;
mod check;
mod environment;
mod keys;
mod layers;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::disk::Retry;
use crate::error::ErrorKind;
#[cfg(feature = "server")]
use crate::server;
use crate::{collect, commit, drift, encode, manager, retention, store, supervise};

pub use agents::{AgentTable, Agents};
pub use keys::Entry;
pub use layers::{Configuration, Flag, Sources};

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whom commands are about where nobody is named, and whom `serve` runs.
    pub agent: Agents,
    /// Where the store is and how it is opened.
    pub store: StoreSettings,
    /// How the log is laid out.
    pub log: commit::Options,
    /// How states are checked and cut.
    pub state: encode::Options,
    /// How workspaces are scanned.
    pub workspace: collect::Options,
    /// What is kept.
    pub retention: retention::Policy,
    /// How failing calls are tried again.
    pub retry: Retry,
    /// What counts as drift, and what is done about it.
    pub drift: drift::Options,
    /// How an agent's command is run.
    pub run: supervise::Options,
    /// How the sidecar serves.
    #[cfg(feature = "server")]
    pub server: server::Options,
}

/// The section `store`: places, and the options of the stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// The store; absent: `.stateward` in the working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Stores that take commits while it cannot, in this order.
    pub fallbacks: Vec<PathBuf>,
    /// As in [`store::Options`].
    pub lock_wait_ms: u64,
    /// As in [`store::Options`].
    pub allow_network: bool,
}

impl Default for StoreSettings {
    fn default() -> Self {
        let store::Options { lock_wait_ms, allow_network } = store::Options::default();
        Self { path: None, fallbacks: Vec::new(), lock_wait_ms, allow_network }
    }
}

impl StoreSettings {
    /// The options of the stage.
    #[must_use]
    pub fn options(&self) -> store::Options {
        store::Options { lock_wait_ms: self.lock_wait_ms, allow_network: self.allow_network }
    }

    /// The store that is meant, configured or by default.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_STORE))
    }
}

/// The store where nothing names another.
const DEFAULT_STORE: &str = ".stateward";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no TOML, or has a key or a value that does not belong there.
    #[error("mistake in the configuration {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A variable that is spelled like a key and is none.
    #[error(
        "the environment variable {name} is no key of the configuration; allowed are {allowed}"
    )]
    UnknownVariable {
        /// The variable.
        name: String,
        /// What could have been meant.
        allowed: String,
    },
    /// A variable or a flag whose value does not fit its key.
    #[error("{origin} sets {key} to a value that does not fit: {why}")]
    Value {
        /// The variable or the flag.
        origin: Origin,
        /// The key.
        key: String,
        /// What is wrong with it, and what is allowed.
        why: String,
    },
    /// A value outside its bounds, or at odds with another.
    #[error("{key} does not fit ({origin}): {why}")]
    Bounds {
        /// The key.
        key: String,
        /// Where it was set.
        origin: Origin,
        /// What is allowed.
        why: String,
    },
}

impl Error {
    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Usage
    }
}

impl Settings {
    /// The options of the library.
    #[must_use]
    pub fn options(&self) -> manager::Options {
        let mut options = manager::Options::new(self.store.place());
        options.fallbacks.clone_from(&self.store.fallbacks);
        options.store = self.store.options();
        options.log = self.log.clone();
        options.state = self.state;
        options.workspace = self.workspace.clone();
        options.retention = self.retention.clone();
        options.drift = self.drift.clone();
        let own = |it: &AgentTable| Some((it.id.clone(), it.drift_over(&self.drift)?));
        options.drift_of = self.agent.tables.iter().filter_map(own).collect();
        options.retry = self.retry;
        options
    }
}
