//! `store.json`: which store this is, and which format it has.
//!
//! It is published last when a store is made, so that its presence says that the making was
//! finished. It proves itself ([`proof`]): one that does not is as good as missing, and is made again
//! from the segments. Unknown fields are kept.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::layout::Layout;
use super::proof;
use crate::disk::{Disk, Durability, PublishError, publish, read};
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
    /// Events of the fallback up to this number are known there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub events_known: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
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
            Ok(bytes) => Ok(match Self::decode(&bytes) {
                Ok(identity) => Found::Identity(identity),
                Err(why) => Found::Unreadable(why),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Missing),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn publish(&self, disk: &dyn Disk, layout: &Layout) -> io::Result<()> {
        publish(disk, &layout.identity(), &self.encode(), Durability::Synced)
            .map_err(PublishError::into_io)
    }

    fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("plain values always serialize");
        text.truncate(text.len() - "\n}".len());
        proof::close(&mut text);
        text
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        proof::proven(bytes).ok_or("it is not the text that was written")?;
        let mut identity: Self =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        identity.unknown.remove("check");
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_comes_back_with_unknown_fields_and_not_with_a_byte_changed() {
        let home = Home { store_id: Some(Uuid::nil()), path: "/home".into(), events_known: 0 };
        let mut identity =
            Identity::new(Uuid::from_u128(7), Timestamp::from_unix_ms(5), Some(home));
        identity.unknown.insert("later".into(), serde_json::json!([1]));
        let bytes = identity.encode();
        assert_eq!(Identity::decode(&bytes).unwrap(), identity);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Identity::decode(&flipped).is_err(), "byte {at}");
        }
    }
}
