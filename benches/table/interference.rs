//! How long the slowest commits take while other work goes on in the store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use stateward::CheckpointManager;

use crate::arguments::Arguments;
use crate::chat::Chat;
use crate::ours;
use crate::rounds::{Contestant, interleave, timed};
use crate::row::{Row, Unit};
use crate::statistics::percentile;

const COMMITS: usize = 1000;

pub fn rows(arguments: &Arguments) -> Vec<Row> {
    let home = arguments.scratch();
    let manager = ours::open(home.path());
    feed(&manager, 200);
    let mut contestants = [
        Contestant::new(|round| p99_during(&manager, round, |_| false)),
        Contestant::new(|round| p99_during(&manager, round, prune)),
        Contestant::new(|round| p99_during(&manager, round, verify)),
    ];
    let figures = interleave(arguments.rounds(20), &mut contestants);
    let row = |during: &str, at: usize| {
        let work = format!("p99 of 1 KB commits during {during}, against quiet");
        Row::against(work, Unit::Seconds, &figures[at], &figures[0]).at_most(3.0)
    };
    vec![row("forgetting and prune", 1), row("verify", 2)]
}

/// Fills the store with checkpoints of 100 KB, most of which are forgotten at once.
fn feed(manager: &CheckpointManager, count: usize) {
    let agent = ours::agent(manager, "bulk");
    let mut chat = Chat::seeded(7);
    for state in chat.states(count, 100_000) {
        ours::commit(&agent, state);
    }
    ours::settle(manager);
}

/// The p99 of commits while `work` is repeated in another thread until it answers `false` or the
/// commits are done.
fn p99_during(
    manager: &CheckpointManager,
    round: usize,
    work: impl Fn(&CheckpointManager) -> bool + Sync,
) -> f64 {
    let agent = ours::agent(manager, "agent");
    let states = Chat::seeded(round as u64).states(COMMITS, 1000);
    let done = AtomicBool::new(false);
    let times: Vec<f64> = thread::scope(|scope| {
        let other = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if !work(manager) {
                    break;
                }
            }
        });
        let times = states
            .into_iter()
            .map(|state| timed(|| ours::commit(&agent, state)).1.as_secs_f64())
            .collect();
        done.store(true, Ordering::Relaxed);
        other.join().expect("the other work went well");
        times
    });
    ours::settle(manager);
    percentile(&times, 0.99)
}

/// Makes something to let go of, and lets go of it.
fn prune(manager: &CheckpointManager) -> bool {
    let agent = ours::agent(manager, "bulk");
    for state in Chat::seeded(8).states(10, 100_000) {
        ours::commit(&agent, state);
    }
    ours::prune(manager);
    true
}

fn verify(manager: &CheckpointManager) -> bool {
    ours::verify(manager);
    true
}
