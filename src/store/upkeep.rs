//! What a store does between commits: views, summaries, the next segment, marks, unlinking.
//!
//! None of it is needed for durability; all of it can be left undone by a crash and is done by the
//! next pass. Views are made newest first and there is no queue of them: what lacks one is known
//! from the catalog.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::catalog::BlockKey;
use super::views::{self, View, ViewPlace};
use super::write::Draft;
use super::{Store, remove_if_there};
use crate::commit::segment;
use crate::commit::writer::Unsummarised;
use crate::disk::{Disk, Durability, PublishError, publish};
use crate::encode::Block;
use crate::encode::manifest::Lies;
use crate::state::{AgentId, CheckpointId};
use crate::store::layout::ViewName;
use crate::store::scrub::Finding;

/// What is shown beside the log, and what is still to be.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Checkpoints whose view is there.
    pub(super) viewed: HashSet<CheckpointId>,
    /// Checkpoints whose view was removed, and whose removal a loss of power may take back.
    pub(super) removed: HashSet<CheckpointId>,
    /// Where they lay; absent until the removals of earlier processes are known to last.
    removed_from: Option<BTreeSet<PathBuf>>,
    /// Live checkpoints that lack one; committed since the store was opened, by age.
    pub(super) unviewed: BTreeSet<CheckpointId>,
    /// Whether every live checkpoint was compared with the views once.
    compared: bool,
    unsummarised: Vec<Unsummarised>,
    /// Blocks that a commit in flight has brought ahead.
    pinned: HashMap<BlockKey, usize>,
    /// Blocks that commits in flight name with all that those name.
    pinned_roots: HashMap<BlockKey, usize>,
    /// The newest segment when it was last asked whether compaction pays.
    pub(super) compaction_looked_at: Option<u64>,
    /// What was found damaged when the store was opened.
    pub(super) faults: Vec<Finding>,
    /// Segments that a scrub found damaged.
    pub(super) broken: BTreeSet<u64>,
}

/// Blocks that are kept although no checkpoint names them yet.
#[derive(Debug)]
pub(crate) struct Pinned {
    store: Arc<Store>,
    keys: Vec<BlockKey>,
    roots: Vec<BlockKey>,
}

impl Pinned {
    pub(super) fn holds(&self, key: BlockKey) -> bool {
        self.keys.contains(&key) || self.roots.contains(&key)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut shown = self.store.shown.lock();
        unpin(&mut shown.pinned, &self.keys);
        unpin(&mut shown.pinned_roots, &self.roots);
    }
}

/// A checkpoint that retention leaves alone as long as this is.
#[derive(Debug)]
pub(crate) struct InUse {
    store: Arc<Store>,
    id: CheckpointId,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.store.catalog.write().release(self.id);
    }
}

fn unpin(pinned: &mut HashMap<BlockKey, usize>, keys: &[BlockKey]) {
    for key in keys {
        if let Some(count) = pinned.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                pinned.remove(key);
            }
        }
    }
}

impl Shown {
    pub(super) fn new(
        viewed: HashSet<CheckpointId>,
        unsummarised: Vec<Unsummarised>,
        faults: Vec<Finding>,
    ) -> Self {
        Self { viewed, unsummarised, faults, ..Self::default() }
    }
}

impl Store {
    pub(super) fn note_unviewed(&self, drafts: &[Draft]) {
        if drafts.is_empty() {
            return;
        }
        let mut shown = self.shown.lock();
        for draft in drafts {
            shown.unviewed.insert(draft.manifest.id);
        }
    }

    /// Keeps a checkpoint from being forgotten by the policy until the answer is dropped.
    pub(crate) fn use_checkpoint(self: &Arc<Self>, id: CheckpointId) -> InUse {
        self.catalog.write().use_one(id);
        InUse { store: Arc::clone(self), id }
    }

    /// Keeps blocks from being let go until the answer is dropped.
    pub(super) fn pin(self: &Arc<Self>, blocks: &[Block]) -> Pinned {
        let keys: Vec<BlockKey> = blocks.iter().map(|block| (block.digest, block.level)).collect();
        let mut shown = self.shown.lock();
        for key in &keys {
            *shown.pinned.entry(*key).or_default() += 1;
        }
        Pinned { store: Arc::clone(self), keys, roots: Vec::new() }
    }

