//! What is seen of an agent is written down with its checkpoints, costs those nothing that are not
//! watched, and is there after a new start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use stateward::disk::{Disk, FaultDisk, MemoryDisk, Op};
use stateward::drift::policy::Policy;
use stateward::{
    CheckpointManager, Detector, Filter, Kind, Level, Observation, Opinion, Options, Sighting,
    VerifyOptions,
};

use crate::drift_world::{World, state, work};

fn syncs(disk: &FaultDisk, work: impl FnOnce()) -> u64 {
    let before = disk.count(Op::Sync) as u64;
    work();
    disk.count(Op::Sync) as u64 - before
}

#[test]
fn a_checkpoint_of_a_watched_agent_still_costs_one_sync_and_one_of_another_nothing_more() {
    let disk = FaultDisk::over(&MemoryDisk::new());
    let world = World::on(disk.clone());
    let manager = world.open();
    let plain = manager.agent("plain").unwrap();
    let watched = manager.agent("watched").unwrap();
    let commit = |agent: &stateward::Agent, n| {
        let receipt = agent.create_checkpoint(Kind::Routine, &state(n)).unwrap();
        (receipt.stored_bytes, receipt.observation)
    };
    commit(&plain, 0);
    for n in 0..200 {
        watched.observe(work(n).0).unwrap();
    }
    commit(&watched, 0);
    watched.observe(work(201).0).unwrap();
    assert_eq!(
        syncs(&disk, || {
            commit(&watched, 1);
        }),
        1
    );
    assert_eq!(
        syncs(&disk, || {
            commit(&plain, 1);
        }),
        1
    );
    let (bytes, observation) = commit(&plain, 2);
    assert_eq!(observation, None);
    let (more, observation) = commit(&watched, 2);
    assert_eq!(observation, Some(204), "201 observations and three states");
    assert!(more > bytes, "what the detectors remember is kept");
    let unseen = watched.checkpoint(Kind::Recovery).commit().unwrap();
    assert!(unseen.stored_bytes < more - 1000, "and kept once while nothing more is seen");
    assert!(more - bytes < 8 << 10, "{} bytes for what is remembered", more - bytes);
}

#[test]
fn after_a_new_start_the_detectors_go_on_and_numbers_never_go_back() {
    let disk = MemoryDisk::new();
    let world = World::on(disk.clone().shared());
    let manager = world.open();
    let agent = manager.agent("a").unwrap();
    for n in 0..40 {
        let (told, state) = work(n);
        agent.observe(told).unwrap();
        agent.create_checkpoint(Kind::Routine, &state).unwrap();
    }
    let written = agent.show("latest").unwrap().observation.unwrap();
    for n in 40..45 {
        agent.observe(work(n).0).unwrap();
    }
    let signals = |agent: &stateward::Agent| {
        let report = agent.drift_report().unwrap();
        report.signals.iter().map(|it| (it.signal, it.feed, it.recent.len())).collect::<Vec<_>>()
    };
    // What was not written down is lost by a kill, and no more.
    let killed = World::on(disk.clone().shared());
    let after =
        CheckpointManager::open(Options { disk: disk.clone().shared(), ..killed.options() });
    assert!(after.is_err(), "the first one holds the store");
    let before = signals(&agent);
    manager.settle().unwrap();
    drop((agent, manager));
    let agent = world.open().agent("a").unwrap();
    let verdict = agent.detect_drift().unwrap();
    assert_eq!(verdict.observation, written + 5);
    assert_eq!(signals(&agent), before);
    let next = agent.observe(Observation::heartbeat()).unwrap();
    assert_eq!(next.verdict.observation, written + 6);
}

#[test]
fn within_a_second_the_housekeeper_writes_down_that_an_agent_was_observed() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let manager = CheckpointManager::open(Options::new(&store)).unwrap();
    let agent = manager.agent("a").unwrap();
    agent.create_checkpoint(Kind::Routine, &state(0)).unwrap();
    for n in 0..7 {
        agent.observe(work(n).0).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let look = CheckpointManager::open_to_look(Options::new(&store)).unwrap();
        let seen = look.agent("a").unwrap().detect_drift().unwrap().observation;
        if seen == 7 {
            break;
        }
        assert!(Instant::now() < deadline, "{seen} of 7 are written down");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_remembered_survives_compaction_and_forgetting() {
    let world = World::new();
    let manager = world.open();
    let agent = manager.agent("a").unwrap();
    for n in 0..30 {
        let (told, state) = work(n);
        agent.observe(told).unwrap();
        agent.create_checkpoint(Kind::Routine, &state).unwrap();
    }
    let kept = agent.show("latest").unwrap();
    agent.observe(work(31).0).unwrap();
    manager.settle().unwrap();
    manager.prune(&mut |_| {}).unwrap();
    drop((agent, manager));
    let manager = world.open();
    let agent = manager.agent("a").unwrap();
    let report = agent.drift_report().unwrap();
    assert_eq!(report.verdict.observation, kept.observation.unwrap() + 1);
    let latency = report.signals.iter().find(|it| it.subject == "latency_s").unwrap();
    assert_eq!(latency.recent.len(), 31);
    agent.restore_checkpoint(&kept.path).unwrap();
    let report = agent.drift_report().unwrap();
    let latency = report.signals.iter().find(|it| it.subject == "latency_s").unwrap();
    assert_eq!(latency.recent.len(), 30, "brought back from what was kept with it");
    let reports = manager.verify(&stateward::VerifyOptions::default(), &mut |_| {}).unwrap();
    assert!(reports.iter().all(|report| report.sound));
}

#[test]
fn whoever_only_looks_sees_how_an_agent_stands_and_changes_nothing() {
    let world = World::new();
    let manager = world.open();
    let agent = manager.agent("a").unwrap();
    for n in 0..5 {
        let (told, state) = work(n);
        agent.observe(told).unwrap();
        agent.create_checkpoint(Kind::Routine, &state).unwrap();
    }
    manager.settle().unwrap();
    let look = CheckpointManager::open_to_look(world.options()).unwrap();
    let looking = look.agent("a").unwrap();
    let report = looking.drift_report().unwrap();
    assert_eq!(report.verdict.observation, 10);
    assert_eq!(report.choice.chosen.unwrap().seq.0, 5);
    assert!(looking.observe(Observation::heartbeat()).is_err());
}

/// Alarms when it is told to, with an onset so many observations ago.
struct Late {
    at: u64,
    lag: u64,
}

impl Detector for Late {
    fn name(&self) -> &'static str {
        "late"
    }

    fn see(&mut self, _: &Sighting, number: u64) -> Option<Opinion> {
        (number == self.at).then(|| Opinion {
            level: Level::Drifting,
            onset: Some(number - self.lag),
            why: "found late".to_owned(),
            numbers: [].into(),
        })
    }

    fn save(&self) -> serde_json::Value {
        json!(null)
    }

    fn bring_back(&mut self, _: &serde_json::Value) {}
}

