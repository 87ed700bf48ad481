//! What can be written on the command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, Parser, Subcommand};

use super::{
    bundle, checkpoint, diff, drift, drill, list, log, observe, operation, restore, retain, run,
    serve, setup, show, status, validate, verify,
};

const EXAMPLES: &str = "\
Examples:
  stateward run --state memory.json -- ./agent    keep it through crashes
  stateward checkpoint --state state.json         keep the state
  stateward list                                  see what is kept
  stateward restore latest                        put the newest one back
  stateward restore latest --state-out -          only print it
  stateward operation run deploy -- ./deploy.sh   guard a risky step

REF is the number of a checkpoint as `list` shows it, a path that `checkpoint` printed, an id or at \
least 4 digits it begins with, latest, latest:KIND, or good (the newest proven sound, older than \
anything suspected).

Exit codes:
  0  done
  1  failed, unavailable, or the state changed since --if-match
  2  usage: the arguments, the configuration or the state are wrong
  3  not found
  4  damaged
  5  locked: another process or session holds it
  6  unstored: no store could take it
  7  refused: it would do harm";

/// Keeps the state of long-running agents: checkpoints that cannot be lost, and a safe way back.
#[derive(Debug, Parser)]
#[command(name = "stateward", version, after_help = EXAMPLES, max_term_width = 100)]
pub struct CommandLine {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// The store; without it the configured one, that of the workspace, or ./.stateward
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    pub store: Option<PathBuf>,
    /// Whose checkpoints; without it the configured agent, or `default`
    #[arg(long, global = true, value_name = "ID", help_heading = "Everywhere")]
    pub agent: Option<String>,
    /// Print data and errors as JSON
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// A configuration file; `stateward status --config` shows what holds and why
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub config: Option<PathBuf>,
    /// Say more of what happens; more often says more
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Everywhere")]
    pub verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Everywhere")]
    pub quiet: bool,
    /// Do not ask
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run an agent: keep it, start it again after a crash, put back what the crash broke
    Run(run::Arguments),
    /// Serve the store to agents and commands over a socket
    Serve(serve::Arguments),
    /// Make a checkpoint and print its receipt
    Checkpoint(checkpoint::Arguments),
    /// List an agent's checkpoints, newest first
    List(list::Arguments),
    /// Show one checkpoint, its state, or its files
    Show(show::Arguments),
    /// Show what changed from one checkpoint to another, or since one
    Diff(diff::Arguments),
    /// Put a checkpoint back where it was taken from, or write it elsewhere
    Restore(restore::Arguments),
    /// Take the last restore back
    Undo(restore::Undo),
    /// Start afresh on purpose; what was kept stays as evidence
    Reset,
    /// Guard a risky piece of work
    #[command(subcommand)]
    Operation(operation::Command),
    /// Let checkpoints go, by the policy or single ones
    Forget(retain::Forget),
    /// Free the space of what was forgotten
    Prune,
    /// Read every byte and tell what is damaged
    Verify(verify::Arguments),
    /// Say what an agent did, and hear how it stands
    Observe(observe::Arguments),
    /// Show what drift's detectors see, what they found, and where it would lead
    Drift(drift::Arguments),
    /// Show what happened in the store, oldest first
    Log(log::Arguments),
    /// Show how the store stands, or what configuration holds
    Status(status::Arguments),
    /// Tell what is wrong with this set-up and what follows
    Doctor,
    /// Try the promises out on this machine and this disk
    Validate(validate::Arguments),
    /// Prove that the newest checkpoints come back, and say how old they are and how long it takes
    Drill(drill::Arguments),
    /// Write one checkpoint to a single file
    Export(bundle::Export),
    /// Take in a checkpoint that `export` wrote
    Import(bundle::Import),
    /// Write a commented configuration and make the store
    Init,
    /// Print completions for a shell
    Completions(setup::Completions),
    /// Print the manual page
    Man,
}

impl Command {
    /// The workspace that the command names.
    pub(super) fn workspace(&self) -> Option<&Path> {
        match self {
            Self::Run(it) => it.workspace.as_deref(),
            Self::Checkpoint(it) => it.parts.workspace.as_deref(),
            Self::Operation(it) => it.workspace(),
            Self::Restore(it) => it.workspace.as_deref(),
            Self::Diff(it) => it.workspace.as_deref(),
            _ => None,
        }
    }
}

impl CommandLine {
    pub(super) fn from_arguments(arguments: &[OsString]) -> Result<Self, clap::Error> {
        Self::try_parse_from(told_apart(arguments))
    }
}

/// `--config FILE` goes with every command, and `status --config` shows the configuration: behind
/// `status`, one without a file becomes `--show-config`.
fn told_apart(arguments: &[OsString]) -> Vec<OsString> {
    let mut arguments = arguments.to_vec();
    let status = arguments.iter().position(|argument| argument == "status");
    for at in status.map_or(arguments.len(), |at| at + 1)..arguments.len() {
        let next = arguments.get(at + 1).map(|next| next.as_encoded_bytes());
        if arguments[at] == "--config" && next.is_none_or(|next| next.starts_with(b"-")) {
            arguments[at] = "--show-config".into();
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> CommandLine {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        CommandLine::from_arguments(&arguments).unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn config_is_a_file_everywhere_and_a_question_to_status() {
        let shows = |line: &CommandLine| match &line.command {
            Command::Status(it) => it.show_config,
            _ => false,
        };
        let line = parse("stateward --config f status --config --json");
        assert!(line.global.config == Some("f".into()) && shows(&line) && line.global.json);
        let line = parse("stateward status --config f");
        assert!(line.global.config == Some("f".into()) && !shows(&line));
        assert!(shows(&parse("stateward status --config")));
    }
}
