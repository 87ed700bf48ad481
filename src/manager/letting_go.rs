//! Letting go: what retention or a person forgets, and the space it frees.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::agent::Agent;
use super::committer::Committer;
use super::error::Error;
use super::retained::{self, Why};
use super::{CheckpointManager, Progress};
use crate::commit::writer::AppendError;
use crate::encode::Block;
use crate::encode::event::What;
use crate::retention::{self, Plan};
use crate::state::{AgentId, Checkpoint, CheckpointId, Seq, Span};
use crate::store::{self, Catalog, CompactionError, Held, Store, Which};

/// How many checkpoints one word forgets where there is little room: it takes some 16 KiB then.
const FORGOTTEN_AT_ONCE: usize = 128;

/// Which checkpoints retention is to look at, and by which rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ForgetRequest {
    /// Only this agent's; every agent's where absent.
    pub agent: Option<AgentId>,
    /// Instead of the configured numbers.
    pub keep_last: Option<u64>,
    /// Instead of the configured times.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>, example = "7d"))]
    pub keep_within: Option<Span>,
    /// Only tell.
    pub dry_run: bool,
}

/// A checkpoint that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct KeptOne {
    /// Its number.
    pub seq: Seq,
    /// Which.
    pub checkpoint_id: CheckpointId,
    /// Why.
    pub reasons: Vec<String>,
}

/// A checkpoint that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ForgottenOne {
    /// Its number.
    pub seq: Seq,
    /// Which.
    pub checkpoint_id: CheckpointId,
    /// Why.
    pub reason: String,
}

/// What retention keeps of an agent, and what it lets go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ForgetReport {
    /// Whose.
    pub agent_id: AgentId,
    /// What stays.
    pub kept: Vec<KeptOne>,
    /// What goes.
    pub forgotten: Vec<ForgottenOne>,
    /// Nothing was done.
    pub dry_run: bool,
}

/// What pruning freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct PruneReport {
    /// Bytes of records in the log before.
    pub before_bytes: u64,
    /// Bytes of records in the log after.
    pub after_bytes: u64,
    /// Segments that were taken away.
    pub segments_removed: u64,
}

impl CheckpointManager {
    /// Runs retention now, for one agent or all, by the configured rules or narrower ones.
    ///
    /// # Errors
    /// `unstored` when no target took the word; `refused` where the manager only looks, unless it
    /// is a dry run.
    pub fn forget(&self, request: &ForgetRequest) -> Result<Vec<ForgetReport>, Error> {
        if !request.dry_run {
            self.must_write()?;
        }
        let committer = self.committer();
        let narrowed = request.keep_last.is_some() || request.keep_within.is_some();
        let policy = if narrowed {
            committer.policy.read().narrowed(request.keep_last, request.keep_within)
        } else {
            committer.policy.read().clone()
        };
        let mut reports = Vec::new();
        for store in self.seen("what to forget")? {
            for agent in self.agents_of(&store, request.agent.as_ref())? {
                let _turn = committer.turn.lock();
                let (report, word) = {
                    let catalog = store.catalog();
                    let now = store.store_time_ms();
                    let plan = retained::plan_for(&catalog, &agent, &[], &policy, now);
                    let seqs: Vec<Seq> = plan.forgotten.iter().map(|one| one.seq).collect();
                    let word =
                        retained::forgotten_event(&catalog, &agent, &seqs, &store, Why::Forgotten);
                    (report_of(&catalog, &agent, &plan, request.dry_run), word)
                };
                if let Some(word) = word.filter(|_| !request.dry_run) {
                    say(&store, word)?;
                }
                reports.push(report);
            }
        }
        Ok(reports)
    }

    fn agents_of(&self, store: &Store, only: Option<&AgentId>) -> Result<Vec<AgentId>, Error> {
        let catalog = store.catalog();
        match only {
            None => Ok(catalog.agents.keys().cloned().collect()),
            Some(agent) if catalog.agents.contains_key(agent) => Ok(vec![agent.clone()]),
            Some(agent) if self.last_seq(agent) == Seq(0) => {
                Err(Error::NoCheckpoint { agent: agent.clone(), reference: "latest".to_owned() })
            }
            Some(_) => Ok(Vec::new()),
        }
    }

    /// Frees the space of what was forgotten, and compresses what is kept.
    ///
    /// # Errors
    /// `unavailable` when the disk refuses.
    #[tracing::instrument(level = "info", skip_all)]
    pub fn prune(&self, progress: &mut dyn FnMut(Progress)) -> Result<PruneReport, Error> {
        self.must_write()?;
        let mut report = PruneReport::default();
        for store in self.seen("what to prune")? {
            if !store.is_writable() {
                continue;
            }
            let mut show = |done, total| progress(Progress { done, total });
            // What is dead goes first on a full disk; then there is room to copy the rest.
            let full = store.takes_checkpoints().is_err();
            let room = if full { store.compact_in_reserve().map(drop) } else { Ok(()) };
            let done = room.and_then(|()| store.compact_all(&mut show));
            let done = done.map_err(|error| pruning(&error))?;
            store
                .settle()
                .map_err(|source| Error::Io { doing: "settle the store".into(), source })?;
            report.before_bytes += done.before_bytes;
            report.after_bytes += done.after_bytes;
            report.segments_removed += done.segments_removed;
        }
        Ok(report)
    }

