//! Skeleton.
#![forbid(unsafe_code)]
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod collect;
pub mod commit;
pub mod config;
pub mod disk;
pub mod encode;
pub mod error;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod manager;
pub mod restore;
pub mod retention;
pub mod state;
pub mod store;
pub mod verify;
pub use manager::*;
