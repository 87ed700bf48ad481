//! Which checkpoints stay: policy per kind → pure plan with reasons.
//!
//! [`plan`] decides for one agent, [`fit`] makes the plans of all agents fit a disk budget. Both are
//! functions of their arguments, ask no disk and no clock, and name a reason for everything kept and
//! forgotten; they are what a dry run prints and what rides in the batch of each commit.
//!
//! What the stage promises: what recovery needs is never forgotten by policy or by a budget, whatever
//! the policy says: `latest`, the last known good, the newest sound one before the earliest onset
//! still suspected, what an undo needs, the checkpoint of an open operation, pinned ones, and the
//! rungs of the policy's anchors. A plan applied to what a plan kept forgets nothing more. What it
//! assumes: that soundness, taint, `latest` and `good` are handed in as they are, and that times are
//! *store time*, a counter in milliseconds that advances only by credible amounts, so that a wall
//! clock that jumps deletes nothing early. It does not free any space: forgetting is one thing,
//! compaction another.

mod budget;
mod plan;
mod policy;

pub use budget::{Cut, Fit, fit};
#[cfg(feature = "cli")]
pub(crate) use plan::pin;
pub use plan::{
    Cause, Facts, Forgotten, Kept, Operation, OperationState, Plan, Protect, Reason, StoreTime,
    plan,
};
pub use policy::{Anchor, KindPolicy, Policy};
