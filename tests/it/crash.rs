//! After a crash at any call, every acknowledged checkpoint is there, and nothing half is believed.
//!
//! Each history is played once to count its calls and to learn what is held after each step. Then
//! it is played again and killed at each call, the disk loses what it may lose, and the store is
//! opened: it must hold what it held before the step that was being done, or after it. What was
//! served once must stay, whatever is lost then, and a further opening must change nothing. The
//! same again with the opening killed at each of its calls.
//!
//! Without `STATEWARD_EXHAUSTIVE=1` a part of the calls is tried, the same in each run.

use std::sync::atomic::{AtomicU64, Ordering};

use stateward::CheckpointManager;
use stateward::disk::{FaultDisk, Loss, MemoryDisk};
use stateward::state::Kind::{PreOperation, Recovery, Routine};
use stateward::{Outcome, Standing};

use crate::history::Step::{
    Begin, Close, Commit, Forget, MakeReady, Patch, Prune, Reopen, Reset, Restore, Settle, Undo,
};
use crate::history::{
    Held, Image, Step, expected, held, image, is_exhaustive, options, play, some_of,
};

/// What happens to a machine when its process dies.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It goes on; what was written and not synced is still in its memory.
    Kill,
    Power(Loss),
}

const FATES: [Fate; 10] = [
    Fate::Kill,
    Fate::Power(Loss::All),
    Fate::Power(Loss::None),
    Fate::Power(Loss::Random(1)),
    Fate::Power(Loss::Random(2)),
    Fate::Power(Loss::Random(3)),
    Fate::Power(Loss::Prefix(1)),
    Fate::Power(Loss::Prefix(2)),
    Fate::Power(Loss::Ordered(1)),
    Fate::Power(Loss::Ordered(2)),
];

impl Fate {
    fn befall(self, disk: &MemoryDisk) -> MemoryDisk {
        match self {
            Self::Kill => disk.clone(),
            Self::Power(loss) => disk.crash(loss),
        }
    }
}

/// A history, and what it holds at each moment.
struct Told<'a> {
    steps: &'a [Step],
    moments: Vec<Held>,
    calls: u64,
    cases: AtomicU64,
}

/// A history that was killed, and where.
struct Killed {
    disk: MemoryDisk,
    /// Steps that were acknowledged.
    done: usize,
    tale: String,
}

impl<'a> Told<'a> {
    fn new(steps: &'a [Step]) -> Self {
        let disk = FaultDisk::over(&MemoryDisk::new());
        let played = play(steps, disk.clone());
        assert!(played.stopped.is_none(), "step {}: {:?}", played.done, played.stopped);
        let calls = disk.total();
        Self { steps, moments: expected(steps), calls, cases: AtomicU64::new(0) }
    }

    fn killed_at(&self, call: u64) -> Killed {
        let disk = MemoryDisk::new();
        let fault = FaultDisk::over(&disk);
        fault.stop_at(call);
        let played = play(self.steps, fault);
        let step = self.steps.get(played.done);
        let tale = format!("killed at call {call} of {}, in {step:?}", self.calls);
        Killed { disk, done: played.done, tale }
    }

    /// Whether what was found is what was held before or after the step that was being done.
    fn check_held(&self, killed: &Killed, found: &Held, tale: &str) {
        self.cases.fetch_add(1, Ordering::Relaxed);
        let before = &self.moments[killed.done];
        let after = self.moments.get(killed.done + 1).unwrap_or(before);
        if found == before || found == after {
            return;
        }
        let step = self.steps[killed.done];
        assert!(!step.is_one_batch(), "{tale}: half of {step:?}: {found:#?}\nafter {before:#?}");
        for (agent, found) in found {
            let (before, after) = (&before[agent], &after[agent]);
            let lost: Vec<_> = (&before.checkpoints & &after.checkpoints)
                .difference(&found.checkpoints)
                .copied()
                .collect();
            assert!(lost.is_empty(), "{tale}: {agent} lost {lost:?}");
            let known = &before.checkpoints | &after.checkpoints;
            let odd: Vec<_> = found.checkpoints.difference(&known).collect();
            assert!(odd.is_empty(), "{tale}: {agent} has {odd:?}");
            let latest = [before.latest, after.latest];
            assert!(latest.contains(&found.latest), "{tale}: latest of {agent}");
            let operations: [&Vec<(String, Standing)>; 2] = [&before.operations, &after.operations];
            assert!(operations.contains(&&found.operations), "{tale}: operations of {agent}");
        }
    }

    /// Opens what a crash left and checks it; then that what was served stays.
    fn check_opening(&self, killed: &Killed, disk: &MemoryDisk, tale: &str) {
        let found = look(disk, tale);
        self.check_held(killed, &found, tale);
        for (index, loss) in [Loss::All, Loss::Random(4), Loss::Ordered(3)].into_iter().enumerate()
        {
            let tale = format!("{tale}, served, then {loss:?}");
            if index == 0 || is_exhaustive() {
                assert_eq!(look(&disk.crash(loss), &tale), found, "{tale}");
            }
        }
        let served = image(disk);
        let left = served.keys().find(|path| path.to_string_lossy().contains("/.tmp-"));
        assert_eq!(left, None, "{tale}: left behind");
        assert_eq!(look(disk, tale), found, "{tale}, served, then opened again");
        let changed = changes(&served, &image(disk));
        assert!(changed.is_empty(), "{tale}: a second opening changed {changed:?}");
    }
}

/// Opens the store and reads everything; nothing a crash leaves is damage.
fn look(disk: &MemoryDisk, tale: &str) -> Held {
    let manager = CheckpointManager::open(options(disk.shared()));
    let manager = manager.unwrap_or_else(|error| panic!("{tale}: cannot open: {error}"));
    let damage = manager.status().damage;
    assert!(damage.is_empty(), "{tale}: a crash is no damage: {damage:?}");
    held(&manager).unwrap_or_else(|error| panic!("{tale}: cannot read: {error}"))
}

