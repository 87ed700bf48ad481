//! Runs scenarios: their cases, shared by a few threads, and what came of them.
//!
//! Which cases are run follows from the seed alone. Where a scenario has more of them than are asked
//! for they are spread evenly; where it has fewer, and chance decides something in them, they are run
//! again with other draws. A scenario that failed a few times is not run on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::environment::Level;
use super::report::{Failed, Report, Told, Verdict};
use super::scenario::Scenario;
use super::trial::{Broken, Case, Trial, Tried, mix};
use super::trials::{Prepared, prepare};
use super::{Depth, Ground, Options, environment, scratch};
use crate::disk::{self, Durability};

/// A scenario that broke this often is not run on.
const FAILURES_MAX: usize = 3;
/// Cases that a thread takes at once, so that short ones cost no waiting.
const TAKEN_AT_ONCE: u64 = 4;
/// Files of evidence are written up to this length each.
const EVIDENCE_BYTES_MAX: usize = 64 << 20;

/// A scenario that is being run.
struct Running<'a> {
    scenario: &'a Scenario,
    trial: Trial<'a>,
    chosen: Chosen,
    next: AtomicU64,
    told: Mutex<(Tried, Vec<Failed>)>,
}

/// The cases that are run, in their order.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    only: Option<u64>,
    seed: u64,
    cases: u64,
    count: u64,
}

impl Chosen {
    fn new(trial: &Trial<'_>, limit: u64, options: &Options) -> Self {
        let count = match options.case {
            Some(_) => 1,
            None if trial.is_endless => limit,
            None => limit.min(trial.cases),
        };
        Self { only: options.case, seed: options.seed, cases: trial.cases.max(1), count }
    }

    /// The `n`th case: an even spread over all there are, then all again with other draws.
    fn index(self, n: u64) -> u64 {
        if let Some(only) = self.only {
            return only;
        }
        let (round, place) = (n / self.cases, n % self.cases);
        let start = mix(self.seed, 0) % self.cases;
        let step = u128::from(step(self.cases));
        let spread = (u128::from(start) + u128::from(place) * step) % u128::from(self.cases);
        round * self.cases + u64::try_from(spread).unwrap_or(0)
    }

    fn case(self, index: u64) -> Case {
        Case { number: index % self.cases, seed: mix(self.seed, index) }
    }
}

/// A step that visits each of `cases` places once and spreads any number of them evenly: about
/// 0.618 of them, the golden ratio, without a common divisor.
fn step(cases: u64) -> u64 {
    let golden = u64::try_from(u128::from(cases) * 618_034 / 1_000_000).unwrap_or(1).max(1);
    // The next one without a common divisor is never far.
    (golden..golden.saturating_add(1000)).find(|step| gcd(*step, cases) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn limit(scenario: &Scenario, depth: Depth) -> u64 {
    match depth {
        Depth::Quick => scenario.limits.quick,
        Depth::Full => scenario.limits.full,
        Depth::Exactly(count) => count,
    }
}

/// Runs the scenarios and tells `progress` how many cases of how many are done; several threads
/// tell.
#[must_use]
pub fn run(options: &Options, ground: &Ground, progress: &(dyn Fn(u64, u64) + Sync)) -> Report {
    let began = ground.clock.monotonic();
    let environment = environment::examine(&*ground.disk, &*ground.clock, &ground.dir);
    // Real faults need ground that carries; without it only what is simulated can be told.
    let problem = environment.iter().find(|one| one.level == Level::Problem);
    let mut slots: Vec<Result<Running<'_>, Told>> = Vec::new();
    for scenario in &options.scenarios {
        slots.push(match prepare_safely(scenario, ground) {
            Ok(Prepared::Ready(trial)) if trial.is_real && problem.is_some() => {
                let why = problem.map(|one| one.message.clone()).unwrap_or_default();
                Err(Told::skipped(scenario, why))
            }
            Ok(Prepared::Ready(trial)) => {
                let chosen = Chosen::new(&trial, limit(scenario, options.depth), options);
                let (next, told) = (AtomicU64::new(0), Mutex::default());
                Ok(Running { scenario, trial, chosen, next, told })
            }
            Ok(Prepared::Skipped(why)) => Err(Told::skipped(scenario, why)),
            Err(broken) => Err(Told::unfit(scenario, broken.why)),
        });
    }
    let running: Vec<&Running<'_>> = slots.iter().filter_map(|slot| slot.as_ref().ok()).collect();
    let total = running.iter().map(|one| one.chosen.count).sum();
    let done = AtomicU64::new(0);
    let tell = || progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
    run_all(options, ground, &running, &tell);
    drop(running);
    let told = slots.into_iter().map(|slot| slot.map_or_else(|told| told, Running::told));
    let took = ground.clock.monotonic().saturating_sub(began);
    let told = told.collect();
    Report::new(options, environment, told, took)
}

fn prepare_safely<'a>(scenario: &'a Scenario, ground: &'a Ground) -> Result<Prepared<'a>, Broken> {
    catch_unwind(AssertUnwindSafe(|| prepare(scenario, ground)))
        .unwrap_or_else(|_| Err(Broken::new("getting it ready panicked")))
}

fn run_all(options: &Options, ground: &Ground, running: &[&Running<'_>], tell: &(dyn Fn() + Sync)) {
    let first = AtomicUsize::new(0);
    let worker = || {
        // Each thread begins with another scenario, so that real and simulated ones share the time.
        let start = first.fetch_add(running.len() / options.threads.max(1), Ordering::Relaxed);
        for at in 0..running.len() {
            let one = running[(start + at) % running.len()];
            run_cases(options, ground, one, tell);
        }
    };
    #[cfg(feature = "testing")]
    let worker = || crate::protection::without(options.without, worker);
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(worker);
        }
    });
}

