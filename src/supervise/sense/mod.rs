//! What `run` sees of an agent that says nothing of itself: its state files, its output, its
//! processes, its transcript.
//!
//! It is promised that looking changes nothing, that it is bounded in memory, and that what cannot
//! be seen is told once and makes nothing else fail. What is seen becomes sightings; what they mean
//! is not decided here. States and workspaces are seen where they are kept, with each checkpoint.

#[cfg(feature = "cli")]
mod gather;
#[cfg(feature = "cli")]
mod lines;
#[cfg(feature = "cli")]
mod pace;
#[cfg(feature = "cli")]
mod places;
#[cfg(feature = "cli")]
mod relay;
#[cfg(feature = "cli")]
mod settling;
pub mod transcript;
#[cfg(feature = "cli")]
mod usage;
#[cfg(feature = "cli")]
mod workspace;

#[cfg(feature = "cli")]
pub(crate) use gather::{Gathered, Gatherer};
#[cfg(feature = "cli")]
pub(crate) use places::Places;
#[cfg(feature = "cli")]
pub(crate) use relay::{Laid, Pipes, Relay};
#[cfg(feature = "cli")]
pub(crate) use workspace::Contents;
