//! The validation suite: the promises, proven on the user's own machine and disk.
//!
//! A [`Scenario`] is a file that names a promise, what is done, what goes wrong, and what must hold.
//! Where the fault can be made for real it is: processes are killed, two write to one store, the
//! directory goes. Where it cannot, the same code runs over a disk in memory that knows what was
//! synced, and lets each call fail, stop, tear or lose what a machine may lose. Before all that
//! [`environment`] tells what the promises rest on here.
//!
//! The suite promises that what it counts was run, that a case is a function of its scenario, its
//! number and the seed (real processes apart, whose moments nobody repeats), and that a case that
//! fails is repeated by the one command it names. It assumes nothing of the store under test: it
//! makes its own. It does not measure speed.

mod away;
mod crash;
mod drifting;
mod drill;
pub mod environment;
mod failing;
mod junit;
mod life;
mod meddling;
mod old_store;
mod play;
mod pressure;
mod processes;
mod promise;
mod report;
mod rot;
mod runner;
mod scenario;
mod scratch;
mod shipped;
mod sidecar;
mod steps;
mod tree;
mod trial;
mod trials;

use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use drill::Yard;
pub use drill::{Drilled, drill};
pub use junit::junit;
pub use play::{Part, play};
pub use promise::Promise;
pub use report::{Failed, Report, Told, Verdict};
pub use runner::run;
pub use scenario::{Limits, Scenario};
pub(crate) use scratch::remove_all;
pub use trial::Tried;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::ErrorKind;

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Under two minutes.
    Quick,
    /// Under half an hour.
    Full,
    /// So many cases of each scenario, for tests.
    Exactly(u64),
}

/// How the suite is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The scenarios to run.
    pub scenarios: Vec<Scenario>,
    /// What chance decides follows from this.
    pub seed: u64,
    /// How much is tried.
    pub depth: Depth,
    /// Only this case of each scenario.
    pub case: Option<u64>,
    /// Cases that are run at once.
    pub threads: usize,
    /// A protection that is switched off, to see that it is noticed.
    #[cfg(feature = "testing")]
    pub without: Option<crate::protection::Protection>,
}

impl Options {
    /// Runs these scenarios quickly, two cases at once.
    #[must_use]
    pub fn new(scenarios: Vec<Scenario>) -> Self {
        Self {
            scenarios,
            seed: 1,
            depth: Depth::Quick,
            case: None,
            threads: 2,
            #[cfg(feature = "testing")]
            without: None,
        }
    }
}

/// Where real faults are made, and with what.
#[derive(Debug, Clone)]
pub struct Ground {
    /// A directory that is there; what is tried goes into directories of its own beneath it.
    pub dir: PathBuf,
    /// The program that plays the parts of other processes.
    pub program: PathBuf,
    /// The disk that `dir` lies on.
    pub disk: Arc<dyn Disk>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Why the suite cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A scenario file is wrong.
    #[error("the scenario {file} cannot be used: {why}")]
    Scenario {
        /// Which.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such scenario.
    #[error("there is no scenario {name}")]
    Unknown {
        /// As it was asked for.
        name: String,
    },
}

impl Error {
    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Scenario { .. } => ErrorKind::Usage,
            Self::Unknown { .. } => ErrorKind::NotFound,
        }
    }
}
