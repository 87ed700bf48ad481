//! When a checkpoint is due: a small pure policy that an agent's loop asks.
//!
//! The loop keeps a [`Moment`] and asks [`SavePolicy::due`] as often as it likes; asking changes
//! nothing. Time is the monotonic time the loop passes in, so a wall clock that jumps neither hurries
//! nor delays a save. Where nothing was saved yet, everything is at risk, and every policy that saves
//! by itself says so at once.
//!
//! `automatic` combines time and progress. Its interval is the first-order optimum of J. W. Young,
//! "A first order approximation to the optimum checkpoint interval", Communications of the ACM
//! 17(9), 1974, refined in J. T. Daly, "A higher order estimate of the optimum checkpoint interval
//! for restart dumps", Future Generation Computer Systems 22(3), 2006:
//!
//! ```text
//! interval = sqrt(2 · cost of a save · mean time between failures), kept within min and max
//! ```
//!
//! It is due when the interval has passed and progress was made since the last save (or progress is
//! not reported); sooner, but not before `min`, when the progress at risk reaches `progress`; and in
//! any case after `max`, because state may change without progress.
//!
//! As text: `none`, `manual`, `each_step`, `every 30m`, `at_progress 0.1`, `automatic`, and
//! `automatic min=5s max=30m mtbf=8h progress=0.05` with any of the four left out.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::state::{NounError, Span};

/// When a loop should make a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum SavePolicy {
    /// Never, not even when asked to.
    None,
    /// Only when asked to.
    Manual,
    /// After each finished step.
    EachStep,
    /// When so much time has passed since the last save.
    Every(Span),
    /// When progress has moved by so much, in either direction, since the last save.
    AtProgress(f64),
    /// By time and progress together.
    #[default]
    Automatic,
    /// By time and progress together, with other bounds than the usual.
    AutomaticWith(Automatic),
}

/// The bounds of the automatic policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Automatic {
    /// Never more often than this.
    pub min: Span,
    /// Never less often than this.
    pub max: Span,
    /// Mean time between failures to reckon with.
    pub mtbf: Span,
    /// Progress that may be lost at most, in the unit the loop reports (usually a share from 0 to
    /// 1).
    pub progress: f64,
}

impl Default for Automatic {
    fn default() -> Self {
        Self {
            min: Span::from_secs(5),
            max: Span::from_minutes(30),
            mtbf: Span::from_hours(8),
            progress: 0.05,
        }
    }
}

/// Where a loop stands when it asks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moment {
    /// Monotonic time.
    pub now: Duration,
    /// How far the work is, where the loop can tell; numbers that are not finite count as unknown.
    pub progress: Option<f64>,
    /// Steps finished.
    pub step: u64,
    /// The last save; `None` where nothing was saved yet.
    pub saved: Option<Saved>,
}

/// Where a loop stood when it last saved.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Saved {
    /// Monotonic time when the save had finished.
    pub at: Duration,
    /// How far the work was.
    pub progress: Option<f64>,
    /// Steps that were finished.
    pub step: u64,
    /// How long the save held up the loop.
    pub cost: Duration,
}

/// Why a checkpoint is due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Due {
    /// Nothing was saved yet.
    First,
    /// A step was finished.
    Step(u64),
    /// So much time has passed since the last save.
    Elapsed(Duration),
    /// So much progress was made since the last save.
    Progress(f64),
}

impl SavePolicy {
    /// Says whether a checkpoint is due, and why.
    #[must_use]
    pub fn due(&self, moment: &Moment) -> Option<Due> {
        if matches!(self, Self::None | Self::Manual) {
            return None;
        }
        let Some(saved) = &moment.saved else { return Some(Due::First) };
        let elapsed = moment.now.saturating_sub(saved.at);
        match self {
            Self::None | Self::Manual => None,
            Self::EachStep => (moment.step != saved.step).then_some(Due::Step(moment.step)),
            Self::Every(span) => (elapsed >= span.as_duration()).then_some(Due::Elapsed(elapsed)),
            Self::AtProgress(delta) => {
                moved(moment, saved).filter(|moved| moved >= delta).map(Due::Progress)
            }
            Self::Automatic => Automatic::default().due(moment, saved),
            Self::AutomaticWith(bounds) => bounds.due(moment, saved),
        }
    }

    /// Whether a checkpoint that is asked for is made; only `none` declines.
    #[must_use]
    pub fn takes_requests(&self) -> bool {
        !matches!(self, Self::None)
    }
}

impl Automatic {
    /// The time to wait after a save that cost `cost`.
    #[must_use]
    pub fn interval(&self, cost: Duration) -> Duration {
        let optimum = (2.0 * cost.as_secs_f64() * self.mtbf.as_duration().as_secs_f64()).sqrt();
        Duration::try_from_secs_f64(optimum)
            .unwrap_or(Duration::MAX)
            .min(self.max.as_duration())
            .max(self.min.as_duration())
    }

