//! What a store holds, in memory: a fold over the records of its log.
//!
//! The fold does not depend on the order in which it meets the records: compaction moves old ones
//! behind newer ones, a forgotten checkpoint stays forgotten wherever the word for it stands, and
//! where two events say different things of one matter the higher event number decides. The same
//! fold serves opening and committing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crate::commit::frame::RecordType;
use crate::commit::summary::{At, Item};
use crate::encode::event::{Event, Forgotten, Outcome, What};
use crate::encode::manifest::{Idempotency, Manifest};
use crate::encode::watched::Watched;
use crate::state::{AgentId, CheckpointId, Digest, Kind, Seq, Timestamp};
use crate::store::layout::ViewName;

/// A restore whose last checkpoint was forgotten is taken to have lasted this long.
const RESTORE_MAX: Duration = Duration::from_secs(10 * 60);

/// The name of a block: two blocks of one digest may differ in what they stand for.
pub(crate) type BlockKey = (Digest, u8);

/// Where a block lies, and what it takes there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockAt {
    pub at: At,
    pub stored_len: u32,
}

/// A checkpoint that is held.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub manifest: Manifest,
    pub at: At,
    pub stored_len: u32,
    pub digest: Digest,
}

impl Held {
    /// The newest observation when it was made, where watching began behind the checkpoint `began`;
    /// `None` where that is not known.
    pub(crate) fn observation(&self, began: Seq) -> Option<u64> {
        observation_of(&self.manifest, began)
    }
}

/// The same of a manifest.
pub(crate) fn observation_of(manifest: &Manifest, began: Seq) -> Option<u64> {
    let told = manifest.watched.as_ref().map(|watched| watched.observation);
    told.or((manifest.seq <= began).then_some(0))
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Closed {
    pub n: u64,
    pub at: Timestamp,
    pub outcome: Outcome,
    pub store_time_ms: u64,
    pub why: String,
}

/// The restore of an agent that was begun last.
#[derive(Debug, Clone, PartialEq)]
struct BegunRestore {
    n: u64,
    recovery: CheckpointId,
    event: What,
}

/// An idempotency key and what it stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Remembered {
    pub id: CheckpointId,
    pub body: Digest,
    /// Until when, where its checkpoint was forgotten.
    pub until: Option<Timestamp>,
}

/// A checkpoint that was forgotten.
#[derive(Debug, Clone)]
struct Gone {
    agent: AgentId,
    seq: Seq,
    kind: Kind,
    key: Option<String>,
}

/// One agent's checkpoints.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    pub checkpoints: BTreeMap<Seq, Held>,
    /// The highest number ever given, forgotten ones included.
    pub last_seq: Seq,
    /// The fresh start that counts: its event number, and the last seq before it.
    pub reset: Option<(u64, Seq)>,
    /// Store time of the agent's first checkpoint that is known of.
    pub first_ms: Option<u64>,
    begun: Option<BegunRestore>,
    /// The event number of the last restore that was rolled back.
    rolled_back: u64,
    keys: HashMap<String, Remembered>,
    /// Finished restores and undos: what they took back.
    undone: HashSet<CheckpointId>,
    /// Sessions that are known: when each began, and ended.
    pub sessions: HashMap<uuid::Uuid, (Timestamp, Option<Timestamp>)>,
    /// Restores that were begun, by their recovery checkpoint: when.
    pub restores: HashMap<CheckpointId, Timestamp>,
    /// How the agent stood by the newest event that tells it.
    pub observed: Option<Observed>,
    /// How it stood by the checkpoint with the newest observation, held or not.
    kept: Option<Watched>,
    /// The event number of the last time the agent was halted, and why.
    halted: Option<(u64, String)>,
    /// The event number of the last time it was let go on.
    released: u64,
}

/// How an agent stood between two checkpoints.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observed {
    pub n: u64,
    pub store_time_ms: u64,
    pub watched: Watched,
}

/// Idempotency keys of forgotten checkpoints that are remembered of each agent, some 200 bytes each.
const KEYS_MAX: usize = 4096;

