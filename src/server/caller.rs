//! Who asks: the owner of the store, or an agent with a token of its own.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::problem::Problem;
use crate::error::ErrorKind;
use crate::state::AgentId;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The owner of the store: whoever came through the socket, or with the token of the sidecar.
    Owner,
    /// An agent that `run` gave a token; it stops accidents, not a hostile process of the same user.
    Agent(AgentId),
}

impl Caller {
    /// Refuses what belongs to another agent.
    pub(crate) fn check(&self, agent: &AgentId) -> Result<(), Problem> {
        match self {
            Self::Agent(own) if own != agent => Err(Problem::forbidden(&format!(
                "the token is for agent {own} alone, and this is about {agent}"
            ))),
            _ => Ok(()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    /// What the guard found out. Nothing reaches a handler without it.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let found = parts.extensions.get::<Self>().cloned();
        Ok(found.expect("the guard lets nothing through without a caller"))
    }
}

impl Problem {
    /// Whoever asks may not have this.
    pub(crate) fn forbidden(detail: &str) -> Self {
        Self::with_status(StatusCode::FORBIDDEN, ErrorKind::Refused, detail)
    }
}
