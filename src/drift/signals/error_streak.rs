//! Error streak: the same action fails again and again.
//!
//! A failure counts on when nothing was done between it and the last one of the same action: no
//! other action went well, and neither state, workspace nor progress changed. Where something was
//! done (edit, test, edit, test), a failure counts on only if its result is told and is the same, and
//! such a streak is never more than `suspect`: trying is what test-driven work consists of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::glimpse::Glimpse;
use super::recurrence::print;
use super::{Evidence, Level, Reading, count, rising};
use crate::drift::Error;

/// Names of actions that are followed; the one that failed longest ago goes for a new one.
const ACTIONS_MAX: usize = 16;

/// The options of the error streak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Failures in a row that are suspect.
    pub suspect: u64,
    /// Failures in a row that are drift.
    pub drifting: u64,
    /// Failures with the same result in spite of work between them that are suspect; 0: never.
    pub despite_work: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { suspect: 5, drifting: 8, despite_work: 20 }
    }
}

impl Options {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        rising("error_streak.drifting", self.suspect, self.drifting)
    }

    pub(crate) fn scaled(mut self, by: f64) -> Self {
        for limit in [&mut self.suspect, &mut self.drifting, &mut self.despite_work] {
            *limit = super::scaled(*limit, by);
        }
        self
    }
}

/// How one action has been failing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Streak {
    idle: u64,
    idle_since: u64,
    busy: u64,
    busy_since: u64,
    result: Option<u64>,
    /// How much had been done at the last failure.
    work: u64,
    last: u64,
}

/// The streaks by the action's name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ErrorStreak {
    streaks: BTreeMap<String, Streak>,
    /// Actions that went well, and changes.
    work: u64,
    fed: bool,
}

impl ErrorStreak {
    pub fn see(&mut self, glimpse: &Glimpse<'_>) {
        self.work += u64::from(glimpse.changed);
        let Some(told) = glimpse.told() else { return };
        let (Some(action), Some(ok)) = (&told.action, told.ok) else { return };
        self.fed = true;
        if ok {
            self.work += 1;
            self.streaks.remove(&action.name);
            return;
        }
        let result = told.result_digest.as_deref().map(|digest| print([digest]));
        let now = Streak {
            idle: 1,
            idle_since: glimpse.number,
            busy: 1,
            busy_since: glimpse.number,
            result,
            work: self.work,
            last: glimpse.number,
        };
        match self.streaks.get_mut(&action.name) {
            Some(streak) => streak.go_on(&now),
            None => self.begin(&action.name, now),
        }
    }

    fn begin(&mut self, name: &str, streak: Streak) {
        if self.streaks.len() >= ACTIONS_MAX {
            let stalest = self.streaks.iter().min_by_key(|(_, streak)| streak.last);
            let stalest = stalest.map(|(name, _)| name.clone());
            stalest.and_then(|name| self.streaks.remove(&name));
        }
        self.streaks.insert(name.to_owned(), streak);
    }

    pub fn reading(&self, options: &Options) -> Reading {
        let readings = self.streaks.values().map(|streak| streak.reading(options));
        readings.max_by_key(|reading| reading.level).unwrap_or(Reading::OK)
    }

    pub fn explain(&self) -> Evidence {
        let longest = self.streaks.iter().max_by_key(|(_, it)| (it.idle.max(it.busy), it.last));
        let Some((name, streak)) = longest else { return Evidence::default() };
        let (number, how) = if streak.idle >= streak.busy {
            (streak.idle, "in a row")
        } else {
            (streak.busy, "with the same result, whatever was done between")
        };
        let words = format!("`{name}` failed {number} times {how}");
        Evidence::new(words, &[("failures", count(number))])
    }

    pub fn fed(&self) -> bool {
        self.fed
    }

    pub fn earliest_onset(&self) -> Option<u64> {
        self.streaks.values().map(|streak| streak.idle_since.min(streak.busy_since)).min()
    }
}

impl Streak {
    fn go_on(&mut self, now: &Self) {
        let worked = now.work != self.work;
        let same = now.result.is_some() && now.result == self.result;
        if worked {
            (self.idle, self.idle_since) = (now.idle, now.idle_since);
        } else {
            self.idle += 1;
        }
        if !worked || same {
            self.busy += 1;
        } else {
            (self.busy, self.busy_since) = (now.busy, now.busy_since);
        }
        (self.result, self.work, self.last) = (now.result, now.work, now.last);
    }

    fn reading(&self, options: &Options) -> Reading {
        if self.idle >= options.suspect {
            let level =
                if self.idle >= options.drifting { Level::Drifting } else { Level::Suspect };
            return Reading { level, onset: self.idle_since };
        }
        if options.despite_work > 0 && self.busy >= options.despite_work {
            return Reading { level: Level::Suspect, onset: self.busy_since };
        }
        Reading::OK
    }
}
