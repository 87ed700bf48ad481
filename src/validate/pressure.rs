//! Retention that keeps next to nothing, a disk budget that is always exceeded, and a clock that
//! jumps: what recovery needs is there all the same.
//!
//! What is done is drawn from the case's seed. After each act `latest` is what was kept last, each
//! open operation's checkpoint restores, and the newest restore can be taken back. Where the clock
//! jumps, nothing goes before its time by the time that truly passed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::life::{clock, options, state};
use super::scenario::{Expectation, Scenario};
use super::trial::{Broken, Case, Outcome, Trial, Tried, ensure};
use crate::clock::{Clock, ManualClock};
use crate::disk::{FaultDisk, MemoryDisk};
use crate::encode::event;
use crate::manager::{Agent, CheckpointManager, Filter, Options, RestoreOptions};
use crate::retention::KindPolicy;
use crate::state::{ByteSize, CheckpointId, Kind, Span};

/// What is younger stays, where the clock jumps.
const WITHIN: Duration = Duration::from_secs(3600);

/// Lives that chance tells apart; more than anyone runs.
const LIVES: u64 = 1_000_000;

struct World {
    clock: Arc<ManualClock>,
    options: Options,
    manager: Option<CheckpointManager>,
    acts: usize,
    latest: Option<Vec<u8>>,
    /// Open operations, by name.
    open: BTreeMap<String, (CheckpointId, Vec<u8>)>,
    /// What the newest restore replaced.
    undo: Option<Vec<u8>>,
    /// Checkpoints with the moment they were made.
    young: BTreeMap<CheckpointId, Duration>,
    jumps: bool,
}

pub(super) fn trial(scenario: &Scenario, acts: u64, days_max: u64) -> Trial<'_> {
    Trial::simulated(LIVES, move |case, tried| {
        let disk = MemoryDisk::new();
        let mut world = World::new(&disk, days_max > 0)?;
        for act in 0..acts {
            let done = world.act(case, act, days_max, tried);
            let done = done
                .and_then(|what| world.check(scenario, tried).map_err(|broken| broken.after(what)));
            done.map_err(|broken| broken.after(format!("act {act}")).on(&disk))?;
        }
        Ok(())
    })
}

impl World {
    fn new(disk: &MemoryDisk, jumps: bool) -> Result<Self, Broken> {
        let clock = clock();
        let mut options = options(FaultDisk::over(disk), clock.clone());
        let within = if jumps { Span::from_hours(1) } else { Span::ZERO };
        let nothing = KindPolicy { keep_within: within, ..KindPolicy::default() };
        options.retention.routine = nothing.clone();
        options.retention.recovery = nothing.clone();
        options.retention.pre_operation = KindPolicy { keep_until_closed: true, ..nothing };
        if !jumps {
            options.retention.disk_budget = Some(ByteSize(1));
        }
        let manager = Some(CheckpointManager::open(options.clone())?);
        Ok(Self {
            clock,
            options,
            manager,
            acts: 0,
            latest: None,
            open: BTreeMap::new(),
            undo: None,
            young: BTreeMap::new(),
            jumps,
        })
    }

    fn manager(&self) -> &CheckpointManager {
        self.manager.as_ref().expect("it is open between two acts")
    }

    fn agent(&self) -> Result<Agent, Broken> {
        Ok(self.manager().agent("a")?)
    }

