//! Homecoming: what is said and made while away comes home, once, whatever interrupts it.

use rustix::io::Errno;
use serde_json::json;
use stateward::Outcome;
use stateward::disk::{Disk, Fault, FaultDisk, Loss, MemoryDisk, Op};
use stateward::error::ErrorKind;
use stateward::state::{Durable, Kind, Receipt};
use stateward::{CheckpointManager, Options, Standing};

use crate::fallback::{FALLBACK, PRIMARY, SECOND, World, check_home, commit, listed, n_of};

fn break_primary(world: &World) {
    world.fault.inject(Fault::new(Errno::ROFS).on(Op::Write).at("/p/"));
}

fn hide_primary(world: &World) {
    world.fault.inject(Fault::new(Errno::ACCESS).at("/p/"));
}

/// A store at home with three checkpoints, whose fallback knows it.
fn at_home(world: &World) -> Vec<(u64, Receipt)> {
    let manager = world.open();
    let mut made: Vec<_> = (1..=2).map(|n| (n, commit(&manager, n))).collect();
    break_primary(world);
    made.push((3, commit(&manager, 3)));
    world.fault.heal();
    world.settle(&manager);
    made
}

#[test]
fn a_second_time_away_takes_nothing_back() {
    let world = World::new();
    let mut made = at_home(&world);
    for round in 1..=3 {
        let manager = world.open();
        break_primary(&world);
        made.push((3 + round, commit(&manager, 3 + round)));
        world.fault.heal();
        world.settle(&manager);
        check_home(&manager, &made);
    }
}

#[test]
fn an_operation_that_ends_while_away_has_ended() {
    let world = World::new();
    at_home(&world);
    let manager = world.open();
    let agent = manager.agent("a").unwrap();
    let operation = agent.begin_operation("deploy").unwrap();
    break_primary(&world);
    operation.complete().unwrap();
    let standing = |manager: &CheckpointManager| {
        let all = manager.agent("a").unwrap().operations().unwrap();
        assert_eq!(all.len(), 1);
        all[0].status
    };
    assert_eq!(standing(&manager), Standing::Completed, "the word counts at once");
    world.fault.heal();
    drop((manager, agent));
    let manager = world.open();
    assert_eq!(standing(&manager), Standing::Completed);
    drop(manager);
    world.disk.remove(FALLBACK.as_ref());
    assert_eq!(standing(&world.open()), Standing::Completed, "and is known at home");
}

#[test]
fn a_fresh_start_and_a_forget_while_away_come_home() {
    for hidden in [false, true] {
        let world = World::new();
        at_home(&world);
        let manager = if hidden {
            hide_primary(&world);
            world.open()
        } else {
            let manager = world.open();
            break_primary(&world);
            manager
        };
        let agent = manager.agent("a").unwrap();
        let gone = commit(&manager, 4);
        agent.reset().unwrap();
        assert!(agent.read_checkpoint("latest").is_err(), "hidden: {hidden}");
        let after = commit(&manager, 5);
        let id = gone.checkpoint.checkpoint_id.to_string();
        agent.forget(&[&id], false).unwrap();
        world.fault.heal();
        world.settle(&manager);
        drop((manager, agent));
        let manager = world.open();
        let ids: Vec<_> = listed(&manager).iter().map(|one| one.checkpoint_id).collect();
        assert_eq!(ids.len(), 4);
        assert_eq!(ids.last(), Some(&after.checkpoint.checkpoint_id));
        assert!(!ids.contains(&gone.checkpoint.checkpoint_id));
        assert_eq!(n_of(&manager, "latest"), 5);
        let agent = manager.agent("a").unwrap();
        agent.forget(&[&after.checkpoint.checkpoint_id.to_string()], false).unwrap();
        assert!(agent.read_checkpoint("latest").is_err(), "older ones are from before");
    }
}

#[test]
fn what_is_closed_while_away_is_not_older_at_home() {
    let world = World::new();
    at_home(&world);
    let manager = world.open();
    world.clock.advance(std::time::Duration::from_hours(20 * 24));
    let agent = manager.agent("a").unwrap();
    let operation = agent.begin_operation("deploy").unwrap();
    drop(operation.detach());
    let recovery = json!({"n": 7});
    break_primary(&world);
    let recovery = agent.create_checkpoint(Kind::Recovery, &recovery).unwrap();
    agent.close_operation("deploy", Outcome::Failed, "no").unwrap();
    world.fault.heal();
    world.settle(&manager);
    let ids: Vec<_> = listed(&manager).iter().map(|one| one.checkpoint_id).collect();
    assert!(ids.contains(&recovery.checkpoint.checkpoint_id));
    assert_eq!(agent.operations().unwrap().len(), 1, "kept like a recovery one");
    drop((manager, agent));
    hide_primary(&world);
    let manager = world.open();
    let agent = manager.agent("a").unwrap();
    let away = agent.create_checkpoint(Kind::Recovery, &json!({"n": 8})).unwrap();
    world.fault.heal();
    world.settle(&manager);
    let ids: Vec<_> = listed(&manager).iter().map(|one| one.checkpoint_id).collect();
    assert!(ids.contains(&away.checkpoint.checkpoint_id), "made a moment ago");
}

