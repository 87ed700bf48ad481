//! Operations: opened, listed, closed.

use serde::{Deserialize, Serialize};

use super::checkpoint::RawState;
use super::restore::RestoreAnswer;
use super::{Call, CheckpointBody, OwnerWords, Wire, agent_path, escaped};
use crate::encode::event::Outcome;
use crate::manager::{Agent, CheckpointManager, Error, OperationStatus, RestoreOptions, Standing};
use crate::state::{AgentId, Kind, OperationRef};

/// An operation that is to be opened, with the checkpoint before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginBody {
    /// What it is called.
    pub name: String,
    /// The state before it; where absent, as in a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) state: Option<RawState>,
    /// As in a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<bool>,
    /// As in a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_files: Option<bool>,
    /// Words for those who read the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What only the owner of the store may say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerWords>,
}

impl BeginBody {
    /// The checkpoint that opens it.
    pub(crate) fn into_checkpoint(self) -> CheckpointBody {
        CheckpointBody {
            state: self.state,
            workspace: self.workspace,
            state_files: self.state_files,
            comment: self.comment,
            operation: Some(self.name),
            owner: self.owner,
            ..CheckpointBody::of(Kind::PreOperation)
        }
    }
}

/// The open operation of this name (the newest) or id.
pub(super) fn open_operation(agent: &Agent, name_or_id: &str) -> Result<OperationRef, Error> {
    let meant = |one: &OperationStatus| {
        one.name == name_or_id || one.operation_id.to_string() == name_or_id
    };
    let mut all = agent.operations()?.into_iter().rev();
    let found = all.find(|one| one.status == Standing::Open && meant(one));
    let found = found.ok_or_else(|| Error::NoOperation {
        agent: agent.id().clone(),
        name: name_or_id.to_owned(),
    })?;
    Ok(OperationRef { id: found.operation_id, name: found.name })
}

/// The operations of an agent, oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Operations {
    pub agent: AgentId,
}

impl Call for Operations {
    type Answer = Vec<OperationStatus>;

    fn perform(self, manager: &CheckpointManager) -> Result<Self::Answer, Error> {
        manager.agent(self.agent.as_str())?.operations()
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Ok(Wire::get(agent_path(&self.agent, "/operations")))
    }
}

/// How an operation ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CloseBody {
    /// Why, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Restore what was before it; only of one that failed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub restore: bool,
    /// What only the owner of the store may say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerWords>,
}

/// An operation that is to be closed.
#[derive(Debug, Clone)]
pub(crate) struct Close {
    pub agent: AgentId,
    pub operation: String,
    pub outcome: Outcome,
    pub body: CloseBody,
}

/// An operation that was closed, and what was restored because of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Closed {
    pub operation: OperationStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<RestoreAnswer>,
}

impl Close {
    /// Closes it, and restores nothing.
    pub(crate) fn close(&self, manager: &CheckpointManager) -> Result<OperationStatus, Error> {
        if self.body.restore && self.outcome == Outcome::Completed {
            return Err(Error::Refused {
                why: "an operation that completed is not taken back".to_owned(),
                way_out: "say that it failed, or restore its checkpoint".to_owned(),
            });
        }
        let agent = manager.agent(self.agent.as_str())?;
        agent.close_operation(&self.operation, self.outcome, &self.body.why)
    }
}

/// How what was before an operation is restored: whoever closes it stands for its agent.
pub(crate) fn roll_back_options() -> RestoreOptions {
    RestoreOptions { live: true, ..RestoreOptions::default() }
}

impl Call for Close {
    type Answer = Closed;

    fn perform(self, manager: &CheckpointManager) -> Result<Closed, Error> {
        let operation = self.close(manager)?;
        let agent = self.body.owner.clone().unwrap_or_default().agent(manager, &self.agent)?;
        let reference = operation.operation_id.to_string();
        let restore = || agent.restore(&reference, &roll_back_options());
        let restored = self.body.restore.then(restore).transpose()?;
        Ok(Closed { operation, restored: restored.map(RestoreAnswer::of) })
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        let verb = match self.outcome {
            Outcome::Completed => "complete",
            Outcome::Failed => "fail",
        };
        let rest = format!("/operations/{}/{verb}", escaped(&self.operation));
        Wire::post(agent_path(&self.agent, &rest), &self.body)
    }
}
