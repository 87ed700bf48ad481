//! A transcript: the lines of JSON that an agent writes of its own work, read as observations.
//!
//! It is promised that transcripts are only read, that each line counts once, and that a line which
//! says nothing here is counted and let be. What was written before the command began is not read.
//! It is assumed that lines are appended: a file that becomes shorter, or another under the same name,
//! begins anew. Nothing is told apart that the lines do not tell apart: the transcripts of two agents
//! under one pattern are read as one.

#[cfg(feature = "cli")]
mod claude;
#[cfg(feature = "cli")]
mod follow;
#[cfg(feature = "cli")]
mod generic;
mod pointers;

#[cfg(feature = "cli")]
use serde_json::Value;

#[cfg(feature = "cli")]
pub(crate) use follow::{Follower, Polled};
#[cfg(feature = "cli")]
pub(crate) use pointers::CLAUDE;
pub use pointers::Options;

#[cfg(feature = "cli")]
use crate::drift::Observation;
#[cfg(feature = "cli")]
use crate::drift::observation::NAME_BYTES_MAX;
#[cfg(feature = "cli")]
use crate::state::Digest;

/// How lines are read.
#[cfg(feature = "cli")]
#[derive(Debug)]
pub(crate) enum Mapping {
    /// By JSON Pointers; boxed, because the other remembers what it waits for.
    Generic(Box<generic::Generic>),
    /// As Claude Code writes them.
    Claude(claude::Claude),
}

/// What a line says.
#[cfg(feature = "cli")]
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    /// Something of the agent's work.
    Told(Vec<Observation>),
    /// Nothing that counts, as known.
    Nothing,
    /// Nothing that is known.
    Unknown,
}

#[cfg(feature = "cli")]
impl Mapping {
    /// The mapping that the options ask for.
    pub(crate) fn of(options: &Options) -> Self {
        if options.source.as_deref() == Some(CLAUDE) {
            return Self::Claude(claude::Claude::default());
        }
        Self::Generic(Box::new(generic::Generic::of(options)))
    }

    /// Reads one line.
    pub(crate) fn read(&mut self, line: &[u8]) -> Said {
        let Ok(line @ Value::Object(_)) = serde_json::from_slice(line) else {
            return Said::Unknown;
        };
        match self {
            Self::Generic(generic) => generic.read(&line),
            Self::Claude(claude) => claude.read(&line),
        }
    }

    /// What was held back until more lines would come, and none did.
    pub(crate) fn settle(&mut self) -> Option<Observation> {
        match self {
            Self::Generic(_) => None,
            Self::Claude(claude) => claude.settle(),
        }
    }
}

/// A digest of anything; equal for equal values.
#[cfg(feature = "cli")]
fn digest(value: &Value) -> String {
    Digest::of(value.to_string().as_bytes()).to_string()
}

/// A name as observations take it; none where it is empty.
#[cfg(feature = "cli")]
fn name(text: &str) -> Option<String> {
    let mut end = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (end > 0).then(|| text[..end].to_owned())
}
