//! Restore, undo and reset: the steps of the way back, in their order.
//!
//! A `recovery` checkpoint of what is there; the word that a restore has begun; the state file, or
//! the agent's own source, gets the old state; a checkpoint with that content says that the restore
//! has finished. If the first two cannot be stored, nothing is touched. A crash in between leaves a
//! begun restore, which the next writing start finishes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::agent::Agent;
use super::error::Error;
use super::resolve::{Resolved, WalkedPast};
use crate::encode::event::What;
use crate::encode::manifest;
use crate::restore::{self, Files};
use crate::state::{Checkpoint, CheckpointId, Kind, Receipt};

/// How a restore is to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub struct RestoreOptions {
    /// Only tell what would be done.
    pub dry_run: bool,
    /// Replace also what someone else changed.
    pub force: bool,
    /// Restore although the agent was seen within the last minute.
    pub live: bool,
    /// Take a checkpoint of another agent.
    pub any_agent: bool,
}

/// What a restore did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Restored {
    /// The reference as it was given.
    pub requested: String,
    /// What was restored.
    pub checkpoint_id: CheckpointId,
    /// Newer checkpoints that were passed over because they are damaged.
    pub walked_past: Vec<WalkedPast>,
    /// It was made after a drift's onset.
    pub tainted: bool,
    /// What was there before.
    pub recovery_checkpoint_id: Option<CheckpointId>,
    /// The checkpoint that the finished restore is.
    pub restored_as: Option<CheckpointId>,
    /// What became of files.
    pub files: Files,
    /// Nothing was done.
    pub dry_run: bool,
    /// The facts of what was restored.
    #[serde(skip)]
    checkpoint: Option<Checkpoint>,
    #[serde(skip)]
    state: Option<Vec<u8>>,
}

/// A checkpoint that was looked at.
#[derive(Debug, Clone)]
pub struct Loaded {
    checkpoint: Checkpoint,
    walked_past: Vec<WalkedPast>,
    state: Option<Vec<u8>>,
}

impl Loaded {
    pub(super) fn of_view(checkpoint: Checkpoint, state: Vec<u8>) -> Self {
        Self { checkpoint, walked_past: Vec::new(), state: Some(state) }
    }

    /// Its facts.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Newer checkpoints that were passed over because they are damaged.
    #[must_use]
    pub fn walked_past(&self) -> &[WalkedPast] {
        &self.walked_past
    }

    /// The state, byte for byte; absent where the checkpoint holds none.
    #[must_use]
    pub fn state_bytes(&self) -> Option<&[u8]> {
        self.state.as_deref()
    }

    /// The state, read.
    ///
    /// # Errors
    /// When it does not have the form that is asked for, or there is none.
    pub fn state<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read_json(self.state.as_deref())
    }
}

impl Restored {
    /// The facts of what was restored.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// The state, byte for byte; absent where the checkpoint holds none.
    #[must_use]
    pub fn state_bytes(&self) -> Option<&[u8]> {
        self.state.as_deref()
    }

    /// The state, read.
    ///
    /// # Errors
    /// When it does not have the form that is asked for, or there is none.
    pub fn state<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read_json(self.state.as_deref())
    }
}

fn read_json<T: DeserializeOwned>(state: Option<&[u8]>) -> Result<T, Error> {
    serde_json::from_slice(state.unwrap_or(b"null"))
        .map_err(|source| Error::Json { doing: "read", source })
}

/// What is to be put back, and where.
struct Job<'a> {
    agent: &'a Agent,
    found: Resolved,
    state: Option<Vec<u8>>,
    file: Option<PathBuf>,
    current: Option<Vec<u8>>,
    undoes: Option<CheckpointId>,
}

pub(super) fn load(agent: &Agent, reference: &str) -> Result<Loaded, Error> {
    let mut found = match agent.resolve(reference) {
        // A view without a record in the log is shown, and never restored in place.
        Err(error @ Error::NoCheckpoint { .. }) => {
            return agent.load_lone_view(Path::new(reference)).ok_or(error);
        }
        other => other?,
    };
    let state = take_state(agent, &mut found)?;
    Ok(Loaded { checkpoint: found.store.facts(&found.held), walked_past: found.walked_past, state })
}

