//! The way back: reading a checkpoint, restoring it, opening a store.

use std::fs;
use std::path::{Path, PathBuf};

use stateward::Options;

use crate::arguments::Arguments;
use crate::chat::Chat;
use crate::child;
use crate::ours;
use crate::rounds::timed;
use crate::row::{Row, Unit};

/// Checkpoints in the store that is opened.
pub const CHECKPOINTS: usize = 10_000;

/// Bytes of the tail left behind by a killed process.
pub const TAIL_BYTES: usize = 64 << 20;

pub fn rows(arguments: &Arguments) -> Vec<Row> {
    let mut rows = restores(arguments);
    rows.push(many_checkpoints(arguments));
    rows.push(unclean_end(arguments));
    rows
}

fn restores(arguments: &Arguments) -> Vec<Row> {
    let home = arguments.scratch();
    let manager = ours::open(home.path());
    let mut rows = Vec::new();
    for (bytes, size) in [(1000, "1 KB"), (1_000_000, "1 MB")] {
        let agent = ours::agent(&manager, size.split(' ').next_back().unwrap_or(size));
        for state in Chat::seeded(3).states(5, bytes) {
            ours::commit(&agent, state);
        }
        ours::settle(&manager);
        let read = || drop(agent.read_checkpoint("latest").expect("it reads back"));
        let restore = || drop(agent.restore_checkpoint("latest").expect("it is restored"));
        let read = seconds(arguments.rounds(50), read);
        rows.push(Row::alone(format!("reading {size} back"), Unit::Seconds, &read));
        let restore = seconds(arguments.rounds(50), restore);
        rows.push(Row::alone(
            format!("restoring {size} in place, recovery checkpoint included"),
            Unit::Seconds,
            &restore,
        ));
    }
    rows
}

fn seconds(rounds: usize, mut work: impl FnMut()) -> Vec<f64> {
    work();
    (0..rounds).map(|_| timed(&mut work).1.as_secs_f64()).collect()
}

fn many_checkpoints(arguments: &Arguments) -> Row {
    let home = arguments.scratch();
    fill(home.path(), CHECKPOINTS);
    let opening = seconds(arguments.rounds(20), || drop(ours::open_keeping_all(home.path())));
    Row::alone("opening a store of 10,000 checkpoints", Unit::Seconds, &opening).at_most(0.050)
}

/// A store of so many checkpoints of 1 KB, closed.
pub fn fill(home: &Path, checkpoints: usize) {
    let manager = ours::open_keeping_all(home);
    let agents: Vec<_> = (0..10).map(|at| ours::agent(&manager, &format!("agent-{at}"))).collect();
    let mut chat = Chat::seeded(5);
    for at in 0..checkpoints {
        ours::commit(&agents[at % agents.len()], chat.state(1000));
    }
    ours::settle(&manager);
}

fn unclean_end(arguments: &Arguments) -> Row {
    let left = arguments.scratch();
    child::kill_when_ready("tail", left.path());
    let opening: Vec<f64> = (0..arguments.rounds(10))
        .map(|_| {
            let home = arguments.scratch();
            copy(&ours::store_in(left.path()), &ours::store_in(home.path()));
            let (manager, took) = timed(|| ours::open(home.path()));
            drop(manager);
            took.as_secs_f64()
        })
        .collect();
    Row::alone("opening after kill -9 with a 64 MB unsealed tail", Unit::Seconds, &opening)
        .at_most(0.300)
}

/// One segment that holds the whole tail, so that all of it is unsealed.
fn long_segments(home: &Path) -> Options {
    let mut options = Options::new(ours::store_in(home));
    options.log.segment_bytes_min = 2 * TAIL_BYTES as u64;
    options.log.segment_bytes_max = 2 * TAIL_BYTES as u64;
    options
}

/// What the child does before it is killed.
pub fn leave_a_tail(home: &Path) {
    let manager = ours::open_with(long_segments(home));
    let agent = ours::agent(&manager, "agent");
    let mut chat = Chat::seeded(6);
    for _ in 0..TAIL_BYTES / 10_000 {
        ours::commit(&agent, chat.state(10_000));
    }
    child::ready_and_wait();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory can be made");
    for entry in fs::read_dir(from).expect("the store can be listed") {
        let path: PathBuf = entry.expect("the store can be listed").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else if path.is_file() {
            // Synced, or the opening would pay for the copy with its first sync.
            fs::copy(&path, &target)
                .and_then(|_| fs::File::open(&target)?.sync_all())
                .expect("a file can be copied");
        }
    }
}
