//! Random trees, random changes, random restores, beside plain copies of what was there.
//!
//! An agent's workspace is changed at random between checkpoints; each checkpoint is remembered as a
//! copy. Any of them is restored, some restores are undone, the process is begun anew in between: the
//! workspace is then always the copy. A failing run prints its seed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use stateward::clock::ManualClock;
use stateward::disk::{Disk, DiskTree, FileTime, MemoryDisk, NodeKind};
use stateward::state::{Kind, Timestamp};
use stateward::{Agent, CheckpointManager, Options, RestoreOptions};

const ROOT: &str = "/work";
const NAMES: [&str; 6] = ["a", "b", "c", "dir", "x\u{e9}", "z"];

/// What happens to the workspace; places are paths of a few names, so that things meet.
#[derive(Debug, Clone)]
enum Change {
    Write(Vec<usize>, Vec<u8>),
    MakeDir(Vec<usize>),
    Link(Vec<usize>, usize),
    HardLink(Vec<usize>, Vec<usize>),
    Rename(Vec<usize>, Vec<usize>),
    Remove(Vec<usize>),
    Mode(Vec<usize>, u32),
}

#[derive(Debug, Clone)]
enum Step {
    Change(Vec<Change>),
    Checkpoint,
    Restore(usize),
    Undo,
    Reopen,
}

fn place() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..NAMES.len(), 1..4)
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (place(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(at, it)| Change::Write(at, it)),
        1 => (place(), 20_000..60_000usize, any::<u8>())
            .prop_map(|(at, len, byte)| Change::Write(at, vec![byte; len])),
        2 => place().prop_map(Change::MakeDir),
        1 => (place(), 0..NAMES.len()).prop_map(|(at, to)| Change::Link(at, to)),
        1 => (place(), place()).prop_map(|(a, b)| Change::HardLink(a, b)),
        2 => (place(), place()).prop_map(|(a, b)| Change::Rename(a, b)),
        2 => place().prop_map(Change::Remove),
        1 => (place(), prop_oneof![Just(0o600), Just(0o644), Just(0o755)])
            .prop_map(|(at, mode)| Change::Mode(at, mode)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(change(), 1..8).prop_map(Step::Change),
        3 => Just(Step::Checkpoint),
        3 => any::<usize>().prop_map(Step::Restore),
        1 => Just(Step::Undo),
        1 => Just(Step::Reopen),
    ]
}

/// One name with all that comes back of it; `twin` is the first name of the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    kind: NodeKind,
    bytes: Vec<u8>,
    target: String,
    mode: u32,
    modified: FileTime,
    twin: Option<PathBuf>,
}

type Tree = BTreeMap<PathBuf, Found>;

struct World {
    disk: MemoryDisk,
    agent: Agent,
    /// Each checkpoint with the copy of what it holds.
    kept: Vec<(String, Tree)>,
    /// What was there before each restore that was not undone.
    before: Vec<Tree>,
}

fn path(at: &[usize]) -> PathBuf {
    at.iter().map(|index| NAMES[*index]).collect()
}

impl World {
    fn new() -> Self {
        let disk = MemoryDisk::plain();
        disk.create_dir(ROOT.as_ref()).unwrap();
        let agent = open(&disk);
        Self { disk, agent, kept: Vec::new(), before: Vec::new() }
    }

    /// Does what can be done; what cannot (no such parent, something in the way) is left.
    fn change(&self, change: &Change) {
        let tree = self.disk.tree(ROOT.as_ref()).unwrap();
        let done = match change {
            Change::Write(at, bytes) => {
                let at = path(at);
                tree.remove_file(&at).ok();
                tree.create(&at).and_then(|file| file.write_all_at(bytes, 0))
            }
            Change::MakeDir(at) => tree.create_dir(&path(at)),
            Change::Link(at, to) => tree.create_link(NAMES[*to].as_ref(), &path(at)),
            Change::HardLink(from, to) => tree.hard_link(&path(from), &path(to)),
            Change::Rename(from, to) => tree.rename(&path(from), &path(to)),
            Change::Remove(at) => {
                let at = path(at);
                tree.remove_file(&at).or_else(|_| tree.remove_dir(&at))
            }
            Change::Mode(at, mode) => tree.set_mode(&path(at), *mode),
        };
        drop(done);
    }

