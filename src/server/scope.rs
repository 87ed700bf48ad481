//! How far the token of one agent reaches.
//!
//! What is not named here is out of reach: a route that is added later is closed to agents until it
//! is written down.

use axum::http::Method;

use super::problem::Problem;
use crate::state::AgentId;

/// Refuses what the token of an agent does not reach.
pub(super) fn check(method: &Method, path: &str, agent: &AgentId) -> Result<(), Problem> {
    if reaches(method, path, agent) {
        return Ok(());
    }
    Err(Problem::forbidden(&format!(
        "the token is for agent {agent}: it creates, reads, observes and restores its own, and \
         reaches nothing else"
    ))
    .hint("ask as the owner of the store, through the socket or with the sidecar's own token"))
}

fn reaches(method: &Method, path: &str, agent: &AgentId) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let mut parts = path.split('/').skip(1);
    let (first, second, third) = (parts.next(), parts.next(), parts.next());
    let rest: Vec<&str> = parts.collect();
    match (first, second, third) {
        (Some("livez" | "readyz" | "openapi.json"), None, None) => reads,
        // What can wait is done now: it changes nothing that anybody could mind.
        (Some("v1"), Some("settle"), None) => *method == Method::POST,
        (Some("v1"), Some("agents"), Some(named)) if is(named, agent) => {
            let writes = *method == Method::POST;
            match rest[..] {
                ["checkpoints" | "operations"]
                | ["checkpoints", _, "restore"]
                | ["operations", _, "complete" | "fail"] => reads || writes,
                ["undo" | "observe"] => writes,
                ["checkpoints", _]
                | ["checkpoints", _, "state" | "files"]
                | ["checkpoints", _, "diff", _]
                | ["drift"] => reads,
                _ => false,
            }
        }
        _ => false,
    }
}

/// Whether a part of a path names this agent: a `/` in its id is written `%2F` there, and whatever
/// else is decoded by the routes is decoded here the same way.
fn is(part: &str, agent: &AgentId) -> bool {
    decoded(part).as_deref() == Some(agent.as_str().as_bytes())
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    let mut bytes = part.bytes();
    let mut decoded = Vec::with_capacity(part.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let value = digit(bytes.next())? * 16 + digit(bytes.next())?;
        decoded.push(u8::try_from(value).ok()?);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_reaches_its_own_and_nothing_else() {
        let agent = AgentId::new("team/a").unwrap();
        let may = |method: Method, path: &str| reaches(&method, path, &agent);
        for (method, path) in [
            (Method::POST, "/v1/agents/team%2Fa/checkpoints"),
            (Method::GET, "/v1/agents/team%2fa/checkpoints"),
            (Method::GET, "/v1/agents/team%2Fa/checkpoints/latest/state"),
            (Method::GET, "/v1/agents/team%2Fa/checkpoints/1/diff/2"),
            (Method::POST, "/v1/settle"),
            (Method::POST, "/v1/agents/team%2Fa/checkpoints/good/restore"),
            (Method::POST, "/v1/agents/team%2Fa/operations/x/fail"),
            (Method::POST, "/v1/agents/%74eam%2Fa/observe"),
            (Method::GET, "/livez"),
        ] {
            assert!(may(method.clone(), path), "{method} {path}");
        }
        for (method, path) in [
            (Method::POST, "/v1/agents/team/a/checkpoints"),
            (Method::GET, "/v1/agents/team%2Fb/checkpoints"),
            (Method::GET, "/v1/agents/team%2Fa%2Fb/checkpoints"),
            (Method::GET, "/v1/agents/team%252Fa/checkpoints"),
            (Method::GET, "/v1/agents/team%2Fa/../b/checkpoints"),
            (Method::POST, "/v1/agents/team%2Fa/forget"),
            (Method::POST, "/v1/agents/team%2Fa/drift"),
            (Method::POST, "/v1/agents/team%2Fa/drift/mark"),
            (Method::DELETE, "/v1/agents/team%2Fa/checkpoints"),
            (Method::POST, "/v1/agents/team%2Fa/reset"),
            (Method::POST, "/v1/agents/team%2Fa/session"),
            (Method::POST, "/v1/restore"),
            (Method::POST, "/v1/forget"),
            (Method::POST, "/v1/verify"),
            (Method::GET, "/v1/agents"),
            (Method::GET, "/v1/events"),
            (Method::GET, "/metrics"),
            (Method::POST, "/livez"),
            (Method::GET, "//v1/agents/team%2Fa/checkpoints"),
        ] {
            assert!(!may(method.clone(), path), "{method} {path}");
        }
    }
}
