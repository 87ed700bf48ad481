//! The whole process, as a script calls it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::arguments::Arguments;
use crate::chat::Chat;
use crate::rounds::{Contestant, interleave, timed};
use crate::row::{Row, Unit};

pub fn rows(arguments: &Arguments) -> Vec<Row> {
    let work = "`stateward checkpoint` of 1 KB, whole process";
    if !runs(Command::new("sqlite3").arg("--version")) {
        return vec![Row::skipped(work, "there is no `sqlite3` command here")];
    }
    let home = arguments.scratch();
    let home = home.path();
    prepare(home);
    if !answers_with_a_receipt(home) {
        return vec![Row::skipped(work, "the command makes no checkpoint here")];
    }
    let mut contestants = [
        Contestant::new(|round| spawned(home, round, &mut stateward(home))),
        Contestant::new(|round| spawned(home, round, &mut sqlite(home, "wal"))),
        Contestant::new(|round| spawned(home, round, &mut sqlite(home, "delete"))),
        Contestant::new(|_| seconds(&mut Command::new("true"))),
    ];
    let figures = interleave(arguments.rounds(50), &mut contestants);
    let row = |against: &str, at: usize| {
        Row::against(format!("{work}, against {against}"), Unit::Seconds, &figures[0], &figures[at])
    };
    vec![
        row("`sqlite3`, WAL, FULL", 1).at_most(2.0),
        row("`sqlite3`, rollback journal, FULL", 2),
        row("`true`", 3),
    ]
}

fn stateward(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stateward"));
    command.arg("checkpoint").arg("--store").arg(home.join("store"));
    command.arg("--state").arg(home.join("s.json")).current_dir(home);
    command
}

/// A command that did nothing would be fast.
fn answers_with_a_receipt(home: &Path) -> bool {
    write_state(home, 0);
    let output = stateward(home).arg("--json").output();
    output.is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("checkpoint_id")
    })
}

fn sqlite(home: &Path, journal: &str) -> Command {
    let mut command = Command::new("sqlite3");
    command.arg(home.join(journal)).current_dir(home).arg(
        "PRAGMA synchronous=FULL; INSERT INTO checkpoints (agent, state) \
         VALUES ('default', readfile('s.json'));",
    );
    command
}

fn prepare(home: &Path) {
    for journal in ["wal", "delete"] {
        let mut command = Command::new("sqlite3");
        command.arg(home.join(journal)).arg(format!(
            "PRAGMA journal_mode={journal}; CREATE TABLE checkpoints \
             (seq INTEGER PRIMARY KEY, agent TEXT NOT NULL, state BLOB NOT NULL);"
        ));
        assert!(runs(&mut command), "the database can be made");
    }
}

fn spawned(home: &Path, round: usize, command: &mut Command) -> f64 {
    write_state(home, round);
    seconds(command)
}

fn write_state(home: &Path, round: usize) {
    let state = Chat::seeded(round as u64).state(1000);
    fs::write(home.join("s.json"), state).expect("the state can be written");
}

fn seconds(command: &mut Command) -> f64 {
    let (ran, took) = timed(|| runs(command));
    assert!(ran, "{command:?} failed");
    took.as_secs_f64()
}

fn runs(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
