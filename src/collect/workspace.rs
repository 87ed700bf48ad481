//! A workspace: a directory tree that is scanned again and again.
//!
//! **A scan is settled.** Where anything differs from what was known, the scan looks a second time,
//! and treats what changed since as changed; bounded, and then it names what still moves. When a
//! look finds nothing, everything stood at one moment, between that look and the one before, as it
//! was recorded. Where the first look finds nothing different, no second one is needed: everything
//! was as it was known until it was looked at, so the whole was at the moment the scan began. The
//! same holds where all that differs shows a time of change before that moment, the directories
//! whose names moved included: what came before it, and was not changed again, was there at it. No
//! time is believed that is too young to prove something, of a mapped file or a database, from
//! another machine, or while the wall clock was set back.
//!
//! **What is put must be stored.** What a scan handed over counts as stored only when
//! [`Workspace::confirm`] says so; until then every scan hands it over again. What is known besides
//! counts as stored as long as the tree of [`Workspace::leans_on`] is: whoever finds that it is not
//! calls [`Workspace::forget`].
//!
//! An unreadable file is left out and listed. Only the root itself must be there.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::cache::{self, Bound};
use super::extent::{Extent, Marks};
use super::horizon::Horizon;
use super::known::{Applied, DirId, Known, Slots, What};
use super::rules::{Rules, is_default_name};
use super::sink::{Sink, Tally};
use super::walk::{Found, Ground, Walk, is_one};
use super::watch::Watch;
use super::{Error, Options, pages};
use crate::clock::Clock;
use crate::disk::{Disk, DiskTree, NodeKind, Stat};
use crate::encode::directory::{DirNode, Root, TreeEntry};
use crate::state::Timestamp;
use crate::state::{Skipped, Why};

/// How often a scan looks again after something moved.
const REPEATS: u32 = 3;
/// Paths listed that a `.statewardignore` leaves out; the others are counted.
const IGNORED_LISTED_MAX: usize = 1000;
/// A wall clock that fell behind by more than this was set back. Together with the clock of the
/// files' times, which moves in steps, it is less than what is taken for too young.
const CLOCK_BEHIND_MS: i64 = 5;
/// One to a core is enough, and beyond this the disk decides.
const THREADS_AUTOMATIC_MAX: usize = 8;

/// Where a workspace lies.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub root: PathBuf,
    /// Stores: they are left out, wherever they lie, and hold no workspace.
    pub stores: Vec<PathBuf>,
    /// Take a home directory or the whole machine too.
    pub force: bool,
}

/// How far a scan trusts notices of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Not at all: it looks everywhere.
    Thorough,
    /// It may look only where they point, where a watch is sound and the last walk not long ago.
    Hinted,
}

/// What a scan found.
#[derive(Debug, Clone)]
pub(crate) struct Scanned {
    pub root: DirNode,
    /// Kept files, and their bytes.
    pub files: u64,
    pub bytes: u64,
    /// It differs from the scan before.
    pub changed: bool,
    pub skipped: Arc<[Skipped]>,
    /// Files that did not hold still; they are kept as they were last read.
    pub unsettled: Vec<PathBuf>,
}

/// An open workspace, with what is known of it.
#[derive(Debug)]
pub(crate) struct Workspace {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    root: PathBuf,
    stores: Vec<PathBuf>,
    options: Options,
    threads: usize,
    known: Known,
    last: Option<Last>,
    last_root: Option<DirNode>,
    /// Started when it is of use.
    watch: Option<Arc<Watch>>,
    may_watch: bool,
    is_network: bool,
    /// When everything was last walked, on the monotonic clock, as far as nothing was missed since.
    walked_at: Option<Duration>,
    leans_on: Option<Root>,
    /// The wall clock at the last scan.
    clock_seen: Timestamp,
    /// The monotonic clock then.
    seen_at: Duration,
}

/// The last scan that came to its end.
#[derive(Debug)]
struct Last {
    rules: Rules,
    skipped: Arc<[Skipped]>,
}

