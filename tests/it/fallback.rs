//! A primary that fails, in each way, from the start and in the middle: what succeeded is kept by
//! the fallback, says so, and comes home in order.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use serde_json::{Value, json};
use stateward::clock::ManualClock;
use stateward::disk::{Disk, Fault, FaultDisk, MemoryDisk, Op};
use stateward::state::{Checkpoint, Durable, Kind, Receipt, Timestamp};
use stateward::{CheckpointManager, Filter, Options};

pub(crate) const PRIMARY: &str = "/p/store";
pub(crate) const FALLBACK: &str = "/f/store";
pub(crate) const SECOND: &str = "/g/store";

/// Two or three directories of one disk, and what can go wrong with the first.
pub(crate) struct World {
    pub(crate) disk: MemoryDisk,
    pub(crate) fault: Arc<FaultDisk>,
    pub(crate) clock: Arc<ManualClock>,
}

impl World {
    pub(crate) fn new() -> Self {
        let disk = MemoryDisk::new();
        for dir in ["/p/.keep", "/f/.keep", "/g/.keep"] {
            disk.put(std::path::Path::new(dir), b"");
        }
        Self::over(disk)
    }

    pub(crate) fn over(disk: MemoryDisk) -> Self {
        let fault = FaultDisk::over(&disk);
        let clock = ManualClock::starting_at(Timestamp::from_unix_ms(1_700_000_000_000));
        Self { disk, fault, clock }
    }

    pub(crate) fn options(&self) -> Options {
        let mut retention = stateward::retention::Policy::default();
        retention.routine.keep_last = 10_000;
        Options {
            disk: self.fault.clone(),
            clock: self.clock.clone(),
            background: false,
            retention,
            ..Options::new(PRIMARY)
        }
        .fallback(FALLBACK)
    }

    pub(crate) fn open(&self) -> CheckpointManager {
        CheckpointManager::open(self.options()).unwrap()
    }

    /// Moves time past every pause of a failed target and does what can wait.
    pub(crate) fn settle(&self, manager: &CheckpointManager) {
        self.clock.advance(Duration::from_secs(60));
        manager.settle().unwrap();
    }
}

pub(crate) fn commit(manager: &CheckpointManager, n: u64) -> Receipt {
    let agent = manager.agent("a").unwrap();
    // Every third state is long enough to be cut into chunks.
    let pad = if n.is_multiple_of(3) { words(n, 60_000) } else { String::new() };
    agent.create_checkpoint(Kind::Routine, &json!({"n": n, "pad": pad})).unwrap()
}

/// Text that does not compress to nothing.
pub(crate) fn words(seed: u64, len: usize) -> String {
    let mut text = String::with_capacity(len + 16);
    let mut x = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    while text.len() < len {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(
            ["able ", "stone ", "river ", "seven ", "quiet ", "lamp "][(x >> 33) as usize % 6],
        );
        write!(text, "{:x} ", x >> 48).unwrap();
    }
    text.truncate(len);
    text
}

pub(crate) fn listed(manager: &CheckpointManager) -> Vec<Checkpoint> {
    let agent = manager.agent("a").unwrap();
    let mut all = agent.list_checkpoints(Filter::default()).unwrap();
    all.reverse();
    all
}

pub(crate) fn n_of(manager: &CheckpointManager, reference: &str) -> u64 {
    let agent = manager.agent("a").unwrap();
    let state: Value = agent.read_checkpoint(reference).unwrap().state().unwrap();
    state["n"].as_u64().unwrap()
}

/// Everything that was acknowledged is listed once, at home, in the order it was made.
pub(crate) fn check_home(manager: &CheckpointManager, made: &[(u64, Receipt)]) {
    let listed = listed(manager);
    let ids: Vec<_> = listed.iter().map(|one| one.checkpoint_id).collect();
    let wanted: Vec<_> = made.iter().map(|(_, receipt)| receipt.checkpoint.checkpoint_id).collect();
    assert_eq!(ids, wanted);
    for (one, (n, receipt)) in listed.iter().zip(made) {
        assert_eq!(one.durable, Durable::Local);
        assert!(one.path.starts_with(PRIMARY) && !one.seq_provisional, "{one:?}");
        if !receipt.checkpoint.seq_provisional {
            assert_eq!(one.seq, receipt.checkpoint.seq);
        }
        for reference in [receipt.checkpoint.path.to_str().unwrap(), &one.checkpoint_id.to_string()]
        {
            assert_eq!(n_of(manager, reference), *n);
        }
    }
    assert!(listed.windows(2).all(|two| two[0].seq < two[1].seq));
    assert_eq!(n_of(manager, "latest"), made.last().unwrap().0);
}

/// A way in which the primary fails.
#[derive(Debug, Clone, Copy)]
enum Way {
    Full,
    ReadOnly,
    Gone,
    ErrorsOnWrite,
    ErrorsOnSync,
    Denied,
    Emptied,
}

const WAYS: [Way; 7] = [
    Way::Full,
    Way::ReadOnly,
    Way::Gone,
    Way::ErrorsOnWrite,
    Way::ErrorsOnSync,
    Way::Denied,
    Way::Emptied,
];

