//! `diff`: what changed from one checkpoint to another, or since one.

use std::path::PathBuf;

use clap::Args;
use clap::builder::styling::{AnsiColor, Style};

use super::failure::Failure;
use super::output::{self, count, more, name, size, visible};
use super::session::{Session, elsewhere};
use crate::encode::{Change, ChangeKind, NoText};
use crate::manager::{Aspect, Differences, FileDifference, FileFacts, FileKind, WorkspaceOptions};
use crate::server::api::Diff;
use crate::server::reach::Reach;

const EXAMPLES: &str = "\
Examples:
  stateward diff latest                  what changed since the newest one
  stateward diff good latest             from one checkpoint to another
  stateward diff good --name-only
  stateward diff good latest --json | jq -j '.files[].diff // empty'

Without B the state file, the state files and the workspace are compared as they are now. \
A line begins with + for what was added, - for what was removed, ~ for what changed; texts are told \
line by line. In states, paths are JSON Pointers. Control characters are made visible (^[); --json has \
everything as it is, and times too.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The checkpoint to start from
    #[arg(value_name = "A")]
    from: String,
    /// The checkpoint to compare with it; without it, what is there now
    #[arg(value_name = "B")]
    to: Option<String>,
    /// Compare with this directory, where the workspace is not where it was
    #[arg(long, value_name = "DIR", conflicts_with = "to")]
    pub(super) workspace: Option<PathBuf>,
    /// One line for each, without what changed in it
    #[arg(long)]
    name_only: bool,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let named = session.named_by(&arguments.from, false)?;
    let manager = match (session.glance(&named.store)?, &arguments.to) {
        (Reach::Here(manager), _) => manager,
        (reach @ Reach::There(_), Some(to)) => {
            let agent = session.owner_of(&reach, &arguments.from, &named)?;
            let diff = Diff { agent, from: arguments.from.clone(), to: to.clone() };
            return tell(session, &session.call(&reach, diff)?, arguments);
        }
        (Reach::There(_), None) => return Err(elsewhere("what is there now")),
    };
    let mut agent = session.agent_of(&manager, &arguments.from, &named)?;
    if let Some(workspace) = &arguments.workspace {
        let options = WorkspaceOptions { scan: None, force: true, shared: true };
        agent = agent.workspace_with(session.absolute(workspace), options)?;
    }
    let found = session
        .watching(&manager, || agent.differences(&arguments.from, arguments.to.as_deref()))?;
    tell(session, &found, arguments)
}

fn tell(session: &Session, found: &Differences, arguments: &Arguments) -> Result<(), Failure> {
    session.out.data(found, || in_words(found, arguments.name_only))?;
    session.out.say(&remarks(found));
    Ok(())
}

fn in_words(found: &Differences, name_only: bool) -> String {
    let files = |of: &[FileDifference]| {
        let told = of.iter().filter(|one| !one.is_only_time());
        told.map(|one| if name_only { heading(one) } else { file(one) }).collect::<String>()
    };
    let state: String = found.state.iter().map(value).collect();
    let parts = [
        ("state", state),
        ("state files", files(&found.state_files)),
        ("workspace", files(&found.files)),
    ];
    let told: Vec<_> = parts.into_iter().filter(|(_, lines)| !lines.is_empty()).collect();
    let of_files = found.state_files.iter().chain(&found.files);
    let times = of_files.clone().filter(|one| one.is_only_time()).count();
    match told.as_slice() {
        [] if times == 0 && !found.unplaced.is_empty() => {
            "What can be compared is the same.".to_owned()
        }
        [] if times == 0 => "The two are the same.".to_owned(),
        [] => format!("The two are the same but for {}.", count(times, "time", "times")),
        [("state", lines)] => lines.clone(),
        parts => {
            let bold = Style::new().bold();
            let parts =
                parts.iter().map(|(part, lines)| format!("{bold}{part}:{bold:#}\n{lines}\n"));
            parts.collect::<String>() + &sum(of_files)
        }
    }
}

/// How much differs, in one line.
fn sum<'a>(files: impl Iterator<Item = &'a FileDifference>) -> String {
    let (mut changed, mut added, mut removed, mut times) = (0, 0, 0, 0);
    let (mut more, mut fewer) = (0, 0);
    for one in files {
        *match one.change {
            _ if one.is_only_time() => &mut times,
            ChangeKind::Changed => &mut changed,
            ChangeKind::Added => &mut added,
            ChangeKind::Removed => &mut removed,
        } += 1;
        // The first two lines are names.
        for line in one.diff.iter().flat_map(|text| text.lines().skip(2)) {
            more += usize::from(line.starts_with('+'));
            fewer += usize::from(line.starts_with('-'));
        }
    }
    let lines = match (more, fewer) {
        (0, 0) => String::new(),
        _ => format!("; {} added, {fewer} removed", count(more, "line", "lines")),
    };
    let times = match times {
        0 => String::new(),
        _ => format!("; only the time differs of {times}"),
    };
    format!("{changed} changed, {added} added, {removed} removed{lines}{times}.")
}

