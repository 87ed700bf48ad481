//! One commit, one restore, one crash.

use stateward::disk::{FaultDisk, Loss, MemoryDisk};
use stateward::{CheckpointManager, Options};
use stateward::state::Kind;

fn options(disk: &MemoryDisk) -> Options {
    Options { disk: disk.shared(), background: false, retention: keep_all(), ..Options::new("/store") }
}

#[test]
fn a_commit_comes_back_after_reopening() {
    let disk = MemoryDisk::new();
    let manager = CheckpointManager::open(options(&disk)).unwrap();
    let agent = manager.agent("a").unwrap();
    let receipt = agent.create_checkpoint(Kind::Routine, &serde_json::json!({"n": 1})).unwrap();
    drop((agent, manager));
    for loss in [Loss::All, Loss::None, Loss::Random(3)] {
        let after = disk.crash(loss);
        let manager = CheckpointManager::open(options(&after)).unwrap();
        let agent = manager.agent("a").unwrap();
        let back = agent.read_checkpoint(&receipt.checkpoint.path).unwrap();
        assert_eq!(back.state_bytes(), Some(&br#"{"n":1}"#[..]));
        assert_eq!(agent.read_checkpoint("latest").unwrap().checkpoint(), &receipt.checkpoint);
    }
}

#[test]
fn crash_at_every_call() {
    let workload = |disk: std::sync::Arc<dyn stateward::disk::Disk>| {
        let mut done = Vec::new();
        let options = Options { disk, background: false, retention: keep_all(), ..Options::new("/store") };
        let Ok(manager) = CheckpointManager::open(options) else { return done };
        let agent = manager.agent("a").unwrap();
        for n in 0..4 {
            let state = serde_json::json!({"n": n, "pad": "x".repeat(n * 9000)});
            if let Ok(receipt) = agent.create_checkpoint(Kind::Routine, &state) {
                done.push((receipt, state));
            }
            let _ = manager.settle();
        }
        done
    };
    let disk = MemoryDisk::new();
    let fault = FaultDisk::over(&disk);
    assert_eq!(workload(fault.clone()).len(), 4);
    let total = fault.total();
    for at in 0..total {
        let disk = MemoryDisk::new();
        let fault = FaultDisk::over(&disk);
        fault.stop_at(at);
        let done = workload(fault);
        for loss in [Loss::All, Loss::None, Loss::Random(1), Loss::Random(2), Loss::Ordered(1)] {
            let after = disk.crash(loss);
            let manager = match CheckpointManager::open(options(&after)) {
                Ok(manager) => manager,
                Err(error) => panic!("crash at {at} of {total}, {loss:?}: {error}"),
            };
            let agent = manager.agent("a").unwrap();
            for (receipt, state) in &done {
                let back: serde_json::Value = agent
                    .read_checkpoint(receipt.checkpoint.checkpoint_id.to_string())
                    .unwrap_or_else(|e| panic!("{at} {loss:?} {e}"))
                    .state()
                    .unwrap();
                assert_eq!(&back, state);
            }
        }
    }
}

fn keep_all() -> stateward::retention::Policy {
    let mut policy = stateward::retention::Policy::default();
    policy.routine.keep_last = 1000;
    policy
}
