//! A life whose process dies at any call it makes of the disk.
//!
//! The life is played once to count its calls and to learn what is held after each step. In each case
//! it is played again and dies at one call, the machine meets its fate, and the store is opened: it
//! must hold what it held before the step that was being done, or after it. Where the scenario says
//! so the opening dies too, at any of its own calls.

use std::collections::BTreeSet;
use std::time::Duration;

use super::life::{self, Held, Image, agents, clock, expected, held, image, options, play};
use super::scenario::{Expectation, Fate, Scenario};
use super::steps::Step;
use super::trial::{Broken, Case, Outcome, Trial, Tried, ensure};
use crate::disk::{FaultDisk, Loss, MemoryDisk, Op};
use crate::manager::{CheckpointManager, Options};

/// What the fault of the scenario asks for.
#[derive(Debug, Clone)]
pub(super) struct Plan<'a> {
    pub fates: &'a [Fate],
    pub recovery_too: bool,
    pub syncs_take: Duration,
}

struct Told<'a> {
    scenario: &'a Scenario,
    steps: &'a [Step],
    plan: Plan<'a>,
    agents: BTreeSet<String>,
    moments: Vec<Held>,
    calls: u64,
}

/// A life that was ended, and where.
struct Ended {
    disk: MemoryDisk,
    /// Steps that were acknowledged.
    done: usize,
    tale: String,
}

pub(super) fn trial<'a>(
    scenario: &'a Scenario,
    steps: &'a [Step],
    plan: Plan<'a>,
) -> Result<Trial<'a>, Broken> {
    let told = Told::new(scenario, steps, plan)?;
    let cases = told.calls * told.plan.fates.len() as u64;
    Ok(Trial::simulated(cases, move |case, tried| told.try_case(case, tried)))
}

impl Fate {
    pub(super) fn befall(self, disk: &MemoryDisk, case: Case) -> MemoryDisk {
        let loss = match self {
            Self::GoesOn => return disk.clone(),
            Self::LosesAll => Loss::All,
            Self::LosesNone => Loss::None,
            Self::LosesAny => Loss::Random(case.draw(1, u64::MAX)),
            Self::LosesTheLast => {
                let pending = disk.pending_changes() as u64;
                Loss::Prefix(usize::try_from(case.draw(1, pending + 1)).unwrap_or(0))
            }
            Self::LosesAsAJournal => Loss::Ordered(case.draw(1, u64::MAX)),
        };
        disk.crash(loss)
    }
}

impl<'a> Told<'a> {
    fn new(scenario: &'a Scenario, steps: &'a [Step], plan: Plan<'a>) -> Result<Self, Broken> {
        let disk = FaultDisk::over(&MemoryDisk::new());
        let played = play(steps, options(disk.clone(), clock()));
        if let Some(error) = played.stopped {
            let why = format!("step {} fails by itself", steps[played.done]);
            return Err(Broken::from(error).after(why));
        }
        let (calls, moments) = (disk.total(), expected(steps)?);
        Ok(Self { scenario, steps, plan, agents: agents(steps), moments, calls })
    }

    fn options(&self, disk: std::sync::Arc<FaultDisk>) -> Options {
        let clock = clock();
        if self.plan.syncs_take > Duration::ZERO {
            disk.slow(Op::Sync, self.plan.syncs_take, clock.clone());
        }
        options(disk, clock)
    }

    fn try_case(&self, case: Case, tried: &mut Tried) -> Outcome {
        let fates = self.plan.fates;
        let count = fates.len() as u64;
        let fate = fates[usize::try_from(case.number % count).unwrap_or(0)];
        let ended = self.end_at(case.number / count % self.calls);
        tried.crash_points += 1;
        let left = fate.befall(&ended.disk, case);
        let tale = format!("{}, then {fate:?}", ended.tale);
        if !self.plan.recovery_too {
            return self.check_opening(&ended, &left, tried).map_err(|it| it.after(tale).on(&left));
        }
        let (left, again) = self.end_its_recovery(&left, case);
        tried.crash_points += 1;
        let tale = format!("{tale}, {again}");
        self.check_opening(&ended, &left, tried).map_err(|it| it.after(tale).on(&left))
    }

    fn end_at(&self, call: u64) -> Ended {
        let disk = MemoryDisk::new();
        let fault = FaultDisk::over(&disk);
        fault.stop_at(call);
        let played = play(self.steps, self.options(fault));
        let doing = self.steps.get(played.done).map_or("the end".to_owned(), Step::to_string);
        let tale = format!("ended at call {call} of {}, in {doing}", self.calls);
        Ended { disk, done: played.done, tale }
    }