/// Words on drift that are remembered: they keep responses from flapping.
const DRIFT_WORDS_MAX: usize = 4096;

/// An event of the log that is kept for what it decides or tells.
#[derive(Debug, Clone)]
pub(crate) struct KeptEvent {
    pub at: At,
    pub stored_len: u32,
    pub when: Timestamp,
}

/// Everything a store holds.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub agents: BTreeMap<AgentId, Shelf>,
    pub blocks: HashMap<BlockKey, BlockAt>,
    pub events: BTreeMap<u64, KeptEvent>,
    /// Bytes of records in each segment, live or not.
    pub segments: BTreeMap<u64, u64>,
    /// Furthest store time of any checkpoint, and the wall clock beside it.
    pub store_time_ms: u64,
    pub last_wall: Timestamp,
    /// Records that could not be read as what they are; where they lie, and why.
    pub unreadable: Vec<(At, String)>,
    ids: HashMap<CheckpointId, (AgentId, Seq)>,
    forgotten: HashMap<CheckpointId, Gone>,
    /// Forgotten checkpoints whose record still lies in a segment.
    lingering: HashMap<CheckpointId, u64>,
    closed: HashMap<CheckpointId, Closed>,
    marked: HashMap<CheckpointId, (u64, bool)>,
    /// The newest words on what was found and done, by their numbers.
    pub drift: BTreeMap<u64, What>,
    /// Checkpoints that were read and found damaged.
    damaged: HashSet<CheckpointId>,
    /// Checkpoints that something at work holds, and how many do; retention leaves them alone.
    in_use: HashMap<CheckpointId, usize>,
}

impl Catalog {
    /// Whether something at work holds a checkpoint.
    pub(crate) fn is_in_use(&self, id: CheckpointId) -> bool {
        self.in_use.contains_key(&id)
    }

    pub(super) fn use_one(&mut self, id: CheckpointId) {
        *self.in_use.entry(id).or_default() += 1;
    }

