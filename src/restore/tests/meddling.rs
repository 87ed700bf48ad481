//! Others at work in the tree while a restore runs: what they made is there afterwards.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::forest::{Item, all_ways, file, forest};
use super::*;
use crate::disk::{Access, DiskFile, FileTime, Listing, RealDisk, Stat};

const THEIRS: &[u8] = b"somebody's newer work";

/// What is looked at afterwards: the tree, the report of a restore that went through, what happened.
type Look<'a> = dyn Fn(&dyn DiskTree, Option<Report>, &str) + 'a;
type Deed<'a> = Box<dyn FnOnce(&dyn DiskTree) + Send + 'a>;

/// A tree in which somebody does something right before a certain call.
struct Meddled<'a> {
    inner: &'a dyn DiskTree,
    calls: AtomicU64,
    at: u64,
    deed: Mutex<Option<Deed<'a>>>,
}

impl<'a> Meddled<'a> {
    fn new(inner: &'a dyn DiskTree, at: u64, deed: Deed<'a>) -> Self {
        Self { inner, calls: AtomicU64::new(0), at, deed: Mutex::new(Some(deed)) }
    }

    fn pass(&self) -> &dyn DiskTree {
        if self.calls.fetch_add(1, Ordering::SeqCst) == self.at
            && let Some(deed) = self.deed.lock().take()
        {
            deed(self.inner);
        }
        self.inner
    }

    fn is_done(&self) -> bool {
        self.deed.lock().is_none()
    }
}

impl fmt::Debug for Meddled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meddled")
    }
}

