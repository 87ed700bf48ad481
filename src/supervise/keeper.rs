//! What supervision asks of the store, and nothing else: take a checkpoint of these parts, put back,
//! say that operations failed, tell what there is.
//!
//! Everything here blocks, and is called from threads that may.

use std::sync::Arc;

use parking_lot::Mutex;

use super::life::Setup;
use super::schedule::Parts;
use super::state_file::{Found, Print, StateFile};
use crate::disk::Disk;
use crate::encode;
use crate::encode::event::Outcome;
use crate::manager::{Agent, Error, Filter, RestoreOptions, Restored, Standing};
use crate::restore;
use crate::retention;
use crate::state::{Checkpoint, CheckpointId, Digest, Kind, Receipt, Timestamp};

/// A checkpoint that is to be taken.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub kind: Kind,
    pub parts: Parts,
    pub comment: Option<String>,
    /// Take it although nothing changed since the last one.
    pub always: bool,
}

/// What became of it.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// The checkpoint; absent where nothing had changed, or there was nothing to keep.
    pub receipt: Option<Receipt>,
    /// Why the state file was not taken, where it was to be.
    pub left_out: Option<String>,
}

/// A state that was put back, and why it had to be.
#[derive(Debug, Clone)]
pub(crate) struct PutBack {
    pub from: Checkpoint,
    pub why: String,
    /// The digest of what the agent finds now.
    pub content: Digest,
}

/// An agent's parts, and the place where they are kept.
#[derive(Debug)]
pub(crate) struct Keeper {
    agent: Agent,
    disk: Arc<dyn Disk>,
    limits: encode::Options,
    state: Option<StateFile>,
    /// Labels that keep a checkpoint whatever happens.
    pins: Vec<String>,
    /// The digest of the state that `latest` holds.
    newest: Mutex<Option<Digest>>,
}

impl Wanted {
    /// A routine checkpoint of what changed.
    pub(crate) fn routine(parts: Parts) -> Self {
        Self { kind: Kind::Routine, parts, comment: None, always: false }
    }

    /// A recovery checkpoint of everything, with the reason.
    pub(crate) fn recovery(comment: String) -> Self {
        Self { kind: Kind::Recovery, parts: Parts::ALL, comment: Some(comment), always: true }
    }
}

impl Keeper {
    pub(crate) fn of(setup: &Setup) -> Self {
        let newest = setup.agent.show("latest").ok().and_then(|latest| latest.state_digest);
        Self {
            agent: setup.agent.clone(),
            disk: Arc::clone(&setup.disk),
            limits: setup.limits,
            state: setup.state.clone().map(StateFile::at),
            pins: setup.pins.clone(),
            newest: Mutex::new(newest),
        }
    }

    /// What the agent has.
    pub(crate) fn parts(&self) -> Parts {
        Parts { state: self.state.is_some(), workspace: false }
    }

    /// What the state file looks like.
    pub(crate) fn state_print(&self) -> Option<Print> {
        self.state.as_ref()?.print(&*self.disk)
    }

    /// Takes a checkpoint. A state that is not whole is left out; a recovery checkpoint keeps it as
    /// it was found.
    pub(crate) fn take(&self, wanted: &Wanted) -> Result<Kept, Error> {
        let found = self.find(wanted.parts)?;
        let mut request = self.agent.checkpoint(wanted.kind);
        if let Some(comment) = &wanted.comment {
            request = request.comment(comment);
        }
        if let (Some(file), Some(Found::Whole(_) | Found::Damaged { .. })) = (&self.state, &found) {
            request = request.state_file(file.place(&*self.disk));
        }
        let (mut changed, mut left_out) = (wanted.always, None);
        request = match found {
            Some(Found::Whole(bytes)) => {
                changed |= *self.newest.lock() != Some(Digest::of(&bytes));
                request.state_bytes(bytes)
            }
            Some(Found::Damaged { bytes, why }) if wanted.kind == Kind::Recovery => {
                left_out = Some(why);
                request.found_bytes(bytes)
            }
            Some(Found::Damaged { why, .. } | Found::Unfit(why)) => {
                left_out = Some(why);
                request
            }
            Some(Found::Missing) | None => request,
        };
        if !changed {
            return Ok(Kept { receipt: None, left_out });
        }
        let receipt = match request.commit() {
            Ok(receipt) => Some(receipt),
            // An agent that never kept anything has nothing that could be taken over.
            Err(Error::NoState { .. }) => None,
            Err(error) => return Err(error),
        };
        // A recovery checkpoint is evidence, which `latest` passes by: it keeps nothing for good.
        let lasting = receipt.as_ref().filter(|_| wanted.kind != Kind::Recovery);
        if let Some(digest) = lasting.and_then(|receipt| receipt.state_digest) {
            *self.newest.lock() = Some(digest);
        }
        Ok(Kept { receipt, left_out })
    }

