//! Silence: nothing is heard of an agent that used to be heard of.
//!
//! Armed by the first sign of life, at the longer of `after` and `gaps` times the median gap between
//! signs of life (the last 32 gaps). Suspended while the agent waits, while its process is ended, and
//! on terminals, where the one who is silent may be the human.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::glimpse::Glimpse;
use super::{Evidence, Level, Reading, count};
use crate::drift::Error;
use crate::drift::sighting::Sighting;
use crate::state::Span;

/// Gaps that are remembered.
const GAPS: usize = 32;

/// The options of silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// No shorter silence is one.
    pub after: Span,
    /// Nor is one shorter than so many median gaps.
    pub gaps: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { after: Span::from_minutes(15), gaps: 10 }
    }
}

impl Options {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        super::within("silence.after", count(self.after.as_ms()), 1.0, 1e12)
    }

    pub(crate) fn scaled(self, by: f64) -> Self {
        let after = Span::from_ms(super::scaled(self.after.as_ms(), by));
        Self { after, gaps: super::scaled(self.gaps, by) }
    }
}

/// When the agent was last heard of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Silence {
    gaps_ms: VecDeque<u32>,
    heard_ms: u64,
    heard_at: u64,
    now_ms: u64,
    armed: bool,
    /// It waits, or is not running.
    excused: bool,
    gap_ms: u64,
}

impl Silence {
    pub fn see(&mut self, glimpse: &Glimpse<'_>) {
        self.now_ms = glimpse.at_ms;
        if glimpse.alive {
            if self.armed && !self.excused {
                self.remember(glimpse.at_ms.saturating_sub(self.heard_ms));
            }
            self.armed = true;
            (self.heard_ms, self.heard_at) = (glimpse.at_ms, glimpse.number);
        }
        let ended = matches!(glimpse.sighting, Sighting::Exited(_));
        self.excused = glimpse.waiting || ended || (self.excused && !glimpse.alive);
    }

    fn remember(&mut self, gap_ms: u64) {
        if self.gaps_ms.len() == GAPS {
            self.gaps_ms.pop_front();
        }
        self.gaps_ms.push_back(u32::try_from(gap_ms).unwrap_or(u32::MAX));
        let mut sorted: [u32; GAPS] = [u32::MAX; GAPS];
        for (slot, gap) in sorted.iter_mut().zip(&self.gaps_ms) {
            *slot = *gap;
        }
        let known = self.gaps_ms.len();
        let (_, middle, _) = sorted[..known].select_nth_unstable(known / 2);
        self.gap_ms = u64::from(*middle);
    }

    /// Time passes.
    pub fn pass(&mut self, at_ms: u64) {
        self.now_ms = at_ms;
    }

    fn silent_ms(&self) -> u64 {
        self.now_ms.saturating_sub(self.heard_ms)
    }

    pub fn reading(&self, options: &Options) -> Reading {
        let limit = options.after.as_ms().max(options.gaps.saturating_mul(self.gap_ms));
        if !self.armed || self.excused || self.silent_ms() < limit {
            return Reading::OK;
        }
        Reading { level: Level::Drifting, onset: self.heard_at + 1 }
    }

    pub fn explain(&self) -> Evidence {
        let minutes = self.silent_ms() / 60_000;
        let words = format!(
            "nothing was heard for {minutes} minutes; usual are {:.1} seconds",
            count(self.gap_ms) / 1000.0
        );
        Evidence::new(
            words,
            &[("minutes", count(minutes)), ("median_gap_s", count(self.gap_ms) / 1000.0)],
        )
    }

    pub fn fed(&self) -> bool {
        self.armed
    }
}
