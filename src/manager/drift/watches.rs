//! Every agent under watch: what is remembered of each, and how it is written down.
//!
//! An agent is watched from its first sighting on, and where rules for its states are configured.
//! What its detectors remember is read from the newest record of it when it is first asked for. It
//! is written down with each of its checkpoints, and between them by the housekeeper: that it was
//! observed within a second, what is remembered every half minute and when the store is closed. What
//! was seen after that and not written is forgotten by a crash; numbers that anything durable names
//! are not given again.
//!
//! Locks are taken in this order: a seat's turn, the seat, the ledger, those of the committer and the
//! store. No seat is asked for while another is held.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use serde_json::Value;

use super::super::admission::Told;
use super::super::committer::Committer;
use super::super::error::Error;
use super::words;
use crate::clock::Clock;
use crate::disk::{self, Disk};
use crate::drift::{self, Cause, Ledger, Level, Sighting, Verdict, Watch};
use crate::encode::Block;
use crate::encode::event::What;
use crate::encode::watched::{Watched, pack_memory, unpack_memory};
use crate::state::{AgentId, CheckpointId, Digest, Seq};
use crate::store::{OpenPacks, Store};

/// That an agent was observed is written down within this time.
pub(crate) const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// What is remembered is some kilobytes: between checkpoints it is written no more often.
const MEMORY_EVERY: Duration = Duration::from_secs(30);

/// Agents that are remembered in memory, about 60 KB each; beyond, what is written down goes.
const SEATS_MAX: usize = 1024;

/// Agents whose observations are written down as one batch.
const BATCH: usize = 128;

/// Every agent under watch.
#[derive(Debug)]
pub(crate) struct Watches {
    rules: Rules,
    /// Of agents that have rules of their own.
    own: BTreeMap<AgentId, Rules>,
    clock: Arc<dyn Clock>,
    seats: Mutex<HashMap<AgentId, Arc<Seat>>>,
    ledger: Mutex<Option<Ledger>>,
    /// Something was seen that is not written down.
    unsaved: AtomicBool,
    /// Since when, in milliseconds of the monotonic clock.
    unsaved_since: AtomicU64,
}

/// By what agents are watched.
#[derive(Debug)]
pub(super) struct Rules {
    pub options: drift::Options,
    schema: Option<Value>,
}

/// One agent's place.
#[derive(Debug, Default)]
pub(super) struct Seat {
    /// One response at a time.
    pub turn: Mutex<()>,
    watching: Mutex<Option<Watching>>,
    /// When it was last seen, in milliseconds of the monotonic clock; 0 where it was not.
    active_ms: AtomicU64,
}

/// What is remembered of one agent.
#[derive(Debug)]
pub(super) struct Watching {
    pub watch: Watch,
    began: Seq,
    pub terminal: bool,
    /// It was halted, and nobody let it go on as far as is known.
    pub halted: bool,
    /// What the log was told of the findings that stand.
    pub told: Vec<(Cause, Level)>,
    /// What is to be said with the next commit.
    pub words: Vec<What>,
    /// Checkpoints whose damage was seen.
    pub damage: HashSet<CheckpointId>,
    /// The newest checkpoint that commands were asked about.
    pub asked: Option<CheckpointId>,
    dirty: bool,
    last_state: Option<Digest>,
    /// What is remembered, packed, as long as nothing more is seen.
    packed: Option<Block>,
    memory_at: Option<Duration>,
}

/// What rides with a commit, until it is known to be durable.
#[derive(Debug)]
pub(crate) struct Noted {
    seat: Arc<Seat>,
    number: u64,
    words: Vec<What>,
}

/// What is to be written down of one agent.
struct Line {
    noted: Noted,
    watched: Watched,
    memory: Option<Block>,
}

impl Watches {
    /// Nobody is under watch yet.
    ///
    /// # Errors
    /// When the options do not fit, or a schema cannot be read.
    pub(in super::super) fn new(options: &super::super::Options) -> Result<Self, Error> {
        let super::super::Options { drift, drift_of, clock, disk, .. } = options;
        let of_each = drift_of.iter().map(|(agent, options)| {
            let rules = Rules::read(options, &**disk)?;
            Ok((agent.clone(), rules))
        });
        Ok(Self {
            rules: Rules::read(drift, &**disk)?,
            own: of_each.collect::<Result<_, Error>>()?,
            clock: Arc::clone(clock),
            seats: Mutex::default(),
            ledger: Mutex::default(),
            unsaved: AtomicBool::new(false),
            unsaved_since: AtomicU64::new(0),
        })
    }

