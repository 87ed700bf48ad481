//! Our own command line: a process for each checkpoint and each restore, at its defaults, but that
//! large files are kept too.

use std::fs;
use std::path::{Path, PathBuf};

use super::Tool;
use crate::ours;
use crate::workspace::errand::Step;

pub const STATEWARD: Tool = Tool {
    name: "stateward",
    program: env!("CARGO_BIN_EXE_stateward"),
    prepare: |home| vec![command(home, "init --quiet")],
    keep: |home, tree| vec![command(home, "checkpoint").arg("--workspace").arg(tree)],
    write_to,
    put_back: Some(|home, _| vec![command(home, "restore latest --live")]),
    stored_bytes: |home| used(&ours::store_in(home)),
};

fn command(home: &Path, words: &str) -> Step {
    let step = Step::new(STATEWARD.program, home).env("XDG_STATE_HOME", home);
    step.env("STATEWARD_WORKSPACE__FILE_BYTES_MAX", "1TB")
        .args(words)
        .arg("--store")
        .arg(ours::store_in(home))
}

fn write_to(home: &Path, _: &Path, place: &Path) -> (Vec<Step>, PathBuf) {
    (vec![command(home, "restore latest").arg("--to").arg(place)], place.to_owned())
}

/// Bytes in use in all files below a directory: in each up to the last that is not zero, a segment
/// header's second copy at the very end apart. What is only there ahead of need is zeros. Files that
/// go away meanwhile count nothing.
pub fn used(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries.flatten().map(|entry| used_by(&entry.path())).sum()
}

fn used_by(path: &Path) -> u64 {
    if path.is_dir() {
        return used(path);
    }
    let Ok(bytes) = fs::read(path) else { return 0 };
    let is_segment = path.extension().is_some_and(|ending| ending == "log");
    let data = if is_segment { &bytes[..bytes.len().saturating_sub(512)] } else { &bytes };
    data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}
