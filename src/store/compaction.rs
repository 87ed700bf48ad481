//! Compaction: the live records of a segment are copied to the front, then the segment goes.
//!
//! The order is what makes it safe. What is live is found without holding anyone up; then, for a
//! moment under the writer's lock, what was committed meanwhile is added, and the dead blocks of the
//! victims stop counting as present. From then on no new checkpoint can name them. The live records
//! are copied in batches that take turns with commits, compressed together where that pays. Only
//! when all of them are durable elsewhere does one batch say that the victims are compacted; then
//! they are unlinked. A crash before that leaves copies, which are harmless; a crash after it leaves
//! files that the next opening removes.
//!
//! A victim that holds a live record which cannot be read is left as it is.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;

use super::Store;
use super::catalog::{BlockKey, Catalog};
use super::read::{ContentError, OpenPacks};
use crate::commit::frame::{Inner, Outgoing, RecordType};
use crate::commit::summary::{self, ALONE, At};
use crate::commit::writer::{AppendError, Writer};
use crate::encode::directory;
use crate::encode::event::{Event, Forgotten, What};
use crate::state::{CheckpointId, Timestamp};

/// Records are compressed together in runs of this many bytes: longer runs compress better, shorter
/// ones cost less to read a single record from, and commits wait while a run is written.
const PACK_BYTES: usize = 256 << 10;
/// zstd's level; compaction is off the commit path, and higher levels gain little on JSON.
const PACK_LEVEL: i32 = 3;
/// How long events are kept that only tell, in milliseconds, and how many bytes of them.
const TELLING_MS: i64 = 30 * 24 * 3_600_000;
const TELLING_BYTES: u64 = 64 << 20;

/// Which segments are to be compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which<'a> {
    /// Sealed ones in which nothing but words is live: they go without room for a copy.
    Dead,
    /// Sealed ones that are under half live.
    UnderHalfLive,
    /// Every one that holds something dead or uncompressed, the newest included.
    All,
    /// Just these.
    These(&'a BTreeSet<u64>),
}

/// What a compaction came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Compacted {
    pub segments_removed: u64,
    pub before_bytes: u64,
    pub after_bytes: u64,
}

/// Why a compaction stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompactionError {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error("cannot make durable that views are gone: {0}")]
    Views(io::Error),
    #[error("cannot unlink a compacted segment: {0}")]
    Unlink(#[from] io::Error),
    #[error("cannot fill the reserve again: {0}")]
    Reserve(io::Error),
    #[error("segment {segment} could not be rewritten")]
    Kept { segment: u64 },
    #[error("segment {segment} is damaged: {why}")]
    Damaged { segment: u64, why: String },
}

impl CompactionError {
    /// Whether the disk, or the user's share of it, is full.
    pub(super) fn is_full(&self) -> bool {
        let io = match self {
            Self::Append(error) => error.io(),
            Self::Views(error) | Self::Unlink(error) | Self::Reserve(error) => Some(error),
            Self::Content(_) | Self::Kept { .. } | Self::Damaged { .. } => None,
        };
        io.is_some_and(|error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        })
    }
}

/// What is live.
#[derive(Debug, Default)]
struct Marked {
    checkpoints: HashSet<CheckpointId>,
    blocks: HashSet<BlockKey>,
}

/// A record that is to be copied.
#[derive(Debug, Clone, Copy)]
struct Move {
    kind: RecordType,
    at: At,
}