    pub(super) fn release(&mut self, id: CheckpointId) {
        if let Some(count) = self.in_use.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                self.in_use.remove(&id);
            }
        }
    }

    /// Takes in one record as it was read.
    pub(crate) fn apply(&mut self, item: &Item<'_>) {
        let Item { at, kind, stored_len, summary } = *item;
        match kind {
            RecordType::Block => match summary.split_first_chunk::<32>() {
                Some((digest, [level, ..])) => {
                    self.enter_block((Digest(*digest), *level), at, stored_len);
                }
                _ => self.unreadable.push((at, "a block record without a digest".to_owned())),
            },
            RecordType::Checkpoint => match Manifest::decode(summary) {
                Ok(manifest) => self.enter_checkpoint(manifest, at, stored_len),
                Err(error) => self.unreadable.push((at, error.to_string())),
            },
            RecordType::Event => match Event::decode(summary) {
                Some(event) => self.enter_event(&event, at, stored_len),
                None => self.weigh(at, stored_len),
            },
            RecordType::Pack => {}
        }
    }

    fn weigh(&mut self, at: At, stored_len: u32) {
        *self.segments.entry(at.segment).or_default() += u64::from(stored_len);
    }

    /// Takes in a block.
    pub(crate) fn enter_block(&mut self, key: BlockKey, at: At, stored_len: u32) {
        self.weigh(at, stored_len);
        let place = BlockAt { at, stored_len };
        let held = self.blocks.entry(key).or_insert(place);
        if held.at < at {
            *held = place;
        }
    }

    /// Takes in a checkpoint.
    pub(crate) fn enter_checkpoint(&mut self, manifest: Manifest, at: At, stored_len: u32) {
        self.weigh(at, stored_len);
        self.apply_checkpoint(manifest, at, stored_len);
    }

    /// Takes in an event.
    pub(crate) fn enter_event(&mut self, event: &Event, at: At, stored_len: u32) {
        self.weigh(at, stored_len);
        self.apply_event(event, at, stored_len);
    }

    /// Takes in a checkpoint; one that was forgotten stays so.
    pub(crate) fn apply_checkpoint(&mut self, manifest: Manifest, at: At, stored_len: u32) {
        let id = manifest.id;
        if self.forgotten.contains_key(&id) {
            self.lingering.insert(id, at.segment);
            return;
        }
        if manifest.store_time_ms >= self.store_time_ms {
            self.store_time_ms = manifest.store_time_ms;
            self.last_wall = manifest.created_at;
        }
        if let Some((agent, seq)) = self.ids.get(&id) {
            let shelf = self.agents.entry(agent.clone()).or_default();
            if let Some(held) = shelf.checkpoints.get_mut(seq)
                && held.at < at
            {
                held.at = at;
                held.stored_len = stored_len;
            }
            return;
        }
        let agent = manifest.agent.clone();
        let shelf = self.agents.entry(agent.clone()).or_default();
        let seq = shelf.place(manifest, at, stored_len);
        self.ids.insert(id, (agent, seq));
    }

    /// Notes that a number was given, though its checkpoint is not held.
    pub(crate) fn note_number(&mut self, agent: &AgentId, seq: Seq) {
        let shelf = self.agents.entry(agent.clone()).or_default();
        shelf.last_seq = shelf.last_seq.max(seq);
    }

    fn apply_event(&mut self, event: &Event, at: At, stored_len: u32) {
        let kept = KeptEvent { at, stored_len, when: event.at };
        let known = self.events.insert(event.n, kept);
        if let Some(before) = known
            && before.at > at
        {
            self.events.insert(event.n, before);
        }
        match &event.what {
            What::Forgotten { agent_id, checkpoints, remember_until, .. } => {
                for one in checkpoints {
                    let key = one.idempotency.clone();
                    self.forget(agent_id, one, key.map(|key| (key, *remember_until)));
                }
            }
            What::OperationClosed { operation_id, outcome, store_time_ms, why, .. } => {
                let closed = Closed {
                    n: event.n,
                    at: event.at,
                    outcome: *outcome,
                    store_time_ms: *store_time_ms,
                    why: why.clone(),
                };
                // The first word counts: an operation is closed once.
                let known = self.closed.entry(*operation_id).or_insert_with(|| closed.clone());
                if known.n > closed.n {
                    *known = closed;
                }
            }
            What::Reset { agent_id, seq } => {
                let shelf = self.agents.entry(agent_id.clone()).or_default();
                shelf.reset = shelf.reset.max(Some((event.n, *seq)));
                shelf.last_seq = shelf.last_seq.max(*seq);
            }
            What::Marked { checkpoint_id, tainted, .. } => {
                let mark = self.marked.entry(*checkpoint_id).or_insert((event.n, *tainted));
                *mark = (*mark).max((event.n, *tainted));
            }
            What::Observed { .. }
            | What::DriftFound { .. }
            | What::DriftShared { .. }
            | What::DriftAnswered { .. }
            | What::DriftReleased { .. } => self.apply_drift(event),
            What::RestoreBegun { agent_id, .. } => self.begin_restore(agent_id, event),
            What::SessionBegun { agent_id, session_id, since } => {
                let shelf = self.agents.entry(agent_id.clone()).or_default();
                shelf.sessions.entry(*session_id).or_insert((*since, None)).0 = *since;
            }
            What::SessionEnded { agent_id, session_id, until } => {
                let shelf = self.agents.entry(agent_id.clone()).or_default();
                shelf.sessions.entry(*session_id).or_insert((*until, None)).1 = Some(*until);
            }
            What::RestoreRolledBack { agent_id, .. } => {
                let shelf = self.agents.entry(agent_id.clone()).or_default();
                shelf.rolled_back = shelf.rolled_back.max(event.n);
            }
            _ => {}
        }
    }

    fn apply_drift(&mut self, event: &Event) {
        let n = event.n;
        match &event.what {
            What::Observed { agent_id, store_time_ms, watched } => {
                let shelf = self.agents.entry(agent_id.clone()).or_default();
                if shelf.observed.as_ref().is_none_or(|known| known.n < n) {
                    let (store_time_ms, watched) = (*store_time_ms, watched.clone());
                    shelf.observed = Some(Observed { n, store_time_ms, watched });
                }
                return;
            }
            What::DriftReleased { agent_id, .. } => {
                let shelf = self.agents.entry(agent_id.clone()).or_default();
                shelf.released = shelf.released.max(n);
                return;
            }
            What::DriftAnswered { agent_id, done, why, .. } if done == "halt" => {
                let shelf = self.agents.entry(agent_id.clone()).or_default();
                if shelf.halted.as_ref().is_none_or(|(known, _)| *known < n) {
                    shelf.halted = Some((n, why.clone()));
                }
            }
            _ => {}
        }
        self.drift.insert(n, event.what.clone());
        if self.drift.len() > DRIFT_WORDS_MAX {
            self.drift.pop_first();
        }
    }

    fn begin_restore(&mut self, agent: &AgentId, event: &Event) {
        let What::RestoreBegun { recovery, .. } = event.what else { return };
        let shelf = self.agents.entry(agent.clone()).or_default();
        shelf.restores.insert(recovery, event.at);
        if shelf.begun.as_ref().is_none_or(|begun| begun.n < event.n) {
            let what = event.what.clone();
            shelf.begun = Some(BegunRestore { n: event.n, recovery, event: what });
        }
    }

    fn forget(&mut self, agent: &AgentId, one: &Forgotten, key: Option<(Idempotency, Timestamp)>) {
        let Forgotten { seq, id, kind, .. } = *one;
        let shelf = self.agents.entry(agent.clone()).or_default();
        shelf.last_seq = shelf.last_seq.max(seq);
        let name = key.as_ref().map(|(key, _)| key.key.clone());
        if let Some((key, until)) = key {
            let remembered = Remembered { id, body: key.body, until: Some(until) };
            shelf.keys.insert(key.key, remembered);
        }
        self.forgotten.insert(id, Gone { agent: agent.clone(), seq, kind, key: name });
        if let Some((agent, seq)) = self.ids.remove(&id) {
            let shelf = self.agents.entry(agent).or_default();
            if let Some(held) = shelf.checkpoints.remove(&seq) {
                self.lingering.insert(id, held.at.segment);
            }
        }
    }

    /// Notes that compaction copied a record, unless a newer copy is known already.
    pub(crate) fn relocate(
        &mut self,
        kind: RecordType,
        summary: &[u8],
        from: At,
        to: At,
        stored_len: u32,
    ) {
        *self.segments.entry(to.segment).or_default() += u64::from(stored_len);
        match kind {
            RecordType::Block => {
                let Some((digest, [level, ..])) = summary.split_first_chunk::<32>() else { return };
                if let Some(block) = self.blocks.get_mut(&(Digest(*digest), *level))
                    && block.at == from
                {
                    *block = BlockAt { at: to, stored_len };
                }
            }
            RecordType::Checkpoint => {
                let Ok(manifest) = Manifest::decode(summary) else { return };
                self.apply_checkpoint(manifest, to, stored_len);
            }
            RecordType::Event => {
                let Some(event) = Event::decode(summary) else { return };
                if let Some(kept) = self.events.get_mut(&event.n) {
                    kept.at = to;
                    kept.stored_len = stored_len;
                }
            }
            RecordType::Pack => {}
        }
    }

    /// Segments in which a checkpoint or a block lies that counts.
    pub(crate) fn busy_segments(&self) -> BTreeSet<u64> {
        let held = self.held().map(|held| held.at.segment);
        held.chain(self.blocks.values().map(|block| block.at.segment)).collect()
    }

    /// Forgets that segments ever held anything: they are about to be unlinked. Checkpoints that
    /// were forgotten are no longer remembered where nothing of them is left.
    pub(crate) fn drop_segments(
        &mut self,
        gone: &BTreeSet<u64>,
        is_viewed: &dyn Fn(CheckpointId) -> bool,
    ) {
        self.segments.retain(|number, _| !gone.contains(number));
        self.lingering.retain(|_, at| !gone.contains(at));
        self.events.retain(|_, event| !gone.contains(&event.at.segment));
        let nowhere = BTreeSet::new();
        let over: Vec<CheckpointId> = self
            .forgotten
            .keys()
            .filter(|id| !is_viewed(**id) && !self.forgetting_matters(**id, &nowhere))
            .copied()
            .collect();
        for id in over {
            self.forgotten.remove(&id);
            self.closed.remove(&id);
            self.marked.remove(&id);
            self.damaged.remove(&id);
        }
    }

    /// Whether a held checkpoint, most likely this agent's, has this root: then all that the root
    /// names is held too, which a root that merely lies there does not say.
    pub(crate) fn holds_root(&self, agent: &AgentId, root: BlockKey) -> bool {
        let own = self.agents.get(agent).into_iter();
        let own = own.flat_map(|shelf| shelf.checkpoints.values().rev());
        own.chain(self.held()).any(|held| held.manifest.roots().any(|one| one == root))
    }

    /// Lets a block go that is known to be damaged, so that it never counts as present.
    pub(crate) fn drop_block(&mut self, key: &BlockKey) {
        self.blocks.remove(key);
    }

    /// Lets the blocks go whose record at this place is known to be damaged: all of a pack.
    pub(crate) fn drop_blocks_at(&mut self, at: At) {
        let place = (at.segment, at.offset);
        self.blocks.retain(|_, block| (block.at.segment, block.at.offset) != place);
    }

    /// Whether the word that this checkpoint was forgotten must still be kept: its record lies in a
    /// segment other than those in `leaving`, or it holds the agent's highest number.
    pub(crate) fn forgetting_matters(&self, id: CheckpointId, leaving: &BTreeSet<u64>) -> bool {
        let lingers = self.lingering.get(&id).is_some_and(|segment| !leaving.contains(segment));
        let highest = self.forgotten.get(&id).is_some_and(|gone| {
            self.agents.get(&gone.agent).is_some_and(|shelf| {
                let known = gone.key.as_ref().and_then(|key| shelf.keys.get(key));
                shelf.last_seq == gone.seq || known.is_some_and(|known| known.id == id)
            })
        });
        lingers || highest
    }

    /// Drops idempotency keys whose time is over; of those whose checkpoint was forgotten, an agent's
    /// newest stay, up to a bound.
    pub(crate) fn expire_keys(&mut self, now: Timestamp) {
        for shelf in self.agents.values_mut() {
            shelf.keys.retain(|_, known| known.until.is_none_or(|until| until > now));
            let mut until: Vec<Timestamp> =
                shelf.keys.values().filter_map(|known| known.until).collect();
            let Some(beyond) = until.len().checked_sub(KEYS_MAX).filter(|beyond| *beyond > 0)
            else {
                continue;
            };
            let (_, oldest, _) = until.select_nth_unstable(beyond);
            shelf.keys.retain(|_, known| known.until.is_none_or(|until| until >= *oldest));
        }
    }

    /// How many things are remembered of what is held no more.
    #[cfg(test)]
    pub(crate) fn memories(&self) -> usize {
        self.forgotten.len()
            + self.lingering.len()
            + self.closed.len()
            + self.marked.len()
            + self.events.len()
            + self.damaged.len()
            + self.unreadable.len()
    }

    pub(crate) fn get(&self, id: CheckpointId) -> Option<&Held> {
        let (agent, seq) = self.ids.get(&id)?;
        self.agents.get(agent)?.checkpoints.get(seq)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = CheckpointId> + '_ {
        self.ids.keys().copied()
    }

    pub(crate) fn is_forgotten(&self, id: CheckpointId) -> bool {
        self.forgotten.contains_key(&id)
    }

    /// Which of these were forgotten, with the names their views have.
    pub(crate) fn forgotten_among(
        &self,
        viewed: &HashSet<CheckpointId>,
    ) -> Vec<(CheckpointId, AgentId, ViewName)> {
        let shorter = self.forgotten.len() < viewed.len();
        let among: Vec<CheckpointId> = if shorter {
            self.forgotten.keys().filter(|id| viewed.contains(id)).copied().collect()
        } else {
            viewed.iter().filter(|id| self.forgotten.contains_key(id)).copied().collect()
        };
        among
            .into_iter()
            .filter_map(|id| {
                let gone = self.forgotten.get(&id)?;
                let name = ViewName { seq: gone.seq, kind: gone.kind, id };
                Some((id, gone.agent.clone(), name))
            })
            .collect()
    }

    pub(crate) fn held(&self) -> impl Iterator<Item = &Held> {
        self.agents.values().flat_map(|shelf| shelf.checkpoints.values())
    }

    /// Restores that were begun and neither finished nor rolled back.
    pub(crate) fn begun_restores(&self) -> Vec<(AgentId, What)> {
        self.agents
            .iter()
            .filter_map(|(agent, shelf)| Some((agent.clone(), shelf.open_restore()?.clone())))
            .collect()
    }

    /// The blocks with what detectors remembered between two checkpoints.
    pub(crate) fn observed_memories(&self) -> impl Iterator<Item = BlockKey> + '_ {
        let observed = self.agents.values().filter_map(|shelf| shelf.observed.as_ref());
        observed.filter_map(|observed| observed.watched.root())
    }

    /// Bytes that the held checkpoints and all blocks take in the log.
    pub(crate) fn held_bytes(&self) -> u64 {
        let held: u64 = self.held().map(|held| u64::from(held.stored_len)).sum();
        let blocks: u64 = self.blocks.values().map(|block| u64::from(block.stored_len)).sum();
        held + blocks
    }

    pub(crate) fn is_tainted(&self, id: CheckpointId) -> bool {
        self.called_tainted(id) == Some(true)
    }

    /// Whether a checkpoint was called tainted or good; none where nobody spoke of it.
    pub(crate) fn called_tainted(&self, id: CheckpointId) -> Option<bool> {
        self.marked.get(&id).map(|(_, tainted)| *tainted)
    }

    pub(crate) fn is_damaged(&self, id: CheckpointId) -> bool {
        self.damaged.contains(&id)
    }

    /// Whether any checkpoint was found damaged and not sound again.
    pub(crate) fn knows_damage(&self) -> bool {
        !self.damaged.is_empty()
    }

    /// Notes that a checkpoint was found damaged, or sound again.
    pub(crate) fn set_damaged(&mut self, id: CheckpointId, damaged: bool) {
        if damaged {
            self.damaged.insert(id);
        } else {
            self.damaged.remove(&id);
        }
    }

    /// Whether a draft may name the blocks of this checkpoint without bringing them.
    pub(crate) fn can_lean_on(&self, id: CheckpointId) -> bool {
        self.get(id).is_some() && !self.knows_damage()
    }

    /// The checkpoints that opened an agent's operations.
    pub(crate) fn openers(&self, agent: &AgentId) -> impl Iterator<Item = &Held> {
        let held = self.agents.get(agent).into_iter();
        held.flat_map(|shelf| shelf.checkpoints.values()).filter(|held| {
            held.manifest.operation.as_ref().is_some_and(|one| one.id == held.manifest.id)
        })
    }

    pub(crate) fn closed(&self, operation: CheckpointId) -> Option<&Closed> {
        self.closed.get(&operation)
    }

    /// When sessions of an agent were open, as far as it is known: those it said, its operations, and
    /// restores. A session whose end was never said counts as open until the next one began.
    pub(crate) fn sessions_of(&self, agent: &AgentId) -> Vec<(Timestamp, Option<Timestamp>)> {
        let Some(shelf) = self.agents.get(agent) else { return Vec::new() };
        let mut said: Vec<_> = shelf.sessions.values().copied().collect();
        said.sort_unstable();
        let mut spans: Vec<_> = said
            .iter()
            .enumerate()
            .map(|(at, (since, until))| {
                (*since, until.or_else(|| said.get(at + 1).map(|(next, _)| *next)))
            })
            .collect();
        spans.extend(self.openers(agent).map(|held| {
            let opened = held.manifest.created_at;
            (opened, self.closed(held.manifest.id).map(|closed| closed.at))
        }));
        if spans.is_empty() {
            // Who has no sessions has no foreign changes; a restore alone does not change that.
            return spans;
        }
        spans.extend(shelf.restores.iter().map(|(recovery, begun)| {
            let finished = shelf.checkpoints.values().find(|held| {
                held.manifest.restored.as_ref().is_some_and(|it| it.recovery == Some(*recovery))
            });
            let until =
                finished.map_or_else(|| begun.plus(RESTORE_MAX), |it| it.manifest.created_at);
            (*begun, Some(until))
        }));
        spans
    }

    /// What is remembered under an agent's idempotency key.
    pub(crate) fn remembered(&self, agent: &AgentId, key: &str) -> Option<&Remembered> {
        self.agents.get(agent)?.keys.get(key)
    }

    /// The newest checkpoint that may be chosen automatically: neither tainted nor `recovery`, nor
    /// from before a fresh start.
    pub(crate) fn latest(&self, agent: &AgentId) -> Option<&Held> {
        self.candidates(agent).next()
    }

    /// What `latest` and `good` walk over, newest first.
    pub(crate) fn candidates(&self, agent: &AgentId) -> impl Iterator<Item = &Held> {
        self.since_reset(agent).filter(|held| {
            held.manifest.kind != Kind::Recovery && !self.is_tainted(held.manifest.id)
        })
    }

    /// The checkpoints since the last fresh start, newest first.
    pub(crate) fn since_reset(&self, agent: &AgentId) -> impl Iterator<Item = &Held> {
        self.agents.get(agent).into_iter().flat_map(|shelf| {
            let start = shelf.reset.map_or(Seq(0), |(_, seq)| seq.next());
            shelf.checkpoints.range(start..).rev().map(|(_, held)| held)
        })
    }
}

