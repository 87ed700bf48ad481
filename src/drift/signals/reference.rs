//! What is usual for a series of numbers, and how far a sample lies from it.
//!
//! The usual is learnt from a stretch of samples and then stands still, so that a slow change is not
//! taken for the usual step by step. It is robust: the middle is the median and the scale 1.4826
//! times the median of the absolute deviations from it (MAD), which for normal noise is its standard
//! deviation (F. R. Hampel, "The influence curve and its role in robust estimation", JASA 69(346),
//! 1974). Where all samples are positive they are looked at on a log scale: as `asinh(x/s)` with s a
//! hundredth of the median, which is a logarithm for what is not tiny and has a value at zero too. A
//! series that never falls while it is learnt is a counter and is looked at by its steps.
//!
//! Standardised samples are kept within bounds, so that a single one, however far out, says little.
//! Of the standardised stretch the mean, the deviation and how far neighbours hang together are
//! noted, for the samples themselves and for their distance from the middle.

use serde::{Deserialize, Serialize};

use super::count;

/// Standardised samples are not further from the middle than this.
const FURTHEST: f64 = 5.0;

/// The MAD of normal noise times this is its standard deviation.
const MAD_TO_DEVIATION: f64 = 1.4826;

/// The mean absolute deviation of normal noise times this is its standard deviation.
const MEAN_TO_DEVIATION: f64 = 1.2533;

/// The scale is no smaller than this share of the middle: less is no change that matters.
const SCALE_SHARE_MIN: f64 = 0.001;

/// Neighbours that hang together more closely than this are not told apart from a trend.
const CORRELATION_MAX: f64 = 0.97;

/// Mean and deviation of a standardised stretch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moments {
    pub mean: f64,
    pub deviation: f64,
    /// How much wider means of such samples spread than means of independent ones: of samples with
    /// correlation φ between neighbours, sqrt((1 + φ)/(1 − φ)) times (first-order autoregression).
    pub inflation: f64,
}

impl Moments {
    /// Of samples whose deviation is taken to be no less than `least`.
    fn of(samples: &[f64], least: f64) -> Self {
        let number = count(samples.len() as u64).max(1.0);
        let mean = samples.iter().sum::<f64>() / number;
        let squares: f64 = samples.iter().map(|x| (x - mean) * (x - mean)).sum();
        let products: f64 =
            samples.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
        let correlation = if squares > 0.0 { products / squares } else { 0.0 };
        let correlation = correlation.clamp(0.0, CORRELATION_MAX);
        let deviation = (squares / number).sqrt().max(least);
        Self { mean, deviation, inflation: ((1.0 + correlation) / (1.0 - correlation)).sqrt() }
    }
}

/// What is usual for a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reference {
    /// Looked at by its steps.
    pub steps: bool,
    /// Looked at on a log scale that ends at this value.
    log_end: Option<f64>,
    middle: f64,
    scale: f64,
    /// Of the standardised samples.
    pub level: Moments,
    /// Of their distances from the middle.
    pub spread: Moments,
    /// From how many samples it was learnt.
    pub samples: u64,
}

impl Reference {
    /// Learns from a stretch of at least two finite samples, oldest first.
    pub fn learn(raw: &[f64]) -> Self {
        let steps = is_counter(raw);
        let mut values: Vec<f64> =
            if steps { raw.windows(2).map(|pair| pair[1] - pair[0]).collect() } else { raw.into() };
        let positive = values.iter().all(|value| *value > 0.0);
        let log_end = positive.then(|| median(&values) / 100.0).filter(|end| *end > 0.0);
        for value in &mut values {
            *value = on_scale(*value, log_end);
        }
        let middle = median(&values);
        let (scale, least) = scale(&values, middle);
        let mut reference = Self {
            steps,
            log_end,
            middle,
            scale,
            level: Moments::of(&[], least),
            spread: Moments::of(&[], least),
            samples: values.len() as u64,
        };
        for value in &mut values {
            *value = reference.bounded(*value);
        }
        reference.level = Moments::of(&values, least);
        for value in &mut values {
            *value = value.abs();
        }
        reference.spread = Moments::of(&values, least);
        reference
    }

    /// How far a sample lies from the middle, in scales; `previous` is the sample before it, without
    /// which nothing can be said of a step.
    pub fn standardise(&self, sample: f64, previous: Option<f64>) -> Option<f64> {
        let value = if self.steps { sample - previous? } else { sample };
        Some(self.bounded(on_scale(value, self.log_end)))
    }