impl Store {
    /// Copies what is live out of segments and removes them. `progress` is told the bytes done and
    /// those there are in all.
    pub(crate) fn compact(
        &self,
        which: Which<'_>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Compacted, CompactionError> {
        let Some(writer) = &self.writer else { return Ok(Compacted::default()) };
        let _alone = self.compacting.lock();
        let _tenure = self.tenure_to_append()?;
        let mut marked = Marked::default();
        self.mark_live(&mut marked)?;
        if which == Which::All {
            // Made before anyone has to wait for it.
            if let Err(error) = self.make_spare_now() {
                tracing::debug!(%error, "no segment was made ahead");
            }
            writer.lock().seal();
            // An empty batch begins the next segment, so that the last one is sealed and can go.
            self.write_events(Vec::new())?;
        }
        let before_bytes = self.log_bytes();
        let mut victims = {
            let writer = writer.lock();
            self.mark_live(&mut marked)?;
            let victims = self.victims(which, &writer, &marked);
            self.drop_dead(&victims, &marked);
            victims
        };
        if victims.is_empty() {
            return Ok(Compacted {
                before_bytes,
                after_bytes: before_bytes,
                ..Compacted::default()
            });
        }
        self.settle_removals().map_err(CompactionError::Views)?;
        // Begun again without a victim that is damaged: which words still matter depends on all that
        // go together.
        while let Err(error) = self.moves(&victims).and_then(|moves| self.copy(&moves, progress)) {
            let CompactionError::Damaged { segment, why } = error else { return Err(error) };
            tracing::error!(segment, %why, "a damaged segment is not compacted");
            victims.remove(&segment);
        }
        let removed = self.retire(&victims)?;
        let after_bytes = self.log_bytes();
        tracing::info!(segments = removed, before_bytes, after_bytes, "compacted");
        Ok(Compacted { segments_removed: removed, before_bytes, after_bytes })
    }

    /// Whether so much was written since compaction was last looked at that it may pay: a quarter
    /// of what there is. What earlier processes left is looked at when this one begins a segment.
    pub(crate) fn is_compaction_due(&self) -> bool {
        let Some(writer) = &self.writer else { return false };
        let (sealed, newest) = {
            let writer = writer.lock();
            (writer.live().len() as u64, writer.active().number())
        };
        let mut shown = self.shown.lock();
        let due = match shown.compaction_looked_at {
            None => newest > self.first_segment,
            Some(looked) => newest > looked && (newest - looked) * 4 >= sealed,
        };
        if due {
            shown.compaction_looked_at = Some(newest);
        }
        due && sealed > 0
    }

    /// Leaves no copy of what is forgotten in this store: every segment is rewritten (a record may
    /// lie in several, and bytes of a failed batch behind the end of any), the views of what is
    /// forgotten go, and so does everything set aside.
    pub(crate) fn erase(&self) -> Result<(), CompactionError> {
        let before: BTreeSet<u64> = self.segments.read().keys().copied().collect();
        self.compact(Which::All, &mut |_, _| {})?;
        self.tidy_log()?;
        self.make_views(&|| false)?;
        super::quarantine::clear(self.disk(), &self.layout)?;
        match self.segments.read().keys().find(|number| before.contains(number)) {
            None => Ok(()),
            Some(number) => Err(CompactionError::Kept { segment: *number }),
        }
    }

