//! One look at a workspace, by several threads.
//!
//! Directories to look into and files to read are jobs of one queue. The threads see what was known
//! before ([`Known`]) and gather what is different; nothing of it counts until the look is over.
//! What cannot be read is left out and listed, but a shortage (of open files, of memory) ends the
//! scan: it says nothing about what is there.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::extent::Extent;
use super::files::{At, Reading, Wanted};
use super::horizon::Horizon;
use super::known::{DirId, Doubt, Edit, Edits, Entry, Known, Name, Position, Slots, What, is_same};
use super::queue::Queue;
use super::reading::{Reader, is_shortage};
use super::rules::{Patterns, Scope};
use super::sink::{Sink, Tally};
use super::visit;
use super::watch::Watch;
use super::{Error, Options};
use crate::clock::Clock;
use crate::disk::{DiskTree, NodeKind, Stat};
use crate::state::Why;

/// Entries of ignored directories that are counted in one scan, all together.
const MEASURED_MAX: u64 = 100_000;

/// What stays the same while a scan looks several times.
pub(super) struct Ground<'a> {
    pub tree: &'a dyn DiskTree,
    /// Where the tree lies.
    pub place: &'a Path,
    pub options: &'a Options,
    pub clock: &'a dyn Clock,
    pub threads: usize,
    /// Stores, by device and inode.
    pub stores: &'a [(u64, u64)],
    /// Inodes that processes have mapped to write into.
    pub mapped: &'a HashSet<u64>,
    pub horizon: Horizon,
    pub watch: Option<&'a Watch>,
    pub sink: &'a Sink<'a>,
    pub tally: Tally,
    /// Entries of ignored directories counted so far.
    pub measured: AtomicU64,
}

/// One look.
pub(super) struct Walk<'w> {
    pub ground: &'w Ground<'w>,
    pub known: &'w Known,
    pub extent: &'w Extent,
    /// How often the scan has looked before.
    pub round: u32,
    slots: Mutex<Slots>,
    queue: Queue<Job<'w>, Error>,
}

/// A directory to look into.
pub(super) struct Look {
    pub id: DirId,
    pub path: PathBuf,
    /// None for the root.
    pub below: Option<Below>,
    /// The patterns of the directories above.
    pub scope: Option<Arc<Scope>>,
    /// Those are others than before.
    pub rules_moved: bool,
    /// All below is looked into, wherever the extent reaches.
    pub is_deep: bool,
}

/// How a directory lies in another one.
pub(super) struct Below {
    pub position: Position,
    /// What the listing of the other one said of it.
    pub stat: Stat,
}

pub(super) enum Job<'w> {
    Look(Look),
    Read {
        at: At,
        files: Vec<Wanted<'w>>,
    },
    /// An ignored directory whose size is not known.
    Measure {
        dir: DirId,
        path: PathBuf,
        name: OsString,
        stat: Stat,
    },
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub edits: Vec<Edits>,
    /// Files that held still while they were read, and such that did not.
    pub settled: Vec<PathBuf>,
    pub unsettled: Vec<PathBuf>,
    /// Names of databases, and what is beside them, that fit together as they were read.
    pub fitting: HashSet<Name>,
    /// Something went away or was replaced under the look.
    pub is_moving: bool,
    /// Something that differs may have come to be so after the scan began.
    pub is_young: bool,
    /// The root's own facts.
    pub root: Option<Stat>,
}

impl Found {
    fn add(&mut self, other: Self) {
        self.edits.extend(other.edits);
        self.settled.extend(other.settled);
        self.unsettled.extend(other.unsettled);
        self.fitting.extend(other.fitting);
        self.is_moving |= other.is_moving;
        self.is_young |= other.is_young;
        self.root = self.root.or(other.root);
    }

    /// Weighs the times of all that differs. A database is judged with what is beside it, whose times
    /// prove little.
    fn weigh(&mut self, horizon: &Horizon) {
        let is_young = |edit: &Edit| match edit {
            Edit::Put(entry) => {
                entry.doubt != Doubt::None
                    || entry.is_database()
                    || horizon.is_racy(entry.stat.changed)
            }
            // Its directory's time tells.
            Edit::Drop(_) => false,
        };
        self.is_young |= self.edits.iter().flat_map(|edits| &edits.list).any(is_young);
    }

    /// Says more of a name than the listing of its directory did.
    pub(super) fn say(&mut self, dir: DirId, edit: Edit) {
        self.edits.push(Edits::new(dir, 1, vec![edit]));
    }
}

