//! When a checkpoint of a running agent is due, and of which parts.
//!
//! A function of the changes it is told of and of the time that is passed in; it knows no disk and
//! no clock. State files are due when they settled, the workspace when it fell quiet, or now and
//! then while it never does; all parts are due when a change is `every` old. What changes while a
//! checkpoint is taken stays due.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{OnCrash, Options};

/// A state file that never settles is read after so many times the settling time all the same.
const PATIENCE: u32 = 10;

/// Nothing is tried again sooner than this after a checkpoint failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What of an agent is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Parts {
    /// The state and the state files.
    pub state: bool,
    /// The workspace.
    pub workspace: bool,
}

/// A part by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The state and the state files.
    State,
    /// The workspace.
    Workspace,
}

/// Why a checkpoint is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The state files changed and settled.
    Settled,
    /// The workspace changed and fell quiet.
    Quiet,
    /// The workspace has been changing for long.
    Steady,
    /// A change has not been kept for the whole interval.
    Interval,
}

/// Changes that no checkpoint holds: when the first came, and the last.
#[derive(Debug, Clone, Copy)]
struct Change {
    first: Duration,
    last: Duration,
}

/// What changed since it was last kept.
#[derive(Debug, Clone)]
pub struct Schedule {
    options: Options,
    /// What the agent has at all.
    has: Parts,
    state: Option<Change>,
    workspace: Option<Change>,
    not_before: Duration,
}

impl Parts {
    /// Every part.
    pub const ALL: Self = Self { state: true, workspace: true };

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { state: self.state && other.state, workspace: self.workspace && other.workspace }
    }
}

impl Due {
    /// What is to be taken.
    #[must_use]
    pub fn parts(self) -> Parts {
        match self {
            Self::Settled => Parts { state: true, workspace: false },
            // A workspace without the state of its moment would be half a memory.
            Self::Quiet | Self::Steady | Self::Interval => Parts::ALL,
        }
    }
}

impl Schedule {
    /// Nothing changed yet.
    #[must_use]
    pub fn new(options: &Options, has: Parts) -> Self {
        let options = options.clone();
        Self { options, has, state: None, workspace: None, not_before: Duration::ZERO }
    }

    /// Notes that a part changed, where the agent has it.
    pub fn changed(&mut self, part: Part, now: Duration) {
        let change = match part {
            Part::State if self.has.state => &mut self.state,
            Part::Workspace if self.has.workspace => &mut self.workspace,
            _ => return,
        };
        let first = change.map_or(now, |change| change.first);
        *change = Some(Change { first, last: now });
    }

    /// Whether a checkpoint is due, and why.
    #[must_use]
    pub fn due(&self, now: Duration) -> Option<Due> {
        if now < self.not_before {
            return None;
        }
        let age = |since: Duration| now.saturating_sub(since);
        let Options { every, quiet_after, steady_every, state_settle, .. } = &self.options;
        let oldest = self.state.iter().chain(&self.workspace).map(|change| change.first).min();
        if oldest.is_some_and(|first| age(first) >= every.as_duration()) {
            return Some(Due::Interval);
        }
        if let Some(change) = self.workspace {
            if age(change.last) >= quiet_after.as_duration() {
                return Some(Due::Quiet);
            }
            if age(change.first) >= steady_every.as_duration() {
                return Some(Due::Steady);
            }
        }
        let settle = state_settle.as_duration();
        let settled = |change: Change| {
            age(change.last) >= settle || age(change.first) >= settle.saturating_mul(PATIENCE)
        };
        self.state.is_some_and(settled).then_some(Due::Settled)
    }