    fn rules(&self, agent: &AgentId) -> &Rules {
        self.own.get(agent).unwrap_or(&self.rules)
    }

    /// By what an agent is watched, and how it is answered.
    pub(super) fn options(&self, agent: &AgentId) -> &drift::Options {
        &self.rules(agent).options
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    pub(super) fn seat(&self, agent: &AgentId) -> Arc<Seat> {
        let mut seats = self.seats.lock();
        if let Some(seat) = seats.get(agent) {
            return Arc::clone(seat);
        }
        if seats.len() >= SEATS_MAX {
            make_room(&mut seats);
        }
        Arc::clone(seats.entry(agent.clone()).or_default())
    }

    /// Whether there is anything to watch for: the agent was seen before, or its states have rules.
    pub(super) fn is_watched(&self, committer: &Committer, agent: &AgentId) -> bool {
        let rules = self.rules(agent);
        let ruled = !rules.options.invariants.is_empty() || rules.schema.is_some();
        let seen = |seat: &Arc<Seat>| seat.active_ms.load(Ordering::Relaxed) > 0;
        ruled
            || self.seats.lock().get(agent).is_some_and(seen)
            || newest(committer, agent).is_some()
    }

    /// Works on what is remembered of an agent.
    pub(super) fn with<T>(
        &self,
        committer: &Committer,
        (agent, seat): (&AgentId, &Seat),
        work: impl FnOnce(&mut Watching) -> T,
    ) -> T {
        let mut watching = seat.watching.lock();
        work(watching.get_or_insert_with(|| self.load(committer, agent)))
    }

    /// Reads what was written down of an agent. What cannot be read is forgotten, and that is found
    /// as damage.
    fn load(&self, committer: &Committer, agent: &AgentId) -> Watching {
        let rules = self.rules(agent);
        let memory = newest_memory(committer, agent);
        let read = memory.map(|digest| read_memory(committer, digest)).transpose();
        let watch = read.and_then(|memory| {
            memory.map(|memory| Watch::load(&rules.options, &memory)).transpose().map_err(words_of)
        });
        let (watch, lost) = match watch {
            Ok(watch) => (watch.unwrap_or_else(|| Watch::new(&rules.options)), None),
            Err(why) => (Watch::new(&rules.options), Some(why)),
        };
        let mut watching = Watching::new(rules.with_schema(watch));
        if let Some(watched) = newest(committer, agent) {
            watching.watch.go_on_from(watched.observation);
            watching.began = watched.began;
        }
        watching.halted = halted(committer, agent).is_some();
        if let Some(why) = lost {
            tracing::warn!(%agent, %why, "what the detectors remembered is lost; they begin anew");
            let what = format!("what the detectors remembered cannot be read: {why}");
            watching.see(&Sighting::Damage(what), self.now());
        }
        let verdict = watching.watch.verdict();
        watching.told =
            verdict.findings.iter().map(|finding| (Cause::of(finding), finding.level)).collect();
        watching
    }

    /// The memory of responses; folded from the log where it is first asked for.
    pub(super) fn ledger(&self, committer: &Committer) -> MappedMutexGuard<'_, Ledger> {
        MutexGuard::map(self.ledger.lock(), |ledger| {
            ledger.get_or_insert_with(|| words::ledger_of(&committer.targets.sighted()))
        })
    }

    /// Notes that an agent was seen, and that this is to be written down; whether somebody is to be
    /// told so.
    pub(super) fn note_seen(&self, seat: &Seat) -> bool {
        let now = millis(self.now());
        seat.active_ms.store(now.max(1), Ordering::Relaxed);
        if self.unsaved.load(Ordering::Relaxed) || self.unsaved.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.unsaved_since.store(now, Ordering::Relaxed);
        true
    }

