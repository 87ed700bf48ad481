//! Change of one series of numbers: a metric that the agent reports, or one seen from outside.
//!
//! What is usual is learnt from the first samples ([`Reference`]); each later one is standardised
//! and shown to three detectors: EWMA limits (of the level, and of the distance from the middle, so
//! that a series that only becomes more restless is seen too), the Page-Hinkley test, and ADWIN. They
//! are made for independent samples and *name* a change quickly; whether it is one is *judged* from
//! the newest samples. With d = z − mean and k = 1 … n the samples behind a border, the border is put where
//! a step fits best, or a rise from there on where that fits better:
//!
//! ```text
//! step: (Σ d_k)² / n        rise: (Σ k·d_k)² / Σ k²        the largest over all borders
//! ```
//!
//! (maximum likelihood in normal noise with a known mean before it; D. V. Hinkley, "Inference about
//! the change-point in a sequence of random variables", Biometrika 57(1), 1970). It is a change when
//! at least `samples_min` samples lie behind the best step and their mean differs by `effect`
//! deviations, and by `significance` times the error of that difference, widened by how far
//! neighbours hang together.
//!
//! After a change the usual is learnt anew from the samples behind the border. A series that changes
//! again and again tells nothing by changing: each time it does so soon, it is left alone for three
//! times as long. Samples that are not finite do not come here.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::adwin::{self, Adwin};
use super::ewma::{self, Ewma};
use super::page_hinkley::{self, PageHinkley};
use super::reference::{Moments, Reference, median};
use super::{Evidence, Level, Reading, count, within};
use crate::drift::Error;

/// A change that was named is judged at each so many samples, and given up after [`PATIENCE`].
const JUDGE_EVERY: u64 = 8;

/// Samples after which a change that was named and not found is forgotten.
const PATIENCE: u64 = 64;

/// A series that changes within so many times the last quiet is restless.
const RESTLESS: u64 = 10;

/// The options of change detection on numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Samples from which the usual is first learnt; nothing is said before.
    pub warm_up: u64,
    /// Samples from which it is learnt for good, and which are remembered of each series.
    pub reference: u64,
    /// Samples that must lie behind a change.
    pub samples_min: u64,
    /// Smaller changes are let be; in deviations.
    pub effect: f64,
    /// A change is at least so many times its own error.
    pub significance: f64,
    /// A change is told for so many samples.
    pub hold: u64,
    /// After a change a series is left alone for so many samples, longer each time it is restless.
    pub quiet: u64,
    /// A restless series is left alone for no more samples than this.
    pub quiet_max: u64,
    /// Series that are looked at; further names are not.
    pub series_max: usize,
    /// The moving average.
    pub ewma: ewma::Options,
    /// The Page-Hinkley test.
    pub page_hinkley: page_hinkley::Options,
    /// ADWIN.
    pub adwin: adwin::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            warm_up: 32,
            reference: 96,
            samples_min: 12,
            effect: 1.5,
            significance: 6.0,
            hold: 100,
            quiet: 100,
            quiet_max: 3200,
            series_max: 16,
            ewma: ewma::Options::default(),
            page_hinkley: page_hinkley::Options::default(),
            adwin: adwin::Options::default(),
        }
    }
}

impl Options {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        within("metrics.warm_up", count(self.warm_up), 8.0, 4096.0)?;
        within("metrics.reference", count(self.reference), count(self.warm_up), 4096.0)?;
        within("metrics.samples_min", count(self.samples_min), 2.0, count(self.reference))?;
        within("metrics.effect", self.effect, 0.1, 5.0)?;
        within("metrics.significance", self.significance, 0.5, 100.0)?;
        within("metrics.quiet", count(self.quiet), 1.0, count(self.quiet_max))?;
        within("metrics.series_max", count(self.series_max as u64), 0.0, 1024.0)?;
        self.ewma.check()?;
        self.page_hinkley.check()?;
        self.adwin.check()
    }

    /// The same options, `by` times less ready to say something.
    #[must_use]
    pub(crate) fn scaled(mut self, by: f64) -> Self {
        self.effect = (self.effect * by).min(5.0);
        self.significance *= by;
        self.ewma.limit *= by;
        self.page_hinkley.threshold *= by;
        self
    }
}