impl Workspace {
    /// Opens a workspace; nothing is read yet.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        place: Place,
        options: Options,
    ) -> Result<Self, Error> {
        options.check()?;
        let root = check_root(&**disk, &place.root, place.force)?;
        check_overlap(&**disk, &root, &place.stores)?;
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = match options.threads {
            0 => cores().min(THREADS_AUTOMATIC_MAX),
            threads => threads,
        };
        // Changes made on another machine raise no notice.
        let is_network = disk.file_system(&root).is_ok_and(|found| found.network);
        let may_watch = options.watch && !is_network;
        Ok(Self {
            disk: disk.clone(),
            clock,
            root,
            stores: place.stores,
            options,
            threads,
            known: Known::default(),
            last: None,
            last_root: None,
            watch: None,
            may_watch,
            is_network,
            walked_at: None,
            leans_on: None,
            clock_seen: Timestamp::default(),
            seen_at: Duration::ZERO,
        })
    }

    /// Looks at the workspace, and hands over what is new.
    pub(crate) fn scan(&mut self, depth: Depth, sink: &Sink<'_>) -> Result<Scanned, Error> {
        let (before, walked_at) = (self.last.take(), self.walked_at.take());
        let (began, since) = (self.clock.now(), self.clock.monotonic());
        if began < self.clock_seen {
            self.known.doubt_everything();
        }
        (self.clock_seen, self.seen_at) = (began, since);
        self.known.renew();
        let tree = self.disk.tree(&self.root).map_err(|source| self.error("open", source))?;
        let is_watched = self.tend_watch(&*tree, before.is_some());
        let is_late = |at| since.saturating_sub(at) >= self.options.walk_every.as_duration();
        let may_trust = depth == Depth::Hinted && is_watched;
        let extent = match walked_at {
            Some(at) if may_trust && !is_late(at) => self.hinted(Vec::new()),
            _ => self.everywhere(),
        };
        let (looked, extent) = self.look_until_settled(&*tree, extent, sink)?;
        self.known.group_links();
        pages::encode(&mut self.known, sink)?;
        self.walked_at = if matches!(extent, Extent::All) { Some(since) } else { walked_at };
        self.conclude(before, looked)
    }

    /// Starts to watch at the second scan, so that a process that makes but one never pays for it;
    /// says whether the last scan was watched already.
    fn tend_watch(&mut self, tree: &dyn DiskTree, is_scanned: bool) -> bool {
        let root = tree.stat(Path::new(""));
        let is_other = !matches!((root, self.known.root_stat), (Ok(a), Some(b)) if is_one(&a, &b));
        let has_failed = self.watch.as_ref().is_some_and(|watch| watch.has_failed());
        if is_other || has_failed {
            self.watch = None;
            self.may_watch &= !has_failed;
        }
        let was_watched = self.watch.is_some();
        if !was_watched && is_scanned && self.may_watch {
            self.watch = Watch::start(&self.root).map(Arc::new);
            self.may_watch = self.watch.is_some();
        }
        was_watched && is_scanned
    }

    fn everywhere(&self) -> Extent {
        if let Some(watch) = &self.watch {
            watch.begin_anew();
        }
        Extent::All
    }

    /// Where notices and doubts point, beside these; everywhere, where notices are missing.
    fn hinted(&self, dirs: Vec<DirId>) -> Extent {
        let open = || self.disk.tree(&self.root).map(drop);
        let dirty = self.watch.as_ref().and_then(|watch| watch.dirty(&open));
        let Some(dirty) = dirty else { return self.everywhere() };
        let dirty = dirty.iter().map(|path| self.known.nearest(path).0);
        let unproven = self.known.doubtful().chain(self.known.fresh());
        Extent::Marked(Marks::of(&self.known, dirs.into_iter().chain(dirty).chain(unproven)))
    }

    fn look_until_settled(
        &mut self,
        tree: &dyn DiskTree,
        mut extent: Extent,
        sink: &Sink<'_>,
    ) -> Result<(Looked, Extent), Error> {
        let mut looked = Looked::default();
        if extent.is_empty() {
            return Ok((looked, extent));
        }
        let mapped = self.disk.mapped_files();
        let mapped = mapped.map_err(|source| self.error("find out who writes to", source))?;
        let is_network = self.is_network;
        let (clock, watch) = (self.clock.clone(), self.watch.clone());
        let ground = Ground {
            tree,
            place: &self.root.clone(),
            options: &self.options.clone(),
            clock: &*clock,
            threads: self.threads,
            stores: &self.store_ids(),
            mapped: &mapped,
            horizon: Horizon { began: self.clock_seen, is_network },
            watch: watch.as_deref(),
            sink,
            tally: Tally::default(),
            measured: AtomicU64::new(0),
        };
        for round in 0..=REPEATS {
            let slots = self.known.take_slots();
            let (found, slots) = Walk::new(&ground, &self.known, slots, &extent, round).run()?;
            let (found, applied) = self.take_in(found, &slots);
            let is_still = !found.is_moving
                && (applied.moved.iter().all(|name| found.fitting.contains(name))
                    || (round == 0 && self.was_before(&found, &applied)));
            if let Extent::Marked(marks) = &extent {
                let again = marks.looks().chain(applied.touched.iter().copied()).collect();
                extent = self.hinted(again);
            }
            looked.note(&self.known, found, &applied, round == REPEATS);
            if is_still {
                break;
            }
        }
        Ok((looked, extent))
    }

    /// Whether all that differs was there when the scan began, as it was found. The wall clock must
    /// have gone on like the monotonic one.
    fn was_before(&self, found: &Found, applied: &Applied) -> bool {
        let passed = self.clock.monotonic().saturating_sub(self.seen_at);
        let expected = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        let wall = self.clock.now().unix_ms().saturating_sub(self.clock_seen.unix_ms());
        let is_steady = expected.saturating_sub(wall) <= CLOCK_BEHIND_MS;
        is_steady && !(self.is_network || found.is_young || applied.rules_moved)
    }

    fn take_in(&mut self, mut found: Found, slots: &Slots) -> (Found, Applied) {
        let edits = std::mem::take(&mut found.edits);
        let applied = self.known.apply(edits, slots);
        self.known.root_stat = found.root.or(self.known.root_stat);
        (found, applied)
    }

    fn conclude(&mut self, before: Option<Last>, looked: Looked) -> Result<Scanned, Error> {
        let missing = || Error::NoDirectory { path: self.root.clone() };
        let root = self.known.root().ok_or_else(missing)?;
        let changed = self.last_root.replace(root) != Some(root);
        let last = match before {
            Some(last) if !looked.rules_moved => last,
            _ => Last { rules: self.find_rules(), skipped: self.find_skipped() },
        };
        let skipped = last.skipped.clone();
        self.last = Some(last);
        let Known { files, bytes, .. } = self.known;
        let unsettled = looked.unsettled.into_iter().collect();
        Ok(Scanned { root, files, bytes, changed, skipped, unsettled })
    }

    /// A number that grows with every change that is noticed; none where changes are not watched.
    #[cfg(feature = "cli")]
    pub(crate) fn noticed(&self) -> Option<u64> {
        self.watch.as_ref()?.noticed()
    }

    /// What the scans so far handed over lies in the store now.
    pub(crate) fn confirm(&mut self) {
        if self.last.is_some() {
            self.leans_on = self.last_root.map(|root| root.root);
            self.known.confirm();
        }
    }

    /// The tree that must lie in the store for what is known to hold, if anything is known.
    pub(crate) fn leans_on(&self) -> Option<Root> {
        self.leans_on
    }

    /// Nothing is known any more: the next scan reads and hands over everything.
    pub(crate) fn forget(&mut self) {
        self.known = Known::default();
        (self.last, self.last_root, self.leans_on) = (None, None, None);
        self.walked_at = None;
    }

    /// What is known, for [`Workspace::take_cache`] of a later process; nothing as long as some of it
    /// is not known to lie in a store.
    pub(crate) fn cache(&self) -> Option<Vec<u8>> {
        let root = self.known.root_stat?;
        let is_stored = self.last.is_some() && self.known.is_stored();
        is_stored.then(|| cache::encode(&self.known, self.clock_seen, &self.bound(&root)))?
    }

    /// Takes over what was known to an earlier process; says whether it was of use. It leans on the
    /// tree of [`Workspace::leans_on`] then.
    pub(crate) fn take_cache(&mut self, bytes: &[u8]) -> bool {
        let stat = self.disk.tree(&self.root).and_then(|tree| tree.stat(Path::new("")));
        let taken = stat.ok().and_then(|stat| cache::decode(bytes, &self.bound(&stat)));
        let Some((known, clock)) = taken else { return false };
        self.last_root = known.root();
        self.leans_on = self.last_root.map(|root| root.root);
        (self.known, self.clock_seen) = (known, clock);
        (self.last, self.walked_at) = (None, None);
        true
    }

    fn bound(&self, root: &Stat) -> Bound<'_> {
        let Stat { device, inode, .. } = *root;
        Bound { place: &self.root, device, inode, options: &self.options }
    }

    /// The root of the last scan.
    pub(crate) fn root(&self) -> Option<DirNode> {
        self.last_root
    }

    /// What the last scan kept of a directory.
    pub(crate) fn list(&self, path: &Path) -> Option<Vec<(TreeEntry, Stat)>> {
        self.last.as_ref()?;
        let (id, is_there) = self.known.nearest(path);
        self.known.list(id).filter(|_| is_there)
    }

    /// What stood at a path that the last scan kept.
    pub(crate) fn stat(&self, path: &Path) -> Option<Stat> {
        self.last.as_ref()?;
        if path.as_os_str().is_empty() {
            return self.known.root_stat;
        }
        self.known.entry(path).filter(|entry| entry.is_kept()).map(|entry| entry.stat)
    }

    /// Why the last scan kept nothing at a path where something stands.
    pub(crate) fn left_out(&self, path: &Path) -> Option<Why> {
        self.last.as_ref()?;
        let out = |path: &Path| match self.known.entry(path)?.what {
            What::Out(why, _) => Some(why),
            _ => None,
        };
        path.ancestors().find_map(out)
    }

    /// What is ignored, as the last scan found it.
    pub(crate) fn rules(&self) -> Rules {
        self.last.as_ref().map(|last| last.rules.clone()).unwrap_or_default()
    }

    /// What the last scan left out.
    #[cfg(test)]
    pub(crate) fn skipped(&self) -> &[Skipped] {
        self.last.as_ref().map_or(&[], |last| &last.skipped)
    }

    fn store_ids(&self) -> Vec<(u64, u64)> {
        let found = self.stores.iter().filter_map(|store| {
            let path = self.disk.canonical(store).ok()?;
            self.disk.metadata(&path).ok()
        });
        found.map(|found| (found.device, found.inode)).collect()
    }

    fn error(&self, doing: &'static str, source: std::io::Error) -> Error {
        Error::Io { doing, path: self.root.clone(), source }
    }

    fn find_rules(&self) -> Rules {
        let dirs = || self.known.dirs();
        let files =
            dirs().filter_map(|(id, dir)| Some((self.known.path(id), dir.patterns.clone()?)));
        let caches = dirs().flat_map(|(id, dir)| {
            let is_cache = |what: &What| matches!(what, What::Out(Why::IgnoredByDefault, _));
            let tagged = dir.entries.iter().filter(move |entry| is_cache(&entry.what));
            let tagged = tagged.filter(|entry| !is_default_name(&entry.name));
            tagged.map(move |entry| self.known.path(id).join(&*entry.name))
        });
        Rules::found(files.collect(), caches.collect(), self.options.ignore_defaults)
    }

    fn find_skipped(&self) -> Arc<[Skipped]> {
        let mut all = Vec::new();
        for (id, dir) in self.known.dirs() {
            for entry in &dir.entries {
                if let What::Out(why, bytes) = entry.what {
                    let path = self.known.path(id).join(&*entry.name);
                    all.push(Skipped { path, why, bytes, others: 0 });
                }
            }
        }
        all.sort_by(|a, b| a.path.cmp(&b.path));
        shorten(&mut all);
        all.into()
    }
}

