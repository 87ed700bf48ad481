//! What a look found, taken in.
//!
//! A look gathers [`Edits`] while what is known stands still. Taken in, they say what moved, for the
//! scan to decide whether it looks again, and which pages are stale. Only the last that was said of a
//! name counts: the listing first, then what was found on a closer look, then sizes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use super::{Dir, DirId, Doubt, Entry, Known, Name, Position, Slots, What, is_same};
use crate::collect::rules::Patterns;

/// A change of one name.
#[derive(Debug)]
pub(in super::super) enum Edit {
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
pub(in super::super) struct Edits {
    pub dir: DirId,
    /// What was found later, or looked at more closely, is applied later.
    pub rank: u8,
    /// Given where the directory was not known before.
    pub position: Option<Position>,
    /// Given where they are others than before.
    #[expect(clippy::option_option, reason = "not looked for is not the same as not there")]
    pub patterns: Option<Option<Arc<Patterns>>>,
    pub list: Vec<Edit>,
}

impl Edits {
    pub(in super::super) fn new(dir: DirId, rank: u8, list: Vec<Edit>) -> Self {
        Self { dir, rank, position: None, patterns: None, list }
    }
}

/// What changes did.
#[derive(Debug, Default)]
pub(in super::super) struct Applied {
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
    pub(in super::super) fn apply(&mut self, mut all: Vec<Edits>, slots: &Slots) -> Applied {
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

    /// Knows a directory again that was known in another process.
    pub(in super::super) fn take_back(&mut self, id: DirId, dir: Dir) {
        dir.entries.iter().for_each(|entry| self.take_on(entry));
        self.note(id, &dir);
        self.dirs.resize_with(self.dirs.len().max(id.index() + 1), || None);
        self.dirs[id.index()] = Some(dir);
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
                    self.let_go(&old, kept, applied);
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
                self.let_go(entry, None, applied);
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
    fn let_go(&mut self, old: &Entry, kept: Option<DirId>, applied: &mut Applied) {
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
            applied.rules_moved |= dir.patterns.is_some();
            for entry in &dir.entries {
                self.drop_file(entry);
                applied.rules_moved |= !entry.is_kept();
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
}
