//! The way from an agent's state to content, and back.
//!
//! A state is the bytes of one JSON object, kept as given. This stage checks them, cuts them into
//! blocks addressed by BLAKE3, finds what changed since the last state, applies patches, tells the
//! difference between two states, and packs runs of blocks. It is pure: it touches no disk and no
//! clock, and it does not know where blocks are kept.

mod content;
mod diff;
pub(crate) mod directory;
pub(crate) mod event;
pub(crate) mod fields;
mod file;
mod hash;
mod json;
pub(crate) mod manifest;
mod outline;
pub(crate) mod pack;
pub(crate) mod parts;
mod patch;
mod regroup;
mod text;
mod tracked;
mod tree;
mod unified;
mod varint;
pub(crate) mod watched;

pub use content::{
    Block, ChildRef, ChunkParams, Content, NodeError, ReadError, Slice, children, read,
};
pub use diff::{Change, ChangeKind, diff};
pub(crate) use file::encode_file;
pub use json::{JsonError, JsonProblem, validate_object, validate_value};
pub use pack::{PackError, pack, unpack};
pub use patch::{PatchError, PatchProblem};
pub use tracked::{Encoded, Tracked, encode_complete};
pub use unified::NoText;
pub(crate) use unified::{TEXT_BYTES_MAX, unified};

/// How states are checked and cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Deepest nesting of a state.
    pub depth_max: usize,
    /// Longest state in bytes.
    pub state_bytes_max: usize,
    /// Longest state that lies in its record, in bytes.
    pub inline_bytes_max: usize,
    /// Where longer states are cut.
    pub chunks: ChunkParams,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            depth_max: 96,
            state_bytes_max: 64 << 20,
            inline_bytes_max: 16 << 10,
            chunks: ChunkParams::default(),
        }
    }
}

impl Options {
    /// Checks that the numbers make sense.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        let ChunkParams { min_bytes: min, avg_bytes: avg, max_bytes: max } = self.chunks;
        let even = [min, avg, max].iter().all(|size| size % 2 == 0);
        let what = if self.depth_max == 0 {
            "depth_max is 1 or more"
        } else if !(64..=1 << 20).contains(&min) {
            "chunks.min_bytes is from 64 to 1 MiB"
        } else if !(256..=4 << 20).contains(&avg) || avg < min || !avg.is_power_of_two() {
            "chunks.avg_bytes is a power of two from 256 to 4 MiB, and no less than min_bytes"
        } else if !(1024..=16 << 20).contains(&max) || max < avg || !even {
            "chunks.max_bytes is from 1 KiB to 16 MiB and no less than avg_bytes, and all are even"
        } else {
            return Ok(());
        };
        Err(Error::Options(what))
    }

    /// Checks that `bytes` are one JSON object within the limits.
    ///
    /// # Errors
    /// When they are too long, or are not, with the position.
    pub fn check_state(&self, bytes: &[u8]) -> Result<(), Error> {
        self.check_len(bytes.len())?;
        Ok(validate_object(bytes, self.depth_max)?)
    }

    /// Checks the length of a state that is known to be one JSON object.
    ///
    /// # Errors
    /// When it is longer than allowed.
    pub fn check_len(&self, len: usize) -> Result<(), Error> {
        let max = self.state_bytes_max;
        if len > max { Err(Error::TooLarge { len, max }) } else { Ok(()) }
    }
}

/// Why the stage could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A state is not one JSON object.
    #[error("the state is not a JSON object: {0}")]
    Json(#[from] JsonError),
    /// A state is longer than allowed.
    #[error("the state is {len} bytes long; the limit is {max} (`state_bytes_max`)")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// An option makes no sense.
    #[error("option out of range: {0}")]
    Options(&'static str),
    /// A patch does not apply.
    #[error(transparent)]
    Patch(#[from] PatchError),
    /// A pack of blocks cannot be unpacked.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The bytes of a node are not one.
    #[error(transparent)]
    Node(#[from] NodeError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_make_sense_and_nonsense_is_named() {
        assert!(Options::default().check().is_ok());
        assert!(Options { chunks: ChunkParams::FILE, ..Options::default() }.check().is_ok());
        let sound = ChunkParams::STATE;
        for chunks in [
            ChunkParams { min_bytes: 32, ..sound },
            ChunkParams { min_bytes: 1001, ..sound },
            ChunkParams { avg_bytes: 512, ..sound },
            ChunkParams { avg_bytes: 5000, ..sound },
            ChunkParams { max_bytes: 2048, ..sound },
            ChunkParams { max_bytes: 32 << 20, ..sound },
        ] {
            let result = Options { chunks, ..Options::default() }.check();
            assert!(matches!(result, Err(Error::Options(_))), "{chunks:?}");
        }
    }

    #[test]
    fn limits_of_a_state_are_exact() {
        let options = Options { state_bytes_max: 7, depth_max: 1, ..Options::default() };
        assert!(options.check_state(br#"{"a":1}"#).is_ok());
        let long = options.check_state(br#"{"a":10}"#);
        assert!(matches!(long, Err(Error::TooLarge { len: 8, max: 7 })));
        assert!(matches!(options.check_state(br#"{"":[]}"#), Err(Error::Json(_))));
    }
}
