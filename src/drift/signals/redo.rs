//! Redo: an agent that forgot does again what it had done.
//!
//! Asked is for each action with its input whether it had been done before. After a compaction the
//! share of such actions is compared with the share before it, over the next `window` actions: more
//! by `suspect` or `drifting`, and more than chance would have it (difference of two proportions,
//! three times its standard error). The onset is the compaction. Some looking again is usual after a
//! compaction, so small differences say nothing.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::glimpse::Glimpse;
use super::{Evidence, Level, Reading, count, within};
use crate::drift::Error;
use crate::drift::observation::Occasion;

/// The options of redo.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How much larger the share of actions done again may become before it is suspect.
    pub suspect: f64,
    /// How much larger it may become before it is drift.
    pub drifting: f64,
    /// Actions after a compaction before anything is said.
    pub actions_min: u64,
    /// Actions before and after a compaction that are compared; at most 64.
    pub window: u64,
    /// Actions that are remembered.
    pub memory: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { suspect: 0.4, drifting: 0.55, actions_min: 24, window: 64, memory: 256 }
    }
}

impl Options {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        within("redo.suspect", self.suspect, 0.01, 1.0)?;
        within("redo.drifting", self.drifting, self.suspect, 1.0)?;
        within("redo.window", count(self.window), count(self.actions_min), 64.0)?;
        within("redo.memory", count(self.memory as u64), 1.0, 4096.0)
    }

    pub(crate) fn scaled(mut self, by: f64) -> Self {
        self.suspect = (self.suspect * by).min(0.95);
        self.drifting = (self.drifting * by).min(0.95);
        self
    }
}

/// How many of some actions had been done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Share {
    again: u64,
    of: u64,
}

impl Share {
    fn value(self) -> f64 {
        count(self.again) / count(self.of.max(1))
    }
}

/// What has been done.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Redo {
    done: VecDeque<(u64, u64)>,
    /// Whether each of the last 64 actions had been done before, the newest in the lowest bit.
    again: u64,
    actions: u64,
    compaction: Option<Compaction>,
    fed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Compaction {
    number: u64,
    before: Share,
    after: Share,
}

impl Redo {
    pub fn see(&mut self, glimpse: &Glimpse<'_>, options: &Options) {
        let Some(told) = glimpse.told() else { return };
        if told.event == Some(Occasion::Compaction) {
            self.fed = true;
            let before = self.share(options.window);
            let after = Share::default();
            self.compaction = Some(Compaction { number: glimpse.number, before, after });
        }
        let Some(print) = glimpse.action else { return };
        let first = self.done.iter().find(|(known, _)| *known == print).map(|(_, when)| *when);
        self.again = self.again << 1 | u64::from(first.is_some());
        self.actions += 1;
        if let Some(compaction) = &mut self.compaction
            && compaction.after.of < options.window
        {
            compaction.after.of += 1;
            compaction.after.again += u64::from(first.is_some_and(|at| at < compaction.number));
        }
        if first.is_none() {
            while self.done.len() >= options.memory {
                self.done.pop_front();
            }
            self.done.push_back((print, glimpse.number));
        }
    }

    fn share(&self, window: u64) -> Share {
        let of = self.actions.min(window).min(64);
        let mask = if of == 64 { u64::MAX } else { (1 << of) - 1 };
        Share { again: u64::from((self.again & mask).count_ones()), of }
    }

    pub fn reading(&self, options: &Options) -> Reading {
        let Some(Compaction { number, before, after }) = self.compaction else {
            return Reading::OK;
        };
        let more = after.value() - before.value();
        let ended = after.of >= options.window;
        if ended || after.of < options.actions_min || before.of < options.actions_min {
            return Reading::OK;
        }
        let both = count(before.again + after.again) / count(before.of + after.of);
        let error = both * (1.0 - both) * (1.0 / count(before.of) + 1.0 / count(after.of));
        if more < options.suspect || more < 3.0 * error.sqrt() {
            return Reading::OK;
        }
        let level = if more >= options.drifting { Level::Drifting } else { Level::Suspect };
        Reading { level, onset: number }
    }

    pub fn explain(&self) -> Evidence {
        let Some(Compaction { before, after, .. }) = self.compaction else {
            return Evidence::default();
        };
        let words = format!(
            "{} of {} actions since the compaction had been done before it; it used to be {:.0} %",
            after.again,
            after.of,
            100.0 * before.value()
        );
        Evidence::new(words, &[("before", before.value()), ("after", after.value())])
    }

    pub fn fed(&self) -> bool {
        self.fed && self.actions > 0
    }

    pub fn earliest_onset(&self, options: &Options) -> Option<u64> {
        self.compaction.filter(|it| it.after.of < options.window).map(|it| it.number)
    }
}