impl Shelf {
    /// Puts a checkpoint under its number, or under the next free one where that is taken.
    fn place(&mut self, manifest: Manifest, at: At, stored_len: u32) -> Seq {
        let mut seq = manifest.seq;
        if self.checkpoints.contains_key(&seq) {
            seq = self.last_seq.next();
            tracing::warn!(id = %manifest.id, was = %manifest.seq, is = %seq, "diverged");
        }
        self.last_seq = self.last_seq.max(seq);
        self.first_ms =
            Some(self.first_ms.map_or(manifest.store_time_ms, |ms| ms.min(manifest.store_time_ms)));
        if let Some(key) = &manifest.idempotency {
            let known = Remembered { id: manifest.id, body: key.body, until: None };
            self.keys.insert(key.key.clone(), known);
        }
        if let Some(restored) = &manifest.restored {
            self.undone.extend(restored.undoes);
        }
        if let Some(watched) = &manifest.watched
            && self.kept.as_ref().is_none_or(|known| known.observation <= watched.observation)
        {
            self.kept = Some(watched.clone());
        }
        let digest = manifest.digest();
        let manifest = Manifest { seq, ..manifest };
        self.checkpoints.insert(seq, Held { manifest, at, stored_len, digest });
        seq
    }

    /// How the agent stood when it was last told, by a checkpoint or an event.
    pub(crate) fn watched(&self) -> Option<&Watched> {
        let told = self.observed.as_ref().map(|observed| &observed.watched);
        told.into_iter().chain(&self.kept).max_by_key(|watched| watched.observation)
    }

