//! `run`: an agent's command, kept and started again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::runtime::Builder;

use super::failure::Failure;
use super::session::Session;
use crate::state::Span;
use crate::supervise::{
    self, Belongings, CLAUDE, OVER, OnCrash, OnSuccess, Pattern, Restart, Setup,
};

const EXAMPLES: &str = "\
Examples:
  stateward run --state memory.json -- python3 agent.py
  stateward run --workspace . --state memory.json -- python3 agent.py
  stateward run --state-file notes.db --state-file 'logs/*.jsonl' -- ./agent
  stateward run --state memory.json --on-crash keep --every 5m -- ./agent
  stateward run --restart-command 'claude --continue' -- claude

The command finds in its environment:
  STATEWARD_AGENT              the agent's id
  STATEWARD_URL                where the sidecar answers: unix:/path/to/socket
  STATEWARD_TOKEN              a token for it, good for this agent alone
  STATEWARD_ATTEMPT            1, and one more each time it is started again
  STATEWARD_RESTORED_FROM      the checkpoint put back before this start
  STATEWARD_FAILED_OPERATIONS  operations that died with the attempt before
The last two may be empty; operations have commas between them.

It runs in a process group of its own, which gets the terminal where there is one. SIGHUP, SIGINT, \
SIGQUIT, SIGTERM, SIGUSR1 and SIGUSR2 are passed on to it. Exit 0, or an exit after a signal that was \
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
    /// The agent's own account of its work, lines of JSON, which is read: a file, a pattern of files,
    /// or `claude` for those of Claude Code in the working directory; `run.transcript` in the
    /// configuration says what stands where in a line
    #[arg(long, value_name = "PATH|GLOB|claude")]
    transcript: Option<String>,
    /// How long the command may take to end before it is killed
    #[arg(long, value_name = "DURATION")]
    stop_grace: Option<Span>,
    /// Take over what a killed run left running, instead of ending it
    #[arg(long)]
    adopt: bool,
    /// The `serve` that runs this agent: this ends with it
    #[arg(long, hide = true, value_name = "PID")]
    kept_by: Option<i32>,
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
        options.transcript.source = self.transcript.clone().or(options.transcript.source);
        options
    }
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<ExitCode, Failure> {
    if let Some(parent) = arguments.kept_by {
        let doing = "stay with the serve that started this";
        supervise::stay_with(parent)
            .map_err(|source| supervise::Error::System { doing, source })?;
    }
    let setup = setup(session, arguments)?;
    let started = |source| supervise::Error::System { doing: "start the event loop", source };
    let runtime = Builder::new_current_thread().enable_all().build().map_err(started)?;
    let code = runtime.block_on(supervise::run(setup))?;
    let of_fleet = arguments.kept_by.is_some() && code != 0;
    Ok(ExitCode::from(if of_fleet { OVER } else { code }))
}

fn setup(session: &Session, arguments: &Arguments) -> Result<Setup, Failure> {
    let settings = &session.configuration.settings;
    let state_files = arguments.state_files.iter().map(|path| session.absolute(path));
    let state_files: Vec<PathBuf> = state_files.collect();
    check_patterns(&state_files)?;
    let belongings = Belongings {
        workspace: session.workspace_at(arguments.workspace.as_deref(), arguments.force)?,
        force: arguments.force,
        shared: arguments.shared,
        state: arguments.state.as_ref().map(|path| session.absolute(path)),
        state_files,
    };
    let options = arguments.over(&settings.run);
    let transcript = match options.transcript.source.as_deref() {
        None => None,
        Some(CLAUDE) => Some(pattern(&session.claude_transcripts()?)?),
        Some(source) => Some(pattern(&session.absolute(Path::new(source)))?),
    };
    Ok(Setup {
        agent: session.agent_id().clone(),
        belongings,
        sidecar: session.sidecar_setup(&session.store()),
        claim_wait: Duration::from_millis(settings.store.lock_wait_ms),
        command: arguments.command.clone(),
        restart_command: arguments.restart_command.clone(),
        transcript,
        options,
        adopt: arguments.adopt,
        among_others: arguments.kept_by.is_some(),
        quiet: session.out.quiet || session.out.json,
        disk: Arc::clone(&session.disk),
        clock: Arc::clone(&session.clock),
    })
}

fn check_patterns(given: &[PathBuf]) -> Result<(), Failure> {
    given.iter().try_for_each(|path| pattern(path).map(drop))
}

fn pattern(path: &Path) -> Result<Pattern, Failure> {
    Pattern::new(path.to_owned()).map_err(|error| Failure::Usage {
        message: format!("{} is no pattern of files: {error}", path.display()),
        hint: "`*`, `?` and `[…]` stand for letters within a name",
    })
}