    /// Keeps these blocks and all that they name, directly or not, until the answer is dropped.
    pub(crate) fn pin_trees(self: &Arc<Self>, roots: Vec<BlockKey>) -> Pinned {
        let mut shown = self.shown.lock();
        for key in &roots {
            *shown.pinned_roots.entry(*key).or_default() += 1;
        }
        Pinned { store: Arc::clone(self), keys: Vec::new(), roots }
    }

    /// The blocks whose trees commits in flight name.
    pub(super) fn pinned_roots(&self) -> Vec<BlockKey> {
        self.shown.lock().pinned_roots.keys().copied().collect()
    }

    /// The blocks that commits in flight have brought ahead.
    pub(super) fn pinned(&self) -> HashSet<BlockKey> {
        self.shown.lock().pinned.keys().copied().collect()
    }

    /// Makes the views that are missing, newest first, and removes those of forgotten checkpoints.
    /// Stops early when `enough` says so; what is left is made by a later pass.
    pub(crate) fn make_views(&self, enough: &dyn Fn() -> bool) -> io::Result<()> {
        if self.writer.is_none() {
            return Ok(());
        }
        let _tenure = self.tenure()?;
        // Those of what is forgotten first: that frees room.
        self.remove_views()?;
        self.takes_checkpoints()?;
        self.compare_views();
        self.drop_forgotten_unviewed();
        while !enough() {
            let Some(id) = self.shown.lock().unviewed.pop_last() else { break };
            self.make_view(id)?;
        }
        self.remove_views()
    }

    /// Once: what is live and has no view is to get one.
    fn compare_views(&self) {
        let mut shown = self.shown.lock();
        if !std::mem::replace(&mut shown.compared, true) {
            let catalog = self.catalog.read();
            let missing: Vec<_> = catalog.ids().filter(|id| !shown.viewed.contains(id)).collect();
            shown.unviewed.extend(missing);
        }
    }

    /// Most of what is committed under load is forgotten before its turn comes.
    fn drop_forgotten_unviewed(&self) {
        const MANY: usize = 4096;
        let mut shown = self.shown.lock();
        if shown.unviewed.len() > MANY {
            let catalog = self.catalog.read();
            shown.unviewed.retain(|id| catalog.get(*id).is_some());
        }
    }

    fn make_view(&self, id: CheckpointId) -> io::Result<()> {
        let held = self.catalog.read().get(id).cloned();
        let Some(held) = held else { return Ok(()) };
        let inline = held.manifest.state.as_ref().is_some_and(|part| part.lies == Lies::Inline)
            && !held.manifest.raw;
        let state = match inline.then(|| self.read_inline(&held)) {
            None => None,
            Some(Ok(state)) => Some(state),
            Some(Err(error)) => {
                tracing::error!(%id, %error, "no view is made of what cannot be read");
                return Ok(());
            }
        };
        let view = View {
            checkpoint: self.facts(&held),
            place: ViewPlace { segment: held.at.segment, offset: held.at.offset },
            manifest: held.manifest,
            state,
        };
        let agent = &view.manifest.agent;
        let path = self.layout.view(agent, &views::name_of(&view.manifest));
        self.make_view_dir(agent)?;
        publish(self.disk(), &path, &view.encode(), Durability::Unsynced)
            .map_err(PublishError::into_io)?;
        self.shown.lock().viewed.insert(id);
        Ok(())
    }

    /// Takes segments that are about to be unlinked out of the catalog.
    pub(super) fn forget_segments(&self, gone: &BTreeSet<u64>) {
        let shown = self.shown.lock();
        let mut catalog = self.catalog.write();
        catalog
            .drop_segments(gone, &|id| shown.viewed.contains(&id) || shown.removed.contains(&id));
        catalog.expire_keys(self.now());
    }

