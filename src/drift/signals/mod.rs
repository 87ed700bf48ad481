//! What can tell that an agent drifts: one file for each signal.
//!
//! A signal is a small machine that is shown one thing after the other and answers with a
//! [`Reading`]: how it stands, and since which observation. It is a function of what it was shown, in
//! that order: it asks no clock and no disk, draws nothing at random, keeps bounded memory, and can be
//! written out and read back in the middle. What it found is put in words only when it is asked.
//!
//! Change detection on numbers is [`series`], which standardises ([`mod@reference`]), watches with
//! [`ewma`], [`page_hinkley`] and [`adwin`], and judges what they name. The others count.

pub mod adwin;
pub mod budget;
pub mod catalogue;
pub mod crash_loop;
pub mod error_streak;
pub mod ewma;
pub(crate) mod glimpse;
pub mod invariants;
pub mod limits;
pub mod page_hinkley;
pub(crate) mod recurrence;
pub mod redo;
pub(crate) mod reference;
pub mod repetition;
#[cfg(feature = "schema")]
pub(crate) mod schema;
pub mod series;
pub mod shrinkage;
pub mod silence;
pub mod stall;
pub(crate) mod surroundings;
pub mod thrash;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Error;
pub use crate::state::Level;

/// How a signal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub level: Level,
    /// The first observation that belongs to what is wrong; meaningless where nothing is.
    pub onset: u64,
}

impl Reading {
    pub const OK: Self = Self { level: Level::Ok, onset: 0 };
}

/// Why a signal says what it says, in words and in numbers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Evidence {
    /// One sentence for a person.
    pub words: String,
    /// The numbers in it, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<String, f64>,
}

impl Evidence {
    pub(crate) fn new(words: impl Into<String>, numbers: &[(&str, f64)]) -> Self {
        let numbers = numbers.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Self { words: words.into(), numbers }
    }
}

/// Checks that the number under `key` lies between two bounds.
pub(super) fn within(key: &'static str, value: f64, least: f64, most: f64) -> Result<(), Error> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(Error::Option { key, why: format!("{value} is not from {least} to {most}") })
}

/// Checks that two limits follow each other, the lower at least 1.
fn rising(key: &'static str, suspect: u64, drifting: u64) -> Result<(), Error> {
    within(key, count(drifting), count(suspect.max(1)), f64::MAX)
}

/// A limit, `by` times as high, and at least 1 unless it was 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a limit stays far below 2^53, and a float that is out of bounds stops at them"
)]
fn scaled(limit: u64, by: f64) -> u64 {
    ((count(limit) * by).round() as u64).max(limit.min(1))
}

/// A count as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(super) fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod fixtures;
