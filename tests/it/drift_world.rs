//! A store in memory and a clock that is moved by hand, for agents under watch.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use stateward::disk::{Disk, MemoryDisk};
use stateward::drift::policy::Response;
use stateward::{
    Agent, CheckpointManager, Clock, DriftOptions, DriftResponse, Kind, ManualClock, Observation,
    Observed, Options, Timestamp,
};

/// Time between two turns of an agent.
pub const TURN: Duration = Duration::from_secs(5);

pub struct World {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<ManualClock>,
    pub drift: DriftOptions,
}

impl World {
    pub fn new() -> Self {
        Self::on(MemoryDisk::new().shared())
    }

    pub fn on(disk: Arc<dyn Disk>) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_unix_ms(1_700_000_000_000));
        Self { disk, clock, drift: DriftOptions::default() }
    }

    /// Whatever going back can undo is gone back from.
    pub fn going_back() -> Self {
        let drift = DriftOptions { response: Response::Restore, ..DriftOptions::default() };
        Self { drift, ..Self::new() }
    }

    pub fn options(&self) -> Options {
        Options {
            disk: Arc::clone(&self.disk),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            drift: self.drift.clone(),
            background: false,
            ..Options::new("/home/store")
        }
    }

    pub fn open(&self) -> CheckpointManager {
        CheckpointManager::open(self.options()).unwrap()
    }

    pub fn life(&self, agent: &str) -> Life<'_> {
        let manager = self.open();
        let agent = manager.agent(agent).unwrap();
        Life { world: self, manager, agent, responses: Vec::new() }
    }
}

/// An agent's loop: each turn keeps the state, says what was done, and has done what is due.
pub struct Life<'a> {
    pub world: &'a World,
    pub manager: CheckpointManager,
    pub agent: Agent,
    pub responses: Vec<DriftResponse>,
}

impl Life<'_> {
    pub fn turn(&mut self, observation: Observation, state: &Value) -> Observed {
        self.world.clock.advance(TURN);
        self.agent.create_checkpoint(Kind::Routine, state).unwrap();
        self.hear(observation)
    }

    /// A turn that keeps nothing.
    pub fn hear(&mut self, observation: Observation) -> Observed {
        let observed = self.agent.observe(observation).unwrap();
        if observed.due {
            self.responses.push(self.agent.respond().unwrap());
        }
        observed
    }

    /// Nothing is heard for so long.
    pub fn wait(&mut self, time: Duration) -> Observed {
        self.world.clock.advance(time);
        let observed = self.agent.tick().unwrap();
        if observed.due {
            self.responses.push(self.agent.respond().unwrap());
        }
        observed
    }

    pub fn state(&self, reference: &str) -> Value {
        self.agent.read_checkpoint(reference).unwrap().state().unwrap()
    }

    /// What the log tells under this name.
    pub fn told(&self, entry: &str) -> Vec<Value> {
        self.manager.settle().unwrap();
        let told = self.manager.log(None).unwrap().into_iter();
        told.filter(|it| it.entry == entry).map(|it| it.detail).collect()
    }
}

/// A turn of an agent that gets somewhere: an action with an input of its own, a state that grows.
pub fn work(n: u64) -> (Observation, Value) {
    let names = ["read", "edit", "test", "search"];
    let name = names[usize::try_from(n % 4).unwrap()];
    let told = Observation::action(name, format!("input {n}")).ok(true).result(format!("r{n}"));
    (told.metric("latency_s", latency(n)), state(n))
}

pub fn state(n: u64) -> Value {
    let notes: Vec<u64> = (0..n.min(50)).collect();
    serde_json::json!({"n": n, "goal": "finish", "plan": ["a", "b"], "notes": notes})
}

/// Scatters about two seconds.
pub fn latency(n: u64) -> f64 {
    let bits = blake3::hash(&n.to_le_bytes());
    let sum: u32 = bits.as_bytes().iter().take(12).map(|byte| u32::from(*byte)).sum();
    // Twelve evenly spread numbers add up to a nearly normal one.
    2.0 + 0.2 * (f64::from(sum) / 255.0 - 6.0)
}
