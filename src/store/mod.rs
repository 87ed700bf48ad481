//! Where checkpoints live: one directory, one writer, any number of readers.
//!
//! A store is a log ([`crate::commit`]), the catalog of what it holds ([`catalog`]), kept in memory,
//! and the views beside it. It promises that what [`Store::write`] returned for is durable and is
//! found by every later opening; that every byte is proven when it is read; and that looking changes
//! nothing. It does not decide what is kept: retention does, and the store lets go of what it is
//! told to. All names and paths are in [`layout`].

mod ahead;
mod catalog;
mod compaction;
mod fallback;
mod identity;
mod layout;
mod lost;
mod news;
mod open;
mod proof;
mod quarantine;
mod read;
pub(crate) mod registry;
mod reserve;
mod scrub;
mod stat_cache;
mod trees;
mod upkeep;
mod views;
mod write;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};

use crate::commit::frame::Place;
use crate::commit::segment::Segment;
use crate::commit::survey::{Damage, Survey, SurveyError};
use crate::commit::writer::{AppendError, Writer};
use crate::disk::{Disk, LockError, StoreLock};
use crate::error::ErrorKind;
use crate::state::{CheckpointId, Timestamp};

pub(crate) use ahead::{Ahead, Brought, CopyError};
pub(crate) use catalog::{BlockKey, Catalog, Held, Shelf};
pub(crate) use compaction::{CompactionError, Which};
pub(crate) use fallback::{Target, Targets};
pub use identity::{Home, Identity};
#[cfg(feature = "testing")]
pub(crate) use layout::ViewName;
pub(crate) use layout::{Layout, ViewPath};
pub(crate) use news::{Fresh, News};
pub use open::OpenReport;
pub(crate) use open::{Ground, IfMissing};
#[cfg(feature = "testing")]
pub(crate) use proof::close as close_proof;
pub(crate) use read::{ContentError, OpenPacks};
pub(crate) use scrub::ViewFault;
pub use scrub::{DamagedCheckpoint, Finding};
pub(crate) use trees::FileError;
pub(crate) use upkeep::Pinned;
#[cfg(feature = "testing")]
pub(crate) use views::View;
pub(crate) use views::{hex, unhex};
pub(crate) use write::{Draft, DraftState};

/// How a store is opened and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How long to wait for the lock of the one writer, in milliseconds.
    pub lock_wait_ms: u64,
    /// Take a store on a network file system, where the lock does not hold between machines.
    pub allow_network: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { lock_wait_ms: 2000, allow_network: false }
    }
}

/// Why a store cannot be opened or does not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none.
    #[error("there is no store at {}", path.display())]
    NoStore {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A store was made here and nothing of it is left: an unmounted volume, or it was removed.
    #[error("the store that was made at {} is not there", path.display())]
    Gone {
        /// Where it was.
        path: PathBuf,
    },
    /// Something of a store is there, but no segment that can be read.
    #[error("the store at {} has no readable segment", path.display())]
    NoSegments {
        /// The store.
        path: PathBuf,
    },
    /// It is on a file system that other machines share.
    #[error("the store at {} is on a network file system ({name})", path.display())]
    Network {
        /// The store.
        path: PathBuf,
        /// The file system.
        name: String,
    },
    /// It was written by a newer program.
    #[error("the store at {} has format {format}, newer than this program", path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// It is in the place of a fallback and belongs elsewhere.
    #[error("the store at {} is no fallback of this one: {why}", path.display())]
    Foreign {
        /// The store.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// Another process holds it.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// The disk refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The log could not be looked at.
    #[error("cannot read the log: {0}")]
    Survey(#[from] SurveyFailure),
    /// A batch could not be made durable.
    #[error("{0}")]
    Append(#[from] AppendFailure),
}

/// Why a log could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SurveyFailure(#[from] SurveyError);

/// Why a batch could not be made durable.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct AppendFailure(#[from] AppendError);

impl From<SurveyError> for Error {
    fn from(error: SurveyError) -> Self {
        Self::Survey(SurveyFailure(error))
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        Self::Append(AppendFailure(error))
    }
}

impl SurveyFailure {
    /// Another process may just have moved something on.
    fn may_pass(&self) -> bool {
        matches!(self.0, SurveyError::WentAway)
    }
}

impl Error {
    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoStore { .. } => ErrorKind::NotFound,
            Self::NoSegments { .. } => ErrorKind::Damaged,
            Self::Network { .. } | Self::Newer { .. } | Self::Foreign { .. } => ErrorKind::Refused,
            Self::Locked(LockError::Held { .. }) => ErrorKind::Locked,
            Self::Gone { .. }
            | Self::Locked(LockError::Io { .. })
            | Self::Io { .. }
            | Self::Survey(_)
            | Self::Append(_) => ErrorKind::Unavailable,
        }
    }

    /// The error of the file system behind it, where there is one.
    #[must_use]
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. }
            | Self::Locked(LockError::Io { source, .. })
            | Self::Survey(SurveyFailure(
                SurveyError::List { source, .. } | SurveyError::Read { source, .. },
            )) => Some(source),
            Self::Append(failure) => failure.0.io(),
            _ => None,
        }
    }

    /// The way out, where there is one to name.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoStore { .. } => {
                "`stateward init` or the first `stateward checkpoint` makes one; `--store DIR` names another"
            }
            Self::Gone { .. } => {
                "mount the volume it lies on; if it is really gone, `stateward init` makes a new one"
            }
            Self::NoSegments { .. } => {
                "put the segments under log/ back from a copy; nothing here was changed"
            }
            Self::Network { .. } => {
                "put the store on a local disk, or set store.allow_network = true if one machine alone uses it"
            }
            Self::Newer { .. } => "use the newer program; this one only reads it where it can",
            Self::Foreign { .. } => "name another directory as fallback",
            Self::Locked(LockError::Held { .. }) => {
                "wait for it to end, or look with list, show, status or log"
            }
            Self::Locked(LockError::Io { .. })
            | Self::Io { .. }
            | Self::Survey(_)
            | Self::Append(_) => return self.io_error().and_then(way_out_of).map(str::to_owned),
        };
        Some(text.to_owned())
    }

    /// The disk, or the user's share of it, is full.
    fn is_full(&self) -> bool {
        self.io_error().is_some_and(|error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        })
    }

    /// The store can be read but not written: it is on a read-only or full disk, or belongs to
    /// someone else.
    fn is_unwritable(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        matches!(self, Self::Newer { .. })
            || self.io_error().is_some_and(|error| {
                let kind = error.kind();
                matches!(kind, PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
            })
    }
}

