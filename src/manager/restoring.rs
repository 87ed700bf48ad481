//! Restore, undo, and reading a checkpoint: what is asked for, and what is answered.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::agent::Agent;
use super::error::Error;
use super::resolve::{Resolved, WalkedPast};
use super::restore_run::{self, How};
use crate::encode::event::What;
use crate::restore::{self, Files, Untouched};
use crate::state::{Checkpoint, CheckpointId, Seq, lossy};

/// How a restore is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
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
    /// Restore git's own record (refs, index) too; otherwise only missing objects are added.
    pub git: bool,
    /// Only these paths of the workspace, from its root, and what is beneath them; everything where
    /// empty.
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub paths: Vec<PathBuf>,
    /// Only the state; the workspace and the state files stay as they are.
    pub only_state: bool,
    /// The workspace to restore into, where it is not the one the checkpoint was taken from.
    #[cfg_attr(feature = "server", schema(value_type = Option<String>))]
    pub workspace: Option<PathBuf>,
}

/// What a restore did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
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
    /// What became of files: those of the workspace by their paths from its root, state files by
    /// their absolute ones.
    pub files: Files,
    /// What would have changed in the workspace and was left as it is, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untouched: Vec<Untouched>,
    /// Where somebody's newer work was moved that was in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty", serialize_with = "lossy::paths")]
    #[cfg_attr(feature = "server", schema(value_type = Vec<String>))]
    pub kept_aside: Vec<PathBuf>,
    /// Nothing was done.
    pub dry_run: bool,
    /// Directories that come, with everything that is restored in them.
    #[serde(skip)]
    pub(super) made_dirs: Vec<PathBuf>,
    /// Directories that go, with everything in them.
    #[serde(skip)]
    pub(super) gone_dirs: Vec<PathBuf>,
    /// The facts of what was restored.
    #[serde(skip)]
    pub(super) checkpoint: Option<Checkpoint>,
    #[serde(skip)]
    pub(super) state: Option<Vec<u8>>,
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

    /// Directories among what is written that were not there: all that is restored in them is.
    #[must_use]
    pub fn made_dirs(&self) -> &[PathBuf] {
        &self.made_dirs
    }

    /// Directories among what is removed: all that was in them is.
    #[must_use]
    pub fn gone_dirs(&self) -> &[PathBuf] {
        &self.gone_dirs
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

pub(super) fn load(agent: &Agent, reference: &str) -> Result<Loaded, Error> {
    let mut found = match agent.resolve(reference) {
        // A view without a record in the log is shown, and never restored in place.
        Err(error @ Error::NoCheckpoint { .. }) => {
            return agent.load_lone_view(Path::new(reference)).ok_or(error);
        }
        other => other?,
    };
    agent.note_damage(&found.walked_past);
    let state = take_state(agent, &mut found)?;
    Ok(Loaded { checkpoint: found.store.facts(&found.held), walked_past: found.walked_past, state })
}

pub(super) fn take_state(agent: &Agent, found: &mut Resolved) -> Result<Option<Vec<u8>>, Error> {
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

/// Restores, and says `then` in the batch that finishes it. Where it says so, a state that the agent
/// kept since its state last changed at a number stays the newest.
pub(super) fn restore_saying(
    agent: &Agent,
    reference: &str,
    options: &RestoreOptions,
    (then, above): (&[What], Option<Seq>),
) -> Result<Restored, Error> {
    let found = agent.resolve(reference)?;
    if found.held.manifest.agent != *agent.id() && !options.any_agent {
        return Err(Error::Refused {
            why: format!("{reference} is a checkpoint of agent {}", found.held.manifest.agent),
            way_out: "name that agent, or give --any-agent".to_owned(),
        });
    }
    let mut tried = Vec::new();
    loop {
        let found = agent.resolve(reference)?;
        let id = found.held.manifest.id;
        agent.note_damage(&found.walked_past);
        let how = How { undoes: None, options, then: then.to_vec(), above };
        match restore_run::run(agent, reference, found, how) {
            // What its files are made of is damaged: the next one that is sound is found.
            Err(error) if is_walking(reference) && is_damage(&error) && !tried.contains(&id) => {
                tracing::error!(%id, %error, "walked past a damaged checkpoint");
                tried.push(id);
            }
            other => {
                if let Err(error) = &other {
                    agent.note_foreign(error);
                }
                return other;
            }
        }
    }
}

pub(super) fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Damaged { .. } | Error::Restore(restore::Error::Content { .. }))
}

fn is_walking(reference: &str) -> bool {
    matches!(reference, "latest" | "good") || reference.starts_with("latest:")
}

pub(super) fn undo(agent: &Agent, options: &RestoreOptions) -> Result<Restored, Error> {
    let (done, recovery) =
        agent.undoable().ok_or_else(|| Error::NothingToUndo { agent: agent.id().clone() })?;
    let reference = recovery.to_string();
    let found = agent.resolve(&reference)?;
    let then: Vec<What> = agent.release("a restore was taken back").into_iter().collect();
    let how = How { undoes: Some(done), options, then, above: None };
    let undone = restore_run::run(agent, &reference, found, how)?;
    agent.note_released();
    Ok(undone)
}

/// A path, an id, `latest` or `good`, however the caller holds it.
pub(super) fn reference_text(reference: &Path) -> Result<&str, Error> {
    reference
        .to_str()
        .ok_or_else(|| Error::NoReference { reference: reference.to_string_lossy().into_owned() })
}
