//! A workspace after a crash: exactly as it was or exactly as asked, and the log says which.
//!
//! An agent keeps a tree, another takes its place, the first is restored, and that is undone. The
//! life is played once to count its calls. Then it is played again and killed at each call, the disk
//! loses what it may lose, and the store is opened: that finishes what had begun, or takes it back.
//! The same again with the opening killed at each of its calls.
//!
//! Without `STATEWARD_EXHAUSTIVE=1` a part of the calls is tried, the same in each run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use stateward::clock::ManualClock;
use stateward::disk::{Disk, DiskTree, Fault, FaultDisk, FileTime, Loss, MemoryDisk, NodeKind};
use stateward::state::{Kind, Timestamp};
use stateward::{Agent, CheckpointManager, Error, Filter, Options, RestoreOptions, VerifyOptions};

use crate::history::{is_exhaustive, some_of};

const ROOT: &str = "/work";

/// One name of a tree, with all that is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    kind: NodeKind,
    bytes: Vec<u8>,
    target: Option<OsString>,
    mode: u32,
    modified: FileTime,
}

type Tree = BTreeMap<PathBuf, Found>;

/// Reads a tree without the product's help.
fn read_tree(disk: &MemoryDisk) -> Tree {
    let tree = disk.tree(ROOT.as_ref()).unwrap();
    let mut found = Tree::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let listing = tree.read_dir(&path).unwrap();
        let mut names: Vec<PathBuf> =
            listing.entries.into_iter().map(|(name, _)| path.join(name)).collect();
        if path.as_os_str().is_empty() {
            names.push(PathBuf::new());
        }
        for path in names {
            let stat = tree.stat(&path).unwrap();
            let is = |kind| stat.kind == kind;
            let one = Found {
                kind: stat.kind,
                bytes: if is(NodeKind::File) { read_file(&*tree, &path) } else { Vec::new() },
                target: is(NodeKind::Link).then(|| tree.read_link(&path).unwrap()),
                mode: if is(NodeKind::Link) { 0 } else { stat.mode },
                modified: stat.modified,
            };
            if is(NodeKind::Dir) && !path.as_os_str().is_empty() {
                waiting.push(path.clone());
            }
            found.insert(path, one);
        }
    }
    found
}

fn read_file(tree: &dyn DiskTree, path: &Path) -> Vec<u8> {
    let file = tree.open(path).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    let read = file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(read, bytes.len());
    bytes
}

fn write(tree: &dyn DiskTree, path: &str, bytes: &[u8]) {
    let path = Path::new(path);
    match tree.remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        other => other.unwrap(),
    }
    tree.create(path).unwrap().write_all_at(bytes, 0).unwrap();
}

/// The tree that is kept.
fn first(disk: &MemoryDisk) {
    disk.create_dir(ROOT.as_ref()).unwrap();
    let tree = disk.tree(ROOT.as_ref()).unwrap();
    for dir in ["src", "src/deep", "empty", "becomes-file"] {
        tree.create_dir(dir.as_ref()).unwrap();
    }
    write(&*tree, "a", b"one");
    write(&*tree, "src/b", &vec![7; 40_000]);
    write(&*tree, "src/deep/c", b"");
    write(&*tree, "becomes-file/x", b"x");
    write(&*tree, "becomes-dir", b"a file for now");
    tree.create_link("src/b".as_ref(), "link".as_ref()).unwrap();
    tree.hard_link("a".as_ref(), "src/a-again".as_ref()).unwrap();
    tree.set_mode("src/b".as_ref(), 0o751).unwrap();
    tree.set_modified("src/b".as_ref(), FileTime { secs: 1_000_000_000, nanos: 5 }).unwrap();
    tree.sync_all().unwrap();
    disk.sync_dir("/".as_ref()).unwrap();
}

