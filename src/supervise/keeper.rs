//! What supervision asks of the store, and nothing else: take a checkpoint of these parts, put back,
//! say that operations failed, tell what there is.
//!
//! Everything here blocks, and is called from threads that may.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::life::Setup;
use super::patterns::Pattern;
use super::schedule::Parts;
use super::state_file::{self, Found, Print, Wrong};
use crate::disk::Disk;
use crate::encode;
use crate::encode::event::Outcome;
use crate::manager::{Agent, Error, Filter, Pulse, Request, RestoreOptions, Standing};
use crate::restore;
use crate::retention;
use crate::state::{Checkpoint, CheckpointId, Digest, Kind, Receipt, Timestamp};

/// A checkpoint that is to be taken.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub kind: Kind,
    pub parts: Parts,
    pub comment: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// The checkpoint; absent where nothing had changed, or there was nothing to keep.
    pub receipt: Option<Receipt>,
    /// What was not taken of what was to be, and why.
    pub left_out: Option<String>,
}

/// What was put back, and why it had to be.
#[derive(Debug, Clone)]
pub(crate) struct PutBack {
    pub from: Checkpoint,
    /// What was put back, each with the reason.
    pub what: Vec<String>,
    /// Names in the workspace that are not as that checkpoint holds them; absent where the agent
    /// has no workspace, or it was put back too.
    pub apart: Option<usize>,
}

/// What the files of an agent look like.
pub(crate) type Prints = BTreeMap<PathBuf, Option<Print>>;

/// An agent's parts, and the place where they are kept.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// The agent with its workspace, and with the state files that were there so far.
    agent: Mutex<(Agent, Vec<PathBuf>)>,
    disk: Arc<dyn Disk>,
    limits: encode::Options,
    state: Option<PathBuf>,
    files: Vec<Pattern>,
    has_workspace: bool,
    /// Labels that keep a checkpoint whatever happens.
    pins: Vec<String>,
    /// The digest of the state that `latest` holds.
    newest: Mutex<Option<Digest>>,
}

impl Wanted {
    /// A routine checkpoint of what changed.
    pub(crate) fn routine(parts: Parts) -> Self {
        Self { kind: Kind::Routine, parts, comment: None }
    }

    /// A recovery checkpoint of everything, with the reason.
    pub(crate) fn recovery(comment: String) -> Self {
        Self { kind: Kind::Recovery, parts: Parts::ALL, comment: Some(comment) }
    }
}

impl Keeper {
    pub(crate) fn of(setup: &Setup) -> Self {
        let newest = setup.agent.show("latest").ok().and_then(|latest| latest.state_digest);
        Self {
            agent: Mutex::new((setup.agent.clone(), Vec::new())),
            disk: Arc::clone(&setup.disk),
            limits: setup.limits,
            state: setup.state.clone(),
            files: setup.state_files.clone(),
            has_workspace: setup.has_workspace,
            pins: setup.pins.clone(),
            newest: Mutex::new(newest),
        }
    }

    /// What the agent has.
    pub(crate) fn parts(&self) -> Parts {
        let state = self.state.is_some() || !self.files.is_empty();
        Parts { state, workspace: self.has_workspace }
    }

    /// What its files look like.
    pub(crate) fn prints(&self) -> Prints {
        let mut prints = Prints::new();
        for path in self.state.iter().cloned().chain(self.other_files()) {
            let place = state_file::place(&*self.disk, &path);
            let ahead = state_file::write_ahead(&place);
            for place in [place, ahead] {
                let print = Print::of(&*self.disk, &place);
                prints.insert(place, print);
            }
        }
        prints
    }

    /// What is known of changes in its workspace.
    pub(crate) fn pulse(&self) -> Pulse {
        self.bare_agent().workspace_pulse()
    }

    /// The state files beside the state itself, as far as they are there now.
    fn other_files(&self) -> Vec<PathBuf> {
        self.files.iter().flat_map(|pattern| pattern.files(&*self.disk)).collect()
    }

    /// The agent with the state files that are there now.
    fn agent(&self) -> Result<Agent, Error> {
        let mut known = self.agent.lock();
        for path in self.other_files() {
            if !known.1.contains(&path) {
                known.0 = known.0.clone().state_file(&path)?;
                known.1.push(path);
            }
        }
        Ok(known.0.clone())
    }

    /// The agent as it was given, for what concerns no files.
    fn bare_agent(&self) -> Agent {
        self.agent.lock().0.clone()
    }

