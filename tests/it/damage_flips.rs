//! Flipping any single byte of any file of a closed store is found or harmless, never changes what a
//! restore returns, and never makes a checkpoint vanish without a word.
//!
//! A part of the positions is tried, the same on every run; `STATEWARD_EXHAUSTIVE=1` tries all.

use std::path::Path;

use crate::damage::Fixture;

/// Every position where bytes stand is tried in steps of this, zeros in longer ones.
const STEP: usize = 809;
const STEP_IN_ZEROS: usize = 8009;
const STEP_IN_SMALL_FILES: usize = 23;

fn positions(bytes: &[u8]) -> Vec<usize> {
    if std::env::var_os("STATEWARD_EXHAUSTIVE").is_some() {
        return (0..bytes.len()).collect();
    }
    let zeros = |at: usize| {
        bytes[at.saturating_sub(8)..bytes.len().min(at + 9)].iter().all(|byte| *byte == 0)
    };
    let step = |at: usize| match bytes.len() {
        ..512 => STEP_IN_SMALL_FILES,
        _ if zeros(at) => STEP_IN_ZEROS,
        _ => STEP,
    };
    let last = bytes.len().saturating_sub(1);
    (0..bytes.len()).filter(|at| at % step(*at) == 3 || *at == last).collect()
}

fn flip_each(which: impl Fn(&str) -> bool) {
    let fixture = Fixture::get();
    let mut tried = 0;
    for (path, bytes) in &fixture.image {
        if !which(path.to_str().unwrap()) {
            continue;
        }
        for at in positions(bytes) {
            let what = format!("byte {at} of {} flipped", path.display());
            flip_one(fixture, path, at, 1 << (at % 8), &what);
            tried += 1;
        }
    }
    assert!(tried > 10, "only {tried} positions");
}

fn flip_one(fixture: &Fixture, path: &Path, at: usize, mask: u8, what: &str) {
    let disk = fixture.disk();
    assert!(disk.damage(path, |bytes| bytes[at] ^= mask));
    fixture.check_looking(&disk, what);
    fixture.check(&disk, what, &[]);
}

#[test]
fn in_segments() {
    flip_each(|path| path.contains(".log"));
}

#[test]
fn in_summaries() {
    flip_each(|path| path.contains(".idx"));
}

#[test]
fn in_views() {
    flip_each(|path| path.contains("/checkpoints/"));
}

#[test]
fn in_everything_else() {
    flip_each(|path| {
        !path.contains(".log") && !path.contains(".idx") && !path.contains("/checkpoints/")
    });
}
