//! `validate`: the promises, tried on this machine and this disk.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::output::{name, size, table};
use super::session::Session;
use crate::disk::{self, Durability};
use crate::error::ErrorKind;
use crate::validate::environment::{self, Level};
use crate::validate::{
    Depth, Failed, Ground, Options, Part, Promise, Report, Scenario, Tried, Verdict, junit, play,
    run as run_suite,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stateward validate\n  stateward validate --full --dir \
                        /var/lib/agents\n  stateward validate bit-flips --seed 7 --case 12\n  \
                        stateward validate --list\n\nEach scenario names a promise, what is done, \
                        what goes wrong, and what must hold. What can go wrong for real does, under \
                        --dir; the rest happens on a simulated disk. Stores of yours are not \
                        touched. Exits with 4 when a promise does not hold here.")]
pub(super) struct Arguments {
    /// The scenarios to run; without any, all
    scenarios: Vec<String>,
    /// Where real faults are made; without it, where the store is or would be
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// What chance decides follows from this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Only the case of this number
    #[arg(long, value_name = "N")]
    case: Option<u64>,
    /// Less than two minutes; so it is without --full
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Up to half an hour
    #[arg(long)]
    full: bool,
    /// Read the scenarios from this directory instead
    #[arg(long = "scenarios", value_name = "DIR")]
    from: Option<PathBuf>,
    /// Write the report as XML for CI systems too (junit)
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Only list the scenarios and what they prove
    #[arg(long)]
    list: bool,
    /// Play the part of another process
    #[arg(long, hide = true, value_name = "JSON")]
    play: Option<String>,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<ExitCode, Failure> {
    if let Some(part) = &arguments.play {
        let part: Part = serde_json::from_str(part).map_err(|error| Failure::Usage {
            message: format!("this is no part to play: {error}"),
            hint: "",
        })?;
        play(&part)?;
        return Ok(ExitCode::SUCCESS);
    }
    let scenarios = chosen(session, arguments)?;
    if arguments.list {
        let listed: Vec<Listed> = scenarios.iter().map(Listed::of).collect();
        session.out.data(&listed, || list(&listed))?;
        return Ok(ExitCode::SUCCESS);
    }
    let ground = ground(session, arguments)?;
    let bar = session.out.progress("validating");
    let depth = if arguments.full { Depth::Full } else { Depth::Quick };
    let (seed, case) = (arguments.seed, arguments.case);
    let options = Options { seed, depth, case, ..Options::new(scenarios) };
    let report = run_suite(&options, &ground, &|done, total| bar.show(done, total));
    drop(bar);
    tidy_up(&ground);
    if let Some(file) = &arguments.junit {
        let file = session.absolute(file);
        let text = junit(&report);
        disk::publish(&*session.disk, &file, text.as_bytes(), Durability::Unsynced)?;
    }
    session.out.data(&report, || in_words(&report, &ground.dir))?;
    Ok(ExitCode::from(if report.holds { 0 } else { ErrorKind::Damaged.exit_code() }))
}

fn chosen(session: &Session, arguments: &Arguments) -> Result<Vec<Scenario>, Failure> {
    let all = match &arguments.from {
        Some(dir) => Scenario::in_directory(&*session.disk, &session.absolute(dir))?,
        None => Scenario::shipped()?,
    };
    let names = &arguments.scenarios;
    if let Some(name) = names.iter().find(|name| all.iter().all(|one| one.name != **name)) {
        return Err(crate::validate::Error::Unknown { name: name.clone() }.into());
    }
    Ok(all.into_iter().filter(|one| names.is_empty() || names.contains(&one.name)).collect())
}

/// A directory of the suite's own: under `--dir`, else where the store is or would be.
fn ground(session: &Session, arguments: &Arguments) -> Result<Ground, Failure> {
    let store = session.store();
    let asked = arguments.dir.as_ref().map(|dir| session.absolute(dir));
    let near = asked.clone().unwrap_or_else(|| {
        let above = store.parent().unwrap_or(&store);
        environment::standing_ground(&*session.disk, above)
    });
    let concerns = |dir: &Path| {
        let found = environment::examine(&*session.disk, &*session.clock, dir);
        found.into_iter().filter(|one| one.level == Level::Problem).map(|one| one.message)
    };
    let dir = near.join(format!(".stateward-validate-{}", std::process::id()));
    if let Err(error) = session.disk.create_dir(&dir) {
        let why: Vec<String> = concerns(&near).collect();
        let why = if why.is_empty() { error.to_string() } else { why.join("; ") };
        return Err(Failure::Refused {
            message: format!("the promises cannot be tried in {}: {why}", near.display()),
            hint: "name a directory that this user may write to with --dir",
        });
    }
    let program = std::env::current_exe()
        .map_err(|source| Failure::Read { path: "the path of this program".into(), source })?;
    let (disk, clock) = (Arc::clone(&session.disk), Arc::clone(&session.clock));
    Ok(Ground { dir, program, disk, clock })
}

/// The suite's directory goes, unless there is evidence in it.
fn tidy_up(ground: &Ground) {
    let is_empty = ground.disk.read_dir(&ground.dir).is_ok_and(|entries| entries.is_empty());
    if is_empty && let Err(error) = ground.disk.remove_dir(&ground.dir) {
        tracing::warn!(path = %ground.dir.display(), %error, "cannot remove the suite's directory");
    }
}

#[derive(Serialize)]
struct Listed {
    scenario: String,
    promises: Vec<Promise>,
    about: String,
}

impl Listed {
    fn of(scenario: &Scenario) -> Self {
        Self {
            scenario: scenario.name.clone(),
            promises: scenario.promise.clone(),
            about: scenario.about.trim().to_owned(),
        }
    }
}

fn numbers(promises: &[Promise]) -> String {
    let numbers: Vec<String> = promises.iter().map(|one| one.number().to_string()).collect();
    numbers.join(", ")
}

fn list(listed: &[Listed]) -> String {
    let words = |one: &Listed| {
        let promises: Vec<String> = one.promises.iter().map(ToString::to_string).collect();
        let about: String = one.about.lines().map(|line| ["    ", line, "\n"].concat()).collect();
        format!("{}\n    proves {}\n{about}\n", one.scenario, promises.join("; "))
    };
    listed.iter().map(words).collect()
}

fn in_words(report: &Report, dir: &Path) -> String {
    let concern = |one: &environment::Finding| {
        let word = if one.level == Level::Problem { "problem" } else { "warning" };
        format!("{word}: {}: {}\n", one.check, one.message)
    };
    let mut text: String = report.concerns().map(concern).collect();
    let head = ["SCENARIO", "PROVES", "RESULT", "CASES", "CRASHES", "FAULTS", "READ BACK", "LOST"];
    let mut told: Vec<_> = report.scenarios.iter().collect();
    told.sort_by(|a, b| (&a.promises, &a.scenario).cmp(&(&b.promises, &b.scenario)));
    let row = |one: &&crate::validate::Told| {
        let Tried { cases, crash_points, faults, bytes, lost, .. } = one.tried;
        [
            one.scenario.clone(),
            numbers(&one.promises),
            one.verdict.as_str().to_owned(),
            cases.to_string(),
            crash_points.to_string(),
            faults.to_string(),
            size(bytes),
            lost.to_string(),
        ]
    };
    text += &table(head, told.iter().map(row).collect());
    for one in &told {
        if let Some(why) = &one.why {
            text.extend(["\n", &one.scenario, " was not run: ", why, "\n"]);
        }
        for failed in &one.failed {
            let Failed { why, command, .. } = failed;
            text.extend(["\n", &one.scenario, ": ", why, "\n    ", command, "\n"]);
            if let Some(kept) = &failed.evidence {
                text.extend(["    what was found is kept in ", &name(kept), "\n"]);
            }
        }
    }
    text + &summary(report, dir)
}

fn summary(report: &Report, dir: &Path) -> String {
    let it = report.tried;
    let skipped = report.scenarios.iter().filter(|one| one.verdict == Verdict::Skipped).count();
    let verdict = match (report.holds, skipped) {
        (true, 0) => "Every promise held.".to_owned(),
        (true, skipped) => format!("Every promise held; {skipped} scenarios cannot be run here."),
        (false, _) if report.scenarios.iter().any(|one| one.verdict == Verdict::Broken) => {
            "A promise was broken.".to_owned()
        }
        (false, _) => "Not every promise can be kept here: see above.".to_owned(),
    };
    let lost = if it.lost == 0 { "nothing".to_owned() } else { it.lost.to_string() };
    let is_kept = report.scenarios.iter().flat_map(|one| &one.failed).next().is_some();
    let kept = if is_kept { format!(" Evidence: {}.", dir.display()) } else { String::new() };
    format!(
        "\n{} cases ({} crash points, {} faults, {} real processes) in {} s; {} checkpoints read \
         back, {}; lost: {lost}.\n{verdict}{kept} Seed {}.\n",
        it.cases,
        it.crash_points,
        it.faults,
        it.processes,
        report.took_ms / 1000,
        it.restores,
        size(it.bytes),
        report.seed,
    )
}
