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

use super::Error;
use super::sighting::Sighting;
use super::signals::Level;
use crate::state::{AgentId, Checkpoint, Span};

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

/// A command that is told of each response from a checkpoint on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hook {
    /// The program and its arguments; none where empty.
    pub command: Vec<String>,
    /// It is killed when it takes longer.
    pub timeout: Span,
}

impl Default for Hook {
    fn default() -> Self {
        Self { command: Vec::new(), timeout: Span::from_ms(10_000) }
    }
}

impl Hook {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        check_timeout("hook.timeout", self.timeout)
    }
}

/// A detector that is a command, asked about each newest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Its name, by which its opinions are known.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// It is killed when it takes longer.
    #[serde(default = "patience")]
    pub timeout: Span,
}

impl Command {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        let why = if self.name.is_empty() {
            "a detector has a name"
        } else if self.command.is_empty() {
            "a detector names the program and its arguments"
        } else {
            return check_timeout("detectors", self.timeout);
        };
        Err(Error::Option { key: "detectors", why: why.to_owned() })
    }
}

fn patience() -> Span {
    Hook::default().timeout
}

fn check_timeout(key: &'static str, timeout: Span) -> Result<(), Error> {
    if (1..=600_000).contains(&timeout.as_ms()) {
        return Ok(());
    }
    Err(Error::Option { key, why: format!("a timeout of {timeout} is not from 1ms to 10m") })
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
