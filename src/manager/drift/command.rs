//! Commands of the user's own: the hook that is told of responses, and detectors.
//!
//! A command gets one JSON object on its standard input and is given so much time; then it is killed
//! with everything it started in its process group. It runs in this process's working directory and
//! environment, less every variable whose name speaks of a secret. It is no shell line: the first
//! word is the program.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// Answers are short; more than this is not read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Parts of a variable's name, in upper case, that speak of a secret.
const SECRETS: [&str; 6] = ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY"];

/// Runs a command and answers with what it wrote to its standard output.
pub(super) fn run(argv: &[String], input: Vec<u8>, timeout: Duration) -> Result<Vec<u8>, String> {
    let (program, arguments) = argv.split_first().ok_or("it names no program")?;
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter(|name| speaks_of_a_secret(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    let child = command.spawn().map_err(|error| format!("cannot start {program}: {error}"))?;
    let pid = child.id();
    let (tell, told) = mpsc::channel();
    let talk = thread::Builder::new().name("stateward-command".to_owned());
    // Whoever waited for the answer may be gone when it comes.
    let spawned = talk.spawn(move || tell.send(converse(child, &input)).ok());
    if let Err(error) = spawned {
        kill(pid);
        return Err(format!("no thread to talk to {program}: {error}"));
    }
    match told.recv_timeout(timeout) {
        Ok(answer) => answer.map_err(|error| format!("{program}: {error}")),
        Err(_) => {
            kill(pid);
            Err(format!("{program} did not answer within {timeout:?}"))
        }
    }
}

fn speaks_of_a_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRETS.iter().any(|secret| name.contains(secret))
}

/// Hands the input over, reads the answer, waits for the end.
fn converse(mut child: Child, input: &[u8]) -> io::Result<Vec<u8>> {
    let stdin = child.stdin.take();
    let stdout = child.stdout.take();
    let answer = thread::scope(|scope| {
        // Beside each other: a command may answer before it has read everything.
        let writer = scope.spawn(|| match stdin.map(|mut stdin| stdin.write_all(input)) {
            // It may answer without having read anything.
            Some(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        });
        let mut answer = Vec::new();
        let read = stdout.map(|out| out.take(ANSWER_BYTES_MAX).read_to_end(&mut answer));
        let wrote = writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer died")));
        wrote?;
        read.transpose()?;
        Ok::<Vec<u8>, io::Error>(answer)
    });
    let status = child.wait()?;
    let answer = answer?;
    if status.success() {
        Ok(answer)
    } else {
        Err(io::Error::other(format!("it ended with {status}")))
    }
}

fn kill(pid: u32) {
    let group = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // That it is gone by itself is as good.
    if let Some(group) = group
        && let Err(error) = kill_process_group(group, Signal::KILL)
    {
        tracing::debug!(pid, %error, "a command that took too long cannot be killed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, input: &str, timeout: Duration) -> Result<String, String> {
        let argv = ["sh", "-c", script].map(str::to_owned);
        let answer = run(&argv, input.as_bytes().to_vec(), timeout)?;
        Ok(String::from_utf8(answer).unwrap())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_command_reads_its_input_and_is_heard() {
        assert_eq!(sh("tr a-z A-Z", "hello", LONG).unwrap(), "HELLO");
        let much = "x".repeat(1 << 20);
        assert_eq!(sh("echo done", &much, LONG).unwrap(), "done\n");
        assert!(sh("cat; exit 3", "a", LONG).unwrap_err().contains("exit status: 3"));
        assert!(run(&["/nonexistent/x".to_owned()], Vec::new(), LONG).is_err());
        assert!(run(&[], Vec::new(), LONG).is_err());
    }

    #[test]
    fn one_that_takes_too_long_is_killed_with_what_it_started() {
        let error = sh("sleep 600 & echo $!; wait", "", Duration::from_millis(300)).unwrap_err();
        assert!(error.contains("did not answer within"), "{error}");
    }

    #[test]
    fn it_is_told_no_secrets() {
        for name in ["STATEWARD_TOKEN", "aws_secret_access_key", "OPENAI_API_KEY", "DbPassword"] {
            assert!(speaks_of_a_secret(name), "{name}");
        }
        for name in ["PATH", "HOME", "STATEWARD_URL", "KEYBOARD"] {
            assert!(!speaks_of_a_secret(name), "{name}");
        }
    }
}
