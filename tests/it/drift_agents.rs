//! Whole agents: those that drift are found, and brought back where that is asked for; those that are
//! only busy are left alone. All with the default retention.

use std::time::Duration;

use serde_json::{Value, json};
use stateward::drift::policy::{Policy, Response};
use stateward::{DriftOptions, Kind, Level, Measure, Observation, Occasion, Sighting, Signal};

use crate::drift_world::{Life, World, latency, state, work};

/// Turns before anything goes wrong.
const HEALTHY: u64 = 240;

fn live(life: &mut Life<'_>, turns: std::ops::Range<u64>) {
    for n in turns {
        let (told, state) = work(n);
        life.turn(told, &state);
    }
}

/// Found by this signal, and gone back from to a state of before it began; once.
fn check_brought_back(life: &Life<'_>, signal: Signal, began: u64) {
    assert_eq!(life.responses.len(), 1, "one cause, one response: {:#?}", life.responses);
    let response = &life.responses[0];
    let found = response.verdict.findings.iter().find(|it| it.signal == signal);
    let found = found.unwrap_or_else(|| panic!("{signal} is not in {:#?}", response.verdict));
    let choice = response.choice.as_ref().unwrap();
    let chosen = choice.chosen.as_ref().unwrap();
    assert!(chosen.observation.unwrap() < found.onset, "{chosen:?}, onset {}", found.onset);
    assert!(!chosen.tainted && chosen.kind != Kind::Recovery);
    let back = life.state("latest");
    assert!(back["n"].as_u64().unwrap() <= began, "it went back to {}", back["n"]);
    assert_eq!(back["goal"], "finish");
    assert!(response.restored.as_ref().unwrap().recovery_checkpoint_id.is_some());
}

fn check_found(life: &Life<'_>, signal: Signal) {
    assert_eq!(life.responses.len(), 1, "{:#?}", life.responses);
    let response = &life.responses[0];
    assert_eq!(response.decision.measure, Measure::Checkpoint, "{response:#?}");
    assert!(response.verdict.findings.iter().any(|it| it.signal == signal), "{response:#?}");
    assert!(response.recovery_checkpoint_id.is_some());
    assert_eq!(life.told("drift_answered").len(), 1);
}

fn check_left_alone(life: &Life<'_>) {
    assert!(life.responses.is_empty(), "{:#?}", life.responses);
    assert_eq!(life.agent.detect_drift().unwrap().level, Level::Ok);
}

#[test]
fn one_that_loops_is_brought_back() {
    let world = World::going_back();
    let mut life = world.life("looping");
    live(&mut life, 0..HEALTHY);
    for _ in 0..14 {
        let told = Observation::action("read", "the same file").ok(true).result("the same");
        life.turn(told, &state(HEALTHY));
        if !life.responses.is_empty() {
            break;
        }
    }
    check_brought_back(&life, Signal::Repetition, HEALTHY);
    live(&mut life, HEALTHY..HEALTHY + 40);
    assert_eq!(life.responses.len(), 1, "once it works again it is left alone");
}

#[test]
fn by_default_a_loop_is_kept_as_evidence_and_not_gone_back_from() {
    let world = World::new();
    let mut life = world.life("looping");
    live(&mut life, 0..HEALTHY);
    for _ in 0..30 {
        let told = Observation::action("read", "the same file").ok(true).result("the same");
        life.turn(told, &state(HEALTHY));
    }
    check_found(&life, Signal::Repetition);
    assert_eq!(life.told("drift_found").len(), 2, "suspect, then drifting");
}

#[test]
fn one_that_breaks_a_rule_of_its_state_is_brought_back_by_default() {
    let mut world = World::new();
    world.drift.invariants =
        vec![serde_json::from_value(json!({"pointer": "/goal", "required": true})).unwrap()];
    let mut life = world.life("corrupting");
    live(&mut life, 0..HEALTHY);
    let (told, _) = work(HEALTHY);
    life.turn(told, &json!({"n": HEALTHY, "error": "out of memory"}));
    check_brought_back(&life, Signal::Invariant, HEALTHY);
    let good = life.state("good");
    assert_eq!(good["goal"], "finish");
}

