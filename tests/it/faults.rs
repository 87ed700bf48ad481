//! When a call on the disk fails, nothing acknowledged is lost, and the next commit works once the
//! fault is gone.
//!
//! Each call of a history fails once, or from then on for ever, with each class of error. The
//! process lives on: what it was answered must hold in it, after it is killed, and after the power
//! goes. A file whose sync failed is never written or synced again, and a name whose directory sync
//! failed is never used again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use stateward::disk::{Call, Fault, FaultDisk, Loss, MemoryDisk, Op};
use stateward::error::ErrorKind;
use stateward::state::{CheckpointId, Kind};
use stateward::{CheckpointManager, Error, Options, Outcome, VerifyOptions};

use crate::history::{options, some_of, state};

const ERRORS: [Errno; 7] = [
    Errno::IO,
    Errno::NOSPC,
    Errno::ROFS,
    Errno::ACCESS,
    Errno::INTR,
    Errno::AGAIN,
    Errno::TIMEDOUT,
];

const OPS: [Op; 8] = [
    Op::Write,
    Op::Sync,
    Op::SyncDir,
    Op::Rename,
    Op::Open,
    Op::CreateDir,
    Op::Read,
    Op::RemoveFile,
];

/// Bytes of the states that a life commits, and how often it settles.
const SIZES: [usize; 9] = [100, 1500, 1900, 5000, 1800, 20_000, 300, 30_000, 700];

/// How many faults were tried in this process.
static CASES: AtomicU64 = AtomicU64::new(0);

fn keep_all(disk: Arc<FaultDisk>) -> Options {
    let mut options = options(disk);
    options.retention.routine.keep_last = 1000;
    options
}

/// What an agent was answered.
#[derive(Default, Clone)]
struct Life {
    acknowledged: BTreeMap<CheckpointId, Vec<u8>>,
    refused: usize,
}

impl Life {
    fn commit(&mut self, manager: &CheckpointManager, bytes: Vec<u8>) -> bool {
        let request = manager.agent("a").unwrap().checkpoint(Kind::Routine);
        match request.state_bytes(bytes.clone()).commit() {
            Ok(receipt) => {
                self.acknowledged.insert(receipt.checkpoint.checkpoint_id, bytes);
                true
            }
            Err(error) => {
                self.refused += 1;
                assert_eq!(error.kind(), ErrorKind::Unstored, "{error}");
                assert!(!error.attempts().is_empty(), "{error}");
                assert!(error.attempts().iter().all(|attempt| attempt.error.is_some()), "{error}");
                false
            }
        }
    }

    /// Lives through a history, whatever fails; gives the process it ended with.
    fn live(&mut self, disk: &Arc<FaultDisk>) -> Option<CheckpointManager> {
        let mut manager = open(disk);
        for (round, bytes) in SIZES.into_iter().enumerate() {
            if round == 6 {
                manager = None;
            }
            if manager.is_none() {
                manager = open(disk);
            }
            let Some(manager) = &manager else { continue };
            self.commit(manager, state(round, bytes));
            may_fail(match round % 3 {
                0 => manager.settle(),
                1 => manager.make_ready(),
                _ => operate(manager),
            });
        }
        manager
    }

    /// Everything that was acknowledged is there, byte for byte.
    fn check(&self, manager: &CheckpointManager, tale: &str) {
        let agent = manager.agent("a").unwrap();
        for (id, bytes) in &self.acknowledged {
            let read = agent.read_checkpoint(id.to_string());
            let read = read.unwrap_or_else(|error| panic!("{tale}: {error}"));
            assert_eq!(read.state_bytes(), Some(&**bytes), "{tale}: {id}");
        }
    }
}

fn open(disk: &Arc<FaultDisk>) -> Option<CheckpointManager> {
    CheckpointManager::open(keep_all(disk.clone())).ok()
}

/// What is not a commit may be left undone when the disk fails.
fn may_fail(done: Result<(), Error>) {
    if let Err(error) = done {
        let kinds = [ErrorKind::Failed, ErrorKind::Unstored, ErrorKind::NotFound];
        assert!(kinds.contains(&error.kind()), "{error}");
    }
}

