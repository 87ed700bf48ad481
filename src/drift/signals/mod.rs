//! What can tell that an agent drifts: one file for each signal.
//!
//! A signal is a small machine that is shown one thing after the other and answers with a
//! [`Reading`]: how it stands, and since which observation. It is a function of what it was shown, in
//! that order: it asks no clock and no disk, draws nothing at random, keeps bounded memory, and can be
//! written out and read back in the middle. What it found is put in words only when it is asked.
//!
//! Change detection on numbers is `series`, which standardises, watches with
//! [`ewma`], [`page_hinkley`] and [`adwin`], and judges what they name. The others count.

pub mod adwin;
pub mod ewma;
pub mod page_hinkley;

use serde::{Deserialize, Serialize};

use super::Error;

/// How an agent stands, by one signal or by all of them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing is wrong, as far as can be seen.
    #[default]
    Ok,
    /// Something changed that may be nothing.
    Suspect,
    /// The agent left the behaviour or the state it should have.
    Drifting,
}

/// Checks that the number under `key` lies between two bounds.
pub(super) fn within(key: &'static str, value: f64, least: f64, most: f64) -> Result<(), Error> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(Error::Option { key, why: format!("{value} is not from {least} to {most}") })
}

/// A count as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(super) fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod fixtures;
