//! Homecoming: what fallback stores took is brought to the primary once it is back.
//!
//! The primary is opened, and so locked and recovered, first, and takes no commits yet: those go to
//! the fallback until what lies there is home, so that no later checkpoint gets an earlier number
//! than one that was made before it. Checkpoints go home one by one, each fallback's in its order
//! and several fallbacks' by when they were made, each durable before the next; commits come between
//! two of them. Forgets, closed operations and fresh starts follow. Then the primary takes commits
//! again, the fallbacks let go, and retention looks at what came.
//!
//! A homecoming that is interrupted begins again: what is home already is known by its id. What
//! cannot be read in a fallback stays there and keeps nothing else away.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::committer::Committer;
use super::error::Error;
use super::retained::{self, Why};
use crate::encode::event::{Event, What};
use crate::encode::manifest::Manifest;
use crate::encode::watched::Watched;
use crate::encode::{self, Block, Encoded};
use crate::state::{AgentId, CheckpointId, Seq, Timestamp};
use crate::store::{
    self, Ahead, BlockKey, ContentError, CopyError, Draft, DraftState, Held, IfMissing, OpenPacks,
    Pinned, Shelf, Store, Target, Which,
};

/// So often the fallbacks are looked through while commits come between; what still arrived
/// meanwhile is brought while they wait.
const ROUNDS: usize = 8;
/// Content up to this many bytes goes home in the batch of its checkpoint.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Brings everything home that fallback stores hold, where the primary is there or comes back now.
pub(super) fn come_home(committer: &Committer) {
    let _turn = committer.homecoming.lock();
    let targets = &committer.targets;
    for fallback in &targets.fallbacks {
        look_for(committer, fallback);
    }
    let back = targets.primary.ready().map_or_else(|| reopen(committer), Some);
    let Some(home) = back else { return };
    match bring_home(committer, &home) {
        Ok(brought) if brought.is_empty() => {}
        Ok(brought) => let_go_and_retain(committer, &home, &brought),
        Err(error) => {
            tracing::warn!(%error, "homecoming is put off");
            targets.primary.fail(error.to_string());
        }
    }
}

