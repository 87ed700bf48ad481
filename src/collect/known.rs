//! What is known of a workspace: each directory with its names as they were last seen.
//!
//! Directories lie in numbered slots, so that threads can speak of one without holding it, and a
//! change reaches it at once. Entries are sorted by the bytes of their names. What is left out is
//! known too, with the reason, so that it is not weighed again at each scan.
//!
//! Three sets say what is still to be done: directories with a *doubtful* entry, whose times do not
//! prove that it is as it was; *fresh* ones, of whose content nobody has said that it lies in the
//! store; and *stale* ones, whose pages no longer fit their entries.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// A change of one name.
#[derive(Debug)]
pub(super) enum Edit {
    Put(Entry),
    Drop(Box<OsStr>),
}

impl Edit {
    fn name(&self) -> &OsStr {
        match self {
            Self::Put(entry) => &entry.name,
            Self::Drop(name) => name,
        }
    }
}

/// The changes of one directory that were found together.
#[derive(Debug)]
pub(super) struct Edits {
    pub dir: DirId,
    /// What was found later, or looked at more closely, is applied later.
    pub rank: u8,
    /// Given where the directory was not known before.
    pub position: Option<Position>,
    /// Given where they are others than before.
    pub patterns: Option<Option<Arc<Patterns>>>,
    pub list: Vec<Edit>,
}

impl Edits {
    pub(super) fn new(dir: DirId, rank: u8, list: Vec<Edit>) -> Self {
        Self { dir, rank, position: None, patterns: None, list }
    }
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

    /// Knows a directory again that was known in another process.
    pub(super) fn take_back(&mut self, id: DirId, dir: Dir) {
        dir.entries.iter().for_each(|entry| self.take_on(entry));
        self.note(id, &dir);
        self.dirs.resize_with(self.dirs.len().max(id.index() + 1), || None);
        self.dirs[id.index()] = Some(dir);
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

/// What changes did.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Kept names that are not what they were.
    pub moved: Vec<Name>,
    /// Directories that were looked into anew.
    pub touched: BTreeSet<DirId>,
    /// What is left out, or the patterns, are not what they were.
    pub rules_moved: bool,
    /// The pages of the directory at hand show it.
    is_shown: bool,
}

impl Applied {
    fn note(&mut self, dir: DirId, old: Option<&Entry>, new: Option<&Entry>) {
        let is_out = |entry: &Entry| matches!(entry.what, What::Out(..));
        let (name, is_shown, is_moved) = match (old, new) {
            (Some(old), Some(new)) => {
                // A directory's own times move with what it holds, and that is told by itself.
                let is_dir = matches!(new.what, What::Dir(_));
                let is_moved = old.what != new.what || !(is_dir || is_same(&old.stat, &new.stat));
                (&new.name, !old.shows_as(new), is_moved)
            }
            (Some(one), None) | (None, Some(one)) => (&one.name, !is_out(one), true),
            (None, None) => return,
        };
        self.is_shown |= is_shown;
        self.rules_moved |= is_moved && (old.is_some_and(is_out) || new.is_some_and(is_out));
        if is_moved && !(old.is_none_or(is_out) && new.is_none_or(is_out)) {
            self.moved.push((dir, name.clone()));
        }
    }
}

impl Known {
    /// Takes in what a look found, and the slots that it used.
    pub(super) fn apply(&mut self, mut all: Vec<Edits>, slots: &Slots) -> Applied {
        self.dirs.resize_with(self.dirs.len().max(slots.next as usize), || None);
        // What is new is there before something is said of it.
        all.sort_by_key(|edits| (edits.dir, edits.rank));
        let mut applied = Applied::default();
        for edits in all.chunk_by_mut(|a, b| a.dir == b.dir) {
            self.apply_to(edits, &mut applied);
        }
        self.links_moved |= !applied.moved.is_empty();
        let empty = self.dirs.iter().zip(0..).skip(1).filter(|(dir, _)| dir.is_none());
        self.free = empty.map(|(_, number)| DirId(number)).collect();
        applied
    }

    /// Takes in everything that was found of one directory.
    fn apply_to(&mut self, all: &mut [Edits], applied: &mut Applied) {
        let Some(first) = all.first_mut() else { return };
        let (id, position) = (first.dir, first.position.take());
        let slot = &mut self.dirs[id.index()];
        if slot.is_none() && (position.is_some() || id == DirId::ROOT) {
            *slot = Some(Dir { position, ..Dir::default() });
            self.mark_stale(id);
        }
        let Some(mut dir) = self.dirs[id.index()].take() else { return };
        applied.touched.insert(id);
        if let Some(patterns) = first.patterns.take() {
            dir.patterns = patterns;
            applied.rules_moved = true;
        }
        // Only the last that was said of a name counts.
        let list = all.iter_mut().flat_map(|edits| std::mem::take(&mut edits.list));
        let last: BTreeMap<Box<OsStr>, Edit> =
            list.map(|edit| (edit.name().into(), edit)).collect();
        applied.is_shown = false;
        self.merge((id, &mut dir), last, applied);
        self.note(id, &dir);
        self.dirs[id.index()] = Some(dir);
        if applied.is_shown {
            self.mark_stale(id);
        }
    }

