//! The manager: calls the stages in their order, for every agent of a store.
//!
//! It owns no policy and touches no disk. The way out is collect, encode, commit ([`committer`]),
//! with retention's answer in the same batch; the way back is resolve, verify by reading, restore
//! ([`restoring`]). What can wait until after a commit is done by [`housekeeping`].

mod admission;
mod agent;
mod asynchronous;
mod bundle;
mod committer;
mod differences;
mod drift;
mod error;
mod files;
mod homecoming;
mod housekeeping;
mod left_out;
mod letting_go;
#[cfg(feature = "cli")]
mod mending;
mod operation;
mod progress;
mod report;
mod request;
mod resolve;
mod restore_run;
mod restore_tree;
mod restoring;
mod retained;
mod serialized;
mod track;
mod tree_plan;
mod workplace;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub use agent::{Agent, Filter};
#[cfg(feature = "server")]
pub(crate) use committer::CommitEnd;
pub(crate) use committer::Committer;
pub use differences::{Aspect, Differences, FileDifference};
pub use drift::{DriftChoice, DriftPassed, DriftReport, DriftResponse, Observed, Word};
pub use error::Error;
pub use files::{FileFacts, FileKind, KeptFile};
pub use left_out::LeftOut;
pub use letting_go::{ForgetReport, ForgetRequest, ForgottenOne, KeptOne, PruneReport};
pub use operation::{Operation, OperationStatus, Standing};
pub use progress::{Work, WorkProgress};
pub use report::{AgentSummary, LogEntry, Status, TargetStatus};
pub use request::Request;
pub use resolve::WalkedPast;
#[cfg(feature = "cli")]
pub(crate) use resolve::is_of_agent;
use restore_run::Ended;
pub use restoring::{Loaded, RestoreOptions, Restored};
#[cfg(feature = "cli")]
pub(crate) use workplace::Pulse;
pub use workplace::WorkspaceOptions;

pub use crate::verify::{Progress, VerifyOptions, VerifyReport};

use crate::clock::{Clock, SystemClock};
use crate::disk::{Disk, MemoryDisk, RealDisk, Retry};
pub use crate::encode::event::Outcome;
use crate::encode::event::What;
use crate::error::ErrorKind;
use crate::state::{AgentId, Checkpoint, CheckpointId, Seq};
use crate::store::{Ground, IfMissing, News, Store, Target, Targets};
use crate::{collect, commit, encode, retention, store};

/// How a manager is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The primary store.
    pub path: PathBuf,
    /// Directories that take commits when the primary cannot, in order.
    pub fallbacks: Vec<PathBuf>,
    /// How stores are opened.
    pub store: store::Options,
    /// How the log is laid out.
    pub log: commit::Options,
    /// How states are checked and cut.
    pub state: encode::Options,
    /// How workspaces are scanned.
    pub workspace: collect::Options,
    /// What is kept.
    pub retention: retention::Policy,
    /// What counts as drift, and what is done about it.
    pub drift: crate::drift::Options,
    /// The same for agents of which it is said otherwise; whole, not on top of `drift`.
    pub drift_of: BTreeMap<AgentId, crate::drift::Options>,
    /// How often a failed write is tried again, and for how long.
    pub retry: Retry,
    /// Where the stores lie.
    pub disk: Arc<dyn Disk>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Do what can wait in a thread of its own; otherwise it is done by [`CheckpointManager::settle`].
    pub background: bool,
    /// Make the store where none is.
    pub create: bool,
    /// What is done through this manager is done by a person or a script, not by the agent: its
    /// checkpoints are no sign of the agent's life, and restores mind whether it lives.
    pub by_hand: bool,
    /// A directory that remembers which stores were made, so that an empty directory where one was
    /// is not taken for a fresh start; nothing is remembered where absent.
    pub registry: Option<PathBuf>,
}

impl Options {
    /// A store at `path`, everything else at its default.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            fallbacks: Vec::new(),
            store: store::Options::default(),
            log: commit::Options::default(),
            state: encode::Options::default(),
            workspace: collect::Options::default(),
            retention: retention::Policy::default(),
            drift: crate::drift::Options::default(),
            drift_of: BTreeMap::new(),
            retry: Retry::default(),
            disk: RealDisk::shared(),
            clock: SystemClock::shared(),
            background: true,
            create: true,
            by_hand: false,
            registry: None,
        }
    }

    /// A store that lives in memory and is gone with its manager; for tests.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { disk: MemoryDisk::plain().shared(), ..Self::new("/stateward") }
    }

    /// Adds a fallback directory behind those already named.
    #[must_use]
    pub fn fallback(mut self, path: impl Into<PathBuf>) -> Self {
        self.fallbacks.push(path.into());
        self
    }

    fn ground(&self, path: &Path, news: &News) -> Ground {
        Ground {
            disk: Arc::clone(&self.disk),
            clock: Arc::clone(&self.clock),
            path: absolute(path),
            store: self.store.clone(),
            commit: self.log.clone(),
            news: news.clone(),
        }
    }

    fn targets(&self) -> Targets {
        let news = News::default();
        Targets {
            primary: Target::new(self.ground(&self.path, &news)),
            fallbacks: self
                .fallbacks
                .iter()
                .map(|path| Target::impatient(self.ground(path, &news)))
                .collect(),
            registered: false,
            homecomings: AtomicU64::new(0),
            news,
        }
    }
}

