//! What can be seen of an agent: its own words, and what others see of it unasked.
//!
//! Every sighting has a number, one after the other for each agent, whoever it came from: an onset is
//! such a number, and so is what a checkpoint records. As one line of a recorded stream a sighting
//! stands under its name beside the time, `{"at": "…", "observation": {…}}`, `{"at": "…", "state":
//! {…}}`; unknown fields in it are an error.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::observation::Observation;
use crate::state::{Digest, Span};

/// One thing that was seen of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sighting {
    /// What the agent says of itself.
    Observation(Observation),
    /// Its state, as it is kept or as it lies in its file.
    State(StateSeen),
    /// A state file that should be whole.
    StateFile(StateFileSeen),
    /// Its workspace, after a look at all of it.
    Workspace(WorkspaceSeen),
    /// What it printed since the last look.
    Output(OutputSeen),
    /// Its process group, since the last look.
    Process(ProcessSeen),
    /// Its process began, for the first time or again.
    Begun,
    /// Its process ended.
    Exited(Exit),
    /// Files were changed while no session of the agent was open.
    Foreign(Vec<PathBuf>),
    /// Damage was found in what is kept of the agent; in words.
    Damage(String),
}

/// A state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateSeen {
    /// Equal for equal states.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// What it holds; without it only whether it changed is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Arc<Value>>,
}

impl StateSeen {
    /// A state by its content; its digest is that of the content written without spaces.
    #[must_use]
    pub fn of(content: Value) -> Self {
        let text = content.to_string();
        let digest = Digest::of(text.as_bytes());
        Self { digest, bytes: text.len() as u64, content: Some(Arc::new(content)) }
    }
}

/// A state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateFileSeen {
    /// Which.
    pub path: PathBuf,
    /// How it was found.
    pub condition: Condition,
}

/// How a state file was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It is there and reads as what it is.
    Whole,
    /// It was there and is gone.
    Missing,
    /// It is there and does not read as what it is; why, in words.
    Damaged(String),
}

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceSeen {
    /// Equal for equal trees.
    pub digest: Digest,
    /// Files in it.
    pub files: u64,
    /// Files that are new or another since the last look.
    #[serde(default)]
    pub changed: u64,
    /// Files that are gone since the last look.
    #[serde(default)]
    pub deleted: u64,
    /// Paths that are new, another or gone, as far as they are known; relative to the workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub touched: Vec<PathBuf>,
}

/// Output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSeen {
    /// Lines since the last look.
    pub lines: u64,
    /// Those among them that had been printed before.
    #[serde(default)]
    pub repeated: u64,
}

/// A process group; rates are those since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessSeen {
    /// Processor time per second, in processors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Resident memory in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<f64>,
    /// Bytes written in all since the last look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<f64>,
    /// Processes in the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<f64>,
}

/// The end of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// Its code; none where a signal ended it.
    #[serde(default)]
    pub code: Option<i32>,
    /// How long it lived.
    pub lived: Span,
    /// The content it was left with, equal for equal content; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
}
