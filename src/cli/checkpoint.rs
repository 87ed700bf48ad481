//! `checkpoint`: makes one and prints its receipt.

use clap::Args;
use serde_json::Value;

use super::failure::Failure;
use super::output::{count, size};
use super::place::PartArguments;
use super::session::Session;
use super::source::StateArguments;
use crate::manager;
use crate::server::api::{CheckpointBody, Condition, MakeCheckpoint, Opening};
use crate::server::reach::Reach;
use crate::state::{Checkpoint, Durable, Kind, Receipt, Seq};

const EXAMPLES: &str = "\
Examples:
  stateward checkpoint --state state.json
  my-agent dump | stateward checkpoint --state - --comment 'before the merge'
  stateward checkpoint --state-command 'curl -s localhost:8000/state'
  stateward checkpoint --state s.json --idempotency-key \"$STEP\" --if-match 41
  stateward checkpoint --workspace .        the files of this directory
  stateward checkpoint --kind pre_operation --workspace . --label keep=yes

The state is kept as the bytes that were given. What is not given (state, state files, workspace) is \
taken over from the newest checkpoint. Of a workspace only what changed is read and stored; what can \
be made again (node_modules, target, .venv …), what a .statewardignore names and files over 100 MB \
are left out, and listed.
On exit 0 the checkpoint is durable, and its path is printed.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// `routine`, `pre_operation` (opens an operation) or `recovery`
    #[arg(long, value_name = "KIND", default_value = "routine")]
    kind: Kind,
    #[command(flatten)]
    state: StateArguments,
    #[command(flatten)]
    pub(super) parts: PartArguments,
    /// Words for those who read the list
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// A label; `keep` pins the checkpoint unless configured otherwise
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// JSON of your own, kept with the checkpoint
    #[arg(long, value_name = "JSON", value_parser = metadata)]
    meta: Option<Value>,
    /// The same key again gives the first receipt instead of a second checkpoint
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Only if the state last changed at this seq; otherwise exit 1
    #[arg(long, value_name = "SEQ")]
    if_match: Option<u64>,
    /// The open operation this belongs to, by name or id
    #[arg(long, value_name = "NAME|ID")]
    operation: Option<String>,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("a label has a key before the `=`".to_owned()),
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Ok((text.to_owned(), String::new())),
    }
}

fn metadata(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text)
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let mut owner = arguments.parts.words(session)?;
    let state = arguments.state.take(session)?.into_body(&mut owner);
    let body = CheckpointBody {
        state,
        comment: arguments.comment.clone(),
        labels: arguments.labels.iter().cloned().collect(),
        metadata: arguments.meta.clone(),
        operation: arguments.operation.clone(),
        owner: Some(owner),
        ..CheckpointBody::of(arguments.kind)
    };
    let wanted = MakeCheckpoint {
        agent: session.agent_id().clone(),
        body,
        condition: arguments.if_match.map(|seq| Condition::Match(Seq(seq))),
        idempotency_key: arguments.idempotency_key.clone(),
        opening: Opening::Belongs,
    };
    let receipt = make(session, wanted)?;
    session.out.data(&receipt, || in_words(&receipt))?;
    session.out.say(&concerns(&receipt));
    Ok(())
}

/// Makes a checkpoint in the session's store.
pub(super) fn make(session: &Session, wanted: MakeCheckpoint) -> Result<Receipt, Failure> {
    session.reach_or_make(&session.store(), |reach| {
        if let (Reach::There(_), Some(state)) = (reach, &wanted.body.state) {
            // What is no JSON does not fit into a request.
            let limits = session.configuration.settings.state;
            limits.check_state(&state.0).map_err(manager::Error::State)?;
        }
        session.call(reach, wanted)
    })
}

/// The receipt as a sentence, and the path by itself, so that it is easily taken.
pub(super) fn in_words(receipt: &Receipt) -> String {
    let it = &receipt.checkpoint;
    let where_to = match it.durable {
        Durable::Local => "",
        Durable::Fallback => " in a fallback store",
    };
    let (seq, agent, kind, held) = (it.seq, &it.agent_id, it.kind, holds(it));
    format!(
        "Checkpoint {seq} of {agent} ({kind}, {held}) is durable{where_to}:\n{}",
        it.path.display()
    )
}

/// What a checkpoint holds, in a few words.
pub(super) fn holds(it: &Checkpoint) -> String {
    let mut parts = Vec::new();
    if it.state_digest.is_some() {
        parts.push(size(it.state_bytes));
    }
    if !it.state_files.is_empty() {
        parts.push(count(it.state_files.len(), "state file", "state files"));
    }
    if it.workspace.is_some() {
        let files = usize::try_from(it.workspace_files).unwrap_or(usize::MAX);
        parts.push(format!("{} of {}", count(files, "file", "files"), size(it.workspace_bytes)));
    }
    parts.join(", ")
}

/// What is to be known beside the receipt itself.
pub(super) fn concerns(receipt: &Receipt) -> String {
    let mut lines: Vec<String> =
        receipt.degraded_why.iter().map(|why| format!("degraded: {why}")).collect();
    if receipt.over_budget {
        lines.push("what may not be forgotten exceeds the disk budget".to_owned());
    }
    for attempt in &receipt.attempts {
        let why = attempt.error.as_ref().map(|why| format!("{}: {why}", attempt.target.display()));
        lines.extend(why);
    }
    for (part, seq) in &receipt.checkpoint.inherited {
        let part = part.replace('_', " ");
        let is = if part.ends_with('s') { "are" } else { "is" };
        lines.push(format!("the {part} {is} taken over from checkpoint {seq}"));
    }
    lines.extend(receipt.skipped.iter().map(|what| format!("skipped: {what}")));
    lines.extend(receipt.unsettled.iter().map(|path| format!("unsettled: {}", path.display())));
    lines.join("\n")
}
