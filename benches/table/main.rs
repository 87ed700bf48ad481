//! Measures what Stateward promises about speed, and prints one table.
//!
//! `cargo bench --bench table` runs all groups; names behind `--` choose some of them. `--dir PATH`
//! says where to measure, `--quick` runs fewer rounds. All contestants of a row run in this one
//! process, in alternating rounds and alternating order, after a round that does not count; a ratio
//! is the median over the rounds, its spread their 10th and 90th percentile. `docs/benchmarks.md`
//! says how to read the table and holds the figures of one run.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real disk and real time")]
#![expect(clippy::cast_precision_loss, reason = "figures are printed with three digits")]

mod arguments;
mod baseline;
mod chat;
mod child;
mod commits;
mod counting;
mod failing;
mod fallback;
mod handover;
mod history;
mod interference;
mod machine;
mod memory;
mod opening;
mod ours;
mod process;
mod retention;
mod rounds;
mod row;
mod sidecar;
mod statistics;
mod workspace;

use std::path::Path;
use std::process::ExitCode;

use arguments::{Arguments, Group};
use row::Row;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [mark, name, home] = &*words
        && mark == child::MARK
    {
        child::run(name, Path::new(home));
        return ExitCode::SUCCESS;
    }
    let arguments = match Arguments::parse(words) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let mut rows = Vec::new();
    machine::warn_of_load();
    for group in Group::ALL {
        if arguments.groups.contains(&group) {
            eprintln!("{group:?} …");
            rows.extend(run(group, &arguments));
        }
    }
    println!("{}\n", machine::facts(&arguments));
    row::print(&rows);
    ExitCode::SUCCESS
}

fn run(group: Group, arguments: &Arguments) -> Vec<Row> {
    match group {
        Group::Commits => commits::rows(arguments),
        Group::Handover => handover::rows(arguments),
        Group::History => history::rows(arguments),
        Group::Interference => interference::rows(arguments),
        Group::Opening => opening::rows(arguments),
        Group::Retention => retention::rows(arguments),
        Group::Fallback => fallback::rows(arguments),
        Group::Process => process::rows(arguments),
        Group::Memory => memory::rows(arguments),
        Group::Workspace => workspace::rows(arguments),
        Group::Sidecar => sidecar::rows(arguments),
    }
}