/// What the agent makes of it.
fn second(disk: &MemoryDisk) {
    let tree = disk.tree(ROOT.as_ref()).unwrap();
    write(&*tree, "a", b"changed");
    write(&*tree, "new", b"new");
    tree.remove_file("becomes-file/x".as_ref()).unwrap();
    tree.remove_dir("becomes-file".as_ref()).unwrap();
    write(&*tree, "becomes-file", b"a file now");
    tree.remove_file("becomes-dir".as_ref()).unwrap();
    tree.create_dir("becomes-dir".as_ref()).unwrap();
    write(&*tree, "becomes-dir/y", b"y");
    tree.remove_file("link".as_ref()).unwrap();
    tree.create_link("new".as_ref(), "link".as_ref()).unwrap();
    tree.remove_dir("empty".as_ref()).unwrap();
    tree.set_mode("src/b".as_ref(), 0o600).unwrap();
    tree.sync_all().unwrap();
}

fn options(disk: Arc<dyn Disk>) -> Options {
    let mut options = Options::new("/store");
    options.log.segment_bytes_min = 8 << 10;
    options.log.segment_bytes_max = 64 << 10;
    // One thread and no notices, so that the calls are the same in each play.
    options.workspace.threads = 1;
    options.workspace.watch = false;
    let clock = ManualClock::starting_at(Timestamp::from_unix_ms(1_700_000_000_000));
    Options { disk, clock, background: false, ..options }
}

fn agent(disk: Arc<dyn Disk>) -> Result<Agent, Error> {
    CheckpointManager::open(options(disk))?.agent("a")?.workspace(ROOT)
}

/// The steps of the life, and the trees before and after each.
const STEPS: usize = 4;

struct Played {
    done: usize,
    stopped: Option<Error>,
}

fn play(memory: &MemoryDisk, disk: &Arc<FaultDisk>) -> Played {
    first(memory);
    let mut done = 0;
    let stopped = live(memory, disk, &mut done).err();
    Played { done, stopped }
}

fn live(memory: &MemoryDisk, disk: &Arc<FaultDisk>, done: &mut usize) -> Result<(), Error> {
    let agent = agent(disk.clone())?;
    agent.create_checkpoint(Kind::PreOperation, &serde_json::json!({"step": 1}))?;
    *done = 1;
    second(memory);
    *done = 2;
    agent.restore("latest:pre_operation", &RestoreOptions::default())?;
    *done = 3;
    agent.undo(&RestoreOptions::default())?;
    *done = 4;
    Ok(())
}

/// A life that was played to its end.
struct Told {
    calls: u64,
    /// The tree after each step, the first before any.
    trees: [Tree; STEPS + 1],
}

impl Told {
    fn new() -> Self {
        let memory = MemoryDisk::new();
        let disk = FaultDisk::over(&memory);
        let played = play(&memory, &disk);
        assert!(played.stopped.is_none(), "{:?}", played.stopped);
        let before = read_tree(&memory);
        let calls = disk.total();
        let fresh = MemoryDisk::new();
        first(&fresh);
        let one = read_tree(&fresh);
        second(&fresh);
        let two = read_tree(&fresh);
        assert_eq!(content(&before), content(&two), "undo brings the second tree back");
        Self { calls, trees: [one.clone(), one.clone(), two.clone(), one, two] }
    }

    /// The tree is as it was before the step or after it, and the list of checkpoints says which.
    fn check(&self, memory: &MemoryDisk, done: usize, tale: &str) {
        let agent = agent(memory.shared()).unwrap_or_else(|error| panic!("{tale}: {error}"));
        let tree = read_tree(memory);
        let found = content(&tree);
        let before = content(&self.trees[done]);
        let after = content(&self.trees[(done + 1).min(STEPS)]);
        assert!(
            found == before || found == after,
            "{tale}: {}",
            difference(&found, &before, &after)
        );
        if done >= 2 && before != after {
            let finished = agent
                .list_checkpoints(Filter::default())
                .unwrap()
                .iter()
                .filter(|one| one.restored_from.is_some())
                .count();
            let expected = if found == after { done - 1 } else { done - 2 };
            assert_eq!(finished, expected, "{tale}: what the list says of restores");
        }
        if done >= 1 {
            let id = first_of(&agent);
            agent.files(&id).unwrap_or_else(|error| panic!("{tale}: {error}"));
        }
    }
}

fn first_of(agent: &Agent) -> String {
    let all = agent.list_checkpoints(Filter::default()).unwrap();
    all.last().map(|one| one.checkpoint_id.to_string()).unwrap()
}

type Facts<'a> = (NodeKind, &'a [u8], Option<&'a OsString>, u32);

