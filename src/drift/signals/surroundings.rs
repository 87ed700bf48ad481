//! What others find around an agent: state files that are not whole, files changed behind its back,
//! protected paths touched, damage in what is kept of it.
//!
//! Each stands until it is found otherwise, or for so long as the verdict keeps calm. Foreign changes
//! are never more than `suspect`: a human may edit.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::glimpse::Glimpse;
use super::{Evidence, Level, Reading, count};
use crate::drift::sighting::{Condition, Sighting, StateFileSeen};

/// Paths named in the evidence; further ones are counted.
const NAMED: usize = 5;

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Found {
    onset: u64,
    /// Told again as long as it is this observation.
    at: u64,
    words: String,
    number: u64,
}

/// What was found around the agent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Surroundings {
    /// State files that are missing or damaged, each with since when.
    files: Vec<(PathBuf, String, u64)>,
    /// The observation at which all state files were last whole.
    whole_at: u64,
    files_fed: bool,
    foreign: Found,
    protected: Found,
    damage: Found,
    workspace_fed: bool,
    number: u64,
}

impl Surroundings {
    pub fn see(&mut self, glimpse: &Glimpse<'_>, protected: &[PathBuf]) {
        self.number = glimpse.number;
        match glimpse.sighting {
            Sighting::StateFile(seen) => self.see_file(seen),
            Sighting::Foreign(paths) => self.foreign = self.found(paths, "changed by others"),
            Sighting::Damage(what) => {
                let (at, words) = (self.number, what.clone());
                self.damage = Found { onset: at, at, words, number: 1 };
            }
            Sighting::Workspace(seen) => {
                self.workspace_fed = true;
                let touched: Vec<PathBuf> =
                    seen.touched.iter().filter(|path| covers(protected, path)).cloned().collect();
                if !touched.is_empty() {
                    self.protected = self.found(&touched, "protected and touched");
                }
            }
            _ => {}
        }
    }

    fn see_file(&mut self, seen: &StateFileSeen) {
        self.files_fed = true;
        let known = self.files.iter().position(|(path, ..)| *path == seen.path);
        let (words, onset) = match &seen.condition {
            Condition::Whole => {
                known.map(|at| self.files.remove(at));
                if self.files.is_empty() {
                    self.whole_at = self.number;
                }
                return;
            }
            Condition::Missing => ("is missing".to_owned(), self.whole_at + 1),
            Condition::Damaged(why) => (format!("is damaged: {why}"), self.whole_at + 1),
        };
        match known {
            Some(at) => self.files[at].1 = words,
            None => self.files.push((seen.path.clone(), words, onset)),
        }
    }

    fn found(&self, paths: &[PathBuf], what: &str) -> Found {
        let named: Vec<String> =
            paths.iter().take(NAMED).map(|path| path.display().to_string()).collect();
        let more = paths.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Found {
            onset: self.number,
            at: self.number,
            words: format!("{what}: {}{more}", named.join(", ")),
            number: paths.len() as u64,
        }
    }

    pub fn file_reading(&self) -> Reading {
        match self.files.iter().map(|(.., onset)| *onset).min() {
            Some(onset) => Reading { level: Level::Drifting, onset },
            None => Reading::OK,
        }
    }

    pub fn explain_file(&self) -> Evidence {
        let words: Vec<String> = self
            .files
            .iter()
            .map(|(path, words, _)| format!("{} {words}", path.display()))
            .collect();
        Evidence::new(words.join("; "), &[("files", count(self.files.len() as u64))])
    }

    pub fn foreign_reading(&self) -> Reading {
        self.foreign.reading(self.number, Level::Suspect)
    }

    pub fn protected_reading(&self) -> Reading {
        self.protected.reading(self.number, Level::Drifting)
    }

    pub fn damage_reading(&self) -> Reading {
        self.damage.reading(self.number, Level::Drifting)
    }

    pub fn explain_foreign(&self) -> Evidence {
        self.foreign.evidence()
    }

    pub fn explain_protected(&self) -> Evidence {
        self.protected.evidence()
    }

    pub fn explain_damage(&self) -> Evidence {
        self.damage.evidence()
    }

    pub fn files_fed(&self) -> bool {
        self.files_fed
    }

    pub fn workspace_fed(&self) -> bool {
        self.workspace_fed
    }

    pub fn earliest_onset(&self) -> Option<u64> {
        self.files_fed.then_some(self.whole_at + 1)
    }
}

impl Found {
    fn reading(&self, number: u64, level: Level) -> Reading {
        if self.at > 0 && self.at == number {
            Reading { level, onset: self.onset }
        } else {
            Reading::OK
        }
    }

    fn evidence(&self) -> Evidence {
        Evidence::new(self.words.clone(), &[("found", count(self.number))])
    }
}

/// Whether a path is one of `protected` or lies beneath one.
fn covers(protected: &[PathBuf], path: &Path) -> bool {
    protected.iter().any(|root| path.starts_with(root))
}
