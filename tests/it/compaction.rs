//! Compaction: whatever stops it, whoever works beside it, nothing live is lost.

use std::sync::Arc;

use serde_json::{Value, json};
use stateward::disk::{FaultDisk, Loss, MemoryDisk};
use stateward::error::ErrorKind;
use stateward::state::{Kind, Receipt};
use stateward::{CheckpointManager, Filter, Options};

use crate::fallback::{World, words};

fn small(disk: Arc<dyn stateward::disk::Disk>) -> Options {
    let mut options = Options { disk, background: false, ..Options::new("/p/store") };
    options.retention.routine.keep_last = 100_000;
    options.log.segment_bytes_min = 128 << 10;
    options.log.segment_bytes_max = 256 << 10;
    options
}

/// A store of inline and chunked states with a shared beginning, some of them forgotten.
fn filled(disk: &MemoryDisk) -> Vec<(Receipt, Vec<u8>)> {
    let manager = CheckpointManager::open(small(disk.shared())).unwrap();
    let agent = manager.agent("a").unwrap();
    let mut made = Vec::new();
    let mut history = words(1, 40_000);
    for n in 0..18_u64 {
        history.push_str(&words(n + 100, 3000));
        let text = if n.is_multiple_of(2) { history.clone() } else { words(n, 500) };
        let receipt =
            agent.create_checkpoint(Kind::Routine, &json!({"n": n, "text": text})).unwrap();
        made.push((receipt, serde_json::to_vec(&json!({"n": n, "text": text})).unwrap()));
    }
    let kept = made.split_off(6);
    let gone: Vec<String> =
        made.iter().map(|(one, _)| one.checkpoint.checkpoint_id.to_string()).collect();
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    agent.forget(&gone, false).unwrap();
    manager.settle().unwrap();
    kept
}

fn check(disk: &MemoryDisk, kept: &[(Receipt, Vec<u8>)], what: &str) {
    let manager =
        CheckpointManager::open(small(disk.shared())).unwrap_or_else(|e| panic!("{what}: {e}"));
    check_in(&manager, kept, what);
}

fn check_in(manager: &CheckpointManager, kept: &[(Receipt, Vec<u8>)], what: &str) {
    let agent = manager.agent("a").unwrap();
    let listed = agent.list_checkpoints(Filter::default()).unwrap();
    assert_eq!(listed.len(), kept.len(), "{what}");
    for (receipt, state) in kept {
        let id = receipt.checkpoint.checkpoint_id.to_string();
        let back = agent.read_checkpoint(&id).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(back.state_bytes(), Some(&state[..]), "{what}");
    }
}

#[test]
fn stopped_at_any_call_it_loses_nothing() {
    let disk = MemoryDisk::new();
    let kept = filled(&disk);
    let image = disk.image();
    let prune = |fault: &Arc<FaultDisk>| {
        let Ok(manager) = CheckpointManager::open(small(fault.clone())) else { return };
        drop(manager.prune(&mut |_| {}));
    };
    let fault = FaultDisk::over(&MemoryDisk::from_image(&image));
    prune(&fault);
    let count = fault.total();
    for at in 0..count {
        let disk = MemoryDisk::from_image(&image);
        let fault = FaultDisk::over(&disk);
        fault.stop_at(at);
        prune(&fault);
        for loss in
            [Loss::All, Loss::None, Loss::Random(at), Loss::Random(at + 7), Loss::Ordered(at)]
        {
            check(&disk.crash(loss), &kept, &format!("stopped at {at} of {count}, {loss:?}"));
        }
    }
}

#[test]
fn a_second_one_finds_nothing_to_do() {
    let disk = MemoryDisk::new();
    let kept = filled(&disk);
    let manager = CheckpointManager::open(small(disk.shared())).unwrap();
    let first = manager.prune(&mut |_| {}).unwrap();
    assert!(first.after_bytes < first.before_bytes && first.segments_removed > 0);
    let second = manager.prune(&mut |_| {}).unwrap();
    let third = manager.prune(&mut |_| {}).unwrap();
    assert!(second.after_bytes <= first.after_bytes + 1024, "{first:?} {second:?}");
    assert!(third.after_bytes <= second.after_bytes + 64, "{second:?} {third:?}");
    check_in(&manager, &kept, "pruned three times");
}