fn take_state(agent: &Agent, found: &mut Resolved) -> Result<Option<Vec<u8>>, Error> {
    if let Some(state) = found.state.take() {
        return Ok(Some(state));
    }
    let id = found.held.manifest.id;
    super::resolve::read_state(&agent.committer().targets, found).map_err(|error| {
        if let crate::store::ContentError::Damaged(_) = &error {
            found.store.note_damaged(id);
        }
        super::admission::unreadable(id, &error)
    })
}

pub(super) fn restore(
    agent: &Agent,
    reference: &str,
    options: RestoreOptions,
) -> Result<Restored, Error> {
    let found = agent.resolve(reference)?;
    if found.held.manifest.agent != *agent.id() && !options.any_agent {
        return Err(Error::Refused {
            why: format!("{reference} is a checkpoint of agent {}", found.held.manifest.agent),
            way_out: "name that agent, or give --any-agent".to_owned(),
        });
    }
    run(agent, reference, found, None, options)
}

pub(super) fn undo(agent: &Agent, options: RestoreOptions) -> Result<Restored, Error> {
    let (done, recovery) =
        agent.undoable().ok_or_else(|| Error::NothingToUndo { agent: agent.id().clone() })?;
    let reference = recovery.to_string();
    let found = agent.resolve(&reference)?;
    run(agent, &reference, found, Some(done), options)
}

#[tracing::instrument(
    name = "restore",
    level = "info",
    skip_all,
    fields(agent = %agent.id(), reference, dry_run = options.dry_run)
)]
fn run(
    agent: &Agent,
    reference: &str,
    mut found: Resolved,
    undoes: Option<CheckpointId>,
    options: RestoreOptions,
) -> Result<Restored, Error> {
    let state = take_state(agent, &mut found)?;
    let file = in_place_target(&found);
    let current = match &file {
        Some(path) => restore::read_current(agent.disk(), path)?,
        None => None,
    };
    let job = Job { agent, found, state, file, current, undoes };
    let files = job.plan();
    if options.dry_run {
        return Ok(job.answer(reference, files, None, None, true));
    }
    if !options.live {
        check_quiet(agent)?;
    }
    if !files.conflicts.is_empty() && !options.force {
        return Err(Error::Refused {
            why: format!("{} was changed by someone else", files.conflicts[0].display()),
            way_out: "give --force to replace it; a recovery checkpoint keeps it".to_owned(),
        });
    }
    let recovery = job.take_recovery()?;
    let finished =
        job.replace(recovery.as_ref().map(|receipt| receipt.checkpoint.checkpoint_id))?;
    let recovery = recovery.map(|receipt| receipt.checkpoint.checkpoint_id);
    tracing::info!(seq = %job.found.held.manifest.seq, "restored");
    Ok(job.answer(reference, files, recovery, Some(finished.checkpoint.checkpoint_id), false))
}

/// An agent that showed itself within this time may be writing.
const LIVE: Duration = Duration::from_secs(60);

/// Refuses a restore by hand under an agent that was alive a moment ago.
fn check_quiet(agent: &Agent) -> Result<(), Error> {
    let Some(seen) = agent.last_seen().filter(|_| agent.committer().by_hand) else {
        return Ok(());
    };
    let ago = agent.committer().clock.now().since(seen);
    if ago >= LIVE {
        return Ok(());
    }
    Err(Error::Refused {
        why: format!("agent {} was seen {} seconds ago", agent.id(), ago.as_secs()),
        way_out: "stop it first, or give --live if it will not mind".to_owned(),
    })
}

/// The file a restore in place replaces. An imported checkpoint names none: it came from elsewhere.
fn in_place_target(found: &Resolved) -> Option<PathBuf> {
    let manifest = &found.held.manifest;
    manifest.state_file.clone().filter(|_| !manifest.imported)
}

