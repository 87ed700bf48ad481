//! What new checkpoints let go: the facts for retention's plan, and its answer as events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::committer::KEY_MEMORY;
use crate::encode::event::{Forgotten, Outcome, What};
use crate::encode::manifest::Manifest;
use crate::encode::watched::Watched;
use crate::retention::{Facts, Operation, OperationState, Plan, Policy, Protect, StoreTime, plan};
use crate::state::{AgentId, CheckpointId, Digest, Kind, Seq};
use crate::store::{Catalog, Draft, Held, Shelf, Store};

/// Up to this many kept checkpoints, an agent's plan is made with every commit; beyond, when their
/// number has grown by an eighth, so that the cost of a commit does not grow with what is kept.
const ALWAYS_PLANNED: usize = 64;

/// When each agent's plan is due again.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    due_at: HashMap<AgentId, usize>,
}

impl Pace {
    /// What the drafts' agents let go once the drafts are there.
    pub(crate) fn forgets(
        &mut self,
        store: &Arc<Store>,
        drafts: &[Draft],
        policy: &Policy,
    ) -> Vec<What> {
        let catalog = store.catalog();
        let mut by_agent: BTreeMap<&AgentId, Vec<&Manifest>> = BTreeMap::new();
        for draft in drafts {
            by_agent.entry(&draft.manifest.agent).or_default().push(&draft.manifest);
        }
        let mut events = Vec::new();
        for (agent, new) in by_agent {
            let held = catalog.agents.get(agent).map_or(0, |shelf| shelf.checkpoints.len());
            if self.due_at.get(agent).is_some_and(|due| held + new.len() < *due) {
                continue;
            }
            let plan = plan_for(&catalog, agent, &new, policy, store.store_time_ms());
            let kept = plan.kept.len();
            let grace = if kept > ALWAYS_PLANNED { kept / 8 } else { 0 };
            self.due_at.insert(agent.clone(), kept + grace + 1);
            events.extend(event_of(&catalog, agent, &plan, store));
        }
        events
    }
}

/// The plan for an agent, with checkpoints that are about to be there.
pub(crate) fn plan_for(
    catalog: &Catalog,
    agent: &AgentId,
    new: &[&Manifest],
    policy: &Policy,
    now_ms: u64,
) -> Plan {
    let shelf = catalog.agents.get(agent);
    let held = shelf.into_iter().flat_map(|shelf| shelf.checkpoints.values());
    let mut facts: Vec<Facts<'_>> =
        held.map(|held| facts_of(catalog, &held.manifest, held.digest)).collect();
    facts.extend(new.iter().map(|manifest| facts_of(catalog, manifest, manifest.digest())));
    let watched = watched(shelf, new);
    if let Some(watched) = watched {
        date(&mut facts, watched);
    }
    let first_ms = shelf
        .and_then(|shelf| shelf.first_ms)
        .or_else(|| new.first().map(|manifest| manifest.store_time_ms))
        .unwrap_or(now_ms);
    let protect = Protect {
        earliest_onset: watched.and_then(|watched| watched.earliest_onset),
        ..protect(catalog, agent, new, watched.and_then(|watched| watched.suspected_since))
    };
    plan(&facts, policy, &protect, StoreTime { now_ms, first_ms })
}

fn facts_of<'a>(catalog: &Catalog, manifest: &'a Manifest, digest: Digest) -> Facts<'a> {
    Facts {
        seq: manifest.seq,
        kind: manifest.kind,
        made_at_ms: manifest.store_time_ms,
        digest,
        observation: manifest.watched.as_ref().map(|watched| watched.observation),
        tainted: catalog.is_tainted(manifest.id),
        sound: !catalog.is_damaged(manifest.id),
        labels: &manifest.labels,
        operation: opened_by(catalog, manifest),
        stored_bytes: manifest.stored_bytes,
    }
}

/// How the agent stands by the newest word on it.
fn watched<'a>(shelf: Option<&'a Shelf>, new: &[&'a Manifest]) -> Option<&'a Watched> {
    let told = new.iter().filter_map(|manifest| manifest.watched.as_ref());
    let told = told.chain(shelf.and_then(Shelf::watched));
    told.max_by_key(|watched| watched.observation)
}

/// Fills in what is not recorded: 0 before watching began, else as late as the next that is known.
fn date(facts: &mut [Facts<'_>], watched: &Watched) {
    facts.sort_by_key(|facts| Reverse(facts.seq));
    let mut at_most = watched.observation;
    for facts in facts {
        let unknown = if facts.seq <= watched.began { 0 } else { at_most };
        at_most = facts.observation.unwrap_or(unknown).min(at_most);
        facts.observation.get_or_insert(at_most);
    }
}

/// The operation a checkpoint opened, and how it stands.
fn opened_by<'a>(catalog: &Catalog, manifest: &'a Manifest) -> Option<Operation<'a>> {
    let operation = manifest.operation.as_ref().filter(|one| one.id == manifest.id)?;
    let state = match catalog.closed(operation.id) {
        None => OperationState::Open { since_ms: manifest.store_time_ms },
        Some(closed) => match closed.outcome {
            Outcome::Completed => OperationState::Completed { at_ms: closed.store_time_ms },
            Outcome::Failed => OperationState::Failed { at_ms: closed.store_time_ms },
        },
    };
    Some(Operation { name: &operation.name, state })
}

