//! Budgets: the sum or the rate of a metric that may be spent.
//!
//! What a budget is about is any metric of the agent, or one seen from outside (`restarts`,
//! `process.written_bytes`). Close to its end it is `suspect`, beyond it `drifting`. A sum is counted
//! from the first observation; what was spent stays spent, so a restore does not bring it back. A rate
//! is the sum over the last `per`, in sixty slices.

use serde::{Deserialize, Serialize};

use super::{Evidence, Level, Reading, within};
use crate::drift::Error;
use crate::state::Span;

/// Slices of the time that a rate looks at.
const SLICES: u64 = 60;

/// A budget that is over by so much is drift; one at this share of its end is suspect.
const NEAR: f64 = 0.9;

/// What may be spent of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The metric.
    pub metric: String,
    /// What may be spent in all, or within `per` where that is given.
    pub most: f64,
    /// The time that counts; without it all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Span>,
}

impl Budget {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Error::Option`] with the key that is out of them.
    pub fn check(&self) -> Result<(), Error> {
        within("budgets.most", self.most, f64::MIN_POSITIVE, f64::MAX)?;
        let per = self.per.map_or(1.0, |per| super::count(per.as_ms()));
        within("budgets.per", per, 1.0, 1e15)
    }

    /// Tells one budget from another.
    #[must_use]
    pub fn name(&self) -> String {
        match self.per {
            None => format!("{} in all", self.metric),
            Some(per) => format!("{} per {per}", self.metric),
        }
    }
}

/// What was spent of one budget.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Spending {
    sum: f64,
    /// By slice of time, oldest first, each with its own number and the first observation in it.
    slices: std::collections::VecDeque<(u64, u64, f64)>,
    passed_at: Option<u64>,
}

impl Spending {
    pub fn see(&mut self, budget: &Budget, value: f64, number: u64, at_ms: u64) {
        self.sum += value;
        if let Some(per) = budget.per {
            let slice = at_ms / (per.as_ms() / SLICES).max(1);
            match self.slices.back_mut().filter(|(newest, ..)| *newest == slice) {
                Some((.., spent)) => *spent += value,
                None => self.slices.push_back((slice, number, value)),
            }
        }
        self.pass(budget, at_ms);
        if self.spent(budget) >= budget.most {
            let first = self.slices.front().map_or(number, |(_, first, _)| *first);
            self.passed_at.get_or_insert(first);
        }
    }

    /// Time passes, and with it what was spent long ago.
    pub fn pass(&mut self, budget: &Budget, at_ms: u64) {
        let Some(per) = budget.per else { return };
        let slice = at_ms / (per.as_ms() / SLICES).max(1);
        while self.slices.front().is_some_and(|(oldest, ..)| slice - oldest >= SLICES) {
            self.slices.pop_front();
        }
        if self.spent(budget) < budget.most {
            self.passed_at = None;
        }
    }

    fn spent(&self, budget: &Budget) -> f64 {
        match budget.per {
            None => self.sum,
            Some(_) => self.slices.iter().map(|(.., spent)| spent).sum(),
        }
    }

    pub fn reading(&self, budget: &Budget, number: u64) -> Reading {
        match self.passed_at {
            Some(onset) => Reading { level: Level::Drifting, onset },
            None if self.spent(budget) >= NEAR * budget.most => {
                Reading { level: Level::Suspect, onset: number }
            }
            None => Reading::OK,
        }
    }

    pub fn earliest_onset(&self) -> Option<u64> {
        self.slices.front().map(|(_, first, _)| *first)
    }

    pub fn explain(&self, budget: &Budget) -> Evidence {
        let spent = self.spent(budget);
        let words = format!("{}: {spent:.2} of {:.2} are spent", budget.name(), budget.most);
        Evidence::new(words, &[("spent", spent), ("most", budget.most)])
    }
}
