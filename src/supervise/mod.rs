//! Supervision: an agent's command, run, watched, kept and started again.
//!
//! What is decided is decided by functions of their arguments: [`restarts`] says what follows an
//! exit, [`schedule`] when a checkpoint is due. What is done is done around them.

mod claim;
mod error;
mod exit;
mod options;
mod restarts;
mod schedule;

pub use error::Error;
pub use exit::Exit;
pub use options::{OnCrash, OnSuccess, Options, Restart};
pub use restarts::{Cause, Ended, Next, Restarts};
pub use schedule::{Due, Part, Parts, Schedule};
