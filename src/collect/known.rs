//! What is known of a workspace: each directory with its names as they were last seen.
//!
//! Directories lie in numbered slots, so that threads can speak of one without holding it, and a
//! change reaches it at once. Entries are sorted by the bytes of their names. What is left out is
//! known too, with the reason, so that it is not weighed again at each scan.
//!
//! Three sets say what is still to be done: directories with a *doubtful* entry, whose times do not
//! prove that it is as it was; *fresh* ones, of whose content nobody has said that it lies in the
//! store; and *stale* ones, whose pages no longer fit their entries.

mod changes;
mod links;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use self::changes::{Applied, Edit, Edits};
use super::rules::Patterns;
use crate::disk::{NodeKind, Stat};
use crate::encode::directory::{DirNode, FileNode, LinkNode, Node, Root, TreeEntry};
use crate::state::Digest;
use crate::state::Why;

/// The slot of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DirId(u32);

impl DirId {
    pub(super) const ROOT: Self = Self(0);

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whether the times of an entry prove that it is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Doubt {
    #[default]
    None,
    /// It changed so lately that a later change could have the same time.
    Racy,
    /// The same, and it was read a second time in this scan.
    RacyTwice,
    /// A process had it mapped to write into.
    Mapped,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub name: Box<OsStr>,
    pub stat: Stat,
    pub what: What,
    pub doubt: Doubt,
    /// Whether its content is known to lie in the store.
    pub stored: bool,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    File(FileFacts),
    Dir(DirId),
    /// A symbolic link, with its target.
    Link(Box<OsStr>),
    /// Not kept, with its size where that was found out.
    Out(Why, Option<u64>),
}

/// What is kept of a file beside its name, mode and times.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct FileFacts {
    pub content: Option<Root>,
    pub len: u64,
    pub has_holes: bool,
    pub group: Option<u64>,
    /// It is an `SQLite` database.
    pub is_database: bool,
}

/// Where a directory lies.
#[derive(Debug, Clone)]
pub(super) struct Position {
    pub parent: DirId,
    pub name: Box<OsStr>,
    pub depth: u16,
}

/// A known directory.
#[derive(Debug, Default)]
pub(super) struct Dir {
    /// None for the root.
    pub position: Option<Position>,
    pub entries: Vec<Entry>,
    pub patterns: Option<Arc<Patterns>>,
    /// The root of its pages.
    pub pages: Option<Root>,
    /// Whether they are known to lie in the store.
    pub stored: bool,
    /// The digests of its pages and nodes, sorted, where there are several.
    pub blocks: Box<[Digest]>,
}

/// A name in a directory.
pub(super) type Name = (DirId, Box<OsStr>);

/// Everything that is known.
#[derive(Debug, Default)]
pub(super) struct Known {
    dirs: Vec<Option<Dir>>,
    free: Vec<DirId>,
    pub root_stat: Option<Stat>,
    /// Kept files, and their bytes.
    pub files: u64,
    pub bytes: u64,
    /// Names of files may have come to lead to the same one, or ceased to.
    links_moved: bool,
    doubtful: BTreeSet<DirId>,
    fresh: BTreeSet<DirId>,
    /// The deepest first.
    stale: BTreeSet<(Reverse<u16>, DirId)>,
}

/// Whether two looks at a name saw the same: not counting what changes without the content.
pub(super) fn is_same(a: &Stat, b: &Stat) -> bool {
    a.kind == b.kind
        && (a.len == b.len || a.kind == NodeKind::Dir)
        && a.mode == b.mode
        && a.modified == b.modified
        && a.changed == b.changed
        && a.inode == b.inode
        && a.device == b.device
}

impl Entry {
    pub(super) fn left_out(name: Box<OsStr>, stat: Stat, why: Why, bytes: Option<u64>) -> Self {
        Self { name, stat, what: What::Out(why, bytes), doubt: Doubt::None, stored: true }
    }

    pub(super) fn is_kept(&self) -> bool {
        !matches!(self.what, What::Out(..))
    }

    /// What of it shows in the pages of its directory; what is left out does not.
    fn shows_as(&self, other: &Self) -> bool {
        let alike = self.stat.mode == other.stat.mode && self.stat.modified == other.stat.modified;
        match (&self.what, &other.what) {
            (What::Out(..), What::Out(..)) => true,
            (one, another) => one == another && alike,
        }
    }

    fn node(&self, known: &Known) -> Option<Node> {
        let Stat { mode, modified, .. } = self.stat;
        Some(match &self.what {
            What::File(FileFacts { content, len, has_holes, group, .. }) => Node::File(FileNode {
                len: *len,
                content: *content,
                mode,
                modified,
                has_holes: *has_holes,
                group: *group,
            }),
            What::Dir(id) => Node::Dir(DirNode { root: known.dir(*id)?.pages?, mode, modified }),
            What::Link(target) => Node::Link(LinkNode { target: target.to_os_string(), modified }),
            What::Out(..) => return None,
        })
    }

    fn tree_entry(&self, known: &Known) -> Option<TreeEntry> {
        Some(TreeEntry { name: self.name.to_os_string(), node: self.node(known)? })
    }
}

impl Dir {
    pub(super) fn get(&self, name: &OsStr) -> Option<&Entry> {
        self.find(name).ok().map(|at| &self.entries[at])
    }

    /// Where a name stands, or would.
    pub(super) fn find(&self, name: &OsStr) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.name.as_bytes().cmp(name.as_bytes()))
    }

    pub(super) fn depth(&self) -> u16 {
        self.position.as_ref().map_or(0, |position| position.depth)
    }
}