    fn make_view_dir(&self, agent: &AgentId) -> io::Result<()> {
        for dir in [self.layout.views(), self.layout.views_of(agent)] {
            match self.disk().create_dir(&dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// A view goes only when the log says that its checkpoint was forgotten.
    fn remove_views(&self) -> io::Result<()> {
        let doomed: Vec<(CheckpointId, AgentId, ViewName)> = {
            let shown = self.shown.lock();
            let catalog = self.catalog.read();
            catalog.forgotten_among(&shown.viewed)
        };
        for (id, agent, name) in doomed {
            remove_if_there(self.disk(), &self.layout.view(&agent, &name))?;
            // Until the removal is durable the word that it was forgotten stays.
            let mut shown = self.shown.lock();
            shown.removed.insert(id);
            if let Some(dirs) = &mut shown.removed_from {
                dirs.insert(self.layout.views_of(&agent));
            }
            shown.viewed.remove(&id);
        }
        Ok(())
    }

    /// Makes durable that views are gone, so that the words on what they showed may go too: a view
    /// that came back with nothing known of it would look like a lost checkpoint.
    pub(super) fn settle_removals(&self) -> io::Result<()> {
        let (ids, dirs) = {
            let shown = self.shown.lock();
            (shown.removed.clone(), shown.removed_from.clone())
        };
        let dirs = match dirs {
            Some(dirs) => dirs,
            None => self.view_dirs()?,
        };
        for dir in &dirs {
            match self.disk().sync_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let mut shown = self.shown.lock();
        shown.removed.retain(|id| !ids.contains(id));
        // What was removed meanwhile is for the next time, with all the places that are known.
        if shown.removed.is_empty() {
            shown.removed_from = Some(BTreeSet::new());
        }
        Ok(())
    }

    /// The directories that hold views.
    fn view_dirs(&self) -> io::Result<BTreeSet<PathBuf>> {
        let views = self.layout.views();
        let entries = match self.disk().read_dir(&views) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        Ok(entries.into_iter().map(|entry| views.join(entry.name)).collect())
    }

    /// Makes the next segment ahead of need, where the current one is half full.
    pub(crate) fn make_spare(&self) -> io::Result<()> {
        let half_full = self.writer.as_ref().is_some_and(|writer| writer.lock().is_half_full());
        if half_full { self.make_spare_now() } else { Ok(()) }
    }

    /// Makes the next segment ahead, where there is none.
    pub(super) fn make_spare_now(&self) -> io::Result<()> {
        let Some(writer) = &self.writer else { return Ok(()) };
        let _tenure = self.tenure()?;
        let order = writer.lock().order_spare();
        if let Some(order) = order {
            // The lock is not held meanwhile: commits go on.
            let spare = order.make()?;
            writer.lock().give_spare(spare);
        }
        Ok(())
    }

    /// Unlinks segments that hold nothing, and publishes the summaries of sealed ones.
    pub(crate) fn tidy_log(&self) -> io::Result<()> {
        self.unlink_void()?;
        let Some(writer) = &self.writer else { return Ok(()) };
        let _tenure = self.tenure()?;
        self.takes_checkpoints()?;
        let sealed = writer.lock().take_unsummarised();
        let mut waiting = std::mem::take(&mut self.shown.lock().unsummarised);
        waiting.extend(sealed);
        // What was compacted meanwhile is gone, and its summary would stay for ever.
        waiting.retain(|one| self.segments.read().contains_key(&one.sealed.segment));
        while let Some(one) = waiting.pop() {
            let path = self.layout.log().join(segment::summary_name(one.sealed.segment));
            let bytes = one.items.finish(&one.sealed, &one.salt);
            if let Err(error) = publish(self.disk(), &path, &bytes, Durability::Unsynced) {
                waiting.push(one);
                self.shown.lock().unsummarised.append(&mut waiting);
                return Err(error.into_io());
            }
        }
        Ok(())
    }

    /// Unlinks segments that hold nothing, which needs no room.
    pub(crate) fn unlink_void(&self) -> io::Result<()> {
        let Some(writer) = &self.writer else { return Ok(()) };
        let _tenure = self.tenure()?;
        let void = writer.lock().take_void();
        for number in void {
            self.unlink_segment(number)?;
        }
        Ok(())
    }

    pub(super) fn unlink_segment(&self, number: u64) -> io::Result<()> {
        let disk: &dyn Disk = self.disk();
        let log = self.layout.log();
        self.segments.write().remove(&number);
        remove_if_there(disk, &log.join(segment::summary_name(number)))?;
        remove_if_there(disk, &log.join(segment::file_name(number)))
    }

    /// Writes a lone mark, unsynced: the log has fallen idle.
    pub(crate) fn mark(&self) -> io::Result<()> {
        let Some(writer) = &self.writer else { return Ok(()) };
        let _tenure = self.tenure()?;
        writer.lock().mark()
    }

    /// Everything that is to be done is done on return: views, summaries, a mark.
    pub(crate) fn settle(&self) -> io::Result<()> {
        self.mark()?;
        self.make_views(&|| false)?;
        self.tidy_log()?;
        self.fill_reserve()?;
        self.mark()
    }
}
