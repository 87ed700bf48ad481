//! The way back: restore, undo, a fresh start.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::checkpoint::RawState;
use super::{Call, OwnerWords, Wire, agent_path, reference_path};
use crate::manager::{Agent, CheckpointManager, Error, RestoreOptions, Restored};
use crate::state::{AgentId, Checkpoint, lossy};

/// How a restore is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RestoreBody {
    /// How it is to be done.
    pub options: RestoreOptions,
    /// What only the owner of the store may say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerWords>,
}

/// The path of a checkpoint that is to be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestorePathBody {
    /// The path, as a receipt named it.
    #[schema(value_type = String)]
    pub path: PathBuf,
    /// How it is to be done.
    #[serde(default)]
    pub options: RestoreOptions,
}

/// What a restore did, or would do, with the state and what people are told of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct RestoreAnswer {
    #[serde(flatten)]
    pub restored: Restored,
    /// Absent where there is none, or it is no JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub state: Option<RawState>,
    /// Directories that come or go as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty", serialize_with = "lossy::paths")]
    #[schema(value_type = Vec<String>)]
    pub made_dirs: Vec<PathBuf>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", serialize_with = "lossy::paths")]
    #[schema(value_type = Vec<String>)]
    pub gone_dirs: Vec<PathBuf>,
    /// The facts of what was restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
}

/// An answer reads as what was done: `answer.files`, `answer.dry_run`.
impl std::ops::Deref for RestoreAnswer {
    type Target = Restored;

    fn deref(&self) -> &Restored {
        &self.restored
    }
}

impl RestoreAnswer {
    /// What was done, without what was restored.
    #[cfg(feature = "cli")]
    pub(crate) fn without_content(self) -> Self {
        let (made_dirs, gone_dirs) = (Vec::new(), Vec::new());
        Self { state: None, checkpoint: None, made_dirs, gone_dirs, ..self }
    }

    pub(crate) fn of(restored: Restored) -> Self {
        let is_json =
            |state: &&[u8]| serde_json::from_slice::<&serde_json::value::RawValue>(state).is_ok();
        Self {
            state: restored.state_bytes().filter(is_json).map(|state| RawState(state.to_vec())),
            made_dirs: restored.made_dirs().to_vec(),
            gone_dirs: restored.gone_dirs().to_vec(),
            checkpoint: restored.checkpoint().cloned(),
            restored,
        }
    }
}

/// A restore in place.
#[derive(Debug, Clone)]
pub(crate) struct Restore {
    pub agent: AgentId,
    pub reference: String,
    pub body: RestoreBody,
}

impl Restore {
    /// Restores with a handle that may have parts of its own.
    pub(crate) fn restore(self, agent: &Agent) -> Result<RestoreAnswer, Error> {
        agent.restore(&self.reference, &self.body.options).map(RestoreAnswer::of)
    }
}

impl Call for Restore {
    type Answer = RestoreAnswer;

    fn perform(self, manager: &CheckpointManager) -> Result<RestoreAnswer, Error> {
        let agent = self.body.owner.clone().unwrap_or_default().agent(manager, &self.agent)?;
        self.restore(&agent)
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Wire::post(reference_path(&self.agent, &self.reference, "/restore"), &self.body)
    }
}

/// The last restore, taken back.
#[derive(Debug, Clone)]
pub(crate) struct Undo {
    pub agent: AgentId,
    pub body: RestoreBody,
}

impl Undo {
    /// Takes it back with a handle that may have parts of its own.
    pub(crate) fn undo(self, agent: &Agent) -> Result<RestoreAnswer, Error> {
        agent.undo(&self.body.options).map(RestoreAnswer::of)
    }
}

impl Call for Undo {
    type Answer = RestoreAnswer;

    fn perform(self, manager: &CheckpointManager) -> Result<RestoreAnswer, Error> {
        let agent = self.body.owner.clone().unwrap_or_default().agent(manager, &self.agent)?;
        self.undo(&agent)
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Wire::post(agent_path(&self.agent, "/undo"), &self.body)
    }
}

/// A fresh start; what was kept stays as evidence.
#[derive(Debug, Clone)]
pub(crate) struct Reset {
    pub agent: AgentId,
}

impl Call for Reset {
    type Answer = ();

    fn perform(self, manager: &CheckpointManager) -> Result<(), Error> {
        manager.agent(self.agent.as_str())?.reset()
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Wire::post(agent_path(&self.agent, "/reset"), &serde_json::json!({}))
    }
}
