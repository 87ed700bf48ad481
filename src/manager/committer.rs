//! The way of a commit: admitted, numbered, planned for, written to the first target that takes it.
//!
//! Many callers submit at once; one of them leads and commits for all that wait. The leader alone
//! gives numbers, so that a number is given once and before the first attempt, and asks retention
//! what the new checkpoints let go, so that forgetting rides in the same batch.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::admission::{Before, Sight, Submission, Taken, TakenState, Told, content, in_flight};
use super::drift::Watches;
use super::error::Error;
use super::progress::WorkProgress;
use super::{letting_go, retained};
use crate::clock::Clock;
use crate::collect;
use crate::commit::group::Group;
use crate::disk::{Retry, RetryError, retry};
use crate::encode::event::What;
use crate::encode::manifest::{Idempotency, Lies, Manifest, Part};
use crate::encode::{self, Block};
use crate::retention::Policy;
use crate::state::{AgentId, Attempt, CheckpointId, Digest, Kind, OperationRef, Receipt, Seq};
use crate::store::{
    self, Ahead, BlockKey, Brought, Draft, DraftState, Fresh, IfMissing, Shelf, Store, Target,
    Targets,
};

/// How long an idempotency key is remembered after its checkpoint was forgotten.
pub(crate) const KEY_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// Commits for everyone.
pub(crate) struct Committer {
    pub targets: Targets,
    pub clock: Arc<dyn Clock>,
    pub encode: encode::Options,
    /// What is done here is done by a person, not by an agent.
    pub by_hand: bool,
    pub workspace: collect::Options,
    /// Changed when the configuration is read again.
    pub policy: RwLock<Policy>,
    pub retry: Retry,
    group: Group<Submission, Answer>,
    numbers: Mutex<HashMap<AgentId, Seq>>,
    plans: Mutex<retained::Pace>,
    over_budget: Mutex<bool>,
    /// Every agent under watch.
    pub(super) watches: Watches,
    /// Whom to tell how far long work has come.
    pub(super) progress: RwLock<Option<Tell>>,
    /// Whom to tell what commits came to.
    pub(super) counting: RwLock<Option<Count>>,
    /// One homecoming at a time.
    pub(super) homecoming: Mutex<()>,
    /// Held while numbers are given and written, so that homecoming, and what is forgotten by hand,
    /// come between two batches: a commit takes parts over from the newest checkpoint.
    pub(super) turn: Mutex<()>,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer").field("targets", &self.targets).finish_non_exhaustive()
    }
}

/// Told of progress, from several threads.
pub(super) type Tell = Box<dyn Fn(WorkProgress) + Send + Sync>;

/// What a commit came to, and how long it took.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "only a sidecar listens"))]
pub(crate) struct CommitEnd<'a> {
    pub kind: Kind,
    pub took: Duration,
    pub answer: Result<&'a Receipt, &'a Error>,
}

