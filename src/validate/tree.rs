//! A workspace after a crash: exactly as it was or exactly as asked, and the log says which.
//!
//! An agent keeps a tree and a state file, another content takes their place, the first is restored,
//! and that is taken back. In each case the process dies at one call, or one call fails; the store is
//! opened, which finishes what had begun or takes it back. A state file holds the old bytes or the new
//! ones at every moment, also before that.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::life::clock;
use super::scenario::{Expectation, Failure, Fate, Scenario};
use super::trial::{Broken, Case, Outcome, Trial, Tried, ensure};
use crate::disk::{Disk, DiskTree, Fault, FaultDisk, FileTime, Loss, MemoryDisk, NodeKind};
use crate::manager::{Agent, CheckpointManager, Error, Filter, Options, RestoreOptions};
use crate::state::Kind;

pub(super) const ROOT: &str = "/work";
const MEMORY: &str = "/mind/memory.json";
const FIRST_MEMORY: &[u8] = b"{\"facts\": [\"the first\", \"of several\"]}";
const SECOND_MEMORY: &[u8] = b"{\"facts\": []}";

/// One name of a tree, with what is kept of it; times differ from play to play.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    kind: NodeKind,
    bytes: Vec<u8>,
    target: Option<OsString>,
    mode: u32,
}

type Tree = BTreeMap<PathBuf, Found>;

/// Reads a tree without the product's help, and the state file.
fn read_tree(disk: &MemoryDisk) -> Result<Tree, Broken> {
    let tree = disk.tree(ROOT.as_ref())?;
    let mut found = Tree::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(dir) = waiting.pop() {
        for (name, stat) in tree.read_dir(&dir)?.entries {
            let path = dir.join(name);
            let is = |kind| stat.kind == kind;
            let one = Found {
                kind: stat.kind,
                bytes: if is(NodeKind::File) { read_file(&*tree, &path)? } else { Vec::new() },
                target: if is(NodeKind::Link) { Some(tree.read_link(&path)?) } else { None },
                mode: if is(NodeKind::Link) { 0 } else { stat.mode },
            };
            if is(NodeKind::Dir) {
                waiting.push(path.clone());
            }
            found.insert(path, one);
        }
    }
    let memory = disk.get(MEMORY.as_ref()).unwrap_or_default();
    let one = Found { kind: NodeKind::File, bytes: memory, target: None, mode: 0 };
    found.insert(MEMORY.into(), one);
    Ok(found)
}