fn run_cases(options: &Options, ground: &Ground, one: &Running<'_>, tell: &(dyn Fn() + Sync)) {
    let at_once = if one.trial.is_real { 1 } else { TAKEN_AT_ONCE };
    loop {
        let from = one.next.fetch_add(at_once, Ordering::Relaxed);
        if from >= one.chosen.count {
            return;
        }
        for n in from..one.chosen.count.min(from + at_once) {
            if one.told.lock().1.len() >= FAILURES_MAX {
                return;
            }
            let index = one.chosen.index(n);
            let mut tried = Tried::default();
            let outcome = try_safely(one, one.chosen.case(index), &mut tried);
            tried.cases = 1;
            let failed = outcome.err().map(|broken| {
                tried.lost += broken.lost;
                failed(options, ground, one, (index, broken))
            });
            let mut told = one.told.lock();
            told.0 += tried;
            told.1.extend(failed);
            drop(told);
            tell();
        }
    }
}

fn try_safely(one: &Running<'_>, case: Case, tried: &mut Tried) -> Result<(), Broken> {
    let outcome = catch_unwind(AssertUnwindSafe(|| (one.trial.try_case)(case, tried)));
    outcome.unwrap_or_else(|_| Err(Broken::new("the program panicked")))
}

fn failed(
    options: &Options,
    ground: &Ground,
    one: &Running<'_>,
    (index, broken): (u64, Broken),
) -> Failed {
    let name = &one.scenario.name;
    let evidence = keep_evidence(ground, name, index, &broken);
    let seed = options.seed;
    Failed {
        case: index,
        seed,
        why: broken.why,
        command: format!("stateward validate {name} --seed {seed} --case {index}"),
        evidence: evidence
            .inspect_err(|error| {
                tracing::warn!(scenario = name, %error, "the evidence cannot be kept");
            })
            .ok(),
    }
}

/// Writes what was found on a simulated disk, and why it is wrong, under the suite's directory.
fn keep_evidence(
    ground: &Ground,
    name: &str,
    index: u64,
    broken: &Broken,
) -> std::io::Result<std::path::PathBuf> {
    let disk = &*ground.disk;
    let dir = ground.dir.join(format!("evidence-{name}-{index}"));
    if disk.metadata(&dir).is_ok() {
        scratch::remove_all(disk, &dir)?;
    }
    disk::create_dir_all_durable(disk, &dir)?;
    let write = |path: &std::path::Path, bytes: &[u8]| {
        disk::publish(disk, path, bytes, Durability::Unsynced).map_err(disk::PublishError::into_io)
    };
    write(&dir.join("why.txt"), broken.why.as_bytes())?;
    for (path, bytes) in broken.evidence.iter().flat_map(disk::MemoryDisk::image) {
        let to = dir.join(path.strip_prefix("/").unwrap_or(&path));
        if let Some(above) = to.parent() {
            disk::create_dir_all_durable(disk, above)?;
        }
        write(&to, &bytes[..bytes.len().min(EVIDENCE_BYTES_MAX)])?;
    }
    Ok(dir)
}

impl Running<'_> {
    fn told(self) -> Told {
        let (tried, mut failed) = self.told.into_inner();
        failed.sort_by_key(|one| one.case);
        let verdict = if failed.is_empty() { Verdict::Holds } else { Verdict::Broken };
        Told { verdict, tried, failed, ..Told::of(self.scenario) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_case_is_run_once_before_any_is_run_again() {
        for cases in [1, 2, 7, 100, 997, 1024] {
            let chosen = Chosen { only: None, seed: 5, cases, count: cases * 2 };
            let first: BTreeSet<u64> = (0..cases).map(|n| chosen.index(n)).collect();
            assert_eq!(first, (0..cases).collect(), "{cases}");
            assert_eq!(chosen.index(cases) / cases, 1, "{cases}");
        }
    }

    #[test]
    fn a_part_of_the_cases_is_spread_over_all_of_them() {
        let chosen = Chosen { only: None, seed: 1, cases: 10_000, count: 100 };
        let mut picked: Vec<u64> = (0..100).map(|n| chosen.index(n)).collect();
        picked.sort_unstable();
        let widest = picked.windows(2).map(|two| two[1] - two[0]).max().unwrap();
        assert!(widest < 400, "a gap of {widest}");
    }
}
