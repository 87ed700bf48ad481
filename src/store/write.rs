//! Writing: drafts become records, one batch, one sync, and only then part of the catalog.
//!
//! The store alone says that a block is present. A draft was encoded against a predecessor; where
//! that predecessor is not held here (another store, a failed commit, damage found since), all of
//! the draft's content is written.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Store;
use super::ahead::Brought;
use super::catalog::{BlockKey, Catalog};
use super::news::Fresh;
use super::read::OpenPacks;
use super::upkeep::Pinned;
use crate::commit::frame::{Outgoing, RecordType};
use crate::commit::summary::{self, At};
use crate::commit::writer::{AppendError, Writer};
use crate::encode::event::{Event, What};
use crate::encode::manifest::{Lies, Manifest};
use crate::encode::{self, Block, Content, Encoded, encode_complete};
use crate::state::CheckpointId;

/// Content up to this many bytes goes into the batch of its checkpoint; more goes ahead.
pub(super) const BATCH_BYTES_MAX: usize = 4 << 20;

/// The state of a draft.
#[derive(Debug, Clone)]
pub(crate) enum DraftState {
    /// New content, encoded against the checkpoint `base` where it is not complete.
    Given { encoded: Encoded, base: Option<CheckpointId> },
    /// Taken over; the manifest names its blocks, or these are its inline bytes.
    Kept(Vec<u8>),
}

impl Default for DraftState {
    /// None.
    fn default() -> Self {
        Self::Kept(Vec::new())
    }
}

/// A checkpoint on its way into a store.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub manifest: Manifest,
    pub state: DraftState,
    /// Blocks of the other parts that were not brought ahead.
    pub blocks: Vec<Block>,
    /// Where the rest of them lies, kept from being let go.
    pub brought: Vec<Arc<Brought>>,
    /// What is to be said in the same batch.
    pub events: Vec<What>,
}

/// A record that owns its bytes until the batch is laid out.
enum Ready<'a> {
    Block([u8; summary::BLOCK_PREFIX], &'a Block),
    Checkpoint(Vec<u8>, &'a Draft),
    Event(Vec<u8>, Box<Event>),
}

impl Ready<'_> {
    fn outgoing(&self) -> Outgoing<'_> {
        match self {
            Self::Block(prefix, block) => {
                Outgoing::in_parts(RecordType::Block, [prefix, &block.data])
            }
            Self::Checkpoint(manifest, draft) => {
                Outgoing::in_parts(RecordType::Checkpoint, [manifest, draft.inline()])
            }
            Self::Event(bytes, _) => Outgoing::new(RecordType::Event, bytes),
        }
    }
}

impl Ready<'_> {
    /// Takes the record, which is durable now, into the catalog: as reading it back would.
    fn enter(&self, catalog: &mut Catalog, at: At) {
        match self {
            Self::Block(prefix, block) => {
                let stored_len = clamp(prefix.len() + block.data.len());
                catalog.enter_block((block.digest, block.level), at, stored_len);
            }
            Self::Checkpoint(manifest, draft) => {
                let stored_len = clamp(manifest.len() + draft.inline().len());
                catalog.enter_checkpoint(draft.manifest.clone(), at, stored_len);
            }
            Self::Event(bytes, event) => catalog.enter_event(event, at, clamp(bytes.len())),
        }
    }
}

