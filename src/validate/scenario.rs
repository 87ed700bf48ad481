//! Scenario files: a promise, what an agent does, what goes wrong, and what must hold all the same.
//!
//! A scenario is a TOML file that says in plain words what is tried; the words of `workload`, `fault`
//! and `expectation` are also what is run. The files in `validate/` are part of the program; others
//! are read from a directory. A key or a word that is not known is an error that names it.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Error;
use super::promise::Promise;
use super::shipped::SHIPPED;
use super::steps::Step;
use crate::disk::{self, Disk, EntryKind};

/// A scenario as its file has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// By which it is asked for: the name of its file.
    pub name: String,
    /// The promises it proves.
    pub promise: Vec<Promise>,
    /// What it is about, for people.
    pub about: String,
    /// What is done.
    pub(super) workload: Workload,
    /// What goes wrong meanwhile.
    pub(super) fault: Fault,
    /// What must hold all the same.
    pub(super) expectation: BTreeSet<Expectation>,
    /// How many cases are run.
    pub limits: Limits,
}

/// How many cases are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// With `--quick`.
    pub quick: u64,
    /// With `--full`.
    pub full: u64,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Workload {
    /// Agents live through these steps.
    Life { steps: Vec<Step> },
    /// An agent keeps a workspace and a state file, another content takes their place, the first
    /// comes back, and that is taken back.
    Workspace,
    /// A workspace in which these files always change together is kept again and again.
    Pair { files: [String; 2] },
    /// A store that holds one of everything, closed.
    StoreOfEverything,
    /// An agent keeps so many checkpoints at home, and so many while the primary is away.
    Away { before: u64, while_away: u64 },
    /// Two agents with homes of their own share a fallback.
    SharedFallback,
    /// Random work under rules that keep next to nothing.
    Pressure { acts: u64 },
    /// So many real processes keep states as fast as they can, one after another.
    Writers { threads: u64, keep_last: u64 },
    /// A real sidecar is asked for checkpoints over its socket.
    Sidecar,
    /// A disk of so many bytes is filled with checkpoints.
    Filling { disk_bytes: u64 },
    /// An agent works under the eyes of the detectors, and begins to go in circles.
    Wandering,
    /// A store that an earlier release wrote.
    OldStore,
    /// A store, a socket, a token: everything that is made.
    Making,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Fault {
    /// Nothing does.
    None,
    /// The process dies at any call it makes of the disk, and these may befall the machine.
    Crash {
        then: Vec<Fate>,
        /// So does the start that follows.
        #[serde(default)]
        recovery_too: bool,
        /// Each sync takes so many seconds.
        #[serde(default)]
        syncs_take_s: u64,
    },
    /// Any call fails.
    Failing {
        with: Vec<Failure>,
        lasting: Lasting,
        /// Only calls of these kinds; of every kind where absent.
        #[serde(default)]
        of: Vec<CallKind>,
    },
    /// A byte of any file is flipped.
    Flip { files: Files },
    /// Any file is struck in one of these ways.
    Strike { by: Vec<Blow> },
    /// The primary fails in these ways.
    PrimaryFails { by: Vec<Way>, when: When },
    /// The process dies at any call while what was made away comes home.
    CrashComingHome,
    /// Somebody changes the files at any call.
    Meddling { during: During },
    /// The wall clock jumps now and then, by up to so many days either way.
    ClockJumps { days_max: u64 },
    /// `kill -9`.
    Kill,
    /// Clients hang up in the midst of it.
    HangUp,
    /// A second process wants to write.
    SecondWriter,
    /// Another process reads all the while.
    Reader,
    /// The directory of the store is taken away under the writer, and comes back.
    DirectoryGone,
    /// The user may not write to the directory any more.
    PermissionLost,
    /// The file system is full, truly.
    FullFileSystem,
    /// Drift that began earlier than it was noticed, so many checkpoints ago at most.
    LateDrift { checkpoints_max: u64 },
    /// An agent that drifts again after every restore.
    Flapping,
}

/// What befalls a machine whose process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fate {
    #[serde(rename = "the machine goes on")]
    GoesOn,
    #[serde(rename = "power goes: everything unsynced is lost")]
    LosesAll,
    #[serde(rename = "power goes: nothing is lost")]
    LosesNone,
    #[serde(rename = "power goes: any part of the unsynced is lost, torn and holed")]
    LosesAny,
    #[serde(rename = "power goes: everything after some write is lost, that one torn")]
    LosesTheLast,
    #[serde(rename = "power goes: what a journaling file system loses")]
    LosesAsAJournal,
}

/// An error of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failure {
    #[serde(rename = "input/output error")]
    Io,
    #[serde(rename = "disk full")]
    Full,
    #[serde(rename = "quota used up")]
    Quota,
    #[serde(rename = "read-only")]
    ReadOnly,
    #[serde(rename = "permission denied")]
    Denied,
    #[serde(rename = "interrupted")]
    Interrupted,
    #[serde(rename = "try again")]
    Again,
    #[serde(rename = "timed out")]
    TimedOut,
}

/// How long a failure lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Lasting {
    #[serde(rename = "once")]
    Once,
    #[serde(rename = "from then on")]
    FromThenOn,
    #[serde(rename = "once, half-way through a write")]
    HalfWay,
}