impl Job<'_> {
    fn plan(&self) -> Files {
        match (&self.file, &self.state) {
            (Some(path), Some(state)) => {
                restore::plan(path.clone(), self.current.as_deref(), state, false)
            }
            _ => Files::default(),
        }
    }

    /// Keeps what is about to be replaced: the state file as it is, whatever it holds, or the
    /// agent's own state, or the newest one.
    fn take_recovery(&self) -> Result<Option<Receipt>, Error> {
        let request = self.agent.checkpoint(Kind::Recovery).comment("before a restore");
        let request = match &self.current {
            Some(bytes) => request.found_bytes(bytes.clone()),
            None => request,
        };
        let request = match &self.file {
            Some(path) => request.state_file(path),
            None => request,
        };
        match request.commit() {
            Ok(receipt) => Ok(Some(receipt)),
            // There is nothing yet that could be replaced.
            Err(Error::NoState { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, recovery: Option<CheckpointId>) -> Result<Receipt, Error> {
        let from = self.found.held.manifest.id;
        if let Some(recovery) = recovery {
            self.agent.manager().write_event(|_| What::RestoreBegun {
                agent_id: self.agent.id().clone(),
                from,
                recovery,
                undoes: self.undoes,
                state_file: self.file.clone(),
                state_files: false,
                workspace: None,
            })?;
        }
        if let Some(state) = &self.state {
            if let Some(path) = &self.file {
                self.check_untouched(path)?;
                restore::put_back(self.agent.disk(), path, state)?;
            }
            self.agent.apply(state)?;
        }
        finish(self.agent, from, recovery, self.undoes)
    }

    /// The file still holds what the recovery checkpoint keeps.
    fn check_untouched(&self, path: &Path) -> Result<(), Error> {
        if restore::read_current(self.agent.disk(), path)? == self.current {
            return Ok(());
        }
        let why = "it changed while the restore was prepared".to_owned();
        self.agent.manager().write_event(|_| What::RestoreRolledBack {
            agent_id: self.agent.id().clone(),
            from: self.found.held.manifest.id,
            why: why.clone(),
        })?;
        Err(Error::Refused {
            why: format!("{}: {why}", path.display()),
            way_out: "try again when nobody writes to it".to_owned(),
        })
    }

    fn answer(
        &self,
        reference: &str,
        files: Files,
        recovery: Option<CheckpointId>,
        restored_as: Option<CheckpointId>,
        dry_run: bool,
    ) -> Restored {
        let checkpoint = self.found.store.facts(&self.found.held);
        Restored {
            requested: reference.to_owned(),
            checkpoint_id: checkpoint.checkpoint_id,
            walked_past: self.found.walked_past.clone(),
            tainted: checkpoint.tainted,
            recovery_checkpoint_id: recovery,
            restored_as,
            files,
            dry_run,
            checkpoint: Some(checkpoint),
            state: self.state.clone(),
        }
    }
}

fn finish(
    agent: &Agent,
    from: CheckpointId,
    recovery: Option<CheckpointId>,
    undoes: Option<CheckpointId>,
) -> Result<Receipt, Error> {
    let restored = manifest::Restored { from, recovery, undoes };
    agent.checkpoint(Kind::Routine).state_of(from).finishes(restored).commit()
}

/// Finishes a restore that a crash left begun: the file is put back once more, which changes nothing
/// where it was done already.
pub(super) fn roll_forward(agent: &Agent, begun: &What) -> Result<(), Error> {
    let What::RestoreBegun { from, recovery, undoes, state_file, .. } = begun else {
        return Ok(());
    };
    let loaded = load(agent, &from.to_string())?;
    if let (Some(path), Some(state)) = (state_file, loaded.state_bytes()) {
        restore::put_back(agent.disk(), path, state)?;
    }
    finish(agent, *from, Some(*recovery), *undoes)?;
    tracing::warn!(agent = %agent.id(), %from, "finished a restore that was interrupted");
    Ok(())
}

/// A path, an id, `latest` or `good`, however the caller holds it.
pub(super) fn reference_text(reference: &Path) -> Result<&str, Error> {
    reference
        .to_str()
        .ok_or_else(|| Error::NoReference { reference: reference.to_string_lossy().into_owned() })
}
