//! Drift: an agent that leaves the behaviour or the state it should have.
//!
//! [`Sighting`]s of an agent are shown to its [`Watch`], where [`signals`] measure them; what they
//! find becomes one [`Verdict`], with the observation at which it began. A policy decides on the
//! response, and which checkpoint to go back to.
//!
//! The stage promises that all of it is a function of what was seen, in the order in which it was
//! seen: no disk, no clock, no manager, nothing at random. What it remembers of an agent is bounded,
//! can be written out, and is brought back with a checkpoint. It assumes that whoever calls it shows
//! everything once and in order, keeps what it remembers with each checkpoint, and does what it
//! decides. It runs no command, stops no process and restores nothing.

pub mod choice;
pub mod detector;
pub mod ledger;
pub mod observation;
pub mod policy;
pub mod replay;
pub mod response;
pub mod sighting;
pub mod signals;
pub mod sources;
pub mod verdict;
pub mod watch;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use self::signals::{
    budget, crash_loop, error_streak, invariants, limits, redo, repetition, series, shrinkage,
    silence, stall, thrash,
};
use crate::error::ErrorKind;

pub use choice::{Candidate, Choice, Passed, PassedBy, choose, first_from};
pub use detector::{Detector, Opinion, Question};
pub use ledger::{Answer, Cause, Ledger};
pub use observation::{Action, Observation, Occasion};
pub use policy::{Policies, Policy, Response};
pub use replay::{Recorded, Report, replay};
pub use response::{Cap, Case, Decision, Directive, Measure, decide};
pub use sighting::Sighting;
pub use signals::catalogue::{Family, Signal};
pub use signals::{Evidence, Level};
pub use sources::{Source, SourceStatus};
pub use verdict::{Finding, Verdict};
pub use watch::{Feed, SignalStatus, Watch};

/// How ready signals are to say something, beside their single options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sensitivity {
    /// Limits are half as high again.
    Low,
    /// Limits are as they stand.
    #[default]
    Normal,
    /// Limits are two thirds as high.
    High,
}

/// The options of the stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How ready signals are to say something.
    pub sensitivity: Sensitivity,
    /// What policies are followed.
    pub response: policy::Response,
    /// A finding stands until its signal was calm for so many sightings.
    pub calm: u64,
    /// Paths that the agent should not touch, with everything beneath them.
    pub protected: Vec<PathBuf>,
    /// What must be true of every state.
    pub invariants: Vec<invariants::Invariant>,
    /// A file with the JSON Schema of the state; needs the feature `schema`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<PathBuf>,
    /// What may be spent.
    pub budgets: Vec<budget::Budget>,
    /// Change of numbers.
    pub metrics: series::Options,
    /// Actions that recur.
    pub repetition: repetition::Options,
    /// Actions that fail.
    pub error_streak: error_streak::Options,
    /// Work done again.
    pub redo: redo::Options,
    /// Back and forth in the workspace.
    pub thrash: thrash::Options,
    /// Nothing comes of it.
    pub stall: stall::Options,
    /// Nothing is heard.
    pub silence: silence::Options,
    /// Quick exits.
    pub crash_loop: crash_loop::Options,
    /// Losses of state and files.
    pub shrinkage: shrinkage::Options,
    /// Length of a life.
    pub limits: limits::Options,
    /// What is told of each response from a checkpoint on.
    pub hook: detector::Hook,
    /// Detectors that are commands.
    pub detectors: Vec<detector::Command>,
    /// How each family of signals is answered.
    pub policies: policy::Policies,
    /// What keeps restores from flapping.
    pub restores: policy::RestoreLimits,
    /// When a cause counts as shared.
    pub shared_cause: policy::SharedCause,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sensitivity: Sensitivity::Normal,
            response: policy::Response::Policy,
            calm: 20,
            protected: Vec::new(),
            invariants: Vec::new(),
            schema: None,
            budgets: Vec::new(),
            metrics: series::Options::default(),
            repetition: repetition::Options::default(),
            error_streak: error_streak::Options::default(),
            redo: redo::Options::default(),
            thrash: thrash::Options::default(),
            stall: stall::Options::default(),
            silence: silence::Options::default(),
            crash_loop: crash_loop::Options::default(),
            shrinkage: shrinkage::Options::default(),
            limits: limits::Options::default(),
            hook: detector::Hook::default(),
            detectors: Vec::new(),
            policies: policy::Policies::default(),
            restores: policy::RestoreLimits::default(),
            shared_cause: policy::SharedCause::default(),
        }
    }
}

impl Options {
    /// Checks bounds that types do not express.
    ///
    /// # Errors
    /// [`Error::Option`] with the first key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        self.metrics.check()?;
        self.repetition.check()?;
        self.error_streak.check()?;
        self.redo.check()?;
        self.thrash.check()?;
        self.stall.check()?;
        self.silence.check()?;
        self.crash_loop.check()?;
        self.shrinkage.check()?;
        self.policies.check()?;
        self.restores.check()?;
        self.shared_cause.check()?;
        self.hook.check()?;
        self.detectors.iter().try_for_each(detector::Command::check)?;
        self.invariants.iter().try_for_each(invariants::Invariant::check)?;
        self.budgets.iter().try_for_each(budget::Budget::check)
    }

    /// The options with the sensitivity worked into the limits.
    pub(crate) fn tuned(&self) -> Self {
        let by = match self.sensitivity {
            Sensitivity::Low => 1.5,
            Sensitivity::Normal => return self.clone(),
            Sensitivity::High => 2.0 / 3.0,
        };
        Self {
            sensitivity: Sensitivity::Normal,
            metrics: self.metrics.scaled(by),
            repetition: self.repetition.scaled(by),
            error_streak: self.error_streak.scaled(by),
            redo: self.redo.scaled(by),
            thrash: self.thrash.scaled(by),
            stall: self.stall.scaled(by),
            silence: self.silence.scaled(by),
            crash_loop: self.crash_loop.scaled(by),
            shrinkage: self.shrinkage.scaled(by),
            ..self.clone()
        }
    }
}

/// Why something is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name or a digest that is too long, or a name that is empty.
    #[error("a name or digest has 1 to 128 bytes; `{start}…` has {bytes}")]
    Name {
        /// How it begins.
        start: String,
        /// Its length.
        bytes: usize,
    },
    /// Too many metrics in one observation.
    #[error("an observation has at most 64 metrics; this one has {count} metrics")]
    Metrics {
        /// How many.
        count: usize,
    },
    /// An option outside its bounds.
    #[error("drift.{key} does not fit: {why}")]
    Option {
        /// The key within the section `drift`.
        key: &'static str,
        /// What is wrong with it, and what is allowed.
        why: String,
    },
    /// What a watch remembered cannot be read.
    #[error("cannot read what the detectors remembered: {why}; they begin anew")]
    Memory {
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Memory { .. } => ErrorKind::Damaged,
            Self::Name { .. } | Self::Metrics { .. } | Self::Option { .. } => ErrorKind::Usage,
        }
    }
}
