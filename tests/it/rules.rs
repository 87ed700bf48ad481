//! The rules of recovery that a prototype was seen to fail without; one test for each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use stateward::disk::{Call, Disk, Fault, FaultDisk, Loss, MemoryDisk, Op};
use stateward::state::Kind;
use stateward::verify::VerifyOptions;
use stateward::{CheckpointManager, Options};

use crate::history::{STORE, options, state};

const LOSSES: [Loss; 8] = [
    Loss::All,
    Loss::None,
    Loss::Random(1),
    Loss::Random(2),
    Loss::Random(3),
    Loss::Random(4),
    Loss::Ordered(1),
    Loss::Ordered(2),
];

fn keep_all(disk: Arc<dyn Disk>) -> Options {
    let mut options = options(disk);
    options.retention.routine.keep_last = 1000;
    options
}

fn open(disk: Arc<dyn Disk>) -> CheckpointManager {
    CheckpointManager::open(keep_all(disk)).unwrap()
}

fn commit(manager: &CheckpointManager, n: usize) -> bool {
    let request = manager.agent("a").unwrap().checkpoint(Kind::Routine);
    request.state_bytes(state(n, 1000)).commit().is_ok()
}

/// The numbers of the states that are held, oldest first.
fn held(manager: &CheckpointManager) -> Vec<usize> {
    let agent = manager.agent("a").unwrap();
    let listed = agent.list_checkpoints(stateward::Filter::default()).unwrap();
    let read =
        |id: String| -> serde_json::Value { agent.read_checkpoint(id).unwrap().state().unwrap() };
    let numbers =
        listed.iter().rev().map(|one| read(one.checkpoint_id.to_string())["step"].clone());
    numbers.map(|number| usize::try_from(number.as_u64().unwrap()).unwrap()).collect()
}

/// After any loss just these are held, and nothing is called damaged.
fn check_after_loss(disk: &MemoryDisk, expected: &[usize]) {
    for loss in LOSSES {
        let manager = open(disk.crash(loss).shared());
        assert_eq!(manager.status().damage, Vec::<String>::new(), "{loss:?}");
        assert_eq!(held(&manager), expected, "{loss:?}");
    }
}

fn log() -> PathBuf {
    Path::new(STORE).join("log")
}

/// The call after so many others at which `wanted` comes next.
fn number_of(calls: &[Call], wanted: impl Fn(&Call) -> bool) -> u64 {
    calls.iter().position(wanted).expect("the call is made") as u64
}

/// A segment made ahead by a process that was killed before it synced the directory: its name is
/// there, and gone with the power.
#[test]
fn a_found_segment_is_not_used() {
    let prepare = |stop: u64| {
        let memory = MemoryDisk::new();
        let disk = FaultDisk::over(&memory);
        let manager = open(disk.clone());
        (0..4).for_each(|n| assert!(commit(&manager, n)));
        manager.settle().unwrap();
        disk.reset();
        disk.stop_at(stop);
        let made = manager.make_ready();
        (memory, disk.calls(), made.is_ok())
    };
    let (_, calls, made) = prepare(u64::MAX);
    assert!(made);
    let (memory, calls, made) = prepare(number_of(&calls, |call| call.op == Op::SyncDir));
    assert!(!made && memory.get(&calls[calls.len() - 2].path).is_some(), "it stands there");
    let manager = open(memory.shared());
    for n in 4..16 {
        assert!(commit(&manager, n));
        check_after_loss(&memory, &(0..=n).collect::<Vec<_>>());
    }
}

/// A store whose making failed when it synced the name of the log: no later sync makes that name
/// durable.
#[test]
fn a_found_log_is_not_used() {
    let make = |fail: u64| {
        let memory = MemoryDisk::new();
        let disk = FaultDisk::over(&memory);
        let store = Fault::new(Errno::IO).on(Op::SyncDir).at(STORE);
        disk.inject(store.skipping(fail).times(1));
        let _may_fail = CheckpointManager::open(keep_all(disk.clone()));
        (memory, disk.calls())
    };
    let (_, calls) = make(u64::MAX);
    let syncs = calls.iter().filter(|call| call.op == Op::SyncDir);
    let store = syncs.filter(|call| call.path.starts_with(STORE)).count() as u64;
    assert!(store >= 3, "of the log, and of the store before and after store.json");
    for fail in 0..store {
        let (memory, _) = make(fail);
        let manager = open(memory.shared());
        (0..3).for_each(|n| assert!(commit(&manager, n)));
        check_after_loss(&memory, &[0, 1, 2]);
    }
}

