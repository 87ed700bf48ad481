//! Everything that is looked at from outside while a command runs, as sightings.
//!
//! Each look reads what is new: what was printed, what the processes took, state files that settled,
//! lines of the transcript. It blocks, and is made in a thread that may. What cannot be seen is told
//! once and makes nothing fail.

use std::path::Path;
use std::time::Duration;

use super::pace::Pace;
use super::places::Places;
use super::relay::Counter;
use super::settling::Settling;
use super::transcript::{Follower, Polled};
use super::usage::{Sampler, family};
use crate::disk::process;
use crate::drift::Sighting;
use crate::drift::sighting::{Condition, StateFileSeen};
use crate::supervise::Options;

/// Processes are looked at once in so many looks at the output: they are the same for long.
const PROCESSES_EVERY: u32 = 6;

/// What a look brought.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub sightings: Vec<Sighting>,
    /// What is wrong with looking.
    pub trouble: Vec<String>,
}

/// What looks, and what it remembers.
#[derive(Debug)]
pub(crate) struct Gatherer {
    places: Places,
    settling: Settling,
    follower: Option<Follower>,
    output: Counter,
    pace: Pace,
    sampler: Sampler,
    /// The command's group, while there is one.
    group: Option<i32>,
    processes_every: Duration,
    /// When processes are looked at next.
    processes_at: Duration,
}

impl Gatherer {
    pub(crate) fn new(places: Places, follower: Option<Follower>, options: &Options) -> Self {
        let every = options.look_every.as_duration();
        Self {
            places,
            settling: Settling::new(options.state_settle.as_duration()),
            follower,
            output: Counter::default(),
            pace: Pace::new(every),
            sampler: Sampler::default(),
            group: None,
            processes_every: every.saturating_mul(PROCESSES_EVERY),
            processes_at: Duration::ZERO,
        }
    }

    /// A command began.
    pub(crate) fn begin(&mut self, group: i32, output: Counter) {
        self.group = Some(group);
        self.output = output;
        self.sampler = Sampler::default();
        self.processes_at = Duration::ZERO;
        self.settling.begin();
    }

    /// Looks at everything.
    pub(crate) fn look(&mut self, now: Duration) -> Gathered {
        let mut gathered = Gathered::default();
        let printed = self.pace.take(self.output.count(), now);
        gathered.sightings.extend(printed.map(Sighting::Output));
        gathered.trouble.extend(self.output.trouble());
        self.look_at_processes(now, &mut gathered);
        self.look_at_state(now, &mut gathered);
        self.look_at_transcript(&mut gathered);
        gathered
    }

    /// Looks for the last time at what a command left: its words. What became of its files is seen
    /// by those who put them right.
    pub(crate) fn end(&mut self) -> Gathered {
        self.group = None;
        let mut gathered = Gathered::default();
        let printed = self.pace.end(self.output.count());
        gathered.sightings.extend(printed.map(Sighting::Output));
        gathered.trouble.extend(self.output.trouble());
        self.look_at_transcript(&mut gathered);
        gathered
    }

    fn look_at_processes(&mut self, now: Duration, gathered: &mut Gathered) {
        let Some(group) = self.group.filter(|_| now >= self.processes_at) else { return };
        self.processes_at = now + self.processes_every;
        gathered.sightings.extend(self.sampler.look(group, now).map(Sighting::Process));
    }

    fn look_at_state(&mut self, now: Duration, gathered: &mut Gathered) {
        for path in self.settling.due(self.places.standing(), now) {
            match self.places.judge(&path) {
                Ok(Some(condition)) => {
                    if condition == Condition::Whole || self.is_meant(&path, now) {
                        self.settling.judged(&path);
                        let seen = StateFileSeen { path, condition };
                        gathered.sightings.push(Sighting::StateFile(seen));
                    }
                }
                Ok(None) => self.settling.judged(&path),
                Err(error) => {
                    self.settling.judged(&path);
                    let why = format!("{} cannot be looked at: {error}", path.display());
                    gathered.trouble.push(why);
                }
            }
        }
    }

    /// Whether a file that is not whole is meant to be so: it lasts, nobody is writing it, and nobody
    /// was when it was read.
    fn is_meant(&self, path: &Path, now: Duration) -> bool {
        // In this order: who wrote until a moment ago left another file than the one that was judged.
        self.settling.is_lasting(path, now)
            && !self.is_being_written(path)
            && self.settling.is_as_seen(path, self.places.print(path))
    }

    fn is_being_written(&self, path: &Path) -> bool {
        let Some(group) = self.group else { return false };
        family(group).iter().any(|one| process::writes(one.pid, path))
    }

    fn look_at_transcript(&mut self, gathered: &mut Gathered) {
        let Some(follower) = &mut self.follower else { return };
        let Polled { told, trouble } = follower.poll();
        gathered.sightings.extend(told.into_iter().map(Sighting::Observation));
        gathered.trouble.extend(trouble);
    }
}