/// A kind of call of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CallKind {
    Read,
    Write,
    Sync,
    SyncDirectory,
    Rename,
    Open,
    MakeDirectory,
    Remove,
}

/// Files of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Files {
    #[serde(rename = "any file")]
    Any,
    #[serde(rename = "the log, with the views gone")]
    LogWithoutViews,
}

/// What can happen to a whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Blow {
    #[serde(rename = "zeroed")]
    Zeroed,
    #[serde(rename = "cut short")]
    CutShort,
    #[serde(rename = "removed")]
    Removed,
    #[serde(rename = "swapped with another")]
    Swapped,
    #[serde(rename = "rolled back to an older copy")]
    RolledBack,
}

/// How a primary fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Way {
    #[serde(rename = "disk full")]
    Full,
    #[serde(rename = "read-only")]
    ReadOnly,
    #[serde(rename = "gone")]
    Gone,
    #[serde(rename = "errors on write")]
    ErrorsOnWrite,
    #[serde(rename = "errors on sync")]
    ErrorsOnSync,
    #[serde(rename = "permission lost")]
    Denied,
    #[serde(rename = "unmounted: an empty directory in its place")]
    Unmounted,
}

/// When a primary fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum When {
    #[serde(rename = "while the agent works")]
    Meanwhile,
    #[serde(rename = "before the process starts")]
    BeforeTheStart,
}

/// What is being done when somebody meddles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum During {
    Snapshot,
    Restore,
}

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Expectation {
    #[serde(rename = "nothing acknowledged is lost")]
    NothingLost,
    #[serde(rename = "nothing half is served")]
    NothingHalf,
    #[serde(rename = "what was served once stays")]
    ServedStays,
    #[serde(rename = "a second start changes nothing more")]
    SecondStartIsQuiet,
    #[serde(rename = "a crash is not called damage")]
    CrashIsNoDamage,
    #[serde(rename = "work goes on once the fault is gone")]
    GoesOn,
    #[serde(rename = "what fails says so, with every attempt")]
    FailureIsTold,
    #[serde(rename = "nothing goes without a word")]
    NothingSilent,
    #[serde(rename = "no other bytes are served")]
    NoOtherBytes,
    #[serde(rename = "everything comes home, once and in order")]
    ComesHome,
    #[serde(rename = "nobody else's checkpoints are taken")]
    NobodyElses,
    #[serde(rename = "what recovery needs is kept")]
    NeededIsKept,
    #[serde(rename = "a restore can be taken back")]
    Undoable,
    #[serde(rename = "files are of one moment, or named as unsettled")]
    OneMoment,
    #[serde(rename = "what somebody else wrote is kept")]
    OthersKept,
    #[serde(rename = "the second is told who holds it")]
    HolderIsNamed,
    #[serde(rename = "the reader reads whole checkpoints and changes nothing")]
    ReaderIsWell,
    #[serde(rename = "tries and time are bounded")]
    Bounded,
    #[serde(rename = "only the owner may read and write")]
    OwnerOnly,
    #[serde(rename = "the restore goes before the onset")]
    BeforeOnset,
    #[serde(rename = "restores per hour are bounded, and a human is asked")]
    FlappingIsBounded,
    #[serde(rename = "everything it holds is read")]
    AllIsRead,
}

impl Scenario {
    pub(super) fn expects(&self, what: Expectation) -> bool {
        self.expectation.contains(&what)
    }

    fn parse(file: &str, text: &str) -> Result<Self, Error> {
        let failed = |why: String| Error::Scenario { file: file.to_owned(), why };
        let scenario: Self = toml::from_str(text).map_err(|error| failed(error.to_string()))?;
        let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str());
        if stem != Some(&scenario.name) {
            let name = &scenario.name;
            return Err(failed(format!("its name is {name}, which is not that of its file")));
        }
        if scenario.promise.is_empty() || scenario.expectation.is_empty() {
            return Err(failed("it proves no promise, or expects nothing".to_owned()));
        }
        Ok(scenario)
    }

    /// The scenarios that are part of the program, by name.
    ///
    /// # Errors
    /// When one of them is wrong; a test sees to it that none is.
    pub fn shipped() -> Result<Vec<Self>, Error> {
        SHIPPED.iter().map(|(file, text)| Self::parse(file, text)).collect()
    }

    /// The scenarios in a directory, by name.
    ///
    /// # Errors
    /// When the directory cannot be read, or a file in it is no scenario.
    pub fn in_directory(disk: &dyn Disk, dir: &Path) -> Result<Vec<Self>, Error> {
        let failed =
            |path: &Path, why: String| Error::Scenario { file: path.display().to_string(), why };
        let mut entries = disk.read_dir(dir).map_err(|error| failed(dir, error.to_string()))?;
        entries.retain(|entry| {
            let is_toml = Path::new(&entry.name).extension().is_some_and(|it| it == "toml");
            is_toml && entry.kind == EntryKind::File
        });
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        if entries.is_empty() {
            return Err(failed(dir, "no file in it ends with .toml".to_owned()));
        }
        let read = |entry: &disk::Entry| {
            let path = dir.join(&entry.name);
            let bytes = disk::read(disk, &path).map_err(|e| failed(&path, e.to_string()))?;
            let text = String::from_utf8(bytes).map_err(|e| failed(&path, e.to_string()))?;
            Self::parse(&path.display().to_string(), &text)
        };
        entries.iter().map(read).collect()
    }
}
