//! The steps of agents' lives, as scenario files write them.
//!
//! `keep a 1500 bytes`, `keep a 300 bytes as recovery`, `patch a`, `restore a 2 back`, `undo a`,
//! `reset a`, `forget a 0 back`, `begin a deploy`, `complete a deploy`, `fail a deploy`, `settle`,
//! `prune`, `make the next segment`, `open again`.

use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::encode::event::Outcome;
use crate::state::Kind;

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub act: Act,
    /// As the file has it.
    text: String,
}

/// What a step does; a checkpoint is counted from the newest.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    Keep {
        agent: String,
        kind: Kind,
        bytes: usize,
    },
    /// The newest state with one key changed.
    Patch {
        agent: String,
    },
    Restore {
        agent: String,
        back: usize,
    },
    Undo {
        agent: String,
    },
    Reset {
        agent: String,
    },
    Forget {
        agent: String,
        back: usize,
    },
    Begin {
        agent: String,
        operation: String,
    },
    Close {
        agent: String,
        operation: String,
        outcome: Outcome,
    },
    Settle,
    Prune,
    MakeSegment,
    Reopen,
}

impl Step {
    /// Whether one batch holds all that the step changes.
    pub fn is_one_batch(&self) -> bool {
        !matches!(self.act, Act::Restore { .. } | Act::Undo { .. })
    }

    pub fn agent(&self) -> Option<&str> {
        match &self.act {
            Act::Keep { agent, .. }
            | Act::Patch { agent }
            | Act::Restore { agent, .. }
            | Act::Undo { agent }
            | Act::Reset { agent }
            | Act::Forget { agent, .. }
            | Act::Begin { agent, .. }
            | Act::Close { agent, .. } => Some(agent),
            Act::Settle | Act::Prune | Act::MakeSegment | Act::Reopen => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let owned = |word: &str| word.to_owned();
        let act = match words[..] {
            ["keep", agent, bytes, "bytes"] => {
                let bytes = bytes.parse().ok()?;
                Act::Keep { agent: owned(agent), kind: Kind::Routine, bytes }
            }
            ["keep", agent, bytes, "bytes", "as", kind] => {
                let kind = Kind::ALL.into_iter().find(|known| known.as_str() == kind)?;
                Act::Keep { agent: owned(agent), kind, bytes: bytes.parse().ok()? }
            }
            ["patch", agent] => Act::Patch { agent: owned(agent) },
            ["restore", agent, back, "back"] => {
                Act::Restore { agent: owned(agent), back: back.parse().ok()? }
            }
            ["undo", agent] => Act::Undo { agent: owned(agent) },
            ["reset", agent] => Act::Reset { agent: owned(agent) },
            ["forget", agent, back, "back"] => {
                Act::Forget { agent: owned(agent), back: back.parse().ok()? }
            }
            ["begin", agent, operation] => {
                Act::Begin { agent: owned(agent), operation: owned(operation) }
            }
            [word @ ("complete" | "fail"), agent, operation] => {
                let well = word == "complete";
                let outcome = if well { Outcome::Completed } else { Outcome::Failed };
                Act::Close { agent: owned(agent), operation: owned(operation), outcome }
            }
            ["settle"] => Act::Settle,
            ["prune"] => Act::Prune,
            ["make", "the", "next", "segment"] => Act::MakeSegment,
            ["open", "again"] => Act::Reopen,
            _ => return None,
        };
        Some(Self { act, text: text.to_owned() })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.text)
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "\"{text}\" is no step; steps are `keep AGENT N bytes [as KIND]`, `patch AGENT`, \
                 `restore AGENT N back`, `undo AGENT`, `reset AGENT`, `forget AGENT N back`, \
                 `begin AGENT OPERATION`, `complete AGENT OPERATION`, `fail AGENT OPERATION`, \
                 `settle`, `prune`, `make the next segment`, `open again`"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_as_they_are_written() {
        let keep = Step::parse("keep team/b 900 bytes as recovery").unwrap();
        let expected = Act::Keep { agent: "team/b".to_owned(), kind: Kind::Recovery, bytes: 900 };
        assert_eq!(keep.act, expected);
        assert_eq!(Step::parse("make the next segment").unwrap().act, Act::MakeSegment);
        for wrong in ["keep a", "keep a x bytes", "keep a 1 bytes as odd", "dance", ""] {
            assert_eq!(Step::parse(wrong), None, "{wrong}");
        }
    }
}
