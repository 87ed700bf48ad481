//! What a caller asks to be kept, checked against what is known and made into a draft.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::Error;
use super::resolve;
use crate::encode::event::What;
use crate::encode::manifest::{Lies, Manifest, Part, Restored};
use crate::encode::parts::{StateFiles, Workspace};
use crate::encode::watched::Watched;
use crate::encode::{Block, Encoded};
use crate::state::{AgentId, CheckpointId, Digest, Kind, OperationRef, Seq};
use crate::store::{self, Brought, Draft, DraftState, Store};

/// What a caller asks to be kept.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    pub id: CheckpointId,
    pub agent: AgentId,
    pub kind: Kind,
    pub state: Wanted,
    pub workspace: WantedPart<Workspace>,
    pub state_files: WantedPart<StateFiles>,
    /// Where the content of the given parts lies, as far as it was brought ahead.
    pub brought: Option<Arc<Brought>>,
    pub words: Words,
    pub if_match: Option<Seq>,
    pub operation: Option<OperationRef>,
    /// A pre-operation checkpoint opens an operation of this name, or of its own id's.
    pub opens: Option<String>,
    pub restored: Option<Restored>,
    pub parent: Option<CheckpointId>,
    pub imported: bool,
    /// The state is what a file was found to hold, and no JSON object.
    pub raw: bool,
    /// A person or a script asks, not the agent.
    pub by_hand: bool,
    /// What of the state was asked for.
    pub asked: Asked,
    /// What is to be said in the same batch.
    pub events: Vec<What>,
    /// How the agent stands, where it is watched.
    pub told: Option<Told>,
}

/// What whoever asked said of the state: what makes the same request the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Asked {
    /// The state itself.
    #[default]
    Content,
    /// A patch of this digest, which makes another state of a newer one.
    Patch(Digest),
    /// Nothing, so that it may be another the next time.
    #[cfg(feature = "cli")]
    Nothing,
}

/// How an agent stands, with what its detectors remember.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub watched: Watched,
    pub memory: Block,
}

impl Told {
    pub(super) fn into_parts(self) -> (Option<Watched>, Option<Block>) {
        (Some(self.watched), Some(self.memory))
    }
}

/// The caller's own words on a checkpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    pub comment: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub metadata: Option<serde_json::Value>,
    pub key: Option<String>,
    pub state_file: Option<PathBuf>,
}

/// The state that is to be kept.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// New bytes.
    Given { encoded: Encoded, base: Option<CheckpointId> },
    /// That of the newest checkpoint, recovery checkpoints apart.
    Inherited,
    /// That of another checkpoint.
    Of(CheckpointId),
    /// None.
    Nothing,
}

/// The workspace or the state files that are to be kept.
#[derive(Debug, Clone)]
pub(crate) enum WantedPart<T> {
    /// What was collected for this checkpoint.
    Given(T),
    /// That of the newest checkpoint, where it has one.
    Inherited,
    /// That of another checkpoint, where it has one.
    Of(CheckpointId),
    /// None.
    Nothing,
}

impl Wanted {
    /// Bytes that may have to be written for it.
    pub(super) fn given_bytes(&self) -> usize {
        match self {
            Self::Given { encoded, .. } => usize::try_from(encoded.len).unwrap_or(usize::MAX),
            Self::Inherited | Self::Of(_) | Self::Nothing => 0,
        }
    }
}

/// What there was of an agent before a submission.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Its newest checkpoint.
    pub id: Option<CheckpointId>,
    /// The state it is at, which no recovery checkpoint changes: that keeps what was found.
    pub state: Option<Part>,
    pub state_changed: Seq,
}

impl Before {
    pub(super) fn find(drafts: &[Draft], sighted: &[Arc<Store>], agent: &AgentId) -> Self {
        let of = |manifest: &Manifest| Self {
            id: Some(manifest.id),
            state: manifest.state.clone(),
            state_changed: manifest.state_changed,
        };
        let own = |manifest: &Manifest| (manifest.kind != Kind::Recovery).then(|| of(manifest));
        let any = |manifest: &Manifest| Some((manifest.id, own(manifest)));
        match newest(drafts, sighted, agent, any) {
            None => Self::default(),
            Some((_, Some(own))) => own,
            Some((id, None)) => {
                let own = newest(drafts, sighted, agent, own).unwrap_or_default();
                Self { id: Some(id), ..own }
            }
        }
    }

    /// Refuses a submission for a state that is not the one the agent is at any more. The one that
    /// `latest` shows is as good where newer ones are tainted.
    pub(super) fn check(
        &self,
        submission: &Submission,
        drafts: &[Draft],
        sighted: &[Arc<Store>],
    ) -> Result<(), Error> {
        let (agent, is) = (&submission.agent, self.state_changed);
        let Some(expected) = submission.if_match.filter(|expected| *expected != is) else {
            return Ok(());
        };
        let waits = drafts.iter().any(|draft| draft.manifest.agent == *agent);
        let shown = resolve::of_latest(sighted, agent, |latest| latest.state_changed);
        if !waits && shown == Some(expected) {
            return Ok(());
        }
        Err(Error::Stale { agent: agent.clone(), expected, is })
    }
}

