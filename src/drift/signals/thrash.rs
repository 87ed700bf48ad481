//! Thrash: a workspace that goes back and forth between contents it had before.
//!
//! Counted is how many changes in a row led to a content that had been there before. Trying something
//! and taking it back brings something new every other time and is let be.

use serde::{Deserialize, Serialize};

use super::glimpse::{Glimpse, print_of};
use super::recurrence::Recurrence;
use super::{Evidence, Level, Reading, count, rising};
use crate::drift::Error;
use crate::drift::sighting::Sighting;

/// Contents that are remembered.
const MEMORY: usize = 32;

/// The options of thrash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Changes in a row back to an earlier content that are suspect.
    pub suspect: u64,
    /// Changes in a row back to an earlier content that are drift.
    pub drifting: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { suspect: 4, drifting: 8 }
    }
}

impl Options {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        rising("thrash.drifting", self.suspect, self.drifting)
    }

    pub(crate) fn scaled(self, by: f64) -> Self {
        Self {
            suspect: super::scaled(self.suspect, by),
            drifting: super::scaled(self.drifting, by),
        }
    }
}

/// The contents of late.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Thrash {
    contents: Recurrence,
    fed: bool,
}

impl Thrash {
    pub fn see(&mut self, glimpse: &Glimpse<'_>) {
        let Sighting::Workspace(seen) = glimpse.sighting else { return };
        self.fed = true;
        if glimpse.changed {
            self.contents.see(print_of(&seen.digest.0), glimpse.number, MEMORY);
        }
    }

    pub fn reading(&self, options: &Options) -> Reading {
        let level = match self.contents.row {
            row if row >= options.drifting => Level::Drifting,
            row if row >= options.suspect => Level::Suspect,
            _ => return Reading::OK,
        };
        Reading { level, onset: self.contents.began + 1 }
    }

    pub fn explain(&self) -> Evidence {
        let row = self.contents.row;
        let words = format!("the last {row} changes of the workspace led back to earlier contents");
        Evidence::new(words, &[("row", count(row))])
    }

    pub fn fed(&self) -> bool {
        self.fed
    }

    pub fn earliest_onset(&self) -> Option<u64> {
        self.contents.oldest()
    }
}
