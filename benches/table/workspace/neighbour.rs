//! How long the slowest commits take while another agent of the same store keeps a large file.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use stateward::{Agent, Options};

use super::warm;
use crate::arguments::Arguments;
use crate::chat::Chat;
use crate::ours;
use crate::rounds::timed;
use crate::row::{Row, Unit};
use crate::statistics::percentile;

const COMMITS_QUIET: usize = 1000;
const COMMIT_BYTES: usize = 1000;

/// `name` says what the tree is.
pub fn row(arguments: &Arguments, name: &str, tree: &Path) -> Row {
    // The first round warms up.
    let rounds = (0..=arguments.rounds(5)).map(|round| p99s(arguments, round, tree)).skip(1);
    let (quiet, busy): (Vec<f64>, Vec<f64>) = rounds.unzip();
    let work = format!("p99 of 1 KB commits during another agent's first snapshot of {name}");
    Row::against(format!("{work}, against quiet"), Unit::Seconds, &busy, &quiet).at_most(3.0)
}

/// In a store of its own, so that the file is new to it.
fn p99s(arguments: &Arguments, round: usize, tree: &Path) -> (f64, f64) {
    let home = arguments.scratch();
    let mut options = Options::new(ours::store_in(home.path()));
    options.workspace.file_bytes_max = stateward::ByteSize(u64::MAX);
    let manager = ours::open_with(options);
    let (agent, keeper) = (ours::agent(&manager, "agent"), warm::keeper(&manager, tree));
    let mut chat = Chat::seeded(round as u64);
    rustix::fs::sync();
    let quiet: Vec<f64> = (0..COMMITS_QUIET).map(|_| seconds(&agent, &mut chat)).collect();
    let done = AtomicBool::new(false);
    let busy: Vec<f64> = thread::scope(|scope| {
        scope.spawn(|| {
            warm::keep(&keeper);
            done.store(true, Ordering::Relaxed);
        });
        let going_on = || !done.load(Ordering::Relaxed);
        std::iter::from_fn(|| going_on().then(|| seconds(&agent, &mut chat))).collect()
    });
    ours::settle(&manager);
    (percentile(&quiet, 0.99), percentile(&busy, 0.99))
}

fn seconds(agent: &Agent, chat: &mut Chat) -> f64 {
    let state = chat.state(COMMIT_BYTES);
    timed(|| ours::commit(agent, state)).1.as_secs_f64()
}
