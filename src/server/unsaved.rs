//! What no store could take, kept in memory until one can.
//!
//! When no target takes a checkpoint, whoever asked for it is told so, with every try. The newest
//! state of each agent that met this is kept here as well, and tried again until a target takes it or
//! the agent saves something newer; so a disk that is full for a while costs an agent nothing that it
//! had handed over, unless the sidecar ends first. How much is kept is bounded; what is kept is
//! reported, because it is not durable.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use axum::http::StatusCode;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::api::{Condition, MakeCheckpoint};
use super::app::App;
use super::problem::Problem;
use super::routes::make_again;
use crate::error::ErrorKind;
use crate::state::{AgentId, Kind, Seq, Timestamp};

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

/// A request to keep something, as it came: it is spared until the request is over, in case that no
/// store takes it.
#[derive(Debug, Clone)]
pub(crate) struct Spare {
    wanted: MakeCheckpoint,
    /// Requests are counted as they come: what came later is newer.
    number: u64,
    /// It was asked for under no condition. What the agent saves before it is tried again is newer,
    /// so that then it is what was there when the request came that it is kept on top of.
    unconditional: bool,
}

impl Spare {
    /// What is asked for when it is tried again.
    pub(crate) fn wanted(&self) -> &MakeCheckpoint {
        &self.wanted
    }

    /// Whether what it holds is the state that the agent is at, and not what somebody found.
    fn is_state(&self) -> bool {
        self.wanted.body.state.is_some() && self.wanted.body.kind != Kind::Recovery
    }
}

#[derive(Debug)]
struct Kept {
    spare: Spare,
    since: Timestamp,
    bytes: usize,
}

#[derive(Debug, Default)]
struct All {
    came: u64,
    kept: BTreeMap<AgentId, Kept>,
}

/// The newest state of each agent that no store could take.
#[derive(Debug, Default)]
pub(crate) struct Unstored(Mutex<All>);

impl Unstored {
    /// Takes note of a request that came when the state of its agent had last changed at this number.
    pub(crate) fn spare(&self, wanted: &MakeCheckpoint, changed: Seq) -> Spare {
        let mut all = self.0.lock();
        all.came += 1;
        let unconditional = wanted.condition.is_none();
        let condition = wanted.condition.or(Some(Condition::Match(changed)));
        let wanted = MakeCheckpoint { condition, ..wanted.clone() };
        Spare { wanted, number: all.came, unconditional }
    }

    /// Keeps what no store could take; whether it is the newest of its agent and there is room for it.
    pub(crate) fn keep(&self, spare: Spare, now: Timestamp) -> bool {
        let Some(bytes) = spare.wanted.body.state.as_ref().map(|state| state.0.len()) else {
            return false;
        };
        let All { kept, .. } = &mut *self.0.lock();
        let agent = &spare.wanted.agent;
        let before = kept.get(agent);
        let is_newest = before.is_none_or(|before| {
            let found = !spare.is_state() && before.spare.is_state();
            before.spare.number < spare.number && !found
        });
        let others = kept.iter().filter(|(other, _)| *other != agent);
        let taken: usize = others.map(|(_, kept)| kept.bytes).sum();
        // Where the newer one is too large, what is there is better than nothing.
        let stays = is_newest && taken + bytes <= BYTES_MAX;
        if stays {
            let since = before.map_or(now, |before| before.since);
            kept.insert(agent.clone(), Kept { spare, since, bytes });
        }
        stays
    }

    /// Lets go what was replaced by a request that is saved now: it and what came before. What came
    /// later is newer than the state that changed at this number.
    pub(crate) fn saved(&self, spare: &Spare, changed: Option<Seq>) {
        if !spare.is_state() {
            return;
        }
        let All { kept, .. } = &mut *self.0.lock();
        let Entry::Occupied(mut entry) = kept.entry(spare.wanted.agent.clone()) else { return };
        let later = &mut entry.get_mut().spare;
        if later.number <= spare.number {
            entry.remove();
        } else if let (true, Some(changed)) = (later.unconditional, changed) {
            later.wanted.condition = Some(Condition::Match(changed));
        }
    }

    /// Lets go what cannot be stored any more.
    fn let_go(&self, spare: &Spare) {
        let All { kept, .. } = &mut *self.0.lock();
        if let Entry::Occupied(entry) = kept.entry(spare.wanted.agent.clone())
            && entry.get().spare.number == spare.number
        {
            entry.remove();
        }
    }

    /// What is kept.
    pub(crate) fn report(&self) -> Vec<Unsaved> {
        let all = self.0.lock();
        let told = all.kept.iter().map(|(agent, kept)| Unsaved {
            agent_id: agent.clone(),
            since: kept.since,
            bytes: kept.bytes,
        });
        told.collect()
    }

