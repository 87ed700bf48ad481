//! `verify`: reads every byte and tells what is damaged.

use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::session::Session;
use crate::error::ErrorKind;
use crate::manager::VerifyOptions;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stateward verify\n  stateward verify --read-data-subset 10%\n  \
                        stateward verify --repair\n\nViews that are missing or damaged are made \
                        again. Only --repair changes the log, from a second copy where there is \
                        one. Exits with 4 while damage remains."
)]
pub(super) struct Arguments {
    /// Read only this share of the data, as 10%
    #[arg(long, value_name = "PERCENT", default_value = "100%", value_parser = percent)]
    read_data_subset: f64,
    /// Heal what has a second copy, and let go what has none
    #[arg(long)]
    repair: bool,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let number: f64 = number.parse().map_err(|_| "it is a number of percent".to_owned())?;
    let fits = number > 0.0 && number <= 100.0;
    if fits { Ok(number) } else { Err("it is more than 0 and at most 100".to_owned()) }
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let options =
        VerifyOptions { subset_percent: arguments.read_data_subset, repair: arguments.repair };
    let bar = session.out.progress("verifying");
    let reports = session.write(&session.store(), |manager| {
        let mut show = |progress: crate::manager::Progress| {
            bar.show(progress.done, progress.total);
        };
        Ok(manager.verify(&options, &mut show)?)
    })?;
    drop(bar);
    session.out.data(&reports, || format!("{reports:#?}"))?;
    let code =
        if reports.iter().all(|report| report.sound) { 0 } else { ErrorKind::Damaged.exit_code() };
    Ok(ExitCode::from(code))
}