fn operate(manager: &CheckpointManager) -> Result<(), Error> {
    let agent = manager.agent("b")?;
    let begun =
        agent.checkpoint(Kind::PreOperation).state_bytes(b"{}".to_vec()).opens("o").commit()?;
    let id = begun.checkpoint.checkpoint_id.to_string();
    agent.close_operation(&id, Outcome::Completed, "").map(drop)
}

fn check_fault(fault: Fault, tale: &str) {
    CASES.fetch_add(1, Ordering::Relaxed);
    let memory = MemoryDisk::new();
    let disk = FaultDisk::over(&memory);
    disk.inject(fault);
    let mut life = Life::default();
    let manager = life.live(&disk);
    disk.heal();
    let manager = manager.or_else(|| open(&disk)).unwrap_or_else(|| panic!("{tale}: not healed"));
    assert!(life.commit(&manager, state(99, 2500)), "{tale}: the fault is gone");
    // What a disk refused to read when the store was opened is reported, and missing until then.
    if manager.status().damage.is_empty() {
        life.check(&manager, &format!("{tale}, in the same process"));
    }
    drop(manager);
    for loss in [Loss::All, Loss::Random(5), Loss::Ordered(2)] {
        let manager = CheckpointManager::open(options(memory.crash(loss).shared()));
        let manager = manager.unwrap_or_else(|error| panic!("{tale}, then {loss:?}: {error}"));
        life.check(&manager, &format!("{tale}, then {loss:?}"));
    }
    let manager = open(&disk).unwrap_or_else(|| panic!("{tale}, then killed"));
    life.check(&manager, &format!("{tale}, then killed"));
}

/// The calls of a life in which nothing fails.
fn calls_of_a_life() -> Vec<Call> {
    let disk = FaultDisk::over(&MemoryDisk::new());
    let mut life = Life::default();
    life.live(&disk).unwrap();
    assert_eq!((life.acknowledged.len(), life.refused), (SIZES.len(), 0));
    disk.calls()
}

#[test]
fn each_call_fails_once() {
    let calls = calls_of_a_life().len() as u64;
    for (seed, errno) in (0..).zip(ERRORS) {
        for number in some_of(calls, 60, seed) {
            let fault = Fault::new(errno).skipping(number).times(1);
            check_fault(fault, &format!("call {number} failed with {errno:?}"));
        }
    }
    println!("{} faults so far", CASES.load(Ordering::Relaxed));
}

#[test]
fn from_each_call_on_every_one_fails() {
    let calls = calls_of_a_life();
    // The name of the store's own directory is the user's: where it can be neither synced nor taken
    // away again, there is no other to use.
    let makes_log = |call: &Call| call.op == Op::CreateDir && call.path.ends_with("log");
    let log = calls.iter().position(makes_log).unwrap() as u64;
    for (seed, errno) in (0..).zip(ERRORS) {
        for number in some_of(calls.len() as u64 - log, 30, seed) {
            let number = log + number;
            let fault = Fault::new(errno).skipping(number);
            check_fault(fault, &format!("from call {number} on {errno:?}"));
        }
    }
    println!("{} faults so far", CASES.load(Ordering::Relaxed));
}

#[test]
fn from_each_call_on_every_one_of_its_kind_fails() {
    let calls = calls_of_a_life();
    for op in OPS {
        let of_kind = calls.iter().filter(|call| call.op == op).count() as u64;
        for (seed, errno) in (0..).zip(ERRORS) {
            for skipped in some_of(of_kind, 6, seed) {
                let fault = Fault::new(errno).on(op).skipping(skipped);
                check_fault(fault, &format!("from {op:?} {skipped} on {errno:?}"));
            }
        }
    }
    println!("{} faults so far", CASES.load(Ordering::Relaxed));
}

