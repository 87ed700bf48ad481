//! `drill`: proves that the newest checkpoints come back.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::output::{size, span, table};
use super::session::Session;
use crate::error::ErrorKind;
use crate::manager;
use crate::validate::{Drilled, drill, environment};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stateward drill\n  stateward drill --dir /mnt/scratch --json\n\nEach \
                        agent's newest checkpoint is restored into a directory of its own, compared \
                        byte for byte, and taken away again. RECOVERY POINT is how old it is: the \
                        work since then would be lost. RECOVERY TIME is how long it took. Exits with \
                        4 when something does not come back."
)]
pub(super) struct Arguments {
    /// Where to restore to; without it, beside the store
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let store = session.store();
    let beside = || {
        let above = store.parent().unwrap_or(&store);
        environment::standing_ground(&*session.disk, above)
    };
    let dir = arguments.dir.as_ref().map_or_else(beside, |dir| session.absolute(dir));
    let manager = session.look(&store)?;
    let drilled = match drill(&manager, &session.disk, &session.clock, &dir) {
        Err(error @ manager::Error::Io { .. }) => {
            return Err(Failure::Refused {
                message: error.to_string(),
                hint: "name a directory with room that this user may write to with --dir",
            });
        }
        other => other?,
    };
    session.out.data(&drilled, || in_words(&drilled))?;
    let sound = drilled.iter().all(|one| one.sound);
    Ok(ExitCode::from(if sound { 0 } else { ErrorKind::Damaged.exit_code() }))
}

fn in_words(drilled: &[Drilled]) -> String {
    if drilled.is_empty() {
        return "Nothing is kept yet.\n".to_owned();
    }
    let head =
        ["AGENT", "CHECKPOINT", "RECOVERY POINT", "RECOVERY TIME", "FILES", "BYTES", "RESULT"];
    let mut text = table(head, drilled.iter().map(row).collect());
    let failed = drilled.iter().filter(|one| !one.sound).count();
    let end = match failed {
        0 => "Everything comes back, byte for byte.".to_owned(),
        failed => format!("{failed} of {} do not come back.", drilled.len()),
    };
    text.extend(["\n", &end, "\n"]);
    text
}

fn row(one: &Drilled) -> [String; 7] {
    let point = one.recovery_point_ms.map(|ms| span(Duration::from_millis(ms)));
    let result = match (&one.why, one.walked_past) {
        (Some(why), _) => why.clone(),
        (None, 0) => "sound".to_owned(),
        (None, past) => format!("sound, past {past} damaged"),
    };
    [
        one.agent_id.to_string(),
        one.seq.map_or_else(|| "none".to_owned(), |seq| seq.to_string()),
        point.unwrap_or_else(|| "none".to_owned()),
        format!("{} ms", one.recovery_time_ms),
        one.files.to_string(),
        size(one.bytes),
        result,
    ]
}