    /// Whether anything changed that no checkpoint holds.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.state.is_none() && self.workspace.is_none()
    }

    /// What is to be taken of what the agent has. Where both parts go back together after a crash,
    /// neither is kept without the other.
    #[must_use]
    pub fn parts(&self, due: Due) -> Parts {
        let together = self.options.on_crash == OnCrash::Both;
        self.has.and(if together { Parts::ALL } else { due.parts() })
    }

    /// Notes that a checkpoint holds these parts as they were when it began.
    pub fn kept(&mut self, parts: Parts, began: Duration) {
        let later = |change: Change| {
            (change.last >= began).then_some(Change { first: change.first.max(began), ..change })
        };
        if parts.state {
            self.state = self.state.and_then(later);
        }
        if parts.workspace {
            self.workspace = self.workspace.and_then(later);
        }
    }

    /// Notes that a checkpoint could not be taken.
    pub fn failed(&mut self, now: Duration) {
        self.not_before = now + RETRY_AFTER;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn schedule() -> Schedule {
        Schedule::new(&Options::default(), Parts::ALL)
    }

    #[test]
    fn nothing_is_due_where_nothing_changed() {
        let schedule = schedule();
        assert_eq!(schedule.due(Duration::from_secs(1_000_000)), None);
        assert!(schedule.is_clean());
    }

    #[test]
    fn state_is_due_when_it_settled() {
        let mut schedule = schedule();
        schedule.changed(Part::State, at(100));
        schedule.changed(Part::State, at(900));
        assert_eq!(schedule.due(at(1899)), None);
        assert_eq!(schedule.due(at(1900)), Some(Due::Settled));
        assert_eq!(Due::Settled.parts(), Parts { state: true, workspace: false });
    }

    #[test]
    fn state_is_taken_with_the_workspace_where_both_go_back_together() {
        let state = Parts { state: true, workspace: false };
        for (on_crash, wanted) in [(OnCrash::State, state), (OnCrash::Both, Parts::ALL)] {
            let options = Options { on_crash, ..Options::default() };
            assert_eq!(Schedule::new(&options, Parts::ALL).parts(Due::Settled), wanted);
            assert_eq!(Schedule::new(&options, state).parts(Due::Settled), state);
        }
    }

    #[test]
    fn state_that_never_settles_is_due_all_the_same() {
        let mut schedule = schedule();
        for ms in (0..10_000).step_by(500) {
            schedule.changed(Part::State, at(ms));
            assert_eq!(schedule.due(at(ms + 499)), None, "{ms}");
        }
        assert_eq!(schedule.due(at(10_000)), Some(Due::Settled));
    }

    #[test]
    fn a_workspace_is_due_when_quiet_or_after_long_change() {
        let mut schedule = schedule();
        schedule.changed(Part::Workspace, at(0));
        assert_eq!(schedule.due(at(1999)), None);
        assert_eq!(schedule.due(at(2000)), Some(Due::Quiet));
        for ms in (0..120_000).step_by(1500) {
            schedule.changed(Part::Workspace, at(ms));
            assert_eq!(schedule.due(at(ms + 1)), None, "{ms}");
        }
        schedule.changed(Part::Workspace, at(119_999));
        assert_eq!(schedule.due(at(120_000)), Some(Due::Steady));
    }

    #[test]
    fn a_change_is_kept_within_the_interval_whatever_happens() {
        let options = Options { every: crate::state::Span::from_secs(5), ..Options::default() };
        let mut schedule = Schedule::new(&options, Parts::ALL);
        for ms in (0..5000).step_by(500) {
            schedule.changed(Part::Workspace, at(60_000 + ms));
        }
        assert_eq!(schedule.due(at(64_999)), None);
        assert_eq!(schedule.due(at(65_000)), Some(Due::Interval));
    }

    #[test]
    fn what_changes_meanwhile_stays_due() {
        let mut schedule = schedule();
        schedule.changed(Part::State, at(0));
        schedule.changed(Part::Workspace, at(0));
        schedule.changed(Part::Workspace, at(5000));
        schedule.kept(Parts::ALL, at(4000));
        assert_eq!(schedule.due(at(6999)), None);
        assert_eq!(schedule.due(at(7000)), Some(Due::Quiet));
        schedule.kept(Parts { state: true, workspace: false }, at(7000));
        assert!(!schedule.is_clean());
        schedule.kept(Parts::ALL, at(7000));
        assert!(schedule.is_clean());
    }

    #[test]
    fn a_failure_is_not_repeated_at_once() {
        let mut schedule = schedule();
        schedule.changed(Part::State, at(0));
        schedule.failed(at(1000));
        assert_eq!(schedule.due(at(5999)), None);
        assert_eq!(schedule.due(at(6000)), Some(Due::Settled));
    }
}