/// A write may reach the disk in part before it fails.
#[test]
fn writes_fail_half_way() {
    let writes = calls_of_a_life().into_iter().filter(|call| call.op == Op::Write);
    for (skipped, write) in (0..).zip(writes) {
        for part in [1, 80, write.bytes / 2, write.bytes - 1] {
            let fault = Fault::new(Errno::NOSPC).on(Op::Write).skipping(skipped).times(1);
            let fault = fault.after_bytes(usize::try_from(part).unwrap());
            check_fault(fault, &format!("write {skipped} failed after {part} bytes"));
        }
    }
    println!("{} faults so far", CASES.load(Ordering::Relaxed));
}

/// The calls of a life, and the number of the call of this kind that failed in it.
fn calls_after(op: Op, skipped: u64, errno: Errno) -> (Vec<Call>, usize) {
    let disk = FaultDisk::over(&MemoryDisk::new());
    disk.inject(Fault::new(errno).on(op).skipping(skipped).times(1));
    Life::default().live(&disk);
    let calls = disk.calls();
    let of_kind = calls.iter().enumerate().filter(|(_, call)| call.op == op);
    let failed = of_kind.map(|(number, _)| number).nth(usize::try_from(skipped).unwrap());
    (calls, failed.unwrap())
}

#[test]
fn a_file_whose_sync_failed_is_left_alone() {
    let syncs = calls_of_a_life().iter().filter(|call| call.op == Op::Sync).count() as u64;
    for skipped in 0..syncs {
        for errno in ERRORS {
            let (calls, failed) = calls_after(Op::Sync, skipped, errno);
            let path = &calls[failed].path;
            let touched = calls[failed + 1..].iter().find(|call| {
                call.path == *path && matches!(call.op, Op::Sync | Op::Write | Op::SetLen)
            });
            assert_eq!(touched, None, "after sync {skipped} failed with {errno:?}");
        }
    }
}

#[test]
fn a_name_whose_sync_failed_is_not_used() {
    let syncs = calls_of_a_life().iter().filter(|call| call.op == Op::SyncDir).count() as u64;
    for skipped in 0..syncs {
        for errno in ERRORS {
            let (calls, failed) = calls_after(Op::SyncDir, skipped, errno);
            let renamed = calls[..failed].iter().rev().find(|call| call.op == Op::Rename);
            let in_log = |call: &&Call| call.path.extension().is_some_and(|it| it == "log");
            let Some(name) = renamed.filter(in_log).map(|call| &call.path) else { continue };
            if calls[failed].path != name.parent().unwrap() {
                continue;
            }
            // Until the whole directory was taken away.
            let later = calls[failed + 1..].iter().take_while(|call| call.op != Op::RemoveDir);
            let used = later.into_iter().find(|call| {
                call.path == *name && matches!(call.op, Op::Write | Op::Sync | Op::Rename)
            });
            assert_eq!(used, None, "after directory sync {skipped} failed with {errno:?}");
        }
    }
}

/// What cannot be read when the store is opened may be readable later: letting go of space does not
/// take it for dead, and neither does a repair.
#[test]
fn what_could_not_be_read_is_not_let_go() {
    let memory = MemoryDisk::new();
    let disk = FaultDisk::over(&memory);
    let mut life = Life::default();
    drop(life.live(&disk));
    for part in ["0000000000000001.", "0000000000000002."] {
        let mut life = life.clone();
        let memory = MemoryDisk::from_image(&memory.image());
        let disk = FaultDisk::over(&memory);
        disk.inject(Fault::new(Errno::IO).on(Op::Read).at(part).within(512..u64::MAX));
        disk.inject(Fault::new(Errno::IO).on(Op::Read).at(part).at(".idx"));
        let manager = open(&disk).unwrap();
        assert!(!manager.status().damage.is_empty(), "{part}log cannot be read");
        disk.heal();
        may_fail(manager.prune(&mut |_| {}).map(drop));
        assert!(life.commit(&manager, state(98, 1000)));
        let repair = VerifyOptions { repair: true, ..VerifyOptions::default() };
        may_fail(manager.verify(&repair, &mut |_| {}).map(drop));
        drop(manager);
        life.check(&open(&disk).unwrap(), part);
    }
}
