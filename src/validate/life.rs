//! Lives played on a disk, and what a store holds after each step.
//!
//! A life is played until a step fails, which is where its process died. Everything in it is a
//! function of the steps, so that two plays hold the same checkpoints (under other ids), and what a
//! crash left can be compared with what the whole play held at each moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::steps::{Act, Step};
use super::trial::{Broken, Tried};
use crate::clock::{Clock, ManualClock};
use crate::disk::{Disk, MemoryDisk};
use crate::manager::{Agent, CheckpointManager, Error, Filter, Options, RestoreOptions, Standing};
use crate::retention::{KindPolicy, Policy};
use crate::state::{Digest, Kind, Timestamp};

pub(super) const STORE: &str = "/home/store";

/// A checkpoint, as far as it is the same in every play.
pub(super) type One = (u64, Kind, Digest);

/// What is held of an agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Shelf {
    pub checkpoints: BTreeSet<One>,
    pub latest: Option<Digest>,
    pub operations: Vec<(String, Standing)>,
}

/// Everything a store holds, by agent.
pub(super) type Held = BTreeMap<String, Shelf>;

/// A store's files, the lock apart.
pub(super) type Image = BTreeMap<PathBuf, Vec<u8>>;

/// What became of a life.
pub(super) struct Played {
    /// Steps that were done; the next one was being done when the process died.
    pub done: usize,
    /// Why the next one was not done.
    pub stopped: Option<Error>,
}

/// The moment at which every simulated life begins.
pub(super) fn clock() -> Arc<ManualClock> {
    ManualClock::starting_at(Timestamp::from_unix_ms(1_700_000_000_000))
}

