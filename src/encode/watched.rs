//! How an agent stood, as a checkpoint or an event tells it: what drift's detectors need to go on.
//!
//! ```text
//! tagged fields: 1 number of the newest observation · 2 level (0 ok, 1 suspect, 2 drifting) · 3 the
//!                earliest onset that is suspected · 4 the earliest that could still be named ·
//!                5 seq of the newest checkpoint when watching began · 6 digest of the block with what
//!                the detectors remember (32)
//! ```
//!
//! Numbers are as in manifests; 3, 4 and 6 may be absent. What the detectors remember is a block of
//! level 0: a pack of one byte string, the JSON that the drift stage writes. It is no content of the
//! checkpoint, and a checkpoint without it is whole. Fields that are not known are kept as they are.

use serde::{Deserialize, Serialize};

use super::content::Block;
use super::directory::Root;
use super::fields::{self, FieldError, Writer};
use super::pack::{PackError, pack, unpack};
use crate::state::{Digest, Level, Seq};

/// zstd's level for what the detectors remember: it is packed on the way of a commit.
const PACK_LEVEL: i32 = 1;

/// What the detectors remember is far smaller; more than this is none of ours.
const MEMORY_BYTES_MAX: usize = 16 << 20;

/// How an agent stood.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Watched {
    /// The number of the newest observation.
    pub observation: u64,
    /// How the agent stood by it.
    pub level: Level,
    /// The earliest onset of anything that was suspected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspected_since: Option<u64>,
    /// The earliest observation that anything could still be dated to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest_onset: Option<u64>,
    /// The newest checkpoint when watching began: it and those before it were made at observation 0.
    #[serde(default)]
    pub began: Seq,
    /// The block with what the detectors remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Digest>,
    /// Fields of a newer program.
    #[serde(skip)]
    pub(crate) unknown: Vec<(u8, Vec<u8>)>,
}

impl Watched {
    /// The block with what the detectors remembered, as blocks are named.
    pub(crate) fn root(&self) -> Option<Root> {
        self.memory.map(|digest| (digest, 0))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.number(1, self.observation);
        writer.number(2, self.level as u64);
        if let Some(onset) = self.suspected_since {
            writer.number(3, onset);
        }
        if let Some(onset) = self.earliest_onset {
            writer.number(4, onset);
        }
        writer.number(5, self.began.0);
        if let Some(digest) = &self.memory {
            writer.bytes(6, &digest.0);
        }
        for (tag, value) in &self.unknown {
            writer.bytes(*tag, value);
        }
        writer.finish()
    }

    pub(crate) fn decode(outer: u8, value: &[u8]) -> Result<Self, FieldError> {
        let mut watched = Self::default();
        for field in fields::read(value) {
            match field? {
                (1, value) => watched.observation = fields::number(outer, value)?,
                (2, value) => watched.level = level(outer, value)?,
                (3, value) => watched.suspected_since = Some(fields::number(outer, value)?),
                (4, value) => watched.earliest_onset = Some(fields::number(outer, value)?),
                (5, value) => watched.began = Seq(fields::number(outer, value)?),
                (6, value) => watched.memory = Some(Digest(fields::array(outer, value)?)),
                (tag, value) => watched.unknown.push((tag, value.to_vec())),
            }
        }
        Ok(watched)
    }
}

fn level(outer: u8, value: &[u8]) -> Result<Level, FieldError> {
    match fields::number(outer, value)? {
        0 => Ok(Level::Ok),
        1 => Ok(Level::Suspect),
        2 => Ok(Level::Drifting),
        _ => Err(FieldError::Form(outer)),
    }
}

/// The block that holds what the detectors remember.
pub(crate) fn pack_memory(memory: &[u8]) -> Block {
    let data = pack(&[memory], PACK_LEVEL);
    Block { digest: Digest::of(&data), level: 0, data: data.into() }
}

/// What the detectors remembered, out of the bytes of its block.
///
/// # Errors
/// Where the bytes are no such block.
pub(crate) fn unpack_memory(block: &[u8]) -> Result<Vec<u8>, PackError> {
    let mut items = unpack(block, MEMORY_BYTES_MAX)?;
    if items.len() == 1 { Ok(items.remove(0)) } else { Err(PackError::Length) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn watched() -> Watched {
        Watched {
            observation: 412,
            level: Level::Drifting,
            suspected_since: Some(390),
            earliest_onset: Some(300),
            began: Seq(7),
            memory: Some(Digest([8; 32])),
            unknown: vec![(90, b"later".to_vec())],
        }
    }

    #[test]
    fn it_comes_back_whole_and_a_cut_one_is_refused_or_smaller() {
        let bytes = watched().encode();
        assert_eq!(Watched::decode(21, &bytes).unwrap(), watched());
        for cut in 0..bytes.len() {
            let read = Watched::decode(21, &bytes[..cut]);
            assert!(read.is_err() || read.unwrap() != watched(), "cut at {cut}");
        }
        assert!(Watched::decode(21, &[2, 1, 3]).is_err(), "a level that nobody knows");
    }

    #[test]
    fn what_the_detectors_remember_comes_back_out_of_its_block() {
        let memory = "{\"a\": 1}".repeat(500);
        let block = pack_memory(memory.as_bytes());
        assert!(block.data.len() < memory.len() / 4);
        assert_eq!(unpack_memory(&block.data).unwrap(), memory.as_bytes());
        assert!(unpack_memory(&block.data[..9]).is_err());
        assert!(unpack_memory(&pack(&[b"a", b"b"], 1)).is_err());
    }
}