/// What is taken from an agent's newest checkpoint, since its last fresh start, that gives it.
fn newest<T>(
    drafts: &[Draft],
    sighted: &[Arc<Store>],
    agent: &AgentId,
    take: impl Fn(&Manifest) -> Option<T>,
) -> Option<T> {
    let waiting = drafts.iter().rev().map(|draft| &draft.manifest);
    if let Some(found) = waiting.filter(|manifest| manifest.agent == *agent).find_map(&take) {
        return Some(found);
    }
    let start = resolve::fresh_start(sighted, agent);
    let of_store = |store: &Arc<Store>| {
        let catalog = store.catalog();
        let all = catalog.since_reset(agent).map(|held| &held.manifest);
        let mut all = all.take_while(|manifest| manifest.seq > start);
        all.find_map(|manifest| Some((manifest.seq, take(manifest)?)))
    };
    let found = sighted.iter().filter_map(of_store).max_by_key(|(seq, _)| *seq);
    found.map(|(_, taken)| taken)
}

/// What a submission is to hold.
pub(super) struct Taken {
    pub state: TakenState,
    pub workspace: Option<Workspace>,
    pub state_files: Option<StateFiles>,
}

/// The state of a submission: its part, the content to write for it, and what else goes with it.
#[derive(Default)]
pub(super) struct TakenState {
    pub part: Option<Part>,
    pub content: DraftState,
    pub raw: bool,
    pub file: Option<PathBuf>,
}

/// Where parts that are taken over are found.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    pub before: &'a Before,
    pub drafts: &'a [Draft],
    pub stores: &'a [Arc<Store>],
}

/// Finds everything that a submission is to hold.
pub(super) fn content(submission: &Submission, sight: Sight<'_>) -> Result<Taken, Error> {
    let state = state_of(submission, sight)?;
    let workspace = sight.part(
        submission,
        &submission.workspace,
        || sight.before.id,
        |manifest, inherited| {
            let mut part = manifest.workspace.clone()?;
            part.inherited_from = inherited.then(|| part.inherited_from.unwrap_or(manifest.seq));
            Some(part)
        },
    )?;
    let from = || sight.newest(submission, |manifest| goes_on_in(submission, manifest));
    let state_files =
        sight.part(submission, &submission.state_files, from, |manifest, inherited| {
            let mut part = manifest.state_files.clone()?;
            part.inherited_from = inherited.then(|| part.inherited_from.unwrap_or(manifest.seq));
            Some(part)
        })?;
    if state.part.is_none() && workspace.is_none() && state_files.is_none() {
        return Err(Error::NoState { agent: submission.agent.clone() });
    }
    Ok(Taken { state, workspace, state_files })
}

impl Sight<'_> {
    /// The newest checkpoint that may be taken over from.
    fn newest(
        self,
        submission: &Submission,
        fits: impl Fn(&Manifest) -> bool,
    ) -> Option<CheckpointId> {
        let take = |manifest: &Manifest| fits(manifest).then_some(manifest.id);
        newest(self.drafts, self.stores, &submission.agent, take)
    }

    /// A part as it is given, or as `take` finds it in the manifest it is taken over from.
    fn part<T: Clone>(
        self,
        submission: &Submission,
        wanted: &WantedPart<T>,
        newest: impl FnOnce() -> Option<CheckpointId>,
        take: impl Fn(&Manifest, bool) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let source = match wanted {
            WantedPart::Given(part) => return Ok(Some(part.clone())),
            WantedPart::Nothing => return Ok(None),
            WantedPart::Inherited => newest(),
            WantedPart::Of(id) => Some(*id),
        };
        let Some(source) = source else { return Ok(None) };
        let inherited = matches!(wanted, WantedPart::Inherited);
        if let Some(draft) = self.drafts.iter().find(|draft| draft.manifest.id == source) {
            return Ok(take(&draft.manifest, inherited));
        }
        let found = self.stores.iter().find_map(|store| {
            store.catalog().get(source).map(|held| take(&held.manifest, inherited))
        });
        found.ok_or_else(|| Error::NoCheckpoint {
            agent: submission.agent.clone(),
            reference: source.to_string(),
        })
    }
}

/// Whether the files that a checkpoint holds may go on in another: those that a recovery checkpoint
/// holds, as they were found, do in recovery checkpoints alone.
fn goes_on_in(submission: &Submission, from: &Manifest) -> bool {
    submission.kind == Kind::Recovery || from.kind != Kind::Recovery
}

