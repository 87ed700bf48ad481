//! What can be asked of a store, as it is written in a request and performed on a manager.
//!
//! Each thing that can be asked is a [`Call`]: it knows how it is performed on an open store and how
//! it is written as an HTTP request. The command line, `run` and the routes of the sidecar use the
//! same ones, so that an operation is written once, and its answer is the same wherever it was
//! performed. Bodies refuse fields that they do not know: a misspelled wish is an error, not a wish
//! that is silently not granted.
//!
//! Nothing here knows of connections, tokens or sockets; who may ask for what is the routes' matter.

mod bundle;
mod checkpoint;
mod drift;
mod look;
mod operation;
mod owner;
mod restore;
mod upkeep;

use std::fmt::Write as _;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::manager::{CheckpointManager, Error};
use crate::state::AgentId;

pub(crate) use bundle::Import;
pub use bundle::ImportBody;
pub use checkpoint::CheckpointBody;
#[cfg(feature = "cli")]
pub(crate) use checkpoint::RawState;
pub(crate) use checkpoint::{Condition, Made, MakeCheckpoint, Opening};
pub use drift::MarkBody;
pub(crate) use drift::{Drift, Mark, Observations, Observe, ObserveAnswer};
#[cfg(feature = "cli")]
pub(crate) use look::StatusNow;
pub(crate) use look::{Diff, Files, List, Log, ReadState, Show, Shown, reference_path};
pub use operation::{BeginBody, CloseBody};
pub(crate) use operation::{Close, Closed, Operations, roll_back_options};
pub use owner::OwnerWords;
pub(crate) use restore::{Reset, Restore, RestoreAnswer, Undo};
pub use restore::{RestoreBody, RestorePathBody};
pub use upkeep::ForgetSingleBody;
pub(crate) use upkeep::{Forget, ForgetSingle, Forgotten, Prune, Settle, Verify};

/// Something that can be asked of a store.
pub(crate) trait Call: Sized {
    /// What is answered.
    type Answer: Serialize + DeserializeOwned;

    /// Does it on a store that is open here.
    fn perform(self, manager: &CheckpointManager) -> Result<Self::Answer, Error>;

    /// How it is asked of a sidecar.
    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "only a client writes requests"))]
    fn wire(&self) -> Result<Wire, serde_json::Error>;

    /// Reads the body of a sidecar's answer.
    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "only a client reads answers"))]
    fn read(body: &[u8]) -> Result<Self::Answer, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

/// A request as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wire {
    pub method: &'static str,
    /// The path with its query, escaped.
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<Vec<u8>>,
}

impl Wire {
    pub(crate) fn get(path: String) -> Self {
        Self { method: "GET", path, headers: Vec::new(), body: None }
    }

    pub(crate) fn post<B: Serialize>(path: String, body: &B) -> Result<Self, serde_json::Error> {
        let body = Some(serde_json::to_vec(body)?);
        Ok(Self { method: "POST", path, headers: Vec::new(), body })
    }
}

/// The path of an agent, and what follows it.
pub(crate) fn agent_path(agent: &AgentId, rest: &str) -> String {
    format!("/v1/agents/{}{rest}", escaped(agent.as_str()))
}

/// A text as one component of a path, or one value of a query.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string takes what is written to it");
        }
    }
    out
}

/// A query of those parts that are said.
fn query(parts: &[(&str, Option<String>)]) -> String {
    let said = parts.iter().filter_map(|(name, value)| {
        value.as_ref().map(|value| format!("{name}={}", escaped(value)))
    });
    let said: Vec<String> = said.collect();
    if said.is_empty() { String::new() } else { format!("?{}", said.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_component_of_a_path_whatever_is_in_them() {
        let agent = AgentId::new("a/b.c").unwrap();
        assert_eq!(agent_path(&agent, "/undo"), "/v1/agents/a%2Fb.c/undo");
        assert_eq!(escaped("latest:pre_operation ?#ä"), "latest%3Apre_operation%20%3F%23%C3%A4");
        assert_eq!(
            query(&[("a", None), ("b", Some("x&y".into())), ("c", Some("1".into()))]),
            "?b=x%26y&c=1"
        );
        assert_eq!(query(&[("a", None)]), "");
    }
}
