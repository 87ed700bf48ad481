//! An agent that begins to go in circles, or loses its goal: it is brought back to before that began,
//! and not for ever.
//!
//! The agent works, says what it does as any agent would, and keeps a checkpoint every few minutes.
//! From a step that the case draws on it does the same again and again and nothing comes of it, or it
//! works on without its goal, and what it keeps from then on is spoilt. What follows from what it says is left to the library, on a clock that is moved by hand:
//! detectors, verdict, policy, restore. Noticed late means that nothing is answered until so many more
//! checkpoints were made.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::life::{clock, options};
use super::scenario::{Expectation, Scenario};
use super::trial::{Broken, Case, Outcome, Trial, Tried, ensure};
use crate::clock::{Clock, ManualClock};
use crate::disk::{FaultDisk, MemoryDisk};
use crate::drift::policy::Response;
use crate::drift::signals::invariants::Invariant;
use crate::drift::{Level, Measure, Observation, Options as DriftOptions};
use crate::manager::{Agent, CheckpointManager, DriftResponse, Filter, Observed, RestoreOptions};
use crate::retention;
use crate::state::{CheckpointId, Kind, Timestamp};

/// Steps between two checkpoints, and how long a step takes.
const STEPS_EACH: u64 = 5;
const STEP: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// A life that is over sooner has not been watched.
const STEPS_MIN: u64 = 60;
/// Lives that chance tells apart; more than anyone runs.
const LIVES: u64 = 1_000_000;

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum Plan {
    /// It is noticed up to so many checkpoints late.
    Late(u64),
    /// It comes back after each restore.
    Flapping,
}

pub(super) fn trial(scenario: &Scenario, plan: Plan) -> Trial<'_> {
    Trial::simulated(LIVES, move |case, tried| {
        let disk = MemoryDisk::new();
        tried.faults += 1;
        let agent = Wanderer::new(&disk, case)?;
        let lived = match plan {
            Plan::Late(checkpoints_max) => late(scenario, agent, (case, checkpoints_max), tried),
            Plan::Flapping => flapping(scenario, agent, case, tried),
        };
        lived.map_err(|broken| broken.on(&disk))
    })
}

/// How an agent gets lost.
#[derive(Debug, Clone, Copy)]
enum Manner {
    /// It does the same again and again, and its state stays as it is.
    InCircles,
    /// It works on, and its state goes on without its goal.
    WithoutGoal,
}

struct Wanderer {
    clock: Arc<ManualClock>,
    agent: Agent,
    options: DriftOptions,
    step: u64,
    /// How it gets lost.
    manner: Manner,
    /// The state it kept last.
    kept: Value,
    /// Since which step it is lost.
    lost: Option<u64>,
    /// Its checkpoints of before the newest time that it got lost.
    before: Vec<CheckpointId>,
    restores: Vec<Timestamp>,
}

impl Wanderer {
    fn new(disk: &MemoryDisk, case: Case) -> Result<Self, Broken> {
        let clock = clock();
        let goal = Invariant { pointer: "/goal".into(), required: true, ..Invariant::default() };
        let options_of_drift = DriftOptions {
            response: Response::Restore,
            invariants: vec![goal],
            ..DriftOptions::default()
        };
        let manner = if case.draw(3, 2) == 0 { Manner::InCircles } else { Manner::WithoutGoal };
        let mut store = options(FaultDisk::over(disk), clock.clone());
        // The rules that are the default must do.
        store.retention = retention::Policy::default();
        store.drift = options_of_drift.clone();
        let agent = CheckpointManager::open(store)?.agent("wanderer")?;
        Ok(Self {
            clock,
            agent,
            options: options_of_drift,
            step: 0,
            manner,
            kept: Value::Null,
            lost: None,
            before: Vec::new(),
            restores: Vec::new(),
        })
    }

    /// Does a step and says so; keeps a checkpoint now and then.
    fn walk(&mut self) -> Result<Observed, Broken> {
        self.step += 1;
        self.clock.advance(STEP);
        let (name, mark) = match (self.manner, self.lost) {
            (Manner::InCircles, Some(_)) => ("retry", 0),
            _ => ("edit", self.step),
        };
        let told = Observation::action(name, mark).result(mark).ok(true);
        let observed = self.agent.observe(told)?;
        if self.step.is_multiple_of(STEPS_EACH) {
            let state = match (self.manner, self.lost) {
                (_, None) => json!({"step": self.step, "goal": "home", "spoilt": false}),
                // What changes is not going round in circles.
                (Manner::InCircles, Some(_)) => self.kept.clone(),
                (Manner::WithoutGoal, Some(_)) => json!({"step": self.step, "spoilt": true}),
            };
            self.agent.create_checkpoint(Kind::Routine, &state)?;
            self.kept = state;
        }
        Ok(observed)
    }

