//! Random lives against a reference model.
//!
//! The model is a map from numbers to states; it knows nothing of logs, segments or disks. Whatever
//! is done in whatever order, with reopening and with crashes in the midst of a step, the store must
//! hold what the model holds. What a run does is a function of its seed, which is printed when it
//! fails; `STATEWARD_SEED` runs that one again, `STATEWARD_CASES` sets how many are run.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use stateward::disk::{FaultDisk, Loss, MemoryDisk};
use stateward::error::ErrorKind;
use stateward::state::{Digest, Kind};
use stateward::{
    Agent, CheckpointManager, Error, Filter, Options, Outcome, RestoreOptions, Standing,
};

use crate::history::{self, Held, Shelf, options, state};

const NAMES: [&str; 3] = ["a", "team/b", "agent-1"];
const CASES: u32 = 60;

/// What is done. An agent is an index into [`NAMES`]; a checkpoint is counted from the newest.
#[derive(Debug, Clone)]
enum Act {
    Commit(usize, Kind, usize),
    Patch(usize),
    Restore(usize, usize),
    Undo(usize),
    Reset(usize),
    Forget(usize, usize),
    Begin(usize),
    Close(usize, bool),
    Settle,
    MakeReady,
    Prune,
    Reopen,
}

impl Act {
    fn agent(&self) -> Option<usize> {
        match *self {
            Self::Commit(name, ..)
            | Self::Patch(name)
            | Self::Restore(name, _)
            | Self::Undo(name)
            | Self::Reset(name)
            | Self::Forget(name, _)
            | Self::Begin(name)
            | Self::Close(name, _) => Some(name),
            Self::Settle | Self::MakeReady | Self::Prune | Self::Reopen => None,
        }
    }
}

/// An act, or one in the midst of which the process dies, at the given call.
#[derive(Debug, Clone)]
enum Event {
    Done(Act),
    Died(Act, u64, Loss),
}

#[derive(Debug, Clone)]
struct Kept {
    kind: Kind,
    bytes: Vec<u8>,
    /// The number of the recovery checkpoint of a finished restore, and what it took back.
    restored: Option<(Option<u64>, Option<u64>)>,
    operation: Option<Standing>,
}

#[derive(Debug, Clone, Default)]
struct Life {
    kept: BTreeMap<u64, Kept>,
    last: u64,
    /// Numbers up to here came before a fresh start.
    reset: u64,
    undone: Vec<u64>,
}

type Model = BTreeMap<&'static str, Life>;

impl Life {
    fn add(&mut self, kind: Kind, bytes: Vec<u8>) -> &mut Kept {
        self.last += 1;
        let kept = Kept { kind, bytes, restored: None, operation: None };
        self.kept.entry(self.last).or_insert(kept)
    }

    fn since_reset(&self) -> impl Iterator<Item = (u64, &Kept)> {
        self.kept.range(self.reset + 1..).rev().map(|(seq, kept)| (*seq, kept))
    }

    fn latest(&self) -> Option<&Kept> {
        self.since_reset().map(|(_, kept)| kept).find(|kept| kept.kind != Kind::Recovery)
    }

    fn nth(&self, back: usize) -> Option<u64> {
        let numbers: Vec<u64> = self.kept.keys().rev().copied().collect();
        (!numbers.is_empty()).then(|| numbers[back % numbers.len()])
    }

    /// What was there goes to a recovery checkpoint, and the old state is the newest again.
    fn restore(&mut self, from: u64, undoes: Option<u64>) {
        let old = self.kept[&from].bytes.clone();
        let recovery = self.newest().map(|bytes| {
            self.add(Kind::Recovery, bytes);
            self.last
        });
        self.add(Kind::Routine, old).restored = Some((recovery, undoes));
        self.undone.extend(undoes);
    }

    /// The restore that is taken back next, and what it replaced.
    fn undoable(&self) -> Option<(u64, u64)> {
        self.kept.iter().rev().find_map(|(seq, kept)| match kept.restored {
            Some((Some(recovery), None)) if !self.undone.contains(seq) => Some((*seq, recovery)),
            _ => None,
        })
    }

