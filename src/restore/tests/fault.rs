//! Failures of single calls, and a disk that fills up: the workspace is exactly as before or exactly
//! as wanted, and the answer says which.

use rustix::io::Errno;

use super::forest::{Forest, all_ways};
use super::*;
use crate::disk::{Fault, FaultDisk, Loss};

/// How a restore ended, and with which error.
fn run(
    case: &Case,
    now: &Forest,
    prepare: &dyn Fn(&FaultDisk),
) -> (Way, Option<Error>, MemoryDisk) {
    let (memory, tree) = memory(now);
    let disk = FaultDisk::over(&memory);
    let faulty = disk.tree("/w".as_ref()).unwrap();
    let (seen, content) = (scan(&*tree), case.shelf.content());
    let restore = Restore::new(&*faulty, &case.plan, id(), &content);
    disk.reset();
    prepare(&disk);
    if let Err(error) = restore.stage(&|_| {}) {
        disk.heal();
        assert!(discard_staging(&*faulty, id(), None).unwrap());
        return (Way::Back, Some(error), memory);
    }
    let outcome = restore.apply(&|path| seen.get(path).copied(), false);
    let (way, report, error) = match outcome {
        Ok(Outcome::Done(report)) => (Way::Forward, report, None),
        Ok(Outcome::RolledBack { why, report }) => (Way::Back, report, Some(why)),
        Ok(Outcome::Changed(changed)) => panic!("{changed:?} did not change"),
        Err(error) => {
            assert!(!matches!(error, Error::Stuck { .. }), "{error}");
            (Way::Back, Report::default(), Some(error))
        }
    };
    assert!(report.left.is_empty() && report.kept.is_empty() && report.stayed.is_empty());
    // One failure may meet the clearing, which is done again.
    let kept = restore.clear(way, Some(&report)).or_else(|_| restore.clear(way, None));
    assert_eq!(kept.unwrap(), NOWHERE);
    (way, error, memory)
}

fn check(disk: &MemoryDisk, (now, wanted): (&Forest, &Forest), way: Way, told: &str) {
    let tree = disk.tree("/w".as_ref()).unwrap();
    assert_eq!(look(&*tree), normal(way.end(now, wanted)), "{told}, ended {way:?}");
}

#[test]
fn any_call_may_fail_once() {
    let (now, wanted) = all_ways();
    let case = Case::new(&now, &wanted);
    let mut ends = std::collections::HashMap::new();
    for errno in [Errno::NOSPC, Errno::IO, Errno::ACCESS] {
        for call in 0.. {
            let total = std::cell::Cell::new(0);
            let (way, error, disk) = run(&case, &now, &|disk| {
                disk.inject(Fault::new(errno).skipping(call).times(1));
                total.set(disk.total());
            });
            let told = format!("{errno} at {call}: {error:?}");
            check(&disk, (&now, &wanted), way, &told);
            // The next start clears what was to be cleared.
            let disk = disk.crash(Loss::All);
            let (tree, content) = (disk.tree("/w".as_ref()).unwrap(), case.shelf.content());
            Restore::new(&*tree, &case.plan, id(), &content).clear(way, None).unwrap();
            check(&disk, (&now, &wanted), way, &told);
            *ends.entry((way == Way::Back, error.is_some())).or_insert(0) += 1;
            if call > 400 {
                break;
            }
        }
    }
    assert!(ends.len() >= 2, "{ends:?}");
}

#[test]
fn a_disk_may_fill_up_at_any_byte() {
    let (now, wanted) = all_ways();
    let case = Case::new(&now, &wanted);
    let mut done = 0;
    for room in (0..16_000).step_by(97) {
        let (way, error, disk) = run(&case, &now, &|disk| disk.full_after(room));
        check(&disk, (&now, &wanted), way, &format!("room for {room}: {error:?}"));
        done += usize::from(way == Way::Forward);
    }
    assert!(done > 0);
}
