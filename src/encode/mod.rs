//! The way from an agent's state to content, and back.
//!
//! A state is the bytes of one JSON object, kept as given. This stage checks them, cuts them into
//! blocks addressed by BLAKE3, finds what changed since the last state, applies patches, tells the
//! difference between two states, and packs runs of blocks. It is pure: it touches no disk and no
//! clock, and it does not know where blocks are kept.

mod content;
mod diff;
mod hash;
mod json;
mod outline;
mod pack;
mod patch;
mod regroup;
mod text;
mod tracked;
mod tree;
mod varint;

pub use content::{
    Block, ChildRef, ChunkParams, Content, NodeError, ReadError, Slice, children, read,
};
pub use diff::{Change, ChangeKind, diff};
pub use json::{JsonError, JsonProblem, validate_object, validate_value};
pub use pack::{PackError, pack, unpack};
pub use patch::{PatchError, PatchProblem};
pub use tracked::{Encoded, Tracked, encode_complete};

/// How states are checked and cut.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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

/// Why the stage could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A state is not one JSON object.
    #[error("the state is not a JSON object: {0}")]
    Json(#[from] JsonError),
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
