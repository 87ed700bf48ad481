//! What no store could take, kept in memory until one can.
//!
//! When no target takes a checkpoint, whoever asked for it is told so, with every try. The newest
//! state of each agent that met this is kept here as well, and tried again until a target takes it or
//! the agent saves something newer; so a disk that is full for a while costs an agent nothing that it
//! had handed over, unless the sidecar ends first. How much is kept is bounded; what is kept is
//! reported, because it is not durable.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::api::MakeCheckpoint;
use super::app::App;
use super::routes::make_again;
use crate::error::ErrorKind;
use crate::state::{AgentId, Timestamp};

/// The states of all agents together.
const BYTES_MAX: usize = 64 << 20;

/// The first wait before it is tried again; it doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// A state that no store could take yet, as it is reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsaved {
    /// Whose.
    pub agent_id: AgentId,
    /// Since when there is something of it that no store has.
    pub since: Timestamp,
    /// Length of the state in bytes.
    pub bytes: usize,
}

#[derive(Debug)]
struct Kept {
    wanted: MakeCheckpoint,
    since: Timestamp,
    bytes: usize,
}

/// The newest state of each agent that no store could take.
#[derive(Debug, Default)]
pub(crate) struct Unstored(Mutex<BTreeMap<AgentId, Kept>>);

impl Unstored {
    /// Keeps what no store could take; whether there is room for it.
    pub(crate) fn keep(&self, wanted: MakeCheckpoint, now: Timestamp) -> bool {
        let Some(bytes) = wanted.body.state.as_ref().map(|state| state.0.len()) else {
            return false;
        };
        let mut all = self.0.lock();
        let before = all.remove(&wanted.agent);
        let since = before.as_ref().map_or(now, |before| before.since);
        let taken: usize = all.values().map(|kept| kept.bytes).sum();
        // Where the newer one is too large, what is there is better than nothing.
        let (fits, kept) = match (taken + bytes <= BYTES_MAX, before) {
            (true, _) => (true, Some(Kept { wanted, since, bytes })),
            (false, before) => (false, before),
        };
        if let Some(kept) = kept {
            all.insert(kept.wanted.agent.clone(), kept);
        }
        fits
    }

    /// Lets go what an agent has saved, or replaced by something newer.
    pub(crate) fn let_go(&self, agent: &AgentId) {
        self.0.lock().remove(agent);
    }

    /// What is kept.
    pub(crate) fn report(&self) -> Vec<Unsaved> {
        let all = self.0.lock();
        let told = all.iter().map(|(agent, kept)| Unsaved {
            agent_id: agent.clone(),
            since: kept.since,
            bytes: kept.bytes,
        });
        told.collect()
    }

    fn all(&self) -> Vec<MakeCheckpoint> {
        self.0.lock().values().map(|kept| kept.wanted.clone()).collect()
    }
}

/// Tries again and again to store what no store could take, until the sidecar is told to end; then
/// once more.
pub(super) async fn keep_trying(app: App) {
    let mut pause = PAUSE_FIRST;
    loop {
        let ends = tokio::select! {
            () = app.ended() => true,
            () = tokio::time::sleep(pause) => false,
        };
        pause = if try_all(&app).await { PAUSE_FIRST } else { (pause * 2).min(PAUSE_MAX) };
        if ends {
            let left = app.unsaved().len();
            if left > 0 {
                tracing::error!(agents = left, "states are lost that no store could take");
            }
            return;
        }
    }
}

/// Whether nothing is left.
async fn try_all(app: &App) -> bool {
    for wanted in app.unstored().all() {
        let agent = wanted.agent.clone();
        match make_again(app, wanted).await {
            Ok(()) => tracing::warn!(%agent, "stored what no store could take before"),
            Err(problem) if problem.kind == ErrorKind::Unstored => return false,
            Err(problem) => {
                // The state it was a change of has changed, or what it belongs to is over.
                tracing::warn!(%agent, why = problem.detail, "what no store could take is let go");
                app.unstored().let_go(&agent);
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::api::{CheckpointBody, Opening, RawState};
    use crate::state::Kind;

    fn wanted(agent: &str, bytes: usize) -> MakeCheckpoint {
        let state = Some(RawState(vec![b' '; bytes]));
        MakeCheckpoint {
            agent: AgentId::new(agent).unwrap(),
            body: CheckpointBody { state, ..CheckpointBody::of(Kind::Routine) },
            condition: None,
            idempotency_key: None,
            opening: Opening::ByKind,
        }
    }

    #[test]
    fn the_newest_of_each_agent_is_kept_within_bounds() {
        let (unstored, at) = (Unstored::default(), Timestamp::from_unix_ms);
        assert!(unstored.keep(wanted("a", 10), at(1)));
        assert!(unstored.keep(wanted("a", 20), at(2)));
        assert!(unstored.keep(wanted("b", BYTES_MAX - 20), at(3)));
        assert!(!unstored.keep(wanted("c", 1), at(4)), "there is no more room");
        assert!(!unstored.keep(wanted("a", 21), at(5)), "what is there stays");
        let told: Vec<_> = unstored
            .report()
            .into_iter()
            .map(|it| (it.agent_id.to_string(), it.since, it.bytes))
            .collect();
        assert_eq!(told, [("a".into(), at(1), 20), ("b".into(), at(3), BYTES_MAX - 20)]);
        unstored.let_go(&AgentId::new("b").unwrap());
        assert!(unstored.keep(wanted("c", 1), at(6)));
        let nothing = MakeCheckpoint { body: CheckpointBody::of(Kind::Routine), ..wanted("d", 0) };
        assert!(!unstored.keep(nothing, at(7)), "without a state there is nothing to keep");
    }
}
