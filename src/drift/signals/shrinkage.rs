//! Shrinkage: a state that loses what it had, or a workspace that does.
//!
//! *Keys*: a top-level key that stood in nine of ten of all states, and in each of the last `steady`
//! ones, and is gone is suspect, and drift when it stays gone for `confirm` more states, or when a
//! quarter of such keys is gone at once (two at least). Keys that came with a task may go with it. *Lengths*: a list, object or text that lost more than `share` of its length, and not
//! just a few items, is suspect; not a list whose newest items survive (it was trimmed), and nothing
//! in the states around a moment marked `compaction`. *Files*: a look at the workspace that finds
//! that share of its files deleted is suspect, and drift from `files_share` on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::glimpse::Glimpse;
use super::recurrence::print;
use super::{Evidence, Level, Reading, count, within};
use crate::drift::Error;
use crate::drift::observation::Occasion;
use crate::drift::sighting::{Sighting, WorkspaceSeen};

/// Top-level keys that are followed.
const KEYS_MAX: usize = 64;

/// Keys that did not stand in this share of all states may go.
const CORE: f64 = 0.9;

/// Newest items of a list of which one must survive a trimming.
const NEWEST: usize = 3;

/// Fewer lost items of a list or an object say nothing.
const ITEMS_MIN: u64 = 8;

/// Fewer lost bytes of a text say nothing.
const BYTES_MIN: u64 = 256;

/// Fewer deleted files say nothing.
const FILES_MIN: u64 = 20;

/// States around a compaction that may shrink.
const EXCUSED: u64 = 3;

/// The options of shrinkage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// States in a row that a key must have stood in before its loss counts.
    pub steady: u64,
    /// Further states without it after which its loss is drift.
    pub confirm: u64,
    /// Share of a length, or of the files, whose loss is suspect.
    pub share: f64,
    /// Share of the files whose loss is drift.
    pub files_share: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { steady: 10, confirm: 3, share: 0.5, files_share: 0.8 }
    }
}

impl Options {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        within("shrinkage.steady", count(self.steady), 1.0, 1e9)?;
        within("shrinkage.share", self.share, 0.01, 1.0)?;
        within("shrinkage.files_share", self.files_share, self.share, 1.0)
    }

    pub(crate) fn scaled(mut self, by: f64) -> Self {
        self.steady = super::scaled(self.steady, by);
        self.confirm = super::scaled(self.confirm, by);
        self
    }
}

/// One top-level key as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    /// States in a row that had it.
    states: u64,
    length: u64,
    /// Prints of a list's newest items.
    newest: Vec<u64>,
}

/// Something that was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Loss {
    onset: u64,
    /// States since.
    states: u64,
}

/// What the state held.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Shrinkage {
    keys: BTreeMap<String, Key>,
    lost: BTreeMap<String, Loss>,
    /// So many keys were lost at once that it needs no confirming.
    many: bool,
    shrunk: BTreeMap<String, Loss>,
    files: Option<(u64, Level, String)>,
    /// States so far.
    states: u64,
    /// The observation of the newest of them.
    before: u64,
    excused: u64,
    fed: bool,
}

impl Shrinkage {
    pub fn see(&mut self, glimpse: &Glimpse<'_>, options: &Options) {
        match glimpse.sighting {
            Sighting::Observation(told) if told.event == Some(Occasion::Compaction) => {
                self.excused = EXCUSED;
                self.shrunk.retain(|_, loss| loss.states >= EXCUSED);
            }
            Sighting::State(seen) => {
                if let Some(Value::Object(state)) = seen.content.as_deref() {
                    self.fed = true;
                    self.see_state(state, glimpse.number, options);
                }
            }
            Sighting::Workspace(seen) => self.see_files(seen, glimpse.number, options),
            _ => {}
        }
    }

    fn see_state(
        &mut self,
        state: &serde_json::Map<String, Value>,
        number: u64,
        options: &Options,
    ) {
        let onset = self.before + 1;
        for loss in self.lost.values_mut().chain(self.shrunk.values_mut()) {
            loss.states += 1;
        }
        self.lost.retain(|name, _| !state.contains_key(name));
        self.many &= !self.lost.is_empty();
        self.shrunk.retain(|_, loss| loss.states <= EXCUSED);
        self.lose_keys(state, onset, options);
        if self.excused == 0 {
            for (name, key) in &self.keys {
                if state.get(name).is_some_and(|value| key.shrank(value, options.share)) {
                    self.shrunk.insert(name.clone(), Loss { onset, states: 0 });
                }
            }
        }
        self.excused = self.excused.saturating_sub(1);
        for (name, value) in state.iter().take(KEYS_MAX) {
            let states = self.keys.get(name).map_or(0, |key| key.states) + 1;
            self.keys.insert(name.clone(), Key::of(value, states));
        }
        self.states += 1;
        self.before = number;
    }

