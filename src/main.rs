//! The binary: arguments → configuration → command → exit code.

#![forbid(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use stateward::cli::{self, CommandLine, Surroundings};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().collect();
    let line = match cli::parse(&arguments) {
        Ok(line) => line,
        Err(code) => return code,
    };
    log_to_stderr(&line);
    let directory = match env::current_dir() {
        Ok(directory) => directory,
        Err(error) => {
            anstream::eprintln!("error: the working directory cannot be told: {error}");
            return ExitCode::FAILURE;
        }
    };
    let variables =
        env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    cli::run(&line, &Surroundings { variables: variables.collect(), directory })
}

/// What the library says of its work goes to stderr: warnings (that a second try was needed is told
/// by the receipt), more with `-v`, and what `STATEWARD_LOG` or `RUST_LOG` ask for. With `--json`
/// stderr is for the error object alone.
fn log_to_stderr(line: &CommandLine) {
    let asked = ["STATEWARD_LOG", "RUST_LOG"].into_iter().find_map(|name| env::var(name).ok());
    let filter = match (&asked, line.global.verbose) {
        (_, 1) => EnvFilter::new("stateward=info"),
        (_, 2) => EnvFilter::new("stateward=debug"),
        (_, 3..) => EnvFilter::new("stateward=trace"),
        (Some(asked), 0) => EnvFilter::builder().parse_lossy(asked),
        (None, 0) if line.global.json => EnvFilter::new("off"),
        (None, 0) if line.global.quiet => EnvFilter::new("error"),
        (None, 0) => EnvFilter::new("warn,stateward::disk::retry=error"),
    };
    let colours = std::io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .without_time()
        .init();
}
