//! Skeleton.
#![forbid(unsafe_code)]
pub mod clock;
pub mod collect;
pub mod disk;
pub mod error;
pub mod retention;
pub mod state;
