//! Where the content of a workspace goes: blocks, handed over about a MiB at a time.
//!
//! Several threads hand over at once. What a thread hands over names only blocks that were handed
//! over before: by the same thread, or, where a directory names them, by any.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::encode::directory::Root;
use crate::encode::{Block, ChildRef};

/// Blocks are gathered until they have so many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// Who takes the blocks of a scan.
#[derive(Clone, Copy)]
pub(crate) struct Sink<'a> {
    /// Takes blocks; called from several threads at once.
    pub put: &'a (dyn Fn(Vec<Block>) -> Result<(), SinkError> + Sync),
    /// The chunks, in order, of a file kept before; none where they cannot be had.
    pub chunks_of: &'a (dyn Fn(Root) -> Vec<ChildRef> + Sync),
    /// Told after each file that was read.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

/// Why the blocks of a scan were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SinkError(pub(crate) String);

/// How much of a scan was read so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Files, counted once for each time they were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Counts what all threads of a scan read.
#[derive(Debug, Default)]
pub(super) struct Tally {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    pub(super) fn add_file(&self, bytes: u64) -> Progress {
        let files = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        Progress { files, bytes: self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes }
    }
}

/// Gathers one thread's blocks.
pub(super) struct Outbox<'a> {
    sink: &'a Sink<'a>,
    blocks: Vec<Block>,
    bytes: usize,
}

impl<'a> Outbox<'a> {
    pub(super) fn new(sink: &'a Sink<'a>) -> Self {
        Self { sink, blocks: Vec::new(), bytes: 0 }
    }

    pub(super) fn put(&mut self, block: Block) -> Result<(), SinkError> {
        self.bytes += block.data.len();
        self.blocks.push(block);
        if self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Hands over what is left; what is dropped without it is lost.
    pub(super) fn flush(&mut self) -> Result<(), SinkError> {
        self.bytes = 0;
        if self.blocks.is_empty() {
            return Ok(());
        }
        (self.sink.put)(std::mem::take(&mut self.blocks))
    }
}