/// Receipts name absolute paths.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// What a manager is for.
#[derive(Debug, Clone, Copy)]
struct Role {
    background: bool,
    looks_only: bool,
}

struct Inner {
    committer: Arc<Committer>,
    tracks: track::Tracks,
    disk: Arc<dyn Disk>,
    housekeeper: Option<housekeeping::Housekeeper>,
    looks_only: bool,
}

/// Keeps the checkpoints of every agent of a store. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct CheckpointManager {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for CheckpointManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.inner.committer.targets.primary.path();
        f.debug_struct("CheckpointManager").field("path", &path).finish_non_exhaustive()
    }
}

impl CheckpointManager {
    /// Opens a store to write, makes it where there is none, recovers what a crash left.
    ///
    /// # Errors
    /// `locked` where another process holds it, `not_found` where there is none and none is to be
    /// made, `damaged` where no segment can be read, `refused` on a network file system or for a
    /// newer format, `unavailable` where the disk refuses and no fallback is configured.
    #[tracing::instrument(level = "debug", skip_all, fields(path = %options.path.display()))]
    pub fn open(options: Options) -> Result<Self, Error> {
        options.state.check()?;
        options.log.check().map_err(Error::Setting)?;
        let watches = drift::Watches::new(&options)?;
        let mut targets = options.targets();
        let background = options.background;
        let primary = targets.primary.path().to_owned();
        targets.registered = options.registry.as_deref().is_some_and(|registry| {
            store::registry::known(&*options.disk, registry, &primary).is_some()
        });
        let knows = targets.know_of_home();
        let if_missing =
            if options.create && !knows { IfMissing::Make { home: None } } else { IfMissing::Fail };
        let opened = targets.primary.open(&if_missing);
        match opened {
            Ok(store) => note_made(&options, &store),
            Err(error) => {
                let error = match error {
                    store::Error::NoStore { path } if knows => store::Error::Gone { path },
                    other => other,
                };
                if targets.fallbacks.is_empty() || error.kind() != ErrorKind::Unavailable {
                    return Err(error.into());
                }
                targets.primary.fail(error.to_string());
                targets.primary.look_meanwhile();
            }
        }
        let manager =
            Self::assemble(options, targets, watches, Role { background, looks_only: false });
        manager.come_home();
        manager.finish_begun_restores()?;
        Ok(manager)
    }

    /// Opens a store to look: never waits for the lock, and changes nothing while another process
    /// writes.
    ///
    /// # Errors
    /// `not_found` where there is none, `damaged` where no segment can be read, `unavailable` where
    /// the disk refuses.
    pub fn open_to_look(options: Options) -> Result<Self, Error> {
        let watches = drift::Watches::new(&options)?;
        let targets = options.targets();
        let opened = targets.primary.open_to_look();
        let mut seen = opened.is_ok();
        for fallback in &targets.fallbacks {
            match fallback.is_there().map(|there| there.then(|| fallback.open_to_look())) {
                Ok(None) => {}
                Ok(Some(Ok(_))) => seen = true,
                Ok(Some(Err(error))) => fallback.fail(error.to_string()),
                Err(error) => fallback.fail(error.to_string()),
            }
        }
        if let Err(error) = opened {
            if !seen {
                return Err(error.into());
            }
            targets.primary.fail(error.to_string());
        }
        let role = Role { background: false, looks_only: true };
        Ok(Self::assemble(options, targets, watches, role))
    }

    fn assemble(
        options: Options,
        targets: Targets,
        watches: drift::Watches,
        Role { background, looks_only }: Role,
    ) -> Self {
        let committer = Arc::new(Committer::new(targets, &options, watches));
        let disk = options.disk;
        let housekeeper =
            background.then(|| housekeeping::Housekeeper::start(Arc::clone(&committer)));
        let tracks = track::Tracks::default();
        Self { inner: Arc::new(Inner { committer, tracks, disk, housekeeper, looks_only }) }
    }