    /// Takes a checkpoint where something changed, and a recovery checkpoint in any case. What is
    /// not whole is left out; a recovery checkpoint keeps it as it was found.
    pub(crate) fn take(&self, wanted: &Wanted) -> Result<Kept, Error> {
        let evidence = wanted.kind == Kind::Recovery;
        let torn = if evidence { None } else { self.torn_file(wanted.parts)? };
        let mut request = self
            .agent()?
            .checkpoint(wanted.kind)
            .workspace(wanted.parts.workspace)
            .state_files(wanted.parts.state && torn.is_none());
        if let Some(comment) = &wanted.comment {
            request = request.comment(comment);
        }
        let (request, fresh, damaged) = self.with_state(request, wanted)?;
        let made =
            if evidence || fresh { request.commit().map(Some) } else { request.commit_if_moved() };
        let receipt = match made {
            // An agent that never kept anything has nothing that could be taken over.
            Err(Error::NoState { .. }) => None,
            other => other?,
        };
        // A recovery checkpoint is evidence, which `latest` passes by: it keeps nothing for good.
        let lasting = receipt.as_ref().filter(|_| !evidence);
        if let Some(digest) = lasting.and_then(|receipt| receipt.state_digest) {
            *self.newest.lock() = Some(digest);
        }
        Ok(Kept { receipt, left_out: damaged.or(torn) })
    }

    /// Adds the state as it is found; whether it is another than the newest, and why it was left
    /// out where it was.
    fn with_state(
        &self,
        request: Request,
        wanted: &Wanted,
    ) -> Result<(Request, bool, Option<String>), Error> {
        let Some(path) = self.state.as_ref().filter(|_| wanted.parts.state) else {
            return Ok((request, false, None));
        };
        let place = state_file::place(&*self.disk, path);
        Ok(match self.find(&place)? {
            Found::Whole(bytes) => {
                let fresh = *self.newest.lock() != Some(Digest::of(&bytes));
                (request.state_bytes(bytes).state_file(place), fresh, None)
            }
            Found::Damaged { bytes, .. } if wanted.kind == Kind::Recovery => {
                (request.found_bytes(bytes).state_file(place), true, None)
            }
            Found::Damaged { why, .. } | Found::Unfit(why) => {
                (request, false, Some(not_whole(&place, &why)))
            }
            Found::Missing => (request, false, None),
        })
    }

    fn find(&self, place: &Path) -> Result<Found, Error> {
        state_file::read(&*self.disk, place, &self.limits).map_err(|source| unread(place, source))
    }

    /// The first state file that is there and not whole.
    fn torn_file(&self, parts: Parts) -> Result<Option<String>, Error> {
        for path in self.other_files().iter().filter(|_| parts.state) {
            if let Some(Wrong::Damaged(why)) = self.wrong(path)? {
                return Ok(Some(not_whole(path, &why)));
            }
        }
        Ok(None)
    }

    fn wrong(&self, path: &Path) -> Result<Option<Wrong>, Error> {
        let place = state_file::place(&*self.disk, path);
        state_file::wrong(&*self.disk, &place).map_err(|source| unread(&place, source))
    }

    /// Puts back, from the newest sound checkpoint, what is missing or damaged of the state files.
    pub(crate) fn mend(&self) -> Result<Option<PutBack>, Error> {
        let mut broken = self.broken()?;
        let state = self.broken_state()?;
        if broken.is_empty() && state.is_none() {
            return Ok(None);
        }
        let agent = self.agent()?;
        let loaded = match agent.read_checkpoint("latest") {
            Err(Error::NoCheckpoint { .. }) => return Ok(None),
            other => other?,
        };
        let from = loaded.checkpoint();
        let reference = from.checkpoint_id.to_string();
        let mut what = Vec::new();
        let kept = agent.kept_state_files(&reference)?;
        broken.retain(|(place, _)| kept.contains(place));
        if !broken.is_empty() {
            // A restore of the state alone keeps what it replaces; here that is done first.
            agent.checkpoint(Kind::Recovery).comment("before state files are put back").commit()?;
        }
        for (path, why) in broken {
            agent.put_state_file_back(&reference, &path)?;
            what.push(format!("{} {why}", path.display()));
        }
        if let (Some((place, why)), Some(bytes)) = (state, loaded.state_bytes()) {
            self.put_state_back(&agent, from, &place, bytes)?;
            what.push(format!("{} {why}", place.display()));
        }
        if what.is_empty() {
            return Ok(None);
        }
        let apart = self.apart(&agent, &reference);
        Ok(Some(PutBack { from: from.clone(), what, apart }))
    }

    fn broken(&self) -> Result<Vec<(PathBuf, String)>, Error> {
        let mut broken = Vec::new();
        for path in self.other_files() {
            if let Some(wrong) = self.wrong(&path)? {
                broken.push((state_file::place(&*self.disk, &path), said(wrong)));
            }
        }
        Ok(broken)
    }