impl Known {
    pub(super) fn dir(&self, id: DirId) -> Option<&Dir> {
        self.dirs.get(id.index())?.as_ref()
    }

    fn dir_mut(&mut self, id: DirId) -> Option<&mut Dir> {
        self.dirs.get_mut(id.index())?.as_mut()
    }

    /// All directories, in no order that means anything.
    pub(super) fn dirs(&self) -> impl Iterator<Item = (DirId, &Dir)> {
        let numbered = self.dirs.iter().zip(0..);
        numbered.filter_map(|(dir, number)| Some((DirId(number), dir.as_ref()?)))
    }

    /// The path of a directory from the root.
    pub(super) fn path(&self, id: DirId) -> PathBuf {
        let above = |dir: &Dir| dir.position.clone();
        let ways = std::iter::successors(self.dir(id).and_then(above), |position| {
            self.dir(position.parent).and_then(above)
        });
        let names: Vec<_> = ways.map(|position| position.name).collect();
        names.iter().rev().map(|name| Path::new(&**name)).collect()
    }

    /// The directory at a path, or the deepest one on the way to it.
    pub(super) fn nearest(&self, path: &Path) -> (DirId, bool) {
        let mut at = DirId::ROOT;
        for part in path {
            match self.dir(at).and_then(|dir| dir.get(part)).map(|entry| &entry.what) {
                Some(What::Dir(id)) => at = *id,
                _ => return (at, false),
            }
        }
        (at, true)
    }

    /// The entry at a path; the root has none.
    pub(super) fn entry(&self, path: &Path) -> Option<&Entry> {
        let (dir, is_there) = self.nearest(path.parent()?);
        self.dir(dir).filter(|_| is_there)?.get(path.file_name()?)
    }

    /// The root as its parent would list it.
    pub(super) fn root(&self) -> Option<DirNode> {
        let Stat { mode, modified, .. } = self.root_stat?;
        Some(DirNode { root: self.dir(DirId::ROOT)?.pages?, mode, modified })
    }

    /// What of a directory is kept.
    pub(super) fn list(&self, id: DirId) -> Option<Vec<(TreeEntry, Stat)>> {
        let entries = self.dir(id)?.entries.iter();
        Some(entries.filter_map(|entry| Some((entry.tree_entry(self)?, entry.stat))).collect())
    }

    pub(super) fn tree_entries(&self, dir: &Dir) -> Vec<TreeEntry> {
        dir.entries.iter().filter_map(|entry| entry.tree_entry(self)).collect()
    }

    pub(super) fn doubtful(&self) -> impl Iterator<Item = DirId> {
        self.doubtful.iter().copied()
    }

    pub(super) fn fresh(&self) -> impl Iterator<Item = DirId> {
        self.fresh.iter().copied()
    }

    /// Whether everything that is known is known to lie in the store.
    pub(super) fn is_stored(&self) -> bool {
        self.fresh.is_empty() && self.stale.is_empty()
    }

    /// Lets no time prove anything.
    pub(super) fn doubt_everything(&mut self) {
        for (dir, number) in self.dirs.iter_mut().zip(0..) {
            let Some(dir) = dir else { continue };
            let read = |entry: &&mut Entry| matches!(entry.what, What::File(_) | What::Link(_));
            for entry in dir.entries.iter_mut().filter(read) {
                entry.doubt = Doubt::Racy;
                self.doubtful.insert(DirId(number));
            }
        }
    }

    /// Takes everything for stored that is known.
    pub(super) fn confirm(&mut self) {
        for id in std::mem::take(&mut self.fresh) {
            let Some(dir) = self.dir_mut(id) else { continue };
            dir.stored = true;
            for entry in &mut dir.entries {
                entry.stored = true;
            }
        }
    }

    /// Names the pages of fresh directories again, so that they are handed over again.
    pub(super) fn renew(&mut self) {
        for id in self.fresh.clone() {
            self.mark_stale(id);
        }
    }

    /// Slots for directories to come: those that are free, and the first that never was taken.
    pub(super) fn take_slots(&mut self) -> Slots {
        let next = u32::try_from(self.dirs.len().max(1)).unwrap_or(u32::MAX);
        Slots { free: std::mem::take(&mut self.free), next }
    }

    fn mark_stale(&mut self, id: DirId) {
        if let Some(dir) = self.dir(id) {
            self.stale.insert((Reverse(dir.depth()), id));
        }
    }

    /// The deepest directory whose pages do not fit any more.
    pub(super) fn pop_stale(&mut self) -> Option<DirId> {
        self.stale.pop_first().map(|(_, id)| id)
    }

    /// Takes the pages of a directory; its parent's are stale if they are others.
    pub(super) fn set_pages(&mut self, id: DirId, root: Root, blocks: Box<[Digest]>) {
        let Some(dir) = self.dir_mut(id) else { return };
        if dir.pages == Some(root) && dir.stored {
            return;
        }
        let is_other = dir.pages != Some(root);
        (dir.pages, dir.blocks, dir.stored) = (Some(root), blocks, false);
        let parent = dir.position.as_ref().map(|position| position.parent);
        self.fresh.insert(id);
        if let Some(parent) = parent.filter(|_| is_other) {
            self.mark_stale(parent);
        }
    }
}

/// Free slots, handed out while what is known is only looked at.
#[derive(Debug)]
pub(super) struct Slots {
    free: Vec<DirId>,
    next: u32,
}

impl Slots {
    pub(super) fn take(&mut self) -> DirId {
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            DirId(self.next - 1)
        })
    }
}
