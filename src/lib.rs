//! Skeleton.
#![forbid(unsafe_code)]
pub mod clock;
pub mod commit;
pub mod disk;
pub mod encode;
pub mod error;
pub mod state;