    fn get_lost(&mut self) -> Outcome {
        self.lost = Some(self.step);
        self.before = self.ids()?;
        Ok(())
    }

    fn ids(&self) -> Result<Vec<CheckpointId>, Broken> {
        let all = self.agent.list_checkpoints(Filter::default())?;
        Ok(all.into_iter().map(|one| one.checkpoint_id).collect())
    }

    /// Has done what is due; an agent that was brought back is on its way again.
    fn respond(&mut self) -> Result<DriftResponse, Broken> {
        let held = self.ids()?;
        let response = self.agent.respond()?;
        if response.restored.is_some() {
            self.restores.push(self.clock.now());
            self.lost = None;
            let now = self.ids()?;
            // A restore lets nothing go but what retention would have let go with any commit.
            let gone = held.iter().filter(|id| !now.contains(id)).count();
            ensure(gone <= 2, || format!("a restore took {gone} checkpoints with it"))?;
        }
        Ok(response)
    }

    fn latest(&self, tried: &mut Tried) -> Result<Value, Broken> {
        let latest = self.agent.read_checkpoint("latest")?;
        tried.read(latest.state_bytes().map_or(0, <[u8]>::len));
        Ok(latest.state()?)
    }
}

fn late(
    scenario: &Scenario,
    mut agent: Wanderer,
    (case, checkpoints_max): (Case, u64),
    tried: &mut Tried,
) -> Outcome {
    let healthy = STEPS_MIN + case.draw(1, 60);
    for _ in 0..healthy {
        agent.walk()?;
    }
    agent.get_lost()?;
    let unnoticed = case.draw(2, checkpoints_max + 1) * STEPS_EACH;
    let mut noticed_after = None;
    for step in 0..unnoticed + 200 {
        let observed = agent.walk()?;
        if step < unnoticed || observed.verdict.level != Level::Drifting {
            continue;
        }
        let response = agent.respond()?;
        if let Measure::Restore { .. } | Measure::Halt = response.decision.measure {
            noticed_after = Some((step, response));
            break;
        }
    }
    let (step, response) = noticed_after.ok_or_else(|| Broken::new("drift was never noticed"))?;
    let tale = || format!("lost after {healthy} steps, answered {step} steps later");
    if !scenario.expects(Expectation::BeforeOnset) {
        return Ok(());
    }
    let why = &response.decision.why;
    ensure(response.restored.is_some(), || format!("{}: {why}", tale()))?;
    let chosen = response.choice.and_then(|choice| choice.chosen).map(|one| one.checkpoint_id);
    let is_older = chosen.is_some_and(|id| agent.before.contains(&id));
    ensure(is_older, || format!("{}: {chosen:?} was chosen, which is no older", tale()))?;
    let latest = agent.latest(tried)?;
    let unspoilt = latest["spoilt"] == json!(false);
    ensure(unspoilt, || format!("{}: it was brought back to {latest}", tale()))?;
    let undone = agent.agent.undo(&RestoreOptions::default());
    let undone = undone.map_err(|error| Broken::from(error).after("it cannot be taken back"))?;
    let same = undone.state::<Value>()? == agent.kept;
    ensure(same, || "what was replaced does not come back".to_owned())
}

fn flapping(scenario: &Scenario, mut agent: Wanderer, case: Case, tried: &mut Tried) -> Outcome {
    for _ in 0..STEPS_MIN + case.draw(1, 60) {
        agent.walk()?;
    }
    let mut asked = false;
    let mut stays_well = 0;
    for step in 0..1200 {
        if agent.lost.is_none() && stays_well == 0 {
            agent.get_lost()?;
            stays_well = case.draw(step, 10);
        } else if agent.lost.is_none() {
            stays_well -= 1;
        }
        if agent.walk()?.verdict.level != Level::Drifting {
            continue;
        }
        if agent.respond()?.decision.measure == Measure::Halt {
            asked = agent.agent.halted().is_some();
            break;
        }
    }
    if !scenario.expects(Expectation::FlappingIsBounded) {
        return Ok(());
    }
    let most = agent.options.restores.per_hour_agent;
    let of_an_hour = |at: &Timestamp| {
        let since = |one: &&Timestamp| **one >= *at && one.since(*at) < HOUR;
        agent.restores.iter().filter(since).count() as u64
    };
    let busiest = agent.restores.iter().map(of_an_hour).max().unwrap_or(0);
    ensure(busiest <= most, || format!("{busiest} restores within an hour, {most} are allowed"))?;
    let restores = agent.restores.len();
    ensure(asked, || format!("{restores} restores, and nobody was asked"))?;
    ensure(restores > 0, || "it was never restored".to_owned())?;
    agent.latest(tried).map(drop)
}