/// What changed about a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Aspect {
    Level,
    Spread,
}

/// A change that was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Change {
    aspect: Aspect,
    /// The observation from which it holds.
    onset: u64,
    /// The sample of the series at which it was found.
    found_at: u64,
    /// In deviations.
    size: f64,
    /// The median before and behind the border, as reported.
    before: f64,
    after: f64,
}

/// A border between what was usual and the newest samples.
#[derive(Debug, Clone, Copy)]
struct Border {
    aspect: Aspect,
    onset: u64,
    samples: usize,
    size: f64,
}

/// The three detectors, on standardised samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Watch {
    reference: Reference,
    /// The sample of the series up to which it was learnt.
    learnt_at: u64,
    level: Ewma,
    spread: Ewma,
    page_hinkley: PageHinkley,
    adwin: Adwin,
}

impl Watch {
    fn new(reference: Reference, learnt_at: u64) -> Self {
        let average =
            |moments: Moments| Ewma::new(moments.mean, moments.deviation * moments.inflation);
        Self {
            reference,
            learnt_at,
            level: average(reference.level),
            spread: average(reference.spread),
            page_hinkley: PageHinkley::default(),
            adwin: Adwin::default(),
        }
    }

    /// Whether any of them names a change.
    fn update(&mut self, sample: f64, options: &Options) -> bool {
        let named = [
            self.level.update(sample, &options.ewma),
            self.spread.update(sample.abs(), &options.ewma),
            self.page_hinkley.update(sample, &options.page_hinkley),
            self.adwin.update(sample, &options.adwin),
        ];
        named.contains(&true)
    }
}

/// One series of numbers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Series {
    /// The newest samples as reported, oldest first.
    recent: VecDeque<f64>,
    /// For each of them, how many observations after its predecessor it came.
    gaps: VecDeque<u32>,
    /// The observation of the newest.
    newest: u64,
    /// Samples so far.
    samples: u64,
    /// Samples before what is usual began.
    begun_at: u64,
    watch: Option<Watch>,
    /// The sample until which a named change is judged.
    judged_until: u64,
    change: Option<Change>,
    quiet: u64,
    quiet_until: u64,
}

impl Series {
    /// Takes a finite sample that came with the observation `number`.
    pub fn see(&mut self, sample: f64, number: u64, options: &Options) {
        let previous = self.recent.back().copied();
        self.remember(sample, number, options);
        if let Some(watch) = &mut self.watch
            && let Some(far) = watch.reference.standardise(sample, previous)
            && watch.update(far, options)
        {
            self.judged_until = self.samples + PATIENCE;
        }
        self.learn_when_due(options);
        let named = self.samples < self.judged_until && self.samples >= self.quiet_until;
        if named && self.samples.is_multiple_of(JUDGE_EVERY) {
            self.judge(options);
        }
    }

    /// How the series stands.
    pub fn reading(&self, options: &Options) -> Reading {
        let told = |change: &&Change| self.samples - change.found_at < options.hold;
        match self.change.as_ref().filter(told) {
            Some(change) => Reading { level: Level::Suspect, onset: change.onset },
            None => Reading::OK,
        }
    }

    /// The earliest observation that a change found from now on could be dated to.
    pub fn earliest_onset(&self) -> u64 {
        let span: u64 = self.gaps.iter().skip(1).map(|gap| u64::from(*gap)).sum();
        self.newest.saturating_sub(span)
    }

