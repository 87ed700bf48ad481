//! Retention: what stays, what goes, and that what goes is gone.

use std::time::Duration;

use serde_json::json;
use stateward::disk::MemoryDisk;
use stateward::state::{Kind, Seq, Span, Timestamp};
use stateward::{CheckpointManager, ForgetRequest, Options, Outcome, Standing};

use crate::fallback::{PRIMARY, World, listed, n_of, words};

fn keep_three(world: &World) -> Options {
    let mut options = Options { fallbacks: Vec::new(), ..world.options() };
    options.retention = stateward::retention::Policy::default();
    options.retention.routine.anchors = Vec::new();
    options.log.segment_bytes_min = 128 << 10;
    options.log.segment_bytes_max = 512 << 10;
    options
}

fn segment_bytes(disk: &MemoryDisk) -> (u64, u64) {
    let image = disk.image();
    let is_segment = |path: &std::path::Path| path.extension().is_some_and(|ext| ext == "log");
    let lens =
        image.iter().filter(|(path, _)| is_segment(path)).map(|(_, bytes)| bytes.len() as u64);
    let lens: Vec<u64> = lens.collect();
    (lens.iter().sum(), lens.iter().copied().max().unwrap_or_default())
}

#[test]
fn the_newest_three_stay_and_the_store_stays_small() {
    for background in [false, true] {
        let world = World::new();
        let options = Options { background, ..keep_three(&world) };
        let manager = CheckpointManager::open(options.clone()).unwrap();
        let agent = manager.agent("a").unwrap();
        for n in 0..3000_u64 {
            let state = json!({"n": n, "text": words(n, 2000)});
            agent.create_checkpoint(Kind::Routine, &state).unwrap();
            if !background && n % 500 == 499 {
                manager.settle().unwrap();
            }
        }
        manager.settle().unwrap();
        let seqs: Vec<u64> = listed(&manager).iter().map(|one| one.seq.0).collect();
        assert_eq!(seqs, [2998, 2999, 3000], "background: {background}");
        assert_eq!(n_of(&manager, "latest"), 2999);
        if background {
            drop((agent, manager));
            drop(CheckpointManager::open(Options { background: false, ..options }).unwrap());
        }
        let (all, largest) = segment_bytes(&world.disk);
        assert!(all <= 3 * 2100 + 3 * largest, "{all} bytes in segments of up to {largest}");
    }
}

#[test]
fn pins_and_operations_are_kept_for_their_reasons() {
    let world = World::new();
    let manager = CheckpointManager::open(keep_three(&world)).unwrap();
    let agent = manager.agent("a").unwrap();
    let commit = |n: u64| agent.create_checkpoint(Kind::Routine, &json!({"n": n})).unwrap();
    let pinned = agent
        .checkpoint(Kind::Routine)
        .state(&json!({"n": 0}))
        .unwrap()
        .label("keep", "yes")
        .commit()
        .unwrap();
    let open = agent.begin_operation("open").unwrap();
    let completed = agent.begin_operation("completed").unwrap();
    let failed = agent.begin_operation("failed").unwrap();
    let ids = [&open, &completed, &failed].map(|one| one.receipt().checkpoint.checkpoint_id);
    drop(open.detach());
    completed.complete().unwrap();
    failed.fail("it broke").unwrap();
    for n in 1..=10 {
        commit(n);
    }
    let held = |id| listed(&manager).iter().any(|one| one.checkpoint_id == id);
    assert!(held(pinned.checkpoint.checkpoint_id), "pinned");
    assert_eq!(ids.map(held), [true, false, true], "open, completed, failed");
    let before = world.disk.image();
    let request = ForgetRequest { keep_last: Some(1), dry_run: true, ..ForgetRequest::default() };
    let report = manager.forget(&request).unwrap().remove(0);
    assert_eq!(world.disk.image(), before, "a dry run changes nothing");
    assert!(report.dry_run && report.forgotten.len() == 2);
    assert!(report.kept.iter().all(|one| !one.reasons.is_empty()));
    assert!(report.forgotten.iter().all(|one| !one.reason.is_empty()));
    let done = manager.forget(&ForgetRequest { dry_run: false, ..request }).unwrap().remove(0);
    assert_eq!(done.forgotten, report.forgotten, "it does what it said");
    agent.close_operation("open", Outcome::Completed, "").unwrap();
    (11..15).for_each(|n| drop(commit(n)));
    assert_eq!(ids.map(held), [false, false, true], "it may go when it is closed");
    // A failed one is kept like a recovery one.
    world.clock.advance(Duration::from_hours(8 * 24));
    commit(15);
    assert_eq!(ids.map(held), [false; 3]);
    assert!(held(pinned.checkpoint.checkpoint_id));
}