#[test]
fn one_that_loses_keys_is_found_and_brought_back() {
    let world = World::going_back();
    let mut life = world.life("losing");
    live(&mut life, 0..HEALTHY);
    for n in HEALTHY..HEALTHY + 8 {
        let (told, mut state) = work(n);
        state.as_object_mut().unwrap().remove("plan");
        life.turn(told, &state);
        if !life.responses.is_empty() {
            break;
        }
    }
    check_brought_back(&life, Signal::Shrinkage, HEALTHY);
    assert_eq!(life.state("latest")["plan"], json!(["a", "b"]));
}

#[test]
fn one_that_slows_down_is_suspect_and_by_default_left_running() {
    let world = World::new();
    let mut life = world.life("slow");
    live(&mut life, 0..HEALTHY);
    for n in HEALTHY..HEALTHY + 60 {
        let told = Observation::action("edit", n).ok(true).metric("latency_s", 3.0 * latency(n));
        life.turn(told, &state(n));
    }
    assert!(life.responses.is_empty(), "{:#?}", life.responses);
    let verdict = life.agent.detect_drift().unwrap();
    assert_eq!(verdict.level, Level::Suspect);
    let slow = verdict.findings.iter().find(|it| it.subject == "latency_s").unwrap();
    let began = slow.onset / 2;
    assert!(began.abs_diff(HEALTHY) <= 10, "dated to turn {began}");
    let good = life.agent.read_checkpoint("good").unwrap();
    let good = good.checkpoint();
    assert!(good.observation.unwrap() < slow.onset, "good is older than what is suspected");
}

#[test]
fn where_it_is_asked_for_a_slow_one_goes_back_too() {
    let world = World::going_back();
    let mut life = world.life("slow");
    live(&mut life, 0..HEALTHY);
    for n in HEALTHY..HEALTHY + 60 {
        let told = Observation::action("edit", n).ok(true).metric("latency_s", 3.0 * latency(n));
        life.turn(told, &state(n));
        if !life.responses.is_empty() {
            break;
        }
    }
    check_brought_back(&life, Signal::Metric, HEALTHY);
}

#[test]
fn one_that_fails_more_and_more_is_found() {
    let world = World::new();
    let mut life = world.life("failing");
    live(&mut life, 0..HEALTHY);
    for n in HEALTHY..HEALTHY + 20 {
        // Nothing comes of it.
        life.turn(Observation::action("call", n).ok(false).result("no answer"), &state(HEALTHY));
    }
    check_found(&life, Signal::ErrorStreak);
}

#[test]
fn one_that_forgets_after_a_compaction_is_found() {
    let world = World::new();
    let mut life = world.life("forgetful");
    live(&mut life, 0..HEALTHY);
    life.hear(Observation::event(Occasion::Compaction));
    for n in 0..60 {
        let (told, _) = work(HEALTHY - 60 + n);
        life.turn(told, &state(HEALTHY + n));
    }
    check_found(&life, Signal::Redo);
}

#[test]
fn one_that_spends_too_much_is_found() {
    let mut world = World::new();
    world.drift.budgets =
        vec![serde_json::from_value(json!({"metric": "cost", "most": 5.0})).unwrap()];
    let mut life = world.life("spending");
    for n in 0..HEALTHY {
        let (told, state) = work(n);
        life.turn(told.metric("cost", 0.03), &state);
    }
    check_found(&life, Signal::Budget);
}

#[test]
fn one_that_stops_without_a_word_is_found() {
    let world = World::new();
    let mut life = world.life("silent");
    live(&mut life, 0..40);
    for _ in 0..30 {
        life.wait(Duration::from_secs(60));
    }
    check_found(&life, Signal::Silence);
}

#[test]
fn one_that_is_busy_is_left_alone() {
    let world = World::new();
    let mut life = world.life("busy");
    live(&mut life, 0..600);
    check_left_alone(&life);
}

#[test]
fn one_that_edits_and_tests_again_and_again_is_left_alone() {
    let world = World::new();
    let mut life = world.life("test-driven");
    for n in 0..200 {
        life.turn(Observation::action("edit", format!("patch {n}")).ok(true), &state(2 * n));
        let passes = n % 5 == 4;
        let told = Observation::action("test", "cargo test").ok(passes);
        life.turn(told.result(format!("{} failures", (4 * n) % 5)), &state(2 * n + 1));
    }
    check_left_alone(&life);
}