    /// Agents that were seen, or kept something, within this time.
    pub(super) fn active_agents(&self, committer: &Committer, within: Duration) -> u64 {
        let since = millis(self.now()).saturating_sub(millis(within)).max(1);
        let mut active: BTreeSet<AgentId> = {
            let seats = self.seats.lock();
            let seen = |seat: &Seat| seat.active_ms.load(Ordering::Relaxed) >= since;
            seats.iter().filter(|(_, seat)| seen(seat)).map(|(agent, _)| agent.clone()).collect()
        };
        for store in committer.targets.sighted() {
            let since = store.store_time_ms().saturating_sub(millis(within));
            let catalog = store.catalog();
            let alive = catalog.agents.iter().filter(|(_, shelf)| shelf.last_heard_ms() >= since);
            active.extend(alive.map(|(agent, _)| agent.clone()));
        }
        active.len() as u64
    }

    /// Whether something waits to be written down.
    pub(in super::super) fn has_unsaved(&self) -> bool {
        self.unsaved.load(Ordering::Relaxed)
    }

    /// Whether it has waited for as long as it may.
    pub(in super::super) fn is_due(&self) -> bool {
        let since = Duration::from_millis(self.unsaved_since.load(Ordering::Relaxed));
        self.has_unsaved() && self.now().saturating_sub(since) >= WRITTEN_WITHIN
    }

    /// Writes down what was seen since it last was; with `closing` all that is remembered, too.
    ///
    /// # Errors
    /// `unstored` when no target took it; it is tried again then.
    pub(in super::super) fn write_down(
        &self,
        committer: &Committer,
        closing: bool,
    ) -> Result<(), Error> {
        if !self.unsaved.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let seats: Vec<(AgentId, Arc<Seat>)> =
            self.seats.lock().iter().map(|(id, seat)| (id.clone(), Arc::clone(seat))).collect();
        for some in seats.chunks(BATCH) {
            if let Err(error) = self.write_some(committer, some, closing) {
                self.unsaved.store(true, Ordering::Release);
                return Err(error);
            }
        }
        Ok(())
    }

    fn write_some(
        &self,
        committer: &Committer,
        seats: &[(AgentId, Arc<Seat>)],
        closing: bool,
    ) -> Result<(), Error> {
        let now = self.now();
        let store_time_ms = committer.store_time_ms();
        let mut lines = Vec::new();
        let mut said = Vec::new();
        for (agent_id, seat) in seats {
            let Some(line) = line_of(seat, now, closing) else { continue };
            said.extend(line.noted.words.iter().cloned());
            let (agent_id, watched) = (agent_id.clone(), line.watched.clone());
            said.push(What::Observed { agent_id, store_time_ms, watched });
            lines.push(line);
        }
        if lines.is_empty() {
            return Ok(());
        }
        let blocks: Vec<Block> = lines.iter().filter_map(|line| line.memory.clone()).collect();
        let wrote = committer.write_words(|_| said.clone(), &blocks);
        for line in lines {
            let memory_at = line.memory.as_ref().map(|_| now);
            line.noted.settle(wrote.is_ok(), memory_at);
        }
        wrote
    }

    /// Notes that a commit with what was noted came to an end.
    pub(super) fn settle(&self, noted: Noted, kept: bool) {
        let now = self.now();
        if !kept {
            self.unsaved.store(true, Ordering::Release);
        }
        noted.settle(kept, Some(now));
    }
}

impl Rules {
    fn read(options: &drift::Options, disk: &dyn Disk) -> Result<Self, Error> {
        options.check()?;
        let schema = options.schema.as_deref().map(|path| {
            let unfit = |why: String| {
                let why = format!("{}: {why}", path.display());
                drift::Error::Option { key: "schema", why }
            };
            let bytes = disk::read(disk, path).map_err(|error| unfit(error.to_string()))?;
            let schema =
                serde_json::from_slice(&bytes).map_err(|error| unfit(error.to_string()))?;
            check_schema(options, &schema)?;
            Ok::<Value, drift::Error>(schema)
        });
        Ok(Self { options: options.clone(), schema: schema.transpose()? })
    }

