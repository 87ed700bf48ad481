//! What can wait until after a commit, in a thread of its own.
//!
//! The thread sleeps until a commit wakes it, makes the next segment as soon as one is wanted, and
//! leaves the rest until the log has been idle for a moment or a quarter of a second has passed. It
//! holds no lock while it writes beside the log, so that commits go on.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::committer::Committer;
use super::drift::WRITTEN_WITHIN;
use super::{homecoming, letting_go};
use crate::store::Store;

/// The log counts as idle after this long without a commit.
const IDLE: Duration = Duration::from_millis(20);
/// How often the thread looks while commits keep coming.
const GLANCE: Duration = Duration::from_millis(4);
/// What can wait waits no longer than this under steady load.
const STEADY: Duration = Duration::from_millis(250);
/// Checkpoints that are looked at for a view in one round under steady load.
const VIEWS_UNDER_LOAD: usize = 64;
/// How often a failed target is looked at.
const PROBE: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
struct Bell {
    rung: bool,
    stop: bool,
    /// The thread looks again by itself soon: ringing need not wake it.
    awake: bool,
}

#[derive(Debug, Default)]
struct Shared {
    bell: Mutex<Bell>,
    changed: Condvar,
}

/// The thread and the way to wake it.
#[derive(Debug)]
pub(super) struct Housekeeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Housekeeper {
    pub(super) fn start(committer: Arc<Committer>) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let spawned = std::thread::Builder::new()
            .name("stateward-keeper".to_owned())
            .spawn(move || keep(&theirs, &committer));
        let thread = match spawned {
            Ok(thread) => Some(thread),
            Err(error) => {
                tracing::warn!(%error, "no thread for housekeeping; settle() does its work");
                None
            }
        };
        Self { shared, thread }
    }

    /// Says that something was seen that is to be written down before long.
    pub(super) fn nudge(&self) {
        let bell = self.shared.bell.lock();
        if !bell.awake {
            self.shared.changed.notify_one();
        }
    }

    /// Says that something was committed.
    pub(super) fn poke(&self) {
        let mut bell = self.shared.bell.lock();
        if !std::mem::replace(&mut bell.rung, true) && !bell.awake {
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        self.shared.bell.lock().stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the housekeeping thread died");
        }
    }
}

/// Why the thread woke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    Rung,
    /// Nobody rang for as long as it may wait.
    TimeIsUp,
    Stopped,
}

/// Waits for a ring, for at most as long as `longest` says whenever something was said.
fn wait(shared: &Shared, longest: impl Fn() -> Option<Duration>) -> Woken {
    let mut bell = shared.bell.lock();
    let mut woken = Woken::Rung;
    while !bell.rung && !bell.stop {
        match longest() {
            None => shared.changed.wait(&mut bell),
            Some(longest) => {
                if shared.changed.wait_for(&mut bell, longest).timed_out() {
                    woken = Woken::TimeIsUp;
                    break;
                }
            }
        }
    }
    bell.rung = false;
    if bell.stop { Woken::Stopped } else { woken }
}

fn keep(shared: &Shared, committer: &Committer) {
    let longest = || {
        let probe = Some(PROBE).filter(|_| in_trouble(committer));
        let unsaved = Some(WRITTEN_WITHIN).filter(|_| committer.watches.has_unsaved());
        probe.into_iter().chain(unsaved).min()
    };
    loop {
        let woken = wait(shared, longest);
        if woken == Woken::Stopped {
            break;
        }
        homecoming::come_home(committer);
        watch_until_idle(shared, committer);
        if woken == Woken::TimeIsUp || committer.watches.is_due() {
            write_down(committer, false);
        }
        rest(shared, committer);
    }
    write_down(committer, true);
    // The last words are settle()'s or the next opening's: closing must not take long.
    each_store(committer, "mark the end of the log", Store::mark);
}

