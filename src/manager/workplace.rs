//! What an agent's handle collects beside its state: a workspace and state files.
//!
//! A handle that has either is a session of the agent: what changes in the workspace while it is
//! held is the agent's own. That the session began is said with its first checkpoint, that it ended
//! when the last clone of the handle goes; a session that made no checkpoint leaves no word.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use uuid::Uuid;

use super::CheckpointManager;
use super::admission::{Submission, WantedPart};
use super::agent::Agent;
use super::error::Error;
use super::left_out::LeftOut;
use crate::collect::{self, Depth, Scanned, Sink, SinkError, StateFilesFound, Workspace};
use crate::encode;
use crate::encode::event::What;
use crate::encode::parts::{self, STATE_FILES_MAX, StateFiles};
use crate::state::{AgentId, Kind, Timestamp};
use crate::store::{Ahead, Brought, Store};

/// What a handle collects, and the session it is.
pub(super) struct Workplace {
    pub workspace: Option<Place>,
    pub state_files: Vec<PathBuf>,
    session: Session,
}

/// A workspace and where it is.
pub(super) struct Place {
    /// Absolute, links resolved.
    pub root: PathBuf,
    pub options: collect::Options,
    /// Though it is a home directory or the root of everything.
    pub force: bool,
    open: Mutex<Option<Workspace>>,
    /// More is known than the cache in the store says.
    knows_more: AtomicBool,
}

struct Session {
    manager: CheckpointManager,
    agent: AgentId,
    by_hand: bool,
    id: Uuid,
    since: Timestamp,
    said: Mutex<bool>,
}

/// What is known of changes in a workspace.
#[cfg(feature = "cli")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// A scan is under way.
    Busy,
    /// Changes are not watched.
    Unwatched,
    /// This number grows with every change that is noticed.
    Noticed(u64),
}

/// What was collected for one checkpoint.
pub(super) struct Parts {
    pub workspace: WantedPart<parts::Workspace>,
    pub state_files: WantedPart<StateFiles>,
    pub brought: Option<Arc<Brought>>,
    /// Of the workspace.
    pub left_out: LeftOut,
    /// Of the state files.
    pub files_left_out: LeftOut,
}

/// Asked whether a checkpoint may be made, once its parts were collected, where it has any.
pub(super) type Inspect<'a> = &'a mut dyn FnMut(Option<&Parts>) -> Result<(), Error>;

/// Which parts are to be collected.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Takes {
    pub workspace: bool,
    pub state_files: bool,
    /// All of the workspace is looked at, whatever the kind of the checkpoint.
    pub thorough: bool,
}

impl Takes {
    pub(super) fn anything(self) -> bool {
        self.workspace || self.state_files
    }
}

impl Workplace {
    /// Extends what a handle collects.
    pub(super) fn with(
        before: Option<&Arc<Self>>,
        agent: &Agent,
        extend: impl FnOnce(&mut Option<Place>, &mut Vec<PathBuf>),
    ) -> Self {
        let (manager, by_hand) = (agent.manager().clone(), agent.is_by_hand());
        let since = manager.committer().clock.now();
        let mut workspace = before.and_then(|one| one.workspace.as_ref()).map(Place::again);
        let mut state_files = before.map(|one| one.state_files.clone()).unwrap_or_default();
        extend(&mut workspace, &mut state_files);
        let (agent, said) = (agent.id().clone(), Mutex::new(false));
        let session = Session { manager, agent, by_hand, id: Uuid::now_v7(), since, said };
        Self { workspace, state_files, session }
    }

    /// Collects parts into a store, ahead of the checkpoint that is to name them.
    pub(super) fn collect(
        &self,
        kind: Kind,
        takes: Takes,
        store: &Arc<Store>,
    ) -> Result<Parts, Error> {
        let ahead = Ahead::new(store, self.session.manager.committer().retry);
        let depth = match kind {
            Kind::Routine if !takes.thorough => Depth::Hinted,
            _ => Depth::Thorough,
        };
        let mut parts = Parts::none();
        if let (Some(place), true) = (&self.workspace, takes.workspace) {
            let scanned = place.scan(&self.session.manager, depth, &ahead)?;
            parts.left_out = left_out_of(&scanned);
            parts.workspace = WantedPart::Given(place.part(&scanned, &parts.left_out, &ahead)?);
        }
        if takes.state_files {
            let found = self.read_state_files(&ahead)?;
            parts.state_files = WantedPart::Given(StateFiles {
                files: found.files,
                inherited_from: None,
                unknown: Vec::new(),
            });
            parts.files_left_out = LeftOut { skipped: found.skipped, unsettled: found.unsettled };
        }
        parts.brought = Some(Arc::new(ahead.finish()));
        Ok(parts)
    }

