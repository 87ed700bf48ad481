//! Stores that earlier formats left stay readable: each format has a frozen store that `validate`
//! reads, and none is forgotten when a format is new.

use std::collections::BTreeMap;
use std::path::Path;

use stateward::disk::MemoryDisk;
use stateward::state::{Digest, Kind};
use stateward::{CheckpointManager, Filter, Options, Outcome};

use crate::history::state;

fn stores() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("validate/stores")
}

/// The number of the format that this program writes.
fn format_now() -> u64 {
    let disk = MemoryDisk::plain();
    let options = Options { disk: disk.shared(), background: false, ..Options::new("/store") };
    drop(CheckpointManager::open(options).unwrap());
    let identity = disk.get("/store/store.json".as_ref()).unwrap();
    let identity: serde_json::Value = serde_json::from_slice(&identity).unwrap();
    identity["format"].as_u64().unwrap()
}

#[test]
fn every_format_has_a_frozen_store() {
    for format in 1..=format_now() {
        let path = stores().join(format!("format-{format}.zst"));
        let len = std::fs::metadata(&path).map_or(0, |found| found.len());
        assert!(
            len > 1000,
            "{} is missing: the ignored test beside this one writes it",
            path.display()
        );
    }
}

/// Written once for each format, before it is released, and never again.
#[test]
#[ignore = "writes the frozen store of the format that is written now"]
fn freeze_a_store() {
    let disk = MemoryDisk::plain();
    let mut options = Options { disk: disk.shared(), background: false, ..Options::new("/store") };
    options.log.segment_bytes_min = 8 << 10;
    options.log.segment_bytes_max = 16 << 10;
    options.retention.routine.keep_last = 1000;
    let manager = CheckpointManager::open(options).unwrap();
    for n in 0..24 {
        let agent = manager.agent(["a", "team/b"][n % 2]).unwrap();
        let request = agent.checkpoint(Kind::Routine).state_bytes(state(n, 60 + n * n * 50));
        request.comment("frozen").label("n", n.to_string()).commit().unwrap();
    }
    let agent = manager.agent("a").unwrap();
    agent.begin_operation("deploy").unwrap().complete().unwrap();
    let failed = agent.begin_operation("migrate").unwrap();
    drop(failed.detach());
    agent.close_operation("migrate", Outcome::Failed, "no").unwrap();
    agent.restore("latest", &stateward::RestoreOptions::default()).unwrap();
    agent.undo(&stateward::RestoreOptions::default()).unwrap();
    manager.settle().unwrap();
    let mut expected: BTreeMap<&str, BTreeMap<u64, String>> = BTreeMap::new();
    for name in ["a", "team/b"] {
        let agent = manager.agent(name).unwrap();
        for one in agent.list_checkpoints(Filter::default()).unwrap() {
            let read = agent.read_checkpoint(one.checkpoint_id.to_string()).unwrap();
            let digest = Digest::of(read.state_bytes().unwrap()).to_string();
            expected.entry(name).or_default().insert(one.seq.0, digest);
        }
    }
    drop((agent, manager));
    let mut image = disk.image();
    image.insert("/expected.json".into(), serde_json::to_vec(&expected).unwrap());
    let mut frozen = Vec::new();
    for (path, bytes) in image {
        frozen.extend(serde_json::to_vec(&(path, bytes.len())).unwrap());
        frozen.push(b'\n');
        frozen.extend(bytes);
    }
    let path = stores().join(format!("format-{}.zst", format_now()));
    std::fs::write(path, zstd::bulk::compress(&frozen, 19).unwrap()).unwrap();
}