/// Opens a fallback that stands there and is not open, or failed and is due.
fn look_for(committer: &Committer, fallback: &Target) {
    let tried = fallback.store().is_some() || fallback.trouble().is_some();
    let due = fallback.trouble().is_some() && fallback.is_due();
    if tried && !due {
        return;
    }
    let opened = match fallback.is_there() {
        Ok(true) => {
            let home = IfMissing::Make { home: Some(committer.targets.home()) };
            fallback.open(&home).map(drop).map_err(|error| error.to_string())
        }
        Ok(false) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = opened {
        fallback.fail(why);
    }
}

/// Opens a primary that failed, once it is due; commits do not come to it yet.
fn reopen(committer: &Committer) -> Option<Arc<Store>> {
    let targets = &committer.targets;
    let primary = &targets.primary;
    if !primary.is_due() {
        return None;
    }
    if let Some(store) = primary.waiting_for_room() {
        if let Err(error) = store.takes_checkpoints() {
            primary.fail_for_room(error.to_string());
            return None;
        }
        return Some(store);
    }
    let if_missing = if primary.store().is_none() && !targets.know_of_home() {
        IfMissing::Make { home: None }
    } else {
        IfMissing::Fail
    };
    match primary.open_apart(&if_missing) {
        Ok(store) => Some(store),
        Err(error) => {
            primary.fail(error.to_string());
            None
        }
    }
}

/// What came home, by fallback: the checkpoints it may let go.
type Brought = Vec<(Arc<Store>, Vec<CheckpointId>)>;

/// Brings everything home, then lets commits come there again.
fn bring_home(committer: &Committer, home: &Arc<Store>) -> Result<Brought, Error> {
    let away = |committer: &Committer| -> Vec<Arc<Store>> {
        let ready = committer.targets.fallbacks.iter().filter_map(Target::ready);
        ready.filter(|store| store.has_news()).collect()
    };
    let apart = committer.targets.primary.ready().is_none();
    if !apart && away(committer).is_empty() {
        return Ok(Brought::new());
    }
    let mut count = 0;
    for _ in 0..ROUNDS {
        let travellers = travellers(home, &away(committer));
        if travellers.is_empty() {
            break;
        }
        for (away, held) in travellers {
            let _between = committer.turn.lock();
            count += u64::from(bring_one(committer, home, &away, &held)?);
        }
    }
    let _alone = committer.turn.lock();
    let stores = away(committer);
    for (away, held) in travellers(home, &stores) {
        count += u64::from(bring_one(committer, home, &away, &held)?);
    }
    let mut brought = Vec::new();
    for away in stores {
        if bring_events(committer, home, &away)? {
            brought.push((Arc::clone(&away), ids_at_home(home, &away)));
        }
    }
    if count > 0 {
        let from = brought.first().map(|(away, _)| away.path().to_owned()).unwrap_or_default();
        write(home, vec![What::CameHome { from, checkpoints: count }])?;
        tracing::info!(checkpoints = count, "brought commits home");
    }
    if apart {
        committer.targets.primary.adopt(home);
    }
    committer.targets.homecomings.fetch_add(1, Ordering::SeqCst);
    Ok(brought)
}

/// What is not home yet: each fallback's in its order, several fallbacks' by when they were made.
fn travellers(home: &Store, away: &[Arc<Store>]) -> Vec<(Arc<Store>, Held)> {
    let mut queues: Vec<(&Arc<Store>, VecDeque<Held>)> = Vec::new();
    for store in away {
        let mut by_agent: BTreeMap<AgentId, VecDeque<Held>> = BTreeMap::new();
        let all: Vec<Held> = store.catalog().held().cloned().collect();
        for held in all.into_iter().filter(|held| is_away(home, store, held)) {
            by_agent.entry(held.manifest.agent.clone()).or_default().push_back(held);
        }
        queues.extend(by_agent.into_values().map(|queue| (store, queue)));
    }
    let mut all = Vec::new();
    let next = |queues: &[(&Arc<Store>, VecDeque<Held>)]| {
        let heads = queues.iter().enumerate();
        let heads = heads.filter_map(|(index, (_, queue))| Some((queue.front()?, index)));
        heads.min_by_key(|(held, _)| held.manifest.created_at).map(|(_, index)| index)
    };
    while let Some(index) = next(&queues) {
        let (store, queue) = &mut queues[index];
        all.extend(queue.pop_front().map(|held| (Arc::clone(store), held)));
    }
    all
}

fn is_away(home: &Store, away: &Store, held: &Held) -> bool {
    let id = held.manifest.id;
    let damaged = away.catalog().is_damaged(id);
    let catalog = home.catalog();
    !damaged && catalog.get(id).is_none() && !catalog.is_forgotten(id)
}

fn ids_at_home(home: &Store, away: &Store) -> Vec<CheckpointId> {
    let ids: Vec<CheckpointId> = away.catalog().ids().collect();
    let catalog = home.catalog();
    ids.into_iter().filter(|id| catalog.get(*id).is_some() || catalog.is_forgotten(*id)).collect()
}

/// Brings one checkpoint home: under its number where that is free, under the next free one where it
/// was provisional or was given to another meanwhile. `false` where it cannot be read.
fn bring_one(
    committer: &Committer,
    home: &Arc<Store>,
    away: &Arc<Store>,
    held: &Held,
) -> Result<bool, Error> {
    let id = held.manifest.id;
    let bytes = match away.read_state(held) {
        Ok(bytes) => bytes,
        Err(ContentError::Damaged(why)) => {
            tracing::error!(%id, from = %away.path().display(), %why, "cannot be brought home");
            away.note_damaged(id);
            return Ok(false);
        }
        Err(error) => {
            committer.fail_target_of(away, &error.to_string());
            return Ok(false);
        }
    };
    let (mut manifest, events) = as_at_home(committer, home, away, held);
    let brought = bring_parts(committer, home, away, &mut manifest)?;
    let mut _kept = None;
    let state = match bytes {
        Some(bytes) => {
            let encoded = encode::encode_complete(Arc::new(bytes), &committer.encode);
            _kept = bring_ahead(committer, home, &encoded)?;
            DraftState::Given { encoded, base: None }
        }
        None => DraftState::Kept(Vec::new()),
    };
    let mut blocks = brought.rest.clone();
    blocks.extend(memory_of(away, &mut manifest));
    let brought = vec![Arc::new(brought)];
    let draft = Draft { blocks, brought, ..Draft::new(manifest, state) };
    home.write(&mut [draft], events, &committer.encode).map_err(store::Error::from)?;
    Ok(true)
}

/// Brings what a checkpoint's workspace and state files name; those that cannot be read stay behind.
fn bring_parts(
    committer: &Committer,
    home: &Arc<Store>,
    away: &Arc<Store>,
    manifest: &mut Manifest,
) -> Result<store::Brought, Error> {
    let ahead = Ahead::new(home, committer.retry);
    let roots: Vec<BlockKey> = manifest.part_roots().collect();
    for root in roots {
        if ahead.lean_on(root) {
            continue;
        }
        match ahead.copy(away, root) {
            Ok(()) => {}
            Err(CopyError::Write(error)) => {
                let doing = "bring content home".to_owned();
                return Err(Error::Io { doing, source: error.last });
            }
            Err(CopyError::Read(error)) => {
                let from = away.path().display();
                tracing::error!(id = %manifest.id, %from, %error, "its files cannot be brought home");
                manifest.workspace = None;
                manifest.state_files = None;
                break;
            }
        }
    }
    Ok(ahead.finish())
}

/// The block with what drift's detectors remembered; where it cannot be read, it stays behind.
fn memory_of(away: &Store, manifest: &mut Manifest) -> Option<Block> {
    let (digest, level) = manifest.memory()?;
    match away.read_proven(&(digest, level), &mut OpenPacks::default()) {
        Ok(data) => Some(Block { digest, level, data: data.into() }),
        Err(error) => {
            tracing::warn!(id = %manifest.id, %error, "what the detectors remembered stays behind");
            let watched = manifest.watched.take()?;
            manifest.watched = Some(Watched { memory: None, ..watched });
            None
        }
    }
}

fn bring_ahead(
    committer: &Committer,
    home: &Arc<Store>,
    encoded: &Encoded,
) -> Result<Option<Pinned>, Error> {
    let bytes: usize = encoded.blocks.iter().map(|block| block.data.len()).sum();
    if bytes <= BATCH_BYTES_MAX {
        return Ok(None);
    }
    let pinned = home.write_ahead(encoded, None, &committer.encode).map_err(store::Error::from)?;
    Ok(Some(pinned))
}

/// A checkpoint's manifest in home's numbers and time, and what there is to say of it.
fn as_at_home(
    committer: &Committer,
    home: &Store,
    away: &Store,
    held: &Held,
) -> (Manifest, Vec<What>) {
    let mut manifest = held.manifest.clone();
    let was = manifest.seq;
    let agent = manifest.agent.clone();
    let taken = {
        let catalog = home.catalog();
        catalog.agents.get(&agent).is_some_and(|shelf| shelf.checkpoints.contains_key(&was))
    };
    let mut events = Vec::new();
    if manifest.seq_provisional {
        manifest.seq = committer.next_free(&agent, home);
        manifest.store_time_ms = time_at_home(home, away, manifest.store_time_ms);
    } else if taken {
        manifest.seq = committer.take_number(&agent, &[], &committer.targets.sighted());
        let (agent_id, checkpoint_id, is) = (agent.clone(), manifest.id, manifest.seq);
        events.push(What::Diverged { agent_id, checkpoint_id, was, is });
    }
    manifest.state_changed = if manifest.state_changed == was {
        manifest.seq
    } else {
        number_at_home(home, away, &agent, manifest.state_changed)
    };
    if let Some(part) = &mut manifest.state {
        part.inherited_from =
            part.inherited_from.map(|seq| number_at_home(home, away, &agent, seq));
    }
    if let Some(part) = &mut manifest.workspace {
        part.inherited_from =
            part.inherited_from.map(|seq| number_at_home(home, away, &agent, seq));
    }
    if let Some(part) = &mut manifest.state_files {
        part.inherited_from =
            part.inherited_from.map(|seq| number_at_home(home, away, &agent, seq));
    }
    if let Some(watched) = &mut manifest.watched {
        watched.began = number_at_home(home, away, &agent, watched.began);
    }
    manifest.seq_provisional = false;
    (manifest, events)
}

/// The number at home of what has this number in a fallback.
fn number_at_home(home: &Store, away: &Store, agent: &AgentId, seq: Seq) -> Seq {
    let id = {
        let catalog = away.catalog();
        let shelf = catalog.agents.get(agent);
        shelf.and_then(|shelf| shelf.checkpoints.get(&seq)).map(|held| held.manifest.id)
    };
    id.and_then(|id| home.catalog().get(id).map(|held| held.manifest.seq)).unwrap_or(seq)
}

/// A moment of a fallback's own time in home's: as long ago, but not before anything that was at
/// home already, because it came after it.
fn time_at_home(home: &Store, away: &Store, away_ms: u64) -> u64 {
    let age = away.store_time_ms().saturating_sub(away_ms);
    let known = home.catalog().store_time_ms;
    home.store_time_ms().saturating_sub(age).max(known)
}

/// Words that were said while away and decide something at home. `false` where the fallback fails.
fn bring_events(
    committer: &Committer,
    home: &Arc<Store>,
    away: &Arc<Store>,
) -> Result<bool, Error> {
    let failed = |error: &dyn std::fmt::Display| {
        committer.fail_target_of(away, &error.to_string());
        Ok(false)
    };
    let events = match away.events() {
        Ok(events) => events,
        Err(error) => return failed(&error),
    };
    let newest = events.last().map_or(0, |event| event.n);
    if away.is_at_home(newest) {
        return Ok(true);
    }
    for event in events.into_iter().filter(|event| !away.is_at_home(event.n)) {
        let what = in_home_terms(home, away, &event);
        if decides_at_home(home, &what) {
            write(home, vec![what])?;
        }
    }
    // Before its checkpoints are let go: they tell where a fresh start falls.
    match away.note_home(home, newest) {
        Ok(()) => Ok(true),
        Err(error) => failed(&error),
    }
}

/// The same word in home's numbers and time.
fn in_home_terms(home: &Store, away: &Store, event: &Event) -> What {
    let mut what = event.what.clone();
    match &mut what {
        What::Observed { agent_id, store_time_ms, watched } => {
            *store_time_ms = time_at_home(home, away, *store_time_ms);
            watched.began = number_at_home(home, away, agent_id, watched.began);
            // Its block stays behind; what a checkpoint holds comes along.
            watched.memory = None;
        }
        What::DriftFound { store_time_ms, .. } | What::DriftShared { store_time_ms, .. } => {
            *store_time_ms = time_at_home(home, away, *store_time_ms);
        }
        What::DriftAnswered { agent_id, store_time_ms, restored, .. } => {
            *store_time_ms = time_at_home(home, away, *store_time_ms);
            // The next rung is the one behind it: under another number it would be another one.
            *restored = restored.map(|seq| number_at_home(home, away, agent_id, seq));
        }
        _ => {}
    }
    match what {
        What::Reset { agent_id, seq } => {
            let seq = start_at_home(home, away, &agent_id, (seq, event.at));
            What::Reset { agent_id, seq }
        }
        What::OperationClosed { agent_id, operation_id, outcome, store_time_ms, why } => {
            let store_time_ms = time_at_home(home, away, store_time_ms);
            What::OperationClosed { agent_id, operation_id, outcome, store_time_ms, why }
        }
        other => other,
    }
}

/// Where a fresh start falls at home: behind everything that was made before it was said.
fn start_at_home(home: &Store, away: &Store, agent: &AgentId, said: (Seq, Timestamp)) -> Seq {
    let (seq, at) = said;
    let later: BTreeSet<CheckpointId> = {
        let catalog = away.catalog();
        let shelf = catalog.agents.get(agent).into_iter();
        let after = shelf.flat_map(|shelf| shelf.checkpoints.range(seq.next()..));
        after.map(|(_, held)| held.manifest.id).collect()
    };
    let catalog = home.catalog();
    let held = catalog.agents.get(agent).into_iter();
    let held = held.flat_map(|shelf| shelf.checkpoints.values()).map(|held| &held.manifest);
    let before = held.filter(|one| one.created_at <= at && !later.contains(&one.id));
    before.map(|one| one.seq).max().unwrap_or_default()
}

fn decides_at_home(home: &Store, what: &What) -> bool {
    let catalog = home.catalog();
    match what {
        What::Forgotten { checkpoints, at_home, .. } => {
            !at_home && checkpoints.iter().any(|one| catalog.get(one.id).is_some())
        }
        What::OperationClosed { operation_id, .. } => {
            catalog.get(*operation_id).is_some() && catalog.closed(*operation_id).is_none()
        }
        What::Marked { checkpoint_id, tainted, .. } => {
            catalog.get(*checkpoint_id).is_some() && catalog.is_tainted(*checkpoint_id) != *tainted
        }
        What::Reset { agent_id, seq } => {
            let shelf = catalog.agents.get(agent_id);
            shelf.is_none_or(|shelf| shelf.reset.is_none_or(|(_, known)| known < *seq))
        }
        What::SessionBegun { .. }
        | What::SessionEnded { .. }
        | What::DriftFound { .. }
        | What::DriftCalmed { .. }
        | What::DriftShared { .. }
        | What::DriftAnswered { .. }
        | What::DriftReleased { .. }
        | What::DriftHookFailed { .. } => true,
        What::Observed { agent_id, watched, .. } => {
            let known = catalog.agents.get(agent_id).and_then(Shelf::watched);
            known.is_none_or(|known| known.observation < watched.observation)
        }
        What::RestoreBegun { agent_id, recovery, .. } => catalog
            .agents
            .get(agent_id)
            .is_some_and(|shelf| shelf.ends_with(*recovery) && shelf.open_restore() != Some(what)),
        _ => false,
    }
}

/// Everything is home and durable there: the fallbacks let their copies go, and retention looks at
/// what came. What fails here is done by the next homecoming.
fn let_go_and_retain(committer: &Committer, home: &Arc<Store>, brought: &Brought) {
    let mut agents = BTreeSet::new();
    for (away, ids) in brought {
        if ids.is_empty() {
            continue;
        }
        if let Err(error) = let_go(away, ids, &mut agents) {
            committer.fail_target_of(away, &error.to_string());
        }
    }
    if let Err(error) = retain(committer, home, &agents) {
        tracing::warn!(%error, "retention is put off");
    }
}

fn let_go(
    away: &Arc<Store>,
    ids: &[CheckpointId],
    agents: &mut BTreeSet<AgentId>,
) -> Result<(), Error> {
    let words: Vec<What> = {
        let catalog = away.catalog();
        let mut seqs: BTreeMap<AgentId, Vec<Seq>> = BTreeMap::new();
        for held in ids.iter().filter_map(|id| catalog.get(*id)) {
            seqs.entry(held.manifest.agent.clone()).or_default().push(held.manifest.seq);
        }
        agents.extend(seqs.keys().cloned());
        let word = |(agent, seqs): (&AgentId, &Vec<Seq>)| {
            retained::forgotten_event(&catalog, agent, seqs, away, Why::AtHome)
        };
        seqs.iter().filter_map(word).collect()
    };
    let io = |source| Error::Io { doing: "let a fallback go".to_owned(), source };
    write(away, words)?;
    away.compact(Which::All, &mut |_, _| {}).map_err(|error| reading(&error))?;
    away.settle().map_err(io)
}

/// Retention looks at what came home.
fn retain(
    committer: &Committer,
    home: &Arc<Store>,
    agents: &BTreeSet<AgentId>,
) -> Result<(), Error> {
    for agent in agents {
        let word = {
            let catalog = home.catalog();
            let now = home.store_time_ms();
            let plan = retained::plan_for(&catalog, agent, &[], &committer.policy.read(), now);
            let seqs: Vec<Seq> = plan.forgotten.iter().map(|one| one.seq).collect();
            retained::forgotten_event(&catalog, agent, &seqs, home, Why::Forgotten)
        };
        if let Some(word) = word {
            write(home, vec![word])?;
        }
    }
    Ok(())
}

fn write(store: &Arc<Store>, events: Vec<What>) -> Result<(), Error> {
    store.write_events(events).map_err(store::Error::from)?;
    Ok(())
}

fn reading(error: &dyn std::fmt::Display) -> Error {
    Error::Io {
        doing: "read a fallback store".to_owned(),
        source: io::Error::other(error.to_string()),
    }
}