    #[cfg(feature = "schema")]
    fn with_schema(&self, mut watch: Watch) -> Watch {
        if let Some(schema) = &self.schema {
            watch.with_schema(schema).expect("it was tried when the store was opened");
        }
        watch
    }

    #[cfg(not(feature = "schema"))]
    #[expect(clippy::unused_self, reason = "with the feature it is where the schema is")]
    fn with_schema(&self, watch: Watch) -> Watch {
        watch
    }
}

/// What is to be written down of an agent; `None` where nothing is.
fn line_of(seat: &Arc<Seat>, now: Duration, closing: bool) -> Option<Line> {
    let mut watching = seat.watching.lock();
    let watching = watching.as_mut()?;
    if !watching.dirty && watching.words.is_empty() {
        return None;
    }
    let is_old = |at: Duration| now.saturating_sub(at) >= MEMORY_EVERY;
    let with_memory = closing || watching.memory_at.is_none_or(is_old);
    let memory = with_memory.then(|| watching.packed());
    let watched = Watched { memory: memory.as_ref().map(|it| it.digest), ..watching.watched() };
    let words = std::mem::take(&mut watching.words);
    let noted = Noted { seat: Arc::clone(seat), number: watched.observation, words };
    Some(Line { noted, watched, memory })
}

impl Noted {
    /// What was noted is durable, or is to be noted again.
    fn settle(self, kept: bool, memory_at: Option<Duration>) {
        let mut watching = self.seat.watching.lock();
        let Some(watching) = watching.as_mut() else { return };
        if !kept {
            watching.words.splice(0..0, self.words);
            return;
        }
        watching.memory_at = memory_at.or(watching.memory_at);
        if watching.watch.number() == self.number {
            watching.dirty = false;
        }
    }
}

impl Watching {
    fn new(watch: Watch) -> Self {
        Self {
            watch,
            began: Seq(0),
            terminal: false,
            halted: false,
            told: Vec::new(),
            words: Vec::new(),
            damage: HashSet::new(),
            asked: None,
            dirty: false,
            last_state: None,
            packed: None,
            memory_at: None,
        }
    }

    /// Watching begins: what is kept already was made before.
    pub(super) fn begin(&mut self, newest: Seq) {
        self.began = newest;
    }

    /// Takes a sighting; how the agent stands now.
    pub(super) fn see(&mut self, sighting: &Sighting, now: Duration) -> Level {
        self.dirty = true;
        self.packed = None;
        self.watch.see(sighting, now)
    }

    /// Notes the digest of a state; whether it is another one than the last that was seen.
    pub(super) fn is_new_state(&mut self, digest: Digest) -> bool {
        self.last_state.replace(digest) != Some(digest)
    }

    /// What is remembered changed otherwise than by a sighting.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
        self.packed = None;
    }

    fn packed(&mut self) -> Block {
        let watch = &self.watch;
        self.packed.get_or_insert_with(|| pack_memory(&watch.save())).clone()
    }

    /// How the agent stands, without what is remembered.
    fn watched(&self) -> Watched {
        let verdict = self.watch.verdict();
        Watched {
            observation: self.watch.number(),
            level: verdict.level,
            suspected_since: verdict.suspected_since(),
            earliest_onset: Some(self.watch.earliest_onset()),
            began: self.began,
            ..Watched::default()
        }
    }

    /// How the agent stands, as a checkpoint records it.
    pub(super) fn told(&mut self) -> Told {
        let memory = self.packed();
        Told { watched: Watched { memory: Some(memory.digest), ..self.watched() }, memory }
    }

    /// How the agent stands, and what is to be said with it.
    pub(super) fn note(&mut self, seat: &Arc<Seat>) -> (Told, Vec<What>, Noted) {
        let told = self.told();
        let words = std::mem::take(&mut self.words);
        let number = told.watched.observation;
        (told, words.clone(), Noted { seat: Arc::clone(seat), number, words })
    }

    /// What stands against the agent was answered, or dropped.
    pub(super) fn forget_findings(&mut self) {
        self.told.clear();
        self.last_state = None;
    }
}

