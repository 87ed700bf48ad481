//! The drill: the newest checkpoint of each agent is restored into a directory of its own and
//! compared, byte for byte, with what was kept.
//!
//! It answers the two questions that matter on the bad day: how old is what would come back (the
//! recovery point), and how long does coming back take (the recovery time). It only looks: the store
//! is not changed, and what was restored is taken away again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::scratch::{empty, remove_all};
use crate::clock::Clock;
use crate::disk::{self, Disk, Durability};
use crate::manager::{Agent, CheckpointManager, Error, FileKind, KeptFile};
use crate::state::{AgentId, CheckpointId, Digest, Seq};

/// What came of the drill for one agent.
#[derive(Debug, Clone, Serialize)]
pub struct Drilled {
    /// Whose.
    pub agent_id: AgentId,
    /// The checkpoint that came back; absent where none did.
    pub checkpoint_id: Option<CheckpointId>,
    /// Its number.
    pub seq: Option<Seq>,
    /// Age of the newest sound checkpoint: the work since then would be lost.
    pub recovery_point_ms: Option<u64>,
    /// How long it took to bring back and compare.
    pub recovery_time_ms: u64,
    /// Bytes that came back.
    pub bytes: u64,
    /// Files that came back, state files included.
    pub files: u64,
    /// Newer checkpoints that were passed over because they are damaged.
    pub walked_past: usize,
    /// Everything came back as it was kept.
    pub sound: bool,
    /// What did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A checkpoint that retention lets go while it is being brought back is no failure: the newest one
/// is taken instead, so many times.
const TRIES: usize = 3;
/// What is left free on the disk, or a hundredth of it where that is less: as retention's floor.
const FLOOR_MAX: u64 = 256 << 20;

impl Drilled {
    /// The newest checkpoint did not come back, whatever older one did.
    #[must_use]
    pub fn failed(&self) -> bool {
        !self.sound || self.walked_past > 0
    }
}

/// Where the drill restores to, and by which clock it measures; gone when this is closed.
pub(crate) struct Yard {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
}

/// What came back.
#[derive(Default)]
struct Back {
    bytes: u64,
    files: u64,
}

/// Restores the newest checkpoint of each agent beneath `dir`, which is there, and compares it; what
/// does not come back is in the answer, not an error.
///
/// # Errors
/// When nothing can be written beneath `dir`.
pub fn drill(
    manager: &CheckpointManager,
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    dir: &Path,
) -> Result<Vec<Drilled>, Error> {
    let dir = dir.join(format!(".stateward-drill-{}", Uuid::new_v4().simple()));
    let failed = |source| Error::Io { doing: format!("restore into {}", dir.display()), source };
    let yard = Yard::open(disk, clock, &dir).map_err(failed)?;
    let agents = manager.agents();
    let drilled = agents.iter().map(|one| yard.drill(manager, &one.agent_id)).collect();
    yard.close().map_err(failed)?;
    Ok(drilled)
}

impl Yard {
    /// Makes the directory, which is not there yet.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        clock: &Arc<dyn Clock>,
        dir: &Path,
    ) -> io::Result<Self> {
        disk.create_dir(dir)?;
        Ok(Self { disk: Arc::clone(disk), clock: Arc::clone(clock), dir: dir.to_owned() })
    }

    /// Takes the directory away, with everything in it.
    pub(crate) fn close(self) -> io::Result<()> {
        remove_all(&*self.disk, &self.dir)
    }

    /// Brings the newest checkpoint of one agent back, compares it, and takes it away again.
    pub(crate) fn drill(&self, manager: &CheckpointManager, agent_id: &AgentId) -> Drilled {
        let mut tries = 1;
        loop {
            let (drilled, was_let_go) = self.try_once(manager, agent_id);
            if !was_let_go || tries == TRIES {
                return drilled;
            }
            tries += 1;
        }
    }

    /// What came of it, and whether the checkpoint went meanwhile.
    fn try_once(&self, manager: &CheckpointManager, agent_id: &AgentId) -> (Drilled, bool) {
        let mut drilled = Drilled {
            agent_id: agent_id.clone(),
            checkpoint_id: None,
            seq: None,
            recovery_point_ms: None,
            recovery_time_ms: 0,
            bytes: 0,
            files: 0,
            walked_past: 0,
            sound: false,
            why: None,
        };
        let began = self.clock.monotonic();
        let done = self.bring_back(manager, agent_id, &mut drilled);
        let took = self.clock.monotonic().saturating_sub(began);
        let done = done.and(self.clear());
        drilled.recovery_time_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        drilled.sound = done.is_ok();
        drilled.why = done.err();
        let is_held = |id: CheckpointId| {
            manager.find(agent_id, &id.to_string()).is_ok_and(|found| found.checkpoint_id == id)
        };
        let was_let_go = !drilled.sound && drilled.checkpoint_id.is_some_and(|id| !is_held(id));
        (drilled, was_let_go)
    }