    fn bounded(&self, value: f64) -> f64 {
        let far = (value - self.middle) / self.scale;
        // Out of everything by a scale that is out of everything too.
        if far.is_nan() { 0.0 } else { far.clamp(-FURTHEST, FURTHEST) }
    }
}

/// A series that never falls and does not stand still either.
fn is_counter(raw: &[f64]) -> bool {
    let rises = raw.windows(2).filter(|pair| pair[1] > pair[0]).count();
    let falls = raw.windows(2).any(|pair| pair[1] < pair[0]);
    !falls && rises * 2 >= raw.len()
}

fn on_scale(value: f64, log_end: Option<f64>) -> f64 {
    let Some(end) = log_end else { return value };
    let ratio = value / end;
    // The arsinh by its definition: exactness near zero would cost half of the time.
    let size = ratio.abs();
    (size + (size * size + 1.0).sqrt()).ln().copysign(ratio)
}

/// The scale, and the least deviation of what is standardised by it. The scale is that of the first
/// kind that is not zero: by the MAD, by the mean deviation (where more than half of the samples are
/// equal), by the size of the middle (where all are). Where the MAD is zero, what differs is rare and
/// comes in bursts by chance, so its deviation is not trusted to be small.
fn scale(values: &[f64], middle: f64) -> (f64, f64) {
    let distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    let mean = distances.iter().sum::<f64>() / count(distances.len() as u64);
    let by_median = MAD_TO_DEVIATION * median(&distances);
    let (scale, least) =
        if by_median > 0.0 { (by_median, 0.5) } else { (MEAN_TO_DEVIATION * mean, 1.0) };
    // Where nothing ever differed from zero, whatever does is far out.
    let floor = (SCALE_SHARE_MIN * middle.abs()).max(f64::MIN_POSITIVE);
    (scale.max(floor), least)
}

/// The middle value, or half-way between the two in the middle; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.get(half) {
        None => 0.0,
        Some(upper) if sorted.len() % 2 == 1 => *upper,
        Some(upper) => f64::midpoint(sorted[half - 1], *upper),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn far(reference: &Reference, sample: f64) -> f64 {
        reference.standardise(sample, None).unwrap()
    }

    #[test]
    fn a_few_wild_samples_do_not_move_what_is_usual() {
        let mut values: Vec<f64> = (0..60).map(|i| f64::from(i % 7) - 3.0).collect();
        let calm = Reference::learn(&values);
        for at in [3, 17, 31, 44, 58] {
            values[at] = 1e9;
        }
        let wild = Reference::learn(&values);
        assert!((far(&calm, 3.0) - far(&wild, 3.0)).abs() < 0.1);
        assert!((far(&wild, 1e300) - FURTHEST).abs() < 1e-9);
    }

    #[test]
    fn positive_series_are_seen_by_their_ratios() {
        let values: Vec<f64> = (0..64).map(|i| 100.0 * 1.5_f64.powi(i % 5 - 2)).collect();
        let reference = Reference::learn(&values);
        let (twice, half) = (far(&reference, 200.0), far(&reference, 50.0));
        assert!((twice + half).abs() < 0.02 * twice, "{twice} {half}");
        assert!(far(&reference, 0.0) < -2.0, "zero is far below, and finite");
    }

    #[test]
    fn counters_are_seen_by_their_steps_and_constants_are_not() {
        let counter: Vec<f64> = (0..40).map(|i| 1000.0 + f64::from(i * 3 + i % 2)).collect();
        let reference = Reference::learn(&counter);
        assert!(reference.steps);
        assert_eq!(reference.standardise(5.0, None), None);
        let usual = reference.standardise(9003.0, Some(9000.0)).unwrap();
        assert!(usual.abs() < 2.0, "{usual}");
        let constant = Reference::learn(&[7.5; 40]);
        assert!(!constant.steps && far(&constant, 7.5).abs() < 1e-9);
        assert!((far(&constant, 8.0) - FURTHEST).abs() < 1e-9);
        let zeros = Reference::learn(&[0.0; 40]);
        assert!((far(&zeros, 0.001) - FURTHEST).abs() < 1e-9);
    }

    #[test]
    fn neighbours_that_hang_together_widen_what_means_may_do() {
        let alone: Vec<f64> = (0..96).map(|i| f64::from(i * 37 % 96) - 48.0).collect();
        let together: Vec<f64> = (0..96).map(|i| f64::from((i / 12) % 2)).collect();
        assert!(Reference::learn(&alone).level.inflation < 1.5);
        assert!(Reference::learn(&together).level.inflation > 2.5);
    }
}
