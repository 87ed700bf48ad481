//! Histories: the steps of which agents' lives are made, and what a store holds after each.
//!
//! A history is played on a disk until a step fails, which is where its process died. Everything in
//! it is a function of the steps, so that two plays of one history hold the same checkpoints (under
//! other ids), and what a crash left can be compared with what the whole play held at each moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use stateward::clock::ManualClock;
use stateward::disk::{Disk, MemoryDisk};
use stateward::retention::{KindPolicy, Policy};
use stateward::state::{Digest, Kind, Timestamp};
use stateward::{
    Agent, CheckpointManager, Error, Filter, Options, Outcome, RestoreOptions, Standing,
};

pub const STORE: &str = "/home/store";

/// Everyone who lives in a history.
pub const AGENTS: [&str; 4] = ["a", "team/b", "agent-1", "agent-10"];

/// Whether every case is to be tried.
pub fn is_exhaustive() -> bool {
    std::env::var_os("STATEWARD_EXHAUSTIVE").is_some_and(|set| set == "1")
}

/// About `budget` of the numbers below `total`, evenly spread, beginning where `seed` says.
pub fn some_of(total: u64, budget: u64, seed: u64) -> impl Iterator<Item = u64> {
    let stride = if is_exhaustive() { 1 } else { total.div_ceil(budget).max(1) };
    (seed % stride..total).step_by(usize::try_from(stride).unwrap())
}

