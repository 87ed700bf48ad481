//! What somebody else does meanwhile: writes into files that are being restored, removes the store or
//! its lock, has files that are only named like a database's.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use stateward::disk::{Call, Disk, FaultDisk, Loss, MemoryDisk, Op};
use stateward::error::ErrorKind;
use stateward::state::Kind;
use stateward::{Agent, CheckpointManager, Error, Options, RestoreOptions};

use crate::history::some_of;

const FILE: &str = "/work/memory.json";
const SIDE: &str = "/work/side.txt";
const THEIRS: &[u8] = b"{\"by\":\"a person\"}";

fn open(disk: Arc<dyn Disk>) -> Result<CheckpointManager, Error> {
    CheckpointManager::open(Options { disk, background: false, ..Options::new("/store") })
}

fn agent(manager: &CheckpointManager) -> Agent {
    manager.agent("a").unwrap().state_file(SIDE).unwrap()
}

/// Two checkpoints of a state file and a file beside it; the files hold what the newer one does.
fn kept() -> MemoryDisk {
    let disk = MemoryDisk::new();
    for n in [1, 2] {
        let state = format!("{{\"n\":{n}}}");
        disk.put(FILE.as_ref(), state.as_bytes());
        disk.put(SIDE.as_ref(), format!("side {n}").as_bytes());
        let manager = open(disk.shared()).unwrap();
        let agent = agent(&manager);
        let request = agent.checkpoint(Kind::Routine).state_bytes(state.into()).state_file(FILE);
        request.commit().unwrap();
        manager.settle().unwrap();
    }
    disk
}

fn restore(disk: Arc<dyn Disk>) -> Result<(), Error> {
    let manager = open(disk)?;
    let options = RestoreOptions { live: true, ..RestoreOptions::default() };
    agent(&manager).restore("1", &options)?;
    manager.settle()
}

/// The calls of a restore that nobody disturbs, on a disk as this one.
fn calls_of_a_restore(
    begun: &MemoryDisk,
    restore: impl FnOnce(Arc<dyn Disk>) -> Result<(), Error>,
) -> Vec<Call> {
    let whole = FaultDisk::over(&begun.crash(Loss::None));
    restore(whole.clone()).unwrap();
    whole.calls()
}

/// The disk after a restore that was killed at this call, and what the restore came to.
fn killed_at(
    begun: &MemoryDisk,
    call: u64,
    restore: impl FnOnce(Arc<dyn Disk>) -> Result<(), Error>,
) -> (MemoryDisk, Result<(), Error>) {
    let disk = begun.crash(Loss::None);
    let fault = FaultDisk::over(&disk);
    fault.stop_at(call);
    let ended = restore(fault);
    (disk.crash(Loss::None), ended)
}

fn holds(disk: &MemoryDisk, path: &str) -> Vec<u8> {
    disk.get(path.as_ref()).unwrap_or_default()
}

#[test]
fn what_is_written_after_a_restore_was_interrupted_stays() {
    let begun = kept();
    let calls = calls_of_a_restore(&begun, restore).len() as u64;
    for call in some_of(calls, 80, 3) {
        let (disk, ended) = killed_at(&begun, call, restore);
        disk.put(FILE.as_ref(), THEIRS);
        disk.put(SIDE.as_ref(), THEIRS);
        // It is finished, or taken back, by whoever writes next.
        let manager = open(disk.shared()).unwrap();
        drop(manager);
        for path in [FILE, SIDE] {
            let found = holds(&disk, path);
            assert_eq!(found, THEIRS, "{path}, killed at call {call} of {calls}: {ended:?}");
        }
    }
}

#[test]
fn a_database_that_is_written_after_a_restore_was_interrupted_stays_with_its_log() {
    let begun = MemoryDisk::new();
    for n in [1, 2] {
        begun.put(FILE.as_ref(), format!("{{\"n\":{n}}}").as_bytes());
        begun.put(SIDE.as_ref(), &database(n));
        let manager = open(begun.shared()).unwrap();
        let request = agent(&manager).checkpoint(Kind::Routine);
        request.state_bytes(holds(&begun, FILE)).state_file(FILE).commit().unwrap();
        manager.settle().unwrap();
    }
    let log = format!("{SIDE}-wal");
    let theirs =
        [&[0x37, 0x7f, 0x06, 0x82, 0, 0x2d, 0xe2, 0x18][..], b"what they committed"].concat();
    let calls = calls_of_a_restore(&begun, restore).len() as u64;
    for call in some_of(calls, 80, 7) {
        let (disk, ended) = killed_at(&begun, call, restore);
        disk.put(log.as_ref(), &theirs);
        let database = holds(&disk, SIDE);
        drop(open(disk.shared()).unwrap());
        let tale = format!("killed at call {call} of {calls}: {ended:?}");
        assert_eq!(holds(&disk, &log), theirs, "{tale}");
        assert_eq!(
            holds(&disk, SIDE),
            database,
            "a log is of the database it was written for: {tale}"
        );
    }
}