    /// What the agent's detectors remembered when that was last written down.
    pub(crate) fn newest_memory(&self) -> Option<&Watched> {
        let told = self.observed.as_ref().map(|observed| &observed.watched);
        let kept =
            self.checkpoints.values().rev().filter_map(|held| held.manifest.watched.as_ref());
        let kept = kept.into_iter().find(|watched| watched.memory.is_some());
        let told = told.filter(|watched| watched.memory.is_some());
        kept.into_iter().chain(told).max_by_key(|watched| watched.observation)
    }

    /// The store's own time when the agent was last heard of.
    pub(crate) fn last_heard_ms(&self) -> u64 {
        let kept = self.checkpoints.values().next_back().map(|held| held.manifest.store_time_ms);
        let told = self.observed.as_ref().map(|observed| observed.store_time_ms);
        kept.max(told).unwrap_or_default()
    }

    /// Why the agent is halted; none where it is not.
    pub(crate) fn halted(&self) -> Option<&str> {
        let reset = self.reset.map_or(0, |(n, _)| n);
        let (n, why) = self.halted.as_ref()?;
        (*n > self.released.max(reset)).then_some(why.as_str())
    }

    /// Whether this event is what lets the agent go on after it was halted.
    pub(crate) fn was_released_by(&self, n: u64) -> bool {
        self.halted.is_some() && self.released == n
    }

