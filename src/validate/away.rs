//! A primary that fails and comes back: what was acknowledged meanwhile is kept by the fallback, says
//! so, and comes home once and in order, whatever interrupts it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::life::{clock, state};
use super::scenario::{Expectation, Scenario, Way, When};
use super::trial::{Broken, Outcome, Trial, Tried, ensure};
use crate::clock::ManualClock;
use crate::disk::{Disk, Fault, FaultDisk, Loss, MemoryDisk, Op};
use crate::manager::{CheckpointManager, Filter, Options};
use crate::retention::Policy;
use crate::state::{Checkpoint, Durable, Kind, Receipt};

const PRIMARY: &str = "/p/store";
const FALLBACK: &str = "/f/store";

/// Two directories of one disk, and what can go wrong with the first.
struct World {
    disk: MemoryDisk,
    fault: Arc<FaultDisk>,
    clock: Arc<ManualClock>,
}

type Made = Vec<(usize, Receipt)>;

impl World {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        for dir in ["/p/.keep", "/f/.keep", "/q/.keep"] {
            disk.put(Path::new(dir), b"");
        }
        Self::over(disk)
    }

    fn over(disk: MemoryDisk) -> Self {
        let fault = FaultDisk::over(&disk);
        Self { disk, fault, clock: clock() }
    }

    fn options(&self, primary: &str) -> Options {
        let mut retention = Policy::default();
        retention.routine.keep_last = 10_000;
        let mut options = Options {
            disk: self.fault.clone(),
            clock: self.clock.clone(),
            background: false,
            retention,
            ..Options::new(primary)
        }
        .fallback(FALLBACK);
        options.log.segment_bytes_min = 16 << 10;
        options
    }

    fn open(&self) -> Result<CheckpointManager, Broken> {
        Ok(CheckpointManager::open(self.options(PRIMARY))?)
    }

    /// Moves time past every pause of a failed target and does what can wait.
    fn settle(&self, manager: &CheckpointManager) -> Outcome {
        self.clock.advance(Duration::from_secs(60));
        Ok(manager.settle()?)
    }

    /// A store at home with `before` checkpoints, whose fallback knows it.
    fn at_home(&self, before: u64) -> Result<Made, Broken> {
        let manager = self.open()?;
        let mut made = Made::new();
        for _ in 1..before.max(2) {
            commit(&manager, &mut made)?;
        }
        self.fault.inject(Fault::new(Errno::ROFS).on(Op::Write).at("/p/"));
        commit(&manager, &mut made)?;
        self.fault.heal();
        self.settle(&manager)?;
        Ok(made)
    }
}

fn commit(manager: &CheckpointManager, made: &mut Made) -> Outcome {
    let n = made.len() + 1;
    // Every third state is long enough to be cut into chunks.
    let bytes = if n.is_multiple_of(3) { 30_000 } else { 120 };
    let request = manager.agent("a")?.checkpoint(Kind::Routine);
    made.push((n, request.state_bytes(state(n, bytes)).commit()?));
    Ok(())
}

fn listed(manager: &CheckpointManager) -> Result<Vec<Checkpoint>, Broken> {
    let mut all = manager.agent("a")?.list_checkpoints(Filter::default())?;
    all.reverse();
    Ok(all)
}

impl Way {
    fn begin(self, world: &World) -> Outcome {
        let fail = |errno, ops: &[Op]| {
            for op in ops {
                world.fault.inject(Fault::new(errno).on(*op).at("/p/"));
            }
        };
        let changes =
            [Op::Write, Op::CreateDir, Op::Rename, Op::SetLen, Op::RemoveFile, Op::WriteHolder];
        match self {
            Self::Full => fail(Errno::NOSPC, &[Op::Write, Op::CreateDir, Op::SetLen]),
            Self::ReadOnly => fail(Errno::ROFS, &[&changes[..], &[Op::TryLock]].concat()),
            Self::Gone => world.fault.inject(Fault::new(Errno::NOENT).at("/p/")),
            Self::ErrorsOnWrite => fail(Errno::IO, &changes),
            Self::ErrorsOnSync => fail(Errno::IO, &[Op::Sync, Op::SyncDir]),
            Self::Denied => world.fault.inject(Fault::new(Errno::ACCESS).at("/p/")),
            Self::Unmounted => {
                world.fault.rename(PRIMARY.as_ref(), "/p/elsewhere".as_ref())?;
                world.fault.create_dir(PRIMARY.as_ref())?;
            }
        }
        Ok(())
    }

