//! What is done about a drift keeps its bounds: the way back is sound, nothing is deleted, and an
//! agent that does not get better is stopped and not restored for ever.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::{Value, json};
use stateward::drift::Passed;
use stateward::drift::detector::Command;
use stateward::drift::policy::Policy;
use stateward::{
    CheckpointId, Detector, Directive, ErrorKind, Filter, Kind, Level, Measure, Observation,
    Opinion, Sighting, Signal, Word,
};

use crate::drift_world::{Life, World, state, work};

fn broken(n: u64) -> Value {
    json!({"n": n, "error": "no goal any more"})
}

/// A world where states must have a goal.
fn with_a_rule() -> World {
    let mut world = World::new();
    world.drift.invariants =
        vec![serde_json::from_value(json!({"pointer": "/goal", "required": true})).unwrap()];
    world
}

fn live(life: &mut Life<'_>, turns: std::ops::Range<u64>) {
    for n in turns {
        let (told, state) = work(n);
        life.turn(told, &state);
    }
}

fn ids(life: &Life<'_>) -> Vec<CheckpointId> {
    let all = life.agent.list_checkpoints(Filter::default()).unwrap();
    all.iter().map(|one| one.checkpoint_id).collect()
}

#[test]
fn what_came_after_the_onset_is_tainted_and_stays() {
    let mut world = with_a_rule();
    world.drift.policies.invariant = Policy::Observe;
    let mut life = world.life("a");
    live(&mut life, 0..20);
    life.turn(Observation::heartbeat(), &broken(20));
    life.turn(Observation::heartbeat(), &broken(21));
    let before = ids(&life);
    life.manager.settle().unwrap();
    drop(life);
    world.drift.policies.invariant = Policy::Restore;
    let mut life = world.life("a");
    let told = life.hear(Observation::heartbeat());
    assert_eq!(told.directive, Directive::Restore);
    let response = &life.responses[0];
    let choice = response.choice.as_ref().unwrap();
    assert_eq!(choice.chosen.as_ref().unwrap().observation, Some(39), "made in turn 19");
    let passed: Vec<_> = choice.passed.iter().filter(|it| it.why != Passed::Recovery).collect();
    for passed in &passed {
        let one = life.agent.show(&passed.checkpoint_id.to_string()).unwrap();
        assert!(one.tainted, "{passed:?}");
    }
    assert_eq!(passed.len(), 2);
    let after = ids(&life);
    assert!(before.iter().all(|id| after.contains(id)), "nothing is deleted");
    assert_eq!(life.state("latest"), state(19));
    assert_eq!(life.state("good"), state(19));
    let undone = life.agent.undo(&stateward::RestoreOptions::default()).unwrap();
    assert_eq!(undone.state::<Value>().unwrap(), broken(21), "a response can be taken back");
}

#[test]
fn a_restore_brings_the_detectors_back() {
    let world = World::new();
    let mut life = world.life("a");
    live(&mut life, 0..30);
    let then = life.agent.show("latest").unwrap();
    let same = || Observation::action("read", "the same file").ok(true).result("the same");
    for _ in 0..10 {
        life.hear(same());
    }
    assert_eq!(life.agent.detect_drift().unwrap().level, Level::Suspect);
    let number = life.agent.detect_drift().unwrap().observation;
    life.agent.restore_checkpoint(&then.path).unwrap();
    let verdict = life.agent.detect_drift().unwrap();
    assert_eq!(verdict.level, Level::Ok, "what it did since does not stand against it");
    assert!(verdict.observation > number, "numbers never go back");
    let latest = life.agent.show("latest").unwrap();
    assert_eq!((latest.observation, latest.drift), (Some(verdict.observation), Some(Level::Ok)));
    // The same again after a new start: the checkpoint that finished the restore remembers it.
    life.manager.settle().unwrap();
    drop(life);
    let mut life = world.life("a");
    for _ in 0..7 {
        assert_eq!(life.hear(same()).verdict.level, Level::Ok);
    }
    assert_eq!(life.agent.detect_drift().unwrap().observation, verdict.observation + 7);
}

