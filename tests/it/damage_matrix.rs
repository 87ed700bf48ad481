//! What × where × meanwhile: each kind of damage to each kind of file, of a closed store and of one
//! that is open and read through, and what is expected of each as a table.

use std::path::{Path, PathBuf};

use stateward::CheckpointManager;
use stateward::disk::MemoryDisk;
use stateward::verify::VerifyOptions;

use crate::damage::{Fixture, Outcome, options};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Flip,
    Zero,
    Truncate,
    Delete,
    Swap,
    Duplicate,
    RollBack,
}

const EVERY: [What; 7] = [
    What::Flip,
    What::Zero,
    What::Truncate,
    What::Delete,
    What::Swap,
    What::Duplicate,
    What::RollBack,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Head,
    Sealed,
    Spare,
    Summary,
    View,
    Identity,
    Lock,
    Quarantine,
    GitIgnore,
    Reserve,
}

/// What is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nobody notices, and there is nothing to notice.
    Harmless,
    /// Everything is there, and what was wrong is made good or cut.
    Mended,
    /// It is spoken of; nothing is lost.
    Told,
    /// It is spoken of, and something may be lost.
    Lost,
}

use Then::{Harmless, Lost, Mended, Told};

/// Flip, zero, truncate, delete, swap, duplicate, roll back.
const TABLE: [(Where, [Then; 7]); 10] = [
    (Where::Head, [Lost, Lost, Lost, Lost, Lost, Told, Lost]),
    (Where::Sealed, [Lost, Lost, Lost, Lost, Lost, Told, Lost]),
    // A swap takes a sealed segment with it; a found empty segment is let go, whatever it is.
    (Where::Spare, [Mended, Harmless, Harmless, Harmless, Lost, Told, Harmless]),
    (Where::Summary, [Harmless; 7]),
    (Where::View, [Mended, Mended, Mended, Mended, Mended, Harmless, Harmless]),
    (Where::Identity, [Mended, Mended, Mended, Mended, Mended, Harmless, Harmless]),
    (Where::Lock, [Harmless; 7]),
    (Where::Quarantine, [Harmless; 7]),
    (Where::GitIgnore, [Harmless; 7]),
    (Where::Reserve, [Harmless; 7]),
];

impl Where {
    /// A file of this kind, and another to swap it with.
    fn files(self, fixture: &Fixture) -> (PathBuf, PathBuf) {
        let store = Path::new("/store");
        let segments = fixture.segments();
        let ending = |end: &str| -> Vec<PathBuf> {
            let named = fixture.image.keys();
            named.filter(|path| path.to_str().unwrap().ends_with(end)).cloned().collect()
        };
        let views: Vec<&PathBuf> = fixture.kept.iter().map(|kept| &kept.path).collect();
        let summaries = ending(".idx");
        let last = summaries.len() - 1;
        match self {
            Self::Head => (fixture.head(), segments[0].clone()),
            Self::Sealed => (fixture.sealed(), segments[0].clone()),
            Self::Spare => (fixture.spare(), segments[0].clone()),
            Self::Summary => (summaries[last].clone(), summaries[last - 1].clone()),
            Self::View => (views[views.len() - 1].clone(), views[0].clone()),
            Self::Identity => (store.join("store.json"), store.join(".gitignore")),
            Self::Lock => (store.join("lock"), store.join(".gitignore")),
            Self::Quarantine => (store.join("quarantine/some-0-9"), store.join(".gitignore")),
            Self::GitIgnore => (store.join(".gitignore"), store.join("lock")),
            Self::Reserve => (store.join("reserve"), store.join(".gitignore")),
        }
    }

    /// Another name of the same form, with nothing under it.
    fn other_name(self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap().to_str().unwrap();
        let other = match self {
            Self::Head | Self::Sealed | Self::Spare => "0000000000000099.log".to_owned(),
            Self::Summary => "0000000000000099.idx".to_owned(),
            Self::View => {
                let id = uuid_like(name);
                name.replace(&id, "01900000-0000-7000-8000-000000000001")
            }
            _ => format!("{name}.copy"),
        };
        path.with_file_name(other)
    }
}

fn uuid_like(name: &str) -> String {
    name.trim_end_matches(".json").chars().rev().take(36).collect::<Vec<_>>().iter().rev().collect()
}