#[test]
fn a_clock_that_jumps_deletes_nothing_early() {
    let start = Timestamp::from_unix_ms(1_700_000_000_000);
    let year = Duration::from_hours(24 * 365);
    let back = Timestamp::from_unix_ms(start.unix_ms() - 10 * 365 * 24 * 3_600_000);
    for jump in [start.plus(year * 10), back] {
        let world = World::new();
        let options = keep_three(&world);
        let manager = CheckpointManager::open(options.clone()).unwrap();
        let agent = manager.agent("a").unwrap();
        agent.create_checkpoint(Kind::Recovery, &json!({"n": 0})).unwrap();
        drop(agent.begin_operation("open").unwrap().detach());
        world.clock.jump_to(jump);
        for n in 1..=5 {
            agent.create_checkpoint(Kind::Routine, &json!({"n": n})).unwrap();
        }
        drop((agent, manager));
        // Also between two processes.
        world.clock.jump_to(start.plus(year));
        let manager = CheckpointManager::open(options.clone()).unwrap();
        world.clock.jump_to(jump);
        let agent = manager.agent("a").unwrap();
        agent.create_checkpoint(Kind::Routine, &json!({"n": 6})).unwrap();
        let within = Some(Span::from_days(6));
        let request = ForgetRequest { keep_within: within, ..ForgetRequest::default() };
        manager.forget(&request).unwrap();
        manager.prune(&mut |_| {}).unwrap();
        let all = listed(&manager);
        assert!(all.iter().any(|one| one.kind == Kind::Recovery), "{jump:?}");
        assert_eq!(agent.operations().unwrap()[0].status, Standing::Open);
        assert!(all.iter().any(|one| one.seq == Seq(8)));
        // What has truly aged goes.
        world.clock.advance(Duration::from_hours(8 * 24));
        agent.create_checkpoint(Kind::Routine, &json!({"n": 7})).unwrap();
        assert!(listed(&manager).iter().all(|one| one.kind != Kind::Recovery), "{jump:?}");
    }
}

#[test]
fn a_budget_is_kept_and_what_is_protected_refuses_nothing() {
    let world = World::new();
    let mut options = keep_three(&world);
    options.retention.routine.keep_last = 1000;
    options.retention.disk_budget = Some("600 KB".parse().unwrap());
    let manager = CheckpointManager::open(options).unwrap();
    let agent = manager.agent("a").unwrap();
    for n in 0..120_u64 {
        agent.create_checkpoint(Kind::Routine, &json!({"n": n, "text": words(n, 20_000)})).unwrap();
        manager.settle().unwrap();
    }
    let all = listed(&manager);
    assert!(all.len() < 80 && all.last().unwrap().seq == Seq(120), "{}", all.len());
    assert!(!manager.status().over_budget);
}

/// A secret that neither compression nor hexadecimal digits hide.
fn leaks(
    image: &std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>,
    secret: &str,
) -> Vec<String> {
    let hex: Vec<String> = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let hex = hex.concat();
    let found = image.iter().filter(|(_, bytes)| {
        [secret.as_bytes(), hex.as_bytes()]
            .iter()
            .any(|needle| bytes.windows(needle.len()).any(|part| part == *needle))
    });
    found.map(|(path, _)| path.display().to_string()).collect()
}

#[test]
fn what_is_erased_leaves_no_byte_anywhere() {
    const SECRET: &str = "hunter2-XQJZ-secret";
    for long in [false, true] {
        let world = World::new();
        let options = world.options();
        let manager = CheckpointManager::open(options.clone()).unwrap();
        let agent = manager.agent("a").unwrap();
        let pad = if long { words(9, 100_000) } else { String::new() };
        agent.create_checkpoint(Kind::Routine, &json!({"n": 0, "pad": pad})).unwrap();
        // One copy goes by way of the fallback, one lies behind a failed sync.
        let fault = |part: &str| {
            stateward::disk::Fault::new(rustix::io::Errno::IO)
                .on(stateward::disk::Op::Sync)
                .at(part)
        };
        world.fault.inject(fault("/p/store/log/").times(1));
        let state = json!({"n": 1, "pad": pad, "password": SECRET});
        let leaked = agent
            .checkpoint(Kind::Routine)
            .state(&state)
            .unwrap()
            .comment(SECRET)
            .idempotency_key(SECRET)
            .commit()
            .unwrap();
        world.fault.inject(fault("/p/"));
        let away =
            agent.checkpoint(Kind::Routine).comment(format!("again {SECRET}")).commit().unwrap();
        world.fault.heal();
        world.settle(&manager);
        agent.create_checkpoint(Kind::Routine, &json!({"n": 2, "pad": pad})).unwrap();
        manager.settle().unwrap();
        world.disk.put(format!("{PRIMARY}/quarantine/copy").as_ref(), SECRET.as_bytes());
        assert!(!leaks(&world.disk.image(), SECRET).is_empty());
        let ids = [leaked, away].map(|one| one.checkpoint.checkpoint_id.to_string());
        agent.forget(&[&ids[0], &ids[1]], true).unwrap();
        assert_eq!(leaks(&world.disk.image(), SECRET), Vec::<String>::new(), "long: {long}");
        drop((agent, manager));
        let manager = CheckpointManager::open(options).unwrap();
        let seqs: Vec<u64> = listed(&manager).iter().map(|one| one.seq.0).collect();
        assert_eq!(seqs, [1, 4]);
        assert_eq!(leaks(&world.disk.image(), SECRET), Vec::<String>::new());
    }
}

#[test]
fn erasing_refuses_where_a_copy_would_stay() {
    let world = World::new();
    let manager = world.open();
    let agent = manager.agent("a").unwrap();
    let one = agent.create_checkpoint(Kind::Routine, &json!({"n": 1})).unwrap();
    world.fault.inject(
        stateward::disk::Fault::new(rustix::io::Errno::ROFS)
            .on(stateward::disk::Op::Write)
            .at("/p/"),
    );
    agent.create_checkpoint(Kind::Routine, &json!({"n": 2})).unwrap();
    let id = one.checkpoint.checkpoint_id.to_string();
    let error = agent.forget(&[&id], true).unwrap_err();
    assert_eq!(error.kind(), stateward::error::ErrorKind::Refused, "{error}");
    assert_eq!(n_of(&manager, &id), 1);
}
