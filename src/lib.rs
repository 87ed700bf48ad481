//! Skeleton.
#![forbid(unsafe_code)]
pub mod clock;
pub mod disk;
pub mod error;
pub mod state;