/// What to do about a refusal of the file system that is not the store's own.
fn way_out_of(error: &io::Error) -> Option<&'static str> {
    Some(match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "run it as the user whom the store belongs to, or name another place with --store; `stateward doctor` tells more"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "mount it writable, or name another place with --store; list, show and restore --to work as it is"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some room, or name another place with --store; what was acknowledged stays"
        }
        _ => return None,
    })
}

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    ground: Ground,
    layout: Layout,
    identity: Identity,
    report: OpenReport,
    catalog: RwLock<Catalog>,
    segments: RwLock<BTreeMap<u64, Segment>>,
    /// Absent where the store is only looked at.
    writer: Option<Mutex<Writer>>,
    shown: Mutex<upkeep::Shown>,
    time: TimeBase,
    /// Where the log ended when it was looked at.
    seen_end: Option<Place>,
    /// Held as long as the store is written; whoever writes keeps it from being given back.
    lock: RwLock<Option<StoreLock>>,
    /// The segment that took batches when the store was opened.
    first_segment: u64,
    /// One compaction at a time: a second one would copy what the first unlinks.
    compacting: Mutex<()>,
    /// Checkpoints written since the store was opened.
    commits: AtomicU64,
    /// The reserve was let go and is not filled again.
    reserve_is_out: AtomicBool,
    /// Bytes that were left in the newest segment when room was last made for words.
    room_looked_at: AtomicU64,
    /// Events up to this number are known at home, where this is a fallback.
    events_at_home: AtomicU64,
}

/// Why nothing is written to a store without its lock.
const GONE: &str = "its lock is gone from its directory: the store was removed or moved away, or \
                    somebody removed the lock";

/// See [`Store::tenure`].
pub(super) type Tenure<'a> = parking_lot::RwLockReadGuard<'a, Option<StoreLock>>;

/// What opening hands over.
struct Parts {
    ground: Ground,
    identity: Identity,
    lock: Option<StoreLock>,
    catalog: Catalog,
    found: Survey,
    writer: Option<Writer>,
    viewed: HashSet<CheckpointId>,
    report: OpenReport,
}

/// Where store time stood when the store was opened.
#[derive(Debug, Clone, Copy)]
struct TimeBase {
    store_ms: u64,
    monotonic: Duration,
}

