//! Stall: the agent is busy, and nothing comes of it.
//!
//! Nothing is: no change of state, files, output or progress. Armed by the first such change, so that
//! an agent none of whose works can be seen is not told to stand still; suspended while it waits.
//! Both must have passed since the last change: time, and a number of sightings.

use serde::{Deserialize, Serialize};

use super::glimpse::Glimpse;
use super::{Evidence, Level, Reading, count};
use crate::drift::Error;
use crate::state::Span;

/// The options of stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Time without a change that is suspect.
    pub suspect: Span,
    /// Time without a change that is drift.
    pub drifting: Span,
    /// Signs of life without a change before either.
    pub sightings_min: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            suspect: Span::from_minutes(20),
            drifting: Span::from_minutes(60),
            sightings_min: 20,
        }
    }
}

impl Options {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        super::rising("stall.drifting", self.suspect.as_ms(), self.drifting.as_ms())
    }

    pub(crate) fn scaled(mut self, by: f64) -> Self {
        self.suspect = Span::from_ms(super::scaled(self.suspect.as_ms(), by));
        self.drifting = Span::from_ms(super::scaled(self.drifting.as_ms(), by));
        self.sightings_min = super::scaled(self.sightings_min, by);
        self
    }
}

/// When something last came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Stall {
    changed_ms: u64,
    changed_at: u64,
    /// Signs of life since.
    sightings: u64,
    now_ms: u64,
    armed: bool,
    /// When it began to wait.
    waiting_ms: Option<u64>,
}

impl Stall {
    pub fn see(&mut self, glimpse: &Glimpse<'_>) {
        self.pass(glimpse.at_ms, glimpse.waiting);
        if glimpse.changed {
            self.armed = true;
            (self.changed_ms, self.changed_at) = (glimpse.at_ms, glimpse.number);
            self.sightings = 0;
        } else if glimpse.alive {
            self.sightings += 1;
        }
    }

    /// Time passes; what is waited does not count.
    pub fn pass(&mut self, at_ms: u64, waiting: bool) {
        self.now_ms = at_ms;
        match (self.waiting_ms, waiting) {
            (None, true) => self.waiting_ms = Some(at_ms),
            (Some(since), false) => {
                self.changed_ms += at_ms.saturating_sub(since);
                self.waiting_ms = None;
            }
            _ => {}
        }
    }

    fn idle_ms(&self) -> u64 {
        self.waiting_ms.unwrap_or(self.now_ms).saturating_sub(self.changed_ms)
    }

    pub fn reading(&self, options: &Options) -> Reading {
        if !self.armed || self.waiting_ms.is_some() || self.sightings < options.sightings_min {
            return Reading::OK;
        }
        let level = match self.idle_ms() {
            ms if ms >= options.drifting.as_ms() => Level::Drifting,
            ms if ms >= options.suspect.as_ms() => Level::Suspect,
            _ => return Reading::OK,
        };
        Reading { level, onset: self.changed_at + 1 }
    }

    pub fn explain(&self) -> Evidence {
        let minutes = self.idle_ms() / 60_000;
        let words = format!(
            "{} signs of life in {minutes} minutes, and no change of state, files, output or progress",
            self.sightings
        );
        Evidence::new(words, &[("minutes", count(minutes)), ("sightings", count(self.sightings))])
    }

    pub fn fed(&self) -> bool {
        self.armed
    }

    pub fn earliest_onset(&self) -> Option<u64> {
        self.armed.then_some(self.changed_at + 1)
    }
}