#[test]
fn commits_forgets_and_other_compactions_go_on_beside_it() {
    let disk = MemoryDisk::new();
    let kept = filled(&disk);
    let options = Options { background: true, ..small(disk.shared()) };
    let manager = CheckpointManager::open(options).unwrap();
    let kept: Vec<_> = std::thread::scope(|scope| {
        let pruners: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..8 {
                        manager.prune(&mut |_| {}).unwrap();
                    }
                })
            })
            .collect();
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let manager = &manager;
                scope.spawn(move || {
                    let agent = manager.agent("a").unwrap();
                    let mut made = Vec::new();
                    let mut text = words(writer, 30_000);
                    for n in 0..40 {
                        text.push_str(&words(n, 700));
                        let state = json!({"n": n, "writer": writer, "text": text});
                        let receipt = agent.create_checkpoint(Kind::Routine, &state).unwrap();
                        let id = receipt.checkpoint.checkpoint_id.to_string();
                        if n.is_multiple_of(3) {
                            agent.forget(&[&id], false).unwrap();
                        } else {
                            let back: Value = agent.read_checkpoint(&id).unwrap().state().unwrap();
                            assert_eq!(back["n"], n);
                            made.push((receipt, serde_json::to_vec(&state).unwrap()));
                        }
                    }
                    made
                })
            })
            .collect();
        for pruner in pruners {
            pruner.join().unwrap();
        }
        let made = writers.into_iter().flat_map(|writer| writer.join().unwrap());
        kept.into_iter().chain(made).collect()
    });
    check_in(&manager, &kept, "while open");
    drop(manager);
    check(&disk, &kept, "reopened");
}

#[test]
fn a_reader_that_is_open_goes_on_reading() {
    let disk = MemoryDisk::new();
    let kept = filled(&disk);
    let writer = CheckpointManager::open(small(disk.shared())).unwrap();
    let reader = CheckpointManager::open_to_look(small(disk.shared())).unwrap();
    check_in(&reader, &kept, "before");
    writer.prune(&mut |_| {}).unwrap();
    check_in(&reader, &kept, "after");
    check_in(&CheckpointManager::open_to_look(small(disk.shared())).unwrap(), &kept, "anew");
}

#[test]
fn a_damaged_record_keeps_its_segment() {
    let disk = MemoryDisk::new();
    let kept = filled(&disk);
    let manager = CheckpointManager::open(small(disk.shared())).unwrap();
    // The text of the last small state stands inline in its record.
    let needle = &kept[11].1[..200];
    let image = disk.image();
    let (path, at) = image
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|ext| ext == "log"))
        .find_map(|(path, bytes)| {
            bytes.windows(needle.len()).position(|part| part == needle).map(|at| (path, at))
        })
        .unwrap();
    assert!(disk.damage(path, |bytes| bytes[at + 100] ^= 1));
    let pruned = manager.prune(&mut |_| {}).unwrap();
    assert!(pruned.segments_removed > 0, "the others go: {pruned:?}");
    assert!(disk.get(path).is_some(), "its segment stays");
    drop(manager);
    let manager = CheckpointManager::open(small(disk.shared())).unwrap();
    check_in_but(&manager, &kept, 11);
}

fn check_in_but(manager: &CheckpointManager, kept: &[(Receipt, Vec<u8>)], damaged: usize) {
    let agent = manager.agent("a").unwrap();
    for (index, (receipt, state)) in kept.iter().enumerate() {
        let back = agent.read_checkpoint(receipt.checkpoint.checkpoint_id.to_string());
        match back {
            Ok(back) => assert_eq!(back.state_bytes(), Some(&state[..])),
            Err(error) => {
                assert_eq!(index, damaged, "{error}");
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::Damaged | ErrorKind::NotFound), "{error}");
            }
        }
    }
}

#[test]
fn a_history_that_grows_costs_no_more_than_its_end() {
    let world = World::new();
    let manager = CheckpointManager::open(Options {
        log: stateward::commit::Options::default(),
        ..small(world.disk.shared())
    })
    .unwrap();
    let agent = manager.agent("a").unwrap();
    let mut messages = Vec::new();
    let mut made = Vec::new();
    for turn in 0..1000_u64 {
        messages.push(json!({"role": "assistant", "content": words(turn, 1000)}));
        let state = json!({"turn": turn, "messages": messages});
        made.push(agent.create_checkpoint(Kind::Routine, &state).unwrap());
    }
    let last = serde_json::to_vec(&json!({"turn": 999, "messages": messages})).unwrap();
    let pruned = manager.prune(&mut |_| {}).unwrap();
    let final_bytes = last.len() as u64;
    println!("after prune {} of {final_bytes} bytes", pruned.after_bytes);
    assert!(pruned.after_bytes <= final_bytes, "{final_bytes}: {pruned:?}");
    for (turn, receipt) in made.iter().enumerate().step_by(37) {
        let state = json!({"turn": turn, "messages": messages[..=turn]});
        let back = agent.read_checkpoint(receipt.checkpoint.checkpoint_id.to_string()).unwrap();
        assert_eq!(back.state_bytes(), Some(&serde_json::to_vec(&state).unwrap()[..]));
    }
}
