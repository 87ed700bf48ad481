//! `run`: an agent's command, kept and started again.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::runtime::Builder;

use super::failure::Failure;
use super::session::Session;
use crate::state::Span;
use crate::supervise::{self, Belongings, OnCrash, OnSuccess, Pattern, Restart, Setup};

const EXAMPLES: &str = "\
Examples:
  stateward run --state memory.json -- python3 agent.py
  stateward run --workspace . --state memory.json -- python3 agent.py
  stateward run --state-file notes.db --state-file 'logs/*.jsonl' -- ./agent
  stateward run --state memory.json --on-crash keep --every 5m -- ./agent
  stateward run --restart-command 'claude --continue' -- claude

The command finds in its environment:
  STATEWARD_AGENT              the agent's id
  STATEWARD_URL                where the sidecar answers, as unix:/path/to/socket
  STATEWARD_TOKEN              a token for it that is good for this agent alone
  STATEWARD_ATTEMPT            1, and one more each time it is started again
  STATEWARD_RESTORED_FROM      the checkpoint that was put back before this start, or empty
  STATEWARD_FAILED_OPERATIONS  operations that died with the attempt before, with commas between,
                               or empty

It runs in a process group of its own, which gets the terminal where there is one. SIGHUP, SIGINT,
SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2 are passed on to it. Exit 0, or an exit after a signal that was
passed on, ends `run` with the command's own code, or 128 and the number of the signal.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Arguments {
    /// The agent's workspace: a directory that is kept whole, and put back where that is asked for
    #[arg(long, value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// Allow a home directory or / as workspace
    #[arg(long, requires = "workspace")]
    force: bool,
    /// Allow the workspace to overlap with another agent's
    #[arg(long, requires = "workspace")]
    shared: bool,
    /// The file the agent keeps its state in, one JSON object; put back when a crash damages it
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// A file that is kept byte for byte, whatever its format, or a pattern of such files; may be
    /// given several times
    #[arg(long = "state-file", value_name = "PATH|GLOB")]
    state_files: Vec<PathBuf>,
    /// Keep a change after this long at the latest
    #[arg(long, value_name = "DURATION")]
    every: Option<Span>,
    /// What is put back after a crash
    #[arg(long, value_name = "WHAT")]
    on_crash: Option<OnCrash>,
    /// What becomes of the checkpoints when the command ends with 0
    #[arg(long, value_name = "WHAT")]
    on_success: Option<OnSuccess>,
    /// Whether a crashed command is started again; `auto` is not on a terminal
    #[arg(long, value_name = "WHEN")]
    restart: Option<Restart>,
    /// A command for `sh -c` to start again with, where that differs; restarts on a terminal too
    #[arg(long, value_name = "CMD")]
    restart_command: Option<String>,
    /// Stop the command while a checkpoint of it is taken
    #[arg(long)]
    freeze: bool,
    /// Without a sign of life for this long, the command has crashed
    #[arg(long, value_name = "DURATION")]
    heartbeat_timeout: Option<Span>,
    /// Start the command afresh when it has run this long
    #[arg(long, value_name = "DURATION")]
    max_uptime: Option<Span>,
    /// How long the command may take to end before it is killed
    #[arg(long, value_name = "DURATION")]
    stop_grace: Option<Span>,
    /// Take over what a killed run left running, instead of ending it
    #[arg(long)]
    adopt: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Arguments {
    /// The configured options, with those that were given on top.
    fn over(&self, configured: &supervise::Options) -> supervise::Options {
        let mut options = configured.clone();
        let Self { every, on_crash, on_success, restart, stop_grace, .. } = self;
        options.every = every.unwrap_or(options.every);
        options.on_crash = on_crash.unwrap_or(options.on_crash);
        options.on_success = on_success.unwrap_or(options.on_success);
        options.restart = restart.unwrap_or(options.restart);
        options.stop_grace = stop_grace.unwrap_or(options.stop_grace);
        options.freeze |= self.freeze;
        options.heartbeat_timeout = self.heartbeat_timeout.or(options.heartbeat_timeout);
        options.max_uptime = self.max_uptime.or(options.max_uptime);
        options
    }
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let setup = setup(session, arguments)?;
    let started = |source| supervise::Error::System { doing: "start the event loop", source };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(started)?;
    let code = runtime.block_on(supervise::run(setup))?;
    Ok(ExitCode::from(code))
}

fn setup(session: &Session, arguments: &Arguments) -> Result<Setup, Failure> {
    let settings = &session.configuration.settings;
    let state_files = arguments.state_files.iter().map(|path| session.absolute(path));
    let state_files: Vec<PathBuf> = state_files.collect();
    check_patterns(&state_files)?;
    let belongings = Belongings {
        workspace: arguments.workspace.as_ref().map(|path| session.absolute(path)),
        force: arguments.force,
        shared: arguments.shared,
        state: arguments.state.as_ref().map(|path| session.absolute(path)),
        state_files,
    };
    Ok(Setup {
        agent: session.agent_id().clone(),
        belongings,
        sidecar: session.sidecar_setup(&session.store()),
        claim_wait: Duration::from_millis(settings.store.lock_wait_ms),
        command: arguments.command.clone(),
        restart_command: arguments.restart_command.clone(),
        options: arguments.over(&settings.run),
        adopt: arguments.adopt,
        quiet: session.out.quiet || session.out.json,
        disk: Arc::clone(&session.disk),
        clock: Arc::clone(&session.clock),
    })
}

fn check_patterns(given: &[PathBuf]) -> Result<(), Failure> {
    for path in given {
        Pattern::new(path.clone()).map_err(|error| Failure::Usage {
            message: format!("{} is no pattern of files: {error}", path.display()),
            hint: "`*`, `?` and `[…]` stand for letters within a name",
        })?;
    }
    Ok(())
}
