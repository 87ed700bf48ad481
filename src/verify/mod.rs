//! Looking for damage everywhere, and healing what has a second copy.
//!
//! `scrub` reads every byte of a store: the log batch by batch, every checkpoint's content, every
//! view. It changes nothing but views, which are derived. `heal` changes the log: what a view or
//! another store holds sound is written anew, and a damaged segment is emptied of what is sound and
//! let go; damaged ranges were copied aside before. What has no second copy stays reported.

mod heal;
mod scrub;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::store::{DamagedCheckpoint, Finding};
pub(crate) use heal::heal;
pub(crate) use scrub::scrub;

/// How a store is verified.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct VerifyOptions {
    /// How much of the checkpoints' content is read, in percent; everything else always is.
    #[cfg_attr(feature = "server", schema(minimum = 0.0, maximum = 100.0))]
    pub subset_percent: f64,
    /// Mend the log where a second copy exists.
    pub repair: bool,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { subset_percent: 100.0, repair: false }
    }
}

/// What verifying a store found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct VerifyReport {
    /// The store.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub store: PathBuf,
    /// Segments read.
    pub segments: u64,
    /// Bytes read from segments.
    pub bytes: u64,
    /// Checkpoints whose content was read.
    pub checkpoints: u64,
    /// Views compared.
    pub views: u64,
    /// Files that are damaged.
    pub damage: Vec<Finding>,
    /// Checkpoints that are damaged.
    pub damaged_checkpoints: Vec<DamagedCheckpoint>,
    /// Checkpoints that the log lost and a view still shows.
    pub lost_checkpoints: Vec<DamagedCheckpoint>,
    /// Views that were made anew.
    pub rebuilt_views: u64,
    /// What was healed, in words.
    pub healed: Vec<String>,
    /// Nothing damaged is left.
    pub sound: bool,
}

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes or records done.
    pub done: u64,
    /// Bytes or records in all.
    pub total: u64,
}