    fn read_state_files(&self, ahead: &Ahead) -> Result<StateFilesFound, Error> {
        let manager = &self.session.manager;
        let put = |blocks| ahead.put(blocks).map_err(|error| SinkError(error.to_string()));
        let sink = Sink {
            put: &put,
            chunks_of: &|_| Vec::new(),
            progress: &|progress| manager.committer().tell_progress(progress.into()),
        };
        let committer = manager.committer();
        let disk = manager.shared_disk();
        Ok(collect::state_files(disk, &committer.clock, &self.state_files, &sink)?)
    }

    /// Which parts there are to collect.
    pub(super) fn takes(&self) -> Takes {
        Takes {
            workspace: self.workspace.is_some(),
            state_files: !self.state_files.is_empty(),
            thorough: false,
        }
    }

    /// The word that this session has begun, where it was not said yet.
    pub(super) fn begins(&self) -> Option<What> {
        let session = &self.session;
        let is_silent = session.by_hand || *session.said.lock();
        (!is_silent).then(|| What::SessionBegun {
            agent_id: session.agent.clone(),
            session_id: session.id,
            since: session.since,
        })
    }

    /// A checkpoint of the session was made, and what was collected for it lies in this store.
    pub(super) fn note_committed(&self, store: &Store) {
        let by_hand = self.session.by_hand;
        *self.session.said.lock() |= !by_hand;
        if let Some(place) = &self.workspace {
            place.confirm();
            if by_hand {
                place.save_cache(store);
            }
        }
    }

    /// Scans the workspace and keeps nothing of it; `look` is told what would be collected.
    pub(super) fn look<T>(
        &self,
        look: impl FnOnce(&Parts) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut parts = Parts::none();
        if let Some(place) = &self.workspace {
            parts.left_out = left_out_of(&place.scan_only(&self.session.manager)?);
        }
        look(&parts)
    }

    /// The workspace as it was last scanned.
    pub(super) fn with_scanned<T>(
        &self,
        work: impl FnOnce(&Workspace) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let open = self.workspace.as_ref().map(|place| place.open.lock());
        match open.as_deref() {
            Some(Some(workspace)) => work(workspace),
            _ => Err(Error::NoState { agent: self.session.agent.clone() }),
        }
    }

    /// What is known of changes in the workspace, without waiting for a scan that is under way.
    #[cfg(feature = "cli")]
    pub(super) fn pulse(&self) -> Pulse {
        let Some(place) = &self.workspace else { return Pulse::Unwatched };
        let Some(open) = place.open.try_lock() else { return Pulse::Busy };
        open.as_ref().and_then(Workspace::noticed).map_or(Pulse::Unwatched, Pulse::Noticed)
    }

    /// Since when the session lasts; none where it is a person's.
    pub(super) fn since(&self) -> Option<Timestamp> {
        (!self.session.by_hand).then_some(self.session.since)
    }
}

impl Parts {
    /// Everything is taken over from the newest checkpoint.
    fn none() -> Self {
        Self {
            workspace: WantedPart::Inherited,
            state_files: WantedPart::Inherited,
            brought: None,
            left_out: LeftOut::default(),
            files_left_out: LeftOut::default(),
        }
    }
}

impl Parts {
    /// The submission with these parts, and with the word that a session begins.
    pub(super) fn join(&self, submission: Submission, begins: Option<What>) -> Submission {
        Submission {
            workspace: self.workspace.clone(),
            state_files: self.state_files.clone(),
            brought: self.brought.clone(),
            events: begins.into_iter().collect(),
            ..submission
        }
    }
}

impl Place {
    /// A workspace at an absolute path without links.
    pub(super) fn new(root: PathBuf, options: collect::Options, force: bool) -> Self {
        let (open, knows_more) = (Mutex::default(), AtomicBool::default());
        Self { root, options, force, open, knows_more }
    }