/// One step in an agent's life.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// A state of about so many bytes; what follows the first kilobyte is the same in each.
    Commit(&'static str, Kind, usize),
    /// The newest state with one key changed.
    Patch(&'static str),
    /// Back to the checkpoint that is so many older than the newest.
    Restore(&'static str, usize),
    Undo(&'static str),
    Reset(&'static str),
    /// Forgets the checkpoint that is so many older than the newest.
    Forget(&'static str, usize),
    Begin(&'static str, &'static str),
    Close(&'static str, &'static str, Outcome),
    Settle,
    Prune,
    /// Makes the next segment ahead of need.
    MakeReady,
    Reopen,
}

impl Step {
    /// Whether one batch holds all that the step changes.
    pub fn is_one_batch(self) -> bool {
        !matches!(self, Self::Restore(..) | Self::Undo(_))
    }
}

/// A checkpoint, as far as it is the same in every play.
pub type One = (u64, Kind, Digest);

/// What is held of an agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shelf {
    pub checkpoints: BTreeSet<One>,
    pub latest: Option<Digest>,
    pub operations: Vec<(String, Standing)>,
}

/// Everything a store holds.
pub type Held = BTreeMap<String, Shelf>;

/// A store's files, the lock apart.
pub type Image = BTreeMap<PathBuf, Vec<u8>>;

/// What became of a history.
pub struct Played {
    /// Steps that were done; the next one was being done when the process died.
    pub done: usize,
    /// Why the next one was not done.
    pub stopped: Option<Error>,
}

/// Options of a store whose segments are so small that they roll often.
pub fn options(disk: Arc<dyn Disk>) -> Options {
    let mut options = Options::new(STORE);
    options.log.segment_bytes_min = 8 << 10;
    options.log.segment_bytes_max = 64 << 10;
    options.state.inline_bytes_max = 2 << 10;
    let clock = ManualClock::starting_at(Timestamp::from_unix_ms(1_700_000_000_000));
    Options { disk, clock, background: false, retention: keep_two(), ..options }
}

/// Two of each kind, and what operations need.
fn keep_two() -> Policy {
    let two = KindPolicy { keep_last: 2, ..KindPolicy::default() };
    let pre_operation = KindPolicy { keep_until_closed: true, ..two.clone() };
    Policy { routine: two.clone(), recovery: two, pre_operation, ..Policy::default() }
}

/// Bytes that tell a step from every other, then many that do not.
pub fn state(step: usize, bytes: usize) -> Vec<u8> {
    let mut text = format!("{{\"step\": {step}, \"told\": \"");
    let mut letters = blake3::Hasher::new().update(b"letters").finalize_xof();
    let mut piece = [0; 64];
    while text.len() + 2 < bytes {
        letters.fill(&mut piece);
        let end = piece.len().min(bytes - 2 - text.len());
        text.extend(piece[..end].iter().map(|byte| char::from(b'a' + byte % 26)));
    }
    text.push_str("\"}");
    text.into_bytes()
}

/// A process that plays a history.
pub struct Session {
    options: Options,
    manager: Option<CheckpointManager>,
    played: usize,
}

impl Session {
    pub fn open(options: Options) -> Result<Self, Error> {
        let manager = Some(CheckpointManager::open(options.clone())?);
        Ok(Self { options, manager, played: 0 })
    }

    fn manager(&self) -> &CheckpointManager {
        self.manager.as_ref().expect("a session has a manager unless it failed to reopen")
    }

    fn agent(&self, name: &str) -> Agent {
        self.manager().agent(name).unwrap()
    }

    pub fn step(&mut self, step: Step) -> Result<(), Error> {
        self.played += 1;
        match step {
            Step::Commit(name, kind, bytes) => {
                let request = self.agent(name).checkpoint(kind);
                request.state_bytes_unchecked(state(self.played, bytes)).commit().map(drop)
            }
            Step::Patch(name) => {
                let patch = format!("{{\"patched\": {}}}", self.played);
                self.agent(name).checkpoint(Kind::Routine).patch(patch.into()).commit().map(drop)
            }
            Step::Restore(name, back) => {
                let options = RestoreOptions::default();
                self.agent(name).restore(&self.nth(name, back), &options).map(drop)
            }
            Step::Undo(name) => self.agent(name).undo(&RestoreOptions::default()).map(drop),
            Step::Reset(name) => self.agent(name).reset(),
            Step::Forget(name, back) => {
                self.agent(name).forget(&[&self.nth(name, back)], false).map(drop)
            }
            Step::Begin(name, operation) => {
                self.agent(name).begin_operation(operation).map(|begun| drop(begun.detach()))
            }
            Step::Close(name, operation, outcome) => {
                self.agent(name).close_operation(operation, outcome, "it ended").map(drop)
            }
            Step::Settle => self.manager().settle(),
            Step::Prune => self.manager().prune(&mut |_| {}).map(drop),
            Step::MakeReady => self.manager().make_ready(),
            Step::Reopen => {
                // The lock falls first.
                self.manager = None;
                self.manager = Some(CheckpointManager::open(self.options.clone())?);
                Ok(())
            }
        }
    }

    fn nth(&self, name: &str, back: usize) -> String {
        let all = self.agent(name).list_checkpoints(Filter::default()).unwrap();
        all[back].checkpoint_id.to_string()
    }

    /// Reads everything that is held, byte for byte.
    pub fn held(&self) -> Result<Held, Error> {
        held(self.manager())
    }
}

/// Reads everything a manager lists.
pub fn held(manager: &CheckpointManager) -> Result<Held, Error> {
    AGENTS.iter().map(|name| Ok(((*name).to_owned(), shelf(&manager.agent(name)?)?))).collect()
}

fn shelf(agent: &Agent) -> Result<Shelf, Error> {
    let mut shelf = Shelf::default();
    for one in agent.list_checkpoints(Filter::default())? {
        let read = agent.read_checkpoint(one.checkpoint_id.to_string())?;
        let digest = Digest::of(read.state_bytes().unwrap());
        assert_eq!(Some(digest), one.state_digest, "what is restored is what is listed");
        assert_eq!(agent.show(one.path.to_str().unwrap())?, one, "by its path as by its id");
        shelf.checkpoints.insert((one.seq.0, one.kind, digest));
    }
    match agent.read_checkpoint("latest") {
        Ok(latest) => shelf.latest = latest.state_bytes().map(Digest::of),
        Err(Error::NoCheckpoint { .. }) => {}
        Err(error) => return Err(error),
    }
    for one in agent.operations()? {
        let own = one.name == one.operation_id.to_string();
        let name = if own { "named by its id".to_owned() } else { one.name };
        shelf.operations.push((name, one.status));
    }
    Ok(shelf)
}

/// Plays a history from an empty disk until a step fails.
pub fn play(history: &[Step], disk: Arc<dyn Disk>) -> Played {
    let mut session = match Session::open(options(disk)) {
        Ok(session) => session,
        Err(error) => return Played { done: 0, stopped: Some(error) },
    };
    for (done, step) in history.iter().enumerate() {
        if let Err(error) = session.step(*step) {
            return Played { done, stopped: Some(error) };
        }
    }
    Played { done: history.len(), stopped: None }
}

/// What is held before each step of a history, and after the last.
pub fn expected(history: &[Step]) -> Vec<Held> {
    let mut session = Session::open(options(MemoryDisk::new().shared())).unwrap();
    let mut moments = vec![session.held().unwrap()];
    for step in history {
        session.step(*step).unwrap_or_else(|error| panic!("{step:?}: {error}"));
        moments.push(session.held().unwrap());
    }
    moments
}

/// The files of the store, apart from the lock's text.
pub fn image(disk: &MemoryDisk) -> Image {
    let mut image = disk.image();
    image.remove(&PathBuf::from(STORE).join("lock"));
    image
}
