//! What can go wrong on the command line, and how it is told.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::styling::AnsiColor;
use clap::error::ErrorKind as ClapKind;
use serde::Serialize;

use super::output::talk;
use crate::error::ErrorKind;
use crate::server::reach::ReachError;
use crate::state::{Attempt, NounError};
use crate::{config, disk, manager, server, supervise, validate};

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The library's answer.
    #[error(transparent)]
    Manager(#[from] manager::Error),
    /// The library's answer, here or through a sidecar.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// What running an agent came to.
    #[error(transparent)]
    Supervise(#[from] supervise::Error),
    /// Why the validation suite cannot be run.
    #[error(transparent)]
    Validate(#[from] validate::Error),
    /// What serving came to.
    #[error(transparent)]
    Server(#[from] server::Error),
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Noun(#[from] NounError),
    /// The request is wrong.
    #[error("{message}")]
    Usage { message: String, hint: &'static str },
    /// What was to be read is not there or cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Publish(#[from] disk::PublishError),
    /// A command that was run for the caller did not succeed.
    #[error("{0}")]
    Command(String),
    /// Another sidecar serves the store.
    #[error("{} is served already, at {url} by {by}", store.display())]
    Served { store: PathBuf, url: String, by: String },
    /// It would do harm.
    #[error("{message}")]
    Refused { message: String, hint: &'static str },
    /// The reader of stdout went away: nothing to tell, and nobody to tell it to.
    #[error("the output was closed")]
    Closed,
}

/// The error as JSON.
#[derive(Serialize)]
struct Told<'a> {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    attempts: &'a [Attempt],
}

impl Failure {
    /// What writing to stdout came to.
    pub(super) fn of_output(source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            Self::Closed
        } else {
            Self::Write { path: "the output".into(), source }
        }
    }

    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Manager(error) => error.kind(),
            Self::Reach(error) => error.kind(),
            Self::Supervise(error) => error.kind(),
            Self::Server(error) => error.kind(),
            Self::Config(error) => error.kind(),
            Self::Validate(error) => error.kind(),
            Self::Noun(_) | Self::Usage { .. } => ErrorKind::Usage,
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorKind::NotFound
            }
            Self::Refused { .. } => ErrorKind::Refused,
            Self::Served { .. } => ErrorKind::Locked,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Publish(_)
            | Self::Command(_)
            | Self::Closed => ErrorKind::Failed,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Manager(error) => error.hint(),
            Self::Reach(error) => error.hint(),
            Self::Supervise(error) => error.hint(),
            Self::Server(error) => error.hint().map(str::to_owned),
            Self::Usage { hint, .. } | Self::Refused { hint, .. } => Some((*hint).to_owned()),
            Self::Served { .. } => Some(
                "commands and runs join it by themselves; `stateward status` asks it".to_owned(),
            ),
            Self::Validate(_) => Some("`stateward validate --list` names them".to_owned()),
            Self::Config(config::Error::Read { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some(
                    "let this user read it, or name another with --config or XDG_CONFIG_HOME"
                        .to_owned(),
                )
            }
            Self::Config(_) => Some(
                "`stateward init` writes a file with every key, in a directory that has none"
                    .to_owned(),
            ),
            Self::Read { .. } => Some("name a file that can be read".to_owned()),
            Self::Publish(_) | Self::Write { .. } => {
                Some("name a place that can be written, with room for it".to_owned())
            }
            Self::Noun(_) => Some("`--help` says what may stand there".to_owned()),
            _ => None,
        }
        .filter(|hint| !hint.is_empty())
    }

    fn attempts(&self) -> &[Attempt] {
        match self {
            Self::Manager(error) | Self::Supervise(supervise::Error::Manager(error)) => {
                error.attempts()
            }
            Self::Reach(error) => error.attempts(),
            Self::Supervise(supervise::Error::Sidecar(error)) => error.attempts(),
            _ => &[],
        }
    }

    /// Tells it on stderr, and answers with the exit code.
    pub(super) fn report(&self, json: bool) -> ExitCode {
        if matches!(self, Self::Closed) {
            return ExitCode::SUCCESS;
        }
        let (kind, hint, attempts) = (self.kind(), self.hint(), self.attempts());
        tell(&Told { kind, message: self.to_string(), hint, attempts }, json);
        ExitCode::from(kind.exit_code())
    }
}

fn tell(told: &Told<'_>, json: bool) {
    if json {
        return talk(&format!("{}\n", serde_json::json!({ "error": told })));
    }
    let (red, cyan) = (AnsiColor::Red.on_default().bold(), AnsiColor::Cyan.on_default());
    let mut lines = vec![format!("{red}error:{red:#} {}", told.message)];
    for attempt in told.attempts {
        let why = attempt.error.as_deref().unwrap_or("stored");
        lines.push(format!("  tried {}: {why}", attempt.target.display()));
    }
    lines.extend(told.hint.iter().map(|hint| format!("{cyan}hint:{cyan:#} {hint}")));
    talk(&(lines.join("\n") + "\n"));
}

/// Answers to arguments that cannot be followed, or that only ask for help.
pub(super) fn of_arguments(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let asked = matches!(error.kind(), ClapKind::DisplayHelp | ClapKind::DisplayVersion);
    let json = arguments.iter().take_while(|it| *it != "--").any(|it| it == "--json");
    if asked || !json {
        // Nobody is left to tell where even this cannot be printed.
        error.print().ok();
        return if asked { ExitCode::SUCCESS } else { usage() };
    }
    let text = error.render().to_string();
    let message = text.strip_prefix("error: ").unwrap_or(&text);
    let ends = ["\n\nUsage:", "\n\nFor more information"];
    let end = ends.iter().filter_map(|end| message.find(end)).min().unwrap_or(message.len());
    let message = message[..end].trim_end().to_owned();
    let hint = Some("`stateward --help` lists the commands, and each takes --help".to_owned());
    tell(&Told { kind: ErrorKind::Usage, message, hint, attempts: &[] }, true);
    usage()
}

fn usage() -> ExitCode {
    ExitCode::from(ErrorKind::Usage.exit_code())
}
