//! Limits: how many cycles an agent lives and how long, before it is refreshed.
//!
//! A cycle is an observation with a step or an action. Both count from the beginning of the process.
//! They say nothing about what the agent does: they refresh, and never lead back.

use serde::{Deserialize, Serialize};

use super::glimpse::Glimpse;
use super::{Evidence, Level, Reading, count};
use crate::drift::sighting::Sighting;
use crate::state::Span;

/// The options of the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Cycles of one life; 0 for no limit.
    pub cycles_max: u64,
    /// Length of one life; zero for no limit.
    pub uptime_max: Span,
}

/// The life of the process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Limits {
    cycles: u64,
    begun_ms: Option<u64>,
    now_ms: u64,
    number: u64,
}

impl Limits {
    pub fn see(&mut self, glimpse: &Glimpse<'_>) {
        self.number = glimpse.number;
        self.pass(glimpse.at_ms);
        if matches!(glimpse.sighting, Sighting::Begun) {
            (self.cycles, self.begun_ms) = (0, Some(glimpse.at_ms));
        }
        let cycle = glimpse.told().is_some_and(|it| it.step.is_some() || it.action.is_some());
        self.cycles += u64::from(cycle);
    }

    /// Time passes.
    pub fn pass(&mut self, at_ms: u64) {
        self.now_ms = at_ms;
        self.begun_ms.get_or_insert(at_ms);
    }

    fn uptime_ms(&self) -> u64 {
        self.now_ms.saturating_sub(self.begun_ms.unwrap_or(self.now_ms))
    }

    pub fn cycles_reading(&self, options: &Options) -> Reading {
        self.suspect(options.cycles_max > 0 && self.cycles >= options.cycles_max)
    }

    pub fn uptime_reading(&self, options: &Options) -> Reading {
        let most = options.uptime_max.as_ms();
        self.suspect(most > 0 && self.uptime_ms() >= most)
    }

    fn suspect(&self, reached: bool) -> Reading {
        if reached {
            Reading { level: Level::Suspect, onset: self.number + 1 }
        } else {
            Reading::OK
        }
    }

    pub fn explain_cycles(&self) -> Evidence {
        let words = format!("{} cycles in one life", self.cycles);
        Evidence::new(words, &[("cycles", count(self.cycles))])
    }

    pub fn explain_uptime(&self) -> Evidence {
        let minutes = self.uptime_ms() / 60_000;
        let words = format!("{minutes} minutes in one life");
        Evidence::new(words, &[("minutes", count(minutes))])
    }
}