impl Watches {
    /// How an agent stands by what is remembered of it, without reading anything, and the newest
    /// checkpoint when watching began; `None` where it was not asked for yet.
    pub(super) fn verdict(&self, agent: &AgentId) -> Option<(Verdict, Seq)> {
        let seat = self.seats.lock().get(agent).map(Arc::clone)?;
        let watching = seat.watching.lock();
        watching.as_ref().map(|watching| (watching.watch.verdict(), watching.began))
    }
}

/// Lets half of those go that are written down and that nobody works on.
fn make_room(seats: &mut HashMap<AgentId, Arc<Seat>>) {
    let mut idle: Vec<(u64, AgentId)> = seats
        .iter()
        .filter(|(_, seat)| Arc::strong_count(seat) == 1 && seat.is_written())
        .map(|(agent, seat)| (seat.active_ms.load(Ordering::Relaxed), agent.clone()))
        .collect();
    idle.sort_unstable();
    let half = idle.len().div_ceil(2);
    for (_, agent) in idle.into_iter().take(half) {
        seats.remove(&agent);
    }
}

impl Seat {
    /// Whether nothing is lost with it: detectors in Rust cannot be made again.
    fn is_written(&self) -> bool {
        let Some(watching) = self.watching.try_lock() else { return false };
        watching.as_ref().is_none_or(|it| {
            let told = it.words.is_empty() && !it.dirty;
            told && !it.terminal && !it.watch.has_detectors()
        })
    }
}

#[cfg(feature = "schema")]
fn check_schema(options: &drift::Options, schema: &Value) -> Result<(), drift::Error> {
    Watch::new(options).with_schema(schema)
}

#[cfg(not(feature = "schema"))]
fn check_schema(_: &drift::Options, _: &Value) -> Result<(), drift::Error> {
    let why = "this build lacks the feature `schema`".to_owned();
    Err(drift::Error::Option { key: "schema", why })
}

/// The newest checkpoint when watching an agent began.
pub(super) fn began(committer: &Committer, agent: &AgentId) -> Seq {
    let known = committer.watches.verdict(agent).map(|(_, began)| began);
    let told = || newest(committer, agent).map(|watched| watched.began);
    known.or_else(told).unwrap_or_default()
}

/// How an agent stood by the newest record of any store.
pub(super) fn newest(committer: &Committer, agent: &AgentId) -> Option<Watched> {
    let told = committer.targets.sighted().into_iter().filter_map(|store| {
        let catalog = store.catalog();
        catalog.agents.get(agent)?.watched().cloned()
    });
    told.max_by_key(|watched| watched.observation)
}

fn newest_memory(committer: &Committer, agent: &AgentId) -> Option<Digest> {
    let told = committer.targets.sighted().into_iter().filter_map(|store| {
        let catalog = store.catalog();
        catalog.agents.get(agent)?.newest_memory().cloned()
    });
    told.max_by_key(|watched| watched.observation)?.memory
}

/// Why the agent is halted; none where it is not.
pub(super) fn halted(committer: &Committer, agent: &AgentId) -> Option<String> {
    committer.targets.sighted().iter().find_map(|store| {
        let catalog = store.catalog();
        catalog.agents.get(agent)?.halted().map(str::to_owned)
    })
}

pub(super) fn last_seq(committer: &Committer, agent: &AgentId) -> Seq {
    let last = committer.targets.sighted().into_iter().filter_map(|store| {
        let catalog = store.catalog();
        catalog.agents.get(agent).map(|shelf| shelf.last_seq)
    });
    last.max().unwrap_or_default()
}

/// What the detectors remembered, from whichever store has it.
pub(super) fn read_memory(committer: &Committer, digest: Digest) -> Result<Vec<u8>, String> {
    let mut why = "no store that can be seen holds it".to_owned();
    for store in committer.targets.sighted() {
        match read_from(&store, digest) {
            Ok(memory) => return Ok(memory),
            Err(error) => why = error,
        }
    }
    Err(why)
}

fn read_from(store: &Store, digest: Digest) -> Result<Vec<u8>, String> {
    let block = store.read_proven(&(digest, 0), &mut OpenPacks::default());
    let block = block.map_err(|error| error.to_string())?;
    unpack_memory(&block).map_err(|error| error.to_string())
}

fn words_of(error: drift::Error) -> String {
    match error {
        drift::Error::Memory { why } => why,
        other => other.to_string(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
