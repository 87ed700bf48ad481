//! A full disk: what is given up first, what is refused, and that nothing is lost.

use serde_json::json;
use stateward::error::ErrorKind;
use stateward::state::{ByteSize, Durable, Kind, Receipt};
use stateward::{CheckpointManager, ForgetRequest, Options};

use crate::fallback::{PRIMARY, World, listed, words};

const CAPACITY: u64 = 12 << 20;

fn options(world: &World, fallback: bool) -> Options {
    let options = Options {
        log: stateward::commit::Options {
            segment_bytes_min: 256 << 10,
            segment_bytes_max: 2 << 20,
            ..stateward::commit::Options::default()
        },
        ..world.options()
    };
    if fallback { options } else { Options { fallbacks: Vec::new(), ..options } }
}

fn fill(manager: &CheckpointManager, made: &mut Vec<Receipt>) -> stateward::Error {
    let agent = manager.agent("a").unwrap();
    loop {
        let n = made.len() as u64;
        let state = json!({"n": n, "text": words(n, 40_000)});
        match agent.create_checkpoint(Kind::Routine, &state) {
            Ok(receipt) => made.push(receipt),
            Err(error) => return error,
        }
        assert!(made.len() < 2000, "the disk never fills");
    }
}

fn check(manager: &CheckpointManager, made: &[Receipt]) {
    let agent = manager.agent("a").unwrap();
    for (n, receipt) in made.iter().enumerate() {
        let id = receipt.checkpoint.checkpoint_id.to_string();
        let state: serde_json::Value = agent.read_checkpoint(&id).unwrap().state().unwrap();
        assert_eq!(state["n"], n);
    }
}

fn reserve(world: &World) -> Option<usize> {
    world.disk.get(format!("{PRIMARY}/reserve").as_ref()).map(|bytes| bytes.len())
}

#[test]
fn a_full_disk_refuses_what_is_new_and_keeps_what_is_there() {
    let world = World::new();
    let manager = CheckpointManager::open(options(&world, false)).unwrap();
    manager.settle().unwrap();
    assert!(reserve(&world).is_some());
    world.disk.set_capacity(Some(CAPACITY));
    let mut made = Vec::new();
    let error = fill(&manager, &mut made);
    assert_eq!(error.kind(), ErrorKind::Unstored, "{error}");
    assert_eq!(error.attempts().len(), 1);
    let full = made.len();
    assert!(full > 100, "{full} fitted");
    // What the reserve left is not for new checkpoints, however small and however often.
    let agent = manager.agent("a").unwrap();
    world.clock.advance(std::time::Duration::from_secs(60));
    manager.settle().ok();
    for _ in 0..50 {
        match agent
            .create_checkpoint(Kind::Routine, &json!({"n": made.len(), "pad": words(1, 4000)}))
        {
            Ok(receipt) => {
                assert!(reserve(&world).is_some_and(|bytes| bytes >= 256 << 10));
                made.push(receipt);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unstored),
        }
        world.clock.advance(std::time::Duration::from_secs(60));
        manager.settle().ok();
    }
    check(&manager, &made);
    // Forgetting works on a full disk and makes room.
    let agent_id = Some(agent.id().clone());
    let request = ForgetRequest { agent: agent_id, keep_last: Some(5), ..ForgetRequest::default() };
    manager.forget(&request).unwrap();
    manager.prune(&mut |_| {}).unwrap();
    world.clock.advance(std::time::Duration::from_secs(60));
    manager.settle().unwrap();
    let kept = listed(&manager).len();
    assert!(kept < 30, "{kept}");
    assert!(reserve(&world).is_some_and(|bytes| bytes >= 256 << 10), "filled again");
    let receipt = agent.create_checkpoint(Kind::Routine, &json!({"n": 1})).unwrap();
    assert!(!receipt.degraded && receipt.checkpoint.durable == Durable::Local, "{receipt:?}");
    drop((manager, agent));
    let manager = CheckpointManager::open(options(&world, false)).unwrap();
    assert_eq!(listed(&manager).len(), kept + 1);
}