    fn due(&self, moment: &Moment, saved: &Saved) -> Option<Due> {
        let elapsed = moment.now.saturating_sub(saved.at);
        let moved = moved(moment, saved);
        if elapsed < self.min.as_duration() {
            return None;
        }
        if let Some(moved) = moved.filter(|moved| *moved >= self.progress) {
            return Some(Due::Progress(moved));
        }
        let stands_still = moved == Some(0.0);
        let wait = if stands_still { self.max.as_duration() } else { self.interval(saved.cost) };
        (elapsed >= wait).then_some(Due::Elapsed(elapsed))
    }
}

/// Progress since the last save, either way; `None` where it is unknown at either end.
fn moved(moment: &Moment, saved: &Saved) -> Option<f64> {
    let moved = (moment.progress? - saved.progress?).abs();
    moved.is_finite().then_some(moved)
}

/// Why a text is no save policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("save policy `{text}` is not valid: {why}")]
pub struct SavePolicyError {
    text: String,
    why: String,
}

impl FromStr for SavePolicy {
    type Err = SavePolicyError;

    fn from_str(text: &str) -> Result<Self, SavePolicyError> {
        parse(text).map_err(|why| SavePolicyError { text: text.chars().take(80).collect(), why })
    }
}

fn parse(text: &str) -> Result<SavePolicy, String> {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let rest: Vec<&str> = words.collect();
    match (name, rest.as_slice()) {
        ("none", []) => Ok(SavePolicy::None),
        ("manual", []) => Ok(SavePolicy::Manual),
        ("each_step", []) => Ok(SavePolicy::EachStep),
        ("every", [span]) => {
            let span: Span = span.parse().map_err(|error: NounError| error.to_string())?;
            if span == Span::ZERO {
                return Err("the interval is longer than zero".into());
            }
            Ok(SavePolicy::Every(span))
        }
        ("at_progress", [delta]) => Ok(SavePolicy::AtProgress(positive(delta)?)),
        ("automatic", []) => Ok(SavePolicy::Automatic),
        ("automatic", bounds) => parse_bounds(bounds).map(SavePolicy::AutomaticWith),
        _ => Err("it is one of none, manual, each_step, every DURATION, at_progress NUMBER, \
                  automatic [min=, max=, mtbf=, progress=]"
            .into()),
    }
}

fn parse_bounds(words: &[&str]) -> Result<Automatic, String> {
    let span = |text: &str| text.parse::<Span>().map_err(|error| error.to_string());
    let mut bounds = Automatic::default();
    for word in words {
        match word.split_once('=') {
            Some(("min", value)) => bounds.min = span(value)?,
            Some(("max", value)) => bounds.max = span(value)?,
            Some(("mtbf", value)) => bounds.mtbf = span(value)?,
            Some(("progress", value)) => bounds.progress = positive(value)?,
            _ => return Err(format!("`{word}` is none of min=, max=, mtbf=, progress=")),
        }
    }
    if bounds.min > bounds.max {
        return Err(format!("min {} is longer than max {}", bounds.min, bounds.max));
    }
    Ok(bounds)
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number > 0.0)
        .ok_or_else(|| format!("`{text}` is not a number above zero"))
}

impl fmt::Display for SavePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Manual => f.write_str("manual"),
            Self::EachStep => f.write_str("each_step"),
            Self::Every(span) => write!(f, "every {span}"),
            Self::AtProgress(delta) => write!(f, "at_progress {delta}"),
            Self::Automatic => f.write_str("automatic"),
            Self::AutomaticWith(Automatic { min, max, mtbf, progress }) => {
                write!(f, "automatic min={min} max={max} mtbf={mtbf} progress={progress}")
            }
        }
    }
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("nothing was saved yet"),
            Self::Step(step) => write!(f, "step {step} is finished"),
            Self::Elapsed(time) => write!(f, "{time:?} have passed since the last save"),
            Self::Progress(moved) => write!(f, "progress moved by {moved} since the last save"),
        }
    }
}

