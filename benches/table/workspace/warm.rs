//! Ours in a process that stays: the library with an open workspace, which it watches.

use std::path::{Path, PathBuf};

use stateward::{Agent, CheckpointManager, Kind};

use super::errand::Spent;
use super::peers::stateward::used;
use super::sample::Sample;
use crate::ours;
use crate::rounds::timed;

pub struct Warm {
    home: PathBuf,
    manager: CheckpointManager,
    agent: Agent,
}

impl Warm {
    /// Opens a store in `home` and keeps the tree once.
    pub fn open(home: PathBuf, tree: &Path) -> Self {
        let manager = ours::open(&home);
        let agent = keeper(&manager, tree);
        let warm = Self { home, manager, agent };
        warm.keep();
        warm
    }

    pub fn keep(&self) -> Sample {
        let before = used(&ours::store_in(&self.home));
        rustix::fs::sync();
        let seconds = timed(|| keep(&self.agent)).1.as_secs_f64();
        ours::settle(&self.manager);
        let added_bytes = used(&ours::store_in(&self.home)) as f64 - before as f64;
        // The peak of this process is not that of ours.
        Sample { spent: Spent { seconds, peak_bytes: 0.0 }, added_bytes }
    }
}

/// An agent that keeps a tree.
pub fn keeper(manager: &CheckpointManager, tree: &Path) -> Agent {
    ours::agent(manager, "keeper").workspace(tree).expect("the tree can be kept")
}

/// A routine checkpoint of the tree.
pub fn keep(agent: &Agent) {
    agent.checkpoint(Kind::Routine).commit().expect("the tree is kept");
}