    /// The restore that was begun and is neither finished nor rolled back. A fresh start ends it,
    /// and so does every checkpoint behind the one it began with: its own last one, or newer work,
    /// which is not to be replaced. That holds whatever of these was forgotten since. Where a
    /// workspace is restored, newer work is what holds one that was not taken over from before.
    pub(crate) fn open_restore(&self) -> Option<&What> {
        let begun = self.begun.as_ref().filter(|begun| begun.n > self.rolled_back)?;
        let What::RestoreBegun { workspace, .. } = &begun.event else { return None };
        let is_open = match workspace {
            None => self.ends_with(begun.recovery),
            Some(_) => self.workspace_is_from(begun.recovery),
        };
        let is_fresh = self.reset.is_some_and(|(n, _)| n > begun.n);
        (is_open && !is_fresh).then_some(&begun.event)
    }

    /// Whether every checkpoint behind this one has its workspace or none.
    fn workspace_is_from(&self, id: CheckpointId) -> bool {
        let mut newest_first = self.checkpoints.values().rev();
        let Some(at) = newest_first.clone().find(|held| held.manifest.id == id) else {
            return false;
        };
        let seq = at.manifest.seq;
        newest_first.by_ref().take_while(|held| held.manifest.seq > seq).all(|held| {
            let from = held.manifest.workspace.as_ref().map(|part| part.inherited_from);
            from.is_none_or(|from| from.is_some_and(|from| from <= seq))
        })
    }