#[test]
fn forgetting_one_by_one_on_a_full_disk_never_runs_out_of_room() {
    let world = World::new();
    let mut options = options(&world, false);
    options.retention.routine.keep_last = 10_000;
    options.retention.free_floor = Some(ByteSize(0));
    let manager = CheckpointManager::open(options.clone()).unwrap();
    manager.settle().unwrap();
    world.disk.set_capacity(Some(CAPACITY));
    let mut made = Vec::new();
    let agent = manager.agent("a").unwrap();
    let error = loop {
        let n = made.len() as u64;
        match agent.create_checkpoint(Kind::Routine, &json!({"n": n, "text": words(n, 8_000)})) {
            Ok(receipt) => made.push(receipt.checkpoint.checkpoint_id.to_string()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unstored, "{error}");
    drop((agent, manager));
    // What opens it after the disk was full takes the reserve's room, and each word a batch of it.
    let manager = CheckpointManager::open(options).unwrap();
    let agent = manager.agent("a").unwrap();
    assert!(made.len() > 1000, "{} fitted", made.len());
    let (gone, kept) = made.split_at(made.len() - 200);
    for id in gone {
        agent.forget(&[id.as_str()], false).unwrap();
    }
    manager.prune(&mut |_| {}).unwrap();
    for id in kept {
        agent.read_checkpoint(id).unwrap();
    }
    agent.create_checkpoint(Kind::Routine, &json!({"n": 1})).unwrap();
}

#[test]
fn a_store_opens_and_reads_on_a_full_disk() {
    let world = World::new();
    let manager = CheckpointManager::open(options(&world, false)).unwrap();
    manager.settle().unwrap();
    world.disk.set_capacity(Some(CAPACITY));
    let mut made = Vec::new();
    fill(&manager, &mut made);
    drop(manager);
    let manager = CheckpointManager::open_to_look(options(&world, false)).unwrap();
    check(&manager, &made);
    drop(manager);
    let manager = CheckpointManager::open(options(&world, false)).unwrap();
    check(&manager, &made);
    let agent = manager.agent("a").unwrap();
    let ids: Vec<String> =
        made[..20].iter().map(|one| one.checkpoint.checkpoint_id.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    agent.forget(&ids, false).unwrap();
    check(&manager, &[]);
}

#[test]
fn commits_go_on_for_ever_where_retention_lets_go() {
    let world = World::new();
    let mut options = options(&world, false);
    options.retention.routine.keep_last = 3;
    options.retention.routine.anchors = Vec::new();
    let manager = CheckpointManager::open(options).unwrap();
    manager.settle().unwrap();
    world.disk.set_capacity(Some(CAPACITY));
    let agent = manager.agent("a").unwrap();
    for n in 0..1200 {
        let state = json!({"n": n, "text": words(n, 40_000)});
        let receipt = agent.create_checkpoint(Kind::Routine, &state);
        let receipt = receipt.unwrap_or_else(|error| panic!("commit {n}: {error}"));
        assert!(!receipt.degraded, "{receipt:?}");
    }
    assert_eq!(listed(&manager).len(), 3);
}

#[test]
fn a_full_primary_hands_over_to_the_fallback_and_takes_all_back() {
    let world = World::new();
    let manager = CheckpointManager::open(options(&world, false)).unwrap();
    manager.settle().unwrap();
    drop(manager);
    let manager = CheckpointManager::open(options(&world, true)).unwrap();
    world.fault.inject(
        stateward::disk::Fault::new(rustix::io::Errno::NOSPC)
            .on(stateward::disk::Op::Write)
            .at("/p/store")
            .skipping(60),
    );
    let agent = manager.agent("a").unwrap();
    let mut made = Vec::new();
    for n in 0..80 {
        let state = json!({"n": n, "text": words(n, 40_000)});
        made.push(agent.create_checkpoint(Kind::Routine, &state).unwrap());
    }
    assert!(made[0].checkpoint.durable == Durable::Local);
    assert!(made[79].checkpoint.durable == Durable::Fallback);
    check(&manager, &made);
    world.fault.heal();
    world.settle(&manager);
    let all = listed(&manager);
    assert!(all.iter().all(|one| one.durable == Durable::Local) && all.len() == 80);
    check(&manager, &made);
}
