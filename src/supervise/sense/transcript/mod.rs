//! A transcript: the lines of JSON that an agent writes of its own work, read as observations.
//!
//! It is promised that transcripts are only read, that each line counts once, and that a line which
//! says nothing here is counted and let be. What was written before the command began is not read.
//! It is assumed that lines are appended: a file that becomes shorter, or another under the same name,
//! begins anew. Nothing is told apart that the lines do not tell apart: the transcripts of two agents
//! under one pattern are read as one.

mod claude;
mod follow;
mod generic;

use serde_json::Value;

pub(crate) use claude::files_of as claude_files;
pub(crate) use follow::{Follower, Polled};

use crate::drift::Observation;
use crate::drift::observation::NAME_BYTES_MAX;
use crate::state::Digest;
use crate::supervise::transcript::{CLAUDE, Options};

/// How lines are read.
#[derive(Debug)]
pub(crate) enum Mapping {
    /// By JSON Pointers; boxed, because the other remembers what it waits for.
    Generic(Box<generic::Generic>),
    /// As Claude Code writes them.
    Claude(claude::Claude),
}

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    /// Something of the agent's work.
    Told(Vec<Observation>),
    /// Nothing that counts, as known.
    Nothing,
    /// Nothing that is known.
    Unknown,
}

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
fn digest(value: &Value) -> String {
    Digest::of(value.to_string().as_bytes()).to_string()
}

/// A name as observations take it; none where it is empty.
fn name(text: &str) -> Option<String> {
    let mut end = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (end > 0).then(|| text[..end].to_owned())
}