    fn open_operation(&mut self) -> Option<&mut Kept> {
        self.kept.values_mut().rev().find(|kept| kept.operation == Some(Standing::Open))
    }

    fn newest(&self) -> Option<Vec<u8>> {
        self.since_reset().next().map(|(_, kept)| kept.bytes.clone())
    }

    /// Does what an act does; `None` where it is to be refused.
    fn change(&mut self, act: &Act, acts: usize) -> Option<()> {
        match *act {
            Act::Commit(_, kind, bytes) => {
                let kept = self.add(kind, state(acts, bytes));
                kept.operation = (kind == Kind::PreOperation).then_some(Standing::Open);
            }
            Act::Patch(_) => {
                let base = self.latest()?.bytes.clone();
                self.add(Kind::Routine, patched(&base, acts));
            }
            Act::Restore(_, back) => self.restore(self.nth(back)?, None),
            Act::Undo(_) => {
                let (done, recovery) = self.undoable()?;
                self.kept.get(&recovery)?;
                self.restore(recovery, Some(done));
            }
            Act::Reset(_) => self.reset = self.last,
            Act::Forget(_, back) => {
                let seq = self.nth(back)?;
                if self.kept[&seq].operation == Some(Standing::Open) {
                    return None;
                }
                self.kept.remove(&seq);
            }
            Act::Begin(_) => {
                let bytes = self.newest()?;
                self.add(Kind::PreOperation, bytes).operation = Some(Standing::Open);
            }
            Act::Close(_, well) => {
                let standing = if well { Standing::Completed } else { Standing::Failed };
                self.open_operation()?.operation = Some(standing);
            }
            Act::Settle | Act::MakeReady | Act::Prune | Act::Reopen => {}
        }
        Some(())
    }

    fn shelf(&self) -> Shelf {
        let operations = self.kept.values().filter_map(|kept| kept.operation);
        Shelf {
            checkpoints: self
                .kept
                .iter()
                .map(|(seq, kept)| (*seq, kept.kind, Digest::of(&kept.bytes)))
                .collect(),
            latest: self.latest().map(|kept| Digest::of(&kept.bytes)),
            operations: operations.map(|standing| ("it".to_owned(), standing)).collect(),
        }
    }
}

fn held_by(model: &Model) -> Held {
    let none = Life::default();
    let agents = history::AGENTS.into_iter();
    agents.map(|name| (name.to_owned(), model.get(name).unwrap_or(&none).shelf())).collect()
}

fn keep_all(disk: Arc<FaultDisk>) -> Options {
    let mut options = options(disk);
    for rules in [
        &mut options.retention.routine,
        &mut options.retention.recovery,
        &mut options.retention.pre_operation,
    ] {
        rules.keep_last = 1000;
    }
    options
}

/// The store and the model, side by side.
struct World {
    memory: MemoryDisk,
    disk: Arc<FaultDisk>,
    manager: Option<CheckpointManager>,
    model: Model,
    acts: usize,
}

impl World {
    fn new() -> Self {
        let memory = MemoryDisk::new();
        let mut world = Self {
            disk: FaultDisk::over(&memory),
            memory,
            manager: None,
            model: Model::new(),
            acts: 0,
        };
        world.open();
        world
    }

    fn open(&mut self) {
        self.manager = None;
        self.manager = Some(CheckpointManager::open(keep_all(self.disk.clone())).unwrap());
    }

    fn manager(&self) -> &CheckpointManager {
        self.manager.as_ref().expect("it is open between two acts")
    }

    fn agent(&self, name: usize) -> Agent {
        self.manager().agent(NAMES[name]).unwrap()
    }

    fn id(&self, name: usize, seq: u64) -> String {
        let all = self.agent(name).list_checkpoints(Filter::default()).unwrap();
        all.iter().find(|one| one.seq.0 == seq).unwrap().checkpoint_id.to_string()
    }

