//! A working directory of its own for the commands under test, and what they answer.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A directory in which commands run as they would for somebody who never configured anything.
pub struct Home(TempDir);

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// The command with its arguments, ready to run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        Command::from_std(self.raw(arguments))
    }

    /// The same for the tests that need the process itself.
    pub fn raw(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_stateward"));
        command.args(arguments).current_dir(self.0.path()).env_clear().stdin(Stdio::null());
        command.env("HOME", self.0.path()).env("PATH", std::env::var_os("PATH").unwrap());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Answer {
        Answer::of(&mut self.command(arguments))
    }

    pub fn run_with_input(&self, arguments: &[&str], input: impl Into<Vec<u8>>) -> Answer {
        Answer::of(self.command(arguments).write_stdin(input))
    }

    /// Runs what must succeed.
    pub fn done(&self, arguments: &[&str]) -> Answer {
        let answer = self.run(arguments);
        assert_eq!(answer.code, 0, "{arguments:?}: {answer}");
        answer
    }

    /// Runs what must succeed, with `--json`.
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.done(&[arguments, &["--json"]].concat()).json()
    }

    /// Makes a checkpoint of a state; its receipt.
    pub fn checkpoint(&self, state: &str) -> Value {
        self.write("state.json", state);
        self.json(&["checkpoint", "--state", "state.json"])
    }

    /// The state behind a reference, as `restore` writes it.
    pub fn state(&self, reference: &str) -> Vec<u8> {
        self.done(&["restore", reference, "--state-out", "-"]).out
    }

    /// The numbers of the checkpoints, newest first.
    pub fn seqs(&self) -> Vec<u64> {
        let list = self.json(&["list"]);
        list.as_array().unwrap().iter().map(|it| it["seq"].as_u64().unwrap()).collect()
    }

    /// Runs what must fail with `--json`: the exit code and the error object.
    pub fn error(&self, arguments: &[&str]) -> (i32, Value) {
        self.run(&[arguments, &["--json"]].concat()).error()
    }

    pub fn store(&self) -> PathBuf {
        self.path(".stateward")
    }
}

impl Answer {
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: output.stdout,
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// Checks that the error object stands alone on stderr and that stdout is empty.
    pub fn error(&self) -> (i32, Value) {
        assert!(self.out.is_empty() && self.code != 0, "{self}");
        let told: Value =
            serde_json::from_str(&self.err).unwrap_or_else(|error| panic!("{error}: {self}"));
        let error = told["error"].clone();
        let keys: Vec<&str> = error.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["kind", "message", "hint", "attempts"]);
        (self.code, error)
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}\n{}\n{}", self.code, String::from_utf8_lossy(&self.out), self.err)
    }
}

/// Every file beneath a directory.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut open = vec![dir.to_owned()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found
}
