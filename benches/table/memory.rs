//! What the process takes of memory, each case in a process of its own.

use std::path::Path;

use crate::arguments::Arguments;
use crate::chat::Chat;
use crate::child::{self, status_bytes};
use crate::opening;
use crate::ours;
use crate::row::{Row, Unit};

const LARGE_BYTES: usize = 64_000_000;

pub fn rows(arguments: &Arguments) -> Vec<Row> {
    if !cfg!(target_os = "linux") {
        return vec![Row::skipped("memory", "read from /proc")];
    }
    let full = arguments.scratch();
    opening::fill(full.path(), opening::CHECKPOINTS);
    let rounds = arguments.rounds(3);
    let figures = |name: &str, home: Option<&Path>| -> Vec<f64> {
        let measure = |_| {
            let fresh = arguments.scratch();
            let said = child::said(name, home.unwrap_or(fresh.path()));
            said.trim().parse().expect("the child says a number of bytes")
        };
        (0..rounds).map(measure).collect()
    };
    let (nothing, large) = (figures("nothing", None), figures("large", None));
    let idle = figures("idle", Some(full.path()));
    vec![
        Row::alone("memory of this program doing nothing, peak", Unit::Bytes, &nothing),
        Row::alone(
            "memory while committing a 64 MB state, peak, the state itself included",
            Unit::Bytes,
            &large,
        ),
        Row::alone("memory idle, a store of 10,000 checkpoints open", Unit::Bytes, &idle)
            .at_most(20e6),
    ]
}

/// Says the peak of a process that did nothing.
pub fn report() {
    println!("{}", status_bytes("VmHWM:"));
}

/// Says the peak of a process that committed a large state.
pub fn commit_a_large_state(home: &Path) {
    let manager = ours::open(home);
    let agent = ours::agent(&manager, "agent");
    ours::commit(&agent, Chat::seeded(9).state(LARGE_BYTES));
    ours::settle(&manager);
    report();
}

/// Says what a process holds that opened a store and waits.
pub fn open_and_idle(home: &Path) {
    let manager = ours::open_keeping_all(home);
    ours::settle(&manager);
    println!("{}", status_bytes("VmRSS:"));
}
