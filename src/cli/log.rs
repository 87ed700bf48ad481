//! `log`: what happened in the store.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::failure::Failure;
use super::session::Session;
use crate::manager::LogEntry;
use crate::server::api::Log;

/// How often `--follow` looks again.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stateward log --limit 20\n  stateward log --follow --json | \
                        jq --unbuffered -r .entry\n\nWith --follow and --json each entry is a \
                        line of its own.")]
pub(super) struct Arguments {
    /// Only the newest so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Go on as more happens, until interrupted
    #[arg(short, long)]
    follow: bool,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let entries = now(session, arguments.limit)?;
    if !arguments.follow {
        return session.out.data(&entries, || entries.iter().map(in_words).collect());
    }
    let mut last = print(session, &entries, None)?;
    loop {
        session.clock.sleep(LOOKS_EVERY);
        let entries = now(session, None)?;
        let seen = entries.iter().rposition(|entry| Some(entry) == last.as_ref());
        last = print(session, &entries[seen.map_or(0, |at| at + 1)..], last)?;
    }
}

fn now(session: &Session, limit: Option<usize>) -> Result<Vec<LogEntry>, Failure> {
    session.call(&session.glance(&session.store())?, Log { limit })
}

/// Prints each entry by itself; answers with the last one seen.
fn print(
    session: &Session,
    entries: &[LogEntry],
    last: Option<LogEntry>,
) -> Result<Option<LogEntry>, Failure> {
    for entry in entries {
        session.out.data(entry, || in_words(entry))?;
    }
    Ok(entries.last().cloned().or(last))
}

/// The moment, what happened, to whom, and what is told of it.
fn in_words(entry: &LogEntry) -> String {
    let LogEntry { id: _, at, entry, agent_id, detail } = entry;
    let mut words = vec![at.to_string(), entry.clone()];
    words.extend(agent_id.as_ref().map(ToString::to_string));
    match detail {
        Value::Object(fields) => {
            let told = fields.iter().filter(|(name, it)| *name != "agent_id" && !it.is_null());
            words.extend(told.map(|(name, value)| format!("{name}={}", text(value))));
        }
        Value::Null => {}
        other => words.push(text(other)),
    }
    words.join("  ") + "\n"
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
