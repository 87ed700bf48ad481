//! The command line.
//!
//! Each command calls the library and prints what it answers: data on stdout, talk on stderr. With
//! `--json` the data is one JSON value on one line, and an error is one JSON object on stderr. Exit
//! codes follow from the error's kind. Nothing is done here that the library cannot do.

mod arguments;
mod bundle;
mod checkpoint;
mod diff;
mod doctor;
mod drift;
mod drill;
mod failure;
mod fleet;
mod list;
mod log;
mod logging;
mod observe;
mod operation;
mod output;
mod place;
mod plan;
mod restore;
mod retain;
mod run;
mod serve;
mod session;
mod setup;
mod show;
mod source;
mod status;
mod validate;
mod verify;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use arguments::Command;
pub use arguments::CommandLine;
use failure::Failure;
pub use logging::Logging;
use session::Session;

/// What the process gets from its surroundings.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The environment, as far as its names are text.
    pub variables: Vec<(String, OsString)>,
    /// The working directory.
    pub directory: PathBuf,
}

/// Reads the arguments; the exit code where there is nothing more to do: help was asked for, or the
/// arguments are wrong and that was said.
///
/// # Errors
/// The exit code to end with.
pub fn parse(arguments: &[OsString]) -> Result<CommandLine, ExitCode> {
    CommandLine::from_arguments(arguments).map_err(|error| failure::of_arguments(&error, arguments))
}

/// Does what the arguments say, and answers with the exit code.
#[must_use]
pub fn run(line: &CommandLine, surroundings: &Surroundings, logging: &Logging) -> ExitCode {
    match perform(line, surroundings, logging) {
        Ok(code) => code,
        Err(failure) => failure.report(line.global.json),
    }
}

fn perform(
    line: &CommandLine,
    surroundings: &Surroundings,
    logging: &Logging,
) -> Result<ExitCode, Failure> {
    // Made where it is needed: a mistake in the configuration is no reason to print no manual.
    let workspace = line.command.workspace();
    let session = || {
        let session = Session::new(&line.global, surroundings, workspace)?;
        if let Some(other) = session.other_store().filter(|_| !session.out.json) {
            let other = other.display();
            session.out.say(&format!(
                "The store of the workspace is meant; the one at {other} is had with --store."
            ));
        }
        Ok::<Session, Failure>(session)
    };
    match &line.command {
        Command::Run(it) => return run::run(&session()?, it),
        Command::Serve(it) => return serve::run(&session()?, logging, it),
        Command::Checkpoint(it) => checkpoint::run(&session()?, it)?,
        Command::List(it) => list::run(&session()?, it)?,
        Command::Show(it) => show::run(&session()?, it)?,
        Command::Diff(it) => diff::run(&session()?, it)?,
        Command::Restore(it) => restore::restore(&session()?, it)?,
        Command::Undo(it) => restore::undo(&session()?, it)?,
        Command::Reset => restore::reset(&session()?)?,
        Command::Operation(it) => return operation::run(&session()?, it),
        Command::Forget(it) => retain::forget(&session()?, it)?,
        Command::Prune => retain::prune(&session()?)?,
        Command::Verify(it) => return verify::run(&session()?, it),
        Command::Observe(it) => observe::run(&session()?, it)?,
        Command::Drift(it) => drift::run(&session()?, it)?,
        Command::Log(it) => log::run(&session()?, it)?,
        Command::Status(it) => status::run(&session()?, it)?,
        Command::Doctor => return doctor::run(&session()?),
        Command::Validate(it) => return validate::run(&session()?, it),
        Command::Drill(it) => return drill::run(&session()?, it),
        Command::Export(it) => bundle::export(&session()?, it)?,
        Command::Import(it) => bundle::import(&session()?, it)?,
        Command::Init => setup::init(&session()?)?,
        Command::Completions(it) => setup::completions(it)?,
        Command::Man => setup::man()?,
    }
    Ok(ExitCode::SUCCESS)
}