fn protect(
    catalog: &Catalog,
    agent: &AgentId,
    new: &[&Manifest],
    suspected_since: Option<u64>,
) -> Protect {
    let seq_of = |id: CheckpointId| catalog.get(id).map(|held: &Held| held.manifest.seq);
    let newest = new.iter().rev().find(|manifest| manifest.kind != Kind::Recovery);
    let latest = newest
        .map(|manifest| manifest.seq)
        .or_else(|| catalog.latest(agent).map(|held| held.manifest.seq));
    let older = |manifest: &Manifest| {
        let told = manifest.watched.as_ref().map(|watched| watched.observation);
        suspected_since.is_none_or(|onset| told.is_some_and(|at| at < onset))
    };
    let good =
        newest.filter(|manifest| older(manifest)).map(|manifest| manifest.seq).or_else(|| {
            let sound =
                catalog.candidates(agent).filter(|held| !catalog.is_damaged(held.manifest.id));
            let mut sound = sound.filter(|held| older(&held.manifest));
            sound.next().map(|held| held.manifest.seq)
        });
    let mut protect = Protect { latest, good, ..Protect::default() };
    if let Some(shelf) = catalog.agents.get(agent) {
        protect.fresh_start = shelf.reset.map_or(Seq(0), |(_, seq)| seq);
        let undoable = shelf.undoable().and_then(|held| held.manifest.restored.as_ref()?.recovery);
        protect.undo.extend(undoable.and_then(seq_of));
        // As long as what was there before is held, a restore can be taken back, and is known to
        // have been.
        let tells = |held: &&Held| {
            let restored = held.manifest.restored.as_ref();
            restored.and_then(|it| it.recovery).is_some_and(|id| catalog.get(id).is_some())
        };
        let told = shelf.checkpoints.values().filter(tells);
        protect.undo.extend(told.map(|held| held.manifest.seq));
        if let Some(What::RestoreBegun { recovery, from, .. }) = shelf.open_restore() {
            protect.other.extend([seq_of(*recovery), seq_of(*from)].into_iter().flatten());
        }
        let used = shelf.checkpoints.values().filter(|held| catalog.is_in_use(held.manifest.id));
        protect.other.extend(used.map(|held| held.manifest.seq));
        // The newest checkpoint holds the agent's highest number and what the next one inherits.
        protect.other.extend(shelf.checkpoints.keys().next_back().copied());
    }
    protect
}

fn event_of(catalog: &Catalog, agent: &AgentId, plan: &Plan, store: &Store) -> Option<What> {
    let seqs: Vec<Seq> = plan.forgotten.iter().map(|one| one.seq).collect();
    if !seqs.is_empty() {
        tracing::debug!(%agent, forgotten = seqs.len(), kept = plan.kept.len(), "retention");
    }
    forgotten_event(catalog, agent, &seqs, store, Why::Forgotten)
}

/// Why checkpoints are let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Retention, or a person, has no more use for them.
    Forgotten,
    /// A person wants no copy of them to be left.
    Erased,
    /// A fallback held them, and they are home.
    AtHome,
}

/// The word that these checkpoints are forgotten; `None` where none of them is held.
pub(crate) fn forgotten_event(
    catalog: &Catalog,
    agent: &AgentId,
    seqs: &[Seq],
    store: &Store,
    why: Why,
) -> Option<What> {
    let shelf = catalog.agents.get(agent)?;
    let checkpoints: Vec<Forgotten> = seqs
        .iter()
        .filter_map(|seq| shelf.checkpoints.get(seq))
        .map(|held| Forgotten {
            seq: held.manifest.seq,
            kind: held.manifest.kind,
            id: held.manifest.id,
            idempotency: held.manifest.idempotency.clone(),
        })
        .collect();
    (!checkpoints.is_empty()).then(|| What::Forgotten {
        agent_id: agent.clone(),
        checkpoints,
        remember_until: store.now().plus(KEY_MEMORY),
        erased: why == Why::Erased,
        at_home: why == Why::AtHome,
    })
}
