//! A checkpoint that is being asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::admission::{Asked, Submission, Told, Wanted, WantedPart, Words};
use super::agent::Agent;
use super::error::Error;
use super::serialized::{Serialized, serialize};
use super::workplace::{Inspect, Takes};
use crate::encode::event::What;
use crate::encode::manifest::Restored;
use crate::encode::parts;
use crate::state::{CheckpointId, Digest, Kind, OperationRef, Receipt, Seq};
use crate::store::Brought;

/// Limits on the caller's own words, in bytes: together they stay far below what a batch takes.
const WORDS_BYTES_MAX: usize = 1 << 20;

/// A patch is applied so often to a state that changes meanwhile, until it is refused as stale.
const PATCHES_MAX: u32 = 100;

#[derive(Debug, Clone)]
enum Source {
    /// The agent's own source where it has one, else what was there before.
    Unsaid,
    Bytes {
        bytes: Vec<u8>,
        checked: bool,
    },
    Patch(Vec<u8>),
    Of(CheckpointId),
    Inherited,
    Nothing,
}

/// A checkpoint that is being asked for; [`Request::commit`] makes it durable.
#[derive(Debug, Clone)]
#[must_use = "nothing is kept before commit() returned"]
pub struct Request {
    agent: Agent,
    kind: Kind,
    source: Source,
    words: Words,
    if_match: Option<Seq>,
    operation: Option<OperationRef>,
    opens: Option<String>,
    restored: Option<Restored>,
    parent: Option<CheckpointId>,
    imported: bool,
    raw: bool,
    asked: Asked,
    takes: Takes,
    workspace: WantedPart<parts::Workspace>,
    state_files: WantedPart<parts::StateFiles>,
    brought: Option<Arc<Brought>>,
    says: Vec<What>,
    told: Option<Told>,
}

impl Request {
    pub(crate) fn new(agent: Agent, kind: Kind) -> Self {
        let opens = (kind == Kind::PreOperation).then(String::new);
        Self {
            takes: agent.collects(),
            agent,
            kind,
            source: Source::Unsaid,
            words: Words::default(),
            if_match: None,
            operation: None,
            opens,
            restored: None,
            parent: None,
            imported: false,
            raw: false,
            asked: Asked::Content,
            workspace: WantedPart::Inherited,
            state_files: WantedPart::Inherited,
            brought: None,
            says: Vec::new(),
            told: None,
        }
    }

    /// Whose it is to be.
    #[cfg(feature = "cli")]
    pub(super) fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Keeps `state`, serialized as JSON; it must become an object.
    ///
    /// # Errors
    /// When it cannot be serialized.
    pub fn state<T: Serialize + ?Sized>(mut self, state: &T) -> Result<Self, Error> {
        let Serialized { bytes, checked } =
            serialize(state, self.agent.committer().encode.depth_max)
                .map_err(|source| Error::Json { doing: "serialize", source })?;
        self.source = Source::Bytes { bytes, checked };
        Ok(self)
    }

    /// Keeps these bytes, which must be one JSON object, as they are.
    pub fn state_bytes(mut self, bytes: Vec<u8>) -> Self {
        self.source = Source::Bytes { bytes, checked: false };
        self
    }

    /// Keeps these bytes without checking that they are one JSON object: for callers that just
    /// serialized them. What is no JSON then comes back as it was given.
    pub fn state_bytes_unchecked(mut self, bytes: Vec<u8>) -> Self {
        self.source = Source::Bytes { bytes, checked: true };
        self
    }

    /// Keeps the bytes of a state file as they were found, even where they are no JSON object.
    pub(crate) fn found_bytes(mut self, bytes: Vec<u8>) -> Self {
        self.raw = self.agent.committer().encode.check_state(&bytes).is_err();
        self.source = Source::Bytes { bytes, checked: true };
        self
    }

    /// Says that whoever asked said nothing of a state: under an idempotency key the same request may
    /// find another one.
    #[cfg(feature = "cli")]
    pub(crate) fn unsaid_state(mut self) -> Self {
        self.asked = Asked::Nothing;
        self
    }

    /// Keeps the newest state with a patch applied: an array is RFC 6902, an object RFC 7396. Where
    /// others keep states meanwhile it is of theirs.
    pub fn patch(mut self, patch: Vec<u8>) -> Self {
        self.source = Source::Patch(patch);
        self
    }

    /// Keeps the state of another checkpoint.
    pub(crate) fn state_of(mut self, id: CheckpointId) -> Self {
        self.source = Source::Of(id);
        self
    }