/// Told of each commit, from several threads.
pub(super) type Count = Box<dyn Fn(CommitEnd<'_>) + Send + Sync>;

/// A submission that was let in.
enum Admitted {
    /// To be written; its place among the drafts, which it may share with an equal one.
    Draft(usize),
    /// Already there.
    Known(Box<Receipt>),
}

impl Committer {
    pub(crate) fn new(targets: Targets, options: &super::Options, watches: Watches) -> Self {
        Self {
            targets,
            clock: Arc::clone(&options.clock),
            encode: options.state,
            by_hand: options.by_hand,
            workspace: options.workspace.clone(),
            policy: RwLock::new(options.retention.clone()),
            retry: options.retry,
            group: Group::default(),
            numbers: Mutex::default(),
            plans: Mutex::default(),
            over_budget: Mutex::default(),
            watches,
            progress: RwLock::default(),
            counting: RwLock::default(),
            homecoming: Mutex::default(),
            turn: Mutex::default(),
        }
    }

    /// Makes a submission durable, together with whatever else waits.
    pub(crate) fn submit(&self, submission: Submission) -> Result<Receipt, Error> {
        let (kind, began) = (submission.kind, self.clock.monotonic());
        let answer = self.submit_uncounted(submission);
        if let Some(count) = &*self.counting.read() {
            let took = self.clock.monotonic().saturating_sub(began);
            count(CommitEnd { kind, took, answer: answer.as_ref() });
        }
        answer
    }

    fn submit_uncounted(&self, submission: Submission) -> Result<Receipt, Error> {
        let bytes = submission.given_bytes();
        let answer = self
            .group
            .submit(submission, bytes, |batch| self.commit(batch))
            .map_err(|died| Error::Interrupted(died.to_string()))?;
        match answer {
            Answer::Refused(error) => Err(error),
            Answer::Known(receipt) => Ok(*receipt),
            Answer::Draft(written, index) => match &written.stored {
                Err(attempts) => Err(Error::Unstored { attempts: attempts.clone() }),
                Ok((store, attempts)) => {
                    let manifest = &written.drafts[index].manifest;
                    let facts = store.facts_of(manifest, manifest.digest());
                    Ok(self.receipt(facts, attempts.clone()))
                }
            },
        }
    }

    /// Tells how far some work has come.
    pub(super) fn tell_progress(&self, progress: WorkProgress) {
        if let Some(tell) = &*self.progress.read() {
            tell(progress);
        }
    }

    /// How many commits wait for the next turn.
    #[cfg(feature = "testing")]
    pub(crate) fn waiting(&self) -> usize {
        self.group.waiting()
    }

    pub(crate) fn set_over_budget(&self, over: bool) {
        *self.over_budget.lock() = over;
    }

    pub(crate) fn is_over_budget(&self) -> bool {
        *self.over_budget.lock()
    }

    #[tracing::instrument(level = "debug", skip_all, fields(commits = batch.len()))]
    fn commit(&self, batch: Vec<Submission>) -> Vec<Answer> {
        let _turn = self.turn.lock();
        let sighted = self.targets.sighted();
        let mut drafts = Vec::with_capacity(batch.len());
        let admitted: Vec<Result<Admitted, Error>> = batch
            .into_iter()
            .map(|submission| self.admit(submission, &sighted, &mut drafts))
            .collect();
        let stored = if drafts.is_empty() { Err(Vec::new()) } else { self.store(&mut drafts) };
        let written = Arc::new(Written { drafts, stored });
        self.tell_checkpoints(&written);
        admitted
            .into_iter()
            .map(|one| match one {
                Ok(Admitted::Draft(index)) => Answer::Draft(Arc::clone(&written), index),
                Ok(Admitted::Known(receipt)) => Answer::Known(receipt),
                Err(error) => Answer::Refused(error),
            })
            .collect()
    }

    /// Tells whoever listens of the checkpoints that were written, before the next group is.
    fn tell_checkpoints(&self, written: &Written) {
        let (true, Ok((store, _))) = (self.targets.news.is_heard(), &written.stored) else {
            return;
        };
        for draft in &written.drafts {
            let facts = store.facts_of(&draft.manifest, draft.manifest.digest());
            self.targets.news.tell(Fresh::Checkpoint(&facts));
        }
    }

    /// Checks a submission against what is known and makes a draft of it.
    fn admit(
        &self,
        submission: Submission,
        sighted: &[Arc<Store>],
        drafts: &mut Vec<Draft>,
    ) -> Result<Admitted, Error> {
        let agent = submission.agent.clone();
        let body = submission.words.key.as_ref().map(|_| submission.body()).unwrap_or_default();
        if let Some(key) = &submission.words.key {
            if let Some(index) = in_flight(drafts, &agent, key, body)? {
                return Ok(Admitted::Draft(index));
            }
            if let Some(receipt) = self.remembered(sighted, &agent, key, body)? {
                return Ok(Admitted::Known(Box::new(receipt)));
            }
        }
        let before = Before::find(drafts, sighted, &agent);
        before.check(&submission, drafts, sighted)?;
        check_no_restore(&submission, sighted)?;
        let content = content(&submission, Sight { before: &before, drafts, stores: sighted })?;
        let seq = self.take_number(&agent, drafts, sighted);
        drafts.push(self.draft(submission, &before, content, seq, body));
        Ok(Admitted::Draft(drafts.len() - 1))
    }

    fn draft(
        &self,
        submission: Submission,
        before: &Before,
        taken: Taken,
        seq: Seq,
        body: Digest,
    ) -> Draft {
        let Taken { state, workspace, state_files } = taken;
        let TakenState { part, content, raw, file } = state;
        let digest = |part: &Option<Part>| part.as_ref().map(|part| part.digest);
        let unchanged = digest(&before.state) == digest(&part);
        let mut blocks = submission.rest();
        let (watched, memory) = submission.told.map(Told::into_parts).unwrap_or_default();
        blocks.extend(memory);
        let opens = submission.opens.map(|name| OperationRef {
            id: submission.id,
            name: if name.is_empty() { submission.id.to_string() } else { name },
        });
        let manifest = Manifest {
            id: submission.id,
            agent: submission.agent,
            seq,
            seq_provisional: self.targets.primary.store().is_none(),
            imported: submission.imported,
            raw,
            by_hand: submission.by_hand,
            kind: submission.kind,
            parent: submission.parent.or(before.id),
            created_at: self.clock.now(),
            store_time_ms: self.store_time_ms(),
            state: part,
            state_changed: if unchanged { before.state_changed } else { seq },
            state_file: submission.words.state_file.or(file),
            comment: submission.words.comment,
            labels: submission.words.labels,
            metadata: submission.words.metadata,
            operation: opens.or(submission.operation),
            idempotency: submission.words.key.map(|key| Idempotency { key, body }),
            restored: submission.restored,
            stored_bytes: 0,
            workspace,
            state_files,
            watched,
            unknown: Vec::new(),
        };
        let brought = submission.brought.into_iter().collect();
        Draft { blocks, brought, events: submission.events, ..Draft::new(manifest, content) }
    }

    /// The next number of an agent: above every one that was ever given, here or in any store that
    /// can be seen.
    pub(super) fn take_number(
        &self,
        agent: &AgentId,
        drafts: &[Draft],
        sighted: &[Arc<Store>],
    ) -> Seq {
        let mut numbers = self.numbers.lock();
        let given = numbers.get(agent).copied().unwrap_or_default();
        let stored = sighted
            .iter()
            .filter_map(|store| store.catalog().agents.get(agent).map(|shelf| shelf.last_seq))
            .max()
            .unwrap_or_default();
        let waiting = drafts
            .iter()
            .filter(|draft| draft.manifest.agent == *agent)
            .map(|draft| draft.manifest.seq)
            .max()
            .unwrap_or_default();
        let seq = given.max(stored).max(waiting).next();
        numbers.insert(agent.clone(), seq);
        seq
    }

    /// The number after the newest one at home, for a checkpoint whose own was provisional; later
    /// ones are given above it.
    pub(super) fn next_free(&self, agent: &AgentId, home: &Store) -> Seq {
        let last = home.catalog().agents.get(agent).map_or(Seq(0), |shelf| shelf.last_seq);
        let seq = last.next();
        let mut numbers = self.numbers.lock();
        let given = numbers.entry(agent.clone()).or_default();
        *given = (*given).max(seq);
        seq
    }

    /// The store's own time, in milliseconds; 0 where no store can be seen.
    pub(super) fn store_time_ms(&self) -> u64 {
        let store = self.targets.primary.store().or_else(|| self.targets.sighted().pop());
        store.map_or(0, |store| store.store_time_ms())
    }

    /// Notes that the target whose store this is failed.
    pub(super) fn fail_target_of(&self, store: &Arc<Store>, why: &str) {
        let failed = self.targets.all().find(|target| target.path() == store.path());
        if let Some(target) = failed {
            target.fail(why.to_owned());
        }
    }

    /// The receipt of what was asked for under a key before.
    pub(super) fn known(&self, submission: &Submission) -> Result<Option<Receipt>, Error> {
        let Some(key) = &submission.words.key else { return Ok(None) };
        self.remembered(&self.targets.sighted(), &submission.agent, key, submission.body())
    }

    fn remembered(
        &self,
        sighted: &[Arc<Store>],
        agent: &AgentId,
        key: &str,
        body: Digest,
    ) -> Result<Option<Receipt>, Error> {
        let now = self.clock.now();
        for store in sighted {
            let catalog = store.catalog();
            let Some(known) = catalog.remembered(agent, key) else { continue };
            if known.until.is_some_and(|until| until <= now) {
                continue;
            }
            if known.body != body {
                return Err(Error::KeyReused { key: key.to_owned() });
            }
            let held = catalog.get(known.id).cloned();
            let id = known.id;
            drop(catalog);
            return match held {
                Some(held) => Ok(Some(self.receipt(store.facts(&held), Vec::new()))),
                None => Err(Error::NoCheckpoint {
                    agent: agent.clone(),
                    reference: format!("{id} (made under key {key}, forgotten since)"),
                }),
            };
        }
        Ok(None)
    }

    /// Writes the drafts to the first target that takes them. Where none does, those that are left
    /// alone after a failure are tried all the same.
    fn store(&self, drafts: &mut [Draft]) -> Result<(Arc<Store>, Vec<Attempt>), Vec<Attempt>> {
        let mut attempts = Vec::new();
        let resting = self.targets.resting();
        for (index, target) in self.targets.all().enumerate() {
            let store = match self.ready(target, index) {
                Ok(store) => store,
                Err(why) => {
                    attempts.push(failed(target, why));
                    continue;
                }
            };
            if self.write_noting(target, &store, drafts, &mut attempts) {
                return Ok((store, attempts));
            }
        }
        for (target, store) in resting {
            if self.write_noting(target, &store, drafts, &mut attempts) {
                return Ok((store, attempts));
            }
        }
        Err(attempts)
    }

    /// The first target that takes content, of those that were not tried yet.
    ///
    /// # Errors
    /// `unstored` with every try where none is left.
    pub(super) fn store_for_content(
        &self,
        tried: &[PathBuf],
        attempts: &mut Vec<Attempt>,
    ) -> Result<Arc<Store>, Error> {
        let untried = |path: &Path| !tried.iter().any(|one| one == path);
        for (index, target) in self.targets.all().enumerate() {
            if !untried(target.path()) {
                continue;
            }
            match self.ready(target, index) {
                Ok(store) => return Ok(store),
                Err(why) => attempts.push(failed(target, why)),
            }
        }
        let resting = self.targets.resting();
        let found = resting.into_iter().find(|(target, _)| untried(target.path()));
        found
            .map(|(_, store)| store)
            .ok_or_else(|| Error::Unstored { attempts: std::mem::take(attempts) })
    }

    /// Writes one event to the first target that takes it, as a checkpoint would be; where none
    /// does, those that are left alone after a failure are tried all the same.
    pub(super) fn write_event(&self, what: impl Fn(&Store) -> What) -> Result<(), Error> {
        self.write_words(|store| vec![what(store)], &[])
    }

    /// Writes events as one batch, with the blocks that they name, as [`Committer::write_event`]
    /// does.
    pub(super) fn write_words(
        &self,
        words: impl Fn(&Store) -> Vec<What>,
        blocks: &[Block],
    ) -> Result<(), Error> {
        let _turn = self.turn.lock();
        let mut attempts = Vec::new();
        let resting = self.targets.resting();
        let say = |target: &Target, store: &Arc<Store>| {
            letting_go::say_all(store, &words(store), blocks).map_err(|error| {
                target.fail(error.to_string());
                error.to_string()
            })
        };
        for (index, target) in self.targets.all().enumerate() {
            match self.ready(target, index).and_then(|store| say(target, &store)) {
                Ok(()) => return Ok(()),
                Err(why) => attempts.push(failed(target, why)),
            }
        }
        for (target, store) in resting {
            match say(target, &store) {
                Ok(()) => {
                    target.mend();
                    return Ok(());
                }
                Err(why) => attempts.push(failed(target, why)),
            }
        }
        Err(Error::Unstored { attempts })
    }

    /// Writes to one target and notes what became of it.
    fn write_noting(
        &self,
        target: &Target,
        store: &Arc<Store>,
        drafts: &mut [Draft],
        attempts: &mut Vec<Attempt>,
    ) -> bool {
        if let Err(error) = self.bring_content(store, drafts, attempts) {
            // The target is well; what one of the drafts takes over cannot be read elsewhere.
            attempts.push(failed(target, error.to_string()));
            return false;
        }
        let is_primary = std::ptr::eq(target, &raw const self.targets.primary);
        let wrote = self.write(store, drafts, is_primary);
        match &wrote {
            Ok(tries) => {
                target.mend();
                attempts.extend_from_slice(tries);
                attempts.push(Attempt { target: target.path().to_owned(), error: None });
            }
            Err(error) => {
                let why = error.to_string();
                attempts.push(failed(target, why.clone()));
                if letting_go::is_full(&error.last) {
                    target.fail_for_room(why);
                } else {
                    target.fail(why);
                }
            }
        }
        wrote.is_ok()
    }

    /// The target's store, opened where it is a fallback that was not needed before.
    fn ready(&self, target: &Target, index: usize) -> Result<Arc<Store>, String> {
        if let Some(store) = target.ready() {
            return Ok(store);
        }
        if let Some(store) = target.waiting_for_room().filter(|_| target.is_due()) {
            return Ok(store);
        }
        if let Some(trouble) = target.trouble()
            && (index == 0 || !target.is_due())
        {
            return Err(trouble.why);
        }
        if index == 0 {
            return Err("it is not open".to_owned());
        }
        let home = IfMissing::Make { home: Some(self.targets.home()) };
        target.open(&home).map_err(|error| {
            target.fail(error.to_string());
            error.to_string()
        })
    }

    /// Writes to one target, with retries for errors that pass, and once more on a full disk when
    /// room could be made. Answers the tries that failed.
    fn write(
        &self,
        store: &Arc<Store>,
        drafts: &mut [Draft],
        retained: bool,
    ) -> Result<Vec<Attempt>, RetryError> {
        // Forgetting rides in the batch of the commit that causes it.
        let forgets = if retained {
            self.plans.lock().forgets(store, drafts, &self.policy.read())
        } else {
            Vec::new()
        };
        let mut tries = Vec::new();
        let first = match store.takes_checkpoints() {
            Ok(()) => self.try_to_write(store, drafts, &forgets, &mut tries),
            Err(last) => Err(RetryError::at_once("commit", last)),
        };
        let full = first.as_ref().is_err_and(|error| letting_go::is_full(&error.last));
        let wrote = match first {
            Err(error) if full => match store.make_room() {
                Ok(()) => self.try_to_write(store, drafts, &forgets, &mut tries),
                Err(room) => {
                    tracing::warn!(error = %room, "no room could be made");
                    Err(error)
                }
            },
            other => other,
        };
        wrote.map(|()| tries)
    }

    fn try_to_write(
        &self,
        store: &Arc<Store>,
        drafts: &mut [Draft],
        events: &[What],
        tries: &mut Vec<Attempt>,
    ) -> Result<(), RetryError> {
        self.retry.run_as(retry::classify_on_new_place, &*self.clock, "commit", || {
            store.write(drafts, events.to_vec(), &self.encode).map(drop).map_err(|error| {
                let why = Some(error.to_string());
                tries.push(Attempt { target: store.path().to_owned(), error: why });
                error.into_io()
            })
        })
    }

    /// A draft that takes a state over names blocks of the store it was found in; in another store
    /// it brings them.
    fn bring_content(
        &self,
        store: &Arc<Store>,
        drafts: &mut [Draft],
        attempts: &mut Vec<Attempt>,
    ) -> Result<(), Error> {
        for draft in drafts.iter_mut() {
            if let Err(left) = self.bring_parts(store, draft) {
                attempts.push(Attempt {
                    target: store.path().to_owned(),
                    error: Some(left.leave(draft)?),
                });
            }
            let Some(part) = &draft.manifest.state else { continue };
            let named = match (&draft.state, part.lies) {
                (DraftState::Kept(_), Lies::Tree { root, level }) => (root, level),
                _ => continue,
            };
            if store.catalog().holds_root(&draft.manifest.agent, named) {
                continue;
            }
            let bytes = self.find_content(part.digest, draft.manifest.id)?;
            let encoded = encode::encode_complete(Arc::new(bytes), &self.encode);
            draft.state = DraftState::Given { encoded, base: None };
        }
        Ok(())
    }

    /// What a draft's workspace and state files name is in the store, or is copied there.
    fn bring_parts(&self, store: &Arc<Store>, draft: &mut Draft) -> Result<(), NotBrought> {
        let agent = draft.manifest.agent.clone();
        let here = |root: BlockKey, brought: &[Arc<Brought>]| {
            brought.iter().any(|one| Arc::ptr_eq(&one.store, store) && one.holds(root))
                || store.catalog().holds_root(&agent, root)
        };
        let roots: Vec<BlockKey> = draft.manifest.part_roots().collect();
        for root in roots {
            if here(root, &draft.brought) {
                continue;
            }
            let source = self.targets.sighted().into_iter().find(|other| {
                !Arc::ptr_eq(other, store) && other.catalog().holds_root(&agent, root)
            });
            let Some(source) = source else {
                return Err(NotBrought("no store that can be seen holds it".to_owned()));
            };
            let ahead = Ahead::new(store, self.retry);
            ahead.copy(&source, root).map_err(|error| NotBrought(error.to_string()))?;
            let brought = Arc::new(ahead.finish());
            draft.blocks.extend(brought.rest.iter().cloned());
            draft.brought.push(brought);
        }
        Ok(())
    }

    /// A state by its digest, from whichever store has it sound.
    fn find_content(&self, digest: Digest, id: CheckpointId) -> Result<Vec<u8>, Error> {
        let mut why = "no store that can be seen holds it".to_owned();
        for store in self.targets.sighted() {
            let held = {
                let catalog = store.catalog();
                let has = |held: &&store::Held| {
                    held.manifest.state.as_ref().is_some_and(|part| part.digest == digest)
                };
                catalog.held().find(has).cloned()
            };
            match held.map(|held| store.read_state(&held)) {
                Some(Ok(Some(bytes))) => return Ok(bytes),
                Some(Err(error)) => why = error.to_string(),
                Some(Ok(None)) | None => {}
            }
        }
        Err(Error::Unreadable { id, why })
    }

    fn receipt(&self, checkpoint: crate::state::Checkpoint, attempts: Vec<Attempt>) -> Receipt {
        let mut degraded_why: Vec<String> = self
            .targets
            .all()
            .filter_map(|target| {
                let trouble = target.trouble()?;
                Some(format!("{}: {}", target.path().display(), trouble.why))
            })
            .collect();
        let over_budget = self.is_over_budget();
        if over_budget {
            degraded_why.push("protected checkpoints alone exceed the disk budget".to_owned());
        }
        Receipt {
            degraded: !degraded_why.is_empty(),
            degraded_why,
            over_budget,
            attempts,
            skipped: Vec::new(),
            unsettled: Vec::new(),
            checkpoint,
        }
    }
}

/// The store that took a group and the tries it took, or every try in vain.
type Stored = Result<(Arc<Store>, Vec<Attempt>), Vec<Attempt>>;

/// A group that was written, or could not be.
#[derive(Debug)]
struct Written {
    drafts: Vec<Draft>,
    stored: Stored,
}

/// Why a part's content could not be brought to another store.
struct NotBrought(String);

impl NotBrought {
    /// Leaves inherited parts behind, and says so; what was collected for this very checkpoint is
    /// not left.
    fn leave(self, draft: &mut Draft) -> Result<String, Error> {
        let manifest = &mut draft.manifest;
        let given = manifest.workspace.as_ref().is_some_and(|part| part.inherited_from.is_none())
            || manifest.state_files.as_ref().is_some_and(|part| part.inherited_from.is_none());
        if given {
            return Err(Error::Unreadable { id: manifest.id, why: self.0 });
        }
        manifest.workspace = None;
        manifest.state_files = None;
        Ok(format!("workspace and state files are left behind: {}", self.0))
    }
}

/// Between the word that a restore has begun and the word that it has finished, only the latter
/// is taken.
fn check_no_restore(submission: &Submission, sighted: &[Arc<Store>]) -> Result<(), Error> {
    if submission.restored.is_some() {
        return Ok(());
    }
    let begun = sighted.iter().any(|store| {
        let catalog = store.catalog();
        let open = catalog.agents.get(&submission.agent).and_then(Shelf::open_restore);
        matches!(open, Some(What::RestoreBegun { workspace: Some(_), .. }))
    });
    if !begun {
        return Ok(());
    }
    Err(Error::Refused {
        why: format!("a restore of agent {} has begun and not finished", submission.agent),
        way_out: "the next command that writes finishes it where it can, and says what keeps \
                  it from that; `stateward reset` gives it up"
            .to_owned(),
    })
}

/// What a submission came to. Its receipt is made by the one who asked, in its own time.
#[derive(Debug)]
enum Answer {
    /// One of the drafts of a group.
    Draft(Arc<Written>, usize),
    /// It was there already.
    Known(Box<Receipt>),
    Refused(Error),
}

fn failed(target: &Target, why: String) -> Attempt {
    Attempt { target: target.path().to_owned(), error: Some(why) }
}