/// A database and its log, as two processes that do not know of each other may leave them.
fn database(n: u8) -> Vec<u8> {
    [&b"SQLite format 3\0"[..], &[n; 200]].concat()
}

fn log_of(n: u8) -> Vec<u8> {
    [&[0x37, 0x7f, 0x06, 0x82, 0, 0x2d, 0xe2, 0x18][..], &[n; 100]].concat()
}

/// Two checkpoints of a database with its log.
fn kept_with_log(log: &Path) -> MemoryDisk {
    let disk = MemoryDisk::new();
    for n in [1, 2] {
        disk.put(FILE.as_ref(), format!("{{\"n\":{n}}}").as_bytes());
        disk.put(SIDE.as_ref(), &database(n));
        disk.put(log, &log_of(n));
        let manager = open(disk.shared()).unwrap();
        let request = agent(&manager).checkpoint(Kind::Routine);
        request.state_bytes(holds(&disk, FILE)).state_file(FILE).commit().unwrap();
        manager.settle().unwrap();
    }
    disk
}

#[test]
fn a_database_and_its_log_go_back_together_or_not_at_all() {
    let log = Path::new("/work/side.txt-wal");
    let begun = kept_with_log(log);
    let calls = calls_of_a_restore(&begun, restore).len() as u64;
    let mut written = 0;
    for call in some_of(calls, 80, 7) {
        // It is written and closed, which takes its log away, or its log alone is written.
        for closed in [true, false] {
            let (disk, ended) = killed_at(&begun, call, restore);
            if closed {
                disk.put(SIDE.as_ref(), &database(9));
                disk.remove_file(log).ok();
            } else {
                disk.put(log, &log_of(9));
            }
            let theirs = [disk.get(SIDE.as_ref()), disk.get(log)];
            drop(open(disk.shared()).unwrap());
            let found = [disk.get(SIDE.as_ref()), disk.get(log)];
            assert!(found == theirs, "closed {closed}, killed at call {call}: {ended:?}");
            written += 1;
        }
    }
    assert!(written > 20, "{written}");
}

#[test]
fn a_database_that_is_closed_while_a_restore_is_done_gets_no_older_log() {
    let log = Path::new("/work/side.txt-wal");
    let begun = kept_with_log(log);
    let told = calls_of_a_restore(&begun, restore);
    // From the first file that is replaced on nobody can tell any more.
    let is_first = |call: &Call| call.op == Op::Rename && call.path.starts_with("/work");
    let calls = told.iter().position(is_first).unwrap() as u64;
    let mut stayed = 0;
    for call in some_of(calls, 80, 3) {
        let disk = begun.crash(Loss::None);
        let fault = FaultDisk::over(&disk);
        let theirs = disk.clone();
        fault.at_call(call, move || {
            theirs.put(SIDE.as_ref(), &database(9));
            theirs.remove_file(Path::new("/work/side.txt-wal")).unwrap();
        });
        let ended = restore(fault);
        if holds(&disk, SIDE) == database(9) {
            assert_eq!(disk.get(log), None, "at call {call} of {calls}: {ended:?}");
            stayed += 1;
        }
    }
    assert!(stayed > 0);
}

#[test]
fn what_is_written_into_a_workspace_after_a_restore_was_interrupted_stays() {
    let place = Path::new("/work");
    let with_workspace = |manager: &CheckpointManager| agent(manager).workspace(place);
    let begun = MemoryDisk::new();
    for n in [1, 2] {
        let state = format!("{{\"n\":{n}}}");
        begun.put(FILE.as_ref(), state.as_bytes());
        begun.put(SIDE.as_ref(), format!("side {n}").as_bytes());
        let manager = open(begun.shared()).unwrap();
        let request = with_workspace(&manager).unwrap().checkpoint(Kind::Routine);
        request.state_bytes(state.into()).state_file(FILE).commit().unwrap();
        manager.settle().unwrap();
    }
    let restore = |disk: Arc<dyn Disk>| -> Result<(), Error> {
        let manager = open(disk)?;
        let options = RestoreOptions { live: true, force: true, ..RestoreOptions::default() };
        with_workspace(&manager)?.restore("1", &options)?;
        manager.settle()
    };
    let calls = calls_of_a_restore(&begun, restore).len() as u64;
    for call in some_of(calls, 80, 7) {
        let (disk, ended) = killed_at(&begun, call, restore);
        disk.put(FILE.as_ref(), THEIRS);
        disk.put(SIDE.as_ref(), THEIRS);
        drop(open(disk.shared()).unwrap());
        for path in [FILE, SIDE] {
            let found = holds(&disk, path);
            assert_eq!(found, THEIRS, "{path}, killed at call {call} of {calls}: {ended:?}");
        }
    }
}

