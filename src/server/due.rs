//! When an agent's next checkpoint is due, where it leaves that to the sidecar.
//!
//! An agent that posts with `?if_due` may do so as often as it likes: its state is kept where the
//! save policy says so. What the policy is asked with is remembered here, in memory: after a restart
//! of the sidecar the first post is due.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::collect::{Moment, SavePolicy, Saved};
use crate::state::AgentId;

/// Agents that are remembered at most; further ones are due each time.
const AGENTS_MAX: usize = 10_000;

/// Where each agent stood when it last saved.
#[derive(Debug, Default)]
pub(crate) struct Dues(Mutex<HashMap<AgentId, (Saved, u64)>>);

impl Dues {
    /// Whether a checkpoint is due now. Each question is a finished step.
    pub(crate) fn is_due(&self, agent: &AgentId, policy: SavePolicy, moment: Moment) -> bool {
        let mut all = self.0.lock();
        let (saved, step) = match all.get_mut(agent) {
            Some((saved, step)) => {
                *step += 1;
                (Some(*saved), *step)
            }
            None => (None, 0),
        };
        policy.due(&Moment { saved, step, ..moment }).is_some()
    }

    /// Notes that an agent has saved.
    pub(crate) fn note(&self, agent: &AgentId, saved: Saved) {
        let mut all = self.0.lock();
        if all.len() < AGENTS_MAX || all.contains_key(agent) {
            all.insert(agent.clone(), (Saved { step: 0, ..saved }, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_agent_is_due_first_and_then_as_the_policy_says() {
        let (dues, agent) = (Dues::default(), AgentId::new("a").unwrap());
        let at = |secs| Moment { now: Duration::from_secs(secs), ..Moment::default() };
        let every: SavePolicy = "every 30s".parse().unwrap();
        assert!(dues.is_due(&agent, every, at(0)));
        dues.note(&agent, Saved { at: Duration::ZERO, ..Saved::default() });
        assert!(!dues.is_due(&agent, every, at(29)));
        assert!(dues.is_due(&agent, every, at(30)));
        assert!(dues.is_due(&agent, SavePolicy::EachStep, at(30)), "asking was a step");
        assert!(!dues.is_due(&agent, SavePolicy::Manual, at(90)));
    }
}
