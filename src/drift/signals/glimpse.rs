//! What most signals ask of a sighting: whether anything changed, and whether the agent lives.

use serde::{Deserialize, Serialize};

use super::recurrence::print;
use crate::drift::observation::{Observation, Occasion};
use crate::drift::sighting::Sighting;

/// A sighting with what it means beside what went before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glimpse<'a> {
    pub sighting: &'a Sighting,
    /// Its number.
    pub number: u64,
    /// The agent's time: milliseconds since it was first looked at.
    pub at_ms: u64,
    /// State, files, output or progress are not what they were.
    pub changed: bool,
    /// The agent itself did something.
    pub alive: bool,
    /// The agent waits for somebody.
    pub waiting: bool,
    /// The print of the action with its input, where both are told.
    pub action: Option<u64>,
}

impl Glimpse<'_> {
    /// The agent's own words, where the sighting is that.
    pub fn told(&self) -> Option<&Observation> {
        match self.sighting {
            Sighting::Observation(observation) => Some(observation),
            _ => None,
        }
    }
}

/// What is remembered to tell what changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Changes {
    state: Option<u64>,
    workspace: Option<u64>,
    progress: Option<f64>,
    waiting: bool,
    /// It waited since that was asked last.
    waited: bool,
}

impl Changes {
    /// Whether it waits for somebody.
    pub fn waiting(&self) -> bool {
        self.waiting
    }

    /// Whether it waited since this was asked last.
    pub fn take_waited(&mut self) -> bool {
        std::mem::take(&mut self.waited)
    }

    /// Looks at a sighting.
    pub fn look<'a>(&mut self, sighting: &'a Sighting, number: u64, at_ms: u64) -> Glimpse<'a> {
        let changed = match sighting {
            Sighting::Observation(observation) => self.hear(observation),
            Sighting::State(seen) => replaced(&mut self.state, print_of(&seen.digest.0)),
            Sighting::Workspace(seen) => replaced(&mut self.workspace, print_of(&seen.digest.0)),
            Sighting::Output(seen) => seen.lines > seen.repeated,
            _ => false,
        };
        let alive = match sighting {
            Sighting::Observation(_) | Sighting::Begun => true,
            Sighting::Output(seen) => seen.lines > 0,
            _ => changed,
        };
        let action = match sighting {
            Sighting::Observation(told) => action_print(told),
            _ => None,
        };
        Glimpse { sighting, number, at_ms, changed, alive, waiting: self.waiting, action }
    }

    /// What an agent says; whether it got on.
    fn hear(&mut self, observation: &Observation) -> bool {
        match observation.event {
            Some(Occasion::Waiting) => (self.waiting, self.waited) = (true, true),
            Some(Occasion::Resumed) => self.waiting = false,
            Some(Occasion::Compaction) | None => self.waiting &= observation.action.is_none(),
        }
        let Some(progress) = observation.progress.filter(|it| it.is_finite()) else { return false };
        let before = self.progress.replace(progress);
        before.is_none_or(|before| before.to_bits() != progress.to_bits())
    }
}

/// Puts a new print in place of the old one; whether they differ. The first one is a change.
fn replaced(old: &mut Option<u64>, new: u64) -> bool {
    old.replace(new) != Some(new)
}

/// The first bytes of a digest, which tell it apart well enough.
pub(crate) fn print_of(digest: &[u8; 32]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// The print of an action with its input; none where the input is not known.
fn action_print(observation: &Observation) -> Option<u64> {
    let action = observation.action.as_ref()?;
    Some(print([action.name.as_str(), action.input_digest.as_deref()?]))
}
