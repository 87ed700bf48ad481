//! Detectors of the user's own: in Rust, or as a command.
//!
//! A command is given one JSON object on its standard input, a [`Question`], and answers with one on
//! its standard output, an [`Opinion`]:
//!
//! ```json
//! {"agent_id": "a", "observation": 412, "checkpoint": {…}, "state": {…}}
//! {"level": "suspect", "onset": 390, "why": "the plan repeats itself", "numbers": {"plans": 7}}
//! ```
//!
//! `checkpoint` is what `show` prints; `state` is left out where the checkpoint has none. `level` is
//! needed, the rest is not; without `onset` the observation that was asked about is taken. When it is
//! run, for how long, and what its failure means is for whoever runs it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sighting::Sighting;
use super::signals::Level;
use crate::state::{AgentId, Checkpoint};

/// A signal of the user's own, shown everything that is seen of one agent.
pub trait Detector: Send {
    /// Its name, which stays the same: what it keeps is found again by it.
    fn name(&self) -> &str;

    /// Looks at the sighting with this number. What it says stands until it says something else;
    /// with `None` it says the same as before.
    fn see(&mut self, sighting: &Sighting, number: u64) -> Option<Opinion>;

    /// What it must remember; it is kept with each checkpoint.
    fn save(&self) -> Value;

    /// Takes over what [`save`](Self::save) once gave: the agent was restored, or began anew.
    fn bring_back(&mut self, saved: &Value);
}

/// What a detector thinks of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opinion {
    /// How the agent stands.
    pub level: Level,
    /// The first observation that belongs to what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onset: Option<u64>,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The numbers in it, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<String, f64>,
}

/// What a command is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Whose state it is.
    pub agent_id: AgentId,
    /// The newest observation.
    pub observation: u64,
    /// The facts of the checkpoint.
    pub checkpoint: Checkpoint,
    /// Its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
}
