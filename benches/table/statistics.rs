//! Medians and percentiles.

/// The value below which a `share` of the values lies; the nearest rank, so always one of them.
pub fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length lies within the length"
    )]
    let rank = (share * (sorted.len() - 1) as f64).round() as usize;
    sorted[rank]
}

/// The middle value.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// A median and how far the single values lie from it.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub p10: f64,
    pub median: f64,
    pub p90: f64,
}

impl Spread {
    pub fn of(values: &[f64]) -> Self {
        Self { p10: percentile(values, 0.1), median: median(values), p90: percentile(values, 0.9) }
    }

    /// Of the ratios of two series, round by round.
    pub fn of_ratios(ours: &[f64], theirs: &[f64]) -> Self {
        let ratios: Vec<f64> =
            ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        Self::of(&ratios)
    }
}
