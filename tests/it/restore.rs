//! The way back: what is restored, what keeps what was there, and how it is taken back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stateward::clock::ManualClock;
use stateward::disk::MemoryDisk;
use stateward::error::ErrorKind;
use stateward::state::{Kind, Timestamp};
use stateward::{Agent, CheckpointManager, Options, RestoreOptions};

const FILE: &str = "/work/memory.json";

struct Scene {
    disk: MemoryDisk,
    clock: Arc<ManualClock>,
}

impl Scene {
    fn new() -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_unix_ms(1_700_000_000_000));
        Self { disk: MemoryDisk::new(), clock }
    }

    fn open(&self, by_hand: bool) -> Agent {
        let options = Options {
            disk: self.disk.shared(),
            clock: self.clock.clone(),
            background: false,
            by_hand,
            ..Options::new("/store")
        };
        CheckpointManager::open(options).unwrap().agent("a").unwrap()
    }

    fn write(&self, bytes: &[u8]) {
        self.disk.put(FILE.as_ref(), bytes);
    }

    fn file(&self) -> Vec<u8> {
        self.disk.get(FILE.as_ref()).unwrap()
    }

    /// Keeps what the file holds, as `checkpoint --state FILE` does.
    fn keep(&self, agent: &Agent) -> String {
        let request = agent.checkpoint(Kind::Routine).state_bytes(self.file()).state_file(FILE);
        request.commit().unwrap().checkpoint_id.to_string()
    }
}

fn latest(agent: &Agent) -> Value {
    agent.read_checkpoint("latest").unwrap().state().unwrap()
}

#[test]
fn latest_is_what_was_restored_and_undo_brings_back_what_was_before() {
    let scene = Scene::new();
    let agent = scene.open(false);
    let first = agent.create_checkpoint(Kind::Routine, &json!({"n": 1})).unwrap();
    agent.create_checkpoint(Kind::Routine, &json!({"n": 2})).unwrap();
    let restored = agent.restore_checkpoint(&first.path).unwrap();
    assert_eq!(restored.state::<Value>().unwrap(), json!({"n": 1}));
    assert_eq!(latest(&agent), json!({"n": 1}));
    let next = agent.create_checkpoint(Kind::Routine, &json!({"n": 3})).unwrap();
    assert_eq!(next.parent, restored.restored_as);
    agent.undo(&RestoreOptions::default()).unwrap();
    assert_eq!(latest(&agent), json!({"n": 2}));
    let over = agent.undo(&RestoreOptions::default()).unwrap_err();
    assert_eq!(over.kind(), ErrorKind::NotFound);
}

#[test]
fn the_file_goes_back_byte_for_byte_and_what_it_held_is_kept_whatever_it_was() {
    let scene = Scene::new();
    let agent = scene.open(false);
    scene.write(b" {\"n\": 1e400}\n");
    let kept = scene.keep(&agent);
    scene.write(b"torn {\"n\": \xff");
    let restored = agent.restore(&kept, &RestoreOptions::default()).unwrap();
    assert_eq!(scene.file(), b" {\"n\": 1e400}\n");
    assert_eq!(restored.files.written, [std::path::PathBuf::from(FILE)]);
    agent.undo(&RestoreOptions::default()).unwrap();
    assert_eq!(scene.file(), b"torn {\"n\": \xff");
}

#[test]
fn a_dry_run_tells_and_touches_nothing() {
    let scene = Scene::new();
    let agent = scene.open(false);
    scene.write(b"{\"n\":1}");
    let kept = scene.keep(&agent);
    scene.write(b"{\"n\":2}");
    let before = scene.disk.image();
    let told = agent.restore(&kept, &RestoreOptions { dry_run: true, ..Default::default() });
    assert_eq!(told.unwrap().files.written.len(), 1);
    assert_eq!(scene.disk.image(), before);
}

#[test]
fn a_state_that_came_from_no_file_is_put_back_into_none() {
    let scene = Scene::new();
    let agent = scene.open(false);
    scene.write(b"{\"n\":1}");
    scene.keep(&agent);
    let bare = agent.create_checkpoint(Kind::Routine, &json!({"n": 2})).unwrap();
    agent.restore_checkpoint(&bare.path).unwrap();
    assert_eq!(scene.file(), b"{\"n\":1}");
}

#[test]
fn a_restore_by_hand_minds_an_agent_that_was_alive_a_moment_ago() {
    let scene = Scene::new();
    let receipt = {
        let agent = scene.open(false);
        agent.create_checkpoint(Kind::Routine, &json!({"n": 1})).unwrap()
    };
    let hand = scene.open(true);
    let id = receipt.checkpoint_id.to_string();
    let refused = hand.restore(&id, &RestoreOptions::default()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.hint().unwrap().contains("--live"));
    hand.restore(&id, &RestoreOptions { live: true, ..Default::default() }).unwrap();
    scene.clock.advance(Duration::from_secs(60));
    hand.restore(&id, &RestoreOptions::default()).unwrap();
}

#[test]
fn a_fresh_start_keeps_the_evidence_and_chooses_none_of_it() {
    let scene = Scene::new();
    let agent = scene.open(false);
    let old = agent.create_checkpoint(Kind::Routine, &json!({"n": 1})).unwrap();
    agent.reset().unwrap();
    assert_eq!(agent.read_checkpoint("latest").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(agent.read_checkpoint(&old.path).unwrap().state::<Value>().unwrap()["n"], 1);
    let new = agent.create_checkpoint(Kind::Routine, &json!({"n": 2})).unwrap();
    assert_eq!(new.parent, None);
    assert!(new.seq > old.seq);
}