    /// Lets the start that follows die too, and the machine meet another fate.
    fn end_its_recovery(&self, left: &MemoryDisk, case: Case) -> (MemoryDisk, String) {
        let open = |disk: &MemoryDisk, stop: u64| {
            let fault = FaultDisk::over(disk);
            fault.stop_at(stop);
            drop(CheckpointManager::open(options(fault.clone(), clock())));
            fault.total()
        };
        let calls = open(&left.crash(Loss::None), u64::MAX);
        let stop = case.draw(2, calls);
        open(left, stop);
        let fates = self.plan.fates;
        let fate = fates[usize::try_from(case.draw(3, fates.len() as u64)).unwrap_or(0)];
        let case = Case { number: case.number, seed: case.seed ^ 4 };
        let tale = format!("its recovery ended at call {stop} of {calls}, then {fate:?}");
        (fate.befall(left, case), tale)
    }

    /// Opens what a crash left and checks it; then that what was served stays.
    fn check_opening(&self, ended: &Ended, disk: &MemoryDisk, tried: &mut Tried) -> Outcome {
        let found = self.look(disk, tried)?;
        self.check_held(ended, &found)?;
        if self.scenario.expects(Expectation::ServedStays) {
            let again = self.look(&disk.crash(Loss::All), tried);
            let again = again.map_err(|it| it.after("served, then power went"))?;
            ensure(again == found, || "what was served went with the power".to_owned())?;
        }
        if self.scenario.expects(Expectation::SecondStartIsQuiet) {
            let served = image(disk);
            let left = served.keys().find(|path| path.to_string_lossy().contains("/.tmp-"));
            ensure(left.is_none(), || format!("{left:?} was left behind"))?;
            let again = self.look(disk, tried)?;
            ensure(again == found, || "a second start shows something else".to_owned())?;
            let changed = changes(&served, &image(disk));
            ensure(changed.is_empty(), || format!("a second start changed {changed:?}"))?;
        }
        Ok(())
    }

    /// Opens the store and reads everything.
    fn look(&self, disk: &MemoryDisk, tried: &mut Tried) -> Result<Held, Broken> {
        let manager = CheckpointManager::open(options(disk.shared(), clock()))
            .map_err(|error| Broken::from(error).after("cannot open"))?;
        let damage = manager.status().damage;
        let is_told = self.scenario.expects(Expectation::CrashIsNoDamage);
        ensure(damage.is_empty() || !is_told, || format!("a crash is called damage: {damage:?}"))?;
        held(&manager, &self.agents, tried).map_err(|it| it.after("cannot read"))
    }

    /// Whether what was found is what was held before or after the step that was being done.
    fn check_held(&self, ended: &Ended, found: &Held) -> Outcome {
        let before = &self.moments[ended.done];
        let after = self.moments.get(ended.done + 1).unwrap_or(before);
        if found == before || found == after {
            return Ok(());
        }
        let step = self.steps.get(ended.done);
        let is_half = step.is_some_and(Step::is_one_batch);
        for (agent, found) in found {
            let (before, after) = (&before[agent], &after[agent]);
            let both = &before.checkpoints & &after.checkpoints;
            let lost: Vec<_> = both.difference(&found.checkpoints).collect();
            if !lost.is_empty() && self.scenario.expects(Expectation::NothingLost) {
                return Err(Broken::lost(lost.len(), format!("{agent} lost {lost:?}")));
            }
            if self.scenario.expects(Expectation::NothingHalf) {
                check_whole(agent, found, [before, after])?;
            }
        }
        let expects = self.scenario.expects(Expectation::NothingHalf);
        ensure(!(is_half && expects), || format!("half of {step:?} is served: {found:#?}"))
    }
}

fn check_whole(agent: &str, found: &life::Shelf, around: [&life::Shelf; 2]) -> Outcome {
    let [before, after] = around;
    let known = &before.checkpoints | &after.checkpoints;
    let odd: Vec<_> = found.checkpoints.difference(&known).collect();
    ensure(odd.is_empty(), || format!("{agent} has {odd:?}, which nobody made"))?;
    let latest = [before.latest, after.latest];
    ensure(latest.contains(&found.latest), || format!("latest of {agent} is another"))?;
    let operations = [&before.operations, &after.operations];
    ensure(operations.contains(&&found.operations), || {
        format!("the operations of {agent} are {:?}", found.operations)
    })
}

fn changes(before: &Image, after: &Image) -> Vec<String> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differ = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differ.map(|name| name.display().to_string()).collect()
}
