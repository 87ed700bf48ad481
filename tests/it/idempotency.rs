//! An idempotency key makes one checkpoint and answers it, through a fallback and at home again. For a
//! day after that was forgotten, the key says which it was and makes no other.

use std::time::Duration;

use rustix::io::Errno;
use serde_json::json;
use stateward::disk::{Fault, Op};
use stateward::state::{Durable, Kind, Receipt};
use stateward::{CheckpointManager, Error, Filter};

use crate::cli_home::Home;
use crate::fallback::World;
use crate::server_home::{Place, Reply};
use crate::ward::{CHECKPOINTS, Ward};

fn keyed(manager: &CheckpointManager, key: &str, n: u64) -> Result<Receipt, Error> {
    let agent = manager.agent("a").unwrap();
    let request = agent.checkpoint(Kind::Routine).state(&json!({ "n": n })).unwrap();
    request.idempotency_key(key).commit()
}

#[test]
fn a_key_is_remembered_for_a_day_beyond_its_checkpoint() {
    let world = World::new();
    let mut options = world.options();
    options.retention.routine.keep_last = 1;
    options.retention.routine.anchors.clear();
    let open = || CheckpointManager::open(options.clone()).unwrap();
    let mut manager = open();
    let first = keyed(&manager, "first", 1).unwrap();
    for n in 2..5 {
        keyed(&manager, &format!("other-{n}"), n).unwrap();
    }
    let id = first.checkpoint.checkpoint_id;
    let held = manager.agent("a").unwrap().list_checkpoints(Filter::default()).unwrap();
    assert!(held.iter().all(|one| one.checkpoint_id != id), "it was let go: {held:?}");
    let remembered = |manager: &CheckpointManager| {
        let told = keyed(manager, "first", 1).unwrap_err();
        assert!(matches!(told, Error::NoCheckpoint { .. }), "{told}");
        assert!(told.to_string().contains(&id.to_string()), "which it was: {told}");
    };
    for _ in 0..2 {
        remembered(&manager);
        let reused = keyed(&manager, "first", 9).unwrap_err();
        assert!(matches!(reused, Error::KeyReused { .. }), "{reused}");
        drop(manager);
        manager = open();
    }
    world.clock.advance(Duration::from_secs(23 * 60 * 60));
    remembered(&manager);
    world.clock.advance(Duration::from_secs(2 * 60 * 60));
    manager.settle().unwrap();
    drop(manager);
    let manager = open();
    keyed(&manager, "later", 6).unwrap();
    assert_ne!(
        keyed(&manager, "first", 1).unwrap().checkpoint.checkpoint_id,
        id,
        "its time is over"
    );
}

#[test]
fn a_key_answers_through_a_fallback_and_at_home_again() {
    let world = World::new();
    let manager = world.open();
    let at_home = keyed(&manager, "at-home", 1).unwrap();
    world.fault.inject(Fault::new(Errno::NOSPC).on(Op::Write).at("/p/"));
    let away = keyed(&manager, "away", 2).unwrap();
    assert_eq!(away.checkpoint.durable, Durable::Fallback);
    let answered = |manager: &CheckpointManager| {
        for (key, n, made) in [("at-home", 1, &at_home), ("away", 2, &away)] {
            let again = keyed(manager, key, n).unwrap();
            assert_eq!(again.checkpoint.checkpoint_id, made.checkpoint.checkpoint_id, "{key}");
            assert!(matches!(keyed(manager, key, 9), Err(Error::KeyReused { .. })), "{key}");
        }
    };
    answered(&manager);
    world.fault.heal();
    world.settle(&manager);
    answered(&manager);
    drop(manager);
    let manager = world.open();
    answered(&manager);
    let all = manager.agent("a").unwrap().list_checkpoints(Filter::default()).unwrap();
    assert_eq!(all.len(), 2, "nothing was made twice: {all:?}");
    assert!(all.iter().all(|one| one.durable == Durable::Local), "{all:?}");
}

#[test]
fn a_key_whose_first_request_is_under_way_is_told_to_wait() {
    let home = Home::new();
    let ward = Ward::open(&home);
    let post = |place: &Place| {
        let headers = ["content-type: application/json", "idempotency-key: once"];
        place.ask("POST", CHECKPOINTS, &headers, br#"{"state":{"n":1}}"#)
    };
    let gate = ward.disk.hold(Op::Sync, "/store/");
    let place = ward.place.clone();
    let first = std::thread::spawn(move || post(&place));
    gate.wait_for(1);
    let second = post(&ward.place);
    let detail = second.problem(409, "refused");
    assert!(detail.contains("still under way"), "{detail}");
    assert_eq!(second.header("retry-after"), Some("1"));
    gate.release();
    let first = first.join().unwrap();
    assert_eq!(first.status, 201, "{first}");
    let third = post(&ward.place);
    assert_eq!(third.status, 200, "{third}");
    let id = |reply: &Reply| reply.json()["checkpoint_id"].clone();
    assert_eq!(id(&third), id(&first));
}