    /// The newest samples, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = f64> + '_ {
        self.recent.iter().copied()
    }

    /// The observations that the newest samples came with, oldest first.
    pub fn recent_at(&self) -> Vec<u64> {
        let gaps = self.gaps.iter().skip(1).rev();
        let mut numbers = vec![self.newest];
        for gap in gaps.take(self.recent.len().saturating_sub(1)) {
            let newer = numbers.last().copied().unwrap_or_default();
            numbers.push(newer.saturating_sub(u64::from(*gap)));
        }
        numbers.reverse();
        numbers.truncate(self.recent.len());
        numbers
    }

    /// The change that was found last, in words.
    pub fn explain(&self, name: &str) -> Evidence {
        let Some(change) = self.change else { return Evidence::default() };
        let Change { aspect, onset, size, before, after, .. } = change;
        let words = match aspect {
            Aspect::Level => format!(
                "{name} went from about {} to {}: {:.1} deviations",
                brief(before),
                brief(after),
                size.abs()
            ),
            Aspect::Spread if size > 0.0 => {
                format!("{name} scatters {size:.1} deviations more than it used to")
            }
            Aspect::Spread => {
                format!("{name} scatters {:.1} deviations less than it used to", -size)
            }
        };
        let words = format!("{words}, since observation {onset}");
        Evidence::new(words, &[("before", before), ("after", after), ("deviations", size)])
    }

    fn remember(&mut self, sample: f64, number: u64, options: &Options) {
        let most = usize::try_from(options.reference).unwrap_or(usize::MAX);
        if self.recent.capacity() < most {
            self.recent.reserve_exact(most - self.recent.len());
            self.gaps.reserve_exact(most - self.gaps.len());
        }
        while self.recent.len() >= most {
            self.recent.pop_front();
            self.gaps.pop_front();
        }
        self.recent.push_back(sample);
        self.gaps.push_back(u32::try_from(number.saturating_sub(self.newest)).unwrap_or(u32::MAX));
        self.newest = number;
        self.samples += 1;
    }

    /// Learns what is usual after the warm-up, once more when there are samples enough for good, and
    /// once more when a restless series is looked at again.
    fn learn_when_due(&mut self, options: &Options) {
        let seen = self.samples - self.begun_at;
        let first = self.watch.is_none() && seen >= options.warm_up;
        let settled = self.samples >= self.judged_until || self.samples < self.quiet_until;
        let for_good = seen == options.reference && settled;
        let again = self.samples == self.quiet_until && seen > options.reference;
        if first || for_good || again {
            let known = usize::try_from(seen).unwrap_or(usize::MAX).min(self.recent.len());
            let stretch: Vec<f64> =
                self.recent.iter().skip(self.recent.len() - known).copied().collect();
            self.watch = Some(Watch::new(Reference::learn(&stretch), self.samples));
            self.judged_until = 0;
        }
    }

    fn judge(&mut self, options: &Options) {
        let Some(border) = self.border(options) else { return };
        let old = self.recent.len() - border.samples;
        let (before, after): (Vec<f64>, Vec<f64>) = {
            let (before, after) = (self.recent.iter().take(old), self.recent.iter().skip(old));
            (before.copied().collect(), after.copied().collect())
        };
        let restless =
            self.change.is_some_and(|it| self.samples - it.found_at <= RESTLESS * self.quiet);
        self.quiet = if restless { (3 * self.quiet).min(options.quiet_max) } else { options.quiet };
        self.quiet_until = self.samples + self.quiet;
        self.change = Some(Change {
            aspect: border.aspect,
            onset: border.onset,
            found_at: self.samples,
            size: border.size,
            before: median(&before),
            after: median(&after),
        });
        self.watch = None;
        self.judged_until = 0;
        self.begun_at = self.samples - border.samples as u64;
    }

    /// The border behind which the newest samples differ most, where they differ enough.
    fn border(&self, options: &Options) -> Option<Border> {
        let watch = self.watch.as_ref()?;
        let reference = &watch.reference;
        let news = usize::try_from(self.samples - watch.learnt_at).unwrap_or(usize::MAX);
        let mut level = Search::new(Aspect::Level, reference.level);
        let mut spread = Search::new(Aspect::Spread, reference.spread);
        let mut onset = self.newest;
        for at in (0..self.recent.len()).rev().take(news) {
            let previous = at.checked_sub(1).map(|before| self.recent[before]);
            let Some(far) = reference.standardise(self.recent[at], previous) else { break };
            level.take(far, onset);
            spread.take(far.abs(), onset);
            onset = onset.saturating_sub(u64::from(self.gaps[at]));
        }
        let found = |search: &Search| search.border(reference.samples, options);
        found(&level).or_else(|| found(&spread))
    }
}