impl Way {
    fn begin(self, world: &World) {
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
            Self::Emptied => {
                world.fault.rename("/p/store".as_ref(), "/p/elsewhere".as_ref()).ok();
                world.fault.create_dir("/p/store".as_ref()).unwrap();
            }
        }
    }

    /// Whether nothing of the primary can be seen.
    fn hides(self) -> bool {
        matches!(self, Self::Gone | Self::Denied | Self::Emptied)
    }

    fn end(self, world: &World) {
        world.fault.heal();
        if let Self::Emptied = self {
            assert!(world.fault.read_dir("/p/store".as_ref()).unwrap().is_empty(), "made afresh");
            world.fault.remove_dir("/p/store".as_ref()).unwrap();
            world.fault.rename("/p/elsewhere".as_ref(), "/p/store".as_ref()).ok();
        }
    }
}

fn check_away(receipt: &Receipt) {
    assert_eq!(receipt.checkpoint.durable, Durable::Fallback, "{receipt:?}");
    assert!(receipt.degraded && receipt.degraded_why.iter().any(|why| why.starts_with(PRIMARY)));
    assert!(receipt.checkpoint.path.starts_with(FALLBACK));
    let last = receipt.attempts.last().unwrap();
    assert!(last.error.is_none() && last.target.ends_with("f/store"));
    let first = &receipt.attempts[0];
    assert!(first.error.is_some() && first.target.ends_with("p/store"), "{:?}", receipt.attempts);
}

#[test]
fn a_primary_that_fails_in_the_middle() {
    for way in WAYS.into_iter().filter(|way| !matches!(way, Way::Emptied)) {
        println!("{way:?}");
        let world = World::new();
        let manager = world.open();
        let mut made: Vec<_> = (1..=4).map(|n| (n, commit(&manager, n))).collect();
        assert!(made.iter().all(|(_, receipt)| receipt.checkpoint.durable == Durable::Local));
        way.begin(&world);
        for n in 5..=10 {
            let receipt = commit(&manager, n);
            check_away(&receipt);
            assert!(!receipt.checkpoint.seq_provisional && receipt.checkpoint.seq.0 == n);
            made.push((n, receipt));
            assert_eq!(n_of(&manager, "latest"), n);
        }
        assert_eq!(listed(&manager).len(), 10, "what was read is read on");
        way.end(&world);
        world.settle(&manager);
        check_home(&manager, &made);
        made.push((11, commit(&manager, 11)));
        check_home(&manager, &made);
        drop(manager);
        let manager = world.open();
        check_home(&manager, &made);
    }
}

#[test]
fn a_primary_that_is_not_there_when_the_process_starts() {
    for way in WAYS {
        println!("{way:?}");
        let world = World::new();
        let manager = world.open();
        let mut made: Vec<_> = (1..=4).map(|n| (n, commit(&manager, n))).collect();
        // The fallback learns of its home.
        world.fault.inject(Fault::new(Errno::ROFS).on(Op::Write).at("/p/"));
        made.push((5, commit(&manager, 5)));
        world.fault.heal();
        world.settle(&manager);
        drop(manager);
        way.begin(&world);
        let manager = world.open();
        for n in 6..=9 {
            let receipt = commit(&manager, n);
            check_away(&receipt);
            assert_eq!(receipt.checkpoint.seq_provisional, way.hides());
            made.push((n, receipt));
        }
        let agent = manager.agent("a").unwrap();
        let id = made[0].1.checkpoint.checkpoint_id.to_string();
        if way.hides() {
            let error = agent.read_checkpoint(&id).unwrap_err();
            assert_eq!(error.kind(), stateward::error::ErrorKind::Unavailable, "{error}");
        } else {
            assert_eq!(n_of(&manager, &id), 1, "what can be read is read");
        }
        drop((manager, agent));
        // Another process while it is away, then one that sees it come back.
        let manager = world.open();
        made.push((10, commit(&manager, 10)));
        way.end(&world);
        world.settle(&manager);
        check_home(&manager, &made);
        let receipt = commit(&manager, 11);
        assert_eq!(receipt.checkpoint.durable, Durable::Local);
        assert!(!receipt.degraded, "{receipt:?}");
        made.push((11, receipt));
        check_home(&manager, &made);
    }
}

#[test]
fn a_primary_that_never_was_is_made_when_it_can_be() {
    for way in WAYS.into_iter().filter(|way| !matches!(way, Way::Emptied | Way::Gone)) {
        println!("{way:?}");
        let world = World::new();
        way.begin(&world);
        let manager = world.open();
        let mut made: Vec<_> = (1..=4).map(|n| (n, commit(&manager, n))).collect();
        for (_, receipt) in &made {
            check_away(receipt);
        }
        drop(manager);
        let manager = world.open();
        made.push((5, commit(&manager, 5)));
        way.end(&world);
        world.settle(&manager);
        check_home(&manager, &made);
        made.push((6, commit(&manager, 6)));
        check_home(&manager, &made);
    }
}