fn clamp(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Draft {
    /// Re-encodes completely where the predecessor the draft leans on is not held.
    fn make_whole(&mut self, options: &encode::Options, holds: impl Fn(CheckpointId) -> bool) {
        if let DraftState::Given { encoded, base } = &mut self.state
            && !encoded.complete
            && !base.is_some_and(holds)
        {
            *encoded = encode_complete(Arc::clone(&encoded.bytes), options);
        }
    }

    fn inline(&self) -> &[u8] {
        match &self.state {
            DraftState::Given { encoded, .. } => match &encoded.content {
                Content::Inline(bytes) => bytes,
                Content::Tree { .. } => &[],
            },
            DraftState::Kept(bytes) => bytes,
        }
    }

    pub(crate) fn new(manifest: Manifest, state: DraftState) -> Self {
        Self { manifest, state, blocks: Vec::new(), brought: Vec::new(), events: Vec::new() }
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        let state: &[Block] = match &self.state {
            DraftState::Given { encoded, .. } => &encoded.blocks,
            DraftState::Kept(_) => &[],
        };
        state.iter().chain(&self.blocks)
    }

    /// Writes into the manifest what the encoding came to.
    fn note_content(&mut self, stored: usize) {
        if let DraftState::Given { encoded, .. } = &self.state
            && let Some(part) = &mut self.manifest.state
        {
            part.lies = match &encoded.content {
                Content::Inline(_) => Lies::Inline,
                Content::Tree { root, level, .. } => Lies::Tree { root: *root, level: *level },
            };
        }
        let ahead: u64 = self.brought.iter().map(|brought| brought.written).sum();
        self.manifest.stored_bytes = ahead + stored as u64;
    }
}

impl Store {
    /// Writes drafts and events as one batch and one sync, and takes them into the catalog. After
    /// an error none of them counts here.
    #[tracing::instrument(
        name = "store",
        level = "debug",
        skip_all,
        fields(store = %self.path().display(), checkpoints = drafts.len(), events = events.len())
    )]
    pub(crate) fn write(
        &self,
        drafts: &mut [Draft],
        events: Vec<What>,
        options: &encode::Options,
    ) -> Result<(), AppendError> {
        let writer = self.writer.as_ref().expect("callers ask is_writable first");
        let _tenure = self.tenure_to_append()?;
        let mut writer = writer.lock();
        self.make_whole(drafts, options);
        let said: Vec<What> = drafts.iter().flat_map(|draft| draft.events.clone()).collect();
        let mut fresh = HashSet::new();
        let mut ready = {
            let catalog = self.catalog.read();
            make_ready(drafts, &catalog, &mut fresh)
        };
        ready.extend(said.into_iter().chain(events).map(|what| {
            let event = writer.event(what);
            Ready::Event(event.encode(), Box::new(event))
        }));
        self.append(&mut writer, &ready)?;
        // Not before: compaction, which looks under this lock, must see what the batch names.
        drop(writer);
        drop(ready);
        self.commits.fetch_add(drafts.len() as u64, Ordering::Relaxed);
        self.note_unviewed(drafts);
        Ok(())
    }

    /// Makes records durable, and takes them into the catalog.
    fn append(&self, writer: &mut Writer, ready: &[Ready<'_>]) -> Result<(), AppendError> {
        let outgoing: Vec<Outgoing<'_>> = ready.iter().map(Ready::outgoing).collect();
        let appended = writer.append(&outgoing)?;
        self.adopt_segment(writer);
        let mut catalog = self.catalog.write();
        for (record, at) in ready.iter().zip(&appended.records) {
            record.enter(&mut catalog, *at);
        }
        drop(catalog);
        self.tell_events(ready);
        Ok(())
    }

    /// Tells whoever listens of the events that were written, while no other can be.
    fn tell_events(&self, ready: &[Ready<'_>]) {
        for one in ready {
            if let Ready::Event(_, event) = one {
                self.ground.news.tell(Fresh::Event(self.identity.store_id, event));
            }
        }
    }

    /// Waits until no batch is being written.
    #[cfg(feature = "server")]
    pub(crate) fn await_writer(&self) {
        if let Some(writer) = &self.writer {
            drop(writer.lock());
        }
    }

    /// Re-encodes drafts whose predecessor is not held, and sees to it that no block they name is
    /// known to be damaged.
    fn make_whole(&self, drafts: &mut [Draft], options: &encode::Options) {
        let mut in_batch = HashSet::new();
        for draft in drafts {
            draft.make_whole(options, |base| {
                in_batch.contains(&base) || self.catalog().can_lean_on(base)
            });
            in_batch.insert(draft.manifest.id);
            self.prove(draft.blocks());
        }
    }

    /// While something is known to be damaged, a block counts as present only where it can be read.
    pub(super) fn prove<'a>(&self, blocks: impl Iterator<Item = &'a Block>) {
        let mut packs = OpenPacks::default();
        for block in blocks {
            let key = (block.digest, block.level);
            let is_doubtful = {
                let catalog = self.catalog();
                catalog.knows_damage() && catalog.blocks.contains_key(&key)
            };
            if is_doubtful && let Err(error) = self.read_block(&key, &mut packs) {
                tracing::warn!(digest = %key.0, %error, "a block is written again");
            }
        }
    }

    /// Brings content ahead of its checkpoint, in batches that take turns with other commits. The
    /// blocks are kept from being let go as long as the answer is held.
    pub(crate) fn write_ahead(
        self: &Arc<Self>,
        encoded: &Encoded,
        base: Option<CheckpointId>,
        options: &encode::Options,
    ) -> Result<Pinned, AppendError> {
        let leans = encoded.complete || base.is_some_and(|base| self.catalog().can_lean_on(base));
        let whole;
        let encoded = if leans {
            encoded
        } else {
            whole = encode_complete(Arc::clone(&encoded.bytes), options);
            &whole
        };
        let pinned = self.pin(&encoded.blocks);
        for batch in batches(&encoded.blocks, BATCH_BYTES_MAX) {
            self.write_blocks(batch)?;
        }
        Ok(pinned)
    }

    /// Writes those of some blocks that are not present, as one batch; they are pinned, so that
    /// those that are present stay so. Answers the bytes written.
    pub(crate) fn write_blocks(&self, blocks: &[Block]) -> Result<u64, AppendError> {
        let writer = self.writer.as_ref().expect("callers ask is_writable first");
        let _tenure = self.tenure_to_append()?;
        self.prove(blocks.iter());
        // Under the lock: compaction, which lets dead blocks go under it, must have seen the pins.
        let mut writer = writer.lock();
        let mut fresh = HashSet::new();
        let ready: Vec<Ready<'_>> = {
            let catalog = self.catalog.read();
            let absent = blocks.iter().filter(|block| {
                let key = (block.digest, block.level);
                !catalog.blocks.contains_key(&key) && fresh.insert(key)
            });
            absent.map(|block| Ready::Block(prefix(block), block)).collect()
        };
        if ready.is_empty() {
            return Ok(0);
        }
        let outgoing: Vec<Outgoing<'_>> = ready.iter().map(Ready::outgoing).collect();
        let appended = writer.append_ahead(&outgoing)?;
        self.adopt_segment(&writer);
        let mut catalog = self.catalog.write();
        for (record, at) in ready.iter().zip(&appended.records) {
            record.enter(&mut catalog, *at);
        }
        Ok(outgoing.iter().map(|one| one.payload_len() as u64).sum())
    }

    /// Ends a segment that content ahead made long: what opens the store reads the newest one whole,
    /// and of those before it a summary.
    pub(super) fn end_long_segment(&self) {
        if let Some(writer) = &self.writer {
            let mut writer = writer.lock();
            if writer.active().end > BATCH_BYTES_MAX as u64 {
                writer.seal();
            }
        }
    }

    /// Writes events alone.
    pub(crate) fn write_events(&self, events: Vec<What>) -> Result<(), AppendError> {
        self.write(&mut [], events, &encode::Options::default())
    }

    /// Writes events, and with them the blocks that they name, as one batch.
    pub(crate) fn write_words(
        &self,
        events: Vec<What>,
        blocks: &[Block],
    ) -> Result<(), AppendError> {
        let writer = self.writer.as_ref().expect("callers ask is_writable first");
        let _tenure = self.tenure_to_append()?;
        let mut writer = writer.lock();
        let mut fresh = HashSet::new();
        let mut ready: Vec<Ready<'_>> = {
            let catalog = self.catalog.read();
            let absent = blocks.iter().filter(|block| {
                let key = (block.digest, block.level);
                !catalog.blocks.contains_key(&key) && fresh.insert(key)
            });
            absent.map(|block| Ready::Block(prefix(block), block)).collect()
        };
        ready.extend(events.into_iter().map(|what| {
            let event = writer.event(what);
            Ready::Event(event.encode(), Box::new(event))
        }));
        self.append(&mut writer, &ready)
    }

    /// Makes the segment that took the last batch readable.
    pub(super) fn adopt_segment(&self, writer: &Writer) {
        let segment = &writer.active().segment;
        let known = self.segments.read().contains_key(&segment.number());
        if !known {
            self.segments.write().insert(segment.number(), segment.clone());
        }
    }
}

