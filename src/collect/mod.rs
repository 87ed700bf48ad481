//! What is kept: the agent's own state, and when it is worth keeping.
//!
//! [`StateSource`] is where an agent hands over state it holds itself and takes it back after a
//! restore. [`SavePolicy`] answers a loop that asks whether a checkpoint is due; it is a function of
//! its arguments and asks no clock. The stage reads nothing that was not given to it and does not
//! make anything durable: that is the commit's work.

mod save_policy;
mod source;

pub use save_policy::{Automatic, Due, Moment, SavePolicy, SavePolicyError, Saved};
pub use source::{SourceError, StateSource};
