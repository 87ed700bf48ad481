//! A conversation that grows turn by turn, every checkpoint of it kept.

use std::fs;
use std::path::Path;

use stateward::Agent;
use stateward::state::Kind;

use crate::arguments::Arguments;
use crate::chat::Chat;
use crate::ours;
use crate::rounds::{Contestant, interleave, timed};
use crate::row::{Row, Unit};
use crate::statistics::median;

/// How the agent hands its state over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Whole,
    Patch,
}

/// What one history showed.
struct Shown {
    log_share: f64,
    restore_seconds: f64,
}

pub fn rows(arguments: &Arguments) -> Vec<Row> {
    [(Way::Whole, "whole", 3.5), (Way::Patch, "as patch", 2.2)]
        .into_iter()
        .flat_map(|(way, name, bar)| history(arguments, way, name, bar))
        .collect()
}

fn history(arguments: &Arguments, way: Way, name: &str, bar: f64) -> Vec<Row> {
    let mut shown = Vec::new();
    let mut contestants = [
        Contestant::new(|_| run(arguments, way, 2000).0),
        Contestant::new(|_| {
            let (seconds, after) = run(arguments, way, 1000);
            shown.push(after);
            seconds
        }),
    ];
    let figures = interleave(arguments.rounds(7), &mut contestants);
    drop(contestants);
    let shares: Vec<f64> = shown.iter().map(|shown| shown.log_share).collect();
    let restores: Vec<f64> = shown.iter().map(|shown| shown.restore_seconds).collect();
    let row = |what: &str| format!("history of 1 KB turns, {name}: {what}");
    vec![
        Row::against(row("2,000 turns against 1,000"), Unit::Seconds, &figures[0], &figures[1])
            .at_most(bar),
        Row::alone(row("log after prune / final state, 1,000 turns"), Unit::Times, &shares)
            .at_most(1.0),
        Row::alone(row("reading the last back, 1,000 turns"), Unit::Seconds, &restores)
            .at_most(0.020),
    ]
}

/// Seconds that all commits took, and what was there afterwards.
fn run(arguments: &Arguments, way: Way, turns: usize) -> (f64, Shown) {
    let home = arguments.scratch();
    let manager = ours::open_keeping_all(home.path());
    let agent = ours::agent(&manager, "agent");
    let mut state = br#"{"messages":[]}"#.to_vec();
    ours::commit(&agent, state.clone());
    let mut chat = Chat::seeded(turns as u64);
    let mut seconds = 0.0;
    for _ in 0..turns {
        let message = chat.message(1000);
        append(&mut state, &message);
        seconds += match way {
            Way::Whole => whole(&agent, state.clone()),
            Way::Patch => patch(&agent, &message),
        };
    }
    ours::settle(&manager);
    ours::prune(&manager);
    let restores: Vec<f64> = (0..9)
        .map(|_| {
            let (loaded, took) = timed(|| agent.read_checkpoint("latest").expect("it reads back"));
            assert_eq!(loaded.state_bytes(), Some(&*state), "the history came back changed");
            took.as_secs_f64()
        })
        .collect();
    ours::settle(&manager);
    let log_share = log_bytes(home.path()) as f64 / state.len() as f64;
    (seconds, Shown { log_share, restore_seconds: median(&restores) })
}

fn append(state: &mut Vec<u8>, message: &str) {
    state.truncate(state.len() - 2);
    if !state.ends_with(b"[") {
        state.push(b',');
    }
    state.extend_from_slice(message.as_bytes());
    state.extend_from_slice(b"]}");
}

fn whole(agent: &Agent, state: Vec<u8>) -> f64 {
    timed(|| ours::commit(agent, state)).1.as_secs_f64()
}

fn patch(agent: &Agent, message: &str) -> f64 {
    let patch = format!(r#"[{{"op":"add","path":"/messages/-","value":{message}}}]"#);
    let request = agent.checkpoint(Kind::Routine).patch(patch.into_bytes());
    timed(|| request.commit().expect("the patch is committed")).1.as_secs_f64()
}

/// Bytes in use in all files of the log, indexes of segments included: up to the last that is not
/// zero, a header's second copy at the very end apart. What is only there ahead of need is zeros.
fn log_bytes(home: &Path) -> u64 {
    let segments = fs::read_dir(ours::store_in(home).join("log")).expect("the log can be listed");
    segments
        .map(|segment| {
            let path = segment.expect("the log can be listed").path();
            let bytes = fs::read(path).expect("a segment can be read");
            let data = &bytes[..bytes.len().saturating_sub(512)];
            data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
        })
        .sum()
}
