//! What a restore does, in words: counts first, then what is in the way, then the rest.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::checkpoint::holds;
use super::output::{more, name};

use crate::restore::{Files, Reason, Untouched};
use crate::server::api::RestoreAnswer;
use crate::state::Checkpoint;

/// What would be done, with the paths that it would be done to.
pub(super) fn planned(restored: &RestoreAnswer) -> String {
    let Files { written, removed, conflicts, .. } = &restored.files;
    let mut lines = vec![format!("Would restore {}: {}.", subject(restored), sum(restored))];
    let untouched = restored.untouched.iter().map(reason);
    lines.extend(listed("in the way, changed by someone else", names(conflicts, &[])));
    lines.extend(listed("written", names(written, &restored.made_dirs)));
    lines.extend(listed("removed", names(removed, &restored.gone_dirs)));
    lines.extend(listed("not touched", untouched.collect()));
    lines.extend(concerns(restored));
    lines.join("\n")
}

/// What was done, and how it is taken back.
pub(super) fn done(restored: &RestoreAnswer) -> String {
    let first = if is_homeless(restored) {
        format!(
            "Nothing was written: it is not known which file the state of {} belongs in. \
             `--state-out FILE` writes it there.",
            subject(restored)
        )
    } else {
        format!("Restored {}: {}.", subject(restored), sum(restored))
    };
    let mut lines = vec![first];
    lines.extend(listed(
        "left alone, changed by someone else",
        names(&restored.files.conflicts, &[]),
    ));
    lines.extend(listed("moved aside, newer than what was kept", names(&restored.kept_aside, &[])));
    lines.extend(concerns(restored));
    if let Some(recovery) = restored.recovery_checkpoint_id {
        lines.push(format!(
            "What was there is kept as {recovery}; `stateward undo` brings it back."
        ));
    }
    lines.join("\n")
}

/// Whether there is a state, and no file that it could be put back into.
fn is_homeless(restored: &RestoreAnswer) -> bool {
    let is = |it: &Checkpoint| it.state_digest.is_some() && it.state_file.is_none();
    restored.files == Files::default() && restored.checkpoint.as_ref().is_some_and(is)
}

fn subject(restored: &RestoreAnswer) -> String {
    match &restored.checkpoint {
        Some(it) => {
            format!("checkpoint {} of {} ({}, {})", it.seq, it.agent_id, it.kind, holds(it))
        }
        None => format!("checkpoint {}", restored.checkpoint_id),
    }
}

/// How many of each kind; one that is alone is named.
fn sum(restored: &RestoreAnswer) -> String {
    let Files { written, removed, unchanged, conflicts } = &restored.files;
    let counted = |paths: &[PathBuf], what: &str| match paths {
        [] => None,
        [one] => Some(format!("{} {what}", name(one))),
        several => Some(format!("{} {what}", several.len())),
    };
    let mut words = Vec::new();
    words.extend(counted(conflicts, "in the way"));
    words.extend(counted(written, "written"));
    words.extend(counted(removed, "removed"));
    let untouched = restored.untouched.len();
    words.extend((untouched > 0).then(|| format!("{untouched} not touched")));
    words.extend(counted(unchanged, "already as it should be"));
    if words.is_empty() { "no files".to_owned() } else { words.join(", ") }
}

fn concerns(restored: &RestoreAnswer) -> Vec<String> {
    let Files { written, unchanged, conflicts, .. } = &restored.files;
    let has_no_file = written.is_empty() && unchanged.is_empty() && conflicts.is_empty();
    let mut lines = Vec::new();
    if has_no_file && restored.state.is_some() {
        lines.push(
            "  The state was not read from a file, so there is none to put it back to; \
                    --state-out FILE writes it."
                .to_owned(),
        );
    }
    if restored.tainted {
        lines.push("  It was made after a drift's onset.".to_owned());
    }
    lines
}

fn listed(what: &str, lines: Vec<String>) -> Vec<String> {
    if lines.is_empty() {
        return lines;
    }
    let lines = more(lines.into_iter().map(|line| format!("    {line}")), "    ");
    std::iter::once(format!("  {what}:")).chain(lines).collect()
}

/// Paths in their order; a directory that comes or goes as a whole stands for what is in it.
fn names(paths: &[PathBuf], whole: &[PathBuf]) -> Vec<String> {
    let whole: BTreeSet<&Path> = whole.iter().map(PathBuf::as_path).collect();
    let paths: BTreeSet<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let mut lines: Vec<(&Path, usize)> = Vec::new();
    for path in paths {
        match lines.last_mut() {
            Some((dir, within)) if whole.contains(*dir) && path.starts_with(*dir) => *within += 1,
            _ => lines.push((path, 0)),
        }
    }
    let line = |(path, within): (&Path, usize)| match within {
        0 if !whole.contains(path) => name(path),
        0 => format!("{}/", name(path)),
        within => format!("{}/ and the {within} in it", name(path)),
    };
    lines.into_iter().map(line).collect()
}

fn reason(untouched: &Untouched) -> String {
    let why = match untouched.reason {
        Reason::Kept => "ignored, or not in the recovery checkpoint",
        Reason::Git => "git's own record; --git restores it too",
        Reason::Holds => "a directory that holds something that is not touched",
        Reason::InTheWay => "not a directory, and not selected",
    };
    format!("{}: {why}", name(&untouched.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<PathBuf> {
        text.split(' ').map(PathBuf::from).collect()
    }

    #[test]
    fn a_whole_directory_is_one_line() {
        let told = names(&paths("b/x a.txt b b/c b/c/d b-2 e"), &paths("b b/c e"));
        assert_eq!(told, ["a.txt", "b/ and the 3 in it", "b-2", "e/"]);
        assert_eq!(names(&paths("b b/x"), &[]), ["b", "b/x"]);
    }

    #[test]
    fn what_is_in_the_way_comes_first_and_what_stays_says_why() {
        let restored: RestoreAnswer = serde_json::from_value(serde_json::json!({
            "requested": "good",
            "checkpoint_id": "0190a1b2-0000-7000-8000-000000000000",
            "walked_past": [],
            "tainted": false,
            "files": {"written": ["a", "b"], "removed": [], "unchanged": ["s"], "conflicts": ["c"]},
            "untouched": [{"path": ".git/HEAD", "reason": "git"}],
            "dry_run": true,
        }))
        .unwrap();
        assert_eq!(
            planned(&restored),
            "Would restore checkpoint 0190a1b2-0000-7000-8000-000000000000: c in the way, 2 written, \
             1 not touched, s already as it should be.\n  in the way, changed by someone else:\n    c\n  \
             written:\n    a\n    b\n  not touched:\n    .git/HEAD: git's own record; --git restores it \
             too"
        );
    }

    #[test]
    fn a_long_list_ends_with_how_many_more() {
        let lines = listed("written", (0..23).map(|n| n.to_string()).collect());
        assert_eq!((lines.len(), lines[0].as_str()), (22, "  written:"));
        assert_eq!((lines[20].as_str(), lines[21].as_str()), ("    19", "    and 3 more"));
        assert_eq!(listed("removed", Vec::new()), Vec::<String>::new());
    }
}
