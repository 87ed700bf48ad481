//! What Stateward is measured against, each written as well as its kind allows.

pub mod group;
pub mod raw;
pub mod rename;
pub mod sqlite;