/// Lists no more than some of what the files with patterns ignore; the last one counts the others.
fn shorten(all: &mut Vec<Skipped>) {
    let is_ignored = |one: &Skipped| one.why == Why::IgnoredByFile;
    let count = all.iter().filter(|one| is_ignored(one)).count();
    let mut place = 0;
    all.retain_mut(|one| {
        place += usize::from(is_ignored(one));
        if is_ignored(one) && place == IGNORED_LISTED_MAX {
            one.others = (count - place) as u64;
        }
        !is_ignored(one) || place <= IGNORED_LISTED_MAX
    });
}

/// What all looks of a scan found together.
#[derive(Debug, Default)]
struct Looked {
    unsettled: BTreeSet<PathBuf>,
    rules_moved: bool,
}

impl Looked {
    fn note(&mut self, known: &Known, found: Found, applied: &Applied, is_last: bool) {
        for path in &found.settled {
            self.unsettled.remove(path);
        }
        self.unsettled.extend(found.unsettled);
        self.rules_moved |= applied.rules_moved;
        if is_last {
            let path = |(dir, name): &(DirId, Box<std::ffi::OsStr>)| known.path(*dir).join(&**name);
            let moved = applied.moved.iter().filter(|name| !found.fitting.contains(name));
            self.unsettled.extend(moved.map(path));
        }
    }
}