    /// What an act makes of the model; `None` where it is to be refused.
    fn expected(&self, act: &Act) -> Option<Model> {
        let mut model = self.model.clone();
        if let Some(name) = act.agent() {
            model.entry(NAMES[name]).or_default().change(act, self.acts)?;
        }
        Some(model)
    }

    fn act(&mut self, act: &Act) -> Result<(), Error> {
        match *act {
            Act::Commit(name, kind, bytes) => {
                let request =
                    self.agent(name).checkpoint(kind).state_bytes(state(self.acts, bytes));
                let request =
                    if kind == Kind::PreOperation { request.opens("it") } else { request };
                request.commit().map(drop)
            }
            Act::Patch(name) => {
                let patch = format!("{{\"patched\":{}}}", self.acts);
                let request = self.agent(name).checkpoint(Kind::Routine).patch(patch.into());
                request.commit().map(drop)
            }
            Act::Restore(name, back) => {
                let Some(seq) = self.model.get(NAMES[name]).and_then(|life| life.nth(back)) else {
                    return self
                        .agent(name)
                        .restore("latest", &RestoreOptions::default())
                        .map(drop);
                };
                let id = self.id(name, seq);
                self.agent(name).restore(&id, &RestoreOptions::default()).map(drop)
            }
            Act::Undo(name) => self.agent(name).undo(&RestoreOptions::default()).map(drop),
            Act::Reset(name) => self.agent(name).reset(),
            Act::Forget(name, back) => {
                let Some(seq) = self.model.get(NAMES[name]).and_then(|life| life.nth(back)) else {
                    return self.agent(name).forget(&["latest"], false).map(drop);
                };
                let id = self.id(name, seq);
                self.agent(name).forget(&[&id], false).map(drop)
            }
            Act::Begin(name) => {
                self.agent(name).begin_operation("it").map(|begun| drop(begun.detach()))
            }
            Act::Close(name, well) => {
                let outcome = if well { Outcome::Completed } else { Outcome::Failed };
                self.agent(name).close_operation("it", outcome, "").map(drop)
            }
            Act::Settle => self.manager().settle(),
            Act::MakeReady => self.manager().make_ready(),
            Act::Prune => self.manager().prune(&mut |_| {}).map(drop),
            Act::Reopen => {
                self.open();
                Ok(())
            }
        }
    }

    fn held(&self) -> Held {
        history::held(self.manager()).unwrap()
    }

    fn done(&mut self, act: &Act) -> Result<(), TestCaseError> {
        let expected = self.expected(act);
        let done = self.act(act);
        match (expected, done) {
            (Some(model), Ok(())) => self.model = model,
            (None, Err(error)) => {
                let kinds = [ErrorKind::NotFound, ErrorKind::Usage, ErrorKind::Refused];
                prop_assert!(kinds.contains(&error.kind()), "{error}");
            }
            (None, Ok(())) => prop_assert!(false, "{act:?} was to be refused"),
            (Some(_), Err(error)) => prop_assert!(false, "{act:?}: {error}"),
        }
        prop_assert_eq!(self.held(), held_by(&self.model));
        Ok(())
    }

    /// The process dies in the midst of an act: the store holds what it held before or after it, or
    /// after the first half of a restore.
    fn died(&mut self, act: &Act, at: u64, loss: Loss) -> Result<(), TestCaseError> {
        let after = self.expected(act).unwrap_or_else(|| self.model.clone());
        self.disk.reset();
        self.disk.stop_at(at);
        let acknowledged = self.is_alive_after(act);
        self.manager = None;
        self.memory = self.memory.crash(loss);
        self.disk = FaultDisk::over(&self.memory);
        self.open();
        let found = self.held();
        let mut half = self.model.clone();
        if let Act::Restore(name, _) | Act::Undo(name) = *act
            && let Some(life) = half.get_mut(NAMES[name])
            && let Some(bytes) = life.newest()
        {
            life.add(Kind::Recovery, bytes);
        }
        if found == held_by(&after) {
            self.model = after;
        } else {
            prop_assert!(!acknowledged, "{act:?} was acknowledged");
            if found == held_by(&half) {
                self.model = half;
            }
            prop_assert_eq!(found, held_by(&self.model), "half of {:?}", act);
        }
        Ok(())
    }

