//! What an agent feels while its workspace is kept: the longest moment in which it did not run.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::rounds::{Contestant, interleave_after};
use crate::row::{Row, Unit};
use crate::workspace::SourceTree;

/// How long the agent runs: long enough for its change to be seen, settled and kept.
const RUNS: Duration = Duration::from_secs(6);

/// Files it changes at its beginning, of the first directory.
const CHANGES: usize = 20;

pub fn rows(arguments: &Arguments) -> Vec<Row> {
    let home = arguments.scratch();
    let workspace = home.path().join("workspace");
    SourceTree::create(&workspace, 20_000);
    let mut contestants = [
        Contestant::new(|_| longest(home.path(), Some(&["--freeze"]))),
        Contestant::new(|_| longest(home.path(), Some(&[]))),
        Contestant::new(|_| longest(home.path(), None)),
    ];
    let figures = interleave_after(1, arguments.rounds(10), &mut |_| {}, &mut contestants);
    let work = "longest pause of an agent while 20,000 files are kept";
    vec![
        Row::against(format!("{work}, against no `run`"), Unit::Seconds, &figures[1], &figures[2]),
        Row::against(
            format!("{work}, --freeze, against no `run`"),
            Unit::Seconds,
            &figures[0],
            &figures[2],
        ),
    ]
}

/// The longest pause of one agent, under `run` or by itself.
fn longest(home: &Path, flags: Option<&[&str]>) -> f64 {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = match flags {
        None => Command::new(&program),
        Some(flags) => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_stateward"));
            command.arg("run").arg("--store").arg(home.join("store")).args(flags);
            command.arg("--workspace").arg(home.join("workspace")).arg("--").arg(&program);
            command
        }
    };
    command.arg(crate::child::MARK).arg("tick").arg(home.join("workspace"));
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    let output = output.expect("the agent runs");
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().expect("the agent says a number of seconds")
}

/// The agent: changes a few files, and looks at the clock every millisecond.
pub fn tick(workspace: &Path) {
    let began = Instant::now();
    let mut files = Vec::new();
    let mut open = vec![workspace.to_owned()];
    while let Some(dir) = open.pop().filter(|_| files.len() < CHANGES) {
        for entry in fs::read_dir(dir).expect("the workspace is there") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() { open.push(path) } else { files.push(path) }
        }
    }
    for file in files.iter().take(CHANGES) {
        fs::write(file, format!("{:?}", began.elapsed())).expect("a file can be changed");
    }
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    while began.elapsed() < RUNS {
        std::thread::sleep(Duration::from_millis(1));
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    println!("{}", longest.as_secs_f64());
}