    fn broken_state(&self) -> Result<Option<(PathBuf, String)>, Error> {
        let Some(path) = &self.state else { return Ok(None) };
        let place = state_file::place(&*self.disk, path);
        let wrong = match self.find(&place)? {
            Found::Missing => Wrong::Missing,
            Found::Damaged { why, .. } => Wrong::Damaged(why),
            Found::Whole(_) | Found::Unfit(_) => return Ok(None),
        };
        Ok(Some((place, said(wrong))))
    }

    fn put_state_back(
        &self,
        agent: &Agent,
        from: &Checkpoint,
        place: &Path,
        bytes: &[u8],
    ) -> Result<(), Error> {
        if from.state_file.as_deref() == Some(place) {
            let only_state = RestoreOptions { only_state: true, ..by_policy() };
            agent.restore(&from.checkpoint_id.to_string(), &only_state)?;
        } else {
            // The state came another way than from this file, which no restore in place knows of.
            restore::put_back(&*self.disk, place, bytes)?;
        }
        *self.newest.lock() = from.state_digest;
        Ok(())
    }

    /// How many names in the workspace are not as a checkpoint holds them.
    fn apart(&self, agent: &Agent, reference: &str) -> Option<usize> {
        if !self.has_workspace {
            return None;
        }
        match agent.plan_restore(reference, &by_policy()) {
            Ok(plan) => Some(plan.files.written.len() + plan.files.removed.len()),
            Err(error) => {
                tracing::warn!(%error, "how far the workspace lies apart cannot be told");
                None
            }
        }
    }

    /// Puts every part back as the newest sound checkpoint holds it.
    pub(crate) fn go_back(&self, why: &str) -> Result<Option<PutBack>, Error> {
        self.restore("latest", why)
    }

    /// Puts every part back as a checkpoint holds it; nothing where there is none.
    pub(crate) fn restore(&self, reference: &str, why: &str) -> Result<Option<PutBack>, Error> {
        let restored = match self.agent()?.restore(reference, &by_policy()) {
            Err(Error::NoCheckpoint { .. }) => return Ok(None),
            other => other?,
        };
        let Some(from) = restored.checkpoint().cloned() else { return Ok(None) };
        *self.newest.lock() = from.state_digest;
        let mut what = vec![format!("everything: {why}")];
        what.extend(
            restored
                .files
                .conflicts
                .iter()
                .map(|path| format!("not {}, which somebody changed meanwhile", path.display())),
        );
        Ok(Some(PutBack { from, what, apart: None }))
    }

    /// Says that the operations that were opened since a moment have failed; their names.
    pub(crate) fn fail_operations(
        &self,
        since: Timestamp,
        why: &str,
    ) -> Result<Vec<String>, Error> {
        let (agent, mut failed) = (self.bare_agent(), Vec::new());
        for one in agent.operations()? {
            if one.status == Standing::Open && one.opened_at >= since {
                agent.close_operation(&one.operation_id.to_string(), Outcome::Failed, why)?;
                failed.push(one.name);
            }
        }
        Ok(failed)
    }

    /// The newest checkpoint that holds other content than this, to go one further back.
    pub(crate) fn further_back(&self, content: Digest) -> Result<Option<CheckpointId>, Error> {
        let all = self.bare_agent().list_checkpoints(Filter::default())?;
        let other =
            |one: &&Checkpoint| one.kind != Kind::Recovery && !one.tainted && one.digest != content;
        Ok(all.iter().find(other).map(|one| one.checkpoint_id))
    }

    /// Forgets all checkpoints but the newest and those that are pinned; how many.
    pub(crate) fn forget_but_newest(&self) -> Result<usize, Error> {
        let agent = self.bare_agent();
        let newest = match agent.show("latest") {
            Err(Error::NoCheckpoint { .. }) => return Ok(0),
            other => other?.checkpoint_id,
        };
        let all = agent.list_checkpoints(Filter::default())?;
        let goes = |one: &&Checkpoint| {
            one.checkpoint_id != newest && retention::pin(&one.labels, &self.pins).is_none()
        };
        let old: Vec<String> =
            all.iter().filter(goes).map(|one| one.checkpoint_id.to_string()).collect();
        let old: Vec<&str> = old.iter().map(String::as_str).collect();
        Ok(agent.forget(&old, false)?.len())
    }
}

/// A restore that no person asked for.
fn by_policy() -> RestoreOptions {
    RestoreOptions { force: true, live: true, ..RestoreOptions::default() }
}

fn said(wrong: Wrong) -> String {
    match wrong {
        Wrong::Missing => "was missing".to_owned(),
        Wrong::Damaged(why) => format!("was damaged ({why})"),
    }
}

fn not_whole(place: &Path, why: &str) -> String {
    format!("{} is not whole: {why}", place.display())
}

fn unread(place: &Path, source: std::io::Error) -> Error {
    Error::Io { doing: format!("read the state file {}", place.display()), source }
}
