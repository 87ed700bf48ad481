//! What a store grows to when most of what was committed is forgotten again.

use std::fs;
use std::path::Path;

use stateward::Options;

use crate::arguments::Arguments;
use crate::chat::Chat;
use crate::ours;
use crate::row::{Row, Unit};

const STATE_BYTES: usize = 10_000;

pub fn rows(arguments: &Arguments) -> Vec<Row> {
    let commits = if arguments.quick { 10_000 } else { 100_000 };
    let home = arguments.scratch();
    let mut options = Options::new(ours::store_in(home.path()));
    options.retention.routine.keep_last = 3;
    options.retention.routine.anchors.clear();
    let manager = ours::open_with(options);
    let agent = ours::agent(&manager, "agent");
    let mut chat = Chat::seeded(10);
    let mut most = 0;
    for at in 0..commits {
        ours::commit(&agent, chat.state(STATE_BYTES));
        if at % (commits / 100) == 0 {
            most = most.max(stored(&ours::store_in(home.path())));
        }
    }
    ours::settle(&manager);
    let end = stored(&ours::store_in(home.path()));
    let allowed = 3 * 3 * STATE_BYTES as u64 + 2 * longest_segment(&ours::store_in(home.path()));
    let share = |bytes: u64| bytes as f64 / allowed as f64;
    let work = |what: &str| format!("keep 3, {commits} commits of 10 KB: {what}");
    vec![
        Row::against(
            work("store at the end / (3 × live + 2 segments)"),
            Unit::Bytes,
            &[end as f64],
            &[allowed as f64],
        )
        .at_most(1.0),
        Row::alone(work("most seen on the way / the same"), Unit::Times, &[share(most)]),
    ]
}

/// Bytes of all files below a directory; files that go away meanwhile count nothing.
pub fn stored(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => stored(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

fn longest_segment(store: &Path) -> u64 {
    let segments = fs::read_dir(store.join("log")).expect("the log can be listed");
    segments.flatten().filter_map(|it| Some(it.metadata().ok()?.len())).max().unwrap_or(0)
}
