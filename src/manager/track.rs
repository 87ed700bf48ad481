//! The agents' last states, kept so that the next commit costs what changed.
//!
//! The cache is bounded: when the states in it pass the bound, those not used for longest go. A
//! state that is not in it costs one complete encoding, no more.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::encode::{Options, Tracked};
use crate::state::{AgentId, CheckpointId};

/// Bytes of states that are kept.
const BYTES_MAX: usize = 256 << 20;

/// An agent's last state and the checkpoint that holds it.
#[derive(Debug)]
pub(crate) struct Track {
    pub tracked: Tracked,
    pub base: Option<CheckpointId>,
}

#[derive(Debug)]
struct Seat {
    track: Arc<Mutex<Track>>,
    bytes: usize,
    used: u64,
}

#[derive(Debug, Default)]
struct Seats {
    by_agent: HashMap<AgentId, Seat>,
    bytes: usize,
    uses: u64,
}

/// Every agent's last state, within the bound.
#[derive(Debug, Default)]
pub(crate) struct Tracks {
    seats: Mutex<Seats>,
}

impl Tracks {
    /// The agent's track; an empty one where none is kept.
    pub(crate) fn of(&self, agent: &AgentId, options: Options) -> Arc<Mutex<Track>> {
        let mut seats = self.seats.lock();
        seats.uses += 1;
        let used = seats.uses;
        let seat = seats.by_agent.entry(agent.clone()).or_insert_with(|| {
            let track = Track { tracked: Tracked::new(options), base: None };
            Seat { track: Arc::new(Mutex::new(track)), bytes: 0, used }
        });
        seat.used = used;
        Arc::clone(&seat.track)
    }

    /// Notes how large an agent's state is now, and lets others go where that is too much.
    pub(crate) fn weigh(&self, agent: &AgentId, bytes: usize) {
        let mut seats = self.seats.lock();
        let Some(seat) = seats.by_agent.get_mut(agent) else { return };
        let before = std::mem::replace(&mut seat.bytes, bytes);
        seats.bytes = seats.bytes + bytes - before;
        while seats.bytes > BYTES_MAX && seats.by_agent.len() > 1 {
            let oldest = seats
                .by_agent
                .iter()
                .filter(|(other, _)| *other != agent)
                .min_by_key(|(_, seat)| seat.used)
                .map(|(other, _)| other.clone());
            let Some(oldest) = oldest else { break };
            seats.drop_seat(&oldest);
        }
    }

    /// Lets an agent's track go: what it holds may not be in the store.
    pub(crate) fn drop_track(&self, agent: &AgentId) {
        self.seats.lock().drop_seat(agent);
    }
}

impl Seats {
    fn drop_seat(&mut self, agent: &AgentId) {
        if let Some(seat) = self.by_agent.remove(agent) {
            self.bytes -= seat.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let tracks = Tracks::default();
        let agents: Vec<AgentId> =
            ["a", "b", "c"].into_iter().map(|name| AgentId::new(name).unwrap()).collect();
        for agent in &agents {
            tracks.of(agent, Options::default());
            tracks.weigh(agent, BYTES_MAX / 2);
        }
        let seats = tracks.seats.lock();
        assert!(!seats.by_agent.contains_key(&agents[0]));
        assert_eq!(seats.bytes, BYTES_MAX / 2 * 2);
    }
}
