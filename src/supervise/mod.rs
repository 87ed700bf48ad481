//! Supervision: an agent's command, run, watched, kept and started again.
//!
//! What is decided is decided by functions of their arguments: [`restarts`] says what follows an
//! exit, [`schedule`] when a checkpoint is due. What is done is done around them, in the order of an
//! attempt: [`life`] claims the agent and starts its command, [`attend`] is there while it runs,
//! [`aftermath`] keeps and puts back when it has ended. [`keeper`] is all that is asked of the store.
//! [`fleet`] has many such attempts, each in a `run` of its own.
//!
//! It is promised that nothing of a command runs beside the next attempt, that no process is left an
//! orphan or a zombie, and that damaged state is never what an attempt begins with unnoticed.

#[cfg(feature = "cli")]
mod aftermath;
#[cfg(feature = "cli")]
mod attend;
#[cfg(feature = "cli")]
mod claim;
#[cfg(feature = "cli")]
mod error;
mod exit;
#[cfg(feature = "cli")]
mod fleet;
#[cfg(feature = "cli")]
mod group;
#[cfg(feature = "cli")]
mod job_control;
#[cfg(feature = "cli")]
mod keeper;
#[cfg(feature = "cli")]
mod life;
mod options;
#[cfg(feature = "cli")]
mod patterns;
#[cfg(feature = "cli")]
mod post;
#[cfg(feature = "cli")]
mod report;
mod restarts;
mod schedule;
#[cfg(feature = "cli")]
mod sense;
#[cfg(feature = "cli")]
mod senses;
#[cfg(feature = "cli")]
mod sidecar;
#[cfg(feature = "cli")]
mod signals;
#[cfg(feature = "cli")]
mod state_file;
#[cfg(feature = "cli")]
mod talk;
#[cfg(feature = "cli")]
mod terminal;
mod transcript;

#[cfg(feature = "cli")]
pub use error::Error;
pub use exit::Exit;
#[cfg(feature = "cli")]
pub(crate) use fleet::{Fleet, Member, OVER, stay_with};
#[cfg(feature = "cli")]
pub use keeper::Belongings;
#[cfg(feature = "cli")]
pub(crate) use keeper::{Ask, Keeper, PutBack};
#[cfg(feature = "cli")]
pub use life::{Setup, run};
pub use options::{OnCrash, OnSuccess, Options, Restart};
#[cfg(feature = "cli")]
pub use patterns::Pattern;
pub use restarts::{Cause, Ended, Next, Restarts};
pub use schedule::{Due, Part, Parts, Schedule};
#[cfg(feature = "cli")]
pub(crate) use sense::transcript::claude_files;
#[cfg(feature = "cli")]
pub use sidecar::SidecarSetup;
#[cfg(feature = "cli")]
pub(crate) use transcript::CLAUDE;
pub use transcript::Options as TranscriptOptions;