impl What {
    /// Does it; `false` where it cannot be done to this file.
    fn strike(self, place: Where, fixture: &Fixture, disk: &MemoryDisk) -> bool {
        let (path, other) = place.files(fixture);
        let bytes = disk.get(&path).unwrap();
        match self {
            Self::Flip => {
                let at = flipped_at(&bytes);
                disk.damage(&path, |bytes| bytes[at] ^= 0x10)
            }
            Self::Zero => {
                let range = bytes.len() / 4..bytes.len() / 4 * 3;
                disk.damage(&path, |bytes| bytes[range].fill(0))
            }
            Self::Truncate => disk.damage(&path, |bytes| bytes.truncate(bytes.len() / 2)),
            Self::Delete => disk.remove(&path),
            Self::Swap => {
                let others = disk.get(&other).unwrap();
                disk.damage(&path, |bytes| *bytes = others)
                    && disk.damage(&other, |there| *there = bytes)
            }
            Self::Duplicate => {
                disk.put(&place.other_name(&path), &bytes);
                true
            }
            Self::RollBack => {
                let older = fixture.older_copy(&path);
                let must = matches!(place, Where::Head | Where::Sealed);
                assert!(older.is_some() || !must, "{place:?} has no older copy");
                older.is_some_and(|older| disk.damage(&path, |bytes| *bytes = older))
            }
        }
    }
}

/// In the middle of what is not zero; in the middle where all of it is.
fn flipped_at(bytes: &[u8]) -> usize {
    let body = 512.min(bytes.len() / 4)..bytes.len() - 512.min(bytes.len() / 4);
    let used: Vec<usize> = body.filter(|at| bytes[*at] != 0).collect();
    used.get(used.len() / 2).copied().unwrap_or(bytes.len() / 2)
}

fn with_quarantine(fixture: &Fixture) -> MemoryDisk {
    let disk = fixture.disk();
    disk.put(Path::new("/store/quarantine/some-0-9"), b"evidence");
    disk
}

fn expect(then: Then, outcome: Outcome, what: &str) {
    let told = outcome.reported || outcome.unsound;
    let there = outcome.missing == 0 && outcome.failing == 0;
    let as_expected = match then {
        Harmless => outcome == Outcome::default(),
        Mended => there && !told,
        Told => there && told,
        Lost => told,
    };
    assert!(as_expected, "{what}: expected {then:?}, found {outcome:?}");
}

fn for_each_cell(mut test: impl FnMut(&Fixture, &MemoryDisk, What, Where, Then)) {
    let fixture = Fixture::get();
    for (place, row) in TABLE {
        for (what, then) in EVERY.into_iter().zip(row) {
            test(fixture, &with_quarantine(fixture), what, place, then);
        }
    }
}

#[test]
fn of_a_closed_store() {
    for_each_cell(|fixture, disk, what, place, then| {
        if what.strike(place, fixture, disk) {
            let name = format!("{what:?} of {place:?}");
            let beside = MemoryDisk::from_image(&disk.image());
            fixture.check_looking(&beside, &name);
            expect(then, fixture.check(disk, &name, &[]), &name);
        }
    });
}

#[test]
fn of_a_store_that_is_open_and_read_through() {
    for_each_cell(|fixture, disk, what, place, _| {
        let name = format!("{what:?} of {place:?} while open");
        let manager = CheckpointManager::open(options(disk.shared())).unwrap();
        // Whose lock is gone writes no more; `meanwhile.rs` has that.
        if place == Where::Lock
            || !disk.image().contains_key(&place.files(fixture).0)
            || !what.strike(place, fixture, disk)
        {
            return;
        }
        fixture.hold(&manager, &name, &[]);
        let added = fixture.goes_on(&manager, &name);
        // What a settling cannot write to damaged places is for the next opening.
        drop(manager.settle());
        drop(manager);
        fixture.check(disk, &name, &added);
    });
}

#[test]
fn repair_leaves_no_less_than_there_was() {
    for_each_cell(|fixture, disk, what, place, then| {
        if !matches!(then, Told | Lost) || !what.strike(place, fixture, disk) {
            return;
        }
        let name = format!("{what:?} of {place:?}, repaired");
        let manager = CheckpointManager::open(options(disk.shared())).unwrap();
        let before = fixture.hold(&manager, &name, &[]);
        let repair = VerifyOptions { repair: true, ..VerifyOptions::default() };
        let reports = manager
            .verify(&repair, &mut |_| {})
            .unwrap_or_else(|error| panic!("{name}: it cannot be repaired: {error}"));
        let sound = reports.iter().all(|report| report.sound);
        drop(manager);
        let after = fixture.check(disk, &name, &[]);
        let unreadable = |outcome: Outcome| outcome.missing + outcome.failing;
        assert!(unreadable(after) <= unreadable(before), "{name}: {before:?}, then {after:?}");
        assert!(!sound || unreadable(after) == 0, "{name}: called sound, and {after:?}");
    });
}