#[test]
fn one_that_waits_for_a_human_over_night_is_left_alone() {
    let world = World::new();
    let mut life = world.life("waiting");
    for day in 0..3 {
        live(&mut life, day * 100..day * 100 + 100);
        life.hear(Observation::event(Occasion::Waiting));
        for _ in 0..40 {
            life.wait(Duration::from_secs(20 * 60));
        }
        life.hear(Observation::event(Occasion::Resumed));
    }
    check_left_alone(&life);
}

#[test]
fn one_that_compacts_its_memory_is_left_alone() {
    let world = World::new();
    let mut life = world.life("compacting");
    for n in 0..400_u64 {
        let (told, mut state) = work(n);
        state["notes"] = json!((n / 60 * 60..n).collect::<Vec<_>>());
        if n.is_multiple_of(60) && n > 0 {
            life.hear(Observation::event(Occasion::Compaction));
        }
        life.turn(told, &state);
    }
    check_left_alone(&life);
}

#[test]
fn what_a_human_edits_meanwhile_is_only_told() {
    let world = World::going_back();
    let mut life = world.life("edited");
    live(&mut life, 0..HEALTHY);
    let seen = life.agent.see(Sighting::Foreign(vec!["src/main.rs".into()])).unwrap();
    assert_eq!((seen.verdict.level, seen.due), (Level::Suspect, false));
    live(&mut life, HEALTHY..HEALTHY + 40);
    check_left_alone(&life);
}

#[test]
fn fifty_agents_whose_provider_is_down_are_told_of_once_and_not_gone_back() {
    let world = World::going_back();
    let manager = world.open();
    let agents: Vec<_> = (0..50).map(|n| manager.agent(&format!("agent-{n}")).unwrap()).collect();
    for n in 0..20_u64 {
        world.clock.advance(Duration::from_secs(5));
        for agent in &agents {
            let (told, state) = work(n);
            agent.create_checkpoint(Kind::Routine, &state).unwrap();
            agent.observe(told).unwrap();
        }
    }
    let mut measures = Vec::new();
    for n in 20..40_u64 {
        world.clock.advance(Duration::from_secs(5));
        for agent in &agents {
            let told = Observation::action("ask", "the model").ok(false).result("503");
            let observed = agent.observe(told.metric("n", latency(n))).unwrap();
            if observed.due {
                measures.push(agent.respond().unwrap().decision.measure);
            }
        }
    }
    assert!(measures.len() <= 2 * 50, "{} responses", measures.len());
    let back = measures.iter().filter(|it| matches!(it, Measure::Restore { .. } | Measure::Halt));
    assert_eq!(back.count(), 0, "a provider that is down is not the agents' drift");
    manager.settle().unwrap();
    let told = manager.log(None).unwrap();
    let shared: Vec<&Value> =
        told.iter().filter(|it| it.entry == "drift_shared").map(|it| &it.detail).collect();
    assert!((1..=2).contains(&shared.len()), "told once for each signal: {shared:#?}");
    let restores = told.iter().filter(|it| it.entry == "restore_begun").count();
    assert_eq!(restores, 0);
}

#[test]
fn a_dry_run_tells_what_would_be_done_and_does_nothing() {
    let mut world = World::new();
    world.drift = DriftOptions { response: Response::Observe, ..DriftOptions::default() };
    world.drift.policies.behaviour = Policy::Halt;
    let mut life = world.life("looping");
    live(&mut life, 0..HEALTHY);
    for _ in 0..20 {
        let told = Observation::action("read", "the same file").ok(true).result("the same");
        life.turn(told, &state(HEALTHY));
    }
    assert!(life.responses.is_empty());
    assert!(life.agent.get_latest_checkpoint(Kind::Recovery).unwrap().is_none());
    let told = life.told("drift_answered");
    assert_eq!(told.len(), 1);
    let why = told[0]["why"].as_str().unwrap();
    assert!(why.contains("drift.response") && why.contains("`halt`"), "{why}");
}