#[test]
fn a_path_from_the_fallback_is_found_with_the_fallback_alone() {
    let world = World::new();
    let made = at_home(&world);
    let away = &made[2].1.checkpoint;
    assert!(away.path.starts_with(FALLBACK));
    for look in [true, false] {
        let options = Options { fallbacks: Vec::new(), path: FALLBACK.into(), ..world.options() };
        let manager = if look {
            CheckpointManager::open_to_look(options).unwrap()
        } else {
            CheckpointManager::open(options).unwrap()
        };
        assert_eq!(n_of(&manager, away.path.to_str().unwrap()), 3);
        assert_eq!(n_of(&manager, &away.checkpoint_id.to_string()), 3);
        let found = manager.agent("a").unwrap().show(away.path.to_str().unwrap()).unwrap();
        assert!(found.path.starts_with(PRIMARY) && found.durable == Durable::Local);
    }
}

#[test]
fn a_fallback_of_another_home_is_named_and_left_alone() {
    let world = World::new();
    at_home(&world);
    let other = Options { path: "/q/store".into(), ..world.options() };
    let manager = CheckpointManager::open(other.clone()).unwrap();
    world.fault.inject(Fault::new(Errno::ROFS).on(Op::Write).at("/q/"));
    let error =
        manager.agent("a").unwrap().create_checkpoint(Kind::Routine, &json!({})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unstored);
    assert!(
        error.attempts().iter().any(|one| {
            one.target.starts_with(FALLBACK)
                && one.error.as_ref().unwrap().contains("its home is /p/store")
        }),
        "{error}"
    );
}

#[test]
fn several_fallbacks_in_order_and_every_attempt_listed() {
    let world = World::new();
    let options = world.options().fallback(SECOND);
    let manager = CheckpointManager::open(options.clone()).unwrap();
    let mut made = vec![(1, commit(&manager, 1))];
    break_primary(&world);
    made.push((2, commit(&manager, 2)));
    world.fault.inject(Fault::new(Errno::NOSPC).on(Op::Write).at("/f/"));
    made.push((3, commit(&manager, 3)));
    let third = &made[2].1;
    assert!(third.checkpoint.path.starts_with(SECOND));
    let named: Vec<_> = third.attempts.iter().map(|one| one.target.to_str().unwrap()).collect();
    assert_eq!(named.first(), Some(&PRIMARY));
    assert_eq!(named.last(), Some(&SECOND));
    assert!(named.contains(&FALLBACK));
    world.fault.inject(Fault::new(Errno::DQUOT).on(Op::Write).at("/g/"));
    let agent = manager.agent("a").unwrap();
    let error = agent.create_checkpoint(Kind::Routine, &json!({"n": 0})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unstored);
    let named: Vec<_> = error.attempts().iter().map(|one| one.target.to_str().unwrap()).collect();
    assert_eq!(named[..3], [PRIMARY, FALLBACK, SECOND]);
    assert!(error.attempts().iter().all(|one| one.error.is_some()));
    world.fault.heal();
    world.settle(&manager);
    made.push((4, commit(&manager, 4)));
    check_home(&manager, &made);
}

#[test]
fn a_locked_fallback_is_skipped_and_named() {
    let world = World::new();
    let manager = CheckpointManager::open(world.options().fallback(SECOND)).unwrap();
    world.fault.create_dir(FALLBACK.as_ref()).unwrap();
    let lock = world.fault.try_lock(format!("{FALLBACK}/lock").as_ref()).unwrap().unwrap();
    break_primary(&world);
    let before = stateward::clock::Clock::monotonic(&*world.clock);
    let receipt = commit(&manager, 1);
    let waited = stateward::clock::Clock::monotonic(&*world.clock) - before;
    assert!(receipt.checkpoint.path.starts_with(SECOND));
    let named = receipt.attempts.iter().find(|one| one.target.starts_with(FALLBACK)).unwrap();
    assert!(named.error.as_ref().unwrap().contains("is held by"), "{named:?}");
    assert!(waited.as_millis() == 0, "it is not waited for: {waited:?}");
    drop(lock);
}