    fn look(&self) -> Tree {
        let tree = self.disk.tree(ROOT.as_ref()).unwrap();
        let mut found = Tree::new();
        let mut twins: BTreeMap<u64, PathBuf> = BTreeMap::new();
        look_into(&*tree, PathBuf::new(), &mut found);
        for (path, one) in &mut found {
            let stat = tree.stat(path).unwrap();
            if stat.kind == NodeKind::File {
                one.twin = Some(twins.entry(stat.inode).or_insert_with(|| path.clone()).clone());
            }
        }
        found
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Change(changes) => changes.iter().for_each(|change| self.change(change)),
            Step::Checkpoint => {
                let receipt =
                    self.agent.checkpoint(Kind::Routine).label("keep", "").commit().unwrap();
                self.kept.push((receipt.checkpoint_id.to_string(), self.look()));
            }
            Step::Restore(which) if !self.kept.is_empty() => {
                let (id, copy) = self.kept[which % self.kept.len()].clone();
                let before = self.look();
                let told = self.agent.restore(&id, &RestoreOptions::default()).unwrap();
                assert_eq!(self.look(), copy, "{told:#?}");
                self.before.push(before);
            }
            Step::Undo if !self.before.is_empty() => {
                let told = self.agent.undo(&RestoreOptions::default()).unwrap();
                let before = self.before.pop();
                assert_eq!(Some(self.look()), before, "{told:#?}");
            }
            Step::Restore(_) | Step::Undo => {}
            Step::Reopen => {
                let again = open_again(&self.disk, &mut self.agent);
                self.agent = again;
            }
        }
    }
}

fn look_into(tree: &dyn DiskTree, dir: PathBuf, found: &mut Tree) {
    let own = tree.stat(&dir).unwrap();
    let none = Found {
        kind: own.kind,
        bytes: Vec::new(),
        target: String::new(),
        mode: own.mode,
        modified: own.modified,
        twin: None,
    };
    for (name, stat) in tree.read_dir(&dir).unwrap().entries {
        let path = dir.join(name);
        let mut one = Found { kind: stat.kind, modified: stat.modified, ..none.clone() };
        match stat.kind {
            NodeKind::File => {
                let file = tree.open(&path).unwrap();
                one.bytes = vec![0; usize::try_from(stat.len).unwrap()];
                file.read_at(&mut one.bytes, 0).unwrap();
                one.mode = stat.mode;
            }
            NodeKind::Link => {
                one.target = tree.read_link(&path).unwrap().into_string().unwrap();
                one.mode = 0;
            }
            _ => one.mode = stat.mode,
        }
        if stat.kind == NodeKind::Dir {
            look_into(tree, path.clone(), found);
        } else {
            found.insert(path, one);
        }
    }
    found.insert(dir, none);
}

fn open(disk: &MemoryDisk) -> Agent {
    let clock = ManualClock::starting_at(Timestamp::from_unix_ms(1_700_000_000_000));
    let mut options = Options::new("/store");
    options.workspace.threads = 1;
    options.workspace.watch = false;
    let options = Options { disk: disk.shared(), clock, background: false, ..options };
    let manager = CheckpointManager::open(options).unwrap();
    manager.agent("a").unwrap().workspace(ROOT).unwrap()
}

/// Ends the session of an agent, with its process, and begins another.
fn open_again(disk: &MemoryDisk, agent: &mut Agent) -> Agent {
    let nobody = CheckpointManager::open(Options::in_memory()).unwrap().agent("nobody").unwrap();
    drop(std::mem::replace(agent, nobody));
    open(disk)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn whatever_is_restored_is_what_was_there(steps in prop::collection::vec(step(), 1..24)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
    }
}
