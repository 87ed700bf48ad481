//! Letting go: what retention or a person forgets, and the space it frees.

use serde::{Deserialize, Serialize};

use super::agent::Agent;
use super::committer::Committer;
use super::error::Error;
use super::retained;
use super::{CheckpointManager, absolute};
use crate::state::{AgentId, Checkpoint, CheckpointId, Seq, Span};

/// Which checkpoints retention is to look at, and by which rule.
#[derive(Debug, Clone, Default)]
pub struct ForgetRequest {
    /// Only this agent's; every agent's where absent.
    pub agent: Option<AgentId>,
    /// Instead of the configured numbers.
    pub keep_last: Option<u64>,
    /// Instead of the configured times.
    pub keep_within: Option<Span>,
    /// Only tell.
    pub dry_run: bool,
}

/// A checkpoint that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptOne {
    /// Its number.
    pub seq: Seq,
    /// Which.
    pub checkpoint_id: CheckpointId,
    /// Why.
    pub reasons: Vec<String>,
}

/// A checkpoint that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgottenOne {
    /// Its number.
    pub seq: Seq,
    /// Which.
    pub checkpoint_id: CheckpointId,
    /// Why.
    pub reason: String,
}

/// What retention keeps of an agent, and what it lets go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetReport {
    /// Whose.
    pub agent_id: AgentId,
    /// What stays.
    pub kept: Vec<KeptOne>,
    /// What goes.
    pub forgotten: Vec<ForgottenOne>,
    /// Nothing was done.
    pub dry_run: bool,
}

/// What pruning freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneReport {
    /// Bytes of records in the log before.
    pub before_bytes: u64,
    /// Bytes of records in the log after.
    pub after_bytes: u64,
    /// Segments that were taken away.
    pub segments_removed: u64,
}

impl CheckpointManager {
    pub(super) fn forget_single(
        &self,
        _agent: &Agent,
        _references: &[&str],
        _erase: bool,
    ) -> Result<Vec<Checkpoint>, Error> {
        Ok(Vec::new())
    }
}

pub(super) fn compact_when_worthwhile(_committer: &Committer) -> Result<(), Error> {
    Ok(())
}
