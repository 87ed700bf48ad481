//! Looking: lists, facts, states, files, differences, the log, how everything stands.

use serde::{Deserialize, Serialize};

use super::{Call, Wire, agent_path, escaped, query};
use crate::manager::{
    CheckpointManager, Differences, Error, Filter, KeptFile, LeftOut, LogEntry, Status, WalkedPast,
};
use crate::state::{AgentId, Checkpoint};

/// The path of a checkpoint, and what follows it.
pub(crate) fn reference_path(agent: &AgentId, reference: &str, rest: &str) -> String {
    agent_path(agent, &format!("/checkpoints/{}{rest}", escaped(reference)))
}

/// The checkpoints of an agent, newest first.
#[derive(Debug, Clone)]
pub(crate) struct List {
    pub agent: AgentId,
    pub filter: Filter,
}

impl Call for List {
    type Answer = Vec<Checkpoint>;

    fn perform(self, manager: &CheckpointManager) -> Result<Self::Answer, Error> {
        manager.agent(self.agent.as_str())?.list_checkpoints(self.filter)
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        let Filter { kind, before, limit } = self.filter;
        let query = query(&[
            ("kind", kind.map(|kind| kind.to_string())),
            ("before", before.map(|seq| seq.to_string())),
            ("limit", limit.map(|limit| limit.to_string())),
        ]);
        Ok(Wire::get(agent_path(&self.agent, "/checkpoints") + &query))
    }
}

/// The facts of a checkpoint, and what its workspace left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub checkpoint: Checkpoint,
    #[serde(default, skip_serializing_if = "LeftOut::is_empty")]
    pub left_out: LeftOut,
    /// Newer ones that were passed over because they are damaged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub walked_past: Vec<WalkedPast>,
}

/// One checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct Show {
    pub agent: AgentId,
    pub reference: String,
}

impl Call for Show {
    type Answer = Shown;

    fn perform(self, manager: &CheckpointManager) -> Result<Shown, Error> {
        let agent = manager.agent(self.agent.as_str())?;
        let checkpoint = agent.show(&self.reference)?;
        let left_out = agent.left_out(&checkpoint.checkpoint_id.to_string())?;
        Ok(Shown { checkpoint, left_out, walked_past: Vec::new() })
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Ok(Wire::get(reference_path(&self.agent, &self.reference, "")))
    }
}

/// The state of a checkpoint, byte for byte.
#[derive(Debug, Clone)]
pub(crate) struct ReadState {
    pub agent: AgentId,
    pub reference: String,
}

impl Call for ReadState {
    type Answer = Vec<u8>;

    fn perform(self, manager: &CheckpointManager) -> Result<Vec<u8>, Error> {
        let loaded = manager.agent(self.agent.as_str())?.read_checkpoint(&self.reference)?;
        let state = loaded.state_bytes().map(<[u8]>::to_vec);
        state.ok_or_else(|| Error::NoCheckpoint {
            agent: self.agent,
            reference: format!("{} with a state", self.reference),
        })
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Ok(Wire::get(reference_path(&self.agent, &self.reference, "/state")))
    }

    fn read(body: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
        Ok(body.to_vec())
    }
}

/// The workspace and the state files of a checkpoint.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub agent: AgentId,
    pub reference: String,
}

impl Call for Files {
    type Answer = Vec<KeptFile>;

    fn perform(self, manager: &CheckpointManager) -> Result<Self::Answer, Error> {
        manager.agent(self.agent.as_str())?.files(&self.reference)
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Ok(Wire::get(reference_path(&self.agent, &self.reference, "/files")))
    }
}

/// What differs between two checkpoints.
#[derive(Debug, Clone)]
pub(crate) struct Diff {
    pub agent: AgentId,
    pub from: String,
    pub to: String,
}

impl Call for Diff {
    type Answer = Differences;

    fn perform(self, manager: &CheckpointManager) -> Result<Differences, Error> {
        manager.agent(self.agent.as_str())?.differences(&self.from, Some(&self.to))
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        let to = format!("/diff/{}", escaped(&self.to));
        Ok(Wire::get(reference_path(&self.agent, &self.from, &to)))
    }
}

/// What happened, oldest first.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub limit: Option<usize>,
}

impl Call for Log {
    type Answer = Vec<LogEntry>;

    fn perform(self, manager: &CheckpointManager) -> Result<Self::Answer, Error> {
        manager.log(self.limit)
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        let limit = self.limit.map(|limit| limit.to_string());
        Ok(Wire::get("/v1/log".to_owned() + &query(&[("limit", limit)])))
    }
}

/// How everything stands.
#[derive(Debug, Clone)]
pub(crate) struct StatusNow;

impl Call for StatusNow {
    type Answer = Status;

    fn perform(self, manager: &CheckpointManager) -> Result<Status, Error> {
        Ok(manager.status())
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        Ok(Wire::get("/v1/status".to_owned()))
    }
}
