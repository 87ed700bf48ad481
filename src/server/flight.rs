//! Idempotency keys whose first request is still being worked on.

use std::collections::HashSet;
use std::sync::Arc;

use axum::http::StatusCode;
use parking_lot::Mutex;

use super::problem::Problem;
use crate::error::ErrorKind;
use crate::state::AgentId;

/// The keys of requests that are being worked on. Cheap to clone; clones share everything.
#[derive(Debug, Default, Clone)]
pub(crate) struct Flights(Arc<Mutex<HashSet<(AgentId, String)>>>);

/// A key that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    flights: Flights,
    key: (AgentId, String),
}

impl Flights {
    /// Takes a key, or says that its first request has not been answered yet.
    pub(crate) fn take(&self, agent: &AgentId, key: &str) -> Result<Flight, Problem> {
        let key = (agent.clone(), key.to_owned());
        if self.0.lock().insert(key.clone()) {
            return Ok(Flight { flights: self.clone(), key });
        }
        let detail = format!("a request under the idempotency key `{}` is still under way", key.1);
        let problem = Problem::with_status(StatusCode::CONFLICT, ErrorKind::Refused, detail);
        Err(problem.hint("send it again in a moment").retry_after(1))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_until_its_request_is_answered() {
        let (flights, agent) = (Flights::default(), AgentId::new("a").unwrap());
        let first = flights.take(&agent, "k").unwrap();
        assert_eq!(flights.take(&agent, "k").unwrap_err().status, 409);
        flights.take(&AgentId::new("b").unwrap(), "k").unwrap();
        drop(first);
        flights.take(&agent, "k").unwrap();
    }
}
