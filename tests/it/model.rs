//! Random lives against a reference model.
//!
//! The model is a map from numbers to states; it knows nothing of logs, segments or disks. Whatever
//! is done in whatever order, with reopening and with crashes in the midst of a step, the store must
//! hold what the model holds. What a run does is a function of its seed, which is printed when it
//! fails; `STATEWARD_SEED` runs that one again, `STATEWARD_CASES` sets how many are run.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use stateward::disk::{FaultDisk, Loss, MemoryDisk};
use stateward::error::ErrorKind;
use stateward::state::Kind;
use stateward::{Agent, CheckpointManager, Error, Filter, Options, Outcome, RestoreOptions};

use crate::history::{self, Held, options, state};
use crate::life::{Act, Model, NAMES, held_by};

const CASES: u32 = 60;

/// An act, or one in the midst of which the process dies, at the given call.
#[derive(Debug, Clone)]
enum Event {
    Done(Act),
    Died(Act, u64, Loss),
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
            && let Some(bytes) = life.current()
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
    let outcome = runner.run(&lives, |events| World::new().live(&events));
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, events)) => panic!("STATEWARD_SEED={seed}: {why}\n{events:#?}"),
        Err(error) => panic!("STATEWARD_SEED={seed}: {error}"),
    }
}