    fn end(self, world: &World) -> Outcome {
        world.fault.heal();
        if self == Self::Unmounted {
            let left = world.fault.read_dir(PRIMARY.as_ref())?;
            let why = || "a store was made afresh in the empty directory".to_owned();
            ensure(left.is_empty(), why)?;
            world.fault.remove_dir(PRIMARY.as_ref())?;
            world.fault.rename("/p/elsewhere".as_ref(), PRIMARY.as_ref())?;
        }
        Ok(())
    }
}

/// What the workload and the fault of the scenario ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan<'a> {
    pub before: u64,
    pub while_away: u64,
    pub by: &'a [Way],
    pub when: When,
}

pub(super) fn trial<'a>(scenario: &'a Scenario, plan: Plan<'a>) -> Trial<'a> {
    let ways = plan.by.len() as u64;
    // The primary fails before each of the commits in turn.
    let cases = ways * plan.before.max(2);
    let mut trial = Trial::simulated(cases, move |case, tried| {
        let way = plan.by[usize::try_from(case.number % ways).unwrap_or(0)];
        let before = 1 + case.number / ways % plan.before.max(2);
        let world = World::new();
        tried.faults += 1;
        let tried_way = Attempt { scenario, world: &world, plan: Plan { before, ..plan } };
        tried_way.run(way, tried).map_err(|broken| {
            broken.after(format!("the primary was {way:?} after {before} commits")).on(&world.disk)
        })
    });
    trial.is_endless = false;
    trial
}

struct Attempt<'a> {
    scenario: &'a Scenario,
    world: &'a World,
    plan: Plan<'a>,
}

impl Attempt<'_> {
    fn run(&self, way: Way, tried: &mut Tried) -> Outcome {
        let world = self.world;
        let mut made = world.at_home(self.plan.before)?;
        let mut manager = None;
        if self.plan.when == When::Meanwhile {
            manager = Some(world.open()?);
        }
        way.begin(world)?;
        let manager = match manager {
            Some(manager) => manager,
            None => world.open()?,
        };
        for _ in 0..self.plan.while_away {
            commit(&manager, &mut made)?;
            let (_, receipt) = made.last().expect("one was just made");
            self.check_away(receipt)?;
        }
        way.end(world)?;
        world.settle(&manager)?;
        self.check_home(&manager, &made, tried)?;
        commit(&manager, &mut made)?;
        drop(manager);
        self.check_home(&world.open()?, &made, tried).map_err(|it| it.after("opened again"))
    }

    /// The receipt says where it went, why, and what was tried.
    fn check_away(&self, receipt: &Receipt) -> Outcome {
        if !self.scenario.expects(Expectation::NothingSilent) {
            return Ok(());
        }
        let is_told = receipt.checkpoint.durable == Durable::Fallback
            && receipt.degraded
            && receipt.degraded_why.iter().any(|why| why.starts_with(PRIMARY))
            && receipt.attempts.iter().any(|attempt| attempt.error.is_some());
        ensure(is_told, || format!("the receipt does not tell that it went elsewhere: {receipt:?}"))
    }

    /// Everything that was acknowledged is listed once, at home, in the order it was made.
    fn check_home(
        &self,
        manager: &CheckpointManager,
        made: &[(usize, Receipt)],
        tried: &mut Tried,
    ) -> Outcome {
        let all = listed(manager)?;
        let ids: Vec<_> = all.iter().map(|one| one.checkpoint_id).collect();
        let wanted: Vec<_> =
            made.iter().map(|(_, receipt)| receipt.checkpoint.checkpoint_id).collect();
        let gone = wanted.iter().filter(|id| !ids.contains(id)).count();
        if gone > 0 {
            return Err(Broken::lost(gone, format!("{gone} of {} are not listed", made.len())));
        }
        if self.scenario.expects(Expectation::ComesHome) {
            ensure(ids == wanted, || "they are not listed once and in order".to_owned())?;
            let is_home = |one: &Checkpoint| one.durable == Durable::Local && !one.seq_provisional;
            ensure(all.iter().all(is_home), || "not everything is home".to_owned())?;
        }
        read_all(manager, made, tried)
    }
}

/// Everything that was made restores, byte for byte.
fn read_all(manager: &CheckpointManager, made: &[(usize, Receipt)], tried: &mut Tried) -> Outcome {
    for (n, receipt) in made {
        let id = receipt.checkpoint.checkpoint_id.to_string();
        let read = manager.agent("a")?.read_checkpoint(&id);
        let read = read.map_err(|error| Broken::lost(1, format!("lost: {error}")))?;
        let bytes = read.state_bytes().unwrap_or_default();
        tried.read(bytes.len());
        let same = bytes.starts_with(format!("{{\"step\": {n},").as_bytes());
        ensure(same, || format!("checkpoint {n} is read as other bytes"))?;
    }
    Ok(())
}

