//! What a scenario becomes when it is run: cases, what each tried, and how one fails.

use std::fmt::Display;
use std::io;
use std::ops::AddAssign;

use serde::Serialize;

use crate::disk::MemoryDisk;
use crate::manager;

/// One case of a scenario.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    /// Which of the scenario's cases.
    pub number: u64,
    /// What chance decides in it.
    pub seed: u64,
}

impl Case {
    /// A number below `below` that the case's seed draws; `which` tells draws of one case apart.
    pub fn draw(self, which: u64, below: u64) -> u64 {
        mix(mix(self.seed, which), self.number) % below.max(1)
    }
}

/// Draws a number from two others: `splitmix64` (Steele, Lea, Flood 2014).
pub(super) fn mix(seed: u64, with: u64) -> u64 {
    let mut z = (seed ^ with.rotate_left(32)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What was tried, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Cases that were run to their end.
    pub cases: u64,
    /// Moments at which a process was killed or the power went.
    pub crash_points: u64,
    /// Calls that failed, bytes that were flipped, files that were swapped, clocks that jumped.
    pub faults: u64,
    /// Checkpoints that were read back and compared, byte for byte.
    pub restores: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Real processes that were started.
    pub processes: u64,
    /// Acknowledged checkpoints that were not there, or not as they were.
    pub lost: u64,
}

impl Tried {
    /// Counts a checkpoint that was read back.
    pub(super) fn read(&mut self, bytes: usize) {
        self.restores += 1;
        self.bytes += bytes as u64;
    }
}

impl AddAssign for Tried {
    fn add_assign(&mut self, other: Self) {
        self.cases += other.cases;
        self.crash_points += other.crash_points;
        self.faults += other.faults;
        self.restores += other.restores;
        self.bytes += other.bytes;
        self.processes += other.processes;
        self.lost += other.lost;
    }
}

/// A promise that did not hold, or a case that could not be run.
#[derive(Debug)]
pub(super) struct Broken {
    pub why: String,
    /// Acknowledged checkpoints that are gone.
    pub lost: u64,
    /// The disk as it was found.
    pub evidence: Option<MemoryDisk>,
}

impl Broken {
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), lost: 0, evidence: None }
    }

    pub fn lost(count: usize, why: impl Into<String>) -> Self {
        Self { lost: count as u64, ..Self::new(why) }
    }

    /// Says before the reason what had been done.
    pub fn after(self, tale: impl Display) -> Self {
        Self { why: format!("{tale}: {}", self.why), ..self }
    }

    pub fn on(self, disk: &MemoryDisk) -> Self {
        Self { evidence: self.evidence.or_else(|| Some(disk.clone())), ..self }
    }
}

impl From<manager::Error> for Broken {
    fn from(error: manager::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

pub(super) type Outcome = Result<(), Broken>;

/// Breaks off where something does not hold.
pub(super) fn ensure(holds: bool, why: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Broken::new(why())) }
}

type TryCase<'a> = Box<dyn Fn(Case, &mut Tried) -> Outcome + Send + Sync + 'a>;

/// A scenario that is ready to be run.
pub(super) struct Trial<'a> {
    /// How many different cases there are.
    pub cases: u64,
    /// A case is another with another seed, so that there is no end of them.
    pub is_endless: bool,
    /// Runs real processes, and so takes the machine's time more than the processor's.
    pub is_real: bool,
    pub try_case: TryCase<'a>,
}

impl<'a> Trial<'a> {
    pub fn simulated(
        cases: u64,
        try_case: impl Fn(Case, &mut Tried) -> Outcome + Send + Sync + 'a,
    ) -> Self {
        Self { cases, is_endless: true, is_real: false, try_case: Box::new(try_case) }
    }

    pub fn real(
        cases: u64,
        try_case: impl Fn(Case, &mut Tried) -> Outcome + Send + Sync + 'a,
    ) -> Self {
        Self { cases, is_endless: true, is_real: true, try_case: Box::new(try_case) }
    }
}
