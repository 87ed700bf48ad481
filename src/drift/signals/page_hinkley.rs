//! The Page-Hinkley test, in both directions.
//!
//! E. S. Page, "Continuous Inspection Schemes", Biometrika 41(1/2), 1954; D. V. Hinkley, "Inference
//! about the change-point from cumulative sum tests", Biometrika 58(3), 1971. With the running mean
//! `m_i` of the samples so far, tolerance δ, forgetting α and threshold λ:
//!
//! ```text
//! U_i = α·U_{i−1} + (x_i − m_i) − δ     rises where U_i − min U > λ
//! D_i = α·D_{i−1} + (x_i − m_i) + δ     falls where max D − D_i > λ
//! ```
//!
//! After an alarm the test begins afresh with the next sample. The same test, sample by sample, as
//! `drift.PageHinkley` of the Python package river 0.26.

use serde::{Deserialize, Serialize};

use super::super::Error;
use super::{count, within};

/// The options of the test; its defaults are for standardised series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// No alarm before so many samples.
    pub samples_min: u64,
    /// δ: changes of the mean smaller than this are let be.
    pub tolerance: f64,
    /// λ: how much must add up.
    pub threshold: f64,
    /// α, from above 0 to 1: what is kept of the sums from sample to sample.
    pub keep: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { samples_min: 30, tolerance: 0.5, threshold: 20.0, keep: 0.9999 }
    }
}

impl Options {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        within("metrics.page_hinkley.tolerance", self.tolerance, 0.0, 1e9)?;
        within("metrics.page_hinkley.threshold", self.threshold, 1e-9, 1e12)?;
        within("metrics.page_hinkley.keep", self.keep, 0.5, 1.0)
    }
}

/// The test on one series.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PageHinkley {
    samples: u64,
    mean: f64,
    rise: f64,
    rise_min: f64,
    fall: f64,
    fall_max: f64,
    alarmed: bool,
}

impl PageHinkley {
    /// Takes a sample; whether the mean has changed.
    pub fn update(&mut self, sample: f64, options: &Options) -> bool {
        if self.alarmed {
            *self = Self::default();
        }
        self.samples += 1;
        self.mean += (sample - self.mean) / count(self.samples);
        let deviation = sample - self.mean;
        self.rise = options.keep * self.rise + deviation - options.tolerance;
        self.fall = options.keep * self.fall + deviation + options.tolerance;
        if self.samples == 1 {
            (self.rise_min, self.fall_max) = (self.rise, self.fall);
        }
        self.rise_min = self.rise_min.min(self.rise);
        self.fall_max = self.fall_max.max(self.fall);
        let furthest = (self.rise - self.rise_min).max(self.fall_max - self.fall);
        self.alarmed = self.samples >= options.samples_min && furthest > options.threshold;
        self.alarmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_as_worked_out_by_hand() {
        let options = Options { samples_min: 1, tolerance: 0.5, threshold: 2.4, keep: 1.0 };
        let mut test = PageHinkley::default();
        // Means 0, 0, 1: deviations 0, 0, 2; U = −0.5, −1, 0.5; its rise is 1.5.
        assert!(!test.update(0.0, &options));
        assert!(!test.update(0.0, &options));
        assert!(!test.update(3.0, &options));
        // Mean 1.5, deviation 1.5, U = 1.5: a rise of 2.5.
        assert!(test.update(3.0, &options));
        assert!(!test.update(3.0, &options), "it begins afresh");
        assert_eq!(test.samples, 1);
    }

    #[test]
    fn a_fall_is_seen_as_soon_as_a_rise() {
        let run = |sign: f64| {
            let mut test = PageHinkley::default();
            let stream = (0..200).map(|i| if i < 100 { 0.0 } else { sign * 3.0 });
            stream.map(|x| test.update(x, &Options::default())).position(|alarm| alarm)
        };
        assert_eq!(run(1.0), run(-1.0));
        assert!(run(1.0).is_some_and(|at| (100..115).contains(&at)));
    }
}
