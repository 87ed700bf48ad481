//! The binary: arguments → configuration → command → exit code.

#![forbid(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use stateward::cli::{self, Logging, Surroundings};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().collect();
    let line = match cli::parse(&arguments) {
        Ok(line) => line,
        Err(code) => return code,
    };
    let directory = match env::current_dir() {
        Ok(directory) => directory,
        Err(error) => {
            anstream::eprintln!("error: the working directory cannot be told: {error}");
            return ExitCode::FAILURE;
        }
    };
    let variables =
        env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let surroundings = Surroundings { variables: variables.collect(), directory };
    // Held to the end: what is still to be written to the log is written when it goes.
    match Logging::begin(&line, &surroundings) {
        Ok(logging) => cli::run(&line, &surroundings, &logging),
        Err(code) => code,
    }
}
