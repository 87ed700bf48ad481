//! One changed file, read until it held still.
//!
//! A read counts when the open file's facts were the same before and after it. Where times do not
//! tell, because a process has the file mapped to write into, two reads in a row must find the same
//! bytes. After a few tries the last read is taken as it is, and the file is called unsettled.
//!
//! No more is read than the file held when it was opened, so that one that grows all the time comes
//! to an end.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::known::{FileFacts, is_same};
use super::sink::{Outbox, Sink, SinkError, Tally};
use crate::disk::{DiskTree, Stat};
use crate::encode::directory::Root;
use crate::encode::{Block, ChildRef, encode_file};

/// How often a file is read that does not hold still.
const TRIES: usize = 5;
/// The same for one larger than [`LARGE_BYTES`], which takes its time.
const TRIES_LARGE: usize = 2;
const LARGE_BYTES: u64 = 16 << 20;
/// What an `SQLite` database begins with: <https://www.sqlite.org/fileformat2.html#magic_header_string>.
pub(super) const DATABASE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Reads files, for one thread.
pub(super) struct Reader<'a> {
    pub(super) tree: &'a dyn DiskTree,
    sink: &'a Sink<'a>,
    outbox: Outbox<'a>,
    tally: &'a Tally,
}

/// What a file held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contents {
    /// From before it was read.
    pub stat: Stat,
    pub len: u64,
    pub root: Option<Root>,
    pub is_database: bool,
    /// Whether it held still.
    pub is_settled: bool,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Disk(#[from] io::Error),
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// Whether an error says nothing about what is there: too many files are open, or memory is out.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// What the store holds of a file from before.
#[derive(Debug, Default)]
pub(super) struct Old {
    root: Option<Root>,
    chunks: Vec<ChildRef>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(tree: &'a dyn DiskTree, sink: &'a Sink<'a>, tally: &'a Tally) -> Self {
        Self { tree, sink, outbox: Outbox::new(sink), tally }
    }

    /// Hands over what is left.
    pub(super) fn finish(mut self) -> Result<(), SinkError> {
        self.outbox.flush()
    }

    /// What need not be handed over again, of a file whose content lies in the store.
    pub(super) fn old(&self, file: &FileFacts) -> Old {
        let chunks = match file.content {
            None => Vec::new(),
            Some((digest, 0)) => vec![ChildRef { digest, len: file.len }],
            Some(root) => (self.sink.chunks_of)(root),
        };
        Old { root: file.content, chunks }
    }

    /// Reads a file until it holds still; one that is mapped, until two reads agree.
    pub(super) fn read(
        &mut self,
        path: &Path,
        old: &Old,
        is_mapped: bool,
    ) -> Result<Contents, ReadError> {
        let mut last = self.read_once(path, old)?;
        let mut is_settled = last.is_settled && !is_mapped;
        let tries = if last.len > LARGE_BYTES { TRIES_LARGE } else { TRIES };
        for _ in 1..tries {
            if is_settled {
                break;
            }
            let next = self.read_once(path, old)?;
            let agrees = next.root == last.root && is_same(&next.stat, &last.stat);
            is_settled = next.is_settled && (agrees || !is_mapped);
            last = next;
        }
        Ok(Contents { is_settled, ..last })
    }

    /// Reads a file as it is.
    pub(super) fn read_once(&mut self, path: &Path, old: &Old) -> Result<Contents, ReadError> {
        let file = self.tree.open(path)?;
        let stat = file.stat()?;
        let mut head = [0; DATABASE_MAGIC.len()];
        let mut offset = 0;
        let mut nodes: Vec<Block> = Vec::new();
        let mut read = |buffer: &mut [u8]| {
            let left = usize::try_from(stat.len - offset).unwrap_or(usize::MAX).min(buffer.len());
            if left == 0 {
                return Ok(0);
            }
            let count = file.read_at(&mut buffer[..left], offset)?;
            note_head(&mut head, offset, &buffer[..count]);
            offset += count as u64;
            Ok::<_, ReadError>(count)
        };
        let outbox = &mut self.outbox;
        let mut emit = |block: Block| {
            if block.level > 0 {
                nodes.push(block);
                return Ok(());
            }
            Ok(outbox.put(block)?)
        };
        let (len, root) = encode_file(&mut read, &old.chunks, &mut emit)?;
        if root != old.root {
            nodes.into_iter().try_for_each(|node| self.outbox.put(node))?;
        }
        let is_settled = len == stat.len && is_same(&stat, &file.stat()?);
        (self.sink.progress)(self.tally.add_file(len));
        Ok(Contents { stat, len, root, is_database: head == *DATABASE_MAGIC, is_settled })
    }
}

/// Copies what of `bytes`, which stand at `offset` of a file, belongs to its first bytes.
fn note_head(head: &mut [u8], offset: u64, bytes: &[u8]) {
    let at = usize::try_from(offset).unwrap_or(usize::MAX).min(head.len());
    let count = bytes.len().min(head.len() - at);
    head[at..at + count].copy_from_slice(&bytes[..count]);
}