    fn find(&self, parts: Parts) -> Result<Option<Found>, Error> {
        let Some(file) = self.state.as_ref().filter(|_| parts.state) else { return Ok(None) };
        let found = file.read(&*self.disk, &self.limits);
        found.map(Some).map_err(|source| self.unreadable(file, source))
    }

    fn unreadable(&self, file: &StateFile, source: std::io::Error) -> Error {
        let place = file.place(&*self.disk);
        Error::Io { doing: format!("read the state file {}", place.display()), source }
    }

    /// Puts the state file back from the newest sound checkpoint where it is missing or damaged.
    pub(crate) fn mend(&self) -> Result<Option<PutBack>, Error> {
        let why = match self.find(Parts::ALL)? {
            Some(Found::Missing) => "it was missing".to_owned(),
            Some(Found::Damaged { why, .. }) => why,
            Some(Found::Whole(_) | Found::Unfit(_)) | None => return Ok(None),
        };
        let loaded = match self.agent.read_checkpoint("latest") {
            Err(Error::NoCheckpoint { .. }) => return Ok(None),
            other => other?,
        };
        let (Some(file), Some(bytes)) = (&self.state, loaded.state_bytes()) else {
            return Ok(None);
        };
        let (place, from) = (file.place(&*self.disk), loaded.checkpoint());
        if from.state_file.as_ref() == Some(&place) {
            return self.restore(&from.checkpoint_id.to_string(), why);
        }
        // The state came another way than from this file, which no restore in place knows of.
        restore::put_back(&*self.disk, &place, bytes)?;
        *self.newest.lock() = from.state_digest;
        Ok(Some(PutBack { from: from.clone(), why, content: from.digest }))
    }

    /// Puts every part back as the newest sound checkpoint holds it.
    pub(crate) fn go_back(&self, why: String) -> Result<Option<PutBack>, Error> {
        match self.restore("latest", why) {
            Err(Error::NoCheckpoint { .. }) => Ok(None),
            other => other,
        }
    }

    fn restore(&self, reference: &str, why: String) -> Result<Option<PutBack>, Error> {
        let options = RestoreOptions { force: true, live: true, ..RestoreOptions::default() };
        let restored = self.agent.restore(reference, &options)?;
        Ok(self.note_restored(&restored).map(|from| PutBack { content: from.digest, from, why }))
    }

    fn note_restored(&self, restored: &Restored) -> Option<Checkpoint> {
        let from = restored.checkpoint()?.clone();
        *self.newest.lock() = from.state_digest;
        Some(from)
    }

    /// Says that the operations that were opened since a moment have failed; their names.
    pub(crate) fn fail_operations(
        &self,
        since: Timestamp,
        why: &str,
    ) -> Result<Vec<String>, Error> {
        let mut failed = Vec::new();
        for one in self.agent.operations()? {
            if one.status == Standing::Open && one.opened_at >= since {
                self.agent.close_operation(&one.operation_id.to_string(), Outcome::Failed, why)?;
                failed.push(one.name);
            }
        }
        Ok(failed)
    }

    /// The newest checkpoint that holds other content than this, to go one further back.
    pub(crate) fn further_back(&self, content: Digest) -> Result<Option<CheckpointId>, Error> {
        let all = self.agent.list_checkpoints(Filter::default())?;
        let other =
            |one: &&Checkpoint| one.kind != Kind::Recovery && !one.tainted && one.digest != content;
        Ok(all.iter().find(other).map(|one| one.checkpoint_id))
    }

    /// Forgets all checkpoints but the newest and those that are pinned; how many.
    pub(crate) fn forget_but_newest(&self) -> Result<usize, Error> {
        let newest = match self.agent.show("latest") {
            Err(Error::NoCheckpoint { .. }) => return Ok(0),
            other => other?.checkpoint_id,
        };
        let all = self.agent.list_checkpoints(Filter::default())?;
        let goes = |one: &&Checkpoint| {
            one.checkpoint_id != newest && retention::pin(&one.labels, &self.pins).is_none()
        };
        let old: Vec<String> =
            all.iter().filter(goes).map(|one| one.checkpoint_id.to_string()).collect();
        let old: Vec<&str> = old.iter().map(String::as_str).collect();
        Ok(self.agent.forget(&old, false)?.len())
    }
}
