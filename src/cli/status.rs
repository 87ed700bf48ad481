//! `status`: how the store stands, and what configuration holds.

use clap::Args;
use serde_json::Value;

use super::failure::Failure;
use super::output::{facts, table};
use super::session::Session;
use crate::config::Entry;
use crate::manager::Status;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stateward status\n  stateward status --config")]
pub(super) struct Arguments {
    /// Show every key of the configuration with its value and where that came from; `--config`
    /// without a FILE does the same
    #[arg(long)]
    pub(super) show_config: bool,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.show_config {
        let entries = session.configuration.entries();
        return session
            .out
            .data(&entries, || table(["KEY", "VALUE", "FROM"], entries.iter().map(row).collect()));
    }
    let status = session.look(&session.store())?.status();
    session.out.data(&status, || in_words(&status))
}

fn row(entry: &Entry) -> [String; 3] {
    let value = entry.value.as_ref().map_or_else(|| "(not set)".to_owned(), ToString::to_string);
    [entry.key.clone(), value, entry.origin.to_string()]
}

fn in_words(status: &Status) -> String {
    let Ok(Value::Object(fields)) = serde_json::to_value(status) else { return String::new() };
    let lines: Vec<(&str, String)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.to_string())).collect();
    facts(&lines)
}
