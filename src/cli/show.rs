//! `show`: one checkpoint, its state, or its files.

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::output::{self, count, facts, name, size, span};
use super::session::Session;
use crate::manager::{FileKind, KeptFile, LeftOut};
use crate::server::api::{Files, ReadState, Show, Shown};
use crate::server::reach::Reach;
use crate::state::{Checkpoint, Timestamp};

const EXAMPLES: &str = "\
Examples:
  stateward show latest
  stateward show good --state | jq .
  stateward show latest --files                 its workspace and state files
  stateward show 0190a1b2 --files --json | jq -r '.[].path'

What a checkpoint's workspace left out is listed with its files; with --json, without --files.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// A number, a path, an id or its first digits, latest, latest:KIND, or good
    #[arg(value_name = "REF")]
    reference: String,
    /// Print its state instead, byte for byte
    #[arg(long)]
    state: bool,
    /// List its workspace and its state files instead
    #[arg(long, conflicts_with = "state")]
    files: bool,
}

/// The facts of a checkpoint, with what its workspace left out.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    checkpoint: &'a Checkpoint,
    #[serde(flatten, skip_serializing_if = "LeftOut::is_empty")]
    left_out: &'a LeftOut,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let reference = &arguments.reference;
    let named = session.named_by(reference, false)?;
    let reach = session.glance(&named.store)?;
    let agent = session.owner_of(&reach, reference, &named)?;
    if arguments.state {
        return state(session, &reach, ReadState { agent, reference: reference.clone() });
    }
    let show = Show { agent: agent.clone(), reference: reference.clone() };
    let Shown { checkpoint, left_out, .. } = session.call(&reach, show)?;
    if arguments.files {
        let reference = checkpoint.checkpoint_id.to_string();
        let found = session.call(&reach, Files { agent, reference })?;
        return session.out.data(&found, || listed(&found, &left_out));
    }
    let told = Told { checkpoint: &checkpoint, left_out: &left_out };
    session.out.data(&told, || describe(&checkpoint, &left_out, session.clock.now()))
}

/// Prints the state, byte for byte.
fn state(session: &Session, reach: &Reach, wanted: ReadState) -> Result<(), Failure> {
    let Reach::Here(manager) = reach else {
        return output::bytes(&session.call(reach, wanted)?);
    };
    let loaded = manager.agent(wanted.agent.as_str())?.read_checkpoint(&wanted.reference)?;
    match loaded.state_bytes() {
        Some(bytes) => output::bytes(bytes),
        None => Err(no_state(&wanted.reference)),
    }
}

pub(super) fn no_state(reference: &str) -> Failure {
    Failure::Usage { message: format!("checkpoint {reference} holds no state"), hint: "" }
}

fn describe(it: &Checkpoint, left_out: &LeftOut, now: Timestamp) -> String {
    let mut lines = vec![
        ("checkpoint", it.checkpoint_id.to_string()),
        ("agent", it.agent_id.to_string()),
        ("seq", it.seq.to_string()),
        ("kind", it.kind.to_string()),
        ("created", format!("{} ({} ago)", it.created_at, span(now.since(it.created_at)))),
    ];
    lines.extend(it.state_digest.map(|_| ("state", size(it.state_bytes))));
    lines.extend(it.state_files.iter().map(|file| ("state files", name(file))));
    lines.extend(it.workspace.as_ref().map(|place| ("workspace", name(place))));
    if it.workspace.is_some() {
        lines.push(("", of_files(it.workspace_files, it.workspace_bytes)));
    }
    if !left_out.is_empty() {
        let LeftOut { skipped, unsettled } = left_out;
        let (skipped, unsettled) = (skipped.len(), unsettled.len());
        lines.push(("", format!("{skipped} left out, {unsettled} unsettled (--files lists them)")));
    }
    lines.extend([
        ("stored", size(it.stored_bytes)),
        ("digest", it.digest.to_string()),
        ("path", it.path.display().to_string()),
    ]);
    lines.extend(it.parent.map(|parent| ("parent", parent.to_string())));
    lines.extend(it.restored_from.map(|from| ("restored from", from.to_string())));
    lines.extend(it.operation.as_ref().map(|of| ("operation", format!("{} ({})", of.name, of.id))));
    lines.extend(it.state_file.as_ref().map(|file| ("state file", name(file))));
    lines.extend(it.inherited.iter().map(|(part, seq)| ("inherited", format!("{part} of {seq}"))));
    lines.extend(it.labels.iter().map(|(key, value)| ("label", format!("{key}={value}"))));
    lines.extend(it.metadata.as_ref().map(|metadata| ("metadata", metadata.to_string())));
    lines.extend(it.comment.clone().map(|comment| ("comment", comment)));
    lines.extend(it.tainted.then(|| ("tainted", "never chosen automatically".to_owned())));
    facts(&lines)
}

/// So many files of so many bytes.
fn of_files(files: u64, bytes: u64) -> String {
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    format!("{} of {}", count(files, "file", "files"), size(bytes))
}

/// A line for each name, and below what is not among them.
fn listed(found: &[KeptFile], left_out: &LeftOut) -> String {
    if found.is_empty() && left_out.is_empty() {
        return "It holds no files.".to_owned();
    }
    let mut lines = vec![row(["KIND", "MODE", "SIZE", "MODIFIED", "PATH"])];
    lines.extend(found.iter().map(file));
    if !left_out.skipped.is_empty() {
        lines.push("\nLeft out:\n".to_owned());
        lines.extend(left_out.skipped.iter().map(|one| format!("  {}\n", output::visible(one))));
    }
    if !left_out.unsettled.is_empty() {
        lines.push("\nChanged while it was read:\n".to_owned());
        lines.extend(left_out.unsettled.iter().map(|path| format!("  {}\n", name(path))));
    }
    lines.concat()
}

fn file(it: &KeptFile) -> String {
    let path = match (it.kind, &it.target) {
        (FileKind::Dir, _) => format!("{}/", name(&it.path)),
        (_, Some(target)) => format!("{} -> {}", name(&it.path), name(target)),
        _ => name(&it.path),
    };
    let mode = it.mode.map(output::mode).unwrap_or_default();
    let bytes = if it.kind == FileKind::File { size(it.bytes) } else { String::new() };
    let time = it.modified_at.to_chrono().format("%Y-%m-%d %H:%M:%SZ").to_string();
    row([output::kind(it.kind), &mode, &bytes, &time, &path])
}

fn row([kind, mode, size, time, path]: [&str; 5]) -> String {
    format!("{kind:4}  {mode:4}  {size:>9}  {time:20}  {path}\n")
}