/// Options of a store whose segments are so small that they roll often.
pub(super) fn options(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Options {
    let mut options = Options::new(STORE);
    options.log.segment_bytes_min = 8 << 10;
    options.log.segment_bytes_max = 64 << 10;
    options.state.inline_bytes_max = 2 << 10;
    Options { disk, clock, background: false, retention: keep_two(), ..options }
}

/// Two of each kind, and what operations need.
fn keep_two() -> Policy {
    let two = KindPolicy { keep_last: 2, ..KindPolicy::default() };
    let pre_operation = KindPolicy { keep_until_closed: true, ..two.clone() };
    Policy { routine: two.clone(), recovery: two, pre_operation, ..Policy::default() }
}

/// Bytes that tell a step from every other, then many that do not.
pub(super) fn state(step: usize, bytes: usize) -> Vec<u8> {
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

/// Everyone who lives in a life.
pub(super) fn agents(steps: &[Step]) -> BTreeSet<String> {
    steps.iter().filter_map(|step| step.agent().map(str::to_owned)).collect()
}

/// A process that plays a life.
pub(super) struct Session {
    options: Options,
    manager: Option<CheckpointManager>,
    played: usize,
}

impl Session {
    pub fn open(options: Options) -> Result<Self, Error> {
        let manager = Some(CheckpointManager::open(options.clone())?);
        Ok(Self { options, manager, played: 0 })
    }

    pub fn manager(&self) -> &CheckpointManager {
        self.manager.as_ref().expect("a session has a manager unless it failed to reopen")
    }

    fn agent(&self, name: &str) -> Result<Agent, Error> {
        self.manager().agent(name)
    }

    pub fn step(&mut self, step: &Step) -> Result<(), Error> {
        self.played += 1;
        match &step.act {
            Act::Keep { agent, kind, bytes } => {
                let request = self.agent(agent)?.checkpoint(*kind);
                request.state_bytes_unchecked(state(self.played, *bytes)).commit().map(drop)
            }
            Act::Patch { agent } => {
                let patch = format!("{{\"patched\": {}}}", self.played);
                let request = self.agent(agent)?.checkpoint(Kind::Routine);
                request.patch(patch.into()).commit().map(drop)
            }
            Act::Restore { agent, back } => {
                let id = self.nth(agent, *back)?;
                self.agent(agent)?.restore(&id, &RestoreOptions::default()).map(drop)
            }
            Act::Undo { agent } => self.agent(agent)?.undo(&RestoreOptions::default()).map(drop),
            Act::Reset { agent } => self.agent(agent)?.reset(),
            Act::Forget { agent, back } => {
                let id = self.nth(agent, *back)?;
                self.agent(agent)?.forget(&[&id], false).map(drop)
            }
            Act::Begin { agent, operation } => {
                self.agent(agent)?.begin_operation(operation).map(|begun| drop(begun.detach()))
            }
            Act::Close { agent, operation, outcome } => {
                self.agent(agent)?.close_operation(operation, *outcome, "it ended").map(drop)
            }
            Act::Settle => self.manager().settle(),
            Act::Prune => self.manager().prune(&mut |_| {}).map(drop),
            Act::MakeSegment => self.manager().make_segments_ahead(),
            Act::Reopen => self.reopen(),
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        // The lock falls first.
        self.manager = None;
        self.manager = Some(CheckpointManager::open(self.options.clone())?);
        Ok(())
    }

    fn nth(&self, name: &str, back: usize) -> Result<String, Error> {
        let all = self.agent(name)?.list_checkpoints(Filter::default())?;
        // What is not there cannot be found either, and that is the error.
        let id = all.get(back).map(|one| one.checkpoint_id.to_string());
        Ok(id.unwrap_or_else(|| "latest".to_owned()))
    }
}

/// Reads everything that is held of these agents, byte for byte.
pub(super) fn held(
    manager: &CheckpointManager,
    agents: &BTreeSet<String>,
    tried: &mut Tried,
) -> Result<Held, Broken> {
    let mut held = Held::new();
    for name in agents {
        held.insert(name.clone(), shelf(&manager.agent(name)?, tried)?);
    }
    Ok(held)
}

fn shelf(agent: &Agent, tried: &mut Tried) -> Result<Shelf, Broken> {
    let mut shelf = Shelf::default();
    for one in agent.list_checkpoints(Filter::default())? {
        let read = agent.read_checkpoint(one.checkpoint_id.to_string())?;
        let bytes = read.state_bytes().unwrap_or_default();
        tried.read(bytes.len());
        let digest = Digest::of(bytes);
        if Some(digest) != one.state_digest {
            return Err(Broken::lost(1, format!("{} is read as other bytes", one.seq)));
        }
        if agent.show(&one.path.display().to_string())? != one {
            let seq = one.seq;
            return Err(Broken::new(format!("{seq} is another by its path than by its id")));
        }
        shelf.checkpoints.insert((one.seq.0, one.kind, digest));
    }
    match agent.read_checkpoint("latest") {
        Ok(latest) => shelf.latest = latest.state_bytes().map(Digest::of),
        Err(Error::NoCheckpoint { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    for one in agent.operations()? {
        let own = one.name == one.operation_id.to_string();
        let name = if own { "named by its id".to_owned() } else { one.name };
        shelf.operations.push((name, one.status));
    }
    Ok(shelf)
}

/// Plays a life from an empty disk until a step fails.
pub(super) fn play(steps: &[Step], options: Options) -> Played {
    let mut session = match Session::open(options) {
        Ok(session) => session,
        Err(error) => return Played { done: 0, stopped: Some(error) },
    };
    for (done, step) in steps.iter().enumerate() {
        if let Err(error) = session.step(step) {
            return Played { done, stopped: Some(error) };
        }
    }
    Played { done: steps.len(), stopped: None }
}

/// What is held before each step of a life, and after the last.
pub(super) fn expected(steps: &[Step]) -> Result<Vec<Held>, Broken> {
    let agents = agents(steps);
    let mut session = Session::open(options(MemoryDisk::new().shared(), clock()))?;
    let mut tried = Tried::default();
    let mut moments = vec![held(session.manager(), &agents, &mut tried)?];
    for step in steps {
        session.step(step).map_err(|error| Broken::from(error).after(step))?;
        moments.push(held(session.manager(), &agents, &mut tried)?);
    }
    Ok(moments)
}

/// The files of the store, apart from the lock's text.
pub(super) fn image(disk: &MemoryDisk) -> Image {
    let mut image = disk.image();
    image.remove(&PathBuf::from(STORE).join("lock"));
    image
}
