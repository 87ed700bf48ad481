//! `list`: an agent's checkpoints.

use clap::Args;

use super::failure::Failure;
use super::output::{size, span, table};
use super::session::Session;
use crate::manager::Filter;
use crate::server::api::{List, StatusNow};
use crate::server::reach::Reach;
use crate::state::{AgentId, Checkpoint, Durable, Kind, Seq, Timestamp};

/// Other agents that are named where this one has nothing.
const AGENTS_NAMED_MAX: usize = 8;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stateward list\n  stateward list --agent agent-3 --kind \
                        recovery --limit 5\n  stateward list --json | jq -r '.[0].path'")]
pub(super) struct Arguments {
    /// Only this kind: `routine`, `pre_operation` or `recovery`
    #[arg(long)]
    kind: Option<Kind>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only those before this seq
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let agent = session.agent_id();
    let reach = session.glance(&session.store())?;
    let Arguments { kind, limit, before } = *arguments;
    let filter = Filter { kind, limit, before: before.map(Seq) };
    let found = session.call(&reach, List { agent: agent.clone(), filter })?;
    let others = if found.is_empty() { others(session, &reach)? } else { Vec::new() };
    let now = session.clock.now();
    session
        .out
        .data(&found, || if found.is_empty() { nothing(agent, &others) } else { rows(&found, now) })
}

/// Other agents that have something, where this one has not.
fn others(session: &Session, reach: &Reach) -> Result<Vec<AgentId>, Failure> {
    let status = session.call(reach, StatusNow)?;
    let agents = status
        .agents
        .into_iter()
        .filter(|it| it.checkpoints > 0 && it.agent_id != *session.agent_id());
    Ok(agents.map(|it| it.agent_id).collect())
}

fn nothing(agent: &AgentId, others: &[AgentId]) -> String {
    let nothing = format!("Agent {agent} has no such checkpoint.");
    if others.is_empty() {
        return nothing;
    }
    let shown: Vec<&str> = others.iter().take(AGENTS_NAMED_MAX).map(AgentId::as_str).collect();
    let more = if others.len() > shown.len() { " …" } else { "" };
    format!("{nothing} Others have: {}{more} (--agent ID).", shown.join(", "))
}

fn rows(found: &[Checkpoint], now: Timestamp) -> String {
    let row = |it: &Checkpoint| {
        [
            it.seq.to_string(),
            it.kind.to_string(),
            span(now.since(it.created_at)),
            size(it.state_bytes),
            files(it),
            it.checkpoint_id.to_string(),
            remarks(it),
        ]
    };
    let rows = found.iter().map(row);
    if found.iter().any(|it| it.workspace.is_some()) {
        return table(["SEQ", "KIND", "AGE", "STATE", "FILES", "ID", ""], rows.collect());
    }
    let without =
        rows.map(|[seq, kind, age, state, _, id, rest]| [seq, kind, age, state, id, rest]);
    table(["SEQ", "KIND", "AGE", "STATE", "ID", ""], without.collect())
}

/// The files of its workspace, and their bytes.
fn files(it: &Checkpoint) -> String {
    if it.workspace.is_none() {
        return String::new();
    }
    format!("{}, {}", it.workspace_files, size(it.workspace_bytes))
}

/// What sets a checkpoint apart, in words.
fn remarks(it: &Checkpoint) -> String {
    let mut words = Vec::new();
    words.extend(it.operation.as_ref().map(|operation| format!("operation {}", operation.name)));
    words.extend(it.restored_from.map(|from| format!("restored from {from}")));
    words.extend(it.tainted.then(|| "tainted".to_owned()));
    words.extend((it.durable == Durable::Fallback).then(|| "in a fallback".to_owned()));
    words.extend(it.labels.iter().map(|(key, value)| match value.as_str() {
        "" => key.clone(),
        value => format!("{key}={value}"),
    }));
    words.extend(it.comment.clone());
    words.join(", ")
}
