//! This program again, in a process of its own: to be killed, or to have its memory measured.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::workspace::errand;
use crate::{memory, opening, sidecar};

/// The word that begins a child's command line.
pub const MARK: &str = "--child";

const READY: &str = "ready";

/// What a child does; answers with what it printed.
pub fn run(name: &str, home: &Path) {
    match name {
        "tail" => opening::leave_a_tail(home),
        "large" => memory::commit_a_large_state(home),
        "idle" => memory::open_and_idle(home),
        "nothing" => memory::report(),
        "errand" => errand::in_child(),
        "tick" => sidecar::tick(home),
        other => panic!("no child is called `{other}`"),
    }
}

fn command(name: &str, home: &Path) -> Command {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.arg(MARK).arg(name).arg(home).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Runs a child to its end and answers what it said.
pub fn said(name: &str, home: &Path) -> String {
    told(name, home, "")
}

/// The same for a child that is told something first.
pub fn told(name: &str, home: &Path, input: &str) -> String {
    let mut child = command(name, home).spawn().expect("the child starts");
    let mut listening = child.stdin.take().expect("its input is a pipe");
    listening.write_all(input.as_bytes()).expect("the child listens");
    drop(listening);
    let output = child.wait_with_output().expect("the child can be waited for");
    assert!(output.status.success(), "the child `{name}` failed: {}", output.status);
    String::from_utf8(output.stdout).expect("the child says text")
}

/// Runs a child until it says that it is ready, and kills it with SIGKILL.
pub fn kill_when_ready(name: &str, home: &Path) {
    let mut child = command(name, home).spawn().expect("the child starts");
    let mut line = String::new();
    let said = child.stdout.take().expect("its output is a pipe");
    BufReader::new(said).read_line(&mut line).expect("the child says something");
    assert_eq!(line.trim(), READY);
    child.kill().expect("the child can be killed");
    child.wait().expect("the child can be waited for");
}

/// Says so to the parent, and waits for the end that it brings.
pub fn ready_and_wait() {
    println!("{READY}");
    std::io::stdout().flush().expect("the parent listens");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("the parent keeps the pipe open");
}

/// A figure of `/proc/self/status` in bytes.
pub fn status_bytes(name: &str) -> u64 {
    status_bytes_in(Path::new("/proc/self/status"), name)
}

/// A figure of another process's status in bytes.
pub fn status_bytes_in(status: &Path, name: &str) -> u64 {
    let status = fs::read_to_string(status).expect("this is Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("the kernel tells it");
    let kib = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kib.expect("it is a number of KiB") * 1024
}