    /// Has somebody told how far scans, restores, exports and imports have come; several threads tell.
    pub fn on_progress(&self, tell: impl Fn(WorkProgress) + Send + Sync + 'static) {
        *self.committer().progress.write() = Some(Box::new(tell));
    }

    /// Says in the locks of the stores where this process answers, for whoever finds them held; or
    /// that it answers nowhere any more.
    #[cfg(feature = "server")]
    pub(crate) fn name_socket(&self, socket: Option<&Path>) {
        self.committer().targets.name_socket(socket);
    }

    /// The wall clock that everything here goes by.
    #[cfg(feature = "server")]
    pub(crate) fn now(&self) -> crate::state::Timestamp {
        self.committer().clock.now()
    }

    /// Time since some fixed moment of this process.
    #[cfg(feature = "server")]
    pub(crate) fn monotonic(&self) -> std::time::Duration {
        self.committer().clock.monotonic()
    }

    /// The primary store, absolute.
    #[cfg(feature = "cli")]
    pub(crate) fn store_path(&self) -> &Path {
        self.committer().targets.primary.path()
    }

    /// The clock that everything here goes by.
    #[cfg(feature = "server")]
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.committer().clock
    }

    /// The handle of an agent.
    ///
    /// # Errors
    /// `usage` where the text is no agent id.
    pub fn agent(&self, id: &str) -> Result<Agent, Error> {
        Ok(Agent::new(self.clone(), AgentId::new(id)?))
    }

    /// Finds a checkpoint: by path or id whosever it is, by `latest` and the like the given agent's.
    ///
    /// # Errors
    /// `not_found`, `usage` for what is no reference.
    pub fn find(&self, agent: &AgentId, reference: &str) -> Result<Checkpoint, Error> {
        self.agent(agent.as_str())?.show(reference)
    }

    /// Does everything that can wait, now: homecoming where the primary is back, compaction where
    /// it pays, views, summaries, a mark.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn settle(&self) -> Result<(), Error> {
        if !self.inner.looks_only {
            self.come_home();
            self.committer().watches.write_down(self.committer(), true)?;
        }
        if self.inner.housekeeper.is_none() && !self.inner.looks_only {
            letting_go::compact_when_worthwhile(self.committer())?;
        }
        for store in self.inner.committer.targets.sighted() {
            if store.is_writable() {
                store
                    .settle()
                    .map_err(|source| Error::Io { doing: "settle the store".to_owned(), source })?;
            }
        }
        Ok(())
    }

    /// Makes the next segment of each store ahead of need, where the current one is half full, as
    /// the background thread does.
    ///
    /// # Errors
    /// When the disk refuses.
    #[cfg(feature = "testing")]
    pub fn make_ready(&self) -> Result<(), Error> {
        self.make_segments_ahead()
    }

    #[cfg(any(feature = "cli", feature = "testing"))]
    pub(crate) fn make_segments_ahead(&self) -> Result<(), Error> {
        for store in self.inner.committer.targets.sighted() {
            store.make_spare().map_err(|source| Error::Io {
                doing: "make the next segment".to_owned(),
                source,
            })?;
        }
        Ok(())
    }

    /// How many commits wait while another is being made durable.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.committer().waiting()
    }

    fn come_home(&self) {
        homecoming::come_home(self.committer());
    }

    fn finish_begun_restores(&self) -> Result<(), Error> {
        let begun: Vec<(AgentId, What)> = self
            .committer()
            .targets
            .sighted()
            .iter()
            .flat_map(|store| store.catalog().begun_restores())
            .collect();
        for (agent, begun) in &begun {
            // Other agents are not kept waiting for one whose workspace is not there.
            match restore_run::roll_on(&self.agent(agent.as_str())?, begun) {
                Ok(Ended::Finished) => {
                    tracing::warn!(%agent, "finished a restore that was interrupted");
                }
                Ok(Ended::TakenBack) => {
                    tracing::warn!(%agent, "took a restore back that was interrupted");
                }
                Err(error) => {
                    tracing::error!(%agent, %error, "a restore has begun and cannot be finished");
                }
            }
        }
        if !begun.is_empty() {
            self.mark();
        }
        Ok(())
    }

    /// Marks what opening wrote, so that an opening that follows at once finds nothing to do.
    fn mark(&self) {
        for store in self.committer().targets.sighted() {
            if let Err(error) = store.mark() {
                tracing::warn!(store = %store.path().display(), %error, "cannot mark the log");
            }
        }
    }

    fn list(&self, agent: &AgentId, filter: Filter) -> Result<Vec<Checkpoint>, Error> {
        self.seen("the list")?;
        let limit = filter.limit.unwrap_or(usize::MAX);
        let mut all = self.committer().targets.in_one_view(|stores| {
            let mut all: Vec<Checkpoint> = Vec::new();
            for store in stores {
                let held: Vec<_> = {
                    let catalog = store.catalog();
                    let shelf = catalog.agents.get(agent).into_iter();
                    let held = shelf.flat_map(|shelf| shelf.checkpoints.values().rev());
                    held.filter(|held| filter.takes(&held.manifest)).take(limit).cloned().collect()
                };
                all.extend(held.iter().map(|held| store.facts(held)));
            }
            all
        });
        // What is home and not let go yet counts as it is at home.
        let mut known = HashSet::new();
        all.retain(|one| known.insert(one.checkpoint_id));
        all.sort_by_key(|one| std::cmp::Reverse((one.seq, one.checkpoint_id)));
        all.truncate(limit);
        Ok(all)
    }

    fn operations(&self, agent: &AgentId) -> Result<Vec<OperationStatus>, Error> {
        self.seen("the operations")?;
        let mut all = self.committer().targets.in_one_view(|stores| {
            let mut all: Vec<OperationStatus> = Vec::new();
            for store in stores {
                let openers: Vec<_> = store.catalog().openers(agent).cloned().collect();
                all.extend(openers.iter().filter_map(|held| operation::status_of(stores, held)));
            }
            all
        });
        let mut known = HashSet::new();
        all.retain(|one| known.insert(one.operation_id));
        all.sort_by_key(|one| one.seq);
        Ok(all)
    }

    /// Every store that can be seen; an error where none can.
    fn seen(&self, what: &str) -> Result<Vec<Arc<Store>>, Error> {
        let stores = self.committer().targets.sighted();
        if stores.is_empty() {
            let trouble = self.committer().targets.primary.trouble();
            let why = trouble.map_or_else(|| "it is not open".to_owned(), |trouble| trouble.why);
            return Err(Error::Unseen { reference: what.to_owned(), why });
        }
        Ok(stores)
    }

    fn last_seq(&self, agent: &AgentId) -> Seq {
        let stores = self.committer().targets.sighted();
        let last = stores
            .iter()
            .filter_map(|store| store.catalog().agents.get(agent).map(|shelf| shelf.last_seq));
        last.max().unwrap_or_default()
    }

    /// Whether this is the agent's `latest`, damage apart: what a patch is against.
    fn is_latest(&self, agent: &AgentId, id: CheckpointId) -> bool {
        let stores = self.committer().targets.sighted();
        resolve::of_latest(&stores, agent, |latest| latest.id) == Some(id)
    }

    /// Writes one event to the first target that takes it; where none does, those that are left
    /// alone after a failure are tried all the same.
    fn write_event(&self, what: impl Fn(&Store) -> What) -> Result<(), Error> {
        self.committer().write_event(what)
    }

    fn committer(&self) -> &Committer {
        &self.inner.committer
    }

    fn tracks(&self) -> &track::Tracks {
        &self.inner.tracks
    }

    fn disk(&self) -> &dyn Disk {
        &*self.inner.disk
    }

    fn looks_only(&self) -> bool {
        self.inner.looks_only
    }

    fn shared_disk(&self) -> &Arc<dyn Disk> {
        &self.inner.disk
    }

    /// Has the housekeeper look after what was seen.
    fn wake(&self) {
        if let Some(housekeeper) = &self.inner.housekeeper {
            housekeeper.nudge();
        }
    }

    fn note_activity(&self) {
        if let Some(housekeeper) = &self.inner.housekeeper {
            housekeeper.poke();
        }
    }

    /// Refuses what would write where the manager only looks.
    fn must_write(&self) -> Result<(), Error> {
        if self.inner.looks_only {
            let path = self.committer().targets.primary.path().to_owned();
            return Err(Error::LooksOnly { path });
        }
        Ok(())
    }
}

impl Filter {
    fn takes(&self, manifest: &encode::manifest::Manifest) -> bool {
        self.kind.is_none_or(|kind| manifest.kind == kind)
            && self.before.is_none_or(|before| manifest.seq < before)
    }
}

/// Notes in the registry that a store is here; without it everything still works.
fn note_made(options: &Options, store: &Store) {
    let Some(registry) = &options.registry else { return };
    let noted =
        store::registry::note(&*options.disk, registry, store.path(), store.identity().store_id);
    if let Err(error) = noted {
        tracing::warn!(%error, "the registry of stores cannot be written");
    }
}
