//! Agents as paths name them, and the handles that requests act with.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::ErrorKind;
use crate::manager::{Agent, Error};
use crate::server::api::{Made, MakeCheckpoint, OwnerWords};
use crate::server::app::App;
use crate::server::caller::Caller;
use crate::server::problem::Problem;
use crate::state::AgentId;

/// What a path names.
#[derive(Debug)]
pub(super) struct At<T>(pub T);

/// What a query asks.
#[derive(Debug)]
pub(super) struct Asked<T>(pub T);

/// An agent.
#[derive(Debug, Deserialize)]
pub(super) struct OfAgent {
    pub agent: AgentId,
}

/// A checkpoint of an agent.
#[derive(Debug, Deserialize)]
pub(super) struct OfCheckpoint {
    pub agent: AgentId,
    pub reference: String,
}

impl<T: DeserializeOwned + Send> FromRequestParts<App> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let read = Path::<T>::from_request_parts(parts, app).await;
        read.map(|Path(it)| Self(it)).map_err(|error| {
            Problem::new(ErrorKind::Usage, format!("the path does not fit: {}", error.body_text()))
        })
    }
}

impl<T: DeserializeOwned> FromRequestParts<App> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let read = Query::<T>::from_request_parts(parts, app).await;
        read.map(|Query(it)| Self(it)).map_err(|error| {
            Problem::new(ErrorKind::Usage, format!("the query does not fit: {}", error.body_text()))
        })
    }
}

/// Checks what a caller may say about an agent: what is the owner's to say, only the owner.
pub(super) fn check(
    caller: &Caller,
    agent: &AgentId,
    owner: Option<&OwnerWords>,
) -> Result<(), Problem> {
    caller.check(agent)?;
    match owner {
        Some(_) => caller.check_owner("say what `owner` holds"),
        None => Ok(()),
    }
}

/// The handle that a request acts with: that of the agent's session, where the owner does not say
/// where the parts lie; one of its own otherwise. Blocks.
pub(super) fn handle(
    app: &App,
    agent: &AgentId,
    owner: Option<&OwnerWords>,
) -> Result<Agent, Error> {
    match owner {
        Some(owner) => owner.agent(app.manager(), agent),
        None => of_session(app, agent).unwrap_or_else(|| app.manager().agent(agent.as_str())),
    }
}

#[cfg(feature = "cli")]
fn of_session(app: &App, agent: &AgentId) -> Option<Result<Agent, Error>> {
    app.sessions().of(agent).map(|session| session.handle())
}

#[cfg(not(feature = "cli"))]
fn of_session(_: &App, _: &AgentId) -> Option<Result<Agent, Error>> {
    None
}

/// Makes a checkpoint; of an agent that asks itself, with all parts of its session. Blocks.
pub(super) fn make_asked(app: &App, wanted: MakeCheckpoint) -> Result<Made, Error> {
    #[cfg(feature = "cli")]
    if wanted.body.owner.is_none()
        && let Some(session) = app.sessions().of(&wanted.agent)
    {
        return session.make(wanted);
    }
    let handle = handle(app, &wanted.agent, wanted.body.owner.as_ref())?;
    wanted.make(&handle)
}

/// Whether a `run` attends to an agent.
#[cfg(feature = "cli")]
pub(super) fn is_attended(app: &App, agent: &AgentId) -> bool {
    app.sessions().of(agent).is_some()
}

/// Nobody runs agents here.
#[cfg(not(feature = "cli"))]
pub(super) fn is_attended(_: &App, _: &AgentId) -> bool {
    false
}

/// Notes that an agent spoke for itself.
#[cfg(feature = "cli")]
pub(super) fn note_sign(app: &App, agent: &AgentId) {
    if let Some(session) = app.sessions().of(agent) {
        session.note_sign();
    }
}

/// Nobody runs agents here.
#[cfg(not(feature = "cli"))]
pub(super) fn note_sign(_: &App, _: &AgentId) {}

impl Caller {
    /// Refuses what is the owner's alone.
    pub(super) fn check_owner(&self, what: &str) -> Result<(), Problem> {
        match self {
            Self::Owner => Ok(()),
            Self::Agent(agent) => Err(Problem::forbidden(&format!(
                "the token is for agent {agent} alone, and may not {what}"
            ))),
        }
    }
}