/// The border that fits best so far, while samples are taken from the newest to the oldest.
#[derive(Debug, Clone, Copy)]
struct Best {
    /// The fit is `above / below`; two are compared without dividing.
    above: f64,
    below: f64,
    samples: u64,
    sum: f64,
    onset: u64,
}

impl Best {
    const NONE: Self = Self { above: 0.0, below: 1.0, samples: 0, sum: 0.0, onset: 0 };

    fn fits_better(&self, other: &Self) -> bool {
        self.above * other.below > other.above * self.below
    }
}

/// Looks for the best border in one aspect.
struct Search {
    aspect: Aspect,
    usual: Moments,
    taken: u64,
    sum: f64,
    /// `Σ k·d_k` and `Σ k²`, counted from the oldest sample taken so far.
    weighted: f64,
    squares: f64,
    step: Best,
    rise: Best,
}

impl Search {
    fn new(aspect: Aspect, usual: Moments) -> Self {
        let (step, rise) = (Best::NONE, Best::NONE);
        Self { aspect, usual, taken: 0, sum: 0.0, weighted: 0.0, squares: 0.0, step, rise }
    }

    fn take(&mut self, sample: f64, onset: u64) {
        self.taken += 1;
        self.sum += sample - self.usual.mean;
        self.weighted += self.sum;
        self.squares += count(self.taken) * count(self.taken);
        let (samples, sum) = (self.taken, self.sum);
        let step = Best { above: sum * sum, below: count(samples), samples, sum, onset };
        let rise = Best { above: self.weighted * self.weighted, below: self.squares, ..step };
        if step.fits_better(&self.step) {
            self.step = step;
        }
        if rise.fits_better(&self.rise) {
            self.rise = rise;
        }
    }

    fn border(&self, learnt_from: u64, options: &Options) -> Option<Border> {
        let Moments { deviation, inflation, .. } = self.usual;
        let samples = count(self.step.samples.max(1));
        let size = self.step.sum / samples / deviation;
        let error = inflation * (1.0 / samples + 1.0 / count(learnt_from.max(1))).sqrt();
        let enough = self.step.samples >= options.samples_min
            && size.abs() >= options.effect
            && size.abs() >= options.significance * error;
        let onset =
            if self.rise.fits_better(&self.step) { self.rise.onset } else { self.step.onset };
        let samples = usize::try_from(self.step.samples).unwrap_or(usize::MAX);
        enough.then_some(Border { aspect: self.aspect, onset, samples, size })
    }
}