/// Whatever became of the batch whose sync failed, its segment ends before it.
#[test]
fn a_segment_is_sealed_at_what_a_sync_covered() {
    let memory = MemoryDisk::new();
    let disk = FaultDisk::over(&memory);
    let manager = open(disk.clone());
    assert!(commit(&manager, 0));
    disk.inject(Fault::new(Errno::IO).on(Op::Sync).at(".log").times(1));
    assert!(commit(&manager, 1), "it went to the next segment");
    assert!(commit(&manager, 2));
    check_after_loss(&memory, &[0, 1, 2]);
    disk.inject(Fault::new(Errno::NOSPC).on(Op::Sync).at(".log"));
    assert!(!commit(&manager, 3), "no sync succeeds");
    disk.heal();
    assert!(commit(&manager, 4));
    assert_eq!(held(&manager), [0, 1, 2, 4]);
    check_after_loss(&memory, &[0, 1, 2, 4]);
}

#[test]
fn a_segment_is_served_by_its_second_header() {
    let memory = MemoryDisk::new();
    let manager = open(memory.shared());
    (0..12).for_each(|n| assert!(commit(&manager, n)));
    manager.settle().unwrap();
    drop(manager);
    let mut segments: Vec<PathBuf> = memory.image().into_keys().collect();
    segments.retain(|path| path.extension().is_some_and(|it| it == "log"));
    assert!(segments.len() > 1);
    let head = segments.last().unwrap().clone();
    for segment in segments {
        let memory = MemoryDisk::from_image(&memory.image());
        memory.damage(&segment, |bytes| bytes[..512].fill(0x55));
        let disk = FaultDisk::over(&memory);
        let manager = open(disk.clone());
        assert_eq!(held(&manager), (0..12).collect::<Vec<_>>());
        assert!(!manager.status().damage.is_empty(), "it is reported");
        assert!(commit(&manager, 12));
        let written =
            |path: &Path| disk.calls().iter().any(|call| call.op == Op::Write && call.path == path);
        assert!(segment != head || !written(&head), "a damaged head is not continued");
    }
}

/// A mark that went out alone is no link of the chain: where it is lost, nothing is missing.
#[test]
fn a_lost_mark_is_no_damage() {
    let memory = MemoryDisk::new();
    let disk = FaultDisk::over(&memory);
    let manager = open(disk.clone());
    let mut marks = Vec::new();
    for n in 0..4 {
        assert!(commit(&manager, n));
        disk.reset();
        manager.settle().unwrap();
        let calls = disk.calls().into_iter();
        marks.extend(calls.filter(|call| call.op == Op::Write && call.path.starts_with(log())));
    }
    drop(manager);
    assert_eq!(marks.len(), 4);
    for lost in &marks[..3] {
        for byte in [0, 0x55] {
            let memory = MemoryDisk::from_image(&memory.image());
            let place = |at: u64| usize::try_from(at).unwrap();
            let range = place(lost.offset)..place(lost.offset + lost.bytes);
            memory.damage(&lost.path, |bytes| bytes[range].fill(byte));
            check_after_loss(&memory, &[0, 1, 2, 3]);
        }
    }
}

/// A reader that looks while another process commits, shows and forgets calls nothing damaged, and
/// holds all that was shown before it began.
#[test]
fn views_are_read_before_the_log() {
    let places = [
        (Op::ReadDir, "checkpoints"),
        (Op::ReadDir, "log"),
        (Op::Open, ".log"),
        (Op::Read, ".log"),
        (Op::Open, "store.json"),
        (Op::TryLock, "lock"),
    ];
    for (op, part) in places {
        let memory = MemoryDisk::new();
        let writer = CheckpointManager::open(options(memory.shared())).unwrap();
        (0..6).for_each(|n| assert!(commit(&writer, n)));
        writer.settle().unwrap();
        let theirs = FaultDisk::over(&memory);
        let gate = theirs.hold(op, part);
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| CheckpointManager::open_to_look(options(theirs.clone())));
            gate.wait_for(1);
            (6..30).for_each(|n| assert!(commit(&writer, n)));
            writer.settle().unwrap();
            gate.release();
            let reader = reading.join().unwrap().unwrap();
            let tale = format!("held at {op:?} of {part}");
            assert_eq!(reader.status().damage, Vec::<String>::new(), "{tale}");
            let held = held(&reader);
            // One moment of the store, not before the reader began.
            assert!(held.len() == 2 && held[0] + 1 == held[1] && held[1] >= 5, "{tale}: {held:?}");
            let verified = reader.verify(&VerifyOptions::default(), &mut |_| {}).unwrap();
            assert!(verified.iter().all(|one| one.sound), "{tale}: {verified:#?}");
        });
    }
}