/// Writes down what was seen of agents.
fn write_down(committer: &Committer, closing: bool) {
    if let Err(error) = committer.watches.write_down(committer, closing) {
        tracing::warn!(%error, "what was seen of agents is not written down yet");
    }
}

/// While commits keep coming, only the next segment is made ahead; until they pause, or for a
/// quarter of a second.
fn watch_until_idle(shared: &Shared, committer: &Committer) {
    shared.bell.lock().awake = true;
    let started = committer.clock.monotonic();
    let mut quiet = Duration::ZERO;
    while quiet < IDLE && committer.clock.monotonic().saturating_sub(started) < STEADY {
        each_store(committer, "make the next segment", Store::make_spare);
        let mut bell = shared.bell.lock();
        if bell.stop {
            break;
        }
        shared.changed.wait_for(&mut bell, GLANCE);
        quiet = if std::mem::take(&mut bell.rung) { Duration::ZERO } else { quiet + GLANCE };
    }
    shared.bell.lock().awake = false;
}

fn rest(shared: &Shared, committer: &Committer) {
    notice_what_is_gone(committer);
    each_store(committer, "tidy the log", Store::tidy_log);
    // Views cost a file each: while commits keep coming only the newest get theirs.
    let looked = std::cell::Cell::new(0);
    let enough = || {
        looked.set(looked.get() + 1);
        let bell = shared.bell.lock();
        bell.stop || (bell.rung && looked.get() > VIEWS_UNDER_LOAD)
    };
    each_store(committer, "make the views", |store| store.make_views(&enough));
    if let Err(error) = letting_go::compact_when_worthwhile(committer) {
        tracing::warn!(%error, "compaction is put off");
    }
    each_store(committer, "fill the reserve", Store::fill_reserve);
    let idle = !shared.bell.lock().rung;
    if idle {
        each_store(committer, "mark the log", Store::mark);
    }
}

/// A store that was unlinked takes commits as if nothing were wrong, and they are gone with its last
/// open file: the next commit goes elsewhere.
fn notice_what_is_gone(committer: &Committer) {
    for target in committer.targets.all() {
        let Some(store) = target.ready() else { continue };
        match store.is_in_place() {
            Ok(true) => {}
            Ok(false) => target.fail("the segment in use is gone from its directory".to_owned()),
            Err(error) => target.fail(format!("cannot look at the segment in use: {error}")),
        }
    }
}

fn in_trouble(committer: &Committer) -> bool {
    committer.targets.all().any(|target| target.trouble().is_some())
}

fn each_store(
    committer: &Committer,
    doing: &'static str,
    work: impl Fn(&Store) -> std::io::Result<()>,
) {
    for target in committer.targets.all() {
        let Some(store) = target.ready() else { continue };
        if let Err(error) = work(&store) {
            tracing::warn!(store = %store.path().display(), %error, "cannot {doing}; tried again later");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::state::Kind;
    use crate::{CheckpointManager, Options};

    #[test]
    fn what_was_let_go_is_not_remembered_for_ever() {
        const COMMITS: usize = 20_000;
        // The thread's work is done by hand, so that nothing hangs on its pace.
        let mut options = Options { background: false, ..Options::in_memory() };
        options.retention.routine.anchors = Vec::new();
        options.log.segment_bytes_min = 64 << 10;
        options.log.segment_bytes_max = 256 << 10;
        let manager = CheckpointManager::open(options).unwrap();
        let agent = manager.agent("a").unwrap();
        let mut most = 0;
        for n in 0..COMMITS {
            agent.create_checkpoint(Kind::Routine, &serde_json::json!({ "n": n })).unwrap();
            if n % 10 == 0 {
                agent.begin_operation("step").unwrap().complete().unwrap();
            }
            if n % 500 == 499 {
                manager.settle().unwrap();
                let store = manager.committer().targets.primary.store().unwrap();
                most = most.max(store.catalog().memories());
            }
        }
        // What lies in the segments that are not compacted yet, and no more.
        assert!(most < COMMITS / 4, "{most} at most");
    }
}