/// A number with about three digits.
fn brief(number: f64) -> String {
    let size = number.abs();
    if size >= 100.0 || number.fract() == 0.0 {
        format!("{number:.0}")
    } else if size >= 1.0 {
        format!("{number:.2}")
    } else {
        format!("{number:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise with mean 0 and deviation 1: twelve even numbers added up.
    fn noise(at: u64) -> f64 {
        let even = |n: u64| {
            let mixed = (at * 12 + n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            count((mixed ^ (mixed >> 32)) >> 40) / count(1 << 24)
        };
        (0..12).map(even).sum::<f64>() - 6.0
    }

    /// The changes that are found, each with the sample at which, in a series of which each sample
    /// comes with every third observation.
    fn found(samples: u64, value: impl Fn(u64) -> f64) -> Vec<(u64, Change)> {
        let options = Options::default();
        let mut series = Series::default();
        let mut found: Vec<(u64, Change)> = Vec::new();
        for at in 0..samples {
            series.see(value(at), 3 * at + 1, &options);
            if let Some(change) = series.change.filter(|it| it.found_at == series.samples) {
                found.push((at, change));
            }
        }
        found
    }

    /// The only change; its delay and the error of its onset, in samples.
    fn only(samples: u64, since: u64, value: impl Fn(u64) -> f64) -> (Change, u64, u64) {
        let all = found(samples, value);
        assert_eq!(all.len(), 1, "{all:?}");
        let (at, change) = all[0];
        (change, at - since, (change.onset / 3).abs_diff(since))
    }

    #[test]
    fn a_step_of_three_deviations_is_found_soon_and_dated_well() {
        for (size, since) in [(3.0, 100), (-3.0, 100), (3.0, 1000), (3.0, 40), (10.0, 200)] {
            let step = |at| 20.0 + noise(at) + if at >= since { size } else { 0.0 };
            let (change, delay, error) = only(since + 80, since, step);
            assert_eq!(change.aspect, Aspect::Level);
            assert!(change.size * f64::signum(size) > 2.0);
            assert!(delay < 25 && error <= 3, "{size} at {since}: {delay} {error}");
        }
    }

    #[test]
    fn a_slow_rise_is_found_although_no_step_is_large() {
        let rise = |at| 20.0 + noise(at) + 0.05 * count(at.saturating_sub(300));
        let (change, delay, error) = only(370, 300, rise);
        assert!(change.size > 1.5 && delay < 70 && error <= 30, "{delay} {error}");
    }

    #[test]
    fn more_and_less_scatter_is_found() {
        let (more, delay, _) =
            only(300, 200, |at| 20.0 + noise(at) * if at >= 200 { 4.0 } else { 1.0 });
        assert!(more.aspect == Aspect::Spread && more.size > 0.0 && delay < 40, "{more:?}");
    }

    #[test]
    fn a_metric_that_is_large_or_small_is_seen_by_its_ratio() {
        let latency = |at: u64| (0.5 * noise(at)).exp() * 1e-6 * if at >= 150 { 6.0 } else { 1.0 };
        let (change, delay, error) = only(220, 150, latency);
        assert!(delay < 25 && error <= 5, "{delay} {error}");
        assert!(change.after > 4.0 * change.before, "{change:?}");
    }

    #[test]
    fn a_counter_may_rise_and_its_pace_may_not_change() {
        let counter = |at: u64, pace: u64| 1000 + at * 50 + at.saturating_sub(200) * pace;
        let even = |at: u64| count(counter(at, 0)) + noise(at);
        assert!(found(1000, even).is_empty(), "it only goes on counting");
        let (_, delay, error) = only(260, 200, |at| count(counter(at, 200)) + noise(at));
        assert!(delay < 25 && error <= 3, "{delay} {error}");
    }

    #[test]
    fn constants_and_lone_spikes_say_nothing() {
        assert!(found(2000, |_| 7.5).is_empty());
        assert!(found(2000, |_| 0.0).is_empty());
        assert!(found(2000, |at| if at % 50 == 0 { 1e6 } else { 20.0 + noise(at) }).is_empty());
        assert!(found(2000, |at| if at % 30 == 7 { 1.0 } else { 0.0 }).is_empty());
        let (change, _, error) = only(300, 200, |at| if at >= 200 { 8.0 } else { 7.5 });
        assert!((change.before - 7.5).abs() < 1e-9 && error == 0);
    }

    #[test]
    fn a_restless_series_tells_less_and_less() {
        for period in [130, 200, 350, 600, 900] {
            let switches = 30_000 / period;
            let restless = |at| 20.0 + noise(at) + 10.0 * count(at / period % 2);
            let told = found(30_000, restless).len() as u64;
            assert!((1..=switches / 2).contains(&told) && told < 20, "{period}: {told}");
        }
        let calm = |at| 20.0 + noise(at) + 10.0 * count((at / 3000).min(6));
        assert_eq!(found(20_000, calm).len(), 6, "one change in a while is told each time");
    }

    #[test]
    fn a_change_is_told_for_a_while() {
        let options = Options::default();
        let mut series = Series::default();
        let mut told = Vec::new();
        for at in 0..500_u64 {
            series.see(20.0 + noise(at) + if at >= 100 { 5.0 } else { 0.0 }, at, &options);
            told.push(series.reading(&options).level);
        }
        let suspect = told.iter().filter(|level| **level == Level::Suspect).count();
        assert_eq!(u64::try_from(suspect).unwrap(), options.hold);
        let words = series.explain("latency_s").words;
        assert!(
            words.starts_with("latency_s went from about 2") && words.ends_with("observation 100")
        );
    }
}