    /// Whether no number was given behind that of this checkpoint.
    pub(crate) fn ends_with(&self, id: CheckpointId) -> bool {
        let newest = self.checkpoints.last_key_value();
        newest.is_some_and(|(seq, held)| held.manifest.id == id && *seq == self.last_seq)
    }

    /// The newest finished restore that was not taken back and took nothing back itself.
    pub(crate) fn undoable(&self) -> Option<&Held> {
        self.checkpoints.values().rev().find(|held| {
            held.manifest
                .restored
                .as_ref()
                .is_some_and(|one| one.undoes.is_none() && one.recovery.is_some())
                && !self.undone.contains(&held.manifest.id)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_what_was_forgotten_are_remembered_for_their_time_and_up_to_a_bound() {
        let mut catalog = Catalog::default();
        let agent = AgentId::new("a").unwrap();
        let shelf = catalog.agents.entry(agent.clone()).or_default();
        let at = Timestamp::from_unix_ms;
        let beyond = i64::try_from(KEYS_MAX).unwrap() + 50;
        for n in 0..beyond {
            let id = CheckpointId(uuid::Uuid::from_u128(u128::try_from(n).unwrap()));
            let known = Remembered { id, body: Digest::default(), until: Some(at(1000 + n)) };
            shelf.keys.insert(format!("key {n}"), known);
        }
        let held = CheckpointId(uuid::Uuid::max());
        shelf
            .keys
            .insert("held".into(), Remembered { id: held, body: Digest::default(), until: None });
        catalog.expire_keys(at(1009));
        let remembered = |key: &str| catalog.remembered(&agent, key).is_some();
        assert!(!remembered("key 9") && !remembered("key 49"), "older than the bound allows");
        assert!(remembered("key 50") && remembered("held"));
        assert_eq!(catalog.agents[&agent].keys.len(), KEYS_MAX + 1);
    }
}