    fn act(
        &mut self,
        case: Case,
        act: u64,
        days_max: u64,
        tried: &mut Tried,
    ) -> Result<&'static str, Broken> {
        self.acts += 1;
        let draw = |which: u64, below: u64| case.draw(act * 8 + which, below);
        self.clock.advance(Duration::from_secs(draw(1, 600)));
        match draw(0, 12) {
            6 => self.begin(),
            7 => self.close(draw(2, 2) == 0),
            8 => self.restore(draw(2, 8)),
            9 => self.take_back(),
            10 => {
                self.manager().settle()?;
                self.manager().prune(&mut |_| {})?;
                Ok("pruned")
            }
            11 if days_max > 0 => {
                let days = Duration::from_secs(draw(2, days_max * 86_400));
                let now = self.clock.now();
                let then =
                    now.unix_ms().saturating_sub(i64::try_from(days.as_millis()).unwrap_or(0));
                let back = crate::state::Timestamp::from_unix_ms(then);
                self.clock.jump_to(if draw(3, 2) == 0 { now.plus(days) } else { back });
                tried.faults += 1;
                Ok("the clock jumped")
            }
            11 => self.reopen(),
            _ => self.keep(60 + usize::try_from(draw(2, 6000)).unwrap_or(0)),
        }
    }

    fn keep(&mut self, bytes: usize) -> Result<&'static str, Broken> {
        let bytes = state(self.acts, bytes);
        let request = self.agent()?.checkpoint(Kind::Routine);
        let receipt = request.state_bytes(bytes.clone()).commit()?;
        self.young.insert(receipt.checkpoint.checkpoint_id, self.clock.monotonic());
        self.latest = Some(bytes);
        Ok("kept")
    }

    fn begin(&mut self) -> Result<&'static str, Broken> {
        let Some(bytes) = self.latest.clone() else { return Ok("nothing to begin from") };
        let name = format!("operation-{}", self.acts);
        let request = self.agent()?.checkpoint(Kind::PreOperation);
        let receipt = request.state_bytes(bytes.clone()).opens(&name).commit()?;
        self.open.insert(name, (receipt.checkpoint.checkpoint_id, bytes));
        Ok("began an operation")
    }

    fn close(&mut self, well: bool) -> Result<&'static str, Broken> {
        let Some((name, _)) = self.open.pop_first() else { return Ok("no operation is open") };
        let outcome = if well { event::Outcome::Completed } else { event::Outcome::Failed };
        self.agent()?.close_operation(&name, outcome, "")?;
        Ok("closed an operation")
    }

    fn restore(&mut self, back: u64) -> Result<&'static str, Broken> {
        let agent = self.agent()?;
        let all = agent.list_checkpoints(Filter::default())?;
        let Some(before) = self.latest.clone() else { return Ok("nothing to restore") };
        let one = &all[usize::try_from(back).unwrap_or(0) % all.len()];
        let id = one.checkpoint_id.to_string();
        let bytes = agent.read_checkpoint(&id)?.state_bytes().map(<[u8]>::to_vec);
        agent.restore(&id, &RestoreOptions::default())?;
        self.undo = Some(before);
        self.latest = bytes;
        Ok("restored")
    }

    fn take_back(&mut self) -> Result<&'static str, Broken> {
        let Some(before) = self.undo.take() else { return Ok("nothing to take back") };
        let undone = self.agent()?.undo(&RestoreOptions::default());
        undone.map_err(|error| Broken::lost(1, format!("what undo needs is gone: {error}")))?;
        self.latest = Some(before);
        Ok("took a restore back")
    }

    fn reopen(&mut self) -> Result<&'static str, Broken> {
        self.manager = None;
        self.manager = Some(CheckpointManager::open(self.options.clone())?);
        Ok("opened again")
    }

    fn check(&mut self, scenario: &Scenario, tried: &mut Tried) -> Outcome {
        if !scenario.expects(Expectation::NeededIsKept) {
            return Ok(());
        }
        let agent = self.agent()?;
        if let Some(bytes) = &self.latest {
            let latest = agent.read_checkpoint("latest");
            let latest = latest.map_err(|error| Broken::lost(1, format!("latest: {error}")))?;
            tried.read(bytes.len());
            let same = latest.state_bytes() == Some(bytes);
            ensure(same, || "latest is not what was kept last".to_owned())?;
        }
        for (name, (id, bytes)) in &self.open {
            let read = agent.read_checkpoint(id.to_string());
            let read =
                read.map_err(|error| Broken::lost(1, format!("{name} is open, and {error}")))?;
            tried.read(bytes.len());
            let same = read.state_bytes() == Some(bytes);
            ensure(same, || format!("what {name} began from is other bytes"))?;
        }
        if self.jumps {
            self.check_young(&agent)?;
        }
        Ok(())
    }

    /// What is younger than the rule says, by the time that truly passed, is there.
    fn check_young(&mut self, agent: &Agent) -> Outcome {
        let now = self.clock.monotonic();
        self.young.retain(|_, made| now.saturating_sub(*made) < WITHIN);
        let all = agent.list_checkpoints(Filter::default())?;
        let is_there = |id: &&CheckpointId| all.iter().any(|one| one.checkpoint_id == **id);
        let gone = self.young.keys().filter(|id| !is_there(id)).count();
        if gone > 0 {
            return Err(Broken::lost(gone, format!("{gone} went before their time")));
        }
        Ok(())
    }
}

