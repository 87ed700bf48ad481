//! What only the owner of a store may say.
//!
//! An agent speaks of its state; where its parts lie on the disk, and that a person or a script asks
//! and not the agent, is for the owner to say: whoever could open the store as well. What is said here
//! leads to files outside the store, so a token that is scoped to an agent may say none of it.

use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::manager::{Agent, CheckpointManager, Error, WorkspaceOptions};
use crate::state::AgentId;

/// What only the owner of a store may say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OwnerWords {
    /// A person or a script asks, not the agent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_hand: bool,
    /// The agent's workspace, absolute.
    #[serde(deserialize_with = "absolute_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^/")]
    pub workspace: Option<PathBuf>,
    /// The workspace may be a home directory or `/`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// The workspace may overlap with another agent's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Files that are kept byte for byte, absolute.
    #[serde(deserialize_with = "all_absolute", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub state_files: Vec<PathBuf>,
    /// The file that the state was read from, absolute; a restore puts it back there.
    #[serde(deserialize_with = "absolute_option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^/")]
    pub state_file: Option<PathBuf>,
}

/// A path that means the same wherever it is read.
struct Absolute(PathBuf);

impl<'de> Deserialize<'de> for Absolute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = PathBuf::deserialize(deserializer)?;
        if path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0) {
            return Ok(Self(path));
        }
        Err(D::Error::custom(format!("`{}` is no absolute path", path.display())))
    }
}

pub(super) fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Absolute::deserialize(deserializer).map(|it| it.0)
}

fn absolute_option<'de, D: Deserializer<'de>>(read: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(Option::<Absolute>::deserialize(read)?.map(|it| it.0))
}

fn all_absolute<'de, D: Deserializer<'de>>(read: D) -> Result<Vec<PathBuf>, D::Error> {
    Ok(Vec::<Absolute>::deserialize(read)?.into_iter().map(|it| it.0).collect())
}

impl OwnerWords {
    /// A person or a script asks, and says nothing more.
    #[cfg(feature = "cli")]
    pub(crate) fn by_hand() -> Self {
        Self { by_hand: true, ..Self::default() }
    }

    /// The agent's handle as these words make it.
    pub(crate) fn agent(&self, manager: &CheckpointManager, id: &AgentId) -> Result<Agent, Error> {
        self.place(manager.agent(id.as_str())?.by_hand(self.by_hand))
    }

    /// Gives a handle the parts that are named here.
    pub(crate) fn place(&self, mut agent: Agent) -> Result<Agent, Error> {
        let Self { force, shared, .. } = *self;
        if let Some(workspace) = &self.workspace {
            let options = WorkspaceOptions { force, shared, ..WorkspaceOptions::default() };
            agent = agent.workspace_with(workspace, options)?;
        }
        for file in &self.state_files {
            agent = agent.state_file(file)?;
        }
        Ok(agent)
    }
}