    fn merge(
        &mut self,
        (id, dir): (DirId, &mut Dir),
        edits: BTreeMap<Box<OsStr>, Edit>,
        applied: &mut Applied,
    ) {
        let mut added = Vec::new();
        let mut dropped = Vec::new();
        for (name, edit) in edits {
            match (edit, dir.find(&name)) {
                (Edit::Put(entry), Ok(at)) => {
                    applied.note(id, Some(&dir.entries[at]), Some(&entry));
                    self.take_on(&entry);
                    let kept = if let What::Dir(id) = entry.what { Some(id) } else { None };
                    let old = std::mem::replace(&mut dir.entries[at], entry);
                    self.let_go(&old, kept);
                }
                (Edit::Put(entry), Err(_)) => added.push(entry),
                (Edit::Drop(_), Ok(at)) => dropped.push(at),
                (Edit::Drop(_), Err(_)) => {}
            }
        }
        self.remove((id, dir), &dropped, applied);
        self.insert((id, dir), added, applied);
    }

    fn remove(&mut self, (id, dir): (DirId, &mut Dir), places: &[usize], applied: &mut Applied) {
        if places.is_empty() {
            return;
        }
        let mut places = places.iter().peekable();
        let mut at = 0;
        dir.entries.retain(|entry| {
            let stays = places.next_if_eq(&&at).is_none();
            at += 1;
            if !stays {
                applied.note(id, Some(entry), None);
                self.let_go(entry, None);
            }
            stays
        });
    }

    fn insert(&mut self, (id, dir): (DirId, &mut Dir), added: Vec<Entry>, applied: &mut Applied) {
        if added.is_empty() {
            return;
        }
        dir.entries.reserve_exact(added.len());
        for entry in added {
            applied.note(id, None, Some(&entry));
            self.take_on(&entry);
            dir.entries.push(entry);
        }
        // Both runs are sorted, which the sort finds out.
        dir.entries.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    }

    fn take_on(&mut self, entry: &Entry) {
        if let What::File(file) = &entry.what {
            (self.files, self.bytes) = (self.files + 1, self.bytes + file.len);
        }
    }

    fn drop_file(&mut self, entry: &Entry) {
        if let What::File(file) = &entry.what {
            (self.files, self.bytes) = (self.files - 1, self.bytes - file.len);
        }
    }

    /// Lets go of what an entry stood for, but for a directory that goes on being known.
    fn let_go(&mut self, old: &Entry, kept: Option<DirId>) {
        self.drop_file(old);
        let mut gone: Vec<DirId> = match old.what {
            What::Dir(id) if kept != Some(id) => vec![id],
            _ => Vec::new(),
        };
        while let Some(id) = gone.pop() {
            let Some(dir) = self.dirs[id.index()].take() else { continue };
            self.doubtful.remove(&id);
            self.fresh.remove(&id);
            self.stale.remove(&(Reverse(dir.depth()), id));
            for entry in &dir.entries {
                self.drop_file(entry);
                if let What::Dir(below) = entry.what {
                    gone.push(below);
                }
            }
        }
    }

    /// Notes what is to be done about a directory.
    fn note(&mut self, id: DirId, dir: &Dir) {
        let set = |set: &mut BTreeSet<DirId>, is_in: bool| {
            if is_in {
                set.insert(id)
            } else {
                set.remove(&id)
            };
        };
        set(&mut self.doubtful, dir.entries.iter().any(|entry| entry.doubt != Doubt::None));
        set(&mut self.fresh, !dir.stored || dir.entries.iter().any(|entry| !entry.stored));
    }

    /// Gives the names of each file that has several within the tree a group, and takes it from the
    /// others.
    pub(super) fn group_links(&mut self) {
        if !std::mem::take(&mut self.links_moved) {
            return;
        }
        let mut names: HashMap<(u64, u64), Vec<(DirId, usize)>> = HashMap::new();
        for (id, dir) in self.dirs() {
            for (at, entry) in dir.entries.iter().enumerate() {
                if let What::File(file) = &entry.what
                    && (entry.stat.links > 1 || file.group.is_some())
                {
                    let key = (entry.stat.device, entry.stat.inode);
                    names.entry(key).or_default().push((id, at));
                }
            }
        }
        for places in names.into_values() {
            let group = (places.len() > 1).then(|| self.group_of(&places));
            for (id, at) in places {
                self.set_group(id, at, group);
            }
        }
    }

    /// A number that equal trees agree on: from the first of the paths, in byte order.
    fn group_of(&self, places: &[(DirId, usize)]) -> u64 {
        let path = |(id, at): &(DirId, usize)| {
            let name = self.dir(*id).map(|dir| &dir.entries[*at].name);
            name.map(|name| self.path(*id).join(&**name).into_os_string())
        };
        let first = places.iter().filter_map(path).min_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        let digest = blake3::hash(first.unwrap_or_default().as_bytes());
        let bytes = digest.as_bytes().first_chunk().expect("a digest has 32 bytes");
        u64::from_le_bytes(*bytes)
    }

    fn set_group(&mut self, id: DirId, at: usize, group: Option<u64>) {
        let Some(dir) = self.dir_mut(id) else { return };
        if let What::File(file) = &mut dir.entries[at].what
            && file.group != group
        {
            file.group = group;
            self.mark_stale(id);
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
