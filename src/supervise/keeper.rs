//! What supervision asks of the store, and nothing else: take a checkpoint of these parts, put back,
//! say that operations failed, tell what there is.
//!
//! A keeper lives in the process that holds the store, which need not be the one that runs the agent:
//! what is asked ([`Ask`]) and what is answered can be sent. Everything here blocks, and is called
//! from threads that may.

mod asked;
#[cfg(test)]
mod tests;
mod watching;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::watching::Tree;
pub(crate) use self::watching::{Due, Responded, Seen};
use super::patterns::Pattern;
use super::schedule::Parts;
use super::state_file::{self, Found, Print, Wrong};
use crate::clock::Clock;
use crate::disk::{Access, Disk, create_dir_all_durable};
use crate::drift::Sighting;
use crate::encode;
use crate::encode::event::Outcome;
use crate::manager::{
    Agent, CheckpointManager, Error, Filter, Pulse, Request, RestoreOptions, Standing,
    WorkspaceOptions,
};
use crate::restore;
use crate::retention;
use crate::state::{AgentId, Checkpoint, CheckpointId, Digest, Kind, Receipt, Seq, Timestamp};

/// A state file is looked at so often while its agent keeps states without it; the last time without
/// its state.
const LOOKS_MAX: u32 = 4;

/// A system that tells when a file was changed takes the time of its last tick, 10 ms ago at most.
const CHANGE_TIME_ERROR: Duration = Duration::from_millis(20);

/// What an agent keeps its memory in; paths are absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Belongings {
    /// Its workspace.
    pub workspace: Option<PathBuf>,
    /// The workspace may be a home directory or `/`.
    pub force: bool,
    /// The workspace may overlap with another agent's.
    pub shared: bool,
    /// The file it keeps its state in.
    pub state: Option<PathBuf>,
    /// Files that are kept byte for byte, and patterns of such files.
    pub state_files: Vec<PathBuf>,
}

/// Something that is asked of a keeper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// Answered with what became of it ([`Kept`]).
    Take(Wanted),
    /// Take everything as a run finds it where nothing of the command was left running, and show what
    /// others changed meanwhile; answered as [`Ask::Take`].
    Arrive,
    /// Put back what is missing or damaged; answered with what was, if anything ([`PutBack`]).
    Mend,
    /// Put everything back as a checkpoint holds it; answered as [`Ask::Mend`].
    Restore { reference: String, why: String },
    /// Carry out a restore that somebody ordered and that waited for the command's end; answered as
    /// [`Ask::Mend`].
    Carry { order: Uuid },
    /// Answered with the names of those that have failed.
    FailOperations { since: Timestamp, why: String },
    /// Answered with the newest checkpoint of other content, if there is one.
    FurtherBack { content: Digest },
    /// Answered with how many were forgotten.
    ForgetButNewest,
    /// Show what was seen, and that time passed; answered with how the agent stands ([`Seen`]).
    See { sightings: Vec<Sighting>, terminal: bool },
    /// Put state files back because they drift; answered as [`Ask::Mend`].
    PutBack { why: String },
    /// Do what drift asks for now that the command has ended; answered with what was done
    /// ([`Responded`]).
    Respond { why: String },
}

/// A checkpoint that is to be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub kind: Kind,
    pub parts: Parts,
    pub comment: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The checkpoint; absent where nothing had changed, or there was nothing to keep.
    pub receipt: Option<Receipt>,
    /// What was not taken of what was to be, and why.
    pub left_out: Option<String>,
}

/// What a state is that was read from its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Novelty {
    News,
    Kept,
    /// It was never kept, and a newer one was.
    Older,
}

/// Whether it is looked again where another state was kept meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    First,
    Last,
}

/// What was put back, and why it had to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
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

/// The files of an agent outside its workspace.
#[derive(Debug, Clone)]
pub(crate) struct StateFiles {
    disk: Arc<dyn Disk>,
    state: Option<PathBuf>,
    others: Vec<Pattern>,
}

impl StateFiles {
    pub(crate) fn of(disk: Arc<dyn Disk>, it: &Belongings) -> Result<Self, Error> {
        let others = it.state_files.iter().map(|path| {
            Pattern::new(path.clone()).map_err(|error| Error::Refused {
                why: format!("{} is no pattern of files: {error}", path.display()),
                way_out: "`*`, `?` and `[…]` stand for letters within a name".to_owned(),
            })
        });
        Ok(Self { disk, state: it.state.clone(), others: others.collect::<Result<_, _>>()? })
    }

