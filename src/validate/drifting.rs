//! An agent that begins to go in circles: it is brought back to before that began, and not for ever.
//!
//! The agent works, is watched by the real detectors, and keeps a checkpoint every few minutes. From a
//! step that the case draws on it does the same again and again, and what it keeps from then on is
//! spoilt. What the detectors say is answered as the policy says, and restores are real ones. Noticed
//! late means that nothing is answered until so many more checkpoints were made.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::life::{clock, options};
use super::scenario::{Expectation, Scenario};
use super::trial::{Broken, Case, Outcome, Trial, Tried, ensure};
use crate::clock::{Clock, ManualClock};
use crate::disk::{FaultDisk, MemoryDisk};
use crate::drift::choice::{Candidate, Taint, choose};
use crate::drift::ledger::{Answer, Ledger};
use crate::drift::policy::Response;
use crate::drift::response::{self, Decision, Measure, decide};
use crate::drift::watch::Watch;
use crate::drift::{Level, Observation, Options as DriftOptions, Sighting};
use crate::manager::{Agent, CheckpointManager, Filter, RestoreOptions};
use crate::retention;
use crate::state::{AgentId, Checkpoint, Kind, Seq, Timestamp};

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
        let agent = Wanderer::new(&disk)?;
        let lived = match plan {
            Plan::Late(checkpoints_max) => late(scenario, agent, (case, checkpoints_max), tried),
            Plan::Flapping => flapping(scenario, agent, case, tried),
        };
        lived.map_err(|broken| broken.on(&disk))
    })
}

/// What is known of a checkpoint beside the store.
struct Known {
    observation: u64,
    watch: Vec<u8>,
}

struct Wanderer {
    clock: std::sync::Arc<ManualClock>,
    agent: Agent,
    watch: Watch,
    ledger: Ledger,
    options: DriftOptions,
    known: BTreeMap<Seq, Known>,
    tainted: Vec<Seq>,
    step: u64,
    /// It goes in circles.
    lost: bool,
    /// The first observation of that.
    lost_since: u64,
    restores: Vec<Timestamp>,
}

impl Wanderer {
    fn new(disk: &MemoryDisk) -> Result<Self, Broken> {
        let clock = clock();
        let mut store = options(FaultDisk::over(disk), clock.clone());
        // The rules that are the default must do.
        store.retention = retention::Policy::default();
        let agent = CheckpointManager::open(store)?.agent("wanderer")?;
        let options = DriftOptions { response: Response::Restore, ..DriftOptions::default() };
        Ok(Self {
            clock,
            agent,
            watch: Watch::new(&options),
            ledger: Ledger::default(),
            options,
            known: BTreeMap::new(),
            tainted: Vec::new(),
            step: 0,
            lost: false,
            lost_since: 0,
            restores: Vec::new(),
        })
    }

    /// Does a step and says so; keeps a checkpoint now and then.
    fn walk(&mut self) -> Result<Level, Broken> {
        self.step += 1;
        self.clock.advance(STEP);
        let (name, mark) = if self.lost { ("retry", 0) } else { ("edit", self.step) };
        let told = Observation::action(name, mark).result(mark).ok(true);
        let level = self.watch.see(&Sighting::Observation(told), self.clock.monotonic());
        if self.step.is_multiple_of(STEPS_EACH) {
            self.keep()?;
        }
        Ok(level)
    }

    fn keep(&mut self) -> Outcome {
        let state = json!({"step": self.step, "spoilt": self.lost});
        let made = self.agent.create_checkpoint(Kind::Routine, &state)?;
        let known = Known { observation: self.watch.number(), watch: self.watch.save() };
        self.known.insert(made.checkpoint.seq, known);
        Ok(())
    }

