//! What `run` sees of an agent that says nothing of itself: its state files, its output, its
//! processes, its transcript.
//!
//! It is promised that looking changes nothing, that it is bounded in memory, and that what cannot
//! be seen is told once and makes nothing else fail. What is seen becomes sightings; what they mean
//! is not decided here. States and workspaces are seen where they are kept, with each checkpoint.

mod gather;
mod lines;
mod pace;
mod places;
mod relay;
mod settling;
pub(crate) mod transcript;
mod usage;
mod workspace;

pub(crate) use gather::{Gathered, Gatherer};
pub(crate) use places::Places;
pub(crate) use relay::{Laid, Pipes, Relay};
pub(crate) use workspace::Contents;
