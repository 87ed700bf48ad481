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

/// What all contestants took for one case; ours is the first.
#[derive(Debug)]
pub struct Case {
    pub work: String,
    pub all: Vec<Series>,
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

    /// What ours takes of memory, and the most that it may take.
    pub fn peak(&self, at_most: f64) -> Row {
        let work = format!("{}: peak memory", self.work);
        Row::alone(work, Unit::Bytes, &self.ours().peaks()).at_most(at_most)
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
