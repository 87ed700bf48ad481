//! A life in which any call of the disk fails, once or from then on.
//!
//! The process lives on. What it was answered must hold in it, after it is killed, and after the
//! power goes; a commit that fails must say so with every attempt; and once the fault is gone the
//! next commit works.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustix::io::Errno;

use super::life::{clock, options, state};
use super::scenario::{CallKind, Expectation, Failure, Lasting, Scenario};
use super::steps::{Act, Step};
use super::trial::{Broken, Case, Outcome, Trial, Tried, ensure};
use crate::clock::{Clock, ManualClock};
use crate::disk::{Call, Disk, Fault, FaultDisk, Loss, MemoryDisk, Op};
use crate::error::ErrorKind;
use crate::manager::{CheckpointManager, Error, Options, RestoreOptions};
use crate::state::{CheckpointId, Kind};

impl Failure {
    pub(super) fn errno(self) -> Errno {
        match self {
            Self::Io => Errno::IO,
            Self::Full => Errno::NOSPC,
            Self::Quota => Errno::DQUOT,
            Self::ReadOnly => Errno::ROFS,
            Self::Denied => Errno::ACCESS,
            Self::Interrupted => Errno::INTR,
            Self::Again => Errno::AGAIN,
            Self::TimedOut => Errno::TIMEDOUT,
        }
    }
}

impl CallKind {
    fn op(self) -> Op {
        match self {
            Self::Read => Op::Read,
            Self::Write => Op::Write,
            Self::Sync => Op::Sync,
            Self::SyncDirectory => Op::SyncDir,
            Self::Rename => Op::Rename,
            Self::Open => Op::Open,
            Self::MakeDirectory => Op::CreateDir,
            Self::Remove => Op::RemoveFile,
        }
    }
}

/// What the fault of the scenario asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    pub with: &'a [Failure],
    pub lasting: Lasting,
    pub of: &'a [CallKind],
}

/// A place where the life can be struck.
#[derive(Debug, Clone)]
struct Strike {
    op: Option<Op>,
    /// How many calls of the kind pass before.
    passed: u64,
    /// Bytes of the write that go through before it fails.
    bytes: usize,
}

struct Told<'a> {
    scenario: &'a Scenario,
    steps: &'a [Step],
    plan: Plan<'a>,
    strikes: Vec<Strike>,
}

/// What an agent was answered.
#[derive(Default)]
struct Answers(BTreeMap<(String, CheckpointId), Vec<u8>>);

fn keep_all(disk: Arc<dyn Disk>, clock: Arc<ManualClock>) -> Options {
    let mut options = options(disk, clock);
    for rules in [
        &mut options.retention.routine,
        &mut options.retention.recovery,
        &mut options.retention.pre_operation,
    ] {
        rules.keep_last = 1000;
    }
    options
}

pub(super) fn trial<'a>(
    scenario: &'a Scenario,
    steps: &'a [Step],
    plan: Plan<'a>,
) -> Result<Trial<'a>, Broken> {
    let disk = FaultDisk::over(&MemoryDisk::new());
    let mut told = Told { scenario, steps, plan, strikes: Vec::new() };
    let whole = told.live(&disk, &mut Answers::default())?;
    drop(whole.ok_or_else(|| Broken::new("the life fails by itself"))?);
    told.strikes = strikes(&disk.calls(), plan);
    let cases = (told.strikes.len() * plan.with.len()) as u64;
    ensure(cases > 0, || "no call of the life is of a kind that is to fail".to_owned())?;
    let mut trial = Trial::simulated(cases, move |case, tried| told.try_case(case, tried));
    trial.is_endless = false;
    Ok(trial)
}