#[test]
fn what_is_written_while_a_restore_is_done_stays_or_can_be_brought_back() {
    let begun = kept();
    let told = calls_of_a_restore(&begun, restore);
    let calls = told.len() as u64;
    let mut seen = [0, 0];
    for call in some_of(calls, 80, 5) {
        // Once it was looked at last it is replaced at once: between the two nobody can tell.
        let at = &told[usize::try_from(call).unwrap()];
        let is_last = matches!(at.op, Op::Rename | Op::Sync | Op::SyncFile);
        if is_last && at.path.starts_with("/work") {
            continue;
        }
        let disk = begun.crash(Loss::None);
        let fault = FaultDisk::over(&disk);
        let theirs = disk.clone();
        fault.at_call(call, move || theirs.put(SIDE.as_ref(), THEIRS));
        let ended = restore(fault);
        if holds(&disk, SIDE) == THEIRS {
            seen[0] += 1;
            continue;
        }
        ended.unwrap();
        let manager = open(disk.shared()).unwrap();
        let options = RestoreOptions { live: true, ..RestoreOptions::default() };
        agent(&manager).undo(&options).unwrap();
        assert_eq!(holds(&disk, SIDE), THEIRS, "written at call {call} of {calls}: {at:?}");
        seen[1] += 1;
    }
    assert!(seen[0] > 0, "it stays, or is undone: {seen:?}");
}

#[test]
fn a_file_that_is_only_named_like_a_journal_is_left_alone() {
    let disk = kept();
    for name in ["-journal", "-wal", "-shm"] {
        disk.put(format!("{SIDE}{name}").as_ref(), b"a diary");
    }
    restore(disk.shared()).unwrap();
    assert_eq!(holds(&disk, SIDE), b"side 1");
    for name in ["-journal", "-wal", "-shm"] {
        assert_eq!(holds(&disk, &format!("{SIDE}{name}")), b"a diary", "{name}");
    }
}

#[test]
fn a_state_file_keeps_its_mode_and_its_directory_is_made_again() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("work/memory.json");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let manager = CheckpointManager::open(Options::new(dir.path().join("store"))).unwrap();
    let agent = manager.agent("a").unwrap();
    for n in [1, 2] {
        let state = format!("{{\"n\":{n}}}");
        std::fs::write(&file, &state).unwrap();
        let request = agent.checkpoint(Kind::Routine).state_bytes(state.into()).state_file(&file);
        request.commit().unwrap();
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let options = RestoreOptions { live: true, ..RestoreOptions::default() };
    agent.restore("1", &options).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"{\"n\":1}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    agent.restore("2", &options).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), b"{\"n\":2}");
}

/// A manager without a thread of its own, which could notice by itself.
fn real(path: &Path) -> CheckpointManager {
    let options = Options { background: false, ..Options::new(path) };
    CheckpointManager::open(options).unwrap()
}

#[test]
fn nothing_is_acknowledged_once_the_store_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, elsewhere) = (dir.path().join("store"), dir.path().join("elsewhere"));
    let manager = real(&store);
    let agent = manager.agent("a").unwrap();
    agent.create_checkpoint(Kind::Routine, &json!({"n": 1})).unwrap();
    std::fs::rename(&store, &elsewhere).unwrap();
    for n in 0..5 {
        let error = agent.create_checkpoint(Kind::Routine, &json!({"lost": n})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unstored, "{error}");
        assert!(format!("{:?}", error.attempts()).contains("moved away"), "{error:?}");
    }
    std::fs::rename(&elsewhere, &store).unwrap();
    agent.create_checkpoint(Kind::Routine, &json!({"n": 2})).unwrap();
    assert_eq!(agent.list_checkpoints(stateward::Filter::default()).unwrap().len(), 2);
}

#[test]
fn where_the_lock_was_removed_the_one_who_held_it_writes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let first = real(&store);
    let agent = first.agent("a").unwrap();
    agent.create_checkpoint(Kind::Routine, &json!({"n": 1})).unwrap();
    std::fs::remove_file(store.join("lock")).unwrap();
    let second = real(&store);
    let other = second.agent("a").unwrap();
    let made = other.create_checkpoint(Kind::Routine, &json!({"n": 2})).unwrap();
    let error = agent.create_checkpoint(Kind::Routine, &json!({"n": 3})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unstored, "{error}");
    drop((agent, first));
    other.create_checkpoint(Kind::Routine, &json!({"n": 4})).unwrap();
    drop((other, second));
    let looked = real(&store);
    let agent = looked.agent("a").unwrap();
    assert_eq!(looked.status().damage.len(), 0, "{:?}", looked.status().damage);
    let read = agent.read_checkpoint(made.checkpoint.checkpoint_id.to_string()).unwrap();
    assert_eq!(read.state::<serde_json::Value>().unwrap()["n"], 2);
}
