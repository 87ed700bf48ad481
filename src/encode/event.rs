//! Events: what happened besides checkpoints, as JSON in the log.
//!
//! An event carries a number that only grows (`n`), because compaction may move an old event behind
//! a newer one: where two say different things of the same matter, the higher number decides.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::manifest::Idempotency;
use super::watched::Watched;
use crate::state::{AgentId, CheckpointId, Digest, Kind, Level, Seq, Timestamp};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Grows with every event of a store.
    pub n: u64,
    /// When it happened, by the wall clock.
    pub at: Timestamp,
    /// What happened.
    pub what: What,
    /// Fields a newer program wrote.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

/// A segment that takes no more batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Its number.
    pub segment: u64,
    /// Where its last batch ends.
    pub end: u64,
    /// The checksum of that batch; zeros where it holds none.
    #[serde(with = "hex16")]
    pub checksum: [u8; 16],
}

/// A checkpoint that retention or a person let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Its number.
    pub seq: Seq,
    /// Its kind.
    pub kind: Kind,
    /// Its identity.
    pub id: CheckpointId,
    /// Its idempotency key, remembered for a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) idempotency: Option<Idempotency>,
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As hoped.
    Completed,
    /// Not as hoped, or abandoned.
    Failed,
}

/// The workspace of a restore that has begun: what is needed to do every step again. The plan itself
/// follows from the two checkpoints; its digest proves that it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BegunTree {
    /// The workspace's root.
    pub place: PathBuf,
    /// The device the root lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Only these paths and what is beneath them; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathBuf>,
    /// Refs and index of git are restored too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub git: bool,
    /// Paths that are left as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<PathBuf>,
    /// The digest of the plan.
    pub plan: Digest,
}

/// What a response to drift was about: a finding, from when it was raised until it was let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftCause {
    /// The signal that told it.
    pub signal: String,
    /// The metric, the budget, the detector; empty where the signal has but one subject.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The observation at which it was raised.
    pub raised_at: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// A segment's first batch: where its predecessor ends, and every live segment before it.
    SegmentBegun {
        /// The segment before; absent in a store's first.
        predecessor: Option<Sealed>,
        /// Every segment that holds something live, the predecessor included.
        live: Vec<Sealed>,
    },
    /// Everything live in a segment was copied to the front; it may be unlinked.
    SegmentCompacted {
        /// Its number.
        segment: u64,
    },
    /// Checkpoints of an agent were let go.
    Forgotten {
        /// Whose.
        agent_id: AgentId,
        /// Which.
        checkpoints: Vec<Forgotten>,
        /// Until when their idempotency keys are remembered.
        remember_until: Timestamp,
        /// They were erased: no copy may stay anywhere.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        erased: bool,
        /// A fallback let its copies go because they are home: it is not the checkpoints that were
        /// forgotten.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        at_home: bool,
    },
    /// An operation ended.
    OperationClosed {
        /// Whose.
        agent_id: AgentId,
        /// Which.
        operation_id: CheckpointId,
        /// How.
        outcome: Outcome,
        /// The store's own time when it ended; milliseconds.
        store_time_ms: u64,
        /// Why, in words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        why: String,
    },
    /// A restore in place is about to replace files.
    RestoreBegun {
        /// Whose.
        agent_id: AgentId,
        /// What is being restored.
        from: CheckpointId,
        /// What was there before.
        recovery: CheckpointId,
        /// The finished restore that this one takes back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undoes: Option<CheckpointId>,
        /// The state file that is replaced.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state_file: Option<PathBuf>,
        /// The state files beside it are replaced too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        state_files: bool,
        /// The workspace that is changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workspace: Option<BegunTree>,
        /// What is said in the batch that finishes it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        then: Vec<What>,
    },
    /// A restore was given up; what was there before is there again.
    RestoreRolledBack {
        /// Whose.
        agent_id: AgentId,
        /// What was being restored.
        from: CheckpointId,
        /// Why, in words.
        why: String,
    },
    /// A session of an agent began: from here on changes of its workspace are its own.
    SessionBegun {
        /// Whose.
        agent_id: AgentId,
        /// Which.
        session_id: uuid::Uuid,
        /// When.
        since: Timestamp,
    },
    /// A session of an agent ended.
    SessionEnded {
        /// Whose.
        agent_id: AgentId,
        /// Which.
        session_id: uuid::Uuid,
        /// When.
        until: Timestamp,
    },
    /// An agent starts afresh behind this number; what came before stays as evidence.
    Reset {
        /// Whose.
        agent_id: AgentId,
        /// Everything up to here came before.
        seq: Seq,
    },
    /// A checkpoint was marked as made after a drift's onset, or cleared of it.
    Marked {
        /// Which.
        checkpoint_id: CheckpointId,
        /// Whether it is tainted now.
        tainted: bool,
        /// Why, in words.
        why: String,
    },
    /// An agent was observed since its newest checkpoint.
    Observed {
        /// Whose.
        agent_id: AgentId,
        /// The store's own time; milliseconds.
        store_time_ms: u64,
        /// How the agent stood.
        watched: Watched,
    },
    /// Something was found to be wrong with an agent, or worse than before.
    DriftFound {
        /// Whose.
        agent_id: AgentId,
        /// The store's own time; milliseconds.
        store_time_ms: u64,
        /// What was found.
        #[serde(flatten)]
        cause: DriftCause,
        /// How bad it is.
        level: Level,
        /// The first observation that belongs to it.
        onset: u64,
        /// Why, in words.
        why: String,
    },
    /// What was found wrong is let go.
    DriftCalmed {
        /// Whose.
        agent_id: AgentId,
        /// The newest observation.
        observation: u64,
        /// What it was.
        #[serde(flatten)]
        cause: DriftCause,
    },
    /// So many agents alarm on the same that the cause is none of theirs.
    DriftShared {
        /// The one whose alarm told it.
        agent_id: AgentId,
        /// The store's own time; milliseconds.
        store_time_ms: u64,
        /// What they alarm on.
        #[serde(flatten)]
        cause: DriftCause,
        /// How many.
        agents: u64,
    },
    /// Something was done about a drift.
    DriftAnswered {
        /// Whose.
        agent_id: AgentId,
        /// The store's own time; milliseconds.
        store_time_ms: u64,
        /// The newest observation.
        observation: u64,
        /// What it was about.
        causes: Vec<DriftCause>,
        /// `observe`, `checkpoint`, `restart`, `restore` or `halt`.
        done: String,
        /// The checkpoint that was gone back to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restored: Option<Seq>,
        /// Files that were changed by others, and replaced.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        foreign: Vec<PathBuf>,
        /// Why, in words.
        why: String,
    },
    /// A person let an agent go on that was halted.
    DriftReleased {
        /// Whose.
        agent_id: AgentId,
        /// Why, in words.
        why: String,
    },
    /// The command that is to be told of a response failed.
    DriftHookFailed {
        /// Whose.
        agent_id: AgentId,
        /// What it was to be told.
        done: String,
        /// Why, in words.
        why: String,
    },
    /// An unfinished tail was cut when the store was opened.
    TailCut {
        /// Where it began.
        segment: u64,
        /// Offset of its first byte.
        offset: u64,
        /// Its length in bytes.
        bytes: u64,
        /// Where it was copied to.
        copy: PathBuf,
    },
    /// Damage was found.
    DamageFound {
        /// The file it lies in.
        file: PathBuf,
        /// Offset of its first byte.
        offset: u64,
        /// Its length in bytes.
        bytes: u64,
        /// What is wrong, in words.
        what: String,
        /// Where it was copied to, where that was possible.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        copy: Option<PathBuf>,
    },
    /// Damage was made good from another copy.
    Healed {
        /// What was healed, in words.
        what: String,
        /// Where the sound copy was, in words.
        from: String,
    },
    /// Commits that a fallback store took were brought home.
    CameHome {
        /// The fallback store.
        from: PathBuf,
        /// How many checkpoints.
        checkpoints: u64,
    },
    /// A checkpoint came home under another number than it was given.
    Diverged {
        /// Whose.
        agent_id: AgentId,
        /// Which.
        checkpoint_id: CheckpointId,
        /// The number it had.
        was: Seq,
        /// The number it has now.
        is: Seq,
    },
}