    /// Whether there are any.
    pub(crate) fn are_any(&self) -> bool {
        self.state.is_some() || !self.others.is_empty()
    }

    /// The file that is the state.
    pub(crate) fn state(&self) -> Option<&Path> {
        self.state.as_deref()
    }

    /// Every one, the others as far as they are there now.
    pub(crate) fn all(&self) -> Vec<PathBuf> {
        self.state.iter().cloned().chain(self.others()).collect()
    }

    /// The names that were given and that no file has.
    pub(crate) fn nowhere(&self) -> Vec<PathBuf> {
        let disk = &*self.disk;
        let state = self.state.iter().filter(|path| disk.metadata(path).is_err());
        let others = self.others.iter().filter(|pattern| !pattern.finds(disk));
        state.cloned().chain(others.map(|pattern| pattern.path().to_owned())).collect()
    }

    /// What they look like.
    pub(crate) fn prints(&self) -> Prints {
        let mut prints = Prints::new();
        for path in self.all() {
            let place = state_file::place(&*self.disk, &path);
            let ahead = state_file::write_ahead(&place);
            for place in [place, ahead] {
                let print = Print::of(&*self.disk, &place);
                prints.insert(place, print);
            }
        }
        prints
    }

    /// Those beside the state itself, as far as they are there now.
    fn others(&self) -> Vec<PathBuf> {
        self.others.iter().flat_map(|pattern| pattern.files(&*self.disk)).collect()
    }
}

/// An agent's parts, and the place where they are kept.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// The agent with its workspace, and with the state files that were there so far.
    agent: Mutex<(Agent, Vec<PathBuf>)>,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    limits: encode::Options,
    files: StateFiles,
    /// Where the workspace is, links resolved.
    workspace: Option<PathBuf>,
    /// Labels that keep a checkpoint whatever happens.
    pins: Vec<String>,
    tree: Mutex<Tree>,
}

