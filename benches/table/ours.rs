//! Stateward, as the rows use it: the defaults, unless a row says otherwise.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use stateward::disk::Disk;
use stateward::retention::Policy;
use stateward::state::Kind;
use stateward::verify::VerifyOptions;
use stateward::{Agent, CheckpointManager, Options};

/// A store with all defaults: views and retention on, background work in its own thread.
pub fn open(dir: &Path) -> CheckpointManager {
    open_with(Options::new(store_in(dir)))
}

/// The same on another disk.
pub fn open_on(dir: &Path, disk: Arc<dyn Disk>) -> CheckpointManager {
    let mut options = Options::new(store_in(dir));
    options.disk = disk;
    open_with(options)
}

/// The same, but nothing is ever forgotten.
pub fn open_keeping_all(dir: &Path) -> CheckpointManager {
    let mut options = Options::new(store_in(dir));
    options.retention = keep_all();
    open_with(options)
}

pub fn open_with(options: Options) -> CheckpointManager {
    CheckpointManager::open(options).expect("the store opens")
}

/// Where the store lies in a scratch directory.
pub fn store_in(dir: &Path) -> PathBuf {
    dir.join("store")
}

/// The policy that keeps every routine checkpoint.
pub fn keep_all() -> Policy {
    let mut policy = Policy::default();
    policy.routine.keep_last = u64::MAX;
    policy
}

pub fn agent(manager: &CheckpointManager, id: &str) -> Agent {
    manager.agent(id).expect("the agent's name is free")
}

/// Commits a routine checkpoint of these bytes, which are checked.
pub fn commit(agent: &Agent, state: Vec<u8>) {
    agent.checkpoint(Kind::Routine).state_bytes(state).commit().expect("the state is committed");
}

/// Waits until background work is done, so that it falls on no other contestant.
pub fn settle(manager: &CheckpointManager) {
    manager.settle().expect("the store settles");
}

/// Frees what was forgotten.
pub fn prune(manager: &CheckpointManager) {
    manager.prune(&mut |_| {}).expect("the store is pruned");
}

/// Reads and checks everything.
pub fn verify(manager: &CheckpointManager) {
    manager.verify(&VerifyOptions::default(), &mut |_| {}).expect("the store is verified");
}
