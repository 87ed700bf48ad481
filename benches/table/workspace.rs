//! Trees of files: kept, changed and put back, side by side with git, restic, rustic and
//! borg.
//!
//! All keep the same tree, warm in the page cache, each with a repository of its own. Changes and
//! syncs of the whole machine fall between the samples. Ours is measured twice: as a process for each
//! checkpoint (cold), and in a process that stays and watches the tree (warm).

pub mod errand;
mod field;
mod large_file;
mod neighbour;
mod peers;
mod sample;
mod source;
mod source_tree;
mod trees;
mod warm;

pub use trees::SourceTree;

use crate::arguments::Arguments;
use crate::row::Row;
use peers::Tool;
use peers::borg::BORG;
use peers::git::{GIT, GIT_SYNCED};
use peers::restic::RESTIC;
use peers::rustic::RUSTIC;
use peers::stateward::STATEWARD;

/// Ours first; the others are what it is compared with.
const TOOLS: [&Tool; 6] = [&STATEWARD, &GIT, &GIT_SYNCED, &RESTIC, &RUSTIC, &BORG];

pub fn rows(arguments: &Arguments) -> Vec<Row> {
    if !cfg!(target_os = "linux") {
        return vec![Row::skipped("workspaces", "the peak of memory is counted as on Linux")];
    }
    let mut rows: Vec<Row> = TOOLS.into_iter().filter_map(missing).collect();
    rows.extend(source_tree::rows(arguments, source_tree::FILES_JUDGED));
    if !arguments.quick {
        rows.extend(source_tree::rows(arguments, 80_000));
    }
    rows.extend(large_file::rows(arguments));
    rows
}

fn missing(tool: &Tool) -> Option<Row> {
    let why = || format!("there is no `{}` command here", tool.program);
    (!errand::is_there(tool.program))
        .then(|| Row::skipped(format!("workspaces, against {}", tool.name), why()))
}
