//! `operation`: a risky piece of work between a checkpoint and a word on how it ended.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode, ExitStatus};

use clap::Args;
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::checkpoint::{concerns, in_words, make};
use super::failure::Failure;
use super::output::{span, table};
use super::place::PartArguments;
use super::session::Session;
use super::source::{Given, StateArguments};
use crate::encode::event::Outcome;
use crate::error::ErrorKind;
use crate::manager::{OperationStatus, Standing};
use crate::server::api::{
    self, CheckpointBody, CloseBody, MakeCheckpoint, Opening, Operations, OwnerWords, RawState,
    RestoreAnswer, Show, Shown,
};
use crate::state::{CheckpointId, Kind, Receipt, Timestamp};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Take a checkpoint and open an operation
    Begin(Begin),
    /// Say that it went well
    Complete(Named),
    /// Say that it went wrong
    Fail(Fail),
    /// Open one, run a command, and close it by the command's exit code
    Run(Run),
    /// List operations
    List,
}

#[derive(Debug, Args)]
pub(super) struct Begin {
    /// What it is called
    name: String,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    parts: PartArguments,
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// Its name (the newest open one of that name) or its id
    #[arg(value_name = "NAME|ID")]
    operation: String,
}

#[derive(Debug, Args)]
pub(super) struct Fail {
    #[command(flatten)]
    named: Named,
    /// Restore what was before it
    #[arg(long)]
    restore: bool,
    /// Why, in words
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stateward operation run deploy --restore --state s.json -- \
                        ./deploy.sh\n\nExits with the command's own code, or 128 and the number \
                        of the signal that ended it.")]
pub(super) struct Run {
    /// What it is called
    name: String,
    /// Restore what was before it where the command fails
    #[arg(long)]
    restore: bool,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    parts: PartArguments,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// How an operation ended, and what was restored because of it.
#[derive(Serialize)]
struct Closed {
    #[serde(flatten)]
    operation: OperationStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<RestoreAnswer>,
}

impl Command {
    /// The workspace that the command names.
    pub(super) fn workspace(&self) -> Option<&Path> {
        match self {
            Self::Begin(it) => it.parts.workspace.as_deref(),
            Self::Run(it) => it.parts.workspace.as_deref(),
            Self::Complete(_) | Self::Fail(_) | Self::List => None,
        }
    }
}

pub(super) fn run(session: &Session, command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Begin(it) => {
            let receipt = begin(session, &it.name, &it.state, &it.parts)?;
            session.out.data(&receipt, || in_words(&receipt))?;
            session.out.say(&concerns(&receipt));
        }
        Command::Complete(it) => {
            let closed = close(session, &it.operation, Outcome::Completed, "", false)?;
            tell_closed(session, &closed)?;
        }
        Command::Fail(it) => {
            let Fail { named, restore, why } = it;
            let closed = close(session, &named.operation, Outcome::Failed, why, *restore)?;
            tell_closed(session, &closed)?;
        }
        Command::Run(it) => return guard(session, it),
        Command::List => list(session)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn begin(
    session: &Session,
    name: &str,
    state: &StateArguments,
    parts: &PartArguments,
) -> Result<Receipt, Failure> {
    let mut owner = parts.words(session)?;
    let mut state = state.take(session)?.into_body(&mut owner);
    if state.is_none() && owner.workspace.is_none() && owner.state_files.is_empty() {
        state = as_they_stand(session, &mut owner)?;
    }
    let body = CheckpointBody {
        state,
        operation: Some(name.to_owned()),
        owner: Some(owner),
        ..CheckpointBody::of(Kind::PreOperation)
    };
    let wanted = MakeCheckpoint {
        agent: session.agent_id().clone(),
        body,
        condition: None,
        idempotency_key: None,
        opening: Opening::ByKind,
    };
    make(session, wanted)
}

/// Where nothing is named, the places of the newest checkpoint are looked at afresh: what is guarded is
/// how things stand now, not how they stood when they were last kept.
fn as_they_stand(session: &Session, owner: &mut OwnerWords) -> Result<Option<RawState>, Failure> {
    let store = session.store();
    let is_there = |path: &PathBuf| session.disk.metadata(path).is_ok();
    if !is_there(&store) {
        return Ok(None);
    }
    let agent = session.agent_id().clone();
    let reach = session.as_held(&store)?;
    let shown = session.call(&reach, Show { agent, reference: "latest".to_owned() });
    let Shown { checkpoint, .. } = match shown {
        Ok(shown) => shown,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    owner.workspace = checkpoint.workspace.filter(is_there);
    owner.state_files = checkpoint.state_files.into_iter().filter(is_there).collect();
    let Some(file) = checkpoint.state_file.filter(is_there) else { return Ok(None) };
    Ok(Given::of_file(session, &file)?.into_body(owner))
}

fn close(
    session: &Session,
    operation: &str,
    outcome: Outcome,
    why: &str,
    restore: bool,
) -> Result<Closed, Failure> {
    let owner = Some(OwnerWords::by_hand());
    let wanted = api::Close {
        agent: session.agent_id().clone(),
        operation: operation.to_owned(),
        outcome,
        body: CloseBody { why: why.to_owned(), restore, owner },
    };
    let closed = session.reach(&session.store(), |reach| session.call(reach, wanted))?;
    let api::Closed { operation, restored } = closed;
    Ok(Closed { operation, restored: restored.map(RestoreAnswer::without_content) })
}

fn tell_closed(session: &Session, closed: &Closed) -> Result<(), Failure> {
    session.out.data(closed, || {
        let OperationStatus { name, status, seq, .. } = &closed.operation;
        let restored = match &closed.restored {
            Some(_) => format!("; checkpoint {seq}, from before it, is restored"),
            None => String::new(),
        };
        format!("Operation {name} is {}{restored}.", word(*status))
    })
}

/// The store is closed while the command runs, so that it can make checkpoints itself.
fn guard(session: &Session, arguments: &Run) -> Result<ExitCode, Failure> {
    let (program, rest) = arguments.command.split_first().expect("clap asks for at least one");
    let receipt = begin(session, &arguments.name, &arguments.state, &arguments.parts)?;
    session.out.say(&concerns(&receipt));
    let id = receipt.checkpoint.checkpoint_id;
    let ended = run_alone(process::Command::new(program).args(rest));
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => {
            let why = format!("cannot run {}: {error}", program.display());
            close_guarded(session, arguments, id, Err(&why))?;
            return Err(Failure::Command(why));
        }
    };
    let why = ended.to_string();
    close_guarded(session, arguments, id, if ended.success() { Ok(()) } else { Err(&why) })?;
    Ok(code_of(ended))
}

/// Runs the command while an interrupt from the terminal, which reaches it too, ends it and not us:
/// what comes of it is still to be written down.
fn run_alone(command: &mut process::Command) -> io::Result<ExitStatus> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    // A signal that somebody listens for does not end the process; that nobody reads is no matter.
    let _interrupt = signal(SignalKind::interrupt())?;
    let _quit = signal(SignalKind::quit())?;
    command.status()
}

fn close_guarded(
    session: &Session,
    arguments: &Run,
    id: CheckpointId,
    ended: Result<(), &str>,
) -> Result<(), Failure> {
    let (outcome, why) = match ended {
        Ok(()) => (Outcome::Completed, ""),
        Err(why) => (Outcome::Failed, why),
    };
    let restore = arguments.restore && ended.is_err();
    let closed = close(session, &id.to_string(), outcome, why, restore)?;
    let restored =
        if closed.restored.is_some() { ", and what was before it is restored" } else { "" };
    let because = if why.is_empty() { String::new() } else { format!(" ({why})") };
    let (name, status) = (&arguments.name, word(closed.operation.status));
    session.out.say(&format!("Operation {name} is {status}{because}{restored}."));
    Ok(())
}

fn code_of(ended: ExitStatus) -> ExitCode {
    let code = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn list(session: &Session) -> Result<(), Failure> {
    let agent = session.agent_id();
    let reach = session.glance(&session.store())?;
    let found = session.call(&reach, Operations { agent: agent.clone() })?;
    let now = session.clock.now();
    session.out.data(&found, || {
        if found.is_empty() {
            return format!("Agent {agent} has no operations.");
        }
        let rows = found.iter().map(|it| row(it, now)).collect();
        table(["NAME", "STATUS", "OPENED", "CHECKPOINT", "ID", ""], rows)
    })
}

fn row(it: &OperationStatus, now: Timestamp) -> [String; 6] {
    [
        it.name.clone(),
        word(it.status).to_owned(),
        format!("{} ago", span(now.since(it.opened_at))),
        it.seq.to_string(),
        it.operation_id.to_string(),
        it.why.clone(),
    ]
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Open => "open",
        Standing::Completed => "completed",
        Standing::Failed => "failed",
    }
}
