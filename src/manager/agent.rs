//! An agent's handle: everything that is done in its name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::CheckpointManager;
use super::admission::{Before, Submission, Wanted};
use super::committer::Committer;
use super::error::Error;
use super::operation::{self, Operation, OperationStatus, Standing};
use super::request::{Given, Request};
use super::resolve::{self, Resolved};
use super::restore_run;
use super::restoring::{self, Loaded, RestoreOptions, Restored};
use super::workplace::{self, Inspect, Place, Takes, Workplace, WorkspaceOptions};
use crate::collect::{self, StateSource};
use crate::disk::Disk;
use crate::encode::event::{Outcome, What};
use crate::encode::{Change, diff};
use crate::restore::Sessions;
use crate::state::{
    AgentId, Attempt, Checkpoint, CheckpointId, Kind, OperationRef, Receipt, Seq, Timestamp,
};
use crate::store::Store;

/// Which checkpoints to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Only those before this number.
    pub before: Option<Seq>,
    /// At most so many, the newest.
    pub limit: Option<usize>,
}

/// An agent's handle. Cheap to clone; its clones are the same session.
#[derive(Clone)]
pub struct Agent {
    manager: CheckpointManager,
    id: AgentId,
    source: Option<Arc<dyn StateSource>>,
    place: Option<Arc<Workplace>>,
    by_hand: bool,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Agent {
    pub(super) fn new(manager: CheckpointManager, id: AgentId) -> Self {
        let by_hand = manager.committer().by_hand;
        Self { manager, id, source: None, place: None, by_hand }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &AgentId {
        &self.id
    }

    /// Says that what is done through this handle is done by a person or a script, not by the agent,
    /// as [`Options::by_hand`](super::Options::by_hand) does for all of a manager; to be said before
    /// the handle is given a workspace.
    #[must_use]
    pub fn by_hand(mut self, by_hand: bool) -> Self {
        self.by_hand = by_hand;
        self
    }

    /// Gives the agent a source of its own state: used where no state is given, and told of a
    /// restore.
    #[must_use]
    pub fn with_source(mut self, source: Arc<dyn StateSource>) -> Self {
        self.source = Some(source);
        self
    }

    /// Gives the agent a workspace: a directory whose tree every checkpoint made through this handle
    /// holds, unless [`Request::workspace`] says otherwise. The handle is a session: what changes
    /// there while it is held is the agent's own.
    ///
    /// # Errors
    /// `not_found` where there is no such directory; `refused` for a home directory, `/`, a directory
    /// inside a store, or one that overlaps the workspace of another agent; `usage` where its path is
    /// not UTF-8.
    pub fn workspace(self, path: impl AsRef<Path>) -> Result<Self, Error> {
        self.workspace_with(path, WorkspaceOptions::default())
    }

    /// Gives the agent a workspace as [`Agent::workspace`] does, with less refused.
    ///
    /// # Errors
    /// As [`Agent::workspace`].
    pub fn workspace_with(
        mut self,
        path: impl AsRef<Path>,
        options: WorkspaceOptions,
    ) -> Result<Self, Error> {
        let place = workplace::place(&self, path.as_ref(), options)?;
        if !self.manager.looks_only() {
            restore_run::sweep_staging(&self, &place.root);
        }
        self.extend(|workspace, _| *workspace = Some(place));
        Ok(self)
    }

    /// Gives the agent a file that every checkpoint made through this handle holds byte for byte; a
    /// file that is missing is named in the receipt. A database of `SQLite` is kept with its journal.
    ///
    /// # Errors
    /// `usage` where the path is not UTF-8, `refused` beyond 1,000 files.
    pub fn state_file(mut self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = workplace::state_file(&self, path.as_ref())?;
        self.extend(|_, files| {
            if !files.contains(&path) {
                files.push(path);
            }
        });
        Ok(self)
    }

    fn extend(&mut self, how: impl FnOnce(&mut Option<Place>, &mut Vec<PathBuf>)) {
        let own = self.clone();
        self.place = Some(Arc::new(Workplace::with(self.place.as_ref(), &own, how)));
    }

    /// Keeps `state`; durable on return.
    ///
    /// # Errors
    /// As [`Request::state`] and [`Request::commit`].
    pub fn create_checkpoint<T: Serialize + ?Sized>(
        &self,
        kind: Kind,
        state: &T,
    ) -> Result<Receipt, Error> {
        self.checkpoint(kind).state(state)?.commit()
    }

    /// Begins to ask for a checkpoint. Without a state it keeps that of the agent's source, or takes
    /// over the newest one.
    pub fn checkpoint(&self, kind: Kind) -> Request {
        Request::new(self.clone(), kind)
    }

    /// Restores a checkpoint in place: a `recovery` checkpoint keeps what is there, the workspace, the
    /// state files and the state go back to where they were taken from, or to the agent's source,
    /// and `latest` is what was restored.
    ///
    /// # Errors
    /// `not_found`, `damaged` for an id or a path, `refused` for another agent's or where somebody
    /// else's work would be replaced, `unstored` when the recovery checkpoint cannot be kept. After
    /// an error the workspace is as it was, except where the error says otherwise.
    pub fn restore_checkpoint(&self, reference: impl AsRef<Path>) -> Result<Restored, Error> {
        self.restore(restoring::reference_text(reference.as_ref())?, &RestoreOptions::default())
    }

    /// Restores as [`Agent::restore_checkpoint`] does, with options.
    ///
    /// # Errors
    /// As [`Agent::restore_checkpoint`].
    pub fn restore(&self, reference: &str, options: &RestoreOptions) -> Result<Restored, Error> {
        self.restore_above(reference, options, None)
    }

    /// The same while the agent may be at work: a state that it kept since its state last changed at
    /// `above` stays the newest.
    pub(crate) fn restore_above(
        &self,
        reference: &str,
        options: &RestoreOptions,
        above: Option<Seq>,
    ) -> Result<Restored, Error> {
        let said: Vec<What> = self.release("a checkpoint was restored").into_iter().collect();
        let restored = restoring::restore_saying(self, reference, options, (&said, above))?;
        self.note_released();
        Ok(restored)
    }

    /// Tells what [`Agent::restore`] would do: what it would write, remove and leave, and what is
    /// somebody else's. Keeps and changes nothing.
    ///
    /// # Errors
    /// As [`Agent::restore`], conflicts apart: those are in the answer.
    pub fn plan_restore(
        &self,
        reference: &str,
        options: &RestoreOptions,
    ) -> Result<Restored, Error> {
        let options = RestoreOptions { dry_run: true, ..options.clone() };
        restoring::restore_saying(self, reference, &options, (&[], None))
    }

    /// Reads a checkpoint and changes nothing.
    ///
    /// # Errors
    /// `not_found`, and `damaged` for an id or a path; `latest` and `good` walk back.
    pub fn read_checkpoint(&self, reference: impl AsRef<Path>) -> Result<Loaded, Error> {
        restoring::load(self, restoring::reference_text(reference.as_ref())?)
    }

    /// The facts of one checkpoint.
    ///
    /// # Errors
    /// `not_found`.
    pub fn show(&self, reference: &str) -> Result<Checkpoint, Error> {
        let found = self.resolve(reference)?;
        Ok(found.store.facts(&found.held))
    }

    /// The number at which the state of a checkpoint last changed: what [`Request::if_match`] is
    /// compared with where that checkpoint is the newest.
    ///
    /// # Errors
    /// `not_found`.
    pub fn state_changed(&self, reference: &str) -> Result<Seq, Error> {
        Ok(self.resolve(reference)?.held.manifest.state_changed)
    }

    /// What [`Request::if_match`] is compared with at this moment.
    pub(crate) fn state_changed_now(&self) -> Seq {
        Before::find(&[], &self.committer().targets.sighted(), &self.id).state_changed
    }

    /// The newest checkpoint of a kind since the last fresh start, tainted ones apart.
    ///
    /// # Errors
    /// `unavailable` where the primary cannot be seen.
    pub fn get_latest_checkpoint(&self, kind: Kind) -> Result<Option<Checkpoint>, Error> {
        match self.show(&format!("latest:{kind}")) {
            Ok(checkpoint) => Ok(Some(checkpoint)),
            Err(Error::NoCheckpoint { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The checkpoints, newest first.
    ///
    /// # Errors
    /// `unavailable` where no store can be seen.
    pub fn list_checkpoints(&self, filter: Filter) -> Result<Vec<Checkpoint>, Error> {
        self.manager.list(&self.id, filter)
    }

    /// The differences between the states of two checkpoints.
    ///
    /// # Errors
    /// `not_found`, `damaged`.
    pub fn diff(&self, a: &str, b: &str) -> Result<Vec<Change>, Error> {
        let (a, b) = (self.read_checkpoint(a)?, self.read_checkpoint(b)?);
        let state = |loaded: &Loaded| loaded.state_bytes().unwrap_or(b"{}").to_vec();
        diff(&state(&a), &state(&b)).map_err(|error| Error::State(error.into()))
    }

    /// Opens an operation with a `pre_operation` checkpoint of what the agent's source holds now;
    /// without a source, of the state that was kept last.
    ///
    /// # Errors
    /// As [`Request::commit`]; `usage` where there is neither.
    pub fn begin_operation(&self, name: &str) -> Result<Operation, Error> {
        Operation::begin(self, self.checkpoint(Kind::PreOperation).opens(name))
    }

    /// Opens an operation with a `pre_operation` checkpoint of `state`.
    ///
    /// # Errors
    /// As [`Agent::create_checkpoint`].
    pub fn begin_operation_with<T: Serialize + ?Sized>(
        &self,
        name: &str,
        state: &T,
    ) -> Result<Operation, Error> {
        Operation::begin(self, self.checkpoint(Kind::PreOperation).opens(name).state(state)?)
    }

    /// The operations whose checkpoint is held, oldest first.
    ///
    /// # Errors
    /// `unavailable` where no store can be seen.
    pub fn operations(&self) -> Result<Vec<OperationStatus>, Error> {
        self.manager.operations(&self.id)
    }

    /// Closes an open operation by its name (the newest of that name) or its id.
    ///
    /// # Errors
    /// `not_found` where none such is open, `unstored` when no target took the word.
    pub fn close_operation(
        &self,
        name_or_id: &str,
        outcome: Outcome,
        why: &str,
    ) -> Result<OperationStatus, Error> {
        let all = self.operations()?;
        let meant = |one: &&OperationStatus| {
            one.name == name_or_id || one.operation_id.to_string() == name_or_id
        };
        let open =
            all.iter().rev().filter(meant).find(|one| one.status == Standing::Open).ok_or_else(
                || Error::NoOperation { agent: self.id.clone(), name: name_or_id.to_owned() },
            )?;
        let reference = OperationRef { id: open.operation_id, name: open.name.clone() };
        operation::close(self, &reference, outcome, why)?;
        let closed = self.operations()?.into_iter().find(|one| one.operation_id == reference.id);
        Ok(closed.unwrap_or_else(|| open.clone()))
    }

    /// Takes the newest restore back that was not taken back yet.
    ///
    /// # Errors
    /// `not_found` where there is none; else as [`Agent::restore`].
    pub fn undo(&self, options: &RestoreOptions) -> Result<Restored, Error> {
        restoring::undo(self, options)
    }

    /// Starts afresh: what came before stays as evidence and is not chosen any more.
    ///
    /// # Errors
    /// `unstored` when no target took the word.
    pub fn reset(&self) -> Result<(), Error> {
        let last = self.manager.last_seq(&self.id);
        self.manager.write_event(|_| What::Reset { agent_id: self.id.clone(), seq: last })?;
        self.note_released();
        self.forget_track();
        Ok(())
    }

    /// Forgets single checkpoints; with `erase` no copy of them stays in the store.
    ///
    /// # Errors
    /// `not_found`; `refused` for the one an open operation needs, unless erased.
    pub fn forget(&self, references: &[&str], erase: bool) -> Result<Vec<Checkpoint>, Error> {
        self.manager.forget_single(self, references, erase)
    }

    /// Which parts a checkpoint of this handle collects.
    pub(super) fn collects(&self) -> Takes {
        self.place.as_ref().map(|place| place.takes()).unwrap_or_default()
    }

    /// This agent with its workspace at a place that a restore goes to.
    pub(super) fn at_workspace(&self, place: &Path) -> Result<Self, Error> {
        let own = self.place.as_ref().and_then(|own| own.workspace.as_ref());
        if own.is_some_and(|own| own.root == place) {
            return Ok(self.clone());
        }
        let options = WorkspaceOptions { force: true, shared: true, scan: None };
        self.clone().workspace_with(place, options)
    }

    /// The word that a restore began with this recovery checkpoint, and whether it is still open.
    pub(super) fn begun_restore(&self, recovery: CheckpointId) -> Option<(What, bool)> {
        let is_it = |what: &What| matches!(what, What::RestoreBegun { recovery: id, .. } if *id == recovery);
        for store in self.committer().targets.sighted() {
            let open =
                store.catalog().agents.get(&self.id).and_then(|it| it.open_restore().cloned());
            if let Some(open) = open.filter(is_it) {
                return Some((open, true));
            }
            let events = store.events().unwrap_or_default();
            if let Some(event) = events.into_iter().find(|event| is_it(&event.what)) {
                return Some((event.what, false));
            }
        }
        None
    }

    /// Whether a checkpoint says that the restore with this recovery checkpoint has finished.
    pub(super) fn has_finished(&self, recovery: CheckpointId) -> bool {
        self.committer().targets.sighted().iter().any(|store| {
            let catalog = store.catalog();
            let held = catalog.agents.get(&self.id).into_iter();
            held.flat_map(|shelf| shelf.checkpoints.values()).any(|held| {
                held.manifest.restored.as_ref().is_some_and(|it| it.recovery == Some(recovery))
            })
        })
    }

    /// When sessions of this agent were open: handles with a workspace, operations, restores.
    pub(super) fn sessions(&self) -> Sessions {
        let own = self.place.as_ref().and_then(|place| place.since());
        let mut spans: Vec<(Timestamp, Option<Timestamp>)> = Vec::new();
        for store in self.committer().targets.sighted() {
            spans.extend(store.catalog().sessions_of(&self.id));
        }
        spans.extend(own.map(|since| (since, None)));
        Sessions::new(spans)
    }

    pub(super) fn place(&self) -> Option<&Arc<Workplace>> {
        self.place.as_ref()
    }

    /// Collects parts and submits them with the rest; to each target in turn until one takes them.
    pub(super) fn submit_collected(
        &self,
        submission: Submission,
        takes: Takes,
        inspect: Inspect<'_>,
    ) -> Result<Receipt, Error> {
        let Some(place) = &self.place else { return self.committer().submit(submission) };
        let mut attempts = Vec::new();
        let mut tried = Vec::new();
        loop {
            let store = self.committer().store_for_content(&tried, &mut attempts)?;
            tried.push(store.path().to_owned());
            let parts = match place.collect(submission.kind, takes, &store) {
                Ok(parts) => parts,
                Err(Error::Collect(collect::Error::Sink(error))) => {
                    let why = error.to_string();
                    self.committer().fail_target_of(&store, &why);
                    attempts.push(Attempt { target: store.path().to_owned(), error: Some(why) });
                    continue;
                }
                Err(error) => return Err(error),
            };
            inspect(Some(&parts))?;
            match self.committer().submit(parts.join(submission.clone(), place.begins())) {
                Err(Error::Unstored { attempts: more }) => attempts.extend(more),
                Ok(mut receipt) => {
                    place.note_committed(&store);
                    if receipt.checkpoint.checkpoint_id == submission.id {
                        attempts.append(&mut receipt.attempts);
                        receipt.attempts = attempts;
                        for list in [parts.left_out, parts.files_left_out] {
                            receipt.skipped.extend(list.skipped);
                            receipt.unsettled.extend(list.unsettled);
                        }
                    }
                    return Ok(receipt);
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn manager(&self) -> &CheckpointManager {
        &self.manager
    }

    pub(super) fn committer(&self) -> &Committer {
        self.manager.committer()
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        self.manager.disk()
    }

    pub(super) fn resolve(&self, reference: &str) -> Result<Resolved, Error> {
        let onset = if reference == "good" { self.suspected_since() } else { None };
        resolve::resolve(&self.committer().targets, &self.id, reference, onset)
    }

    /// The state of the agent's own source, where it has one.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(super) fn collect(&self) -> Result<Option<Vec<u8>>, Error> {
        self.source.as_ref().map(|source| source.collect()).transpose().map_err(Error::Source)
    }

    /// Hands a restored state to the agent's own source.
    pub(super) fn apply(&self, state: &[u8]) -> Result<(), Error> {
        self.source.as_ref().map_or(Ok(()), |source| source.apply(state)).map_err(Error::Source)
    }

    /// What the view at a path shows, where it is sound and holds the state.
    pub(super) fn load_lone_view(&self, path: &Path) -> Option<Loaded> {
        let stores = self.committer().targets.sighted();
        let store = stores.first()?;
        let (manifest, state) = store.read_view(path)?;
        tracing::warn!(path = %path.display(), "the log does not hold this checkpoint; its view does");
        Some(Loaded::of_view(store.facts_of(&manifest, manifest.digest()), state))
    }

    /// Whether this is a person's handle.
    pub(super) fn is_by_hand(&self) -> bool {
        self.by_hand
    }

    /// When the agent itself last made a checkpoint.
    pub(super) fn last_seen(&self) -> Option<Timestamp> {
        let stores = self.committer().targets.sighted();
        let seen = stores.iter().filter_map(|store| {
            let catalog = store.catalog();
            let mut held = catalog.agents.get(&self.id)?.checkpoints.values().rev();
            held.find(|held| !held.manifest.by_hand).map(|held| held.manifest.created_at)
        });
        seen.max()
    }

    /// Encodes a state against the agent's last one.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(super) fn encode(&self, id: CheckpointId, given: Given) -> Result<Wanted, Error> {
        let options = self.committer().encode;
        let (bytes, patch) = match given {
            Given::Inherited => return Ok(Wanted::Inherited),
            Given::Of(id) => return Ok(Wanted::Of(id)),
            Given::Nothing => return Ok(Wanted::Nothing),
            Given::Bytes { bytes, checked: true } => (Some(bytes), None),
            Given::Bytes { bytes, checked: false } => {
                options.check_state(&bytes)?;
                (Some(bytes), None)
            }
            Given::Patch(patch) => (None, Some(patch)),
        };
        if let Some(bytes) = &bytes {
            options.check_len(bytes.len())?;
        }
        let track = self.manager.tracks().of(&self.id, options);
        let mut track = track.lock();
        let base = track.base;
        let encoded = match (bytes, patch) {
            (Some(bytes), _) => track.tracked.replace(bytes),
            (None, patch) => {
                let patch = patch.unwrap_or_default();
                if base.is_none_or(|base| !self.manager.is_latest(&self.id, base)) {
                    let state = self.read_checkpoint("latest")?;
                    let bytes = state.state_bytes().unwrap_or(b"{}").to_vec();
                    track.tracked.replace(Arc::new(bytes));
                    track.tracked.forget();
                }
                track.tracked.patch(&patch)?
            }
        };
        track.base = Some(id);
        Ok(Wanted::Given { encoded, base })
    }

    /// Brings large content ahead of its checkpoint; what it answers keeps the content from being
    /// let go until the checkpoint is there. A failure is not one yet: the commit tries everything.
    pub(super) fn bring_ahead(&self, submission: &Submission) -> Option<crate::store::Pinned> {
        let store = self.committer().targets.primary.ready()?;
        let Wanted::Given { encoded, base } = &submission.state else { return None };
        match Store::write_ahead(&store, encoded, *base, &self.committer().encode) {
            Ok(pinned) => Some(pinned),
            Err(error) => {
                tracing::warn!(%error, "content could not be brought ahead");
                None
            }
        }
    }

    pub(super) fn note_committed(&self, receipt: &Receipt) {
        let bytes = usize::try_from(receipt.checkpoint.state_bytes).unwrap_or(usize::MAX);
        self.manager.tracks().weigh(&self.id, bytes);
        self.manager.note_activity();
    }

    pub(super) fn forget_track(&self) {
        self.manager.tracks().drop_track(&self.id);
    }

    /// The newest restore that can be taken back, and what was there before it.
    pub(super) fn undoable(&self) -> Option<(CheckpointId, CheckpointId)> {
        let stores = self.committer().targets.sighted();
        stores.iter().find_map(|store| {
            let catalog = store.catalog();
            let held = catalog.agents.get(&self.id)?.undoable()?;
            let recovery = held.manifest.restored.as_ref()?.recovery?;
            Some((held.manifest.id, recovery))
        })
    }
}
