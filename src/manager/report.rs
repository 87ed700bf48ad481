//! What there is and what happened: agents, status, the log, verification.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::agent::Agent;
#[cfg(feature = "server")]
use super::committer::CommitEnd;
use super::error::Error;
use super::resolve::WalkedPast;
use super::{CheckpointManager, operation};
use crate::encode::event::{Event, What};
#[cfg(feature = "cli")]
use crate::retention::Policy;
#[cfg(feature = "server")]
use crate::state::Kind;
use crate::state::{AgentId, Checkpoint, Timestamp};
#[cfg(feature = "server")]
use crate::store::Fresh;
use crate::store::{CompactionError, ContentError, Store, Target};
use crate::verify::{self, Progress, VerifyOptions, VerifyReport};

/// An agent as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct AgentSummary {
    /// Which.
    pub agent_id: AgentId,
    /// Checkpoints that are held.
    pub checkpoints: u64,
    /// The highest number ever given.
    pub last_seq: crate::state::Seq,
    /// What `latest` is.
    pub latest: Option<Checkpoint>,
    /// Operations that are open.
    pub open_operations: u64,
}

/// A target as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct TargetStatus {
    /// Where it is.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub path: PathBuf,
    /// `primary` or `fallback`.
    pub role: String,
    /// It can be read.
    pub readable: bool,
    /// It takes commits.
    pub writable: bool,
    /// Why it takes none, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Checkpoints it holds.
    pub checkpoints: u64,
    /// Bytes of records in its log, live or not.
    pub log_bytes: u64,
    /// Bytes free on its file system, where it tells.
    pub free_bytes: Option<u64>,
}

/// How everything stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Status {
    /// The primary store.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub store: PathBuf,
    /// Its identity, where it can be seen.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub store_id: Option<uuid::Uuid>,
    /// Every target, the primary first.
    pub targets: Vec<TargetStatus>,
    /// Every agent.
    pub agents: Vec<AgentSummary>,
    /// What opening found damaged, in words.
    pub damage: Vec<String>,
    /// What opening set right, in words.
    pub notes: Vec<String>,
    /// Bytes of an unfinished tail that opening cut.
    pub cut_bytes: u64,
    /// Shown without a recovery having made it durable.
    pub unrecovered: bool,
    /// Not everything is as it should be.
    pub degraded: bool,
    /// Protected checkpoints alone exceed the disk budget.
    pub over_budget: bool,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct LogEntry {
    /// Its name in the order of the log: entries are ordered by it, and no two have the same.
    #[serde(default)]
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// `checkpoint`, or the event's name.
    pub entry: String,
    /// Whose, where it is an agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// What it says.
    pub detail: serde_json::Value,
}

