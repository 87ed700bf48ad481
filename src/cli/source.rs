//! Where a command takes the state from: a file, a pipe, stdin, or a command that prints it.
//!
//! A regular file is remembered as the place to put the state back to. What is none (stdin, a pipe,
//! `/dev/fd/N`) is only read. Nothing is read further than the longest state that is allowed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;

use super::failure::Failure;
use super::session::Session;
use crate::disk::{self, EntryKind};
use crate::server::api::{OwnerWords, RawState};

#[derive(Debug, Args)]
pub(super) struct StateArguments {
    /// A file with the state, one JSON object, or - for stdin; a restore puts it back into the file
    #[arg(long, value_name = "FILE|-", conflicts_with = "state_command")]
    state: Option<PathBuf>,
    /// A command for `sh -c` that prints the state
    #[arg(long, value_name = "CMD")]
    state_command: Option<String>,
}

/// A state as it was given.
#[derive(Debug)]
pub(super) enum Given {
    /// None: the newest one is taken over.
    Nothing,
    Bytes(Vec<u8>),
    /// From a regular file, absolute and with links resolved.
    File(PathBuf, Vec<u8>),
}

impl Given {
    /// The state in a file that it is known to lie in; nothing where that is not whole just now.
    pub(super) fn of_file(session: &Session, path: &Path) -> Result<Self, Failure> {
        let limits = session.configuration.settings.state;
        let given = from_path(session, path, limits.state_bytes_max)?;
        match &given {
            Self::File(_, bytes) if limits.check_state(bytes).is_ok() => Ok(given),
            _ => Ok(Self::Nothing),
        }
    }

    /// The state as a request has it; where it was read from is for the owner to say.
    pub(super) fn into_body(self, owner: &mut OwnerWords) -> Option<RawState> {
        match self {
            Self::Nothing => None,
            Self::Bytes(bytes) => Some(RawState(bytes)),
            Self::File(path, bytes) => {
                owner.state_file = Some(path);
                Some(RawState(bytes))
            }
        }
    }
}

impl StateArguments {
    pub(super) fn take(&self, session: &Session) -> Result<Given, Failure> {
        let limit = session.configuration.settings.state.state_bytes_max;
        match (&self.state, &self.state_command) {
            (Some(path), _) if path == Path::new("-") => {
                bounded(io::stdin().lock(), limit, path).map(Given::Bytes)
            }
            (Some(path), _) => from_path(session, path, limit),
            (None, Some(command)) => from_command(command, limit).map(Given::Bytes),
            (None, None) => Ok(Given::Nothing),
        }
    }
}

fn from_path(session: &Session, path: &Path, limit: usize) -> Result<Given, Failure> {
    let failed = |source| Failure::Read { path: path.to_owned(), source };
    let absolute = session.absolute(path);
    if let Some((resolved, len)) = regular_file(session, &absolute) {
        if len > limit as u64 {
            return Err(too_long(path, limit));
        }
        let bytes = disk::read(&*session.disk, &resolved).map_err(failed)?;
        return Ok(Given::File(resolved, bytes));
    }
    #[expect(clippy::disallowed_methods, reason = "a pipe is no file of the disk")]
    let pipe = File::open(&absolute).map_err(failed)?;
    bounded(pipe, limit, path).map(Given::Bytes)
}

/// The place and length of what is a file on a disk, and will be there again. What stands under
/// `/dev` or `/proc` is another one for each process, whatever it leads to.
fn regular_file(session: &Session, path: &Path) -> Option<(PathBuf, u64)> {
    if path.starts_with("/dev") || path.starts_with("/proc") {
        return None;
    }
    let resolved = session.disk.canonical(path).ok()?;
    let found = session.disk.metadata(&resolved).ok()?;
    (found.kind == EntryKind::File).then_some((resolved, found.len))
}

fn from_command(command: &str, limit: usize) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::Command(format!("cannot run `{command}`: {error}"));
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let out = child.stdout.take().expect("stdout was asked to be a pipe");
    // The pipe closes when this returns, so a command that prints without end comes to its own.
    let bytes = bounded(out, limit, Path::new("the command's output"));
    let status = child.wait().map_err(failed)?;
    let bytes = bytes?;
    if status.success() {
        return Ok(bytes);
    }
    Err(Failure::Command(format!("`{command}` did not give a state: {status}")))
}

/// Reads to the end, or refuses what is longer than `limit`.
pub(super) fn bounded(source: impl Read, limit: usize, path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    source
        .take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Failure::Read { path: path.to_owned(), source })?;
    if bytes.len() > limit { Err(too_long(path, limit)) } else { Ok(bytes) }
}

fn too_long(path: &Path, limit: usize) -> Failure {
    Failure::Usage {
        message: format!("{} has more than {limit} bytes", path.display()),
        hint: "state.state_bytes_max in the configuration is the limit",
    }
}
