//! What a damaged store owes beyond losing nothing in silence: each rule by itself.

use std::path::{Path, PathBuf};

use stateward::disk::MemoryDisk;
use stateward::error::ErrorKind;
use stateward::state::Kind;
use stateward::{CheckpointManager, Options};

use crate::damage::{Fixture, options};

fn open(disk: &MemoryDisk) -> CheckpointManager {
    CheckpointManager::open(options(disk.shared())).unwrap()
}

fn set_aside(disk: &MemoryDisk) -> Vec<PathBuf> {
    let in_quarantine = |path: &PathBuf| path.starts_with("/store/quarantine");
    disk.image().into_keys().filter(in_quarantine).collect()
}

/// Where the batches of a segment end: behind the last byte before the second header that is not
/// zero.
fn end_of_batches(segment: &[u8]) -> usize {
    let end = segment.len() - 512;
    segment[..end].iter().rposition(|byte| *byte != 0).unwrap() + 1
}

/// Offsets of the batches that a segment holds: where their magic stands, at multiples of 8.
fn batches(segment: &[u8]) -> Vec<usize> {
    let end = end_of_batches(segment);
    (512..end).step_by(8).filter(|at| &segment[*at..*at + 4] == b"STWB").collect()
}

#[test]
fn a_head_that_is_gone_is_noticed_by_its_views_and_gives_no_number_again() {
    let fixture = Fixture::get();
    let disk = fixture.disk();
    disk.remove(&fixture.head());
    let manager = open(&disk);
    let status = manager.status();
    assert!(status.damage.iter().any(|one| one.contains("views are not in the log")), "{status:?}");
    let newest = fixture.newest("a");
    let agent = manager.agent("a").unwrap();
    let lost = agent.read_checkpoint(newest.id.to_string());
    assert_eq!(lost.unwrap_err().kind(), ErrorKind::NotFound);
    // Its view still holds the state.
    let alone = agent.read_checkpoint(&newest.path).unwrap();
    assert_eq!(alone.state_bytes(), Some(&newest.state[..]));
    let receipt = agent.create_checkpoint(Kind::Routine, &serde_json::json!({})).unwrap();
    let kept = fixture.kept.iter().filter(|kept| kept.agent == "a").count() as u64;
    assert!(receipt.checkpoint.seq.0 > kept, "{:?}", receipt.checkpoint.seq);
}

#[test]
fn an_older_copy_of_the_head_is_noticed_and_not_gone_on_with() {
    let fixture = Fixture::get();
    let disk = fixture.disk();
    let older = fixture.older_copy(&fixture.head()).unwrap();
    disk.put(&fixture.head(), &older);
    let manager = open(&disk);
    assert!(!manager.status().damage.is_empty());
    manager.agent("a").unwrap().create_checkpoint(Kind::Routine, &serde_json::json!({})).unwrap();
    drop(manager);
    assert!(disk.get(&fixture.head()).unwrap() == older, "the older copy was written to");
}

#[test]
fn damage_is_copied_aside_once() {
    let fixture = Fixture::get();
    let disk = fixture.disk();
    let head = fixture.head();
    let broken = batches(&fixture.image[&head])[1] + 100;
    disk.damage(&head, |bytes| bytes[broken] ^= 1);
    drop(open(&disk));
    let copies = set_aside(&disk);
    assert_eq!(copies.len(), 1, "{copies:?}");
    let events = |manager: &CheckpointManager| {
        let log = manager.log(None).unwrap();
        log.iter().filter(|entry| entry.entry == "damage_found").count()
    };
    for _ in 0..2 {
        let manager = open(&disk);
        assert!(!manager.status().damage.is_empty(), "it is still damaged");
        assert_eq!(events(&manager), 1);
    }
    assert_eq!(set_aside(&disk), copies);
}

#[test]
fn records_that_verify_alone_outlive_their_batch() {
    let fixture = Fixture::get();
    let head = fixture.head();
    let starts = batches(&fixture.image[&head]);
    // The header of each batch in turn, which every record of it stands behind.
    for at in starts {
        let disk = fixture.disk();
        disk.damage(&head, |bytes| bytes[at + 70] ^= 1);
        for opening in 0..3 {
            let manager = open(&disk);
            for kept in &fixture.kept {
                let agent = manager.agent(kept.agent).unwrap();
                let loaded = agent.read_checkpoint(kept.id.to_string()).unwrap_or_else(|error| {
                    panic!("batch at {at}, opening {opening}: {error}");
                });
                assert_eq!(loaded.state_bytes(), Some(&kept.state[..]));
            }
        }
    }
}