/// The directory that a workspace is; refused where it is a whole home or machine, unless `force` says
/// that it is meant.
pub(crate) fn check_root(disk: &dyn Disk, path: &Path, force: bool) -> Result<PathBuf, Error> {
    let root = find_root(disk, path)?;
    if !force {
        check_width(disk, &root, std::env::var_os("HOME").as_deref().map(Path::new))?;
    }
    Ok(root)
}

fn find_root(disk: &dyn Disk, path: &Path) -> Result<PathBuf, Error> {
    let missing = |_| Error::NoDirectory { path: path.to_owned() };
    let root = disk.canonical(path).map_err(missing)?;
    let is_dir = disk.tree(&root).and_then(|tree| tree.stat(Path::new("")));
    match is_dir {
        Ok(stat) if stat.kind == NodeKind::Dir => Ok(root),
        Ok(_) => Err(Error::NoDirectory { path: root }),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            Err(Error::NoDirectory { path: root })
        }
        Err(source) => Err(Error::Io { doing: "open", path: root, source }),
    }
}

/// A home directory, or what holds one, is more than an agent's.
fn check_width(disk: &dyn Disk, root: &Path, home: Option<&Path>) -> Result<(), Error> {
    let home = home.and_then(|home| disk.canonical(home).ok());
    let what = match home {
        _ if root == Path::new("/") => "is the root of the file system",
        Some(home) if home == root => "is your home directory",
        Some(home) if home.starts_with(root) => "holds your home directory",
        _ => return Ok(()),
    };
    Err(Error::TooWide { path: root.to_owned(), what })
}

fn check_overlap(disk: &dyn Disk, root: &Path, stores: &[PathBuf]) -> Result<(), Error> {
    let above: HashSet<(u64, u64)> = root
        .ancestors()
        .filter_map(|path| disk.metadata(path).ok())
        .map(|found| (found.device, found.inode))
        .collect();
    for store in stores {
        let found = disk.canonical(store).and_then(|store| disk.metadata(&store));
        if found.is_ok_and(|found| above.contains(&(found.device, found.inode))) {
            return Err(Error::InsideStore { path: root.to_owned(), store: store.clone() });
        }
    }
    Ok(())
}