impl CheckpointManager {
    /// Every agent that has, or ever had, a checkpoint.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentSummary> {
        let stores = self.committer().targets.sighted();
        let mut names: Vec<AgentId> = stores
            .iter()
            .flat_map(|store| store.catalog().agents.keys().cloned().collect::<Vec<_>>())
            .collect();
        names.sort();
        names.dedup();
        names.into_iter().map(|agent| summary(&stores, agent)).collect()
    }

    /// How everything stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let targets = &self.committer().targets;
        let primary = targets.primary.store();
        let report = primary.as_ref().map(|store| store.report().clone()).unwrap_or_default();
        let all: Vec<TargetStatus> =
            targets.all().enumerate().map(|(index, target)| target_status(target, index)).collect();
        let over_budget = self.committer().is_over_budget();
        let troubled = all.iter().any(|target| target.trouble.is_some());
        Status {
            store: targets.primary.path().to_owned(),
            store_id: primary.as_ref().map(|store| store.identity().store_id),
            targets: all,
            agents: self.agents(),
            degraded: troubled || over_budget || !report.damage.is_empty(),
            damage: report.damage,
            notes: report.notes,
            cut_bytes: report.cut_bytes,
            unrecovered: report.unrecovered,
            over_budget,
        }
    }

    /// What happened, oldest first: checkpoints that are held, and events; the newest `limit`.
    ///
    /// # Errors
    /// `unavailable` where no store can be seen or the disk refuses.
    pub fn log(&self, limit: Option<usize>) -> Result<Vec<LogEntry>, Error> {
        let mut entries = Vec::new();
        for store in self.seen("the log")? {
            let held: Vec<_> = store.catalog().held().cloned().collect();
            entries.extend(held.iter().map(|held| entry_of(&store.facts(held))));
            let events = store.events().map_err(|error| reading(&error))?;
            let id = store.identity().store_id;
            entries.extend(events.iter().filter_map(|event| event_entry(id, event)));
        }
        // What went home and was not let go yet is held twice.
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        entries.dedup_by(|a, b| a.id == b.id);
        let skip = entries.len().saturating_sub(limit.unwrap_or(usize::MAX));
        Ok(entries.split_off(skip))
    }

    /// Has somebody listen to what happens from now on, entry by entry as the log has it, once each is
    /// durable. `wanted` says whether anybody cares just now. The listener must be quick.
    #[cfg(feature = "server")]
    pub(crate) fn on_entry(
        &self,
        wanted: impl Fn() -> bool + Send + Sync + 'static,
        hear: impl Fn(LogEntry) + Send + Sync + 'static,
    ) {
        self.committer().targets.news.listen(move |fresh| {
            if !wanted() {
                return;
            }
            let entry = match fresh {
                Fresh::Checkpoint(checkpoint) => Some(entry_of(checkpoint)),
                Fresh::Event(store, event) => event_entry(store, event),
            };
            if let Some(entry) = entry {
                hear(entry);
            }
        });
    }

    /// Waits until whoever listens has heard of everything that got its time before this was called.
    #[cfg(feature = "server")]
    pub(crate) fn await_entries(&self) {
        drop(self.committer().turn.lock());
        self.committer().targets.sighted().iter().for_each(|store| store.await_writer());
    }

    /// Has somebody told what each commit came to.
    #[cfg(feature = "server")]
    pub(crate) fn on_commit(&self, count: impl Fn(CommitEnd<'_>) + Send + Sync + 'static) {
        *self.committer().counting.write() = Some(Box::new(count));
    }

    /// Checkpoints that are held, by agent and kind.
    #[cfg(feature = "server")]
    pub(crate) fn held_by_kind(&self) -> BTreeMap<(AgentId, Kind), u64> {
        let mut held = BTreeMap::new();
        for store in self.committer().targets.sighted() {
            for one in store.catalog().held() {
                *held.entry((one.manifest.agent.clone(), one.manifest.kind)).or_default() += 1;
            }
        }
        held
    }

    /// Every target as it stands, the primary first.
    #[cfg(feature = "server")]
    pub(crate) fn targets(&self) -> Vec<TargetStatus> {
        let targets = self.committer().targets.all().enumerate();
        targets.map(|(index, target)| target_status(target, index)).collect()
    }

    /// What opening found damaged, in words.
    #[cfg(feature = "server")]
    pub(crate) fn damage(&self) -> Vec<String> {
        let primary = self.committer().targets.primary.store();
        primary.map(|store| store.report().damage.clone()).unwrap_or_default()
    }

    /// Why not everything is as it should be, in words; nothing where it is.
    #[cfg(feature = "server")]
    pub(crate) fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        for target in self.targets() {
            let path = target.path.display();
            if let Some(why) = &target.trouble {
                troubles.push(format!("the {} store {path} takes nothing: {why}", target.role));
            } else if target.role == "primary" && !target.writable {
                troubles.push(format!("the primary store {path} is not open to write"));
            }
        }
        if self.committer().is_over_budget() {
            troubles.push("protected checkpoints alone exceed the disk budget".to_owned());
        }
        for store in self.committer().targets.sighted() {
            if store.is_without_reserve() {
                let path = store.path().display();
                troubles.push(format!("the store {path} had to use its reserve of room"));
            }
        }
        troubles.extend(self.damage());
        troubles
    }

    /// Keeps by another policy from now on.
    #[cfg(feature = "cli")]
    pub(crate) fn set_policy(&self, policy: Policy) {
        *self.committer().policy.write() = policy;
    }

    /// Reads everything and compares it; with `repair` mends the log where a second copy exists.
    ///
    /// # Errors
    /// `unavailable` when the disk refuses; damage is in the report, not an error.
    #[tracing::instrument(level = "info", skip_all, fields(repair = options.repair))]
    pub fn verify(
        &self,
        options: &VerifyOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<VerifyReport>, Error> {
        if options.repair {
            self.must_write()?;
        }
        let stores = self.seen("what to verify")?;
        let mut reports = Vec::new();
        for store in &stores {
            let mut report =
                verify::scrub(store, options, progress).map_err(|error| reading(&error))?;
            if options.repair && !report.sound && store.is_writable() {
                let others: Vec<Arc<Store>> =
                    stores.iter().filter(|other| !Arc::ptr_eq(other, store)).cloned().collect();
                let encode = self.committer().encode;
                verify::heal(store, &others, &mut report, &encode)
                    .map_err(|error| healing(&error))?;
                store
                    .settle()
                    .map_err(|source| Error::Io { doing: "settle the store".into(), source })?;
            }
            tracing::info!(
                store = %report.store.display(),
                segments = report.segments,
                checkpoints = report.checkpoints,
                sound = report.sound,
                "verified"
            );
            reports.push(report);
        }
        self.show_damage(&reports);
        Ok(reports)
    }

    /// Shows what a scrub found damaged to the detectors of those whose it is.
    fn show_damage(&self, reports: &[VerifyReport]) {
        let mut damaged: BTreeMap<&AgentId, Vec<WalkedPast>> = BTreeMap::new();
        for one in
            reports.iter().flat_map(|it| it.damaged_checkpoints.iter().chain(&it.lost_checkpoints))
        {
            let seen = WalkedPast { checkpoint_id: one.checkpoint_id, why: one.why.clone() };
            damaged.entry(&one.agent_id).or_default().push(seen);
        }
        for (agent_id, seen) in damaged {
            Agent::new(self.clone(), agent_id.clone()).note_damage(&seen);
        }
    }
}