#[test]
fn a_drift_found_fifty_samples_late_has_a_checkpoint_before_its_onset_at_default_retention() {
    for (turns, lag) in [(30, 50), (60, 50), (200, 50), (333, 50), (200, 100), (25, 20)] {
        let mut world = World::new();
        world.drift.policies.custom = Policy::Restore;
        let mut life = world.life("a");
        // The first state came before anybody watched; then each turn is a state and an observation.
        let at = 2 * turns - 1;
        life.agent.add_detector(Box::new(Late { at, lag }));
        for n in 0..turns {
            let (told, state) = work(n);
            life.turn(told, &state);
        }
        let found = life.responses.first().unwrap_or_else(|| panic!("nothing at {turns}"));
        let choice = found.choice.as_ref().unwrap();
        assert_eq!(choice.onset, at - lag);
        let chosen = choice.chosen.as_ref().unwrap_or_else(|| panic!("{turns}: {choice:#?}"));
        let at = chosen.observation.unwrap_or(0);
        assert!(at < choice.onset);
        assert!(choice.onset - at <= 3 * lag, "{at} is far from {}", choice.onset);
        let held = life.agent.list_checkpoints(Filter::default()).unwrap().len();
        assert!(held < 40, "{held} are kept");
    }
}

#[test]
fn what_was_kept_before_watching_began_can_be_gone_back_to() {
    let mut world = World::new();
    world.drift.policies.custom = Policy::Restore;
    let mut life = world.life("a");
    life.agent.create_checkpoint(Kind::Routine, &state(7)).unwrap();
    life.agent.add_detector(Box::new(Late { at: 3, lag: 2 }));
    for _ in 0..3 {
        life.hear(Observation::heartbeat());
    }
    let choice = life.responses[0].choice.as_ref().unwrap();
    assert_eq!((choice.onset, choice.chosen.as_ref().map(|it| it.seq.0)), (1, Some(1)));
}

#[test]
fn observing_many_agents_is_bounded_and_none_is_forgotten() {
    let world = World::new();
    let manager = world.open();
    for n in 0..1500 {
        let agent = manager.agent(&format!("agent-{n}")).unwrap();
        agent.observe(Observation::heartbeat()).unwrap();
        if n % 100 == 99 {
            manager.settle().unwrap();
        }
    }
    manager.settle().unwrap();
    let shared = Arc::new(manager);
    for n in [0, 700, 1499] {
        let agent = shared.agent(&format!("agent-{n}")).unwrap();
        assert_eq!(agent.observe(Observation::heartbeat()).unwrap().verdict.observation, 2);
    }
}

#[test]
fn damage_that_verify_finds_is_shown_to_whose_it_is_once() {
    let disk = MemoryDisk::new();
    let world = World::on(disk.shared());
    let mut life = world.life("a");
    let other = life.manager.agent("b").unwrap();
    for n in 0..4 {
        let (told, state) = work(n);
        life.turn(told, &json!({"name": format!("number {n}"), "of": state}));
        let (told, state) = work(n);
        other.create_checkpoint(Kind::Routine, &state).unwrap();
        other.observe(told).unwrap();
    }
    life.manager.settle().unwrap();
    let broken = break_text(&disk, b"number 2");
    assert!(broken > 0, "the state is not in the log");
    for _ in 0..3 {
        let reports = life.manager.verify(&VerifyOptions::default(), &mut |_| {}).unwrap();
        assert_eq!(reports[0].damaged_checkpoints.len(), 1, "{reports:#?}");
    }
    let found = life.told("drift_found");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((&found[0]["signal"], &found[0]["agent_id"]), (&json!("integrity"), &json!("a")));
    assert_eq!(other.detect_drift().unwrap().level, Level::Ok);
}

/// Breaks every copy of a text in the log; how many there were.
fn break_text(disk: &MemoryDisk, text: &[u8]) -> usize {
    let mut broken = 0;
    for entry in disk.read_dir("/home/store/log".as_ref()).unwrap() {
        let path = std::path::Path::new("/home/store/log").join(&entry.name);
        let mut bytes = disk.get(&path).unwrap();
        while let Some(at) = bytes.windows(text.len()).position(|it| it == text) {
            bytes[at] ^= 1;
            broken += 1;
        }
        disk.put(&path, &bytes);
    }
    broken
}