/// A file of the agent that is not whole.
#[derive(Debug)]
struct Broken {
    place: PathBuf,
    /// What it looked like before it was read.
    print: Option<Print>,
    wrong: Wrong,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.display();
        match &self.wrong {
            Wrong::Missing => write!(f, "{place} was missing"),
            Wrong::Damaged(why) => write!(f, "{place} was damaged ({why})"),
        }
    }
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
    /// The keeper of an agent in a store that is open to write.
    pub(crate) fn open(
        manager: &CheckpointManager,
        agent: &AgentId,
        it: &Belongings,
    ) -> Result<Self, Error> {
        let disk = manager.disk_in_use();
        let resolved = |path: &Path| disk.canonical(path).unwrap_or_else(|_| path.to_owned());
        let mut agent = manager.agent(agent.as_str())?;
        if let Some(workspace) = &it.workspace {
            let Belongings { force, shared, .. } = *it;
            let allowed = WorkspaceOptions { force, shared, ..WorkspaceOptions::default() };
            agent = agent.workspace_with(workspace, allowed)?;
        }
        Ok(Self {
            agent: Mutex::new((agent, Vec::new())),
            disk: manager.disk_in_use(),
            clock: Arc::clone(manager.clock()),
            limits: manager.state_limits(),
            files: StateFiles::of(manager.disk_in_use(), it)?,
            workspace: it.workspace.as_deref().map(resolved),
            pins: manager.pin_labels(),
            tree: Mutex::default(),
        })
    }

    /// Does what is asked, orders apart; the answer as it is sent.
    pub(crate) fn answer(&self, ask: Ask) -> Result<serde_json::Value, Error> {
        match ask {
            Ask::Take(wanted) => sent(&self.take(&wanted)?),
            Ask::Arrive => sent(&self.arrive()?),
            Ask::Mend => sent(&self.mend()?),
            Ask::Restore { reference, why } => sent(&self.restore(&reference, &why)?),
            Ask::FailOperations { since, why } => sent(&self.fail_operations(since, &why)?),
            Ask::FurtherBack { content } => sent(&self.further_back(content)?),
            Ask::ForgetButNewest => sent(&self.forget_but_newest()?),
            Ask::See { sightings, terminal } => sent(&self.see(sightings, terminal)?),
            Ask::PutBack { why } => sent(&self.put_back(&why)?),
            Ask::Respond { why } => sent(&self.respond(&why)?),
            Ask::Carry { order } => Err(Error::Refused {
                why: format!("order {order} is not known"),
                way_out: "ask for the restore again".to_owned(),
            }),
        }
    }

    /// What a state that was read from its file is: kept where `latest` holds it, or where `latest`
    /// holds one that came another way, and the file's was kept before that, since the file was last
    /// kept or then. An agent that is killed after it posted its state and before it wrote the file
    /// did not go back.
    fn judge(&self, place: &Path, state: Digest) -> Result<Novelty, Error> {
        let agent = self.bare_agent();
        let latest = match agent.show("latest") {
            Err(Error::NoCheckpoint { .. }) => return Ok(Novelty::News),
            other => other?,
        };
        if latest.state_digest == Some(state) {
            return Ok(Novelty::Kept);
        }
        if latest.state_digest.is_none() || latest.state_file.as_deref() == Some(place) {
            return Ok(Novelty::News);
        }
        let all = agent.list_checkpoints(Filter::default())?;
        let is_of_file = |one: &Checkpoint| one.state_file.as_deref() == Some(place);
        let last = all.iter().position(is_of_file).map_or(all.len(), |at| at + 1);
        if all[..last].iter().any(|one| one.state_digest == Some(state)) {
            return Ok(Novelty::Kept);
        }
        let is_older = self.is_older(place, latest.created_at)?;
        Ok(if is_older { Novelty::Older } else { Novelty::News })
    }

    /// Whether a file was surely last changed before a moment. A clock that was set back since then
    /// tells nothing.
    fn is_older(&self, place: &Path, moment: Timestamp) -> Result<bool, Error> {
        let changed = self.disk.open(place, Access::Read).and_then(|file| file.stat());
        let changed = match changed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            stat => Timestamp::from(stat.map_err(|source| unread(place, source))?.changed),
        };
        Ok(moment <= self.clock.now() && moment.since(changed) > CHANGE_TIME_ERROR)
    }

    /// What is known of changes in its workspace.
    pub(crate) fn pulse(&self) -> Pulse {
        self.bare_agent().workspace_pulse()
    }

    /// The agent with the state files that are there now.
    pub(crate) fn agent(&self) -> Result<Agent, Error> {
        // Looked for before the lock is taken, which whoever waits for news needs too.
        let files = self.files.others();
        let mut known = self.agent.lock();
        for path in files {
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
        looking_again(|look| self.take_at_once(wanted, look))
    }

    fn take_at_once(&self, wanted: &Wanted, look: Look) -> Result<Kept, Error> {
        let evidence = wanted.kind == Kind::Recovery;
        if evidence {
            self.make_workspace()?;
        }
        let torn = if evidence { None } else { self.torn_file(wanted.parts)? };
        let mut request = self
            .agent()?
            .checkpoint(wanted.kind)
            .workspace(wanted.parts.workspace)
            .state_files(wanted.parts.state && torn.is_none());
        if let Some(comment) = &wanted.comment {
            request = request.comment(comment);
        }
        let (request, fresh, left_out) = self.with_state(request, wanted, look)?;
        let made =
            if evidence || fresh { request.commit().map(Some) } else { request.commit_if_moved() };
        let receipt = match made {
            // An agent that never kept anything has nothing that could be taken over.
            Err(Error::NoState { .. }) => None,
            other => other?,
        };
        if let Some(receipt) = &receipt {
            self.show_workspace(receipt);
        }
        Ok(Kept { receipt, left_out: left_out.or(torn) })
    }

    /// Adds the state as it is found; whether it is another than the newest, and why it was left
    /// out where it was. What is news is that only as long as nobody keeps another state.
    fn with_state(
        &self,
        request: Request,
        wanted: &Wanted,
        look: Look,
    ) -> Result<(Request, bool, Option<String>), Error> {
        let Some(path) = self.files.state.as_ref().filter(|_| wanted.parts.state) else {
            return Ok((request, false, None));
        };
        let place = state_file::place(&*self.disk, path);
        let evidence = wanted.kind == Kind::Recovery;
        let seen = self.bare_agent().state_changed_now();
        let bytes = match self.find(&place)? {
            Found::Whole(bytes) => bytes,
            Found::Damaged { bytes, .. } if evidence => {
                return Ok((request.found_bytes(bytes).state_file(place), true, None));
            }
            Found::Damaged { why, .. } | Found::Unfit(why) => {
                return Ok((request, false, Some(not_whole(&place, &why))));
            }
            Found::Missing => return Ok((request, false, None)),
        };
        if evidence {
            return Ok((request.state_bytes(bytes).state_file(place), true, None));
        }
        let novelty = self.judge(&place, Digest::of(&bytes))?;
        let left_out = |why: &str| Some(format!("{} {why}", place.display()));
        Ok(match (novelty, look) {
            (Novelty::Kept, _) => (request, false, None),
            (Novelty::Older, _) => {
                let why = "is not kept: the newest state was handed over after it was written";
                (request, false, left_out(why))
            }
            (Novelty::News, Look::Last) => {
                let why = "is not kept: other states are handed over while it is read";
                (request, false, left_out(why))
            }
            (Novelty::News, Look::First) => {
                let request = request.state_bytes(bytes).state_file(place);
                (request.or_if_match(seen), true, None)
            }
        })
    }

    fn find(&self, place: &Path) -> Result<Found, Error> {
        state_file::read(&*self.disk, place, &self.limits).map_err(|source| unread(place, source))
    }

    /// The first state file that is there and not whole.
    fn torn_file(&self, parts: Parts) -> Result<Option<String>, Error> {
        for path in self.files.others().iter().filter(|_| parts.state) {
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
        self.make_workspace()?;
        let above = self.bare_agent().state_changed_now();
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
        let state = match state {
            Some(it) if self.is_of_another_file(&agent, from, &it.place)? => None,
            state => state,
        };
        let reference = from.checkpoint_id.to_string();
        let mut what = Vec::new();
        let kept = agent.kept_state_files(&reference)?;
        broken.retain(|it| kept.contains(&it.place));
        if !broken.is_empty() {
            // A restore of the state alone keeps what it replaces; here that is done first.
            agent.checkpoint(Kind::Recovery).comment("before state files are put back").commit()?;
        }
        for it in broken {
            if self.is_as_judged(&it) {
                agent.put_state_file_back(&reference, &it.place)?;
                what.push(it.to_string());
            }
        }
        if let (Some(it), Some(bytes)) = (state, loaded.state_bytes()) {
            let done = self.put_state_back(&agent, from, &it, (bytes, above))?;
            what.extend(done.then(|| it.to_string()));
        }
        if what.is_empty() {
            return Ok(None);
        }
        let apart = self.apart(&agent, &reference);
        Ok(Some(PutBack { from: from.clone(), what, apart }))
    }

    fn broken(&self) -> Result<Vec<Broken>, Error> {
        let mut broken = Vec::new();
        for path in self.files.others() {
            let place = state_file::place(&*self.disk, &path);
            let print = Print::of(&*self.disk, &place);
            if let Some(wrong) = self.wrong(&path)? {
                broken.push(Broken { place, print, wrong });
            }
        }
        Ok(broken)
    }

    fn broken_state(&self) -> Result<Option<Broken>, Error> {
        let Some(path) = &self.files.state else { return Ok(None) };
        let place = state_file::place(&*self.disk, path);
        let print = Print::of(&*self.disk, &place);
        let wrong = match self.find(&place)? {
            Found::Missing => Wrong::Missing,
            Found::Damaged { why, .. } => Wrong::Damaged(why),
            Found::Whole(_) | Found::Unfit(_) => return Ok(None),
        };
        Ok(Some(Broken { place, print, wrong }))
    }

    /// Whether nobody wrote it since it was found broken.
    fn is_as_judged(&self, it: &Broken) -> bool {
        Print::of(&*self.disk, &it.place) == it.print
    }

    /// Whether a file that is not there was never the agent's: what it kept came from others, which
    /// are still there or have another name. A directory that was moved took its file with it.
    fn is_of_another_file(
        &self,
        agent: &Agent,
        from: &Checkpoint,
        place: &Path,
    ) -> Result<bool, Error> {
        if self.disk.metadata(place).is_ok() {
            return Ok(false);
        }
        let all = agent.list_checkpoints(Filter::default())?;
        let kept: Vec<&Path> = all.iter().filter_map(|one| one.state_file.as_deref()).collect();
        let is_it = |file: &&Path| {
            let moved = file.file_name() == place.file_name() && self.disk.metadata(file).is_err();
            *file == place || moved
        };
        if kept.is_empty() || kept.iter().any(is_it) {
            return Ok(false);
        }
        let (seq, agent) = (from.seq, agent.id());
        tracing::warn!(
            file = %place.display(),
            "it was never kept, so checkpoint {seq} of {agent}, which came from another file, is not \
             put there; agents with --agent names of their own are kept apart"
        );
        Ok(true)
    }

    /// Puts the state file back where nobody wrote it meanwhile; whether it was. What the agent kept
    /// since its state last changed at `above` stays the newest.
    fn put_state_back(
        &self,
        agent: &Agent,
        from: &Checkpoint,
        it: &Broken,
        (bytes, above): (&[u8], Seq),
    ) -> Result<bool, Error> {
        if from.state_file.as_deref() == Some(&it.place) {
            let only_state = RestoreOptions { only_state: true, ..by_policy() };
            agent.restore_above(&from.checkpoint_id.to_string(), &only_state, Some(above))?;
            return Ok(true);
        }
        // The state came another way than from this file, which no restore in place knows of: what
        // the file holds is kept first.
        if let Some(found) = restore::read_current(&*self.disk, &it.place)? {
            let kept = agent.checkpoint(Kind::Recovery).found_bytes(found).state_file(&it.place);
            kept.comment("before the state file is put back").commit()?;
        }
        let stands = || self.is_as_judged(it);
        Ok(restore::put_back_where(&*self.disk, &it.place, bytes, stands)?)
    }

    /// Makes the workspace's directory where somebody removed it with all that was in it: an empty
    /// one can be kept and filled again, and a missing one would leave the agent without either.
    fn make_workspace(&self) -> Result<(), Error> {
        let Some(place) = &self.workspace else { return Ok(()) };
        let failed = |source| Error::Io {
            doing: format!("make the workspace {} that is gone", place.display()),
            source,
        };
        match self.disk.metadata(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_dir_all_durable(&*self.disk, place).map_err(failed)
            }
            // What else is wrong with it is told by whoever looks into it.
            _ => Ok(()),
        }
    }

    /// How many names in the workspace are not as a checkpoint holds them.
    fn apart(&self, agent: &Agent, reference: &str) -> Option<usize> {
        self.workspace.as_ref()?;
        match agent.plan_restore(reference, &by_policy()) {
            Ok(plan) => Some(plan.files.written.len() + plan.files.removed.len()),
            Err(error) => {
                tracing::warn!(%error, "how far the workspace lies apart cannot be told");
                None
            }
        }
    }

    /// Puts every part back as a checkpoint holds it; nothing where there is none.
    pub(crate) fn restore(&self, reference: &str, why: &str) -> Result<Option<PutBack>, Error> {
        let restored = match self.agent()?.restore(reference, &by_policy()) {
            Err(Error::NoCheckpoint { .. }) => return Ok(None),
            other => other?,
        };
        let Some(from) = restored.checkpoint().cloned() else { return Ok(None) };
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
            other => other?,
        };
        let all = agent.list_checkpoints(Filter::default())?;
        // What was made since it was looked is newer.
        let looked = all.iter().position(|one| one.checkpoint_id == newest.checkpoint_id);
        let then = &all[looked.map_or(all.len(), |at| at + 1)..];
        let goes = |one: &&Checkpoint| retention::pin(&one.labels, &self.pins).is_none();
        let old: Vec<String> =
            then.iter().filter(goes).map(|one| one.checkpoint_id.to_string()).collect();
        let old: Vec<&str> = old.iter().map(String::as_str).collect();
        Ok(agent.forget(&old, false)?.len())
    }
}

fn sent<T: Serialize>(answer: &T) -> Result<serde_json::Value, Error> {
    serde_json::to_value(answer).map_err(|source| Error::Json { doing: "send", source })
}

/// Does something of which the state is a part, and again where another one was kept meanwhile.
fn looking_again<T>(look: impl Fn(Look) -> Result<T, Error>) -> Result<T, Error> {
    for _ in 1..LOOKS_MAX {
        match look(Look::First) {
            Err(Error::Stale { .. }) => {}
            other => return other,
        }
    }
    look(Look::Last)
}

/// A restore that no person asked for.
fn by_policy() -> RestoreOptions {
    RestoreOptions { force: true, live: true, ..RestoreOptions::default() }
}

fn not_whole(place: &Path, why: &str) -> String {
    format!("{} is not whole: {why}", place.display())
}

fn unread(place: &Path, source: std::io::Error) -> Error {
    Error::Io { doing: format!("read the state file {}", place.display()), source }
}
