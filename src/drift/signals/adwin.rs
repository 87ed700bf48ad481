//! ADWIN: a window that grows while nothing changes and drops its past when something does.
//!
//! A. Bifet and R. Gavaldà, "Learning from Time-Changing Data with Adaptive Windowing", SIAM
//! International Conference on Data Mining, 2007; variances are merged as in B. Babcock et al.,
//! "Maintaining Variance and k-Medians over Data Stream Windows", PODS 2003. The window is kept as
//! an exponential histogram: row r holds buckets of 2^r samples, and where a row has more than
//! `buckets_max` its two oldest become one of the next row. With n samples in the window, n0 and n1
//! before and after a cut, L the shortest side that counts:
//!
//! ```text
//! δ' = ln(2·ln n / δ)    1/m = 1/(n0 − L + 1) + 1/(n1 − L + 1)
//! cut where |mean0 − mean1| > sqrt(2/m · σ² · δ') + 2/3 · δ'/m
//! ```
//!
//! As long as some cut holds, the oldest bucket goes. The same algorithm, sample by sample, as in
//! the Python package river 0.26 (whose class `drift.ADWIN` also begins afresh after an alarm, which
//! the paper does not; here the caller decides).

use serde::{Deserialize, Serialize};

use super::super::Error;
use super::{count, within};

/// The options of ADWIN.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// δ, from above 0 to below 1: how likely a false alarm may be.
    pub confidence: f64,
    /// Looks for a cut at each so many samples.
    pub every: u64,
    /// Buckets in a row before two become one; more is finer.
    pub buckets_max: usize,
    /// L: no side of a cut is shorter, in samples.
    pub side_min: u64,
    /// Looks for no cut while the window has no more samples than this.
    pub grace: u64,
    /// The window never grows beyond so many samples; 0 for no bound, as in the paper.
    pub width_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            confidence: 0.002,
            every: 32,
            buckets_max: 5,
            side_min: 5,
            grace: 10,
            width_max: 2048,
        }
    }
}

impl Options {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        within("metrics.adwin.confidence", self.confidence, 1e-12, 0.5)?;
        within("metrics.adwin.every", count(self.every), 1.0, 1e6)?;
        within("metrics.adwin.buckets_max", count(self.buckets_max as u64), 2.0, 32.0)?;
        within("metrics.adwin.side_min", count(self.side_min), 1.0, 1e6)
    }
}

/// Sum of a bucket's samples, and the sum of their squared distances from its mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Bucket(f64, f64);

impl Bucket {
    /// One bucket in place of two that hold `size` samples each.
    fn merged(self, other: Self, size: f64) -> Self {
        let apart = (self.0 - other.0) / size;
        Self(self.0 + other.0, self.1 + other.1 + size / 2.0 * apart * apart)
    }
}

/// The window of one series.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Adwin {
    /// Row by row, in each the oldest bucket first.
    rows: Vec<Vec<Bucket>>,
    width: u64,
    total: f64,
    /// Sum of the squared distances from the mean.
    variance: f64,
    ticks: u64,
}

impl Adwin {
    /// Takes a sample; whether the window dropped its past.
    pub fn update(&mut self, sample: f64, options: &Options) -> bool {
        self.insert(sample, options.buckets_max);
        self.ticks += 1;
        let mut changed = false;
        if self.ticks.is_multiple_of(options.every.max(1)) && self.width > options.grace {
            while self.has_cut(options) {
                self.drop_oldest();
                changed = true;
            }
        }
        if options.width_max > 0 && self.width > options.width_max {
            self.drop_oldest();
        }
        changed
    }

    /// Samples in the window.
    #[must_use]
    pub fn width(&self) -> u64 {
        self.width
    }

