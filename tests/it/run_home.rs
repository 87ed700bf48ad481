//! Agents for `run` under test, and a `run` that is looked at while it goes on.

use std::io::{BufRead, BufReader, Lines, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::cli_home::Home;

/// Longer than anything here takes on a busy machine.
const PATIENCE: u32 = 9000;

/// Waits for a condition that comes true by itself.
#[track_caller]
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..PATIENCE {
        if is() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("{what}: not within {PATIENCE} looks");
}

/// Whether a process lives; a zombie does not.
pub fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

pub fn signal(pid: i32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.unwrap().success(), "kill -{name} {pid}");
}

/// A `run` that goes on, and what its command prints.
pub struct Run {
    child: Child,
    /// Absent where nobody wants to hear it.
    said: Option<Lines<BufReader<ChildStdout>>>,
}

impl Home {
    /// Writes a shell script that can be run as an agent.
    pub fn agent(&self, body: &str) {
        let path = self.write("agent.sh", format!("#!/bin/sh\n{body}\n"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(path, mode).unwrap();
    }

    /// `run` with these flags and the agent, quick where waiting proves nothing.
    pub fn run_command(&self, flags: &[&str]) -> Command {
        let mut command = self.raw(&[&["run"], flags, &["--", "./agent.sh"]].concat());
        for (name, value) in
            [("RESTART_DELAY_INITIAL", "10ms"), ("STATE_SETTLE", "10ms"), ("STOP_GRACE", "20s")]
        {
            command.env(format!("STATEWARD_RUN__{name}"), value);
        }
        command
    }

    pub fn run_agent(&self, flags: &[&str]) -> crate::cli_home::Answer {
        crate::cli_home::Answer::of(&mut assert_cmd::Command::from_std(self.run_command(flags)))
    }

    pub fn start_agent(&self, flags: &[&str]) -> Run {
        Run::start(&mut self.run_command(flags))
    }

    /// Where the store of a workspace lies when nobody says.
    pub fn store_of(&self, workspace: &str) -> PathBuf {
        let workspace = self.path(workspace);
        let digest = blake3::hash(workspace.as_os_str().as_encoded_bytes()).to_hex();
        let name = workspace.file_name().unwrap().to_str().unwrap();
        self.path(&format!(".local/state/stateward/{name}-{}", &digest[..16]))
    }
}

impl Run {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, said: Some(said) }
    }

    /// Lets the command print whatever it wants from now on.
    pub fn ignore(&mut self) {
        let said = self.said.take().unwrap();
        std::thread::spawn(move || said.for_each(drop));
    }

    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// The next line that the command prints.
    #[track_caller]
    pub fn hear(&mut self) -> String {
        if let Some(line) = self.said.as_mut().unwrap().next() {
            return line.unwrap();
        }
        let mut told = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        panic!("it ended: {told}");
    }

    /// The number in the next line.
    #[track_caller]
    pub fn hear_pid(&mut self) -> i32 {
        let line = self.hear();
        line.parse().unwrap_or_else(|_| panic!("{line}"))
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Kills `run` alone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end: exit code, what the command still printed, what `run` said.
    pub fn end(mut self) -> (i32, String, String) {
        let said = self.said.take().into_iter().flatten();
        let rest: Vec<String> = said.map(|line| line.unwrap()).collect();
        let mut told = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), rest.join("\n"), told)
    }
}

/// Waits until a file holds this text.
#[track_caller]
pub fn until_holds(path: &Path, text: &str) {
    let holds = || std::fs::read_to_string(path).is_ok_and(|found| found.contains(text));
    until(&format!("{} holds {text}", path.display()), holds);
}