/// Finds the state of a submission.
fn state_of(submission: &Submission, sight: Sight<'_>) -> Result<TakenState, Error> {
    let Sight { drafts, stores, .. } = sight;
    let source = match &submission.state {
        Wanted::Given { encoded, base } => {
            let part = Part {
                len: encoded.len,
                digest: encoded.state_digest,
                lies: Lies::Inline,
                inherited_from: None,
            };
            let content = DraftState::Given { encoded: encoded.clone(), base: *base };
            let raw = submission.raw;
            return Ok(TakenState { part: Some(part), content, raw, file: None });
        }
        // What somebody found is the state of an agent only where there is nothing else.
        Wanted::Inherited => sight
            .newest(submission, |manifest| !manifest.raw && manifest.kind != Kind::Recovery)
            .or_else(|| sight.newest(submission, |manifest| !manifest.raw)),
        Wanted::Of(id) => Some(*id),
        Wanted::Nothing => None,
    };
    let Some(source) = source else { return Ok(TakenState::default()) };
    if let Some(draft) = drafts.iter().find(|draft| draft.manifest.id == source) {
        return Ok(inherit(submission, &draft.manifest, draft.state.clone()));
    }
    for store in stores {
        let held = store.catalog().get(source).cloned();
        let Some(held) = held else { continue };
        let content = store.carry(&held).map_err(|error| unreadable(source, &error))?;
        return Ok(inherit(submission, &held.manifest, content));
    }
    Err(Error::NoCheckpoint { agent: submission.agent.clone(), reference: source.to_string() })
}

fn inherit(submission: &Submission, from: &Manifest, content: DraftState) -> TakenState {
    let mut part = from.state.clone();
    if let Some(part) = &mut part {
        part.inherited_from = match submission.state {
            Wanted::Inherited => part.inherited_from.or(Some(from.seq)),
            Wanted::Given { .. } | Wanted::Of(_) | Wanted::Nothing => None,
        };
    }
    // What came from elsewhere names no file here.
    let file = from.state_file.clone().filter(|_| !from.imported);
    TakenState { part, content, raw: from.raw, file }
}

pub(crate) fn unreadable(id: CheckpointId, error: &store::ContentError) -> Error {
    match error {
        store::ContentError::Damaged(why) => Error::Damaged { id, why: why.clone() },
        store::ContentError::Io { .. } => Error::Unreadable { id, why: error.to_string() },
    }
}

/// A draft of this group that was asked for under the same key.
pub(super) fn in_flight(
    drafts: &[Draft],
    agent: &AgentId,
    key: &str,
    body: Digest,
) -> Result<Option<usize>, Error> {
    let index = drafts.iter().position(|draft| {
        let known = draft.manifest.idempotency.as_ref();
        draft.manifest.agent == *agent && known.is_some_and(|known| known.key == key)
    });
    match index {
        Some(index)
            if drafts[index].manifest.idempotency.as_ref().is_some_and(|k| k.body != body) =>
        {
            Err(Error::KeyReused { key: key.to_owned() })
        }
        other => Ok(other),
    }
}

impl Submission {
    /// Bytes that may have to be written for it.
    pub(super) fn given_bytes(&self) -> usize {
        let rest = self.brought.iter().flat_map(|brought| &brought.rest);
        self.state.given_bytes() + rest.map(|block| block.data.len()).sum::<usize>()
    }

    /// The blocks of its parts that ride with it.
    pub(super) fn rest(&self) -> Vec<Block> {
        self.brought.iter().flat_map(|brought| brought.rest.iter().cloned()).collect()
    }

    /// The digest of what was asked: the same request under the same key has the same.
    pub(super) fn body(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.kind.as_str().as_bytes());
        if let Asked::Patch(patch) = self.asked {
            hasher.update(b"\0patch").update(&patch.0);
        } else {
            self.hash_parts(&mut hasher);
        }
        let words = serde_json::json!([
            self.words.comment,
            self.words.labels,
            self.words.metadata,
            self.opens,
            self.operation.as_ref().map(|operation| &operation.name),
        ]);
        hasher.update(words.to_string().as_bytes());
        Digest(*hasher.finalize().as_bytes())
    }

    fn hash_parts(&self, hasher: &mut blake3::Hasher) {
        match &self.state {
            #[cfg(feature = "cli")]
            _ if self.asked == Asked::Nothing => hasher.update(b"\0inherited"),
            Wanted::Given { encoded, .. } => {
                hasher.update(b"\0given").update(&encoded.state_digest.0)
            }
            Wanted::Inherited => hasher.update(b"\0inherited"),
            Wanted::Nothing => hasher.update(b"\0nothing"),
            Wanted::Of(id) => hasher.update(b"\0of").update(id.0.as_bytes()),
        };
        if let WantedPart::Given(workspace) = &self.workspace {
            hasher.update(b"\0workspace").update(workspace.place.as_os_str().as_encoded_bytes());
        }
        if let WantedPart::Given(files) = &self.state_files {
            for (path, _) in &files.files {
                hasher.update(b"\0state file").update(path.as_os_str().as_encoded_bytes());
            }
        }
    }
}