impl<'w> Walk<'w> {
    pub(super) fn new(
        ground: &'w Ground<'w>,
        known: &'w Known,
        slots: Slots,
        extent: &'w Extent,
        round: u32,
    ) -> Self {
        let root = Look {
            id: DirId::ROOT,
            path: PathBuf::new(),
            below: None,
            scope: None,
            rules_moved: false,
            is_deep: known.dir(DirId::ROOT).is_none(),
        };
        let queue = Queue::new(Job::Look(root));
        Self { ground, known, extent, round, slots: Mutex::new(slots), queue }
    }

    /// Looks, and answers what is different.
    pub(super) fn run(self) -> Result<(Found, Slots), Error> {
        let mut found = Found::default();
        std::thread::scope(|scope| {
            let others = (1..self.ground.threads).map(|_| scope.spawn(|| self.work()));
            let others: Vec<_> = others.collect();
            found = self.work();
            for other in others {
                match other.join() {
                    Ok(more) => found.add(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        found.weigh(&self.ground.horizon);
        match self.queue.into_failure() {
            Some(error) => Err(error),
            None => Ok((found, self.slots.into_inner())),
        }
    }

    fn work(&self) -> Found {
        let Ground { tree, sink, tally, .. } = self.ground;
        let mut reader = Reader::new(*tree, sink, tally);
        let mut found = Found::default();
        while let Some((job, _turn)) = self.queue.next() {
            let done = match job {
                Job::Look(look) => self.look(&look, &mut found),
                Job::Read { at, files } => {
                    Reading { walk: self, at, reader: &mut reader, found: &mut found }.read(files)
                }
                Job::Measure { dir, path, name, stat } => {
                    let bytes = self.measure(path);
                    let what = Entry::left_out(name.into(), stat, Why::IgnoredByDefault, bytes);
                    // After whatever the looks said of it.
                    found.edits.push(Edits::new(dir, 2, vec![Edit::Put(what)]));
                    Ok(())
                }
            };
            if let Err(error) = done {
                self.queue.fail(error);
            }
        }
        if let Err(error) = reader.finish() {
            self.queue.fail(error.into());
        }
        found
    }

    fn look(&self, look: &Look, found: &mut Found) -> Result<(), Error> {
        if !look.is_deep && !self.extent.looks_into(look.id) {
            self.pass(look);
            return Ok(());
        }
        if let Some(watch) = self.ground.watch {
            // Watched first: what happens while it is read is noticed.
            watch.add(&look.path);
        }
        match self.ground.tree.read_dir(&look.path) {
            Ok(listing) => {
                let (jobs, later) = visit::compare(self, look, listing, found)?;
                self.queue.add(jobs, later);
                Ok(())
            }
            Err(error) => self.not_listed(look, error, found),
        }
    }

    /// Goes on to what is marked below a directory that is not.
    fn pass(&self, look: &Look) {
        let (Extent::Marked(marks), Some(dir)) = (self.extent, self.known.dir(look.id)) else {
            return;
        };
        let scope = look.scope_inside(dir.patterns.as_ref());
        let child = |id: &DirId| {
            let position = self.known.dir(*id)?.position.clone()?;
            let stat = dir.get(&position.name)?.stat;
            let path = look.path.join(&*position.name);
            let (scope, below) = (scope.clone(), Some(Below { position, stat }));
            Some(Job::Look(Look {
                id: *id,
                path,
                below,
                scope,
                rules_moved: false,
                is_deep: false,
            }))
        };
        let jobs = marks.under(look.id).iter().filter_map(child).collect();
        self.queue.add(jobs, Vec::new());
    }

    /// A directory that cannot be listed is left out where it is still the same one; else it moved.
    fn not_listed(&self, look: &Look, error: io::Error, found: &mut Found) -> Result<(), Error> {
        let Some(Below { position, stat }) = &look.below else {
            return Err(self.error("list", &look.path, error));
        };
        self.check_shortage(&look.path, error)?;
        let now = self.ground.tree.stat(&look.path);
        let is_there = now.is_ok_and(|now| is_one(&now, stat));
        let name = position.name.clone();
        found.is_moving |= !is_there;
        found.say(
            position.parent,
            if is_there {
                Edit::Put(Entry::left_out(name, *stat, Why::Unreadable, None))
            } else {
                Edit::Drop(name)
            },
        );
        Ok(())
    }

    pub(super) fn error(&self, doing: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io { doing, path: self.ground.place.join(path), source }
    }

    /// Passes on errors that say nothing about what is there.
    pub(super) fn check_shortage(&self, path: &Path, error: io::Error) -> Result<(), Error> {
        if is_shortage(&error) { Err(self.error("read", path, error)) } else { Ok(()) }
    }

    /// A name that cannot be read is left out where it is still what it was; else it moved.
    pub(super) fn not_read(
        &self,
        path: &Path,
        listed: &Stat,
        error: io::Error,
    ) -> Result<Edit, Error> {
        self.check_shortage(path, error)?;
        let now = self.ground.tree.stat(path);
        let name: Box<OsStr> = path.file_name().unwrap_or_default().into();
        Ok(if now.is_ok_and(|now| is_same(&now, listed)) {
            Edit::Put(Entry::left_out(name, *listed, Why::Unreadable, None))
        } else {
            Edit::Drop(name)
        })
    }

    pub(super) fn is_store(&self, stat: &Stat) -> bool {
        self.ground.stores.contains(&(stat.device, stat.inode))
    }

    /// Whether notices tell of this directory, where they decide what is looked at.
    pub(super) fn is_watched(&self, path: &Path) -> bool {
        match (self.extent, self.ground.watch) {
            (Extent::Marked(_), Some(watch)) => watch.has(path),
            _ => true,
        }
    }

    /// Whether a file is read although it looks as it did.
    pub(super) fn must_read(&self, before: &Entry, now: &Stat) -> bool {
        let is_first = self.round == 0;
        match before.doubt {
            Doubt::Racy => true,
            Doubt::RacyTwice | Doubt::Mapped => is_first,
            Doubt::None => is_first && (!before.stored || self.ground.mapped.contains(&now.inode)),
        }
    }

    /// Whether the times of what was just read prove something for the next scan.
    pub(super) fn doubt(&self, before: Option<&Entry>, what: &What, stat: &Stat) -> Doubt {
        let is_again = |before: &Entry| {
            before.doubt == Doubt::Racy && before.what == *what && is_same(&before.stat, stat)
        };
        if stat.kind == NodeKind::File && self.ground.mapped.contains(&stat.inode) {
            Doubt::Mapped
        } else if !self.ground.horizon.is_racy(stat.changed) {
            Doubt::None
        } else if self.round > 0 && before.is_some_and(is_again) {
            Doubt::RacyTwice
        } else {
            Doubt::Racy
        }
    }

    /// Whether the names in a directory were all there when the scan began, as they were just listed:
    /// asked after the listing, as its time shows whatever came or went before.
    pub(super) fn is_listing_old(&self, path: &Path, listed: &Stat) -> bool {
        let now = self.ground.tree.stat(path);
        now.is_ok_and(|now| is_one(&now, listed) && !self.ground.horizon.is_racy(now.changed))
    }

    pub(super) fn take_slot(&self) -> DirId {
        self.slots.lock().take()
    }

    /// The bytes of the files below an ignored directory, if they are not too many to count.
    fn measure(&self, path: PathBuf) -> Option<u64> {
        let mut bytes = 0;
        let mut waiting = vec![path];
        while let Some(path) = waiting.pop() {
            // What cannot be listed has no size that is known.
            let listing = self.ground.tree.read_dir(&path).ok()?;
            let count = listing.entries.len() as u64;
            if self.ground.measured.fetch_add(count, Ordering::Relaxed) + count > MEASURED_MAX {
                return None;
            }
            for (name, stat) in listing.entries {
                match stat.kind {
                    NodeKind::Dir => waiting.push(path.join(name)),
                    _ => bytes += stat.len,
                }
            }
        }
        Some(bytes)
    }
}

/// Whether two looks met the same directory.
pub(super) fn is_one(a: &Stat, b: &Stat) -> bool {
    a.kind == b.kind && a.device == b.device && a.inode == b.inode
}

impl Look {
    /// The patterns that hold inside, where the directory has some of its own.
    pub(super) fn scope_inside(&self, own: Option<&Arc<Patterns>>) -> Option<Arc<Scope>> {
        match own {
            Some(own) => Some(Scope::new(&self.path, own.clone(), self.scope.clone())),
            None => self.scope.clone(),
        }
    }

    pub(super) fn depth(&self) -> u16 {
        self.below.as_ref().map_or(0, |below| below.position.depth)
    }
}