#[test]
fn where_it_does_not_help_each_restore_goes_further_back_and_then_a_human_is_asked() {
    let world = with_a_rule();
    let mut life = world.life("a");
    live(&mut life, 0..60);
    let mut went_back_to = Vec::new();
    let mut refused = 0;
    for n in 60..2000 {
        let observed = life.turn(Observation::heartbeat(), &broken(n));
        let Some(response) = life.responses.pop() else {
            refused += 1;
            world.clock.advance(Duration::from_secs(60));
            continue;
        };
        let findings = &response.verdict.findings;
        assert!(findings.iter().any(|it| it.signal == Signal::Invariant), "{findings:#?}");
        if response.decision.measure == Measure::Halt {
            assert_eq!(observed.directive, Directive::Stop);
            assert!(response.decision.why.contains("did not help"), "{}", response.decision.why);
            assert!(response.decision.why.contains("stateward drift mark"));
            break;
        }
        went_back_to.push(response.choice.unwrap().chosen.unwrap());
    }
    assert_eq!(went_back_to.len(), 3, "as many as rungs_max");
    assert!(refused >= 3, "between two restores it is left alone");
    assert!(went_back_to.is_sorted_by(|a, b| a.seq > b.seq), "{went_back_to:#?}");
    assert!(went_back_to.is_sorted_by(|a, b| a.digest != b.digest));
    let halted = life.agent.halted().expect("it is halted");
    assert!(halted.contains("nothing was deleted"), "{halted}");
    let refused = life.agent.check_halted().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.hint().unwrap().contains("drift mark REF good"));
    // It stays so over a new start, and however well it goes meanwhile.
    life.manager.settle().unwrap();
    drop(life);
    let mut life = world.life("a");
    let (told, state) = work(2000);
    assert_eq!(life.turn(told, &state).directive, Directive::Stop);
    assert!(life.responses.is_empty(), "it is not answered again");
    life.agent.mark("latest", Word::Good, "looked at it").unwrap();
    assert_eq!(life.agent.halted(), None);
    let (told, state) = work(2001);
    assert_eq!(life.turn(told, &state).directive, Directive::Continue);
    assert_eq!(life.told("drift_released").len(), 1);
}

#[test]
fn a_restore_by_hand_and_a_fresh_start_let_a_halted_agent_go_on() {
    for by_restore in [true, false] {
        let mut world = with_a_rule();
        world.drift.policies.invariant = Policy::Halt;
        let mut life = world.life("a");
        live(&mut life, 0..20);
        life.turn(Observation::heartbeat(), &broken(20));
        assert_eq!(life.responses[0].directive, Directive::Stop);
        assert!(life.agent.halted().is_some());
        if by_restore {
            life.agent.restore_checkpoint("good").unwrap();
            assert_eq!(life.state("latest"), state(19));
        } else {
            life.agent.reset().unwrap();
        }
        assert_eq!(life.agent.halted(), None);
        let (told, state) = work(21);
        assert_eq!(life.turn(told, &state).directive, Directive::Continue);
    }
}

#[test]
fn with_nothing_to_go_back_to_the_agent_is_stopped() {
    let world = with_a_rule();
    let mut life = world.life("a");
    let observed = life.turn(Observation::heartbeat(), &broken(0));
    assert!(observed.due);
    let response = &life.responses[0];
    assert_eq!((&response.decision.measure, response.directive), (&Measure::Halt, Directive::Stop));
    assert!(
        response.decision.why.contains("nothing") || response.decision.why.contains("no sound")
    );
    assert_eq!(response.choice.as_ref().unwrap().chosen, None);
}

#[test]
fn a_human_word_taints_a_checkpoint_and_takes_the_taint_away() {
    let world = World::new();
    let mut life = world.life("a");
    live(&mut life, 0..5);
    life.agent.mark("latest", Word::Bad, "it made that up").unwrap();
    assert_eq!(life.state("latest"), state(3));
    assert_eq!(life.state("good"), state(3));
    let marked = life.agent.list_checkpoints(Filter::default()).unwrap()[0].clone();
    assert!(marked.tainted);
    life.agent.mark(&marked.checkpoint_id.to_string(), Word::Good, "it did not").unwrap();
    assert_eq!(life.state("latest"), state(4));
}

#[test]
fn the_hook_is_told_of_each_response_and_its_failure_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let heard = dir.path().join("heard.json");
    let mut world = with_a_rule();
    let script = format!("cat > {}", heard.display());
    world.drift.hook.command = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let mut life = world.life("a");
    live(&mut life, 0..20);
    life.turn(Observation::heartbeat(), &broken(20));
    assert_eq!(life.responses[0].hook_failed, None);
    let told: Value = serde_json::from_slice(&std::fs::read(&heard).unwrap()).unwrap();
    assert_eq!((told["agent_id"].as_str(), told["done"].as_str()), (Some("a"), Some("restore")));
    assert_eq!(told["directive"], "restore");
    assert!(told["outcome"]["restored_as"].is_string(), "{told:#}");
    drop(life);
    world.drift.hook.command = vec!["/nonexistent/hook".to_owned()];
    let mut life = world.life("b");
    live(&mut life, 0..20);
    life.turn(Observation::heartbeat(), &broken(20));
    assert!(life.responses[0].hook_failed.as_ref().unwrap().contains("/nonexistent/hook"));
    assert_eq!(life.state("latest"), state(19), "it was gone back all the same");
    assert_eq!(life.told("drift_hook_failed").len(), 1);
}