/// A tree without the times of what a step never touched on purpose: every play makes them anew.
fn content(tree: &Tree) -> BTreeMap<&Path, Facts<'_>> {
    tree.iter()
        .map(|(path, it)| (path.as_path(), (it.kind, &*it.bytes, it.target.as_ref(), it.mode)))
        .collect()
}

fn difference<V: PartialEq>(
    found: &BTreeMap<&Path, V>,
    before: &BTreeMap<&Path, V>,
    after: &BTreeMap<&Path, V>,
) -> String {
    let paths: std::collections::BTreeSet<&&Path> =
        found.keys().chain(before.keys()).chain(after.keys()).collect();
    let differs = |path: &&&Path| {
        found.get(**path) != before.get(**path) || found.get(**path) != after.get(**path)
    };
    let told = paths.into_iter().filter(differs).map(|path| {
        let is = found.get(path);
        let like = match (is == before.get(path), is == after.get(path)) {
            (true, _) => "as before",
            (_, true) => "as asked",
            _ => "neither",
        };
        format!("{}: {like}", path.display())
    });
    told.collect::<Vec<_>>().join(", ")
}

const FATES: [Option<Loss>; 6] = [
    None,
    Some(Loss::All),
    Some(Loss::None),
    Some(Loss::Random(1)),
    Some(Loss::Random(2)),
    Some(Loss::Ordered(1)),
];

fn befall(disk: &MemoryDisk, fate: Option<Loss>) -> MemoryDisk {
    fate.map_or_else(|| disk.clone(), |loss| disk.crash(loss))
}

#[test]
fn killed_at_any_call_the_workspace_is_as_it_was_or_as_asked() {
    let told = Told::new();
    for call in some_of(told.calls, 120, 7) {
        for (index, fate) in FATES.into_iter().enumerate() {
            if !(is_exhaustive() || index == 0 || index as u64 % 5 == call % 5) {
                continue;
            }
            let memory = MemoryDisk::new();
            let disk = FaultDisk::over(&memory);
            disk.stop_at(call);
            let played = play(&memory, &disk);
            let tale = format!("killed at call {call} of {} and {fate:?}", told.calls);
            told.check(&befall(&memory, fate), played.done, &tale);
        }
    }
}

#[test]
fn killed_while_it_is_finished_it_is_finished_by_the_next_start() {
    let told = Told::new();
    for call in some_of(told.calls, 30, 3) {
        let memory = MemoryDisk::new();
        let disk = FaultDisk::over(&memory);
        disk.stop_at(call);
        let played = play(&memory, &disk);
        if played.done < 2 {
            continue;
        }
        let left = memory.crash(Loss::Random(call));
        let opening = FaultDisk::over(&left.crash(Loss::None));
        drop(agent(opening.clone()));
        for stop in some_of(opening.total(), 8, call) {
            let again = left.crash(Loss::None);
            let disk = FaultDisk::over(&again);
            disk.stop_at(stop);
            drop(agent(disk));
            let tale =
                format!("killed at call {call}, its opening at {stop} of {}", opening.total());
            told.check(&again.crash(Loss::Random(stop)), played.done, &tale);
        }
    }
}

#[test]
fn a_call_that_fails_leaves_the_workspace_as_it_was_or_as_asked() {
    let told = Told::new();
    for errno in [Errno::NOSPC, Errno::IO, Errno::ACCESS] {
        for call in some_of(told.calls, 60, errno.raw_os_error().unsigned_abs().into()) {
            let memory = MemoryDisk::new();
            let disk = FaultDisk::over(&memory);
            disk.inject(Fault::new(errno).skipping(call).times(1));
            let played = play(&memory, &disk);
            let tale = format!("call {call} of {} failed with {errno:?}", told.calls);
            told.check(&memory, played.done, &tale);
        }
    }
}

#[test]
fn everything_that_is_kept_verifies() {
    let memory = MemoryDisk::new();
    let disk = FaultDisk::over(&memory);
    let played = play(&memory, &disk);
    assert!(played.stopped.is_none(), "{:?}", played.stopped);
    let manager = CheckpointManager::open(options(memory.shared())).unwrap();
    let report = manager.verify(&VerifyOptions::default(), &mut |_| {}).unwrap();
    assert!(report.iter().all(|report| report.sound), "{report:#?}");
}
