//! `verify`: reads every byte and tells what is damaged.

use std::process::ExitCode;

use clap::Args;

use super::failure::Failure;
use super::output::size;
use super::session::Session;
use crate::error::ErrorKind;
use crate::server::api::Verify;
use crate::server::reach::Reach;
use crate::verify::{DamagedCheckpoint, Progress, VerifyOptions, VerifyReport};

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
    let mut show = |progress: Progress| bar.show(progress.done, progress.total);
    let store = session.store();
    let reports = if options.repair {
        session.reach(&store, |reach| match reach {
            Reach::Here(manager) => Ok(manager.verify(&options, &mut show)?),
            Reach::There(_) => session.call(reach, Verify { options }),
        })?
    } else {
        // Another process may hold the lock: then it is read beside it.
        let manager = session.look(&store)?;
        let reports = manager.verify(&options, &mut show)?;
        manager.settle()?;
        reports
    };
    drop(bar);
    let in_words = |report| in_words(report, options.repair);
    session.out.data(&reports, || reports.iter().map(in_words).collect())?;
    let sound = reports.iter().all(|report| report.sound);
    Ok(ExitCode::from(if sound { 0 } else { ErrorKind::Damaged.exit_code() }))
}

fn in_words(report: &VerifyReport, repaired: bool) -> String {
    let VerifyReport { segments, bytes, checkpoints, views, .. } = report;
    let read = format!(
        "Read {} in {segments} segments, the content of {checkpoints} checkpoints, {views} views.",
        size(*bytes)
    );
    let mut lines = vec![format!("Store {}", report.store.display()), read];
    for it in &report.damage {
        let place = format!("{}, {} bytes at {}", it.file.display(), it.bytes, it.offset);
        lines.push(format!("damaged: {place}: {}", it.what));
    }
    for (word, found) in
        [("damaged", &report.damaged_checkpoints), ("lost from the log", &report.lost_checkpoints)]
    {
        lines.extend(found.iter().map(|it| {
            let DamagedCheckpoint { agent_id, seq, checkpoint_id, why } = it;
            format!("{word}: checkpoint {seq} of {agent_id} ({checkpoint_id}): {why}")
        }));
    }
    lines.extend(report.healed.iter().map(|what| format!("healed: {what}")));
    if report.rebuilt_views > 0 {
        lines.push(format!("{} views were made anew.", report.rebuilt_views));
    }
    let end = match (report.sound, repaired) {
        (true, _) => "All is sound.",
        (false, false) => {
            "Damage remains; `stateward verify --repair` heals what has a second copy."
        }
        (false, true) => {
            "Damage remains that has no second copy here; `latest` and `good` walk past it."
        }
    };
    lines.push(end.to_owned());
    lines.join("\n") + "\n"
}
