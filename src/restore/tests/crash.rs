//! Kills and losses of power at every call.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::forest::all_ways;
use super::random::pair;
use super::*;
use crate::disk::{FaultDisk, Loss, Stat};

/// What the log says of a restore that came to its end some way or other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Log {
    Nothing,
    Begun,
    Ended(Way),
}

/// Stages and applies as the manager does; answers what the log says when that ended.
fn run(case: &Case, seen: &BTreeMap<PathBuf, Stat>, tree: &dyn DiskTree) -> Log {
    let content = case.shelf.content();
    let restore = Restore::new(tree, &case.plan, id(), &content);
    if restore.stage(&|_| {}).is_err() {
        return Log::Nothing;
    }
    let (way, report) = match restore.apply(&|path| seen.get(path).copied(), false) {
        Ok(Outcome::Done(report)) => (Way::Forward, report),
        Ok(Outcome::RolledBack { report, .. }) => (Way::Back, report),
        Ok(Outcome::Changed(changed)) => panic!("{changed:?} did not change"),
        Err(_) => return Log::Begun,
    };
    assert!(report.left.is_empty() && report.kept.is_empty(), "{report:?}");
    if let Ok(kept) = restore.clear(way, Some(&report)) {
        assert_eq!(kept, NOWHERE);
    }
    Log::Ended(way)
}

/// What the next start does; `way` is how it ends what was begun.
fn recover(case: &Case, tree: &dyn DiskTree, log: Log, way: Way) -> Result<Log, Error> {
    let content = case.shelf.content();
    let restore = Restore::new(tree, &case.plan, id(), &content);
    let root = case.plan.dirs.last().and_then(|root| root.now);
    match log {
        Log::Nothing => {
            let whole = discard_staging(tree, id(), root.map(|root| root.modified))?;
            assert!(whole, "something is left of the staging directory");
            Ok(log)
        }
        Log::Begun => {
            let report = match way {
                Way::Forward => restore.roll_forward()?,
                Way::Back => restore.roll_back()?,
            };
            let clean = report.left.is_empty() && report.kept.is_empty();
            assert!(clean && report.stayed.is_empty(), "{way:?} {report:?}");
            if let Ok(kept) = restore.clear(way, Some(&report)) {
                assert_eq!(kept, NOWHERE);
            }
            Ok(Log::Ended(way))
        }
        Log::Ended(way) => {
            assert_eq!(restore.clear(way, None)?, NOWHERE);
            Ok(log)
        }
    }
}

/// A case with its two ends, on a disk that begins with the first.
struct Trial {
    now: Forest,
    wanted: Forest,
    case: Case,
}

impl Trial {
    fn new((now, wanted): (Forest, Forest)) -> Self {
        let case = Case::new(&now, &wanted);
        Self { now, wanted, case }
    }

    /// Runs until the call of that number; answers the disk and what the log says.
    fn stopped_at(&self, call: u64) -> (MemoryDisk, Log) {
        let (memory, tree) = memory(&self.now);
        let disk = FaultDisk::over(&memory);
        let faulty = disk.tree("/w".as_ref()).unwrap();
        disk.reset();
        disk.stop_at(call);
        let log = run(&self.case, &scan(&*tree), &*faulty);
        (memory, log)
    }

    fn calls(&self) -> u64 {
        let (memory, tree) = memory(&self.now);
        let disk = FaultDisk::over(&memory);
        let faulty = disk.tree("/w".as_ref()).unwrap();
        disk.reset();
        assert_eq!(run(&self.case, &scan(&*tree), &*faulty), Log::Ended(Way::Forward));
        disk.total()
    }

    fn check(&self, disk: &MemoryDisk, log: Log, told: &str) {
        let way = if let Log::Ended(way) = log { way } else { Way::Back };
        let tree = disk.tree("/w".as_ref()).unwrap();
        let expected = way.end(&self.now, &self.wanted);
        assert_eq!(look(&*tree), normal(expected), "{told}: {way:?}");
    }

    /// Crashes, recovers, and crashes again in the middle of that, until it is through; now and then
    /// the second recovery goes the other way.
    fn recovers(&self, disk: &MemoryDisk, log: Log, fate: (Loss, Way, Option<u64>), told: &str) {
        let (loss, way, again) = fate;
        let mut disk = disk.crash(loss);
        let mut log = log;
        if let Some(call) = again {
            let fault = FaultDisk::over(&disk);
            let tree = fault.tree("/w".as_ref()).unwrap();
            fault.reset();
            fault.stop_at(call);
            let first = if call % 3 == 0 { way.other() } else { way };
            if let Ok(done) = recover(&self.case, &*tree, log, first) {
                log = done;
            }
            disk = disk.crash(loss);
        }
        let tree = disk.tree("/w".as_ref()).unwrap();
        let log = match recover(&self.case, &*tree, log, way) {
            Ok(log) => log,
            Err(error) => panic!("{told}: {error}"),
        };
        self.check(&disk, log, told);
    }
}

fn losses(seed: u64) -> [Loss; 7] {
    [
        Loss::None,
        Loss::All,
        Loss::Random(3 * seed),
        Loss::Random(3 * seed + 1),
        Loss::Random(3 * seed + 2),
        Loss::Ordered(seed),
        Loss::Prefix(usize::try_from(seed).unwrap()),
    ]
}

#[test]
fn a_crash_at_any_call_leaves_what_can_be_finished_and_what_can_be_taken_back() {
    let trial = Trial::new(all_ways());
    for call in 0..=trial.calls() {
        let (disk, log) = trial.stopped_at(call);
        for loss in losses(call) {
            for way in [Way::Forward, Way::Back] {
                let told = format!("stopped at {call}, {log:?}, {loss:?}");
                trial.recovers(&disk, log, (loss, way, None), &told);
            }
        }
    }
}

#[test]
fn a_crash_in_the_middle_of_a_recovery_is_recovered_from() {
    let trial = Trial::new(all_ways());
    let calls = trial.calls();
    for call in (calls / 3..=calls).step_by(13) {
        let (disk, log) = trial.stopped_at(call);
        for again in (call % 3..150).step_by(3) {
            for loss in [Loss::None, Loss::Random(call + again), Loss::Ordered(call + again)] {
                for way in [Way::Forward, Way::Back] {
                    let told = format!("stopped at {call}, {log:?}, again {again}, {loss:?}");
                    trial.recovers(&disk, log, (loss, way, Some(again)), &told);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_restore_survives_any_crash(
        pair in pair(), at in any::<prop::sample::Index>(), seed in 0..1000u64,
        again in prop::option::of(0..200u64), forward in any::<bool>(),
    ) {
        let trial = Trial::new(pair);
        if !trial.case.plan.is_empty() {
            let call = at.index(usize::try_from(trial.calls()).unwrap() + 1) as u64;
            let (disk, log) = trial.stopped_at(call);
            let way = if forward { Way::Forward } else { Way::Back };
            for loss in losses(seed) {
                let told = format!("stopped at {call}, {log:?}, {loss:?}, {:#?}", trial.case.plan);
                trial.recovers(&disk, log, (loss, way, again), &told);
            }
        }
    }
}
