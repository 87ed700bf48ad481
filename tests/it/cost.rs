//! What a commit costs, in calls.
//!
//! A small commit is one write to the log's newest segment and one sync of it, and nothing else,
//! whatever is kept already. Commits that wait share both. Settling syncs nothing, reading writes
//! nothing.

use std::path::Path;
use std::sync::Arc;

use stateward::disk::{Call, FaultDisk, MemoryDisk, Op};
use stateward::state::Kind;
use stateward::{Agent, CheckpointManager, Filter, Options};

use crate::history::{STORE, state};

/// Segments of the usual length, and everything kept.
fn options(disk: &Arc<FaultDisk>, segment_bytes: u64) -> Options {
    let mut options = Options::new(STORE);
    options.disk = disk.clone();
    options.background = false;
    options.retention.routine.keep_last = 100_000;
    options.log.segment_bytes_min = segment_bytes;
    options
}

fn open(segment_bytes: u64) -> (Arc<FaultDisk>, CheckpointManager) {
    let disk = FaultDisk::new(MemoryDisk::plain().shared());
    let manager = CheckpointManager::open(options(&disk, segment_bytes)).unwrap();
    (disk, manager)
}

fn commit(agent: &Agent, n: usize) {
    agent.checkpoint(Kind::Routine).state_bytes(state(n, 1000)).commit().unwrap();
}

/// Calls that change nothing.
const LOOKING: [Op; 8] = [
    Op::Open,
    Op::Read,
    Op::Len,
    Op::Metadata,
    Op::ReadDir,
    Op::TryLock,
    Op::FileSystem,
    Op::Space,
];

fn changing(disk: &FaultDisk) -> Vec<Call> {
    disk.calls().into_iter().filter(|call| !LOOKING.contains(&call.op)).collect()
}

fn in_log(call: &Call) -> bool {
    call.path.parent() == Some(&Path::new(STORE).join("log"))
}

/// Fails unless the calls are one write and one sync of one segment; answers which.
fn check_one_append(calls: &[Call]) -> String {
    let ops: Vec<Op> = calls.iter().map(|call| call.op).collect();
    assert_eq!(ops, [Op::Write, Op::Sync], "{calls:?}");
    assert!(calls.iter().all(in_log) && calls[0].path == calls[1].path, "{calls:?}");
    calls[0].path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_commit_is_one_write_and_one_sync_however_many_are_kept() {
    let (disk, manager) = open(64 << 20);
    let agent = manager.agent("a").unwrap();
    let mut made = 0;
    for kept in [0, 100, 3000] {
        while made < kept {
            commit(&agent, made);
            made += 1;
        }
        for each in 0..3 {
            disk.reset();
            commit(&agent, 10_000 + made + each);
            check_one_append(&disk.calls());
        }
        made += 3;
    }
    let listed = agent.list_checkpoints(Filter::default()).unwrap();
    assert_eq!(listed.len(), made);
}

#[test]
fn a_commit_that_moves_on_to_a_ready_segment_costs_no_more() {
    let (disk, manager) = open(64 << 10);
    let agent = manager.agent("a").unwrap();
    let mut segments = Vec::new();
    for n in 0..400 {
        manager.make_ready().unwrap();
        disk.reset();
        commit(&agent, n);
        segments.push(check_one_append(&disk.calls()));
    }
    segments.dedup();
    assert!(segments.len() > 3, "it moved on: {segments:?}");
}

#[test]
fn commits_that_wait_share_a_sync() {
    let (disk, manager) = open(1 << 20);
    commit(&manager.agent("a").unwrap(), 0);
    disk.reset();
    let gate = disk.hold(Op::Sync, ".log");
    std::thread::scope(|scope| {
        let manager = &manager;
        let committing = |n| {
            move || {
                let agent = manager.agent(&format!("agent-{n}")).unwrap();
                commit(&agent, n);
            }
        };
        scope.spawn(committing(0));
        gate.wait_for(1);
        for n in 1..16 {
            scope.spawn(committing(n));
        }
        while manager.waiting() < 15 {
            std::thread::yield_now();
        }
        gate.release();
    });
    let calls = disk.calls();
    let syncs = calls.iter().filter(|call| call.op == Op::Sync).count();
    let writes = calls.iter().filter(|call| call.op == Op::Write).count();
    assert_eq!((syncs, writes, calls.len()), (2, 2, 4), "{calls:?}");
}

#[test]
fn settling_syncs_nothing() {
    let (disk, manager) = open(16 << 10);
    let agent = manager.agent("a").unwrap();
    for n in 0..40 {
        commit(&agent, n);
    }
    disk.reset();
    manager.settle().unwrap();
    let views = disk.calls().iter().filter(|call| call.op == Op::Rename).count();
    assert!(views >= 40, "it made the views");
    assert_eq!((disk.count(Op::Sync), disk.count(Op::SyncDir)), (0, 0));
    disk.reset();
    manager.settle().unwrap();
    assert_eq!(changing(&disk), [], "a second time there is nothing to do");
}

#[test]
fn reading_writes_nothing() {
    let (disk, manager) = open(16 << 10);
    let agent = manager.agent("a").unwrap();
    for n in 0..20 {
        commit(&agent, n);
    }
    manager.settle().unwrap();
    let beside = CheckpointManager::open_to_look(options(&disk, 16 << 10)).unwrap();
    disk.reset();
    let beside_too = CheckpointManager::open_to_look(options(&disk, 16 << 10)).unwrap();
    for manager in [&manager, &beside, &beside_too] {
        let agent = manager.agent("a").unwrap();
        for one in agent.list_checkpoints(Filter::default()).unwrap() {
            agent.read_checkpoint(&one.path).unwrap();
        }
        agent.read_checkpoint("latest").unwrap();
        assert!(!manager.status().degraded);
        manager.log(None).unwrap();
    }
    assert_eq!(changing(&disk), []);
}