#[test]
fn a_torn_tail_is_cut_where_nothing_proves_it_and_damage_where_a_view_does() {
    let fixture = Fixture::get();
    let head = fixture.head();
    let whole = &fixture.image[&head];
    let starts = batches(whole);
    let (last, mark) = (starts[starts.len() - 2], starts[starts.len() - 1]);
    let newest = fixture.kept.last().unwrap();
    for viewed in [false, true] {
        let disk = fixture.disk();
        disk.damage(&head, |bytes| {
            bytes[last + 90] ^= 1;
            bytes[mark..mark + 96].fill(0);
        });
        if !viewed {
            disk.remove(&newest.path);
        }
        let status = open(&disk).status();
        assert_eq!(status.cut_bytes > 0, !viewed, "{status:?}");
        assert_eq!(status.damage.is_empty(), !viewed, "{status:?}");
        assert_eq!(set_aside(&disk).len(), 1);
    }
}

#[test]
fn a_missing_or_wrong_identity_is_made_again_from_the_log() {
    let fixture = Fixture::get();
    let path = Path::new("/store/store.json");
    let id = open(&fixture.disk()).status().store_id;
    let as_missing: fn(&MemoryDisk, &Path) = |disk, path| {
        disk.remove(path);
    };
    let as_wrong: fn(&MemoryDisk, &Path) = |disk, path| {
        disk.damage(path, |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = text.replace("\"format\": 1", "\"format\": 9").into_bytes();
        });
    };
    for damage in [as_missing, as_wrong] {
        let disk = fixture.disk();
        damage(&disk, path);
        let status = open(&disk).status();
        assert_eq!(status.store_id, id);
        assert!(status.notes.iter().any(|note| note.contains("rebuilt")), "{status:?}");
        assert!(open(&disk).status().notes.is_empty());
    }
}

#[test]
fn a_store_without_a_readable_segment_is_refused_and_left_as_it_is() {
    let fixture = Fixture::get();
    let emptied: fn(&mut Vec<u8>) = Vec::clear;
    let zeroed: fn(&mut Vec<u8>) = |bytes| bytes.fill(0);
    for with_identity in [true, false] {
        for damage in [emptied, zeroed] {
            let disk = fixture.disk();
            for segment in fixture.segments() {
                disk.damage(&segment, damage);
            }
            if !with_identity {
                disk.remove(Path::new("/store/store.json"));
            }
            let mut before = disk.image();
            let error = CheckpointManager::open(options(disk.shared())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
            assert!(CheckpointManager::open_to_look(options(disk.shared())).is_err());
            let mut after = disk.image();
            before.remove(Path::new("/store/lock"));
            after.remove(Path::new("/store/lock"));
            assert!(before == after, "something was changed");
        }
    }
}

#[test]
fn a_lost_first_batch_of_the_head_does_not_lose_the_segments_it_names() {
    let fixture = Fixture::get();
    let disk = fixture.disk();
    let head = fixture.head();
    let starts = batches(&fixture.image[&head]);
    disk.damage(&head, |bytes| bytes[starts[0]..starts[1]].fill(0xff));
    let manager = open(&disk);
    let mut failing = 0;
    for kept in &fixture.kept {
        let agent = manager.agent(kept.agent).unwrap();
        match agent.read_checkpoint(kept.id.to_string()) {
            Ok(loaded) => assert_eq!(loaded.state_bytes(), Some(&kept.state[..])),
            Err(_) => failing += 1,
        }
    }
    assert!(failing <= 3, "{failing} of {}", fixture.kept.len());
    assert!(!manager.status().damage.is_empty());
}

#[test]
fn many_live_segments_fit_the_first_batch_after_a_crash() {
    let disk = MemoryDisk::plain();
    let state = serde_json::json!({"pad": "x".repeat(3000)});
    let with_many = || {
        let mut options = options(disk.shared());
        options.log.segment_bytes_max = 8 << 10;
        Options { ..options }
    };
    let mut made = 0;
    let manager = CheckpointManager::open(with_many()).unwrap();
    let agent = manager.agent("a").unwrap();
    for n in 0..200 {
        let state = serde_json::json!({"n": n, "state": state});
        agent.create_checkpoint(Kind::Routine, &state).unwrap();
        made += 1;
    }
    // The machine stops: no mark, no settling.
    let image = disk.image();
    drop((agent, manager));
    let disk = MemoryDisk::from_image(&image);
    for _ in 0..3 {
        let manager = CheckpointManager::open(options(disk.shared())).unwrap();
        assert_eq!(manager.status().damage, Vec::<String>::new());
        let listed =
            manager.agent("a").unwrap().list_checkpoints(stateward::Filter::default()).unwrap();
        assert_eq!(listed.len(), made);
    }
}