fn read_file(tree: &dyn DiskTree, path: &Path) -> Result<Vec<u8>, Broken> {
    let file = tree.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn write(tree: &dyn DiskTree, path: &str, bytes: &[u8]) -> Result<(), Broken> {
    let path = Path::new(path);
    match tree.remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    tree.create(path)?.write_all_at(bytes, 0)?;
    Ok(())
}

/// The content that is kept.
fn first(disk: &MemoryDisk) -> Result<(), Broken> {
    disk.create_dir(ROOT.as_ref())?;
    let tree = disk.tree(ROOT.as_ref())?;
    for dir in ["src", "src/deep", "empty", "becomes-file"] {
        tree.create_dir(dir.as_ref())?;
    }
    write(&*tree, "a", b"one")?;
    write(&*tree, "src/b", &vec![7; 40_000])?;
    write(&*tree, "src/deep/c", b"")?;
    write(&*tree, "becomes-file/x", b"x")?;
    write(&*tree, "becomes-dir", b"a file for now")?;
    tree.create_link("src/b".as_ref(), "link".as_ref())?;
    tree.hard_link("a".as_ref(), "src/a-again".as_ref())?;
    tree.set_mode("src/b".as_ref(), 0o751)?;
    tree.set_modified("src/b".as_ref(), FileTime { secs: 1_000_000_000, nanos: 5 })?;
    tree.sync_all()?;
    disk.sync_dir("/".as_ref())?;
    disk.put(MEMORY.as_ref(), FIRST_MEMORY);
    Ok(())
}

/// What the agent makes of it.
fn second(disk: &MemoryDisk) -> Result<(), Broken> {
    let tree = disk.tree(ROOT.as_ref())?;
    write(&*tree, "a", b"changed")?;
    write(&*tree, "new", b"new")?;
    tree.remove_file("becomes-file/x".as_ref())?;
    tree.remove_dir("becomes-file".as_ref())?;
    write(&*tree, "becomes-file", b"a file now")?;
    tree.remove_file("becomes-dir".as_ref())?;
    tree.create_dir("becomes-dir".as_ref())?;
    write(&*tree, "becomes-dir/y", b"y")?;
    tree.remove_file("link".as_ref())?;
    tree.create_link("new".as_ref(), "link".as_ref())?;
    tree.remove_dir("empty".as_ref())?;
    tree.set_mode("src/b".as_ref(), 0o600)?;
    tree.sync_all()?;
    disk.put(MEMORY.as_ref(), SECOND_MEMORY);
    Ok(())
}

pub(super) fn options(disk: Arc<dyn Disk>) -> Options {
    let mut options = Options::new("/store");
    options.log.segment_bytes_min = 8 << 10;
    options.log.segment_bytes_max = 64 << 10;
    // One thread and no notices, so that the calls are the same in each play.
    options.workspace.threads = 1;
    options.workspace.watch = false;
    Options { disk, clock: clock(), background: false, ..options }
}

fn agent(disk: Arc<dyn Disk>) -> Result<Agent, Error> {
    CheckpointManager::open(options(disk))?.agent("a")?.workspace(ROOT)?.state_file(MEMORY)
}

struct Played {
    done: usize,
    stopped: Option<Error>,
}

fn play(memory: &MemoryDisk, disk: &Arc<FaultDisk>) -> Result<Played, Broken> {
    first(memory)?;
    let mut done = 0;
    let stopped = live(memory, disk, &mut done)?;
    Ok(Played { done, stopped })
}

fn live(
    memory: &MemoryDisk,
    disk: &Arc<FaultDisk>,
    done: &mut usize,
) -> Result<Option<Error>, Broken> {
    let keep = || {
        let agent = agent(disk.clone())?;
        agent.create_checkpoint(Kind::PreOperation, &serde_json::json!({"step": 1}))?;
        Ok(agent)
    };
    let agent = match keep() {
        Ok(agent) => agent,
        Err(error) => return Ok(Some(error)),
    };
    *done = 1;
    second(memory)?;
    *done = 2;
    let options = RestoreOptions::default();
    if let Err(error) = agent.restore("latest:pre_operation", &options) {
        return Ok(Some(error));
    }
    *done = 3;
    if let Err(error) = agent.undo(&options) {
        return Ok(Some(error));
    }
    *done = 4;
    Ok(None)
}

const STEPS: usize = 4;

/// A life that was played to its end.
struct Told<'a> {
    scenario: &'a Scenario,
    calls: u64,
    /// The tree after each step, the first before any.
    trees: [Tree; STEPS + 1],
}

impl<'a> Told<'a> {
    fn new(scenario: &'a Scenario) -> Result<Self, Broken> {
        let memory = MemoryDisk::new();
        let disk = FaultDisk::over(&memory);
        let played = play(&memory, &disk)?;
        if let Some(error) = played.stopped {
            return Err(Broken::from(error).after("the life fails by itself"));
        }
        let fresh = MemoryDisk::new();
        first(&fresh)?;
        let one = read_tree(&fresh)?;
        second(&fresh)?;
        let two = read_tree(&fresh)?;
        let undone = read_tree(&memory)? == two;
        ensure(undone, || "undo does not bring the second content back".to_owned())?;
        let trees = [one.clone(), one.clone(), two.clone(), one, two];
        Ok(Self { scenario, calls: disk.total(), trees })
    }

    /// Between two steps and whatever happened, a file is an old one, a new one, or not there.
    fn check_unopened(&self, memory: &MemoryDisk, done: usize) -> Outcome {
        if done < 2 || !self.scenario.expects(Expectation::NothingHalf) {
            return Ok(());
        }
        let bytes = memory.get(MEMORY.as_ref()).unwrap_or_default();
        let whole = bytes == FIRST_MEMORY || bytes == SECOND_MEMORY;
        ensure(whole, || format!("the state file is a mix: {:?}", String::from_utf8_lossy(&bytes)))
    }