impl DiskTree for Meddled<'_> {
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.pass().stat(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Listing> {
        self.pass().read_dir(path)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.pass().open(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<OsString> {
        self.pass().read_link(path)
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.pass().create(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.pass().create_dir(path)
    }
    fn create_link(&self, target: &OsStr, path: &Path) -> io::Result<()> {
        self.pass().create_link(target, path)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass().hard_link(from, to)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass().rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.pass().remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.pass().remove_dir(path)
    }
    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.pass().set_mode(path, mode)
    }
    fn set_modified(&self, path: &Path, modified: FileTime) -> io::Result<()> {
        self.pass().set_modified(path, modified)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.pass().sync_dir(path)
    }
    fn sync_all(&self) -> io::Result<bool> {
        self.pass().sync_all()
    }
}

/// Writes their bytes over a file, or makes one; a place that cannot be had is left.
fn write_at(tree: &dyn DiskTree, path: &str) -> bool {
    let path = Path::new(path);
    let file = tree.create(path).or_else(|_| open_to_write(tree, path));
    let Ok(file) = file else { return false };
    file.set_len(0).unwrap();
    file.write_all_at(THEIRS, 0).unwrap();
    true
}

/// A tree opens files to read only: theirs are written anew and renamed into place.
fn open_to_write(tree: &dyn DiskTree, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
    tree.remove_file(path)?;
    tree.create(path)
}

/// All that is in files, the staging directory left out.
fn holds_theirs(tree: &dyn DiskTree) -> bool {
    let is_theirs = |(path, item): (&PathBuf, &Item)| {
        let is_staged =
            path.to_string_lossy().starts_with(crate::restore::tree_plan::STAGING_PREFIX);
        !is_staged && matches!(item, Item::File { bytes, .. } if bytes == THEIRS)
    };
    look(tree).iter().any(is_theirs)
}

/// Runs a restore in a meddled tree to its end; answers the report, if it went through.
fn run(case: &Case, tree: &dyn DiskTree, meddled: &Meddled<'_>, force: bool) -> Option<Report> {
    let (seen, content) = (scan(tree), case.shelf.content());
    let restore = Restore::new(meddled, &case.plan, id(), &content);
    if restore.stage(&|_| {}).is_err() {
        return None;
    }
    match restore.apply(&|path| seen.get(path).copied(), force).unwrap() {
        Outcome::Changed(changed) => {
            assert!(!changed.is_empty() && !force);
            assert!(discard_staging(tree, id(), None).unwrap());
            None
        }
        Outcome::Done(mut report) => {
            let kept = restore.clear(Way::Forward, Some(&report)).unwrap();
            report.kept.extend(kept);
            Some(report)
        }
        Outcome::RolledBack { report, why } => {
            panic!("nothing failed: {why}, {report:?}");
        }
    }
}

/// Lets somebody do a deed before each call in turn, with and without force, and looks afterwards
/// with `check`, which is told whether the deed could be done.
fn at_each_call(deed: &(dyn Fn(&dyn DiskTree) -> bool + Sync), check: &Look<'_>) {
    let (now, wanted) = all_ways();
    let case = Case::new(&now, &wanted);
    let mut done = 0;
    for call in 0.. {
        for force in [false, true] {
            let (_disk, tree) = memory(&now);
            let succeeded = Mutex::new(false);
            let its = Box::new(|tree: &dyn DiskTree| *succeeded.lock() = deed(tree));
            let meddled = Meddled::new(&*tree, call, its);
            let report = run(&case, &*tree, &meddled, force);
            if !meddled.is_done() {
                assert!(done > 0, "it never succeeded");
                return;
            }
            drop(meddled);
            if succeeded.into_inner() {
                done += 1;
                check(&*tree, report, &format!("at {call}, force {force}"));
            }
        }
    }
}

/// Everything but these paths, and what is beneath them, and directories, is at one of the two ends.
fn others_are_whole(tree: &dyn DiskTree, but: &[&str], report: Option<&Report>, told: &str) {
    let (now, wanted) = all_ways();
    let end = normal(if report.is_some() { &wanted } else { &now });
    let counts = |path: &&PathBuf| !but.iter().any(|it| path.starts_with(it));
    let is_file = |item: &Item| !matches!(item, Item::Dir { .. });
    let found = look(tree);
    let plain = |item: &Item| match item.clone() {
        Item::File { bytes, mode, time, .. } => Item::File { bytes, mode, time, group: None },
        other => other,
    };
    for path in end.keys().chain(found.keys()).filter(counts) {
        let (end, found) = (end.get(path), found.get(path));
        if end.or(found).is_some_and(is_file) {
            assert_eq!(found.map(plain), end.map(plain), "{}: {told}", path.display());
        }
    }
}

#[test]
fn a_file_written_over_is_there_afterwards() {
    for place in ["changed", "adjusted", "gone/deep/file", "becomes_dir", "shut/file", "one"] {
        at_each_call(&|tree| write_at(tree, place), &|tree, report, told| {
            assert!(holds_theirs(tree), "{place} {told}: {report:?} {:#?}", look(tree).keys());
            others_are_whole(tree, &[place], report.as_ref(), &format!("{place} {told}"));
        });
    }
}

#[test]
fn a_file_made_where_one_comes_or_goes_is_there_afterwards() {
    let places = [
        "made",
        "made/new",
        "becomes_dir/now",
        "gone/deep/new",
        "becomes_file/in/new",
        "shut/other",
        "changed.stateward-kept",
    ];
    for place in places {
        at_each_call(&|tree| write_at(tree, place), &|tree, report, told| {
            assert!(holds_theirs(tree), "{place} {told}: {report:?} {:#?}", look(tree).keys());
            let but = [place, "becomes_file"];
            others_are_whole(tree, &but, report.as_ref(), &format!("{place} {told}"));
        });
    }
}

#[test]
fn what_is_written_through_an_open_file_is_there_afterwards() {
    let (now, wanted) = all_ways();
    let case = Case::new(&now, &wanted);
    for place in ["changed", "gone/deep/file", "becomes_dir", "one"] {
        for call in 0.. {
            let (disk, tree) = memory(&now);
            let handle = disk.open(&Path::new("/w").join(place), Access::Write).unwrap();
            let deed = Box::new(|_: &dyn DiskTree| handle.write_all_at(THEIRS, 0).unwrap());
            let meddled = Meddled::new(&*tree, call, deed);
            let (seen, content) = (scan(&*tree), case.shelf.content());
            let restore = Restore::new(&meddled, &case.plan, id(), &content);
            restore.stage(&|_| {}).unwrap();
            let outcome = restore.apply(&|path| seen.get(path).copied(), true).unwrap();
            let Outcome::Done(report) = outcome else { panic!("{outcome:?}") };
            if !meddled.is_done() {
                break;
            }
            drop(meddled);
            // A file that is gone takes what is written to it along: only here it can be told.
            let restore = Restore::new(&*tree, &case.plan, id(), &content);
            let kept = restore.clear(Way::Forward, Some(&report)).unwrap();
            assert!(holds_theirs(&*tree), "{place} at {call}: {report:?}, {kept:?}");
        }
    }
}

#[test]
fn what_somebody_deletes_or_moves_stops_nothing() {
    for place in ["changed", "adjusted", "gone/deep/file", "link", "becomes_dir", "two", "three"] {
        let deed = |tree: &dyn DiskTree| tree.remove_file(place.as_ref()).is_ok();
        at_each_call(&deed, &|tree, report, told| {
            let but = [place, "two", "three"];
            others_are_whole(tree, &but, report.as_ref(), &format!("{place} {told}"));
        });
    }
    for place in ["gone", "gone/deep", "shut", "becomes_file"] {
        let deed = |tree: &dyn DiskTree| {
            write_at(tree, &format!("{place}/theirs"))
                && tree.rename(place.as_ref(), "moved".as_ref()).is_ok()
        };
        at_each_call(&deed, &|tree, report, told| {
            assert!(holds_theirs(tree), "{place} {told}: {report:?}");
            others_are_whole(tree, &[place, "moved"], report.as_ref(), told);
        });
    }
}

#[test]
fn nothing_outside_is_touched_when_a_directory_becomes_a_link() {
    let (now, wanted) = all_ways();
    let case = Case::new(&now, &wanted);
    let outside =
        forest([("in/it", file("out")), ("deep/file", file("out")), ("file", file("out"))]);
    for (place, step) in [("gone", 5), ("becomes_file", 7), ("shut", 5), ("made", 11)] {
        for call in (0..).step_by(step) {
            let dir = tempfile::tempdir().unwrap();
            let (inside, beyond) = (dir.path().join("w"), dir.path().join("out"));
            RealDisk.create_dir(&inside).unwrap();
            RealDisk.create_dir(&beyond).unwrap();
            let tree = RealDisk.tree(&inside).unwrap();
            let far = RealDisk.tree(&beyond).unwrap();
            build(&*tree, &now);
            build(&*far, &outside);
            let deed = Box::new(|tree: &dyn DiskTree| {
                let moved = tree.rename(place.as_ref(), "moved".as_ref());
                if moved.is_ok() || place == "made" {
                    drop(tree.create_link(OsStr::new("../out"), place.as_ref()));
                }
            });
            let meddled = Meddled::new(&*tree, call, deed);
            run(&case, &*tree, &meddled, call % 2 == 0);
            assert_eq!(look(&*far), normal(&outside), "{place} at {call}");
            if !meddled.is_done() {
                break;
            }
        }
    }
}
