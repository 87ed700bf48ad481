//! The same on real directories, with the background thread: a disk that is truly full, a directory
//! that is truly gone, and many threads meanwhile.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use stateward::state::{Durable, Kind};
use stateward::{CheckpointManager, Filter, Options};

use crate::fallback::words;

/// A mounted file system; unmounted when it is dropped.
pub struct Mounted(PathBuf);

impl Mounted {
    /// `None`, with the reason printed, where mounting is not allowed.
    pub fn tmpfs(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            Ok(output) => {
                println!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("skipped: {error}");
                None
            }
        }
    }

    pub fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let done = Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap();
        assert!(done.success(), "remount with {options}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()));
    }
}

fn options(dir: &Path) -> Options {
    let mut options = Options::new(dir.join("p/store")).fallback(dir.join("f"));
    options.retention.routine.keep_last = 10_000;
    // So small a disk would be over its budget at once.
    options.retention.disk_budget = Some("1 GiB".parse().unwrap());
    options.retention.free_floor = Some("0".parse().unwrap());
    options.log.segment_bytes_min = 128 << 10;
    options.log.segment_bytes_max = 512 << 10;
    options
}

/// Waits until everything is home; homecoming looks twice a second.
fn wait_for_home(manager: &CheckpointManager, count: usize) {
    let agent = manager.agent("a").unwrap();
    let begun = Instant::now();
    loop {
        manager.settle().unwrap();
        let all = agent.list_checkpoints(Filter::default()).unwrap();
        assert_eq!(all.len(), count);
        if all.iter().all(|one| one.durable == Durable::Local) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not come home");
        std::thread::yield_now();
    }
}

#[test]
fn a_file_system_that_is_truly_full() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::tmpfs(&dir.path().join("p"), "2m") else { return };
    let manager = CheckpointManager::open(options(dir.path())).unwrap();
    let agent = manager.agent("a").unwrap();
    let mut made = Vec::new();
    let mut commit = |count: u64| {
        for _ in 0..count {
            let n = made.len() as u64;
            let state = json!({"n": n, "text": words(n, 30_000)});
            made.push(agent.create_checkpoint(Kind::Routine, &state).unwrap());
        }
        (made.len(), made.last().unwrap().checkpoint.durable)
    };
    assert_eq!(commit(120).1, Durable::Fallback, "2 MiB do not hold 120 × 30 KB");
    mounted.remount("size=64m");
    wait_for_home(&manager, 120);
    assert_eq!(commit(1), (121, Durable::Local));
    for (n, receipt) in made.iter().enumerate() {
        let back = agent.read_checkpoint(receipt.checkpoint.checkpoint_id.to_string()).unwrap();
        assert_eq!(back.state::<serde_json::Value>().unwrap()["n"], n);
    }
    drop((agent, manager));
}

#[test]
fn a_directory_that_moves_away_under_load() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("p")).unwrap();
    let manager = CheckpointManager::open(options(dir.path())).unwrap();
    let (store, elsewhere) = (dir.path().join("p/store"), dir.path().join("p/elsewhere"));
    let made: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let manager = &manager;
                scope.spawn(move || {
                    let agent = manager.agent("a").unwrap();
                    let commit = |n: u64| {
                        let state = json!({"n": n, "text": words(n * 4 + writer, 20_000)});
                        agent.create_checkpoint(Kind::Routine, &state).unwrap()
                    };
                    (0..60).map(commit).collect::<Vec<_>>()
                })
            })
            .collect();
        // As an unmounted volume leaves it: an empty directory, and files that are still open.
        std::fs::rename(&store, &elsewhere).unwrap();
        std::fs::create_dir(&store).unwrap();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert!(made.iter().any(|one| one.checkpoint.durable == Durable::Fallback));
    assert!(std::fs::read_dir(&store).unwrap().next().is_none(), "no store is made there");
    std::fs::remove_dir(&store).unwrap();
    std::fs::rename(&elsewhere, &store).unwrap();
    wait_for_home(&manager, made.len());
    let agent = manager.agent("a").unwrap();
    let listed = agent.list_checkpoints(Filter::default()).unwrap();
    assert!(listed.windows(2).all(|two| two[0].seq > two[1].seq));
    for one in &made {
        let found = agent.show(&one.checkpoint.checkpoint_id.to_string()).unwrap();
        assert_eq!(found.seq, one.checkpoint.seq);
    }
}
