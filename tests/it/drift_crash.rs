//! Killed at any call while it is brought back, an agent is as it was, or back: with the taints and
//! the word on it, or without any of them.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use stateward::disk::{Durability, FaultDisk, Loss, MemoryDisk, publish};
use stateward::{Agent, CheckpointManager, Error, Kind, Observation};

use crate::drift_world::{World, state, work};
use crate::history::{is_exhaustive, some_of};

const FILE: &str = "/home/state.json";

fn broken() -> Value {
    json!({"n": 99, "error": "no goal any more"})
}

fn world(disk: Arc<dyn stateward::Disk>) -> World {
    let mut world = World::on(disk);
    world.drift.invariants =
        vec![serde_json::from_value(json!({"pointer": "/goal", "required": true})).unwrap()];
    world
}

/// An agent that keeps the state of a file lives well, then breaks its state.
fn until_it_drifts(disk: &MemoryDisk) {
    let world = world(disk.clone().shared());
    let manager = world.open();
    let agent = manager.agent("a").unwrap();
    for n in 0..10 {
        keep(&agent, disk, &state(n)).unwrap();
        agent.observe(work(n).0).unwrap();
    }
    keep(&agent, disk, &broken()).unwrap();
    keep(&agent, disk, &json!({"n": 100})).unwrap();
    manager.settle().unwrap();
}

fn keep(agent: &Agent, disk: &MemoryDisk, state: &Value) -> Result<(), Error> {
    let bytes = state.to_string().into_bytes();
    publish(disk, Path::new(FILE), &bytes, Durability::Synced).unwrap();
    agent.checkpoint(Kind::Routine).state_bytes(bytes).state_file(FILE).commit().map(drop)
}

/// What matters of a response: where the agent is, what is tainted, what was said.
#[derive(Debug, PartialEq)]
struct After {
    latest: u64,
    file: u64,
    tainted: usize,
    restores: usize,
    drifts: bool,
}

fn look(disk: &MemoryDisk) -> After {
    let world = world(disk.clone().shared());
    let manager = world.open();
    let agent = manager.agent("a").unwrap();
    let all = agent.list_checkpoints(stateward::Filter::default()).unwrap();
    let file = stateward::disk::read(disk, Path::new(FILE)).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    let latest: Value = agent.read_checkpoint("latest").unwrap().state().unwrap();
    let told = manager.log(None).unwrap();
    let restored =
        |it: &&stateward::LogEntry| it.entry == "drift_answered" && it.detail["done"] == "restore";
    After {
        latest: latest["n"].as_u64().unwrap(),
        file: file["n"].as_u64().unwrap(),
        tainted: all.iter().filter(|one| one.tainted).count(),
        restores: told.iter().filter(restored).count(),
        drifts: agent.observe(Observation::heartbeat()).unwrap().due,
    }
}

fn respond(disk: Arc<dyn stateward::Disk>) -> Result<(), Error> {
    let world = world(disk);
    let manager = CheckpointManager::open(world.options())?;
    manager.agent("a")?.respond()?;
    manager.settle()
}

#[test]
fn a_response_is_done_with_all_its_words_or_not_at_all() {
    let begun = MemoryDisk::new();
    until_it_drifts(&begun);
    let before = After { latest: 100, file: 100, tainted: 0, restores: 0, drifts: true };
    assert_eq!(look(&begun.crash(Loss::None)), before);
    let whole = FaultDisk::over(&begun.crash(Loss::None));
    respond(whole.clone()).unwrap();
    let calls = whole.total();
    let after = After { latest: 9, file: 9, tainted: 2, restores: 1, drifts: false };
    let mut seen = [0, 0];
    for call in some_of(calls, 120, 3) {
        let disk = begun.crash(Loss::None);
        let fault = FaultDisk::over(&disk);
        fault.stop_at(call);
        let ended = respond(fault);
        for loss in [Loss::All, Loss::None, Loss::Random(call), Loss::Ordered(call)] {
            let found = look(&disk.crash(loss));
            let tale = format!("killed at call {call} of {calls}, {loss:?}, {ended:?}");
            if found == after {
                seen[1] += 1;
            } else {
                assert_eq!(found, before, "{tale}");
                seen[0] += 1;
            }
            if !is_exhaustive() && loss == Loss::None {
                break;
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "both are seen: {seen:?}");
}
