//! Content that goes into a store ahead of the checkpoint that names it.
//!
//! What is handed over is gathered to batches that take turns with other commits and count for
//! nothing until a checkpoint names them. Everything handed over stays in the store until the value
//! is dropped, and so does everything the checkpoints name that it begins with. The last batch is
//! not written: it rides with the checkpoint, so that what is small costs one sync.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::catalog::BlockKey;
use super::upkeep::Pinned;
use super::write::{BATCH_BYTES_MAX, batches};
use super::{ContentError, OpenPacks, Store};
use crate::commit::writer::AppendError;
use crate::disk::{Retry, RetryError, retry};
use crate::encode::{Block, Slice, directory};

/// Content is gathered to so many bytes; what comes at once with the last of them still fits a batch.
const GATHERED_BYTES_MAX: usize = BATCH_BYTES_MAX - (5 << 18);
/// Where others commit meanwhile, batches are no longer than this, so that nobody waits long.
const SHARED_BYTES_MAX: usize = 256 << 10;

/// Content on its way into a store.
#[derive(Debug)]
pub(crate) struct Ahead {
    store: Arc<Store>,
    retry: Retry,
    waiting: Mutex<Waiting>,
    /// Commits to the store when it was last asked whether there are others.
    commits_seen: AtomicU64,
    pinned: Mutex<Vec<Pinned>>,
    written: Mutex<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    blocks: Vec<Block>,
    bytes: usize,
}

/// What was brought, and the rest that rides with the checkpoint.
#[derive(Debug)]
pub(crate) struct Brought {
    /// Where it lies.
    pub store: Arc<Store>,
    /// What is still to be written.
    pub rest: Vec<Block>,
    /// Bytes that were written.
    pub written: u64,
    pinned: Vec<Pinned>,
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Brought {
    /// Whether this tree is among what was brought or leant on.
    pub(crate) fn holds(&self, root: BlockKey) -> bool {
        self.pinned.iter().any(|pinned| pinned.holds(root))
    }
}

/// Why a tree could not be copied from one store to another.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error(transparent)]
    Read(#[from] ContentError),
    #[error(transparent)]
    Write(#[from] RetryError),
}

impl Ahead {
    /// Begins to bring content to a store that can be written.
    pub(crate) fn new(store: &Arc<Store>, retry: Retry) -> Self {
        Self {
            store: Arc::clone(store),
            retry,
            commits_seen: AtomicU64::new(store.commits.load(Ordering::Relaxed)),
            waiting: Mutex::default(),
            pinned: Mutex::default(),
            written: Mutex::default(),
        }
    }

    /// Where the content goes.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Whether the store holds this tree, whole, through a checkpoint; if so it stays there as long
    /// as this value.
    pub(crate) fn lean_on(&self, root: BlockKey) -> bool {
        // Pinned before it is looked for: what is held then cannot go any more.
        let pinned = self.store.pin_trees(vec![root]);
        let catalog = self.store.catalog();
        let held = !catalog.knows_damage()
            && catalog.held().any(|held| held.manifest.roots().any(|one| one == root));
        drop(catalog);
        if held {
            self.pinned.lock().push(pinned);
        }
        held
    }

    /// Takes blocks; may be called from several threads at once.
    ///
    /// # Errors
    /// When the store cannot take them; what was brought before then counts for nothing.
    pub(crate) fn put(&self, blocks: Vec<Block>) -> Result<(), RetryError> {
        self.pinned.lock().push(self.store.pin(&blocks));
        let full = {
            let mut waiting = self.waiting.lock();
            waiting.bytes += blocks.iter().map(|block| block.data.len()).sum::<usize>();
            waiting.blocks.extend(blocks);
            (waiting.bytes > GATHERED_BYTES_MAX).then(|| std::mem::take(&mut *waiting))
        };
        let Some(full) = full else { return Ok(()) };
        let bytes = if self.is_alone() { BATCH_BYTES_MAX } else { SHARED_BYTES_MAX };
        for batch in batches(&full.blocks, bytes) {
            *self.written.lock() += self.write(batch)?;
        }
        Ok(())
    }

    /// Whether nobody else has committed to the store since this was asked last.
    fn is_alone(&self) -> bool {
        let now = self.store.commits.load(Ordering::Relaxed);
        self.commits_seen.swap(now, Ordering::Relaxed) == now
    }

    /// Writes a batch, again where an error may pass, and once more where room could be made.
    fn write(&self, blocks: &[Block]) -> Result<u64, RetryError> {
        let write = || {
            let once = || self.store.write_blocks(blocks).map_err(AppendError::into_io);
            let clock = &*self.store.ground.clock;
            self.retry.run_as(retry::classify_on_new_place, clock, "bring content", once)
        };
        let first = write();
        match &first {
            Err(error) if is_full(&error.last) => match self.store.make_room() {
                Ok(()) => write(),
                Err(room) => {
                    tracing::warn!(error = %room, "no room could be made");
                    first
                }
            },
            _ => first,
        }
    }

    /// Brings everything that a tree in another store names.
    pub(crate) fn copy(&self, from: &Store, root: BlockKey) -> Result<(), CopyError> {
        let mut packs = OpenPacks::default();
        let mut seen = HashSet::new();
        let mut waiting = vec![root];
        while let Some(key) = waiting.pop() {
            if !seen.insert(key) {
                continue;
            }
            let bytes = from.read_proven(&key, &mut packs)?;
            let named = directory::references(key.1, &bytes)
                .map_err(|error| ContentError::Damaged(format!("block {}: {error}", key.0)))?;
            waiting.extend(named);
            self.put(vec![Block { digest: key.0, level: key.1, data: Slice::from(bytes) }])?;
        }
        Ok(())
    }

    /// Everything was handed over.
    pub(crate) fn finish(self) -> Brought {
        let written = self.written.into_inner();
        if written > 0 {
            self.store.end_long_segment();
        }
        Brought {
            store: self.store,
            rest: self.waiting.into_inner().blocks,
            written,
            pinned: self.pinned.into_inner(),
        }
    }
}