    /// The same workspace for another session.
    fn again(&self) -> Self {
        Self::new(self.root.clone(), self.options.clone(), self.force)
    }

    /// Scans the workspace into a store.
    fn scan(
        &self,
        manager: &CheckpointManager,
        depth: Depth,
        ahead: &Ahead,
    ) -> Result<Scanned, Error> {
        let mut open = self.open.lock();
        let workspace = match &mut *open {
            Some(workspace) => workspace,
            none => none.insert(self.open(manager, ahead.store())?),
        };
        if let Some(root) = workspace.leans_on()
            && !ahead.lean_on(root)
        {
            workspace.forget();
        }
        let store = ahead.store();
        let scanned = workspace.scan(
            depth,
            &Sink {
                put: &|blocks| ahead.put(blocks).map_err(|error| SinkError(error.to_string())),
                chunks_of: &|root| store.chunks_of(root),
                progress: &|progress| {
                    self.knows_more.store(true, Ordering::Relaxed);
                    manager.committer().tell_progress(progress.into());
                },
            },
        )?;
        self.knows_more.fetch_or(scanned.changed, Ordering::Relaxed);
        Ok(scanned)
    }

    /// Scans the workspace; what is new is hashed and goes nowhere.
    fn scan_only(&self, manager: &CheckpointManager) -> Result<Scanned, Error> {
        let store = manager.seen("the workspace")?.swap_remove(0);
        let mut open = self.open.lock();
        let workspace = match &mut *open {
            Some(workspace) => workspace,
            none => none.insert(self.open(manager, &store)?),
        };
        Ok(workspace.scan(
            Depth::Thorough,
            &Sink {
                put: &|_| Ok(()),
                chunks_of: &|root| store.chunks_of(root),
                progress: &|progress| manager.committer().tell_progress(progress.into()),
            },
        )?)
    }

    fn open(&self, manager: &CheckpointManager, store: &Store) -> Result<Workspace, Error> {
        let committer = manager.committer();
        let stores = committer.targets.all().map(|target| target.path().to_owned()).collect();
        let place = collect::Place { root: self.root.clone(), stores, force: self.force };
        let clock = Arc::clone(&committer.clock);
        let mut workspace =
            Workspace::open(manager.shared_disk(), clock, place, self.options.clone())?;
        if let Some(cache) = store.read_stat_cache(&self.root)
            && !workspace.take_cache(&cache)
        {
            tracing::debug!(workspace = %self.root.display(), "the stat cache is not taken");
        }
        Ok(workspace)
    }

    /// What the manifest says of a scan; the list of what was left out goes into the store.
    fn part(
        &self,
        scanned: &Scanned,
        left_out: &LeftOut,
        ahead: &Ahead,
    ) -> Result<parts::Workspace, Error> {
        Ok(parts::Workspace {
            place: self.root.clone(),
            root: scanned.root,
            files: scanned.files,
            bytes: scanned.bytes,
            keeps_defaults: !self.options.ignore_defaults,
            left_out: keep_list(left_out, ahead)?,
            inherited_from: None,
            unknown: Vec::new(),
        })
    }

    /// What was scanned lies in the store now.
    fn confirm(&self) {
        if let Some(workspace) = &mut *self.open.lock() {
            workspace.confirm();
        }
    }

    /// Writes what is known of the files' times, so that the next process need not read them all.
    pub(super) fn save_cache(&self, store: &Store) {
        if !self.knows_more.swap(false, Ordering::Relaxed) {
            return;
        }
        let bytes = self.open.lock().as_ref().and_then(Workspace::cache);
        if let Some(bytes) = bytes
            && let Err(error) = store.write_stat_cache(&self.root, &bytes)
        {
            tracing::debug!(%error, "the stat cache is not written");
        }
    }
}

fn left_out_of(scanned: &Scanned) -> LeftOut {
    LeftOut { skipped: scanned.skipped.to_vec(), unsettled: scanned.unsettled.clone() }
}