    /// Says which file the state was read from, so that a restore in place puts it back there.
    pub fn state_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.words.state_file = Some(path.into());
        self
    }

    /// Says whether the agent's workspace is collected; it is unless this says otherwise, where the
    /// handle has one. What is not collected is taken over from the newest checkpoint.
    pub fn workspace(mut self, collect: bool) -> Self {
        self.takes.workspace = collect && self.agent.collects().workspace;
        self
    }

    /// Says whether the agent's state files are collected, as [`Request::workspace`] does.
    pub fn state_files(mut self, collect: bool) -> Self {
        self.takes.state_files = collect && self.agent.collects().state_files;
        self
    }

    /// Keeps parts that lie in the store already.
    pub(crate) fn parts(
        self,
        workspace: WantedPart<parts::Workspace>,
        state_files: WantedPart<parts::StateFiles>,
    ) -> Self {
        self.workspace_part(workspace).state_files_part(state_files)
    }

    /// Keeps this workspace, which lies in the store already.
    pub(crate) fn workspace_part(mut self, part: WantedPart<parts::Workspace>) -> Self {
        self.takes.workspace = false;
        self.workspace = part;
        self
    }

    /// Keeps these state files, which lie in the store already.
    pub(crate) fn state_files_part(mut self, part: WantedPart<parts::StateFiles>) -> Self {
        self.takes.state_files = false;
        self.state_files = part;
        self
    }

    /// Looks at all of the workspace, whatever the kind of the checkpoint.
    pub(crate) fn thorough(mut self) -> Self {
        self.takes.thorough = true;
        self
    }

    /// Takes the state over from the newest checkpoint, recovery checkpoints apart.
    pub(crate) fn inherited_state(mut self) -> Self {
        self.source = Source::Inherited;
        self
    }

    /// Adds the caller's words.
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.words.comment = Some(comment.into());
        self
    }

    /// Adds a label; the key `keep` pins the checkpoint unless configured otherwise.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.words.labels.insert(key.into(), value.into());
        self
    }

    /// Adds labels.
    pub fn labels(mut self, labels: BTreeMap<String, String>) -> Self {
        self.words.labels.extend(labels);
        self
    }

    /// Adds the caller's own JSON.
    pub fn metadata(mut self, metadata: Value) -> Self {
        self.words.metadata = Some(metadata);
        self
    }

    /// Makes asking again under the same key answer the same checkpoint.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.words.key = Some(key.into());
        self
    }

    /// Commits only if the state last changed at this number. Recovery checkpoints, which keep what
    /// was found, change none.
    pub fn if_match(mut self, seq: Seq) -> Self {
        self.if_match = Some(seq);
        self
    }

    /// The same where no number was said before.
    #[cfg(feature = "cli")]
    pub(crate) fn or_if_match(mut self, seq: Seq) -> Self {
        self.if_match.get_or_insert(seq);
        self
    }

    /// Names the operation that a `pre_operation` checkpoint opens; without, it is named by its id.
    /// Checkpoints of other kinds open none.
    pub fn opens(mut self, name: impl Into<String>) -> Self {
        self.opens = Some(name.into());
        self
    }

    /// Says which operation the checkpoint belongs to.
    pub fn operation(mut self, operation: OperationRef) -> Self {
        self.operation = Some(operation);
        self
    }

    pub(crate) fn finishes(mut self, restored: Restored) -> Self {
        self.parent = Some(restored.from);
        self.restored = Some(restored);
        self
    }

    /// Says this in the same batch.
    pub(super) fn says(mut self, words: Vec<What>) -> Self {
        self.says.extend(words);
        self
    }

    /// Records that the agent stands so, which the caller found out.
    pub(super) fn told(mut self, told: Option<Told>) -> Self {
        self.told = told;
        self
    }

    /// Keeps no state.
    pub(crate) fn without_state(mut self) -> Self {
        self.source = Source::Nothing;
        self
    }

    /// Keeps parts whose content was brought into a store.
    pub(crate) fn brought(
        mut self,
        brought: Arc<Brought>,
        workspace: WantedPart<parts::Workspace>,
        state_files: WantedPart<parts::StateFiles>,
    ) -> Self {
        self.brought = Some(brought);
        self.parts(workspace, state_files)
    }

    pub(crate) fn imported(mut self) -> Self {
        self.imported = true;
        self
    }

    /// Makes the checkpoint durable: it is when this returns.
    ///
    /// # Errors
    /// `usage` for a state that is no JSON object or beyond the limits, `stale` for an outdated
    /// `if_match`, `unstored` with every attempt when no target took it.
    pub fn commit(self) -> Result<Receipt, Error> {
        self.commit_after(&mut |_| Ok(())).map(|(receipt, _)| receipt)
    }

    /// Makes the checkpoint durable as [`Request::commit`] does, and says whether it is one that was
    /// asked for before under the same idempotency key.
    ///
    /// # Errors
    /// As [`Request::commit`].
    pub fn commit_once(self) -> Result<(Receipt, bool), Error> {
        self.commit_after(&mut |_| Ok(()))
    }

    /// The same, once `inspect` agreed to what was collected. A patch is of the state that is the
    /// newest when it is kept: where that changed meanwhile it is applied again.
    pub(super) fn commit_after(self, inspect: Inspect<'_>) -> Result<(Receipt, bool), Error> {
        if !matches!(self.source, Source::Patch(_)) || self.if_match.is_some() {
            return self.commit_at_once(inspect);
        }
        let mut tries = PATCHES_MAX;
        loop {
            tries -= 1;
            let seen = self.agent.state_changed_now();
            match self.clone().if_match(seen).commit_at_once(inspect) {
                Err(Error::Stale { .. }) if tries > 0 => {}
                answer => return answer,
            }
        }
    }

    fn commit_at_once(self, inspect: Inspect<'_>) -> Result<(Receipt, bool), Error> {
        let agent = self.agent.clone();
        let _span =
            tracing::debug_span!("checkpoint", agent = %agent.id(), kind = %self.kind).entered();
        self.check_words()?;
        if let Some(receipt) = self.known_patch()? {
            return Ok((receipt, true));
        }
        let takes = self.takes;
        let mut submission = self.into_submission()?;
        let noted = agent.note_watched(&mut submission);
        let id = submission.id;
        let large =
            matches!(&submission.state, Wanted::Given { encoded, .. } if encoded.len > (4 << 20));
        let pinned = if large { agent.bring_ahead(&submission) } else { None };
        let answer = if takes.anything() {
            agent.submit_collected(submission, takes, inspect)
        } else {
            inspect(None).and_then(|()| agent.committer().submit(submission))
        };
        drop(pinned);
        agent.note_told(noted, answer.is_ok());
        match &answer {
            Ok(receipt) => agent.note_committed(receipt),
            Err(error) => {
                tracing::debug!(%error, "not kept");
                agent.forget_track();
            }
        }
        answer.map(|receipt| {
            let repeated = receipt.checkpoint.checkpoint_id != id;
            (receipt, repeated)
        })
    }

    fn check_words(&self) -> Result<(), Error> {
        let words = &self.words;
        let labels: usize = words.labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        let text = words.comment.as_ref().map_or(0, String::len)
            + words.key.as_ref().map_or(0, String::len)
            + words.metadata.as_ref().map_or(0, |value| value.to_string().len())
            + self.opens.as_ref().map_or(0, String::len);
        if labels + text > WORDS_BYTES_MAX {
            return Err(Error::Refused {
                why: "comment, labels, metadata and key together are longer than 1 MiB".to_owned(),
                way_out: "keep what is large in the state".to_owned(),
            });
        }
        if words.state_file.as_ref().is_some_and(|path| path.to_str().is_none()) {
            return Err(Error::Refused {
                why: "the state file's name is not UTF-8".to_owned(),
                way_out: "give the state on standard input, or rename the file".to_owned(),
            });
        }
        Ok(())
    }

    /// The receipt of this patch, where it was asked for before under the same key: to apply it once
    /// more could fail, or give something else.
    fn known_patch(&self) -> Result<Option<Receipt>, Error> {
        let (Source::Patch(patch), Some(_)) = (&self.source, &self.words.key) else {
            return Ok(None);
        };
        let asked = Asked::Patch(Digest::of(patch));
        let whole = Self { source: Source::Inherited, ..self.clone() }.into_submission()?;
        self.agent.committer().known(&Submission { asked, ..whole })
    }

    fn into_submission(self) -> Result<Submission, Error> {
        let asked = match &self.source {
            Source::Patch(patch) if self.words.key.is_some() => Asked::Patch(Digest::of(patch)),
            _ => self.asked,
        };
        let id = CheckpointId(Uuid::now_v7());
        let state = self.agent.encode(id, self.source.into_given(&self.agent)?)?;
        Ok(Submission {
            id,
            agent: self.agent.id().clone(),
            kind: self.kind,
            state,
            workspace: self.workspace,
            state_files: self.state_files,
            brought: self.brought,
            words: self.words,
            if_match: self.if_match,
            operation: self.operation,
            opens: self.opens.filter(|_| self.kind == Kind::PreOperation),
            restored: self.restored,
            parent: self.parent,
            imported: self.imported,
            raw: self.raw,
            by_hand: self.agent.is_by_hand(),
            asked,
            events: self.says,
            told: self.told,
        })
    }
}

/// A state as it is handed to the encoder.
#[derive(Debug)]
pub(crate) enum Given {
    Bytes { bytes: Arc<Vec<u8>>, checked: bool },
    Patch(Vec<u8>),
    Inherited,
    Of(CheckpointId),
    Nothing,
}

impl Source {
    fn into_given(self, agent: &Agent) -> Result<Given, Error> {
        Ok(match self {
            Self::Bytes { bytes, checked } => Given::Bytes { bytes: Arc::new(bytes), checked },
            Self::Patch(patch) => Given::Patch(patch),
            Self::Of(id) => Given::Of(id),
            Self::Inherited => Given::Inherited,
            Self::Nothing => Given::Nothing,
            Self::Unsaid => match agent.collect()? {
                Some(bytes) => Given::Bytes { bytes: Arc::new(bytes), checked: false },
                None => Given::Inherited,
            },
        })
    }
}
