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

use super::scratch::remove_all;
use crate::clock::Clock;
use crate::disk::{self, Disk, Durability};
use crate::manager::{Agent, CheckpointManager, Error, FileKind};
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

/// Where the drill restores to, and by which clock it measures.
struct Yard {
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
    disk.create_dir(&dir).map_err(failed)?;
    let yard = Yard { disk: Arc::clone(disk), clock: Arc::clone(clock), dir: dir.clone() };
    let agents = manager.agents();
    let drilled = agents.iter().map(|one| yard.drill(manager, &one.agent_id)).collect();
    remove_all(&**disk, &dir).map_err(failed)?;
    Ok(drilled)
}

impl Yard {
    fn drill(&self, manager: &CheckpointManager, agent_id: &AgentId) -> Drilled {
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
        drilled.recovery_time_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        drilled.sound = done.is_ok();
        drilled.why = done.err();
        drilled
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
        let mut back = Back::default();
        if let (Some(bytes), Some(digest)) = (loaded.state_bytes(), found.state_digest) {
            self.state(&id, bytes, digest)?;
            back.bytes += bytes.len() as u64;
        }
        self.state_files(&agent, &id, &mut back)?;
        self.files(&agent, &id, &mut back)?;
        (drilled.bytes, drilled.files) = (back.bytes, back.files);
        Ok(())
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
    fn files(&self, agent: &Agent, id: &str, back: &mut Back) -> Result<(), String> {
        let kept = agent.files(id).map_err(|error| error.to_string())?;
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