/// Counts observations and alarms at each tenth.
struct Tenth(Arc<Mutex<u64>>);

impl Detector for Tenth {
    fn name(&self) -> &'static str {
        "tenth"
    }

    fn see(&mut self, _: &Sighting, number: u64) -> Option<Opinion> {
        let mut count = self.0.lock();
        *count += 1;
        let level = if count.is_multiple_of(10) { Level::Drifting } else { Level::Ok };
        let why = format!("the {count}th");
        Some(Opinion { level, onset: Some(number), why, numbers: [].into() })
    }

    fn save(&self) -> Value {
        json!(*self.0.lock())
    }

    fn bring_back(&mut self, saved: &Value) {
        *self.0.lock() = saved.as_u64().unwrap();
    }
}

#[test]
fn a_detector_of_ones_own_is_heard_and_remembers_over_restores_and_new_starts() {
    let world = World::new();
    let life = world.life("a");
    let count = Arc::new(Mutex::new(0));
    life.agent.add_detector(Box::new(Tenth(Arc::clone(&count))));
    life.agent.observe(Observation::heartbeat()).unwrap();
    let kept = life.agent.create_checkpoint(Kind::Routine, &state(1)).unwrap();
    for _ in 0..3 {
        life.agent.observe(Observation::heartbeat()).unwrap();
    }
    let counted = *count.lock();
    life.agent.restore_checkpoint(&kept.path).unwrap();
    assert!(*count.lock() < counted, "it is brought back too");
    let counted = *count.lock();
    life.manager.settle().unwrap();
    drop(life);
    let mut life = world.life("a");
    let count = Arc::new(Mutex::new(0));
    life.agent.add_detector(Box::new(Tenth(Arc::clone(&count))));
    assert_eq!(*count.lock(), counted);
    for _ in counted..10 {
        life.hear(Observation::heartbeat());
    }
    assert_eq!(life.responses.len(), 1);
    assert_eq!(life.responses[0].verdict.findings[0].signal, Signal::Custom);
    assert_eq!(life.responses[0].decision.measure, Measure::Checkpoint);
}

#[test]
fn a_detector_that_is_a_command_is_asked_about_the_newest_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let asked = dir.path().join("asked.json");
    let script = format!(
        "cat > {}; echo '{{\"level\": \"suspect\", \"onset\": 3, \"why\": \"the plan is odd\"}}'",
        asked.display()
    );
    let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let mut world = World::new();
    let timeout = stateward::Span::from_ms(20_000);
    world.drift.detectors = vec![Command { name: "plan".to_owned(), command, timeout }];
    let mut life = world.life("a");
    live(&mut life, 0..5);
    let verdict = life.agent.detect_drift().unwrap();
    assert_eq!((verdict.level, verdict.onset), (Level::Suspect, Some(3)));
    assert_eq!(verdict.findings[0].evidence.words, "the plan is odd");
    let question: Value = serde_json::from_slice(&std::fs::read(&asked).unwrap()).unwrap();
    assert_eq!(question["checkpoint"]["seq"], 5);
    assert_eq!(question["state"]["n"], 4);
    std::fs::remove_file(&asked).unwrap();
    life.agent.detect_drift().unwrap();
    assert!(!asked.exists(), "each checkpoint is asked about once");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// However the agent lives: turns that keep and turns that do not, damage to what is kept, words
    /// of a human, fresh starts.
    #[test]
    fn what_is_gone_back_to_is_sound_untainted_and_older_than_the_onset(
        steps in prop::collection::vec((0..10_u8, 1..4_u64), 5..60),
    ) {
        let world = with_a_rule();
        let mut life = world.life("a");
        let mut n = 0;
        for (step, times) in steps {
            match step {
                0 => life.agent.reset().unwrap(),
                1 => {
                    let newest = life.agent.show("latest").map(|it| it.checkpoint_id.to_string());
                    if let Ok(newest) = newest {
                        life.agent.mark(&newest, Word::Bad, "").unwrap();
                    }
                }
                2 => drop(life.turn(Observation::heartbeat(), &broken(n))),
                3 => world.clock.advance(Duration::from_secs(3600)),
                _ => {
                    for _ in 0..times {
                        n += 1;
                        let (told, state) = work(n);
                        if step < 6 { life.hear(told) } else { life.turn(told, &state) };
                    }
                }
            }
            for response in life.responses.drain(..) {
                let Some(choice) = response.choice else { continue };
                let Some(chosen) = choice.chosen else { continue };
                prop_assert!(!chosen.tainted && chosen.kind != Kind::Recovery);
                prop_assert!(chosen.observation.unwrap_or(0) < choice.onset, "{:?}", chosen);
                let back: Value = response.restored.unwrap().state().unwrap();
                prop_assert!(back["goal"] == "finish", "{}", back);
            }
        }
    }
}
