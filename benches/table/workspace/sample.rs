//! What one piece of work took, and the rows made of many.

use super::errand::Spent;
use crate::row::{Row, Unit};

/// One contestant's work in one round.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub spent: Spent,
    pub added_bytes: f64,
}

/// One contestant's work in all rounds.
#[derive(Debug)]
pub struct Series {
    pub name: &'static str,
    pub samples: Vec<Sample>,
}

impl Series {
    pub fn seconds(&self) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.spent.seconds).collect()
    }

    pub fn peaks(&self) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.spent.peak_bytes).collect()
    }

    pub fn added(&self) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.added_bytes).collect()
    }
}

/// What all contestants took for one case.
#[derive(Debug)]
pub struct Case {
    pub work: String,
    /// Each a process of its own for each sample; ours is the first.
    pub all: Vec<Series>,
    /// Ours in a process that stays, where that was measured.
    pub warm: Option<Series>,
}

/// At most so many times what the peer of that name takes.
pub type Bars<'a> = &'a [(&'a str, f64)];

impl Case {
    pub fn ours(&self) -> &Series {
        &self.all[0]
    }

    fn others(&self) -> &[Series] {
        &self.all[1..]
    }

    /// The time of ours against each other's.
    pub fn times(&self, bars: Bars<'_>) -> Vec<Row> {
        self.against("", Unit::Seconds, Series::seconds, bars)
    }

    /// What ours adds to its store against what each other adds.
    pub fn added(&self) -> Vec<Row> {
        self.against("bytes added, ", Unit::Bytes, Series::added, &[])
    }

    /// What ours takes of memory against each other.
    pub fn peaks(&self) -> Vec<Row> {
        self.against("peak memory, ", Unit::Bytes, Series::peaks, &[])
    }

    /// What ours takes of memory by itself.
    pub fn peak(&self) -> Row {
        let work = format!("{}: peak memory", self.work);
        Row::alone(work, Unit::Bytes, &self.ours().peaks())
    }

    /// The time of ours in a process that stays, by itself.
    pub fn warm(&self) -> Option<Row> {
        let warm = self.warm.as_ref()?;
        Some(Row::alone(format!("{}, watched", self.work), Unit::Seconds, &warm.seconds()))
    }

    /// The same against the process of another.
    pub fn warm_against(&self, name: &str) -> Option<Row> {
        let other = self.all.iter().find(|series| series.name == name)?;
        let work = format!("{}, watched: against {name}", self.work);
        Some(Row::against(work, Unit::Seconds, &self.warm.as_ref()?.seconds(), &other.seconds()))
    }

    fn against(
        &self,
        what: &str,
        unit: Unit,
        figures: fn(&Series) -> Vec<f64>,
        bars: Bars<'_>,
    ) -> Vec<Row> {
        let row = |other: &Series| {
            let work = format!("{}: {what}against {}", self.work, other.name);
            let row = Row::against(work, unit, &figures(self.ours()), &figures(other));
            let bar = bars.iter().find(|(name, _)| *name == other.name);
            match bar {
                Some((_, bar)) => row.at_most(*bar),
                None => row,
            }
        };
        self.others().iter().map(row).collect()
    }
}