fn strikes(calls: &[Call], plan: Plan<'_>) -> Vec<Strike> {
    if plan.lasting == Lasting::HalfWay {
        let writes = calls.iter().filter(|call| call.op == Op::Write);
        return writes.zip(0..).flat_map(|(call, passed)| half_ways(call, passed)).collect();
    }
    if plan.of.is_empty() {
        // The name of the store's own directory is the user's: where it can be neither synced nor
        // taken away again, there is no other to use.
        let makes_log = |call: &Call| call.op == Op::CreateDir && call.path.ends_with("log");
        let first = match plan.lasting {
            Lasting::FromThenOn => calls.iter().position(makes_log).unwrap_or(0),
            Lasting::Once | Lasting::HalfWay => 0,
        };
        let all = first as u64..calls.len() as u64;
        return all.map(|passed| Strike { op: None, passed, bytes: 0 }).collect();
    }
    let of_kind = |kind: &CallKind| {
        let op = kind.op();
        let count = calls.iter().filter(|call| call.op == op).count() as u64;
        (0..count).map(move |passed| Strike { op: Some(op), passed, bytes: 0 })
    };
    plan.of.iter().flat_map(of_kind).collect()
}

fn half_ways(call: &Call, passed: u64) -> Vec<Strike> {
    let len = usize::try_from(call.bytes).unwrap_or(usize::MAX);
    let parts = [1, 80, len / 2, len.saturating_sub(1)];
    let strike = |bytes| Strike { op: Some(Op::Write), passed, bytes };
    parts.into_iter().filter(|part| *part < len).map(strike).collect()
}