#[test]
fn passing_errors_are_tried_again_within_bounds_and_others_at_once() {
    use stateward::clock::Clock;
    // A full disk is tried once more, when room was made.
    for (errno, attempts) in [
        (Errno::BUSY, 5),
        (Errno::AGAIN, 5),
        (Errno::NOSPC, 3),
        (Errno::ROFS, 1),
        (Errno::ACCESS, 1),
    ] {
        let world = World::new();
        let manager = world.open();
        commit(&manager, 1);
        world.fault.inject(Fault::new(errno).on(Op::Sync).at("/p/store/log/00"));
        world.fault.inject(Fault::new(errno).on(Op::Write).at("/p/store/log/.tmp"));
        world.fault.reset();
        let before = world.clock.monotonic();
        let receipt = commit(&manager, 2);
        let waited = world.clock.monotonic() - before;
        assert_eq!(receipt.checkpoint.durable, Durable::Fallback);
        let calls = world.fault.calls();
        let tried = calls.iter().filter(|call| {
            let path = call.path.to_string_lossy();
            (call.op == Op::Sync && path.starts_with("/p/store/log/00"))
                || (call.op == Op::Write && path.starts_with("/p/store/log/.tmp"))
        });
        let tried = tried.count();
        assert_eq!(tried, attempts, "{errno:?}");
        assert_eq!(waited.is_zero(), attempts < 5, "{errno:?} {waited:?}");
        assert!(waited.as_millis() < 1500, "{waited:?}");
        // The next one does not wait again.
        let before = world.clock.monotonic();
        commit(&manager, 3);
        assert_eq!(world.clock.monotonic(), before);
    }
}

#[test]
fn one_number_under_two_ids_keeps_both() {
    let world = World::new();
    at_home(&world);
    let manager = world.open();
    break_primary(&world);
    let away = commit(&manager, 4);
    drop(manager);
    // The primary comes back for a process that knows of no fallback.
    world.fault.heal();
    let alone = Options { fallbacks: Vec::new(), ..world.options() };
    let manager = CheckpointManager::open(alone).unwrap();
    let home = commit(&manager, 5);
    assert_eq!(home.checkpoint.seq, away.checkpoint.seq);
    drop(manager);
    let manager = world.open();
    let all = listed(&manager);
    let seq = |receipt: &Receipt| {
        let id = receipt.checkpoint.checkpoint_id;
        all.iter().find(|one| one.checkpoint_id == id).unwrap().seq
    };
    assert_eq!((seq(&home).0, seq(&away).0), (4, 5));
    let log = manager.log(None).unwrap();
    let diverged: Vec<_> = log.iter().filter(|entry| entry.entry == "diverged").collect();
    assert_eq!(diverged.len(), 1);
    world.settle(&manager);
    assert_eq!(listed(&manager).len(), 5);
}

#[test]
fn a_homecoming_stopped_at_any_call_loses_nothing_and_doubles_nothing() {
    let world = World::new();
    let mut made = at_home(&world);
    hide_primary(&world);
    let manager = world.open();
    made.extend((4..=6).map(|n| (n, commit(&manager, n))));
    let agent = manager.agent("a").unwrap();
    agent.begin_operation("x").unwrap().complete().unwrap();
    drop((manager, agent));
    let image = world.disk.image();
    let open = |disk: &MemoryDisk| {
        let fault = FaultDisk::over(disk);
        let world = World { fault: fault.clone(), ..World::over(disk.clone()) };
        (fault, world.options())
    };
    let count = {
        let (fault, options) = open(&MemoryDisk::from_image(&image));
        drop(CheckpointManager::open(options).unwrap());
        fault.total()
    };
    let check = |disk: &MemoryDisk, what: &str| {
        let (_, options) = open(disk);
        let manager = CheckpointManager::open(options).unwrap_or_else(|e| panic!("{what}: {e}"));
        let all = listed(&manager);
        assert_eq!(all.len(), made.len() + 1, "{what}");
        for (one, (n, receipt)) in all.iter().zip(&made) {
            assert_eq!(one.checkpoint_id, receipt.checkpoint.checkpoint_id, "{what}");
            assert_eq!(n_of(&manager, &one.checkpoint_id.to_string()), *n, "{what}");
            assert_eq!(one.durable, Durable::Local, "{what}");
        }
        let operations = manager.agent("a").unwrap().operations().unwrap();
        assert_eq!(operations[0].status, Standing::Completed, "{what}");
    };
    for at in 0..count {
        let disk = MemoryDisk::from_image(&image);
        let (fault, options) = open(&disk);
        fault.stop_at(at);
        drop(CheckpointManager::open(options));
        for loss in [Loss::All, Loss::None, Loss::Random(at), Loss::Ordered(at)] {
            check(&disk.crash(loss), &format!("stopped at {at} of {count}, {loss:?}"));
        }
    }
}
