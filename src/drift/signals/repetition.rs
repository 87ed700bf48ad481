//! Repetition: action, input and result recur, and neither state nor workspace changes.
//!
//! Counted is how many actions in a row were there before, among the last `memory` different ones,
//! with the same input and the same result (or none told). An action that was not ends the row, so
//! reading again what was read long ago is none, and where state, workspace or progress change
//! meanwhile only the row since then counts. So is a look at the output in which nearly all lines had
//! been printed before. An agent that writes each turn into its state changes it although it goes
//! round in circles: a row `although_changed` long is `suspect` in any case.

use serde::{Deserialize, Serialize};

use super::glimpse::Glimpse;
use super::recurrence::{Recurrence, print, print_on};
use super::{Evidence, Level, Reading, count, rising};
use crate::drift::Error;
use crate::drift::sighting::{OutputSeen, Sighting};

/// The options of repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Recurring actions in a row that are suspect.
    pub suspect: u64,
    /// Recurring actions in a row that are drift.
    pub drifting: u64,
    /// Recurring actions in a row that are suspect even if state or workspace changed; 0: never.
    pub although_changed: u64,
    /// Different actions that are remembered: the longest loop that is seen.
    pub memory: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { suspect: 8, drifting: 12, although_changed: 30, memory: 16 }
    }
}

impl Options {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        rising("repetition.drifting", self.suspect, self.drifting)?;
        super::within("repetition.memory", count(self.memory as u64), 1.0, 1024.0)
    }

    pub(crate) fn scaled(mut self, by: f64) -> Self {
        for limit in [&mut self.suspect, &mut self.drifting, &mut self.although_changed] {
            *limit = super::scaled(*limit, by);
        }
        self
    }
}

/// The actions of late.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Repetition {
    actions: Recurrence,
    /// Recurring actions in a row since the last change.
    still: u64,
    still_since: u64,
    changed_at: u64,
    fed: bool,
}

impl Repetition {
    pub fn see(&mut self, glimpse: &Glimpse<'_>, options: &Options) {
        if glimpse.changed {
            (self.still, self.changed_at) = (0, glimpse.number);
        }
        self.fed |= matches!(glimpse.sighting, Sighting::Output(_));
        let Some(print) = recurring_print(glimpse) else { return };
        self.fed = true;
        match self.actions.see(print, glimpse.number, options.memory) {
            None => self.still = 0,
            Some(before) => {
                if self.still == 0 {
                    self.still_since = before.max(self.changed_at + 1);
                }
                self.still += 1;
            }
        }
    }

    pub fn reading(&self, options: &Options) -> Reading {
        if self.still >= options.suspect {
            let level =
                if self.still >= options.drifting { Level::Drifting } else { Level::Suspect };
            return Reading { level, onset: self.still_since };
        }
        if options.although_changed > 0 && self.actions.row >= options.although_changed {
            return Reading { level: Level::Suspect, onset: self.actions.began };
        }
        Reading::OK
    }

    pub fn explain(&self) -> Evidence {
        let words = if self.still >= self.actions.row {
            format!("the last {} actions had been done before, and nothing changed", self.still)
        } else {
            format!("the last {} actions had all been done before", self.actions.row)
        };
        Evidence::new(
            words,
            &[("row", count(self.actions.row)), ("row_without_change", count(self.still))],
        )
    }

    pub fn fed(&self) -> bool {
        self.fed
    }

    pub fn earliest_onset(&self) -> Option<u64> {
        self.actions.oldest()
    }
}

/// The print of what may recur: an action with input and result, or output that says nothing new.
fn recurring_print(glimpse: &Glimpse<'_>) -> Option<u64> {
    match glimpse.sighting {
        Sighting::Observation(told) => {
            let result = told.result_digest.as_deref().unwrap_or_default();
            let outcome = told.ok.map_or("", |ok| if ok { "ok" } else { "failed" });
            Some(print_on(glimpse.action?, [result, outcome]))
        }
        Sighting::Output(OutputSeen { lines, repeated }) => {
            // A few lines of routine come back in healthy output too.
            let stale = *lines >= 5 && repeated * 20 >= lines * 19;
            stale.then(|| print(["output", "stale"]))
        }
        _ => None,
    }
}