fn changes(before: &Image, after: &Image) -> Vec<String> {
    let names = before.keys().chain(after.keys());
    let differ = names.filter(|name| before.get(*name) != after.get(*name));
    differ.map(|name| name.display().to_string()).collect()
}

/// A history killed at its calls.
fn check_crashes(name: &str, steps: &[Step], budget: u64) {
    let told = Told::new(steps);
    for (seed, fate) in (0..).zip(FATES) {
        for call in some_of(told.calls, budget, seed * 7) {
            let killed = told.killed_at(call);
            let tale = format!("{name}: {}, then {fate:?}", killed.tale);
            told.check_opening(&killed, &fate.befall(&killed.disk), &tale);
        }
    }
    println!("{name}: {} calls, {} cases", told.calls, told.cases.into_inner());
}

/// A history killed at its calls, and the opening that follows killed at each of its own.
fn check_crashed_recoveries(name: &str, steps: &[Step], budget: u64) {
    let told = Told::new(steps);
    for (seed, first) in (0..).zip(FATES) {
        for call in some_of(told.calls, budget, seed * 11) {
            check_recovery(&told, call, first, name);
        }
    }
    println!("{name}: {} calls, {} cases", told.calls, told.cases.into_inner());
}

fn check_recovery(told: &Told<'_>, call: u64, first: Fate, name: &str) {
    let opening = |stop: u64| {
        let killed = told.killed_at(call);
        let disk = first.befall(&killed.disk);
        let fault = FaultDisk::over(&disk);
        fault.stop_at(stop);
        drop(CheckpointManager::open(options(fault.clone())));
        (killed, disk, fault)
    };
    let calls = opening(u64::MAX).2.total();
    for stop in some_of(calls, 6, call) {
        let (killed, disk, _) = opening(stop);
        let second = FATES[usize::try_from(call + stop).unwrap() % FATES.len()];
        let tale = format!(
            "{name}: {}, then {first:?}, then its recovery at call {stop} of {calls}, then {second:?}",
            killed.tale
        );
        told.check_opening(&killed, &second.befall(&disk), &tale);
    }
}

const SMALL: [Step; 12] = [
    Commit("a", Routine, 100),
    Commit("team/b", Routine, 900),
    Settle,
    Commit("a", Routine, 1500),
    Patch("a"),
    Settle,
    Commit("agent-1", Routine, 30),
    Commit("agent-10", Routine, 30),
    Commit("a", Routine, 200),
    Reopen,
    Commit("a", Routine, 300),
    Patch("team/b"),
];

const ROLLING: [Step; 16] = [
    Commit("a", Routine, 1500),
    Commit("a", Routine, 1900),
    Commit("team/b", Routine, 5000),
    MakeReady,
    Commit("a", Routine, 1800),
    Commit("a", Routine, 1700),
    Commit("team/b", Routine, 9000),
    Settle,
    MakeReady,
    Commit("a", Routine, 20_000),
    Commit("team/b", Routine, 21_000),
    Reopen,
    Commit("a", Routine, 60_000),
    MakeReady,
    Commit("a", Routine, 61_000),
    Settle,
];

const WAYS_BACK: [Step; 14] = [
    Commit("a", Routine, 700),
    Begin("a", "deploy"),
    Commit("a", Routine, 800),
    Close("a", "deploy", Outcome::Completed),
    Commit("a", Routine, 3000),
    Restore("a", 1),
    Begin("a", "migrate"),
    Patch("a"),
    Undo("a"),
    Close("a", "migrate", Outcome::Failed),
    Commit("a", Recovery, 900),
    Reset("a"),
    Commit("a", PreOperation, 400),
    Settle,
];

const LETTING_GO: [Step; 17] = [
    Commit("a", Routine, 20_000),
    Commit("a", Routine, 21_000),
    Commit("team/b", Routine, 1000),
    Forget("a", 0),
    Commit("a", Routine, 22_000),
    Settle,
    Prune,
    Commit("a", Routine, 23_000),
    Commit("a", Routine, 500),
    Forget("a", 1),
    Reopen,
    Commit("a", Routine, 24_000),
    Restore("a", 1),
    Prune,
    Undo("a"),
    Prune,
    Patch("a"),
];

/// States that are brought ahead of their checkpoint, in batches of their own.
const AHEAD: [Step; 5] = [
    Commit("a", Routine, 100),
    Commit("a", Routine, 5 << 20),
    Commit("team/b", Routine, 300),
    Reopen,
    Patch("a"),
];

#[test]
fn small_commits() {
    check_crashes("small", &SMALL, 50);
}

#[test]
fn rolling_segments() {
    check_crashes("rolling", &ROLLING, 50);
}

#[test]
fn ways_back() {
    check_crashes("ways back", &WAYS_BACK, 50);
}

#[test]
fn recoveries_of_small_commits() {
    check_crashed_recoveries("small", &SMALL, 8);
}

#[test]
fn recoveries_of_rolling_segments() {
    check_crashed_recoveries("rolling", &ROLLING, 8);
}

#[test]
fn recoveries_of_ways_back() {
    check_crashed_recoveries("ways back", &WAYS_BACK, 8);
}

#[test]
fn letting_go() {
    check_crashes("letting go", &LETTING_GO, 40);
}

#[test]
fn recoveries_of_letting_go() {
    check_crashed_recoveries("letting go", &LETTING_GO, 5);
}

#[test]
fn content_ahead_of_its_checkpoint() {
    check_crashes("ahead", &AHEAD, 1);
}