/// Brings the list of what was left out into the store.
fn keep_list(list: &LeftOut, ahead: &Ahead) -> Result<Option<parts::LeftOut>, Error> {
    if list.is_empty() {
        return Ok(None);
    }
    let json = list.encode().map_err(|source| Error::Json { doing: "serialize", source })?;
    let mut rest = json.as_slice();
    let mut blocks = Vec::new();
    let read = &mut |buffer: &mut [u8]| {
        let (now, later) = rest.split_at(buffer.len().min(rest.len()));
        buffer[..now.len()].copy_from_slice(now);
        rest = later;
        Ok::<_, Infallible>(now.len())
    };
    let emit = &mut |block| {
        blocks.push(block);
        Ok(())
    };
    let Ok((len, root)) = encode::encode_file(read, &[], emit);
    ahead.put(blocks).map_err(|error| collect::Error::Sink(SinkError(error.to_string())))?;
    Ok(root.map(|root| parts::LeftOut { count: list.len() as u64, len, root }))
}

impl Drop for Session {
    fn drop(&mut self) {
        if !*self.said.lock() {
            return;
        }
        let until = self.manager.committer().clock.now();
        let ended = self.manager.write_event(|_| What::SessionEnded {
            agent_id: self.agent.clone(),
            session_id: self.id,
            until,
        });
        if let Err(error) = ended {
            tracing::warn!(agent = %self.agent, %error, "cannot say that a session ended");
        }
    }
}

/// What is refused of a workspace unless it is allowed here.
#[derive(Debug, Clone, Default)]
pub struct WorkspaceOptions {
    /// How it is scanned; as the manager's options say where absent.
    pub scan: Option<collect::Options>,
    /// A home directory or the root of everything may be one.
    pub force: bool,
    /// It may overlap with another agent's.
    pub shared: bool,
}

/// A workspace at a path that a caller gave.
pub(super) fn place(agent: &Agent, path: &Path, options: WorkspaceOptions) -> Result<Place, Error> {
    let root = agent.disk().canonical(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => collect::Error::NoDirectory { path: path.to_owned() },
        _ => collect::Error::Io { doing: "find", path: path.to_owned(), source },
    })?;
    check_text(&root)?;
    if !options.shared {
        check_overlap(agent, &root)?;
    }
    let scan = options.scan.unwrap_or_else(|| agent.committer().workspace.clone());
    Ok(Place::new(root, scan, options.force))
}

/// A state file at a path that a caller gave.
pub(super) fn state_file(agent: &Agent, path: &Path) -> Result<PathBuf, Error> {
    check_text(path)?;
    let known = agent.place().map_or(0, |place| place.state_files.len());
    if known >= STATE_FILES_MAX {
        return Err(Error::Refused {
            why: format!("more than {STATE_FILES_MAX} state files"),
            way_out: "keep the directory they lie in as a workspace".to_owned(),
        });
    }
    // The file may not be there yet; its directory tells where it will be.
    let absolute = std::path::absolute(path).map_err(|source| collect::Error::Io {
        doing: "find",
        path: path.to_owned(),
        source,
    })?;
    let resolved = absolute.parent().zip(absolute.file_name()).and_then(|(parent, name)| {
        agent.disk().canonical(parent).ok().map(|parent| parent.join(name))
    });
    Ok(resolved.unwrap_or(absolute))
}

/// Receipts, views and logs are JSON, which is UTF-8; names within a workspace may be anything.
fn check_text(path: &Path) -> Result<(), Error> {
    if path.to_str().is_some() {
        return Ok(());
    }
    Err(Error::Refused {
        why: format!("the path {} is not UTF-8", path.display()),
        way_out: "give it a name that is; names within a workspace may be anything".to_owned(),
    })
}

fn check_overlap(agent: &Agent, root: &Path) -> Result<(), Error> {
    for store in agent.committer().targets.sighted() {
        let catalog = store.catalog();
        for (other, shelf) in catalog.agents.iter().filter(|(other, _)| *other != agent.id()) {
            let newest = shelf.checkpoints.values().next_back();
            let place =
                newest.and_then(|held| held.manifest.workspace.as_ref()).map(|it| &it.place);
            if place.is_some_and(|place| place.starts_with(root) || root.starts_with(place)) {
                return Err(Error::Refused {
                    why: format!("{} overlaps with the workspace of agent {other}", root.display()),
                    way_out: "use another directory, or --shared where they are to share it"
                        .to_owned(),
                });
            }
        }
    }
    Ok(())
}
