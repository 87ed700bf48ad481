//! An agent that keeps its state in a file and hands states to the sidecar too, while its files are
//! looked at and put back.

use std::sync::Arc;

use super::*;
use crate::clock::ManualClock;
use crate::disk::{Call, FaultDisk, Loss, MemoryDisk};
use crate::manager::Options;

const FILE: &str = "/work/memory.json";

/// The time stands still, so that the same is done in the same calls.
fn clock() -> Arc<dyn Clock> {
    ManualClock::starting_at(Timestamp::from_unix_ms(1_000_000))
}

fn state(n: u8) -> Vec<u8> {
    format!("{{\"n\":{n}}}").into_bytes()
}

/// A disk on which the file holds a state that nobody kept.
fn begin(clock: &Arc<dyn Clock>) -> MemoryDisk {
    let disk = MemoryDisk::with_clock(true, Arc::clone(clock));
    disk.put(FILE.as_ref(), &state(1));
    disk
}

fn open(disk: Arc<dyn Disk>, clock: &Arc<dyn Clock>) -> (CheckpointManager, Keeper) {
    let clock = Arc::clone(clock);
    let options = Options { disk, clock, background: false, ..Options::new("/store") };
    let manager = CheckpointManager::open(options).unwrap();
    let it = Belongings {
        workspace: Some("/work".into()),
        state: Some(FILE.into()),
        ..Belongings::default()
    };
    let keeper = Keeper::open(&manager, &"a".parse().unwrap(), &it).unwrap();
    (manager, keeper)
}

/// A store and an agent whose time is told to pass.
struct Ageing {
    clock: Arc<ManualClock>,
    disk: MemoryDisk,
    manager: CheckpointManager,
    keeper: Keeper,
}

impl Ageing {
    fn begin() -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_unix_ms(1_000_000));
        let shared: Arc<dyn Clock> = clock.clone();
        let disk = begin(&shared);
        let (manager, keeper) = open(disk.shared(), &shared);
        Self { clock, disk, manager, keeper }
    }
}

/// Hands a state over without writing it into the file.
fn post(manager: &CheckpointManager, n: u8) {
    let agent = manager.agent("a").unwrap();
    agent.checkpoint(Kind::Routine).state_bytes(state(n)).commit().unwrap();
}

fn latest(manager: &CheckpointManager) -> Vec<u8> {
    let latest = manager.agent("a").unwrap().read_checkpoint("latest").unwrap();
    latest.state_bytes().unwrap().to_vec()
}

fn take(keeper: &Keeper) -> Kept {
    keeper.take(&Wanted::routine(Parts::ALL)).unwrap()
}

/// The calls of something that nobody disturbs which are about what the agent has, counted from its
/// first one: what it does in the store is done while nobody else writes there.
fn looks(begun: &MemoryDisk, act: fn(&Keeper)) -> Vec<u64> {
    let disk = FaultDisk::over(&begun.crash(Loss::None));
    let (_manager, keeper) = open(disk.clone(), &clock());
    disk.reset();
    act(&keeper);
    let numbered = (0..).zip(disk.calls());
    let is_look = |(_, call): &(u64, Call)| call.path.starts_with("/work");
    numbered.filter(is_look).map(|(number, _)| number).collect()
}

/// Has states handed over at each of these calls; `latest` is the last of them.
fn check(begun: &MemoryDisk, act: fn(&Keeper), posted: &'static [u8]) {
    let looks = looks(begun, act);
    assert!(looks.len() > 5, "{looks:?}");
    for look in looks {
        let disk = FaultDisk::over(&begun.crash(Loss::None));
        let (manager, keeper) = open(disk.clone(), &clock());
        let other = manager.clone();
        disk.reset();
        disk.at_call(look, move || posted.iter().for_each(|n| post(&other, *n)));
        act(&keeper);
        let newest = state(posted[posted.len() - 1]);
        assert_eq!(latest(&manager), newest, "at call {look}");
    }
}