/// The most that store time moves on between two processes, whatever the wall clock says: a clock
/// that jumps ages nothing by more than a day.
const GAP_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl Store {
    fn assemble(parts: Parts) -> Self {
        let Parts { ground, identity, lock, catalog, found, writer, viewed, report } = parts;
        let gap = ground.clock.now().since(catalog.last_wall).min(GAP_MAX);
        let time = TimeBase {
            store_ms: catalog.store_time_ms + millis(gap),
            monotonic: ground.clock.monotonic(),
        };
        let faults = found.damage.iter().map(fault_of).collect();
        let mut segments = found.segments;
        if let Some(writer) = &writer {
            let active = writer.active().segment.clone();
            segments.insert(active.number(), active);
        }
        // The reserve of a new store is filled when the log first falls idle.
        let reserve_is_out = writer.is_some()
            && !report.made
            && ground.disk.metadata(&Layout::new(&ground.path).reserve()).is_err();
        let events_known = identity.home.as_ref().map_or(0, |home| home.events_known);
        let first_segment = writer.as_ref().map_or(0, |writer| writer.active().number());
        let shown = upkeep::Shown::new(viewed, found.unsummarised, faults);
        Self {
            layout: Layout::new(&ground.path),
            ground,
            identity,
            report,
            catalog: RwLock::new(catalog),
            segments: RwLock::new(segments),
            writer: writer.map(Mutex::new),
            shown: Mutex::new(shown),
            time,
            seen_end: found.seen_end,
            lock: RwLock::new(lock),
            first_segment,
            compacting: Mutex::default(),
            commits: AtomicU64::new(0),
            reserve_is_out: AtomicBool::new(reserve_is_out),
            room_looked_at: AtomicU64::new(0),
            events_at_home: AtomicU64::new(events_known),
        }
    }

    /// The store's own time in milliseconds: it moves on with the process's monotonic clock, and
    /// between processes with the wall clock, forwards and by at most a day.
    pub(crate) fn store_time_ms(&self) -> u64 {
        let passed = self.ground.clock.monotonic().saturating_sub(self.time.monotonic);
        self.time.store_ms + millis(passed)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.ground.clock.now()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.ground.path
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn report(&self) -> &OpenReport {
        &self.report
    }

    pub(crate) fn catalog(&self) -> parking_lot::RwLockReadGuard<'_, Catalog> {
        self.catalog.read()
    }

    /// Notes that a checkpoint was read and found damaged: nothing new leans on it, and nothing
    /// that it names counts as present unless it is proven again.
    pub(crate) fn note_damaged(&self, id: CheckpointId) {
        let known = self.catalog().is_damaged(id);
        if !known {
            self.catalog.write().set_damaged(id, true);
            self.forget_blocks_of(id);
        }
    }

    /// Whether commits can be made here; not once the lock was given back.
    pub(crate) fn is_writable(&self) -> bool {
        self.writer.is_some() && self.held_lock().is_some()
    }

    /// Gives the lock back: the store failed, is read from as far as it can be, and is about to be
    /// opened again. From then on nothing is written or removed through this value, so that it
    /// cannot meddle with the one that is opened next.
    ///
    /// # Errors
    /// While something is still being written.
    pub(crate) fn give_lock_back(&self) -> Result<(), Error> {
        match self.lock.try_write() {
            Some(mut lock) => {
                *lock = None;
                Ok(())
            }
            None => Err(Error::Io {
                doing: "give back the lock of",
                path: self.path().to_owned(),
                source: io::ErrorKind::ResourceBusy.into(),
            }),
        }
    }

    /// Says in the lock where this process answers.
    #[cfg(feature = "server")]
    pub(crate) fn name_socket(&self, socket: Option<PathBuf>) {
        if let Some(lock) = &*self.lock.read() {
            lock.name_socket(socket);
        }
    }

    /// The right to write and remove, as long as the answer is held. Where the lock is gone from its
    /// directory there is none: what is written goes with the store, or meets another writer.
    pub(super) fn tenure(&self) -> io::Result<Tenure<'_>> {
        let given_up = || io::Error::other("the store was given up after a failure");
        let held = self.held_lock().ok_or_else(given_up)?;
        if held.as_ref().map_or(Ok(true), StoreLock::is_in_place)? {
            Ok(held)
        } else {
            Err(io::Error::new(io::ErrorKind::NotFound, GONE))
        }
    }

    fn held_lock(&self) -> Option<Tenure<'_>> {
        self.lock.try_read_recursive().filter(|lock| lock.is_some())
    }

    /// The same for those who append.
    pub(super) fn tenure_to_append(&self) -> Result<Tenure<'_>, AppendError> {
        self.tenure().map_err(|source| AppendError::Write { segment: 0, source })
    }

    /// Whether the directory still holds the segment that takes batches; a file that was unlinked
    /// takes writes and syncs as if nothing were wrong.
    pub(crate) fn is_in_place(&self) -> io::Result<bool> {
        let Some(writer) = &self.writer else { return Ok(true) };
        let number = writer.lock().active().number();
        let path = self.layout.log().join(crate::commit::segment::file_name(number));
        match self.disk().metadata(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether something here, a fallback, is not known to be home.
    pub(crate) fn has_news(&self) -> bool {
        let catalog = self.catalog();
        let newest = catalog.events.last_key_value().map_or(0, |(n, _)| *n);
        newest > self.events_at_home.load(Ordering::Relaxed)
            || catalog.held().any(|held| !catalog.is_damaged(held.manifest.id))
    }

    /// Whether this event is known at home.
    pub(crate) fn is_at_home(&self, event: u64) -> bool {
        event <= self.events_at_home.load(Ordering::Relaxed)
    }

    /// Writes into a fallback's `store.json` which store its home is, and that events up to this
    /// number are known there.
    pub(crate) fn note_home(&self, home: &Self, events_known: u64) -> io::Result<()> {
        let _tenure = self.tenure()?;
        let path = home.path().to_owned();
        let home = Home { store_id: Some(home.identity.store_id), path, events_known };
        let identity = Identity { home: Some(home), ..self.identity.clone() };
        identity.publish(self.disk(), &self.layout)?;
        self.events_at_home.fetch_max(events_known, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.ground.disk
    }
}

fn fault_of(damage: &Damage) -> Finding {
    Finding {
        file: Path::new("log").join(&damage.file),
        what: damage.what.clone(),
        offset: damage.range.start,
        bytes: damage.range.end - damage.range.start,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Removes a file; that it is gone already is as good.
fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