    /// The tree is as it was before the step or after it, and the list of checkpoints says which.
    fn check(&self, memory: &MemoryDisk, done: usize, tried: &mut Tried) -> Outcome {
        self.check_unopened(memory, done)?;
        let agent = agent(memory.shared())?;
        let found = read_tree(memory)?;
        let before = &self.trees[done];
        let after = &self.trees[(done + 1).min(STEPS)];
        let is_whole = found == *before || found == *after;
        ensure(is_whole, || format!("half of it: {}", difference(&found, before, after)))?;
        let all = agent.list_checkpoints(Filter::default())?;
        if done >= 2 && before != after && self.scenario.expects(Expectation::NothingHalf) {
            let finished = all.iter().filter(|one| one.restored_from.is_some()).count();
            let expected = if found == *after { done - 1 } else { done - 2 };
            let same = finished == expected;
            ensure(same, || format!("{finished} restores are listed instead of {expected}"))?;
        }
        if done >= 1 {
            let first = all.last().ok_or_else(|| Broken::lost(1, "the checkpoint is gone"))?;
            let files = agent.files(&first.checkpoint_id.to_string());
            files.map_err(|error| Broken::lost(1, format!("its files are lost: {error}")))?;
            tried.read(usize::try_from(first.stored_bytes).unwrap_or(0));
        }
        if self.scenario.expects(Expectation::Undoable) && done >= 3 {
            drop(agent);
            self.check_undo(memory, done)?;
        }
        Ok(())
    }

    /// Whatever became of the last step, undo after undo leads back to the second content.
    fn check_undo(&self, memory: &MemoryDisk, done: usize) -> Outcome {
        let agent = agent(memory.shared())?;
        let is_first = read_tree(memory)? == self.trees[1];
        if done == 3 && is_first {
            agent.undo(&RestoreOptions::default())?;
            let back = read_tree(memory)? == self.trees[2];
            ensure(back, || "undo does not bring back what was replaced".to_owned())?;
        }
        Ok(())
    }
}

fn difference(found: &Tree, before: &Tree, after: &Tree) -> String {
    let paths: std::collections::BTreeSet<&PathBuf> =
        found.keys().chain(before.keys()).chain(after.keys()).collect();
    let differs = |path: &&PathBuf| {
        found.get(*path) != before.get(*path) || found.get(*path) != after.get(*path)
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

pub(super) fn crash<'a>(
    scenario: &'a Scenario,
    fates: &'a [Fate],
    recovery_too: bool,
) -> Result<Trial<'a>, Broken> {
    let told = Told::new(scenario)?;
    let count = fates.len() as u64;
    Ok(Trial::simulated(told.calls * count, move |case, tried| {
        let fate = fates[usize::try_from(case.number % count).unwrap_or(0)];
        let call = case.number / count % told.calls;
        let memory = MemoryDisk::new();
        let disk = FaultDisk::over(&memory);
        disk.stop_at(call);
        let played = play(&memory, &disk)?;
        tried.crash_points += 1;
        told.check_unopened(&memory, played.done)?;
        let mut left = fate.befall(&memory, case);
        let mut tale = format!("ended at call {call} of {}, then {fate:?}", told.calls);
        if recovery_too {
            left = left.crash(Loss::None);
            tale += &end_its_recovery(&left, case);
            tried.crash_points += 1;
            left = left.crash(Loss::Random(case.draw(9, u64::MAX)));
        }
        told.check(&left, played.done, tried).map_err(|it| it.after(&tale).on(&left))
    }))
}

fn end_its_recovery(left: &MemoryDisk, case: Case) -> String {
    let count = FaultDisk::over(&left.crash(Loss::None));
    drop(agent(count.clone()));
    let stop = case.draw(2, count.total());
    let disk = FaultDisk::over(left);
    disk.stop_at(stop);
    drop(agent(disk));
    format!(", its opening ended at call {stop} of {}", count.total())
}

pub(super) fn failing<'a>(
    scenario: &'a Scenario,
    with: &'a [Failure],
) -> Result<Trial<'a>, Broken> {
    let told = Told::new(scenario)?;
    let kinds = with.len() as u64;
    let mut trial = Trial::simulated(told.calls * kinds, move |case, tried| {
        let failure = with[usize::try_from(case.number % kinds).unwrap_or(0)];
        let call = case.number / kinds % told.calls;
        let memory = MemoryDisk::new();
        let disk = FaultDisk::over(&memory);
        disk.inject(Fault::new(failure.errno()).skipping(call).times(1));
        let played = play(&memory, &disk)?;
        tried.faults += 1;
        let tale = format!("call {call} of {} failed with {failure:?}", told.calls);
        told.check(&memory, played.done, tried).map_err(|it| it.after(tale).on(&memory))
    });
    trial.is_endless = false;
    Ok(trial)
}
