//! How far long work has come, for whoever asked to be told with
//! [`CheckpointManager::on_progress`](super::CheckpointManager::on_progress).

use std::sync::atomic::{AtomicU64, Ordering};

use super::committer::Committer;
use crate::collect;
use crate::restore::TreePlan;

/// Work that takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Work {
    /// What changed in a workspace is read. How much that is shows at the end.
    Scanning,
    /// What a restore brings is written.
    Writing,
    /// A checkpoint is written to a bundle.
    Exporting,
    /// A bundle is read.
    Importing,
}

/// How far work has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkProgress {
    /// Which work.
    pub work: Work,
    /// Files so far; blocks, where a bundle is written or read.
    pub items: u64,
    /// Bytes so far.
    pub bytes: u64,
    /// Files or blocks in all, where that is known.
    pub items_total: Option<u64>,
    /// Bytes in all, where that is known.
    pub bytes_total: Option<u64>,
}

impl From<collect::Progress> for WorkProgress {
    fn from(scan: collect::Progress) -> Self {
        let collect::Progress { files: items, bytes } = scan;
        Self { work: Work::Scanning, items, bytes, items_total: None, bytes_total: None }
    }
}

/// Counts what was done of some work, and tells; from several threads.
pub(super) struct Count<'a> {
    committer: &'a Committer,
    work: Work,
    total: (u64, Option<u64>),
    items: AtomicU64,
    bytes: AtomicU64,
}

impl<'a> Count<'a> {
    /// Of so many items.
    pub(super) fn of(committer: &'a Committer, work: Work, items: u64) -> Self {
        let total = (items, None);
        Self { committer, work, total, items: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    /// Of what a plan brings.
    pub(super) fn of_plan(committer: &'a Committer, plan: &TreePlan) -> Self {
        let (files, bytes) = plan.brings();
        Self { total: (files, Some(bytes)), ..Self::of(committer, Work::Writing, files) }
    }

    /// One more, of so many bytes.
    pub(super) fn add(&self, bytes: u64) {
        let items = self.items.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let (items_total, bytes_total) = (Some(self.total.0), self.total.1);
        let Self { committer, work, .. } = *self;
        committer.tell_progress(WorkProgress { work, items, bytes, items_total, bytes_total });
    }
}