fn summary(stores: &[Arc<Store>], agent: AgentId) -> AgentSummary {
    let mut summary = AgentSummary {
        agent_id: agent,
        checkpoints: 0,
        last_seq: crate::state::Seq(0),
        latest: None,
        open_operations: 0,
    };
    for store in stores {
        let latest = {
            let catalog = store.catalog();
            let Some(shelf) = catalog.agents.get(&summary.agent_id) else { continue };
            summary.checkpoints += shelf.checkpoints.len() as u64;
            summary.last_seq = summary.last_seq.max(shelf.last_seq);
            catalog.latest(&summary.agent_id).cloned()
        };
        let openers: Vec<_> = store.catalog().openers(&summary.agent_id).cloned().collect();
        let standing = openers.iter().filter_map(|held| operation::status_of(stores, held));
        let open = standing.filter(|one| one.status == super::Standing::Open);
        summary.open_operations += open.count() as u64;
        let newer = latest
            .map(|held| store.facts(&held))
            .filter(|new| summary.latest.as_ref().is_none_or(|known| known.seq < new.seq));
        summary.latest = newer.or(summary.latest);
    }
    summary
}

fn target_status(target: &Target, index: usize) -> TargetStatus {
    let store = target.store();
    let space = store.as_ref().and_then(|store| store.disk().space(store.path()).ok());
    TargetStatus {
        path: target.path().to_owned(),
        role: if index == 0 { "primary" } else { "fallback" }.to_owned(),
        readable: store.is_some(),
        writable: target.ready().is_some(),
        trouble: target.trouble().map(|trouble| trouble.why),
        checkpoints: store.as_ref().map_or(0, |store| store.catalog().held().count() as u64),
        log_bytes: store.as_ref().map_or(0, |store| store.log_bytes()),
        free_bytes: space.map(|space| space.free),
    }
}

/// The name of an entry: its time, and what tells it from others of the same millisecond.
fn entry_id(at: Timestamp, which: &str) -> String {
    format!("{:014}-{which}", at.unix_ms().max(0))
}

fn entry_of(checkpoint: &Checkpoint) -> LogEntry {
    LogEntry {
        id: entry_id(checkpoint.created_at, &checkpoint.checkpoint_id.0.simple().to_string()),
        at: checkpoint.created_at,
        entry: "checkpoint".to_owned(),
        agent_id: Some(checkpoint.agent_id.clone()),
        detail: serde_json::json!({
            "checkpoint_id": checkpoint.checkpoint_id,
            "seq": checkpoint.seq,
            "kind": checkpoint.kind,
            "state_bytes": checkpoint.state_bytes,
            "comment": checkpoint.comment,
            "restored_from": checkpoint.restored_from,
        }),
    }
}

/// An event as a person reads it; those that only concern the log's own keeping are left out.
fn event_entry(store: Uuid, event: &Event) -> Option<LogEntry> {
    let (at, what) = (event.at, &event.what);
    let agent_id = match what {
        What::SegmentBegun { .. } | What::SegmentCompacted { .. } | What::Observed { .. } => {
            return None;
        }
        What::Forgotten { agent_id, .. }
        | What::OperationClosed { agent_id, .. }
        | What::RestoreBegun { agent_id, .. }
        | What::RestoreRolledBack { agent_id, .. }
        | What::Reset { agent_id, .. }
        | What::DriftFound { agent_id, .. }
        | What::DriftCalmed { agent_id, .. }
        | What::DriftShared { agent_id, .. }
        | What::DriftAnswered { agent_id, .. }
        | What::DriftReleased { agent_id, .. }
        | What::DriftHookFailed { agent_id, .. }
        | What::Diverged { agent_id, .. } => Some(agent_id.clone()),
        _ => None,
    };
    let value = serde_json::to_value(what).unwrap_or_default();
    let detail = match value {
        serde_json::Value::Object(map) => map.into_iter().next().map(|(_, detail)| detail),
        _ => None,
    };
    let entry = what.name().to_owned();
    let id = entry_id(at, &format!("e{:010}{}", event.n, &store.simple().to_string()[..8]));
    Some(LogEntry { id, at, entry, agent_id, detail: detail.unwrap_or_default() })
}

fn reading(error: &ContentError) -> Error {
    let source = std::io::Error::other(error.to_string());
    Error::Io { doing: "read the store".to_owned(), source }
}

fn healing(error: &CompactionError) -> Error {
    let source = std::io::Error::other(error.to_string());
    Error::Io { doing: "mend the store".to_owned(), source }
}