#[test]
fn a_state_that_is_handed_over_while_the_workspace_is_looked_at_after_a_crash_is_the_newest() {
    let begun = begin(&clock());
    let (manager, keeper) = open(begun.shared(), &clock());
    post(&manager, 1);
    keeper.take(&Wanted::recovery("a crash".to_owned())).unwrap();
    begun.put("/work/made".as_ref(), b"after it");
    drop((manager, keeper));
    check(&begun, |keeper| drop(take(keeper)), &[2]);
}

#[test]
fn a_file_that_is_overtaken_while_it_is_read_is_no_news() {
    let begun = begin(&clock());
    let (manager, keeper) = open(begun.shared(), &clock());
    post(&manager, 1);
    begun.put(FILE.as_ref(), &state(2));
    drop((manager, keeper));
    check(&begun, |keeper| drop(take(keeper)), &[2, 3]);
}

#[test]
fn a_state_that_is_handed_over_while_the_file_is_put_back_is_the_newest() {
    for file_is_kept in [true, false] {
        let begun = begin(&clock());
        let (manager, keeper) = open(begun.shared(), &clock());
        if file_is_kept {
            drop(take(&keeper));
        } else {
            post(&manager, 1);
        }
        begun.put(FILE.as_ref(), b"{\"n\":");
        drop((manager, keeper));
        check(&begun, |keeper| assert!(keeper.mend().unwrap().is_some()), &[2]);
    }
}

#[test]
fn a_file_that_is_written_while_it_is_to_be_put_back_stays() {
    let begun = begin(&clock());
    let (manager, keeper) = open(begun.shared(), &clock());
    post(&manager, 1);
    begun.put(FILE.as_ref(), b"{\"n\":");
    drop((manager, keeper));
    let looks = looks(&begun, |keeper| drop(keeper.mend().unwrap()));
    let mut replaced = Vec::new();
    for look in looks {
        let memory = begun.crash(Loss::None);
        let disk = FaultDisk::over(&memory);
        let (manager, keeper) = open(disk.clone(), &clock());
        let agent = memory.clone();
        disk.reset();
        disk.at_call(look, move || agent.put(FILE.as_ref(), &state(200)));
        keeper.mend().unwrap();
        let found = memory.get(FILE.as_ref()).unwrap();
        let recovery = manager.agent("a").unwrap().read_checkpoint("latest:recovery");
        let kept = recovery.ok().and_then(|it| it.state_bytes().map(<[u8]>::to_vec));
        if found != state(200) && kept != Some(state(200)) {
            replaced.push(look);
        }
    }
    // Between the last look and the change itself nobody can tell.
    assert!(replaced.len() <= 2, "{replaced:?}");
}

#[test]
fn a_file_from_before_a_state_that_was_handed_over_is_not_taken_for_news() {
    let Ageing { clock, disk, manager, keeper } = Ageing::begin();
    clock.advance(Duration::from_secs(1));
    post(&manager, 2);
    let kept = take(&keeper);
    assert_eq!(latest(&manager), state(2));
    assert!(kept.left_out.unwrap().contains("handed over after it was written"));
    clock.advance(Duration::from_secs(1));
    disk.put(FILE.as_ref(), &state(3));
    take(&keeper);
    assert_eq!(latest(&manager), state(3));
}

#[test]
fn a_file_whose_checkpoints_are_forgotten_does_not_come_back() {
    let Ageing { clock, manager, keeper, .. } = Ageing::begin();
    take(&keeper);
    for n in 2..6 {
        clock.advance(Duration::from_secs(1));
        post(&manager, n);
    }
    keeper.forget_but_newest().unwrap();
    take(&keeper);
    assert_eq!(latest(&manager), state(5));
}

#[test]
fn where_the_clock_was_set_back_a_file_that_is_written_is_news() {
    let Ageing { clock, disk, manager, keeper } = Ageing::begin();
    post(&manager, 2);
    clock.jump_to(Timestamp::from_unix_ms(400_000));
    disk.put(FILE.as_ref(), &state(3));
    take(&keeper);
    assert_eq!(latest(&manager), state(3));
}