    fn all(&self) -> Vec<Spare> {
        self.0.lock().kept.values().map(|kept| kept.spare.clone()).collect()
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
    let mut all_done = true;
    for spare in app.unstored().all() {
        let agent = spare.wanted.agent.clone();
        match make_again(app, spare.clone()).await {
            Ok(()) => tracing::warn!(%agent, "stored what no store could take before"),
            Err(problem) if is_vain(&problem) => {
                // The state it was a change of has changed, or what it belongs to is over.
                tracing::warn!(%agent, why = problem.detail, "what no store could take is let go");
                app.unstored().let_go(&spare);
            }
            Err(problem) => {
                all_done = false;
                if problem.kind == ErrorKind::Unstored {
                    break;
                }
                tracing::warn!(%agent, why = problem.detail, "what no store could take is tried again");
            }
        }
    }
    all_done
}

/// Whether what failed so will do no better another time.
fn is_vain(problem: &Problem) -> bool {
    let is_other_request = problem.status == StatusCode::UNPROCESSABLE_ENTITY.as_u16();
    let vain = [ErrorKind::Stale, ErrorKind::NotFound, ErrorKind::Usage];
    is_other_request || vain.contains(&problem.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::api::{CheckpointBody, Opening, RawState};

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

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    fn keep(unstored: &Unstored, agent: &str, bytes: usize, ms: i64) -> bool {
        unstored.keep(unstored.spare(&wanted(agent, bytes), Seq(1)), at(ms))
    }

    fn told(unstored: &Unstored) -> Vec<(String, Timestamp, usize)> {
        let report = unstored.report().into_iter();
        report.map(|it| (it.agent_id.to_string(), it.since, it.bytes)).collect()
    }

    #[test]
    fn the_newest_of_each_agent_is_kept_within_bounds() {
        let unstored = Unstored::default();
        assert!(keep(&unstored, "a", 10, 1));
        assert!(keep(&unstored, "a", 20, 2));
        assert!(keep(&unstored, "b", BYTES_MAX - 20, 3));
        assert!(!keep(&unstored, "c", 1, 4), "there is no more room");
        assert!(!keep(&unstored, "a", 21, 5), "what is there stays");
        let both = [("a".into(), at(1), 20), ("b".into(), at(3), BYTES_MAX - 20)];
        assert_eq!(told(&unstored), both);
        unstored.saved(&unstored.spare(&wanted("b", 1), Seq(1)), Some(Seq(2)));
        assert!(keep(&unstored, "c", 1, 6));
        let nothing = MakeCheckpoint { body: CheckpointBody::of(Kind::Routine), ..wanted("d", 0) };
        let nothing = unstored.spare(&nothing, Seq(1));
        assert!(!unstored.keep(nothing, at(7)), "without a state there is nothing to keep");
    }

    #[test]
    fn what_came_later_stays_whatever_becomes_of_what_came_before() {
        let unstored = Unstored::default();
        let [first, second, third] = [1, 2, 3].map(|n| unstored.spare(&wanted("a", n), Seq(5)));
        assert!(unstored.keep(second.clone(), at(1)));
        assert!(!unstored.keep(first.clone(), at(2)), "it came before what is kept");
        unstored.let_go(&first);
        unstored.saved(&first, Some(Seq(6)));
        let kept = unstored.all();
        assert_eq!((kept.len(), kept[0].wanted.condition), (1, Some(Condition::Match(Seq(6)))));
        unstored.saved(&third, Some(Seq(7)));
        assert_eq!(unstored.all().len(), 0, "it was replaced");
        assert!(unstored.keep(third, at(3)));
        unstored.let_go(&second);
        assert_eq!(told(&unstored), [("a".into(), at(3), 3)]);
    }

    #[test]
    fn what_was_found_takes_the_place_of_no_state() {
        let unstored = Unstored::default();
        let found = |bytes| {
            let mut found = wanted("a", bytes);
            found.body.kind = Kind::Recovery;
            unstored.spare(&found, Seq(1))
        };
        assert!(unstored.keep(found(1), at(1)));
        assert!(keep(&unstored, "a", 2, 2));
        assert!(!unstored.keep(found(3), at(3)));
        unstored.saved(&found(3), Some(Seq(1)));
        assert_eq!(told(&unstored), [("a".into(), at(1), 2)]);
    }

    #[test]
    fn a_condition_that_was_asked_for_stays_what_it_was() {
        let unstored = Unstored::default();
        let before = unstored.spare(&wanted("a", 1), Seq(5));
        let condition = Some(Condition::Match(Seq(5)));
        let asked = MakeCheckpoint { condition, ..wanted("a", 2) };
        assert!(unstored.keep(unstored.spare(&asked, Seq(5)), at(1)));
        unstored.saved(&before, Some(Seq(6)));
        assert_eq!(unstored.all()[0].wanted.condition, condition);
    }
}
