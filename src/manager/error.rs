//! The library's error: what was being done, on which thing, why it failed, what to do now.

use std::path::PathBuf;

use crate::collect::{self, SourceError};
use crate::drift;
use crate::encode;
use crate::error::ErrorKind;
use crate::restore;
use crate::state::{AgentId, Attempt, CheckpointId, NounError, Seq};
use crate::store;

/// Why a call on the library did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name or a number is not valid.
    #[error(transparent)]
    Noun(#[from] NounError),
    /// The state cannot be kept.
    #[error("the state is refused: {0}")]
    State(#[from] encode::Error),
    /// The state cannot be turned into JSON, or out of it.
    #[error("cannot {doing} the state: {source}")]
    Json {
        /// `serialize` or `read`.
        doing: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A setting makes no sense.
    #[error("setting out of range: {0}")]
    Setting(&'static str),
    /// The store cannot be opened or does not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The agent's own state source failed.
    #[error("the state source failed: {0}")]
    Source(SourceError),
    /// A workspace or a state file cannot be collected.
    #[error(transparent)]
    Collect(#[from] collect::Error),
    /// A state file could not be put back.
    #[error(transparent)]
    Restore(#[from] restore::Error),
    /// Something that would be replaced is somebody else's work, or changed just now.
    #[error("{}", conflicts_in_words(paths))]
    Conflicts {
        /// Which files: those of a workspace by their paths from its root.
        paths: Vec<PathBuf>,
    },
    /// There is no such checkpoint.
    #[error("agent {agent} has no checkpoint `{reference}`")]
    NoCheckpoint {
        /// Whose.
        agent: AgentId,
        /// What was asked for.
        reference: String,
    },
    /// There is no such operation.
    #[error("agent {agent} has no open operation `{name}`")]
    NoOperation {
        /// Whose.
        agent: AgentId,
        /// What was asked for.
        name: String,
    },
    /// There is nothing to take back.
    #[error("agent {agent} has no restore that was not taken back")]
    NothingToUndo {
        /// Whose.
        agent: AgentId,
    },
    /// Several checkpoints begin like this.
    #[error("`{reference}` is not one checkpoint: {} begin so", matches.len())]
    Ambiguous {
        /// What was asked for.
        reference: String,
        /// Some of them.
        matches: Vec<CheckpointId>,
    },
    /// The text is no reference.
    #[error("`{reference}` is no reference to a checkpoint")]
    NoReference {
        /// The text.
        reference: String,
    },
    /// The primary cannot be read just now, and what was asked for may be there.
    #[error("cannot tell whether `{reference}` exists: {why}")]
    Unseen {
        /// What was asked for.
        reference: String,
        /// Why the primary cannot be read.
        why: String,
    },
    /// The checkpoint is there and is not what was written.
    #[error("checkpoint {id} is damaged: {why}")]
    Damaged {
        /// Which.
        id: CheckpointId,
        /// What is wrong.
        why: String,
    },
    /// Every checkpoint that could be chosen is damaged.
    #[error("no sound checkpoint is left for agent {agent}: {walked} were tried")]
    AllDamaged {
        /// Whose.
        agent: AgentId,
        /// How many were tried.
        walked: usize,
    },
    /// The disk refused to give a checkpoint.
    #[error("cannot read checkpoint {id}: {why}")]
    Unreadable {
        /// Which.
        id: CheckpointId,
        /// Why.
        why: String,
    },
    /// No target could store the commit.
    #[error("no target could store the checkpoint: {}", words(attempts))]
    Unstored {
        /// Every try.
        attempts: Vec<Attempt>,
    },
    /// The state changed since the caller last saw it.
    #[error("the state of agent {agent} last changed at seq {is}, not {expected}")]
    Stale {
        /// Whose.
        agent: AgentId,
        /// What the caller expected.
        expected: Seq,
        /// What it is.
        is: Seq,
    },
    /// Another request was made under this key.
    #[error("idempotency key `{key}` was used for another request")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// Nothing to keep: no state was given, and there is none to take over.
    #[error("agent {agent} has no state yet, and none was given")]
    NoState {
        /// Whose.
        agent: AgentId,
    },
    /// It would do harm.
    #[error("refused: {why}")]
    Refused {
        /// Why.
        why: String,
        /// The way out.
        way_out: String,
    },
    /// The agent drifted, going back did not help or was not allowed, and a person is asked.
    #[error("agent {agent} is halted: {why}")]
    Halted {
        /// Whose.
        agent: AgentId,
        /// Why.
        why: String,
    },
    /// What is observed, or an option of drift, is refused.
    #[error(transparent)]
    Drift(#[from] drift::Error),
    /// The manager only looks.
    #[error("the store at {} is open to look only", path.display())]
    LooksOnly {
        /// The store.
        path: PathBuf,
    },
    /// Something of ours died half-way; whether the commit is durable is not known.
    #[error("the commit was interrupted: {0}")]
    Interrupted(String),
    /// A bundle is not one of ours, or not whole.
    #[error("the bundle cannot be imported: {0}")]
    Bundle(String),
    /// What was to be read is not there or cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unread {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The disk refused.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Noun(_)
            | Self::State(_)
            | Self::Json { .. }
            | Self::Bundle(_)
            | Self::Setting(_)
            | Self::Ambiguous { .. }
            | Self::NoReference { .. }
            | Self::NoState { .. } => ErrorKind::Usage,
            Self::Store(error) => error.kind(),
            Self::Restore(error) => error.kind(),
            Self::Collect(error) => error.kind(),
            Self::Drift(error) => error.kind(),
            Self::NoCheckpoint { .. } | Self::NoOperation { .. } | Self::NothingToUndo { .. } => {
                ErrorKind::NotFound
            }
            Self::Unseen { .. } | Self::Unreadable { .. } => ErrorKind::Unavailable,
            Self::Damaged { .. } | Self::AllDamaged { .. } => ErrorKind::Damaged,
            Self::Unstored { .. } => ErrorKind::Unstored,
            Self::Stale { .. } => ErrorKind::Stale,
            Self::KeyReused { .. }
            | Self::Refused { .. }
            | Self::Conflicts { .. }
            | Self::Halted { .. }
            | Self::LooksOnly { .. } => ErrorKind::Refused,
            Self::Unread { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Unread { source, .. } if source.kind() == std::io::ErrorKind::IsADirectory => {
                ErrorKind::Usage
            }
            Self::Source(_) | Self::Interrupted(_) | Self::Io { .. } | Self::Unread { .. } => {
                ErrorKind::Failed
            }
        }
    }

    /// The way out, where there is one to name.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Refused { way_out, .. } => return Some(way_out.clone()),
            Self::Ambiguous { matches, .. } => {
                let ids: Vec<String> = matches.iter().take(4).map(ToString::to_string).collect();
                return Some(format!("give more of the id: {}", ids.join(", ")));
            }
            Self::Store(error) => return error.hint(),
            Self::Collect(error) => return error.hint(),
            Self::Conflicts { .. } => {
                "look at them, then give --force to replace them; the recovery checkpoint keeps them"
            }
            Self::Halted { .. } => {
                "`stateward drift` shows what is there; `stateward restore REF`, `stateward drift mark REF good` or `stateward reset` lets the agent go on"
            }
            Self::NoReference { .. } => {
                "give a checkpoint's path, its number, its id or the first digits of it, latest, latest:KIND or good"
            }
            Self::NoCheckpoint { .. } => "`stateward list` shows what there is",
            Self::NoOperation { .. } => "`stateward operation list` shows what there is",
            Self::Damaged { .. } => {
                "`stateward verify` tells what is damaged and heals what has a second copy; `latest` and `good` walk back to the newest sound one"
            }
            Self::AllDamaged { .. } => {
                "`stateward verify` tells what is damaged; a fresh start is `stateward reset`"
            }
            Self::Unstored { .. } => {
                "free space or mend the disk, or name another directory under store.fallbacks"
            }
            Self::Stale { .. } => "read the state again and apply the change to it",
            Self::KeyReused { .. } => "use a new key for a new request",
            Self::NoState { .. } => {
                "name what is to be kept: a state (--state FILE), files (--state-file) or a directory (--workspace)"
            }
            Self::Unseen { .. } => "make the primary store readable again",
            Self::Restore(error) => return error.hint().map(str::to_owned),
            _ => return None,
        };
        Some(text.to_owned())
    }

    /// Every try to commit, where the error is of a commit.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Self::Unstored { attempts } => attempts,
            _ => &[],
        }
    }
}

/// Paths named in a message at most; the error has them all.
const PATHS_NAMED_MAX: usize = 10;

fn conflicts_in_words(paths: &[PathBuf]) -> String {
    let named = paths.iter().take(PATHS_NAMED_MAX).map(|path| path.display().to_string());
    let mut named: Vec<String> = named.collect();
    if paths.len() > PATHS_NAMED_MAX {
        named.push(format!("and {} more", paths.len() - PATHS_NAMED_MAX));
    }
    format!("changed by someone else, or just now: {}", named.join(", "))
}

fn words(attempts: &[Attempt]) -> String {
    let tries: Vec<String> = attempts
        .iter()
        .map(|attempt| {
            let why = attempt.error.as_deref().unwrap_or("no error");
            format!("{}: {why}", attempt.target.display())
        })
        .collect();
    tries.join("; ")
}
