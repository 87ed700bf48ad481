//! What came of a run of the suite.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::environment::{Finding, Level};
use super::promise::Promise;
use super::scenario::Scenario;
use super::trial::Tried;
use super::{Depth, Options};

/// Everything that a run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Every scenario that was run held, and the surroundings carry the promises.
    pub holds: bool,
    /// What chance decided followed from this.
    pub seed: u64,
    /// `quick` or `full`.
    pub depth: &'static str,
    /// How long it took.
    pub took_ms: u64,
    /// What the promises rest on here.
    pub environment: Vec<Finding>,
    /// Each scenario.
    pub scenarios: Vec<Told>,
    /// All together.
    pub tried: Tried,
}

/// What came of a scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    /// Which.
    pub scenario: String,
    /// What it proves.
    pub promises: Vec<Promise>,
    /// What it is about.
    pub about: String,
    /// Whether it held.
    pub verdict: Verdict,
    /// Why it was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What was tried.
    pub tried: Tried,
    /// The first cases in which it did not hold.
    pub failed: Vec<Failed>,
}

/// Whether a scenario held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// In every case.
    Holds,
    /// A promise was broken.
    Broken,
    /// The fault cannot be made here.
    Skipped,
    /// The scenario makes no sense: this workload does not go with this fault, or fails by itself.
    Unfit,
}

impl Verdict {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Broken => "BROKEN",
            Self::Skipped => "skipped",
            Self::Unfit => "unfit",
        }
    }
}

/// A case in which a promise did not hold.
#[derive(Debug, Clone, Serialize)]
pub struct Failed {
    /// Its number.
    pub case: u64,
    /// The seed of the run.
    pub seed: u64,
    /// What was done and what was found.
    pub why: String,
    /// Runs it again.
    pub command: String,
    /// Where what was found is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<PathBuf>,
}

impl Told {
    pub(super) fn of(scenario: &Scenario) -> Self {
        Self {
            scenario: scenario.name.clone(),
            promises: scenario.promise.clone(),
            about: scenario.about.trim().to_owned(),
            verdict: Verdict::Holds,
            why: None,
            tried: Tried::default(),
            failed: Vec::new(),
        }
    }

    pub(super) fn skipped(scenario: &Scenario, why: String) -> Self {
        Self { verdict: Verdict::Skipped, why: Some(why), ..Self::of(scenario) }
    }

    pub(super) fn unfit(scenario: &Scenario, why: String) -> Self {
        Self { verdict: Verdict::Unfit, why: Some(why), ..Self::of(scenario) }
    }
}

impl Report {
    pub(super) fn new(
        options: &Options,
        environment: Vec<Finding>,
        scenarios: Vec<Told>,
        took: Duration,
    ) -> Self {
        let mut tried = Tried::default();
        for one in &scenarios {
            tried += one.tried;
        }
        let well = |told: &Told| matches!(told.verdict, Verdict::Holds | Verdict::Skipped);
        let carries = environment.iter().all(|one| one.level < Level::Problem);
        Self {
            holds: carries && scenarios.iter().all(well),
            seed: options.seed,
            depth: if options.depth == Depth::Full { "full" } else { "quick" },
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            environment,
            scenarios,
            tried,
        }
    }

    /// What of the surroundings is not as it should be.
    pub fn concerns(&self) -> impl Iterator<Item = &Finding> {
        self.environment.iter().filter(|one| one.level > Level::Ok)
    }
}