impl What {
    /// The event's name, as in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SegmentBegun { .. } => "segment_begun",
            Self::SegmentCompacted { .. } => "segment_compacted",
            Self::Forgotten { .. } => "forgotten",
            Self::OperationClosed { .. } => "operation_closed",
            Self::RestoreBegun { .. } => "restore_begun",
            Self::RestoreRolledBack { .. } => "restore_rolled_back",
            Self::SessionBegun { .. } => "session_begun",
            Self::SessionEnded { .. } => "session_ended",
            Self::Reset { .. } => "reset",
            Self::Marked { .. } => "marked",
            Self::Observed { .. } => "observed",
            Self::DriftFound { .. } => "drift_found",
            Self::DriftCalmed { .. } => "drift_calmed",
            Self::DriftShared { .. } => "drift_shared",
            Self::DriftAnswered { .. } => "drift_answered",
            Self::DriftReleased { .. } => "drift_released",
            Self::DriftHookFailed { .. } => "drift_hook_failed",
            Self::TailCut { .. } => "tail_cut",
            Self::DamageFound { .. } => "damage_found",
            Self::Healed { .. } => "healed",
            Self::CameHome { .. } => "came_home",
            Self::Diverged { .. } => "diverged",
        }
    }
}

impl Event {
    /// Makes an event.
    #[must_use]
    pub(crate) fn new(n: u64, at: Timestamp, what: What) -> Self {
        Self { n, at, what, unknown: BTreeMap::new() }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("events hold plain values only")
    }

    /// Reads an event; `None` for one that only a newer program knows.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

mod hex16 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 16], out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&format_args!("{:032x}", u128::from_be_bytes(*bytes)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(input)?;
        u128::from_str_radix(&text, 16).map(u128::to_be_bytes).map_err(D::Error::custom)
    }
}