    fn get_lost(&mut self) {
        self.lost = true;
        self.lost_since = self.watch.number() + 1;
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.now().unix_ms()).unwrap_or(0)
    }

    fn decide(&mut self) -> Result<Decision, Broken> {
        let (agent, verdict) = (self.agent.id().clone(), self.watch.verdict());
        let now_ms = self.now_ms();
        self.ledger.alarm(&agent, &verdict.findings, now_ms);
        let case = response::Case {
            agent: &agent,
            verdict: &verdict,
            terminal: false,
            active_agents: 1,
            now_ms,
        };
        let decision = decide(&case, &self.ledger, &self.options);
        if let Measure::Restore { onset, tried } = decision.measure {
            return self.go_back(agent, &decision, onset, tried);
        }
        self.note(agent, &decision, None);
        Ok(decision)
    }

    fn note(&mut self, agent_id: AgentId, decision: &Decision, restored: Option<Seq>) {
        if let Some(done) = decision.strength() {
            let (at_ms, causes) = (self.now_ms(), decision.causes.clone());
            self.ledger.note(Answer { agent_id, at_ms, causes, done, restored });
        }
    }

    fn candidates(&self) -> Result<Vec<Candidate>, Broken> {
        let candidate = |one: Checkpoint| Candidate {
            seq: one.seq,
            kind: one.kind,
            observation: self.known.get(&one.seq).map(|known| known.observation),
            sound: true,
            taint: match one.drift {
                _ if self.tainted.contains(&one.seq) => Taint::Marked,
                Some(Level::Drifting) => Taint::WhileDrifting,
                _ => Taint::None,
            },
            before_reset: false,
            digest: one.digest,
        };
        Ok(self.agent.list_checkpoints(Filter::default())?.into_iter().map(candidate).collect())
    }

    fn go_back(
        &mut self,
        agent: AgentId,
        decision: &Decision,
        onset: u64,
        tried: Option<Seq>,
    ) -> Result<Decision, Broken> {
        let choice = choose(&self.candidates()?, onset, tried);
        let Some(seq) = choice.chosen else {
            let decision = decision.clone().nowhere_to_go();
            self.note(agent, &decision, None);
            return Ok(decision);
        };
        let all = self.agent.list_checkpoints(Filter::default())?;
        let id = all.iter().find(|one| one.seq == seq).map(|one| one.checkpoint_id.to_string());
        let id = id.ok_or_else(|| Broken::lost(1, format!("{seq} was chosen and is gone")))?;
        self.agent.restore(&id, &RestoreOptions::default())?;
        self.tainted.extend(&choice.taints);
        self.restores.push(self.clock.now());
        self.note(agent, decision, Some(seq));
        let known = &self.known[&seq];
        self.watch.bring_back(&known.watch).map_err(|error| Broken::new(error.to_string()))?;
        // The restore is a checkpoint of what was restored, at the moment it records.
        let restored = self.agent.list_checkpoints(Filter::default())?;
        if let Some(newest) = restored.first() {
            let known = Known { observation: self.watch.number(), watch: known.watch.clone() };
            self.known.insert(newest.seq, known);
        }
        self.lost = false;
        Ok(decision.clone())
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
    let before = agent.agent.list_checkpoints(Filter::default())?.len();
    agent.get_lost();
    let unnoticed = case.draw(2, checkpoints_max + 1) * STEPS_EACH;
    let mut noticed_after = None;
    for step in 0..unnoticed + 200 {
        let level = agent.walk()?;
        if step < unnoticed || level != Level::Drifting {
            continue;
        }
        let decision = agent.decide()?;
        if let Measure::Restore { .. } | Measure::Halt = decision.measure {
            noticed_after = Some((step, decision));
            break;
        }
    }
    let (step, decision) = noticed_after.ok_or_else(|| Broken::new("drift was never noticed"))?;
    let tale = || format!("lost after {healthy} steps, answered {step} steps later");
    if !scenario.expects(Expectation::BeforeOnset) {
        return Ok(());
    }
    let came_back = matches!(decision.measure, Measure::Restore { .. });
    ensure(came_back, || format!("{}: {}", tale(), decision.why))?;
    let latest = agent.latest(tried)?;
    let unspoilt = latest["spoilt"] == json!(false);
    ensure(unspoilt, || format!("{}: it was brought back to {latest}", tale()))?;
    ensure(before > 0, || "nothing was kept before".to_owned())?;
    let undone = agent.agent.undo(&RestoreOptions::default());
    undone.map_err(|error| Broken::from(error).after("it cannot be taken back"))?;
    let spoilt = agent.latest(tried)?["spoilt"] == json!(true);
    ensure(spoilt, || "what was replaced does not come back".to_owned())
}

fn flapping(scenario: &Scenario, mut agent: Wanderer, case: Case, tried: &mut Tried) -> Outcome {
    for _ in 0..STEPS_MIN + case.draw(1, 60) {
        agent.walk()?;
    }
    let mut asked = false;
    let mut stays_well = 0;
    for step in 0..1200 {
        if !agent.lost && stays_well == 0 {
            agent.get_lost();
            stays_well = case.draw(step, 10);
        } else if !agent.lost {
            stays_well -= 1;
        }
        if agent.walk()? != Level::Drifting {
            continue;
        }
        if agent.decide()?.measure == Measure::Halt {
            asked = true;
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
