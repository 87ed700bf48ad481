//! Crash loop: the process ends quickly, again and again, and leaves the same content each time.

use serde::{Deserialize, Serialize};

use super::glimpse::{Glimpse, print_of};
use super::{Evidence, Level, Reading, count};
use crate::drift::Error;
use crate::drift::sighting::{Exit, Sighting};
use crate::state::Span;

/// The options of the crash loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Quick failures in a row on the same content that are drift.
    pub exits: u64,
    /// A life no longer than this was a quick one.
    pub quick: Span,
}

impl Default for Options {
    fn default() -> Self {
        Self { exits: 3, quick: Span::from_secs(10) }
    }
}

impl Options {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        super::within("crash_loop.exits", count(self.exits), 1.0, 1e6)
    }

    pub(crate) fn scaled(self, by: f64) -> Self {
        Self { exits: super::scaled(self.exits, by), ..self }
    }
}

/// The quick failures in a row.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct CrashLoop {
    exits: u64,
    since: u64,
    content: Option<u64>,
    code: Option<i32>,
    fed: bool,
}

impl CrashLoop {
    pub fn see(&mut self, glimpse: &Glimpse<'_>, options: &Options) {
        let Sighting::Exited(Exit { code, lived, content }) = glimpse.sighting else { return };
        self.fed = true;
        let content = content.map(|digest| print_of(&digest.0));
        if *code == Some(0) || *lived > options.quick {
            self.exits = 0;
            return;
        }
        if self.exits == 0 || content != self.content {
            (self.exits, self.since) = (0, glimpse.number);
        }
        self.exits += 1;
        (self.content, self.code) = (content, *code);
    }

    pub fn reading(&self, options: &Options) -> Reading {
        if self.exits < options.exits {
            return Reading::OK;
        }
        Reading { level: Level::Drifting, onset: self.since }
    }

    pub fn explain(&self) -> Evidence {
        let end = self.code.map_or("a signal".to_owned(), |code| format!("code {code}"));
        let words = format!("{} quick exits in a row on the same content, by {end}", self.exits);
        Evidence::new(words, &[("exits", count(self.exits))])
    }

    pub fn fed(&self) -> bool {
        self.fed
    }

    pub fn earliest_onset(&self) -> Option<u64> {
        (self.exits > 0).then_some(self.since)
    }
}
