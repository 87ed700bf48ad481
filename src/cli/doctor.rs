//! `doctor`: what is wrong with this set-up, and what follows.
//!
//! Each finding is one plain sentence at one level. Files are tried out in a directory of their own
//! beside the store's files, which is taken away again.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::styling::AnsiColor;
use serde::Serialize;

use super::failure::Failure;
use super::output::{count, size};
use super::session::Session;
use crate::disk::{Disk, EntryKind};
use crate::error::ErrorKind;
use crate::manager::Status;
use crate::store::Layout;
use crate::validate::environment::{self, Finding, Level};

#[derive(Serialize)]
struct Told<'a> {
    store: &'a Path,
    healthy: bool,
    findings: &'a [Finding],
}

pub(super) fn run(session: &Session) -> Result<ExitCode, Failure> {
    let store = session.store();
    let disk = &*session.disk;
    let there = disk.metadata(&store).is_ok();
    let mut findings = vec![configuration(session)];
    findings.extend(of_store(session, &store));
    if there {
        findings.push(lock(session, &store));
        findings.extend(quarantine(disk, &store));
    }
    let ground = environment::standing_ground(disk, &store);
    findings.extend(file_system(session, &ground));
    findings.extend(space(session, &ground));
    findings.extend(environment::try_out(disk, &*session.clock, &ground));
    findings.extend(fallbacks(session, &ground));

    let problems = findings.iter().filter(|it| it.level == Level::Problem).count();
    let told = Told { store: &store, healthy: problems == 0, findings: &findings };
    session.out.data(&told, || in_words(&told, problems))?;
    Ok(if problems == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(ErrorKind::Failed.exit_code())
    })
}

fn in_words(told: &Told<'_>, problems: usize) -> String {
    let mut lines = vec![format!("The store {}", told.store.display())];
    for Finding { check, level, message } in told.findings {
        let (word, colour) = match level {
            Level::Ok => ("ok", AnsiColor::Green),
            Level::Warning => ("warning", AnsiColor::Yellow),
            Level::Problem => ("problem", AnsiColor::Red),
        };
        let style = colour.on_default();
        lines.push(format!("{style}{word:7}{style:#}  {check}: {message}"));
    }
    let warnings = told.findings.iter().filter(|it| it.level == Level::Warning).count();
    let (problems, warnings) =
        (count(problems, "problem", "problems"), count(warnings, "warning", "warnings"));
    lines.push(format!("{problems}, {warnings}."));
    lines.join("\n")
}

fn configuration(session: &Session) -> Finding {
    let files = &session.configuration.files;
    let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let message = if files.is_empty() {
        "no file; defaults, the environment and flags hold".to_owned()
    } else {
        format!("read from {}; `status --config` shows every value", names.join(", "))
    };
    Finding::new("configuration", Level::Ok, message)
}

fn of_store(session: &Session, store: &Path) -> Vec<Finding> {
    let finding = match session.look(store) {
        Ok(manager) => return health(&manager.status()),
        Err(Failure::Manager(error)) if error.kind() == ErrorKind::NotFound => Finding::new(
            "store",
            Level::Warning,
            "there is none yet; `stateward init` or the first checkpoint makes it",
        ),
        Err(error) => {
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            Finding::new("store", Level::Problem, format!("it does not open: {error}{hint}"))
        }
    };
    vec![finding]
}

/// What opening found: it opens in any case, or there would be no status.
fn health(status: &Status) -> Vec<Finding> {
    let finding = |level, message: String| Finding::new("store", level, message);
    let mut findings: Vec<Finding> = status
        .damage
        .iter()
        .map(|what| finding(Level::Problem, format!("{what}; `stateward verify` tells more")))
        .collect();
    for target in &status.targets {
        let trouble = target.trouble.iter();
        findings.extend(trouble.map(|why| {
            finding(Level::Problem, format!("{} takes nothing: {why}", target.path.display()))
        }));
    }
    findings.extend(status.notes.iter().map(|note| finding(Level::Warning, note.clone())));
    if findings.is_empty() {
        let held: u64 = status.agents.iter().map(|agent| agent.checkpoints).sum();
        findings.push(finding(Level::Ok, format!("it opens; it holds {held} checkpoints")));
    }
    findings
}

