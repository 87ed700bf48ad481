//! Drift: an agent that leaves the behaviour or the state it should have.
//!
//! Signals are measured ([`signals`]), a verdict is reached with an estimated onset, and a policy
//! decides on the response. All of it is a function of what was seen, in the order in which it was
//! seen: no disk, no clock, no manager.

pub mod observation;
pub mod signals;

pub use observation::{Action, Observation, Occasion};
pub use signals::Level;

use crate::error::ErrorKind;

/// Why something is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name or a digest that is too long, or a name that is empty.
    #[error("a name or digest has 1 to 128 bytes; `{start}…` has {bytes}")]
    Name {
        /// How it begins.
        start: String,
        /// Its length.
        bytes: usize,
    },
    /// Too many metrics in one observation.
    #[error("an observation has at most 64 metrics; this one has {count} metrics")]
    Metrics {
        /// How many.
        count: usize,
    },
    /// An option outside its bounds.
    #[error("drift.{key} does not fit: {why}")]
    Option {
        /// The key within the section `drift`.
        key: &'static str,
        /// What is wrong with it, and what is allowed.
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