    fn clear(&self) -> Result<(), String> {
        let cleared = empty(&*self.disk, &self.dir);
        cleared.map_err(|error| format!("what came back cannot be taken away again: {error}"))
    }

    fn bring_back(
        &self,
        manager: &CheckpointManager,
        agent_id: &AgentId,
        drilled: &mut Drilled,
    ) -> Result<(), String> {
        let told = |error: Error| error.to_string();
        let agent = manager.agent(agent_id.as_str()).map_err(told)?;
        let loaded = agent.read_checkpoint("latest").map_err(told)?;
        let found = loaded.checkpoint();
        let age = self.clock.now().since(found.created_at);
        drilled.checkpoint_id = Some(found.checkpoint_id);
        drilled.seq = Some(found.seq);
        drilled.recovery_point_ms = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        drilled.walked_past = loaded.walked_past().len();
        let id = found.checkpoint_id.to_string();
        let kept = agent.files(&id).map_err(told)?;
        let state = loaded.state_bytes();
        let bytes = kept.iter().map(|file| file.bytes).sum::<u64>();
        self.has_room(bytes + state.map_or(0, |it| it.len() as u64))?;
        let mut back = Back::default();
        if let (Some(bytes), Some(digest)) = (state, found.state_digest) {
            self.state(&id, bytes, digest)?;
            back.bytes += bytes.len() as u64;
        }
        self.state_files(&agent, &id, &mut back)?;
        self.files(&agent, &id, &kept, &mut back)?;
        (drilled.bytes, drilled.files) = (back.bytes, back.files);
        Ok(())
    }

    /// Agents and other programs write to the same disk: it is not filled up for a drill.
    fn has_room(&self, bytes: u64) -> Result<(), String> {
        let space = self.disk.space(&self.dir).map_err(|error| error.to_string())?;
        let spare = FLOOR_MAX.min(space.total / 100);
        if bytes.saturating_add(spare) <= space.free {
            return Ok(());
        }
        Err(format!(
            "there is no room to bring it back: it takes {bytes} bytes, and {} are free in {}",
            space.free,
            self.dir.display()
        ))
    }

    /// Writes the state out, synced, and reads it back.
    fn state(&self, id: &str, bytes: &[u8], digest: Digest) -> Result<(), String> {
        let path = self.dir.join(format!("{id}.json"));
        disk::publish(&*self.disk, &path, bytes, Durability::Synced)
            .map_err(|error| error.to_string())?;
        let read = disk::read(&*self.disk, &path).map_err(|error| error.to_string())?;
        let same = Digest::of(&read) == digest;
        if same { Ok(()) } else { Err("the state came back as other bytes".to_owned()) }
    }

    /// Writes each state file out, synced, and compares what is read back.
    fn state_files(&self, agent: &Agent, id: &str, back: &mut Back) -> Result<(), String> {
        let mut visit = |_: &Path, bytes: Vec<u8>| {
            let path = self.dir.join(format!("{id}-{}", back.files));
            disk::publish(&*self.disk, &path, &bytes, Durability::Synced)
                .map_err(disk::PublishError::into_io)?;
            if disk::read(&*self.disk, &path)? != bytes {
                return Err(io::Error::other("it came back as other bytes"));
            }
            back.files += 1;
            back.bytes += bytes.len() as u64;
            Ok(())
        };
        agent.visit_state_files(id, &mut visit).map_err(|error| error.to_string())
    }

    /// Writes the workspace out, and looks that each file is there in its length: the bytes were
    /// proven as they were written and read back.
    fn files(
        &self,
        agent: &Agent,
        id: &str,
        kept: &[KeptFile],
        back: &mut Back,
    ) -> Result<(), String> {
        let in_workspace = kept.iter().any(|file| file.path.is_relative());
        if !in_workspace {
            return Ok(());
        }
        let to = self.dir.join(id);
        agent.write_files_to(id, &to, &[], false).map_err(|error| error.to_string())?;
        for file in kept.iter().filter(|file| file.path.is_relative()) {
            let path = to.join(&file.path);
            let found = self.disk.metadata(&path);
            let found = found.map_err(|error| format!("{}: {error}", file.path.display()))?;
            if file.kind == FileKind::File && found.len != file.bytes {
                return Err(format!("{} came back in another length", file.path.display()));
            }
            back.files += u64::from(file.kind == FileKind::File);
            back.bytes += file.bytes;
        }
        Ok(())
    }
}
