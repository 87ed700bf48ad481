//! The way from an agent's state to content, and back.
//!
//! A state is the bytes of one JSON object, kept as given. This stage checks them, cuts them into
//! blocks addressed by BLAKE3, finds what changed since the last state, applies patches, tells the
//! difference between two states, and packs runs of blocks. It is pure: it touches no disk and no
//! clock, and it does not know where blocks are kept.

mod content;
pub(crate) mod event;
pub(crate) mod fields;
mod hash;
pub(crate) mod manifest;
pub(crate) mod pack;
mod regroup;
mod tracked;
mod tree;

pub use content::{
    Block, ChildRef, ChunkParams, Content, NodeError, ReadError, Slice, children, read,
};
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