    /// Forgets single checkpoints of an agent; erased ones leave no copy in any store that is open.
    pub(super) fn forget_single(
        &self,
        agent: &Agent,
        references: &[&str],
        erase: bool,
    ) -> Result<Vec<Checkpoint>, Error> {
        self.must_write()?;
        let mut forgotten = Vec::new();
        for reference in references {
            let found = agent.resolve(reference)?;
            let manifest = &found.held.manifest;
            if manifest.agent != *agent.id() {
                return Err(Error::Refused {
                    why: format!("{reference} is a checkpoint of agent {}", manifest.agent),
                    way_out: "name that agent".to_owned(),
                });
            }
            let facts = found.store.facts(&found.held);
            self.check_unneeded(&found.held, erase)?;
            if erase {
                self.check_reach()?;
            }
            for store in self.committer().targets.sighted() {
                forget_in(self.committer(), &store, &found.held, erase)?;
            }
            tracing::info!(agent = %agent.id(), seq = %facts.seq, erase, "forgot a checkpoint");
            agent.forget_track();
            forgotten.push(facts);
        }
        Ok(forgotten)
    }

    /// An open operation's checkpoint is not forgotten by hand; erasing is about a secret and goes
    /// before.
    fn check_unneeded(&self, held: &Held, erase: bool) -> Result<(), Error> {
        let stores = self.committer().targets.sighted();
        let open = super::operation::status_of(&stores, held)
            .is_some_and(|operation| operation.status == super::Standing::Open);
        if open && !erase {
            return Err(Error::Refused {
                why: format!("checkpoint {} guards an operation that is open", held.manifest.id),
                way_out: "close the operation with `stateward operation complete` or `fail` first"
                    .to_owned(),
            });
        }
        Ok(())
    }