/// The records of drafts, with the blocks that are not present yet.
fn make_ready<'a>(
    drafts: &'a mut [Draft],
    catalog: &Catalog,
    fresh: &mut HashSet<BlockKey>,
) -> Vec<Ready<'a>> {
    let mut ready = Vec::with_capacity(drafts.len() * 2);
    for draft in drafts.iter_mut() {
        let mut stored = draft.inline().len();
        let mut new = HashSet::new();
        for block in draft.blocks() {
            let key = (block.digest, block.level);
            if !catalog.blocks.contains_key(&key) && fresh.insert(key) {
                stored += block.data.len();
                new.insert(key);
            }
        }
        draft.note_content(stored);
        let draft = &*draft;
        let is_new = |block: &&Block| new.remove(&(block.digest, block.level));
        ready.extend(draft.blocks().filter(is_new).map(|block| Ready::Block(prefix(block), block)));
        ready.push(Ready::Checkpoint(draft.manifest.encode(), draft));
    }
    ready
}

fn prefix(block: &Block) -> [u8; summary::BLOCK_PREFIX] {
    let mut prefix = [0; summary::BLOCK_PREFIX];
    prefix[..32].copy_from_slice(&block.digest.0);
    prefix[32] = block.level;
    prefix
}

/// Runs of blocks of at most `bytes_max` bytes, or of one block.
pub(super) fn batches(blocks: &[Block], bytes_max: usize) -> Vec<&[Block]> {
    let mut batches = Vec::new();
    if blocks.is_empty() {
        return batches;
    }
    let mut start = 0;
    let mut bytes = 0;
    for (index, block) in blocks.iter().enumerate() {
        if bytes + block.data.len() > bytes_max && index > start {
            batches.push(&blocks[start..index]);
            start = index;
            bytes = 0;
        }
        bytes += block.data.len();
    }
    batches.push(&blocks[start..]);
    batches
}
