//! Taking in a checkpoint that was exported.
//!
//! Bundles are as large as workspaces, so they do not travel in a request: the owner names the file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::owner::absolute;
use super::{Call, Wire, agent_path};
use crate::manager::{CheckpointManager, Error};
use crate::state::{AgentId, Receipt};

/// A bundle that is to be taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportBody {
    /// The file, absolute, as the sidecar sees it.
    #[serde(deserialize_with = "absolute")]
    #[schema(value_type = String, pattern = "^/")]
    pub file: PathBuf,
}

/// A bundle, taken in for an agent.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    pub agent: AgentId,
    pub body: ImportBody,
}

impl Call for Import {
    type Answer = Receipt;

    fn perform(self, manager: &CheckpointManager) -> Result<Receipt, Error> {
        manager.agent(self.agent.as_str())?.import_file(&self.body.file)
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Wire::post(agent_path(&self.agent, "/import"), &self.body)
    }
}