/// What was made away comes home, and the process dies at any call on the way.
pub(super) fn homecoming(before: u64, while_away: u64) -> Result<Trial<'static>, Broken> {
    let world = World::new();
    let mut made = world.at_home(before)?;
    Way::Denied.begin(&world)?;
    let manager = world.open()?;
    for _ in 0..while_away {
        commit(&manager, &mut made)?;
    }
    manager.agent("a")?.begin_operation("x")?.complete()?;
    drop(manager);
    let image = world.disk.image();
    let come_home = |disk: &MemoryDisk, stop: u64| {
        let world = World::over(disk.clone());
        world.fault.stop_at(stop);
        drop(CheckpointManager::open(world.options(PRIMARY)));
        world.fault.total()
    };
    let calls = come_home(&MemoryDisk::from_image(&image), u64::MAX);
    let losses = 4;
    Ok(Trial::simulated(calls * losses, move |case, tried| {
        let disk = MemoryDisk::from_image(&image);
        let call = case.number / losses % calls;
        come_home(&disk, call);
        tried.crash_points += 1;
        let seed = case.draw(1, u64::MAX);
        let loss = match case.number % losses {
            0 => Loss::All,
            1 => Loss::None,
            2 => Loss::Random(seed),
            _ => Loss::Ordered(seed),
        };
        let left = disk.crash(loss);
        check_came_home(&left, &made, tried).map_err(|broken| {
            let tale = format!("its homecoming ended at call {call} of {calls}, then {loss:?}");
            broken.after(tale).on(&left)
        })
    }))
}

fn check_came_home(disk: &MemoryDisk, made: &Made, tried: &mut Tried) -> Outcome {
    let world = World::over(disk.clone());
    let manager = world.open()?;
    let all = listed(&manager)?;
    // The operation's own checkpoint is the last.
    ensure(all.len() == made.len() + 1, || format!("{} instead of {}", all.len(), made.len() + 1))?;
    for (one, (_, receipt)) in all.iter().zip(made) {
        let same = one.checkpoint_id == receipt.checkpoint.checkpoint_id;
        ensure(same && one.durable == Durable::Local, || format!("{} is not home", one.seq))?;
    }
    read_all(&manager, made, tried)
}

/// Two stores name one fallback; one of them uses it, then the other fails.
pub(super) fn shared_fallback(scenario: &Scenario, by: &[Way]) -> Trial<'static> {
    let by = by.to_vec();
    let counts = scenario.expects(Expectation::NobodyElses);
    let mut trial = Trial::simulated(by.len() as u64 * 2, move |case, tried| {
        let way = by[usize::try_from(case.number).unwrap_or(0) / 2 % by.len()];
        let world = World::new();
        tried.faults += 1;
        try_shared(&world, way, case.number.is_multiple_of(2), counts, tried)
            .map_err(|it| it.after(format!("the other home was {way:?}")).on(&world.disk))
    });
    trial.is_endless = false;
    trial
}

fn try_shared(
    world: &World,
    way: Way,
    comes_home_first: bool,
    counts: bool,
    tried: &mut Tried,
) -> Outcome {
    let mut made = world.at_home(3)?;
    way.begin(world)?;
    let manager = world.open()?;
    commit(&manager, &mut made)?;
    drop(manager);
    // Another home, with the same agent's name, that may not use the first one's fallback.
    let elsewhere = World::over(world.disk.clone());
    let alone = Options { fallbacks: Vec::new(), ..elsewhere.options("/q/store") };
    drop(CheckpointManager::open(alone)?);
    let other = CheckpointManager::open(elsewhere.options("/q/store"))?;
    elsewhere.fault.inject(Fault::new(Errno::ROFS).on(Op::Write).at("/q/"));
    let request = other.agent("a")?.checkpoint(Kind::Routine);
    let taken = request.state_bytes(state(900, 200)).commit();
    ensure(taken.is_err() || !counts, || "a fallback took what is not of its home".to_owned())?;
    elsewhere.fault.heal();
    if comes_home_first {
        elsewhere.settle(&other)?;
        let stray = listed(&other)?;
        ensure(stray.len() <= 1 || !counts, || "another home took the checkpoints".to_owned())?;
    }
    drop(other);
    way.end(world)?;
    let manager = world.open()?;
    world.settle(&manager)?;
    let all = listed(&manager)?;
    let gone = made.len().saturating_sub(all.len());
    if gone > 0 {
        return Err(Broken::lost(gone, "the fallback gave them to another home"));
    }
    read_all(&manager, &made, tried)
}
