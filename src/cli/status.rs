//! `status`: how the store stands, and what configuration holds.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::drift;
use super::failure::Failure;
use super::output::{size, span, table};
use super::session::Session;
use crate::config::Entry;
use crate::drift::{Feed, Level, Signal, SourceStatus};
use crate::manager::{AgentSummary, DriftReport, Status, TargetStatus};
use crate::server::api::{Drift, StatusNow};
use crate::state::{AgentId, Timestamp};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stateward status\n  stateward status --config")]
pub(super) struct Arguments {
    /// Show every key of the configuration with its value and where that came from; `--config`
    /// without a FILE does the same
    #[arg(long)]
    pub(super) show_config: bool,
}

/// Agents whose signals are listed; `drift --agent` tells of further ones.
const WATCHED_MAX: usize = 16;

/// How the store stands, and what is seen of its agents.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    status: &'a Status,
    seen: BTreeMap<&'a AgentId, Seen<'a>>,
}

/// What is seen of an agent, and what is not.
#[derive(Serialize)]
struct Seen<'a> {
    level: Level,
    sources: &'a [SourceStatus],
    signals: Vec<FeedOf<'a>>,
}

#[derive(Serialize)]
struct FeedOf<'a> {
    signal: Signal,
    #[serde(skip_serializing_if = "str::is_empty")]
    subject: &'a str,
    feed: Feed,
}

impl<'a> Seen<'a> {
    fn of(report: &'a DriftReport) -> Self {
        let signals = report.signals.iter();
        let signals = signals
            .map(|it| FeedOf { signal: it.signal, subject: &it.subject, feed: it.feed })
            .collect();
        Self { level: report.verdict.level, sources: &report.sources, signals }
    }
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.show_config {
        let entries = session.configuration.entries();
        return session
            .out
            .data(&entries, || table(["KEY", "VALUE", "FROM"], entries.iter().map(row).collect()));
    }
    let reach = session.as_held(&session.store())?;
    let status = session.call(&reach, StatusNow)?;
    let watched = status.agents.iter().take(WATCHED_MAX).map(|it| it.agent_id.clone());
    let watched = watched.map(|agent| {
        let report = session.call(&reach, Drift { agent: agent.clone() })?;
        Ok((agent, report))
    });
    let watched = watched.collect::<Result<Vec<_>, Failure>>()?;
    let seen = watched.iter().map(|(agent, report)| (agent, Seen::of(report))).collect();
    let told = Told { status: &status, seen };
    session.out.data(&told, || in_words(&status, session.clock.now()) + &feeds(&watched))
}

/// Which signals are fed and which are blind.
fn feeds(watched: &[(AgentId, DriftReport)]) -> String {
    let line = |(agent, report): &(AgentId, DriftReport)| {
        let level = drift::word(report.verdict.level);
        format!(
            "\n\n{agent} is {level}; its signals are\n{}",
            drift::feeds_in_words(report).trim_end()
        )
    };
    watched.iter().map(line).collect()
}

fn row(entry: &Entry) -> [String; 3] {
    let value = entry.value.as_ref().map_or_else(|| "(not set)".to_owned(), ToString::to_string);
    [entry.key.clone(), value, entry.origin.to_string()]
}

fn in_words(status: &Status, now: Timestamp) -> String {
    let mut text = table(
        ["STORE", "", "CHECKPOINTS", "LOG", "FREE", ""],
        status.targets.iter().map(target).collect(),
    );
    if !status.agents.is_empty() {
        text.push('\n');
        let rows = status.agents.iter().map(|it| agent(it, now)).collect();
        text += &table(["AGENT", "CHECKPOINTS", "LATEST", "AGE", "OPEN OPERATIONS"], rows);
    }
    text + &concerns(status)
}

fn target(it: &TargetStatus) -> [String; 6] {
    let state = match (it.readable, it.writable) {
        (true, true) => "",
        (true, false) => "only read",
        (false, _) => "not to be seen",
    };
    let trouble = it.trouble.clone().unwrap_or_else(|| state.to_owned());
    [
        it.path.display().to_string(),
        it.role.clone(),
        it.checkpoints.to_string(),
        size(it.log_bytes),
        it.free_bytes.map_or_else(String::new, size),
        trouble,
    ]
}

fn agent(it: &AgentSummary, now: Timestamp) -> [String; 5] {
    let latest = it.latest.as_ref();
    [
        it.agent_id.to_string(),
        it.checkpoints.to_string(),
        latest.map_or_else(|| "none".to_owned(), |it| it.seq.to_string()),
        latest.map_or_else(String::new, |it| span(now.since(it.created_at))),
        it.open_operations.to_string(),
    ]
}

/// Everything that is not as it should be, and what was set right.
fn concerns(status: &Status) -> String {
    let mut lines: Vec<String> =
        status.damage.iter().map(|what| format!("damaged: {what}")).collect();
    lines.extend(status.notes.iter().map(|note| format!("set right: {note}")));
    if status.cut_bytes > 0 {
        let cut = size(status.cut_bytes);
        lines.push(format!("an unfinished tail of {cut} was cut; a copy is in the quarantine"));
    }
    if status.unrecovered {
        lines.push("the newest checkpoints are shown as found, not yet recovered".to_owned());
    }
    if status.over_budget {
        lines.push("what may not be forgotten exceeds the disk budget".to_owned());
    }
    if status.degraded {
        lines.push("degraded: `stateward doctor` tells what follows".to_owned());
    }
    lines.iter().flat_map(|line| ["\n", line]).collect()
}
