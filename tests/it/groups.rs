//! Many writers at once, killed: what each was told holds, and what it was not told is whole or absent.
//!
//! Who commits together with whom differs from run to run; what is promised does not.

use parking_lot::Mutex;
use stateward::disk::{FaultDisk, Loss, MemoryDisk};
use stateward::state::Kind;
use stateward::{CheckpointManager, Filter, Options};

use crate::history::{options, some_of, state};

const WRITERS: usize = 6;
const COMMITS: usize = 4;

fn name(writer: usize) -> String {
    format!("writer-{writer}")
}

fn bytes(writer: usize, n: usize) -> Vec<u8> {
    state(writer * 100 + n, [200, 1500, 6000, 700][n % 4])
}

fn keep_all(disk: std::sync::Arc<FaultDisk>) -> Options {
    let mut options = options(disk);
    options.retention.routine.keep_last = 1000;
    options
}

/// Lets everyone commit on a disk whose process dies at a call; answers how many each was told of.
fn told(memory: &MemoryDisk, stop: u64) -> (Vec<usize>, u64) {
    let disk = FaultDisk::over(memory);
    disk.stop_at(stop);
    let Ok(manager) = CheckpointManager::open(keep_all(disk.clone())) else {
        return (vec![0; WRITERS], disk.total());
    };
    let told = Mutex::new(vec![0; WRITERS]);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (manager, told) = (&manager, &told);
            scope.spawn(move || {
                let agent = manager.agent(&name(writer)).unwrap();
                for n in 0..COMMITS {
                    let request = agent.checkpoint(Kind::Routine).state_bytes(bytes(writer, n));
                    if request.commit().is_err() {
                        return;
                    }
                    told.lock()[writer] += 1;
                }
            });
        }
    });
    (told.into_inner(), disk.total())
}

fn check(memory: &MemoryDisk, told: &[usize], tale: &str) {
    let manager = CheckpointManager::open(keep_all(FaultDisk::over(memory))).unwrap();
    assert_eq!(manager.status().damage, Vec::<String>::new(), "{tale}");
    for (writer, told) in told.iter().enumerate() {
        let agent = manager.agent(&name(writer)).unwrap();
        let listed = agent.list_checkpoints(Filter::default()).unwrap();
        let held = listed.len();
        assert!(held == *told || held == told + 1, "{tale}: {held} of {} for {told}", agent.id());
        for (n, one) in listed.iter().rev().enumerate() {
            assert_eq!(one.seq.0, n as u64 + 1, "{tale}");
            let read = agent.read_checkpoint(one.checkpoint_id.to_string()).unwrap();
            assert_eq!(read.state_bytes(), Some(&*bytes(writer, n)), "{tale}");
        }
    }
}

#[test]
fn writers_that_commit_together_are_killed_together() {
    let (all, calls) = told(&MemoryDisk::new(), u64::MAX);
    assert_eq!(all, [COMMITS; WRITERS]);
    let losses = [Loss::All, Loss::None, Loss::Random(1), Loss::Random(2), Loss::Ordered(1)];
    for stop in some_of(calls, 100, 3) {
        let memory = MemoryDisk::new();
        let (told, _) = told(&memory, stop);
        for loss in losses {
            let tale = format!("killed at call {stop}, then {loss:?}");
            check(&memory.crash(loss), &told, &tale);
        }
        check(&memory, &told, &format!("killed at call {stop}"));
    }
}