    /// Bytes of records in the log, live or not.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.catalog().segments.values().sum()
    }

    /// Marks what is live, beyond what is marked already.
    fn mark_live(&self, marked: &mut Marked) -> Result<(), ContentError> {
        let mut roots = self.pinned_roots();
        {
            let catalog = self.catalog();
            for held in catalog.held() {
                if marked.checkpoints.insert(held.manifest.id) {
                    roots.extend(held.manifest.roots());
                }
            }
            roots.extend(catalog.observed_memories());
        }
        let mut packs = OpenPacks::default();
        for root in roots {
            self.mark_tree(root, &mut marked.blocks, &mut packs)?;
        }
        marked.blocks.extend(self.pinned());
        Ok(())
    }

    fn mark_tree(
        &self,
        root: BlockKey,
        live: &mut HashSet<BlockKey>,
        packs: &mut OpenPacks,
    ) -> Result<(), ContentError> {
        let mut waiting = vec![root];
        while let Some(key) = waiting.pop() {
            let (_, level) = key;
            if !live.insert(key) || level == 0 {
                continue;
            }
            let node = match self.read_block(&key, packs) {
                Ok(node) => node,
                // What a damaged node names cannot be known; its checkpoint is lost already.
                Err(ContentError::Damaged(why)) => {
                    tracing::error!(digest = %key.0, %why, "a node is damaged");
                    continue;
                }
                Err(error) => return Err(error),
            };
            match directory::references(level, &node) {
                Ok(named) => waiting.extend(named),
                Err(error) => tracing::error!(digest = %key.0, %error, "a node is damaged"),
            }
        }
        Ok(())
    }

    fn victims(&self, which: Which<'_>, writer: &Writer, marked: &Marked) -> BTreeSet<u64> {
        let sealed = writer.live().keys().copied();
        // What cannot be read now is not dead: only a repair lets a damaged segment go.
        let broken = self.broken_segments();
        let whole = sealed.clone().filter(|number| !broken.contains(number));
        match which {
            Which::All => whole.collect(),
            Which::These(these) => sealed.filter(|number| these.contains(number)).collect(),
            Which::Dead | Which::UnderHalfLive => {
                let catalog = self.catalog();
                let live = live_bytes(&catalog, marked);
                let goes = |number: &u64| {
                    let all = catalog.segments.get(number).copied().unwrap_or(0);
                    let live = live.get(number).copied().unwrap_or(0);
                    if which == Which::Dead { live == 0 } else { live * 2 < all.max(1) }
                };
                whole.filter(goes).collect()
            }
        }
    }

    /// From here on no new checkpoint can name a dead block of a victim.
    fn drop_dead(&self, victims: &BTreeSet<u64>, marked: &Marked) {
        let mut catalog = self.catalog.write();
        catalog.blocks.retain(|key, block| {
            !victims.contains(&block.at.segment) || marked.blocks.contains(key)
        });
    }

    /// The live records of the victims: events, then manifests, then blocks, each in log order, so
    /// that like stands beside like and compresses well.
    fn moves(&self, victims: &BTreeSet<u64>) -> Result<Vec<Move>, CompactionError> {
        let mut moves = self.events_to_keep(victims)?;
        let catalog = self.catalog();
        let inside = |at: &At| victims.contains(&at.segment);
        let mut manifests: Vec<At> =
            catalog.held().map(|held| held.at).filter(|at| inside(at)).collect();
        let mut nodes = Vec::new();
        let mut chunks = Vec::new();
        for ((_, level), block) in catalog.blocks.iter().filter(|(_, block)| inside(&block.at)) {
            if *level == 0 { chunks.push(block.at) } else { nodes.push(block.at) }
        }
        for (kind, places) in [
            (RecordType::Checkpoint, &mut manifests),
            (RecordType::Block, &mut nodes),
            (RecordType::Block, &mut chunks),
        ] {
            places.sort_unstable();
            moves.extend(places.iter().map(|at| Move { kind, at: *at }));
        }
        Ok(moves)
    }

    /// The victims' events that still decide something, or still have something to tell.
    fn events_to_keep(&self, victims: &BTreeSet<u64>) -> Result<Vec<Move>, CompactionError> {
        let candidates: Vec<(At, u64, Timestamp)> = {
            let catalog = self.catalog();
            let inside = catalog.events.values().rev();
            inside
                .filter(|event| victims.contains(&event.at.segment))
                .map(|event| (event.at, u64::from(event.stored_len), event.when))
                .collect()
        };
        let now = self.now();
        let mut packs = OpenPacks::default();
        let mut telling = 0;
        let mut keep = Vec::new();
        for (at, len, when) in candidates {
            let payload = self.take(RecordType::Event, at, &mut packs)?;
            let Some(event) = Event::decode(&payload) else {
                keep.push(Move { kind: RecordType::Event, at });
                continue;
            };
            let decides = self.decides(event.n, &event.what, victims);
            let tells = decides.is_none()
                && now.unix_ms() - when.unix_ms() < TELLING_MS
                && telling + len < TELLING_BYTES;
            if tells {
                telling += len;
            }
            if decides == Some(true) || tells {
                keep.push(Move { kind: RecordType::Event, at });
            }
        }
        Ok(keep)
    }

    /// Whether an event still decides something, here or at home; `None` for those that only tell.
    fn decides(&self, n: u64, what: &What, victims: &BTreeSet<u64>) -> Option<bool> {
        // In this order everywhere: the other way round, two threads could wait for each other.
        let shown = self.shown.lock();
        let catalog = self.catalog();
        let travels = self.identity.home.is_some() && !self.is_at_home(n);
        match what {
            What::OperationClosed { .. }
            | What::Marked { .. }
            | What::Reset { .. }
            | What::Forgotten { at_home: false, .. }
            | What::RestoreBegun { .. }
            | What::Observed { .. }
            | What::DriftFound { .. }
            | What::DriftShared { .. }
            | What::DriftAnswered { .. }
            | What::DriftReleased { .. }
                if travels =>
            {
                Some(true)
            }
            What::SegmentBegun { .. } | What::SegmentCompacted { .. } => Some(false),
            What::Forgotten { agent_id, checkpoints, remember_until, .. } => {
                let lasts = *remember_until > self.now();
                let is_remembered = |one: &Forgotten| {
                    let key = one.idempotency.as_ref().filter(|_| lasts);
                    let known = key.and_then(|key| catalog.remembered(agent_id, &key.key));
                    known.is_some_and(|known| known.id == one.id)
                };
                Some(checkpoints.iter().any(|one| {
                    catalog.forgetting_matters(one.id, victims)
                        || shown.viewed.contains(&one.id)
                        || shown.removed.contains(&one.id)
                        || is_remembered(one)
                }))
            }
            What::OperationClosed { operation_id, .. } => {
                Some(catalog.get(*operation_id).is_some())
            }
            What::Marked { checkpoint_id, .. } => Some(catalog.get(*checkpoint_id).is_some()),
            What::Observed { agent_id, .. } => {
                let shelf = catalog.agents.get(agent_id);
                let newest = shelf.and_then(|shelf| shelf.observed.as_ref());
                Some(newest.is_some_and(|observed| observed.n == n))
            }
            What::DriftReleased { agent_id, .. } => {
                let shelf = catalog.agents.get(agent_id);
                Some(shelf.is_some_and(|shelf| shelf.was_released_by(n)))
            }
            What::DriftAnswered { agent_id, done, .. } if done == "halt" => {
                let halted = catalog.agents.get(agent_id).and_then(|shelf| shelf.halted());
                halted.map(|_| true)
            }
            What::Reset { agent_id, seq } => {
                let reset = catalog.agents.get(agent_id).and_then(|shelf| shelf.reset);
                Some(reset.is_some_and(|(_, counts)| counts == *seq))
            }
            What::RestoreBegun { agent_id, .. } => {
                let shelf = catalog.agents.get(agent_id);
                Some(shelf.is_some_and(|shelf| shelf.open_restore() == Some(what)))
            }
            _ => None,
        }
    }

    fn copy(
        &self,
        moves: &[Move],
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), CompactionError> {
        let mut packs = OpenPacks::default();
        let mut run: Vec<Inner> = Vec::new();
        let mut from: Vec<At> = Vec::new();
        let mut bytes = 0;
        let total = moves.len() as u64;
        for (done, one) in (1..).zip(moves) {
            let payload = self.take(one.kind, one.at, &mut packs)?;
            bytes += payload.len();
            run.push(Inner { kind: one.kind, payload });
            from.push(one.at);
            if bytes >= PACK_BYTES || done == total {
                self.append_run(&run, &from)?;
                run.clear();
                from.clear();
                bytes = 0;
                progress(done, total);
            }
        }
        Ok(())
    }

    /// Reads a record that is to be copied.
    fn take(
        &self,
        kind: RecordType,
        at: At,
        packs: &mut OpenPacks,
    ) -> Result<Vec<u8>, CompactionError> {
        let segment = at.segment;
        match self.read_record(at, packs) {
            Ok((found, payload)) if found == kind => Ok(payload),
            Ok(_) => {
                let why = format!("another record lies at {}", at.offset);
                Err(CompactionError::Damaged { segment, why })
            }
            Err(ContentError::Damaged(why)) => Err(CompactionError::Damaged { segment, why }),
            Err(error) => Err(error.into()),
        }
    }

    /// Appends a run of records, as one pack where that is shorter.
    fn append_run(&self, run: &[Inner], from: &[At]) -> Result<(), CompactionError> {
        let Some(writer) = &self.writer else { return Ok(()) };
        let raw: usize = run.iter().map(|one| one.payload.len() + 24).sum();
        let pack = summary::pack_records(run, PACK_LEVEL);
        let packed = pack.len() < raw;
        let outgoing: Vec<Outgoing<'_>> = if packed {
            vec![Outgoing::pack(&pack, run)]
        } else {
            run.iter().map(|one| Outgoing::new(one.kind, &one.payload)).collect()
        };
        let mut writer = writer.lock();
        let appended = writer.append(&outgoing)?;
        self.adopt_segment(&writer);
        let mut catalog = self.catalog.write();
        for (slot, (one, old)) in (0..).zip(run.iter().zip(from)) {
            let at = if packed {
                At { slot, ..appended.records[0] }
            } else {
                appended.records[slot as usize]
            };
            let share = one.payload.len() as u64 * (pack.len() as u64) / (raw.max(1) as u64);
            let stored_len = if packed { share } else { one.payload.len() as u64 };
            let stored_len = u32::try_from(stored_len).unwrap_or(u32::MAX);
            let summary = summary::summary_of(one.kind, &one.payload);
            catalog.relocate(one.kind, summary, *old, at, stored_len);
        }
        debug_assert!(appended.records.iter().all(|at| at.slot == ALONE));
        Ok(())
    }

    /// Says in one durable batch that the victims are compacted, then unlinks them; all or none,
    /// because which words were kept depends on all of them going.
    fn retire(&self, victims: &BTreeSet<u64>) -> Result<u64, CompactionError> {
        let Some(writer) = &self.writer else { return Ok(0) };
        let mut writer = writer.lock();
        let busy = self.catalog().busy_segments();
        if let Some(segment) = victims.iter().copied().find(|number| busy.contains(number)) {
            return Err(CompactionError::Kept { segment });
        }
        let events: Vec<Vec<u8>> = victims
            .iter()
            .map(|segment| writer.event(What::SegmentCompacted { segment: *segment }).encode())
            .collect();
        let outgoing: Vec<Outgoing<'_>> =
            events.iter().map(|event| Outgoing::new(RecordType::Event, event)).collect();
        writer.append(&outgoing)?;
        self.adopt_segment(&writer);
        for number in victims {
            writer.drop_live(*number);
        }
        drop(writer);
        self.forget_segments(victims);
        for number in victims {
            self.unlink_segment(*number)?;
        }
        Ok(victims.len() as u64)
    }
}

fn live_bytes(catalog: &Catalog, marked: &Marked) -> BTreeMap<u64, u64> {
    let mut live: BTreeMap<u64, u64> = BTreeMap::new();
    for held in catalog.held() {
        *live.entry(held.at.segment).or_default() += u64::from(held.stored_len);
    }
    for (key, block) in &catalog.blocks {
        if marked.blocks.contains(key) {
            *live.entry(block.at.segment).or_default() += u64::from(block.stored_len);
        }
    }
    live
}
