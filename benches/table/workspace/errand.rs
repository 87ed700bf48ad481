//! Commands that are run for their cost: the time of all steps together, and the peak of memory of
//! the largest process among them.
//!
//! A child of this program runs them, because the kernel tells the peak of ended children only for
//! all of them together, and counts to a command's peak what its parent held when it started it.
//! The child holds 3 MB; the clock runs in it, so that starting it costs the errand nothing.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::child;
use crate::rounds::timed;

/// One command of an errand.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Step {
    program: PathBuf,
    arguments: Vec<PathBuf>,
    variables: Vec<(String, PathBuf)>,
    dir: PathBuf,
}

impl Step {
    /// A command run in a directory.
    pub fn new(program: impl Into<PathBuf>, dir: &Path) -> Self {
        let (program, dir) = (program.into(), dir.to_owned());
        Self { program, arguments: Vec::new(), variables: Vec::new(), dir }
    }

    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().into());
        self
    }

    pub fn args(self, words: &str) -> Self {
        words.split_whitespace().fold(self, Self::arg)
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.into(), value.as_ref().into()));
        self
    }

    /// What the command prints, run for that and not for its cost.
    pub fn said(&self) -> String {
        let output = self.command().stderr(Stdio::inherit()).output().expect("the command starts");
        assert!(output.status.success(), "{self:?} ended with {}", output.status);
        String::from_utf8(output.stdout).expect("the command says text")
    }

    fn run(&self) {
        let status = self.command().stdout(Stdio::null()).status().expect("the command starts");
        assert!(status.success(), "{self:?} ended with {status}");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.dir).stdin(Stdio::null());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// What an errand took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Spent {
    pub seconds: f64,
    pub peak_bytes: f64,
}

/// Runs the steps one after the other.
pub fn run(steps: &[Step]) -> Spent {
    let errand = serde_json::to_string(steps).expect("paths here are text");
    let said = child::told("errand", Path::new("-"), &errand);
    serde_json::from_str(&said).expect("the child says what was spent")
}

/// What the child does.
pub fn in_child() {
    let mut errand = String::new();
    std::io::stdin().read_to_string(&mut errand).expect("the parent says what to run");
    let steps: Vec<Step> = serde_json::from_str(&errand).expect("the parent says steps");
    let seconds = timed(|| steps.iter().for_each(Step::run)).1.as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel tells it");
    // The kernel counts in KiB.
    let spent = Spent { seconds, peak_bytes: usage.max_rss() as f64 * 1024.0 };
    println!("{}", serde_json::to_string(&spent).expect("numbers are written"));
}

/// Whether a command is there to be run.
pub fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--help").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}