impl Serialize for SavePolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SavePolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `secs` after a save at 100 s that cost 2 s, with the given progress then and now.
    fn after(secs: u64, then: Option<f64>, now: Option<f64>) -> Moment {
        let at = Duration::from_secs(100);
        let cost = Duration::from_secs(2);
        Moment {
            now: at + Duration::from_secs(secs),
            progress: now,
            step: 5,
            saved: Some(Saved { at, progress: then, step: 5, cost }),
        }
    }

    #[test]
    fn nothing_saved_yet_is_due_for_all_that_save_by_themselves() {
        let moment = Moment::default();
        for text in ["each_step", "every 1h", "at_progress 10", "automatic"] {
            assert_eq!(text.parse::<SavePolicy>().unwrap().due(&moment), Some(Due::First));
        }
        for policy in [SavePolicy::None, SavePolicy::Manual] {
            assert_eq!(policy.due(&moment), None);
            assert_eq!(policy.due(&after(1_000_000, Some(0.0), Some(1.0))), None);
        }
        assert!(SavePolicy::Manual.takes_requests());
        assert!(!SavePolicy::None.takes_requests());
    }

    #[test]
    fn the_plain_policies_look_at_one_thing_each() {
        let every = SavePolicy::Every(Span::from_secs(60));
        assert_eq!(every.due(&after(59, None, None)), None);
        let minute = Duration::from_secs(60);
        assert_eq!(every.due(&after(60, None, None)), Some(Due::Elapsed(minute)));

        let progress = SavePolicy::AtProgress(0.25);
        assert_eq!(progress.due(&after(9999, Some(0.5), Some(0.625))), None);
        assert_eq!(progress.due(&after(0, Some(0.5), Some(0.75))), Some(Due::Progress(0.25)));
        assert_eq!(progress.due(&after(0, Some(0.5), Some(0.25))), Some(Due::Progress(0.25)));
        assert_eq!(progress.due(&after(9999, Some(0.5), Some(f64::NAN))), None);

        let mut moment = after(0, None, None);
        assert_eq!(SavePolicy::EachStep.due(&moment), None);
        moment.step += 1;
        assert_eq!(SavePolicy::EachStep.due(&moment), Some(Due::Step(6)));
    }

    #[test]
    fn the_interval_follows_youngs_formula_within_its_bounds() {
        let bounds = Automatic { mtbf: Span::from_secs(10_000), ..Automatic::default() };
        assert_eq!(bounds.interval(Duration::from_secs(2)), Duration::from_secs(200));
        assert_eq!(bounds.interval(Duration::ZERO), bounds.min.as_duration());
        assert_eq!(bounds.interval(Duration::from_secs(10_000)), bounds.max.as_duration());
        assert_eq!(bounds.interval(Duration::MAX), bounds.max.as_duration());
    }

    #[test]
    fn automatic_weighs_time_and_progress() {
        let policy = SavePolicy::AutomaticWith(Automatic {
            mtbf: Span::from_secs(10_000),
            ..Automatic::default()
        });
        let due = |secs, now| policy.due(&after(secs, Some(0.5), now)).is_some();
        assert!(due(200, None) && !due(199, None), "time alone where progress is unknown");
        assert!(due(200, Some(0.51)) && !due(199, Some(0.51)), "little progress waits its time");
        assert!(due(5, Some(0.6)) && !due(4, Some(0.6)), "much progress waits only for min");
        assert!(due(1800, Some(0.5)) && !due(1799, Some(0.5)), "no progress waits for max");
    }

    #[test]
    fn texts_that_say_no_policy_are_refused_with_the_reason() {
        for text in [
            "",
            "sometimes",
            "every",
            "every 0s",
            "every soon",
            "manual now",
            "at_progress -1",
            "at_progress NaN",
            "automatic min=1h max=1m",
            "automatic often",
        ] {
            let error = text.parse::<SavePolicy>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("save policy `{text}` is not valid: ")), "{error}");
        }
    }

    #[test]
    fn unnamed_bounds_keep_their_usual_values() {
        let expected = Automatic { min: Span::from_secs(1), ..Automatic::default() };
        let policy: SavePolicy = serde_json::from_str("\"automatic min=1s\"").unwrap();
        assert_eq!(policy, SavePolicy::AutomaticWith(expected));
    }

    fn any_policy() -> impl Strategy<Value = SavePolicy> {
        let span = || (1..10_000_000_u64).prop_map(Span::from_ms);
        let number = || 0.001..1000.0;
        prop_oneof![
            Just(SavePolicy::None),
            Just(SavePolicy::Manual),
            Just(SavePolicy::EachStep),
            span().prop_map(SavePolicy::Every),
            number().prop_map(SavePolicy::AtProgress),
            Just(SavePolicy::Automatic),
            (span(), span(), span(), number()).prop_map(|(a, b, mtbf, progress)| {
                SavePolicy::AutomaticWith(Automatic {
                    min: a.min(b),
                    max: a.max(b),
                    mtbf,
                    progress,
                })
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(policy in any_policy()) {
            prop_assert_eq!(policy.to_string().parse(), Ok(policy));
        }

        #[test]
        fn automatic_stays_within_its_bounds(
            secs in 0..5000_u64, now in prop::option::of(0.0..1.0),
        ) {
            let due = SavePolicy::Automatic.due(&after(secs, Some(0.5), now)).is_some();
            prop_assert!(!(due && secs < 5));
            prop_assert!(due || secs < 1800);
        }
    }
}
