//! Upkeep: letting go, freeing space, verifying, settling.

use serde::{Deserialize, Serialize};

use super::{Call, Wire, agent_path};
use crate::manager::{CheckpointManager, Error, ForgetReport, ForgetRequest, PruneReport};
use crate::state::{AgentId, Checkpoint};
use crate::verify::{VerifyOptions, VerifyReport};

/// Retention, now.
#[derive(Debug, Clone)]
pub(crate) struct Forget {
    pub request: ForgetRequest,
}

impl Call for Forget {
    type Answer = Vec<ForgetReport>;

    fn perform(self, manager: &CheckpointManager) -> Result<Self::Answer, Error> {
        manager.forget(&self.request)
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Wire::post("/v1/forget".to_owned(), &self.request)
    }
}

/// Single checkpoints that are to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgetSingleBody {
    /// Which: ids, paths, `latest`, `latest:KIND` or `good`.
    pub references: Vec<String>,
    /// Leave no copy anywhere in the store.
    #[serde(default)]
    pub erase: bool,
}

/// Single checkpoints, forgotten.
#[derive(Debug, Clone)]
pub(crate) struct ForgetSingle {
    pub agent: AgentId,
    pub body: ForgetSingleBody,
}

/// What was forgotten.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Forgotten {
    pub forgotten: Vec<Checkpoint>,
}

impl Call for ForgetSingle {
    type Answer = Forgotten;

    fn perform(self, manager: &CheckpointManager) -> Result<Forgotten, Error> {
        let references: Vec<&str> = self.body.references.iter().map(String::as_str).collect();
        let agent = manager.agent(self.agent.as_str())?;
        Ok(Forgotten { forgotten: agent.forget(&references, self.body.erase)? })
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Wire::post(agent_path(&self.agent, "/forget"), &self.body)
    }
}

/// The space of what was forgotten, freed.
#[derive(Debug, Clone)]
pub(crate) struct Prune;

impl Call for Prune {
    type Answer = PruneReport;

    fn perform(self, manager: &CheckpointManager) -> Result<PruneReport, Error> {
        manager.prune(&mut |_| ())
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Wire::post("/v1/prune".to_owned(), &serde_json::json!({}))
    }
}

/// Everything read and compared.
#[derive(Debug, Clone)]
pub(crate) struct Verify {
    pub options: VerifyOptions,
}

impl Call for Verify {
    type Answer = Vec<VerifyReport>;

    fn perform(self, manager: &CheckpointManager) -> Result<Self::Answer, Error> {
        manager.verify(&self.options, &mut |_| ())
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Wire::post("/v1/verify".to_owned(), &self.options)
    }
}

/// What can wait, done now: views, a mark, the way home.
#[derive(Debug, Clone)]
pub(crate) struct Settle;

impl Call for Settle {
    type Answer = ();

    fn perform(self, manager: &CheckpointManager) -> Result<(), Error> {
        manager.settle()
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Wire::post("/v1/settle".to_owned(), &serde_json::json!({}))
    }
}
