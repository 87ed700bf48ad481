//! What a caller asks to be kept, checked against what is known and made into a draft.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::Error;
use super::resolve;
use crate::encode::Encoded;
use crate::encode::manifest::{Lies, Manifest, Part, Restored};
use crate::state::{AgentId, CheckpointId, Digest, Kind, OperationRef, Seq};
use crate::store::{self, Catalog, Draft, DraftState, Store};

/// What a caller asks to be kept.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    pub id: CheckpointId,
    pub agent: AgentId,
    pub kind: Kind,
    pub state: Wanted,
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
    /// That of the newest checkpoint.
    Inherited,
    /// That of another checkpoint.
    Of(CheckpointId),
}

impl Wanted {
    /// Bytes that may have to be written for it.
    pub(super) fn given_bytes(&self) -> usize {
        match self {
            Self::Given { encoded, .. } => usize::try_from(encoded.len).unwrap_or(usize::MAX),
            Self::Inherited | Self::Of(_) => 0,
        }
    }
}

/// What the agent's newest checkpoint was, before a submission.
#[derive(Debug, Default)]
pub(super) struct Before {
    pub id: Option<CheckpointId>,
    pub seq: Seq,
    pub state: Option<Part>,
    pub state_changed: Seq,
}

impl Before {
    pub(super) fn find(drafts: &[Draft], sighted: &[Arc<Store>], agent: &AgentId) -> Self {
        let waiting = drafts.iter().rev().find(|draft| draft.manifest.agent == *agent);
        if let Some(draft) = waiting {
            return Self::of(&draft.manifest);
        }
        let newest = sighted
            .iter()
            .filter_map(|store| newest(&store.catalog(), agent))
            .max_by_key(|before| before.seq)
            .filter(|before| before.seq > resolve::fresh_start(sighted, agent));
        newest.unwrap_or_default()
    }

    fn of(manifest: &Manifest) -> Self {
        Self {
            id: Some(manifest.id),
            seq: manifest.seq,
            state: manifest.state.clone(),
            state_changed: manifest.state_changed,
        }
    }
}

fn newest(catalog: &Catalog, agent: &AgentId) -> Option<Before> {
    catalog.since_reset(agent).next().map(|held| Before::of(&held.manifest))
}

/// The state of a submission: its part, the content to write for it, and what else goes with it.
pub(super) struct Taken {
    pub part: Part,
    pub state: DraftState,
    pub raw: bool,
    pub state_file: Option<PathBuf>,
}

/// Finds the state of a submission.
pub(super) fn content(
    submission: &Submission,
    before: &Before,
    drafts: &[Draft],
    sighted: &[Arc<Store>],
) -> Result<Taken, Error> {
    let source = match &submission.state {
        Wanted::Given { encoded, base } => {
            let part = Part {
                len: encoded.len,
                digest: encoded.state_digest,
                lies: Lies::Inline,
                inherited_from: None,
            };
            let state = DraftState::Given { encoded: encoded.clone(), base: *base };
            return Ok(Taken { part, state, raw: submission.raw, state_file: None });
        }
        Wanted::Inherited => before.id,
        Wanted::Of(id) => Some(*id),
    };
    let Some(source) = source else {
        return Err(Error::NoState { agent: submission.agent.clone() });
    };
    if let Some(draft) = drafts.iter().find(|draft| draft.manifest.id == source) {
        return inherit(submission, &draft.manifest, draft.state.clone());
    }
    for store in sighted {
        let held = store.catalog().get(source).cloned();
        let Some(held) = held else { continue };
        let state = store.carry(&held).map_err(|error| unreadable(source, &error))?;
        return inherit(submission, &held.manifest, state);
    }
    Err(Error::NoCheckpoint { agent: submission.agent.clone(), reference: source.to_string() })
}

fn inherit(submission: &Submission, from: &Manifest, state: DraftState) -> Result<Taken, Error> {
    let part = from.state.clone();
    let mut part = part.ok_or_else(|| Error::NoState { agent: submission.agent.clone() })?;
    part.inherited_from = match submission.state {
        Wanted::Inherited => part.inherited_from.or(Some(from.seq)),
        Wanted::Given { .. } | Wanted::Of(_) => None,
    };
    // What came from elsewhere names no file here.
    let state_file = from.state_file.clone().filter(|_| !from.imported);
    Ok(Taken { part, state, raw: from.raw, state_file })
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
    /// The digest of what was asked: the same request under the same key has the same.
    pub(super) fn body(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.kind.as_str().as_bytes());
        match &self.state {
            Wanted::Given { encoded, .. } => {
                hasher.update(b"\0given").update(&encoded.state_digest.0)
            }
            Wanted::Inherited => hasher.update(b"\0inherited"),
            Wanted::Of(id) => hasher.update(b"\0of").update(id.0.as_bytes()),
        };
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
}