fn lock(session: &Session, store: &Path) -> Finding {
    let path = Layout::new(store).lock();
    let (level, message) = match session.disk.try_lock(&path) {
        Ok(Some(_)) => (Level::Ok, "nobody holds it".to_owned()),
        Ok(None) => {
            let who = session.lock_holder(store);
            let follows = match session.holder_of(store) {
                Some(client) => format!("it answers at {}, and commands ask it", client.url()),
                None => "other commands can look, and checkpoints wait for it".to_owned(),
            };
            (Level::Ok, format!("held by {who}; {follows}"))
        }
        Err(error) => (Level::Problem, format!("it cannot be taken: {error}; nothing can write")),
    };
    Finding::new("lock", level, message)
}

fn quarantine(disk: &dyn Disk, store: &Path) -> Option<Finding> {
    let held = match disk.read_dir(&Layout::new(store).quarantine()) {
        Ok(entries) => entries.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => {
            let message = format!("it cannot be listed: {error}");
            return Some(Finding::new("quarantine", Level::Warning, message));
        }
    };
    let message = format!(
        "{} of what was found damaged or unfinished; `stateward log` tells of it",
        count(held, "copy", "copies")
    );
    (held > 0).then(|| Finding::new("quarantine", Level::Warning, message))
}

fn file_system(session: &Session, ground: &Path) -> Option<Finding> {
    let finding = |level, message| Some(Finding::new("file system", level, message));
    let found = match session.disk.file_system(ground) {
        Ok(found) => found,
        Err(error) => return finding(Level::Warning, format!("its kind cannot be told: {error}")),
    };
    let name = &found.name;
    if found.network {
        let allowed = session.configuration.settings.store.allow_network;
        let level = if allowed { Level::Warning } else { Level::Problem };
        let rest =
            if allowed { "see to it that one machine writes" } else { "the store is refused" };
        return finding(
            level,
            format!("{name} is shared between machines, where the lock does not hold: {rest}"),
        );
    }
    if found.volatile {
        let message = format!(
            "{name} is gone with the power, and checkpoints with it; name a disk with --store if \
             they are to outlast that"
        );
        return finding(Level::Warning, message);
    }
    finding(Level::Ok, name.clone())
}

fn space(session: &Session, ground: &Path) -> Option<Finding> {
    let finding = |level, message| Some(Finding::new("space", level, message));
    let found = match session.disk.space(ground) {
        Ok(found) => found,
        Err(error) => return finding(Level::Warning, format!("it cannot be told: {error}")),
    };
    let policy = &session.configuration.settings.retention;
    let room = policy.allowed_bytes(0, found.free, found.total);
    let free = format!("{} free of {}", size(found.free), size(found.total));
    if room == 0 {
        return finding(
            Level::Problem,
            format!(
                "{free}: less than retention.free_floor, so checkpoints may soon fail as unstored \
                 (what was acknowledged stays); free some, or name another place with --store"
            ),
        );
    }
    let grows = format!("{free}; the store may grow by {}", size(room));
    if room < environment::ROOM_MIN {
        let message = format!(
            "{grows}, which is little: what retention need not keep goes early; set \
             retention.disk_budget, or name a larger disk with --store"
        );
        return finding(Level::Warning, message);
    }
    finding(Level::Ok, grows)
}

fn fallbacks(session: &Session, ground: &Path) -> Vec<Finding> {
    let disk = &*session.disk;
    let home = disk.metadata(ground).map(|found| found.device).ok();
    let finding = |fallback: &PathBuf| {
        let path = session.absolute(fallback);
        let shown = path.display();
        let (level, message) = match disk.metadata(&environment::standing_ground(disk, &path)) {
            Err(error) => (Level::Problem, format!("{shown} cannot be reached: {error}")),
            Ok(found) if found.kind != EntryKind::Dir => {
                (Level::Problem, format!("{shown} is no directory and cannot become one"))
            }
            Ok(found) if Some(found.device) == home => (
                Level::Warning,
                format!("{shown} is on the same device as the store, and fails with it"),
            ),
            Ok(_) => (Level::Ok, format!("{shown} is reachable, on another device")),
        };
        Finding::new("fallback", level, message)
    };
    let configured = &session.configuration.settings.store.fallbacks;
    if configured.is_empty() {
        let message = "none is configured: while the store cannot be written, checkpoints fail";
        return vec![Finding::new("fallback", Level::Ok, message)];
    }
    configured.iter().map(finding).collect()
}