    fn is_alive_after(&mut self, act: &Act) -> bool {
        match act {
            Act::Reopen => {
                self.manager = None;
                CheckpointManager::open(keep_all(self.disk.clone())).is_ok()
            }
            act => self.act(act).is_ok(),
        }
    }

    fn live(&mut self, events: &[Event]) -> Result<(), TestCaseError> {
        for event in events {
            self.acts += 1;
            match event {
                Event::Done(act) => self.done(act)?,
                Event::Died(act, at, loss) => self.died(act, *at, *loss)?,
            }
        }
        Ok(())
    }
}

/// A patch sets one key, in its place where it is there and behind the others where it is not.
fn patched(base: &[u8], n: usize) -> Vec<u8> {
    let text = std::str::from_utf8(base).unwrap();
    match text.find("\"patched\":") {
        Some(at) => {
            let start = at + "\"patched\":".len();
            let end = start + text[start..].find(|c: char| !c.is_ascii_digit()).unwrap();
            format!("{}{n}{}", &text[..start], &text[end..]).into_bytes()
        }
        None => format!("{},\"patched\":{n}}}", &text[..text.len() - 1]).into_bytes(),
    }
}

fn act() -> impl Strategy<Value = Act> {
    let name = 0..NAMES.len();
    let kind = prop_oneof![
        6 => Just(Kind::Routine),
        1 => Just(Kind::Recovery),
        1 => Just(Kind::PreOperation),
    ];
    let bytes =
        prop_oneof![4 => 60..2000_usize, 2 => 2000..20_000_usize, 1 => 20_000..90_000_usize];
    prop_oneof![
        8 => (name.clone(), kind, bytes).prop_map(|(name, kind, bytes)| Act::Commit(name, kind, bytes)),
        2 => name.clone().prop_map(Act::Patch),
        2 => (name.clone(), 0..6_usize).prop_map(|(name, back)| Act::Restore(name, back)),
        1 => name.clone().prop_map(Act::Undo),
        1 => name.clone().prop_map(Act::Reset),
        3 => (name.clone(), 0..6_usize).prop_map(|(name, back)| Act::Forget(name, back)),
        1 => name.clone().prop_map(Act::Begin),
        1 => (name, any::<bool>()).prop_map(|(name, well)| Act::Close(name, well)),
        2 => Just(Act::Settle),
        1 => Just(Act::MakeReady),
        1 => Just(Act::Prune),
        1 => Just(Act::Reopen),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let loss = prop_oneof![
        Just(Loss::All),
        Just(Loss::None),
        (0..1000_u64).prop_map(Loss::Random),
        (0..20_usize).prop_map(Loss::Prefix),
        (0..1000_u64).prop_map(Loss::Ordered),
    ];
    prop_oneof![
        4 => act().prop_map(Event::Done),
        1 => (act(), 0..30_u64, loss).prop_map(|(act, at, loss)| Event::Died(act, at, loss)),
    ]
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("it is a number"))
}

#[test]
fn a_store_holds_what_a_model_holds() {
    let seed = number_from("STATEWARD_SEED").unwrap_or(0xB0BA_C8C6);
    let cases = number_from("STATEWARD_CASES").map_or(CASES, |cases| u32::try_from(cases).unwrap());
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let lives = prop::collection::vec(event(), 1..40);
    let lived = runner.run(&lives, |events| World::new().live(&events));
    match lived {
        Ok(()) => {}
        Err(TestError::Fail(why, events)) => panic!("STATEWARD_SEED={seed}: {why}\n{events:#?}"),
        Err(error) => panic!("STATEWARD_SEED={seed}: {error}"),
    }
}