    /// What is erased must leave every target: one that holds a store and cannot be written would
    /// keep its copy.
    fn check_reach(&self) -> Result<(), Error> {
        for (index, target) in self.committer().targets.all().enumerate() {
            let reached = match target.ready() {
                Some(_) => true,
                None => {
                    index > 0 && target.store().is_none() && matches!(target.is_there(), Ok(false))
                }
            };
            if !reached {
                return Err(Error::Refused {
                    why: format!("the store at {} cannot be written now", target.path().display()),
                    way_out: "mend it, then erase again".to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn forget_in(
    committer: &Committer,
    store: &Arc<Store>,
    held: &Held,
    erase: bool,
) -> Result<(), Error> {
    let turn = committer.turn.lock();
    let id = held.manifest.id;
    let word = {
        let catalog = store.catalog();
        let here = catalog.get(id).map(|held| held.manifest.seq);
        here.and_then(|seq| {
            let why = if erase { Why::Erased } else { Why::Forgotten };
            retained::forgotten_event(&catalog, &held.manifest.agent, &[seq], store, why)
        })
    };
    if let Some(word) = word {
        say(store, word)?;
    }
    drop(turn);
    if erase {
        store.erase().map_err(|error| pruning(&error))?;
    }
    Ok(())
}

/// Makes a word durable; on a full disk the reserve makes room for it. Where the word that many
/// checkpoints are forgotten is too long for that, it is said in portions.
pub(super) fn say(store: &Arc<Store>, word: What) -> Result<(), Error> {
    match write_words(store, std::slice::from_ref(&word), &[]) {
        Err(error) if error.io().is_some_and(is_full) => {
            let portions = portions(word);
            if portions.len() < 2 {
                return Err(store::Error::from(error).into());
            }
            portions.into_iter().try_for_each(|portion| say_all(store, &[portion], &[]))
        }
        said => said.map_err(|error| store::Error::from(error).into()),
    }
}

/// The word that many checkpoints are forgotten as several that fit where there is little room.
fn portions(word: What) -> Vec<What> {
    match word {
        What::Forgotten { agent_id, checkpoints, remember_until, erased, at_home } => checkpoints
            .chunks(FORGOTTEN_AT_ONCE)
            .map(|some| What::Forgotten {
                agent_id: agent_id.clone(),
                checkpoints: some.to_vec(),
                remember_until,
                erased,
                at_home,
            })
            .collect(),
        other => vec![other],
    }
}

/// Makes words durable in one batch, with the blocks that they name.
pub(super) fn say_all(store: &Arc<Store>, words: &[What], blocks: &[Block]) -> Result<(), Error> {
    write_words(store, words, blocks).map_err(|error| store::Error::from(error).into())
}

fn write_words(store: &Arc<Store>, words: &[What], blocks: &[Block]) -> Result<(), AppendError> {
    // Before the room is used up: without any, nothing could say that a segment is compacted either.
    if let Err(error) = store.make_room_for_words() {
        tracing::warn!(%error, "no room could be made for words");
    }
    let write = || store.write_words(words.to_vec(), blocks);
    let or_after = |error: AppendError, make_room: &dyn Fn() -> bool| {
        if error.io().is_some_and(is_full) && make_room() { write() } else { Err(error) }
    };
    write()
        .or_else(|error| or_after(error, &|| store.release_reserve().is_ok()))
        .or_else(|error| or_after(error, &|| store.compact_in_reserve().is_ok()))
}

fn pruning(error: &CompactionError) -> Error {
    let source = match error {
        CompactionError::Append(error) => error.io().map(ToString::to_string),
        CompactionError::Unlink(error)
        | CompactionError::Views(error)
        | CompactionError::Reserve(error) => Some(error.to_string()),
        CompactionError::Content(_)
        | CompactionError::Kept { .. }
        | CompactionError::Damaged { .. } => None,
    };
    let words = source.map_or_else(|| error.to_string(), |source| format!("{error} ({source})"));
    Error::Io { doing: "compact the log".to_owned(), source: io::Error::other(words) }
}

fn report_of(catalog: &Catalog, agent: &AgentId, plan: &Plan, dry_run: bool) -> ForgetReport {
    let shelf = catalog.agents.get(agent);
    let id = |seq: Seq| {
        shelf
            .and_then(|shelf| shelf.checkpoints.get(&seq))
            .map_or_else(|| CheckpointId(uuid::Uuid::nil()), |held| held.manifest.id)
    };
    let kept = plan.kept.iter().map(|one| KeptOne {
        seq: one.seq,
        checkpoint_id: id(one.seq),
        reasons: one.reasons.iter().map(ToString::to_string).collect(),
    });
    let forgotten = plan.forgotten.iter().map(|one| ForgottenOne {
        seq: one.seq,
        checkpoint_id: id(one.seq),
        reason: one.reason.to_string(),
    });
    ForgetReport {
        agent_id: agent.clone(),
        kept: kept.collect(),
        forgotten: forgotten.collect(),
        dry_run,
    }
}

/// Whether an error says that the disk, or the user's share of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Compacts where enough was written since the last look that there may be something to gain, and
/// keeps the store within its budget.
pub(super) fn compact_when_worthwhile(committer: &Committer) -> Result<(), Error> {
    for target in committer.targets.all() {
        let Some(store) = target.ready() else { continue };
        if !store.is_compaction_due() {
            continue;
        }
        store.compact(Which::UnderHalfLive, &mut |_, _| {}).map_err(|error| pruning(&error))?;
        keep_budget(committer, &store)?;
    }
    Ok(())
}

/// Forgets what the budget asks for, fairly among agents, and never what recovery needs.
pub(super) fn keep_budget(committer: &Committer, store: &Arc<Store>) -> Result<(), Error> {
    let space = store
        .disk()
        .space(store.path())
        .map_err(|source| Error::Io { doing: "ask for the free space".to_owned(), source })?;
    let used = store.log_bytes();
    let allowed = committer.policy.read().allowed_bytes(used, space.free, space.total);
    if used <= allowed {
        committer.set_over_budget(false);
        return Ok(());
    }
    let (words, over) = {
        let catalog = store.catalog();
        let now = store.store_time_ms();
        let plans: Vec<(AgentId, Plan)> = catalog
            .agents
            .keys()
            .map(|agent| {
                let plan = retained::plan_for(&catalog, agent, &[], &committer.policy.read(), now);
                (agent.clone(), plan)
            })
            .collect();
        let all: Vec<&Plan> = plans.iter().map(|(_, plan)| plan).collect();
        let fit = retention::fit(&all, used, allowed);
        let mut by_agent: BTreeMap<usize, Vec<Seq>> = BTreeMap::new();
        for cut in &fit.cuts {
            by_agent.entry(cut.plan).or_default().push(cut.seq);
        }
        let words: Vec<What> = by_agent
            .iter()
            .filter_map(|(plan, seqs)| {
                retained::forgotten_event(&catalog, &plans[*plan].0, seqs, store, Why::Forgotten)
            })
            .collect();
        (words, fit.over_budget)
    };
    committer.set_over_budget(over);
    for word in words {
        say(store, word)?;
    }
    store.compact(Which::UnderHalfLive, &mut |_, _| {}).map_err(|error| pruning(&error))?;
    Ok(())
}
