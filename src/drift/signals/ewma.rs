//! An exponentially weighted moving average with control limits.
//!
//! S. W. Roberts, "Control Chart Tests Based on Geometric Moving Averages", Technometrics 1(3),
//! 1959. With weight λ, centre μ and deviation σ of a single sample, after i samples:
//!
//! ```text
//! z_0 = μ    z_i = λ·x_i + (1 − λ)·z_{i−1}
//! out of limits where |z_i − μ| > L·σ·sqrt(λ/(2 − λ)·(1 − (1 − λ)^(2i)))
//! ```
//!
//! It notices a lasting small shift sooner than single samples do, and looks back only about 2/λ
//! samples. Centre and deviation come from the caller.

use serde::{Deserialize, Serialize};

use super::super::Error;
use super::within;

/// The options of the moving average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// λ, from above 0 to 1: how much the newest sample counts.
    pub weight: f64,
    /// L: the limits, in deviations of the average.
    pub limit: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { weight: 0.1, limit: 4.0 }
    }
}

impl Options {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        within("metrics.ewma.weight", self.weight, 0.001, 1.0)?;
        within("metrics.ewma.limit", self.limit, 0.5, 100.0)
    }
}

/// The moving average of one series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ewma {
    centre: f64,
    deviation: f64,
    average: f64,
    /// (1 − λ)^(2i).
    forgotten: f64,
}

impl Ewma {
    /// Begins at `centre`; `deviation` is that of a single sample.
    #[must_use]
    pub fn new(centre: f64, deviation: f64) -> Self {
        Self { centre, deviation, average: centre, forgotten: 1.0 }
    }

    /// Takes a sample; whether the average is outside its limits now.
    pub fn update(&mut self, sample: f64, options: &Options) -> bool {
        let Options { weight, limit } = *options;
        self.average += weight * (sample - self.average);
        self.forgotten *= (1.0 - weight) * (1.0 - weight);
        let variance = weight / (2.0 - weight) * (1.0 - self.forgotten);
        let (apart, furthest) = (self.average - self.centre, limit * self.deviation);
        // Squared on both sides, which spares a root with each sample.
        apart * apart > furthest * furthest * variance
    }

    /// The average as it is now.
    #[must_use]
    pub fn average(&self) -> f64 {
        self.average
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_widen_as_worked_out_by_hand() {
        let options = Options { weight: 0.25, limit: 3.0 };
        let mut average = Ewma::new(10.0, 1.0);
        // After one sample the limit is 3·0.25 = 0.75, so a sample of 13 is just inside.
        assert!(!average.update(13.0, &options));
        assert!((average.average() - 10.75).abs() < 1e-12);
        // The second limit is 3·sqrt(0.142857·(1 − 0.31640625)) = 0.9375.
        let mut other = average;
        assert!(!average.update(11.49, &options), "0.935 is inside");
        assert!(other.update(11.51, &options), "0.94 is outside");
    }

    #[test]
    fn both_directions_are_seen() {
        for step in [3.0, -3.0] {
            let mut average = Ewma::new(0.0, 1.0);
            let options = Options::default();
            let seen = (0..20).position(|_| average.update(step, &options));
            assert!(seen.is_some_and(|at| at < 10), "{seen:?}");
        }
    }
}