/// What could not be compared.
fn remarks(found: &Differences) -> String {
    let unplaced = found.unplaced.iter().map(|part| match part.as_str() {
        "workspace" => "workspace: not compared; name the directory with --workspace".to_owned(),
        part => format!("{}: not compared; it is not known where it is", part.replace('_', " ")),
    });
    let skipped = found.not_compared.iter().map(|one| format!("not compared: {}", visible(one)));
    unplaced.chain(more(skipped, "not compared: ")).collect::<Vec<_>>().join("\n")
}

fn value(change: &Change) -> String {
    let (before, after) = (short(change.before.as_ref()), short(change.after.as_ref()));
    let path =
        if change.path.is_empty() { "(the whole)".to_owned() } else { visible(&change.path) };
    match change.kind {
        ChangeKind::Added => coloured(AnsiColor::Green, &format!("+ {path}  {after}")),
        ChangeKind::Removed => coloured(AnsiColor::Red, &format!("- {path}  {before}")),
        ChangeKind::Changed => {
            coloured(AnsiColor::Yellow, &format!("~ {path}  {before} → {after}"))
        }
    }
}

/// The beginning of a value, on one line.
fn short(value: Option<&String>) -> String {
    const LETTERS_MAX: usize = 60;
    let text = value.map(String::as_str).unwrap_or_default();
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    visible(match line.char_indices().nth(LETTERS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    })
}

/// What changed of a file, a directory or a link.
fn file(one: &FileDifference) -> String {
    let Some(diff) = &one.diff else { return heading(one) };
    let is_told = |what: &Aspect| matches!(what, Aspect::Content | Aspect::Modified);
    let heading = if one.what.iter().all(is_told) { String::new() } else { heading(one) };
    heading + &diff.split_terminator('\n').enumerate().map(line).collect::<String>()
}

/// A line of a unified diff; the first two are names.
fn line((index, line): (usize, &str)) -> String {
    let text = visible(line);
    match line.chars().next() {
        _ if index < 2 => {
            let bold = Style::new().bold();
            format!("{bold}{text}{bold:#}\n")
        }
        Some('+') => coloured(AnsiColor::Green, &text),
        Some('-') => coloured(AnsiColor::Red, &text),
        Some('@') => coloured(AnsiColor::Cyan, &text),
        _ => text + "\n",
    }
}

fn coloured(colour: AnsiColor, line: &str) -> String {
    let style = colour.on_default();
    format!("{style}{line}{style:#}\n")
}

/// One line that says what happened to it.
fn heading(one: &FileDifference) -> String {
    let path = name(&one.path);
    match (one.change, &one.before, &one.after) {
        (ChangeKind::Added, _, Some(it)) => {
            coloured(AnsiColor::Green, &format!("+ {path}{}{}", alone(it), unread(one)))
        }
        (ChangeKind::Removed, Some(it), _) => {
            coloured(AnsiColor::Red, &format!("- {path}{}{}", alone(it), unread(one)))
        }
        (_, Some(before), Some(after)) => {
            let what = one.what.iter().filter_map(|what| aspect(*what, before, after));
            let what: Vec<String> = what.collect();
            let line = format!("~ {path}  {}{}", what.join(", "), unread(one));
            coloured(AnsiColor::Yellow, &line)
        }
        _ => String::new(),
    }
}

fn alone(it: &FileFacts) -> String {
    match (it.kind, &it.target) {
        (FileKind::Dir, _) => "/".to_owned(),
        (FileKind::Link, Some(target)) => format!("  -> {}", name(target)),
        _ => format!("  {}", size(it.bytes)),
    }
}

fn aspect(what: Aspect, before: &FileFacts, after: &FileFacts) -> Option<String> {
    let mode = |it: &FileFacts| it.mode.map(output::mode).unwrap_or_default();
    let target = |it: &FileFacts| it.target.as_deref().map(name).unwrap_or_default();
    let (a, b) = match what {
        Aspect::Modified => return None,
        Aspect::Kind => (output::kind(before.kind).to_owned(), output::kind(after.kind).to_owned()),
        Aspect::Content => (size(before.bytes), size(after.bytes)),
        Aspect::Mode => return Some(format!("mode {} → {}", mode(before), mode(after))),
        Aspect::Target => return Some(format!("-> {}, now -> {}", target(before), target(after))),
    };
    Some(format!("{a} → {b}"))
}

/// Why there is no more to read of it.
fn unread(one: &FileDifference) -> &'static str {
    match one.no_diff {
        None => "",
        Some(NoText::Binary) => " (binary)",
        Some(NoText::TooLarge) => " (too large to be told by lines)",
        Some(NoText::TooMuch) => " (not told: the rest is long enough)",
        Some(NoText::Unreadable) => " (cannot be read now)",
    }
}
