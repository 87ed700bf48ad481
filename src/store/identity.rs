//! `store.json`: which store this is, and which format it has.
//!
//! It is published last when a store is made, so that its presence says that the making was
//! finished. Unknown fields are kept.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::layout::Layout;
use crate::disk::{Disk, Durability, publish, read};
use crate::state::Timestamp;

/// The newest format this program reads and writes.
pub(crate) const FORMAT: u32 = 1;

/// Who a store is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Version of everything in the store.
    pub format: u32,
    /// Its identity, also in every segment.
    pub store_id: Uuid,
    /// When it was made.
    pub created_at: Timestamp,
    /// A fallback store names the store whose commits it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<Home>,
    /// Fields that a newer program wrote.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

/// The store whose commits a fallback store takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// Its identity, where the fallback was made in sight of it.
    pub store_id: Option<Uuid>,
    /// Where it is.
    pub path: PathBuf,
}

/// What stands where `store.json` should.
#[derive(Debug)]
pub(crate) enum Found {
    Identity(Identity),
    Missing,
    /// It is there and says nothing.
    Unreadable(String),
}

impl Identity {
    pub(crate) fn new(store_id: Uuid, created_at: Timestamp, home: Option<Home>) -> Self {
        Self { format: FORMAT, store_id, created_at, home, unknown: BTreeMap::new() }
    }

    /// Reads `store.json`; an error only where the disk refuses to tell.
    pub(crate) fn read(disk: &dyn Disk, layout: &Layout) -> io::Result<Found> {
        match read(disk, &layout.identity()) {
            Ok(bytes) => Ok(match serde_json::from_slice(&bytes) {
                Ok(identity) => Found::Identity(identity),
                Err(error) => Found::Unreadable(error.to_string()),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Missing),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn publish(&self, disk: &dyn Disk, layout: &Layout) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self).expect("plain values always serialize");
        text.push(b'\n');
        publish(disk, &layout.identity(), &text, Durability::Synced).map_err(io::Error::other)
    }
}
