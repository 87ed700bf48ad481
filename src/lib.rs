//! Skeleton.
#![forbid(unsafe_code)]
pub mod state;
pub mod clock;
pub mod error;
pub mod disk;
pub mod collect;
pub mod encode;
pub mod commit;
pub mod store;
pub mod retention;
pub mod verify;
pub mod restore;
pub mod manager;
pub mod config;
#[cfg(feature = "cli")]
pub mod cli;
pub use manager::*;
