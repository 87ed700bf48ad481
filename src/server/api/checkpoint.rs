//! Making a checkpoint.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::operation::open_operation;
use super::{Call, OwnerWords, Wire, agent_path};
use crate::manager::{Agent, CheckpointManager, Error, Request};
use crate::state::{AgentId, Kind, Receipt, Seq};

/// A JSON text as it was given: large numbers, the order of keys and lone surrogates stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawState(pub Vec<u8>);

impl Serialize for RawState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = String::from_utf8(self.0.clone()).map_err(serde::ser::Error::custom)?;
        RawValue::from_string(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Box<RawValue> = Deserialize::deserialize(deserializer)?;
        Ok(Self(Box::<str>::from(text).into_string().into_bytes()))
    }
}

/// A checkpoint that is asked for. Without `state` and `patch` the newest state is taken over; of an
/// agent whose `run` knows its state file, what that holds, where it is whole and newer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointBody {
    /// `routine`, `pre_operation` (opens an operation) or `recovery`.
    #[serde(default = "routine")]
    #[schema(value_type = String, default = "routine", example = "routine")]
    pub kind: Kind,
    /// The state: one JSON object, kept byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) state: Option<RawState>,
    /// Instead of a state, what changes in the newest one: an array is an RFC 6902 patch, an object
    /// an RFC 7396 merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) patch: Option<RawState>,
    /// Whether the workspace of the agent's session is taken with it; it is unless this says no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<bool>,
    /// Whether the state files of the agent's session are taken with it, and its state is looked for in
    /// its file; they are unless this says no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_files: Option<bool>,
    /// Words for those who read the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Labels; `keep` pins the checkpoint unless configured otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// JSON of the caller's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub metadata: Option<serde_json::Value>,
    /// The open operation this belongs to, by name or id; of a `pre_operation`, what the operation it
    /// opens is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// What only the owner of the store may say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerWords>,
}

fn routine() -> Kind {
    Kind::Routine
}

impl CheckpointBody {
    /// A checkpoint that takes everything over.
    pub(crate) fn of(kind: Kind) -> Self {
        Self {
            kind,
            state: None,
            patch: None,
            workspace: None,
            state_files: None,
            comment: None,
            labels: BTreeMap::new(),
            metadata: None,
            operation: None,
            owner: None,
        }
    }
}

/// When a checkpoint is made at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The state last changed at this number.
    Match(Seq),
    /// There is no state yet.
    First,
}

/// Whether a checkpoint opens an operation or belongs to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Opening {
    /// A `pre_operation` opens what `operation` names; others belong to it.
    #[default]
    ByKind,
    /// It belongs to the one that `operation` names, whatever its kind.
    Belongs,
}

/// A checkpoint with the conditions under which it is made.
#[derive(Debug, Clone)]
pub(crate) struct MakeCheckpoint {
    pub agent: AgentId,
    pub body: CheckpointBody,
    pub condition: Option<Condition>,
    pub idempotency_key: Option<String>,
    pub opening: Opening,
}

/// What became of it.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub receipt: Receipt,
    /// It was made before, for the same idempotency key.
    pub repeated: bool,
}

impl MakeCheckpoint {
    /// Makes it with a handle that has the parts that are to be kept.
    pub(crate) fn make(self, agent: &Agent) -> Result<Made, Error> {
        let (receipt, repeated) = self.request(agent)?.commit_once()?;
        Ok(Made { receipt, repeated })
    }

    /// Whether the state it is to hold is none that has to be looked for.
    #[cfg(feature = "cli")]
    pub(crate) fn says_which_state(&self) -> bool {
        let Self { body: CheckpointBody { state, patch, state_files, .. }, .. } = self;
        state.is_some() || patch.is_some() || *state_files == Some(false)
    }

    /// The library's request.
    pub(crate) fn request(self, agent: &Agent) -> Result<Request, Error> {
        let body = self.body;
        let mut request = agent.checkpoint(body.kind).labels(body.labels);
        request = match (body.state, body.patch) {
            (Some(_), Some(_)) => return Err(both()),
            (Some(state), None) => request.state_bytes(state.0),
            (None, Some(patch)) => request.patch(patch.0),
            (None, None) => request,
        };
        if let Some(collect) = body.workspace {
            request = request.workspace(collect);
        }
        if let Some(collect) = body.state_files {
            request = request.state_files(collect);
        }
        if let Some(comment) = body.comment {
            request = request.comment(comment);
        }
        if let Some(metadata) = body.metadata {
            request = request.metadata(metadata);
        }
        if let Some(file) = body.owner.and_then(|owner| owner.state_file) {
            request = request.state_file(file);
        }
        if let Some(key) = self.idempotency_key {
            request = request.idempotency_key(key);
        }
        request = match self.condition {
            Some(Condition::Match(seq)) => request.if_match(seq),
            // What never changed last changed at no number.
            Some(Condition::First) => request.if_match(Seq(0)),
            None => request,
        };
        Ok(match body.operation {
            Some(name) if body.kind == Kind::PreOperation && self.opening == Opening::ByKind => {
                request.opens(name)
            }
            Some(name) => request.operation(open_operation(agent, &name)?),
            None => request,
        })
    }
}

fn both() -> Error {
    Error::Refused {
        why: "a state and a patch were given".to_owned(),
        way_out: "give one of the two".to_owned(),
    }
}

impl Call for MakeCheckpoint {
    type Answer = Receipt;

    fn perform(self, manager: &CheckpointManager) -> Result<Receipt, Error> {
        let owner = self.body.owner.clone().unwrap_or_default();
        let agent = owner.agent(manager, &self.agent)?;
        self.make(&agent).map(|made| made.receipt)
    }

    fn wire(&self) -> Result<Wire, serde_json::Error> {
        let belongs = self.opening == Opening::Belongs && self.body.kind == Kind::PreOperation;
        let query = if belongs { "?belongs" } else { "" };
        let path = agent_path(&self.agent, "/checkpoints") + query;
        let mut wire = Wire::post(path, &self.body)?;
        match self.condition {
            Some(Condition::Match(seq)) => wire.headers.push(("if-match", format!("\"{seq}\""))),
            Some(Condition::First) => wire.headers.push(("if-none-match", "*".to_owned())),
            None => {}
        }
        wire.headers.extend(self.idempotency_key.clone().map(|key| ("idempotency-key", key)));
        Ok(wire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_travels_as_it_was_written() {
        let state = r#"{"b":9007199254740993, "a":1e400,"b":"\ud800"}"#;
        let text = format!(r#"{{"kind":"routine","state":{state}}}"#);
        let body: CheckpointBody = serde_json::from_str(&text).unwrap();
        assert_eq!(body.state, Some(RawState(state.into())));
        assert_eq!(serde_json::to_string(&body).unwrap(), text);
    }

    #[test]
    fn what_is_misspelled_is_refused() {
        for text in [r#"{"stat":{}}"#, r#"{"owner":{"by_foot":true}}"#, r#"{"kind":"daily"}"#] {
            assert!(serde_json::from_str::<CheckpointBody>(text).is_err(), "{text}");
        }
        let least: CheckpointBody = serde_json::from_str("{}").unwrap();
        assert_eq!(least, CheckpointBody::of(Kind::Routine));
    }
}