    /// Their mean; 0 where there are none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.width == 0 { 0.0 } else { self.total / count(self.width) }
    }

    fn insert(&mut self, sample: f64, buckets_max: usize) {
        if self.width > 0 {
            let before = count(self.width);
            let apart = sample - self.total / before;
            self.variance += before * apart * apart / (before + 1.0);
        }
        self.width += 1;
        self.total += sample;
        self.row(0, buckets_max).push(Bucket(sample, 0.0));
        let mut row = 0;
        while self.rows[row].len() > buckets_max {
            let merged = self.rows[row][0].merged(self.rows[row][1], size(row));
            self.rows[row].drain(..2);
            row += 1;
            self.row(row, buckets_max).push(merged);
        }
    }

    fn row(&mut self, row: usize, buckets_max: usize) -> &mut Vec<Bucket> {
        if row == self.rows.len() {
            self.rows.push(Vec::with_capacity(buckets_max + 1));
        }
        &mut self.rows[row]
    }

    fn drop_oldest(&mut self) {
        let Some(row) = self.rows.len().checked_sub(1) else { return };
        let Bucket(total, variance) = self.rows[row].remove(0);
        let gone = size(row);
        self.width -= 1 << row;
        self.total -= total;
        let left = count(self.width);
        let apart = total / gone - self.mean();
        self.variance -= variance + gone * left * apart * apart / (gone + left);
        if self.rows[row].is_empty() {
            self.rows.pop();
        }
    }

    /// Whether the window falls in two parts with different means, at any border of its buckets.
    fn has_cut(&self, options: &Options) -> bool {
        let (mut before, mut after) = (0.0, count(self.width));
        let (mut total_before, mut total_after) = (0.0, self.total);
        let side_min = count(options.side_min);
        let strictness = (2.0 * after.ln() / options.confidence).ln();
        let spread = 2.0 * strictness * self.variance / after;
        for (row, buckets) in self.rows.iter().enumerate().rev() {
            for Bucket(total, _) in buckets {
                before += size(row);
                after -= size(row);
                total_before += total;
                total_after -= total;
                if before < side_min || after < side_min {
                    continue;
                }
                let inverse = 1.0 / (before - side_min + 1.0) + 1.0 / (after - side_min + 1.0);
                let bound = (spread * inverse).sqrt() + 2.0 / 3.0 * strictness * inverse;
                if (total_before / before - total_after / after).abs() > bound {
                    return true;
                }
            }
        }
        false
    }
}

/// Samples in a bucket of a row.
fn size(row: usize) -> f64 {
    count(1 << row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_exact_whatever_the_buckets() {
        let options = Options::default();
        let mut window = Adwin::default();
        let samples: Vec<f64> = (0..1000_i32).map(|i| f64::from(i * 37 % 11)).collect();
        for sample in &samples {
            window.update(*sample, &options);
        }
        assert_eq!(window.width(), 1000);
        let mean = samples.iter().sum::<f64>() / 1000.0;
        assert!((window.mean() - mean).abs() < 1e-9);
        let variance: f64 = samples.iter().map(|x| (x - mean) * (x - mean)).sum();
        assert!((window.variance - variance).abs() < 1e-6 * variance);
        let buckets: usize = window.rows.iter().map(Vec::len).sum();
        assert!(buckets < 50, "{buckets}");
    }

    #[test]
    fn the_past_goes_when_the_mean_changes() {
        let options = Options::default();
        let mut window = Adwin::default();
        let stream = (0..600).map(|i| if i < 300 { 0.0 } else { 3.0 } + f64::from(i % 3));
        let alarms: Vec<usize> = stream
            .enumerate()
            .filter_map(|(at, sample)| window.update(sample, &options).then_some(at))
            .collect();
        assert!(alarms[0] > 300 && alarms[0] < 300 + 2 * 32, "{alarms:?}");
        assert!((window.mean() - 4.0).abs() < 0.1, "only what came after is left");
    }

    #[test]
    fn the_bound_on_the_width_holds() {
        let options = Options { width_max: 256, ..Options::default() };
        let mut window = Adwin::default();
        for i in 0..10_000 {
            assert!(!window.update(f64::from(i % 7), &options));
            assert!(window.width() <= 256);
        }
        assert!(window.width() > 128);
        assert!((window.mean() - 3.0).abs() < 0.1);
    }
}