impl Told<'_> {
    fn fault(&self, strike: &Strike, failure: Failure) -> Fault {
        let fault = Fault::new(failure.errno()).skipping(strike.passed).after_bytes(strike.bytes);
        let fault = match strike.op {
            Some(op) => fault.on(op),
            None => fault,
        };
        match self.plan.lasting {
            Lasting::Once | Lasting::HalfWay => fault.times(1),
            Lasting::FromThenOn => fault,
        }
    }

    fn try_case(&self, case: Case, tried: &mut Tried) -> Outcome {
        let kinds = self.plan.with.len() as u64;
        let failure = self.plan.with[usize::try_from(case.number % kinds).unwrap_or(0)];
        let at = usize::try_from(case.number / kinds).unwrap_or(0) % self.strikes.len();
        let strike = &self.strikes[at];
        tried.faults += 1;
        let memory = MemoryDisk::new();
        let what = strike.op.map_or("call".to_owned(), |op| format!("{op:?}"));
        let tale = format!("{what} {} failed with {failure:?}", strike.passed);
        self.try_strike(self.fault(strike, failure), &memory, tried)
            .map_err(|broken| broken.after(tale).on(&memory))
    }

    fn try_strike(&self, fault: Fault, memory: &MemoryDisk, tried: &mut Tried) -> Outcome {
        let disk = FaultDisk::over(memory);
        disk.inject(fault);
        let mut answers = Answers::default();
        let manager = self.live(&disk, &mut answers)?;
        disk.heal();
        let manager = match manager {
            Some(manager) => manager,
            None => CheckpointManager::open(keep_all(disk.clone(), clock()))
                .map_err(|error| Broken::from(error).after("the fault is gone"))?,
        };
        if self.scenario.expects(Expectation::GoesOn) {
            let stored = self.keep(&manager, "a", state(99, 2500), &mut answers)?;
            ensure(stored, || "no commit works after the fault is gone".to_owned())?;
        }
        // What a disk refused to read when the store was opened is reported, and missing until then.
        if manager.status().damage.is_empty() {
            answers.check(&manager, tried).map_err(|it| it.after("in the same process"))?;
        }
        drop(manager);
        for loss in [Loss::All, Loss::Random(5), Loss::Ordered(2)] {
            let left = memory.crash(loss);
            let mut check = || -> Outcome {
                let manager = CheckpointManager::open(keep_all(left.shared(), clock()))?;
                answers.check(&manager, tried)
            };
            check().map_err(|it| it.after(format!("then {loss:?}")).on(&left))?;
        }
        let manager = CheckpointManager::open(keep_all(disk, clock()))?;
        answers.check(&manager, tried).map_err(|it| it.after("then killed"))
    }

    /// Lives through the steps, whatever fails; gives the process it ended with.
    fn live(
        &self,
        disk: &Arc<FaultDisk>,
        answers: &mut Answers,
    ) -> Result<Option<CheckpointManager>, Broken> {
        let clock = clock();
        let open = || CheckpointManager::open(keep_all(disk.clone(), clock.clone())).ok();
        let mut manager = open();
        for (played, step) in self.steps.iter().enumerate() {
            if step.act == Act::Reopen {
                manager = None;
            }
            if manager.is_none() {
                manager = open();
            }
            let Some(manager) = &manager else { continue };
            let began = clock.monotonic();
            self.step(manager, step, played, answers).map_err(|it| it.after(step))?;
            let took = clock.monotonic().saturating_sub(began);
            let is_bounded = took.as_secs() < 60 || !self.scenario.expects(Expectation::Bounded);
            ensure(is_bounded, || format!("{step} was tried for {took:?}"))?;
        }
        Ok(manager)
    }

    fn step(
        &self,
        manager: &CheckpointManager,
        step: &Step,
        played: usize,
        answers: &mut Answers,
    ) -> Outcome {
        match &step.act {
            Act::Keep { agent, bytes, .. } => {
                self.keep(manager, agent, state(played, *bytes), answers).map(drop)
            }
            Act::Settle => may_fail(manager.settle()),
            Act::Prune => may_fail(manager.prune(&mut |_| {}).map(drop)),
            Act::MakeSegment => may_fail(manager.make_segments_ahead()),
            Act::Begin { agent, operation } => {
                let begun = manager.agent(agent)?.begin_operation(operation);
                may_fail(begun.map(|begun| drop(begun.detach())))
            }
            Act::Close { agent, operation, outcome } => {
                let agent = manager.agent(agent)?;
                may_fail(agent.close_operation(operation, *outcome, "").map(drop))
            }
            Act::Patch { agent } => {
                let request = manager.agent(agent)?.checkpoint(Kind::Routine);
                may_fail(request.patch(b"{\"patched\":1}".to_vec()).commit().map(drop))
            }
            Act::Undo { agent } => {
                may_fail(manager.agent(agent)?.undo(&RestoreOptions::default()).map(drop))
            }
            Act::Restore { agent, .. } => {
                let options = RestoreOptions::default();
                may_fail(manager.agent(agent)?.restore("latest", &options).map(drop))
            }
            Act::Reopen => Ok(()),
            Act::Reset { .. } | Act::Forget { .. } => {
                let why = "a life whose calls fail keeps everything: it has no reset and no forget";
                Err(Broken::new(why))
            }
        }
    }

    fn keep(
        &self,
        manager: &CheckpointManager,
        agent: &str,
        bytes: Vec<u8>,
        answers: &mut Answers,
    ) -> Result<bool, Broken> {
        let request = manager.agent(agent)?.checkpoint(Kind::Routine);
        match request.state_bytes(bytes.clone()).commit() {
            Ok(receipt) => {
                let id = receipt.checkpoint.checkpoint_id;
                answers.0.insert((agent.to_owned(), id), bytes);
                Ok(true)
            }
            Err(error) if self.scenario.expects(Expectation::FailureIsTold) => {
                let is_told = error.kind() == ErrorKind::Unstored
                    && !error.attempts().is_empty()
                    && error.attempts().iter().all(|attempt| attempt.error.is_some());
                ensure(is_told, || format!("it failed without saying how: {error}"))?;
                Ok(false)
            }
            Err(_) => Ok(false),
        }
    }
}

impl Answers {
    /// Everything that was acknowledged is there, byte for byte.
    fn check(&self, manager: &CheckpointManager, tried: &mut Tried) -> Outcome {
        for ((agent, id), bytes) in &self.0 {
            let read = manager.agent(agent)?.read_checkpoint(id.to_string());
            let read = read.map_err(|error| Broken::lost(1, format!("lost: {error}")))?;
            tried.read(bytes.len());
            if read.state_bytes() != Some(&**bytes) {
                return Err(Broken::lost(1, format!("{id} of {agent} is read as other bytes")));
            }
        }
        Ok(())
    }
}

/// What is not a commit may be left undone when the disk fails.
fn may_fail(done: Result<(), Error>) -> Outcome {
    let Err(error) = done else { return Ok(()) };
    let kinds = [
        ErrorKind::Failed,
        ErrorKind::Unstored,
        ErrorKind::NotFound,
        ErrorKind::Damaged,
        ErrorKind::Unavailable,
        ErrorKind::Refused,
        // Where what came before was not kept there is nothing to begin from.
        ErrorKind::Usage,
    ];
    ensure(kinds.contains(&error.kind()), || format!("{:?}: {error}", error.kind()))
}
