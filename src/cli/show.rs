//! `show` and `diff`: looking at checkpoints.

use clap::Args;

use super::failure::Failure;
use super::output::{self, facts, size, span};
use super::session::Session;
use crate::encode::{Change, ChangeKind};
use crate::state::{Checkpoint, Timestamp};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stateward show latest\n  stateward show good --state | jq .")]
pub(super) struct Show {
    /// A path, an id or its first digits, latest, latest:KIND, or good
    #[arg(value_name = "REF")]
    reference: String,
    /// Print its state instead, byte for byte
    #[arg(long)]
    state: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  stateward diff good latest\n\nLines begin with + for what was \
                        added, - for what was removed, ~ for what changed; paths are JSON Pointers."
)]
pub(super) struct Diff {
    /// The checkpoint to start from
    #[arg(value_name = "A")]
    from: String,
    /// The checkpoint to compare with it
    #[arg(value_name = "B")]
    to: String,
}

pub(super) fn show(session: &Session, arguments: &Show) -> Result<(), Failure> {
    let named = session.named_by(&arguments.reference, false)?;
    let manager = session.look(&named.store)?;
    let agent = session.agent_of(&manager, &arguments.reference, &named)?;
    if arguments.state {
        let loaded = agent.read_checkpoint(&arguments.reference)?;
        return match loaded.state_bytes() {
            Some(bytes) => output::bytes(bytes),
            None => Err(no_state(&arguments.reference)),
        };
    }
    let found = manager.find(agent.id(), &arguments.reference)?;
    session.out.data(&found, || describe(&found, session.clock.now()))
}

pub(super) fn no_state(reference: &str) -> Failure {
    Failure::Usage { message: format!("checkpoint {reference} holds no state"), hint: "" }
}

fn describe(it: &Checkpoint, now: Timestamp) -> String {
    let mut lines = vec![
        ("checkpoint", it.checkpoint_id.to_string()),
        ("agent", it.agent_id.to_string()),
        ("seq", it.seq.to_string()),
        ("kind", it.kind.to_string()),
        ("created", format!("{} ({} ago)", it.created_at, span(now.since(it.created_at)))),
        ("state", size(it.state_bytes)),
        ("stored", size(it.stored_bytes)),
        ("digest", it.digest.to_string()),
        ("path", it.path.display().to_string()),
    ];
    lines.extend(it.parent.map(|parent| ("parent", parent.to_string())));
    lines.extend(it.restored_from.map(|from| ("restored from", from.to_string())));
    lines.extend(it.operation.as_ref().map(|of| ("operation", format!("{} ({})", of.name, of.id))));
    lines.extend(it.state_file.as_ref().map(|file| ("state file", file.display().to_string())));
    lines.extend(it.inherited.iter().map(|(part, seq)| ("inherited", format!("{part} of {seq}"))));
    lines.extend(it.labels.iter().map(|(key, value)| ("label", format!("{key}={value}"))));
    lines.extend(it.metadata.as_ref().map(|metadata| ("metadata", metadata.to_string())));
    lines.extend(it.comment.clone().map(|comment| ("comment", comment)));
    lines.extend(it.tainted.then(|| ("tainted", "never chosen automatically".to_owned())));
    facts(&lines)
}

pub(super) fn diff(session: &Session, arguments: &Diff) -> Result<(), Failure> {
    let named = session.named_by(&arguments.from, false)?;
    let manager = session.look(&named.store)?;
    let agent = session.agent_of(&manager, &arguments.from, &named)?;
    let changes = agent.diff(&arguments.from, &arguments.to)?;
    session.out.data(&changes, || {
        if changes.is_empty() {
            "The two states say the same.".to_owned()
        } else {
            changes.iter().map(line).collect()
        }
    })
}

fn line(change: &Change) -> String {
    let (before, after) = (short(change.before.as_ref()), short(change.after.as_ref()));
    let path = if change.path.is_empty() { "(the whole)" } else { &change.path };
    match change.kind {
        ChangeKind::Added => format!("+ {path}  {after}\n"),
        ChangeKind::Removed => format!("- {path}  {before}\n"),
        ChangeKind::Changed => format!("~ {path}  {before} → {after}\n"),
    }
}

/// The beginning of a value, on one line.
fn short(value: Option<&String>) -> String {
    const LETTERS_MAX: usize = 60;
    let text = value.map(String::as_str).unwrap_or_default();
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LETTERS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