    fn lose_keys(&mut self, state: &serde_json::Map<String, Value>, onset: u64, options: &Options) {
        let core = CORE * count(self.states);
        let steady = |key: &Key| key.states >= options.steady && count(key.states) >= core;
        let known = self.keys.values().filter(|key| steady(key)).count();
        let gone = |name: &String| !state.contains_key(name);
        let lost: Vec<String> = self
            .keys
            .iter()
            .filter(|(name, key)| gone(name) && steady(key))
            .map(|(name, _)| name.clone())
            .collect();
        self.many |= lost.len() >= 2 && lost.len() * 4 >= known;
        self.keys.retain(|name, _| state.contains_key(name));
        let room = KEYS_MAX.saturating_sub(self.lost.len());
        self.lost.extend(lost.into_iter().take(room).map(|name| (name, Loss { onset, states: 0 })));
    }

    fn see_files(&mut self, seen: &WorkspaceSeen, number: u64, options: &Options) {
        let share = count(seen.deleted) / count((seen.files + seen.deleted).max(1));
        let level = match share {
            _ if seen.deleted < FILES_MIN => Level::Ok,
            share if share >= options.files_share => Level::Drifting,
            share if share >= options.share => Level::Suspect,
            _ => Level::Ok,
        };
        let words = format!("{} of {} files were deleted", seen.deleted, seen.files + seen.deleted);
        self.files = (level > Level::Ok).then_some((number, level, words));
    }

    pub fn reading(&self, options: &Options) -> Reading {
        let keys = self.lost.values().map(|loss| {
            let sure = self.many || loss.states >= options.confirm;
            let level = if sure { Level::Drifting } else { Level::Suspect };
            Reading { level, onset: loss.onset }
        });
        let lengths = self.shrunk.values();
        let lengths = lengths.map(|loss| Reading { level: Level::Suspect, onset: loss.onset });
        let files = self.files.iter();
        let files = files.map(|(onset, level, _)| Reading { level: *level, onset: *onset });
        keys.chain(lengths).chain(files).max_by_key(|it| it.level).unwrap_or(Reading::OK)
    }

    pub fn explain(&self) -> Evidence {
        let names = |losses: &BTreeMap<String, Loss>| {
            losses.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        let mut words = Vec::new();
        if !self.lost.is_empty() {
            words.push(format!("the state lost {}", names(&self.lost)));
        }
        if !self.shrunk.is_empty() {
            words.push(format!("{} lost most of its length", names(&self.shrunk)));
        }
        words.extend(self.files.iter().map(|(.., words)| words.clone()));
        let numbers = [
            ("keys_lost", count(self.lost.len() as u64)),
            ("keys_shrunk", count(self.shrunk.len() as u64)),
        ];
        Evidence::new(words.join("; "), &numbers)
    }

    pub fn fed(&self) -> bool {
        self.fed
    }

    pub fn earliest_onset(&self) -> Option<u64> {
        self.fed.then_some(self.before + 1)
    }
}

impl Key {
    fn of(value: &Value, states: u64) -> Self {
        let newest = match value {
            Value::Array(items) => items.iter().rev().take(NEWEST).map(print_of_item).collect(),
            _ => Vec::new(),
        };
        Self { states, length: length(value), newest }
    }

    /// Whether `value` is much shorter than it was, and not because it was trimmed from its old end.
    fn shrank(&self, value: &Value, share: f64) -> bool {
        let lost = self.length.saturating_sub(length(value));
        let least = if value.is_string() { BYTES_MIN } else { ITEMS_MIN };
        if lost < least || count(lost) < share * count(self.length) {
            return false;
        }
        let survives = |item: &Value| self.newest.contains(&print_of_item(item));
        !value.as_array().is_some_and(|items| items.iter().any(survives))
    }
}

fn print_of_item(item: &Value) -> u64 {
    print([item.to_string().as_str()])
}

/// Items of a list or an object, bytes of a text.
fn length(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.len() as u64,
        Value::Object(members) => members.len() as u64,
        Value::String(text) => text.len() as u64,
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
