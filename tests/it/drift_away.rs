//! A drift that is found, answered and judged while the primary is away is known at home afterwards:
//! the verdict, the taints, which rung was tried, and what the detectors remembered.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::io::Errno;
use serde_json::{Value, json};
use stateward::disk::{Fault, Op};
use stateward::{
    Agent, CheckpointId, CheckpointManager, DriftReport, DriftResponse, Filter, Kind, Level,
    Measure, Observation, Options, Signal, Word,
};

use crate::drift_world::{TURN, work};
use crate::fallback::{FALLBACK, World};

fn options(world: &World) -> Options {
    let mut options = world.options();
    options.drift.invariants =
        vec![serde_json::from_value(json!({"pointer": "/goal", "required": true})).unwrap()];
    options
}

fn open(world: &World) -> CheckpointManager {
    CheckpointManager::open(options(world)).unwrap()
}

/// Turns of an agent that gets somewhere.
fn live(world: &World, agent: &Agent, turns: std::ops::Range<u64>) {
    for n in turns {
        world.clock.advance(TURN);
        let (told, state) = work(n);
        agent.create_checkpoint(Kind::Routine, &state).unwrap();
        let observed = agent.observe(told).unwrap();
        assert!(!observed.due, "turn {n}: {observed:#?}");
    }
}

/// The agent loses its goal; what is done about it.
fn lose_the_goal(world: &World, agent: &Agent, n: u64) -> DriftResponse {
    world.clock.advance(TURN);
    agent.create_checkpoint(Kind::Routine, &json!({"n": n, "error": "no goal"})).unwrap();
    let observed = agent.observe(Observation::heartbeat()).unwrap();
    assert!(observed.due, "{observed:#?}");
    agent.respond().unwrap()
}

fn tainted(agent: &Agent) -> BTreeMap<CheckpointId, bool> {
    let all = agent.list_checkpoints(Filter::default()).unwrap();
    all.into_iter().map(|one| (one.checkpoint_id, one.tainted)).collect()
}

/// The newest samples of the metric that the agent reports.
fn latencies(report: &DriftReport) -> &[f64] {
    let all = report.signals.iter();
    let found = all.filter(|it| it.signal == Signal::Metric).find(|it| it.subject == "latency_s");
    &found.expect("it was reported").recent
}

fn chosen(response: &DriftResponse) -> CheckpointId {
    assert!(matches!(response.decision.measure, Measure::Restore { .. }), "{response:#?}");
    assert!(response.restored.is_some(), "{response:#?}");
    response.choice.as_ref().unwrap().chosen.as_ref().unwrap().checkpoint_id
}

/// Away, the primary can still be read, or nothing of it can be seen.
fn go_away_and_come_home(hidden: bool) {
    let world = World::new();
    let manager = open(&world);
    let agent = manager.agent("a").unwrap();
    live(&world, &agent, 0..10);
    world.settle(&manager);
    let (manager, agent) = if hidden {
        drop((manager, agent));
        world.fault.inject(Fault::new(Errno::ACCESS).at("/p/"));
        let manager = open(&world);
        let agent = manager.agent("a").unwrap();
        (manager, agent)
    } else {
        world.fault.inject(Fault::new(Errno::ROFS).on(Op::Write).at("/p/"));
        (manager, agent)
    };
    live(&world, &agent, 10..20);
    let first = chosen(&lose_the_goal(&world, &agent, 20));
    live(&world, &agent, 21..24);
    let marked = agent.show("latest").unwrap().checkpoint_id;
    agent.mark(&marked.to_string(), Word::Bad, "it deleted the tests").unwrap();
    live(&world, &agent, 24..26);
    let (taints, before) = (tainted(&agent), agent.drift_report().unwrap());
    assert!(taints.values().filter(|it| **it).count() >= 2, "{taints:?}");

    world.fault.heal();
    world.settle(&manager);
    drop((manager, agent));
    world.disk.remove(FALLBACK.as_ref());
    let manager = open(&world);
    let agent = manager.agent("a").unwrap();
    let at_home = tainted(&agent);
    for (id, is_tainted) in &taints {
        assert_eq!(at_home.get(id), Some(is_tainted), "hidden: {hidden}, {id}");
    }
    let after = agent.drift_report().unwrap();
    assert_eq!((after.verdict.level, after.halted.as_ref()), (Level::Ok, None), "{after:#?}");
    assert!(after.verdict.observation >= before.verdict.observation, "numbers never go back");
    assert_eq!(latencies(&after), latencies(&before), "hidden: {hidden}");
    assert_eq!(after.answers.len(), 1, "{:#?}", after.answers);
    let restored = agent.show(&first.to_string()).unwrap();
    assert_eq!(after.answers[0]["restored"], json!(restored.seq), "hidden: {hidden}");
    assert_eq!(agent.read_checkpoint("latest").unwrap().state::<Value>().unwrap()["n"], 25);

    // For the same cause it goes behind what was tried while away.
    world.clock.advance(Duration::from_secs(20 * 60));
    let second = lose_the_goal(&world, &agent, 26);
    let again = agent.show(&chosen(&second).to_string()).unwrap();
    assert!(again.seq < restored.seq && again.digest != restored.digest, "{again:?}");
}

#[test]
fn what_was_done_about_a_drift_while_away_is_known_at_home() {
    go_away_and_come_home(false);
}

#[test]
fn what_was_done_without_sight_of_home_is_known_there_under_its_new_numbers() {
    go_away_and_come_home(true);
}