/// A disk that fills up: what is new is refused, what is there stays, and forgetting makes room.
pub(super) fn filling(scenario: &Scenario, disk_bytes: u64) -> Trial<'_> {
    Trial::simulated(LIVES, move |case, tried| {
        let disk = MemoryDisk::new();
        tried.faults += 1;
        let room = disk_bytes + case.draw(1, disk_bytes / 2);
        let bytes = 8_000 + usize::try_from(case.draw(2, 60_000)).unwrap_or(0);
        fill(scenario, &disk, [room, bytes as u64], tried).map_err(|broken| {
            broken.after(format!("{room} bytes filled with states of {bytes}")).on(&disk)
        })
    })
}

fn fill(scenario: &Scenario, disk: &MemoryDisk, sizes: [u64; 2], tried: &mut Tried) -> Outcome {
    let [room, bytes] = sizes;
    let clock = clock();
    let mut options = options(disk.shared(), clock.clone());
    options.log.segment_bytes_min = 256 << 10;
    options.log.segment_bytes_max = 2 << 20;
    options.retention.routine.keep_last = 10_000;
    options.retention.free_floor = Some(ByteSize(0));
    options.retention.disk_budget = Some(ByteSize(1 << 40));
    let manager = CheckpointManager::open(options.clone())?;
    let agent = manager.agent("a")?;
    manager.settle()?;
    disk.set_capacity(Some(room));
    let mut made: Vec<CheckpointId> = Vec::new();
    let error = loop {
        let bytes = unlike(made.len(), usize::try_from(bytes).unwrap_or(0));
        match agent.checkpoint(Kind::Routine).state_bytes(bytes).commit() {
            Ok(receipt) => made.push(receipt.checkpoint.checkpoint_id),
            Err(error) => break error,
        }
        ensure(made.len() < 5000, || "the disk never fills".to_owned())?;
    };
    let is_told = error.kind() == crate::error::ErrorKind::Unstored && !error.attempts().is_empty();
    ensure(is_told || !scenario.expects(Expectation::FailureIsTold), || error.to_string())?;
    check_all(&agent, &made, tried)?;
    drop((agent, manager));
    let looking = CheckpointManager::open_to_look(options.clone())?;
    check_all(&looking.agent("a")?, &made, tried).map_err(|it| it.after("looked at"))?;
    drop(looking);
    let manager = CheckpointManager::open(options)?;
    let agent = manager.agent("a")?;
    check_all(&agent, &made, tried).map_err(|it| it.after("opened again"))?;
    let (gone, kept) = made.split_at(made.len() / 2);
    let gone: Vec<String> = gone.iter().map(ToString::to_string).collect();
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    agent.forget(&gone, false)?;
    manager.prune(&mut |_| {})?;
    clock.advance(Duration::from_secs(60));
    manager.settle()?;
    let request = agent.checkpoint(Kind::Routine).state_bytes(unlike(9999, 1000));
    request.commit().map_err(|error| Broken::from(error).after("room was made"))?;
    check_all(&agent, kept, tried)
}

/// A state that shares nothing with another.
fn unlike(n: usize, bytes: usize) -> Vec<u8> {
    let mut letters = blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof();
    let mut text = vec![0; bytes];
    letters.fill(&mut text);
    for byte in &mut text {
        *byte = b'a' + *byte % 26;
    }
    [format!("{{\"n\":{n},\"text\":\"").as_bytes(), &text, b"\"}"].concat()
}

fn check_all(agent: &Agent, made: &[CheckpointId], tried: &mut Tried) -> Outcome {
    for id in made {
        let read = agent.read_checkpoint(id.to_string());
        let read = read.map_err(|error| Broken::lost(1, format!("lost: {error}")))?;
        tried.read(read.state_bytes().map_or(0, <[u8]>::len));
    }
    Ok(())
}
