//! Notices of change: where to look first.
//!
//! Each directory that is looked into is watched by itself, from before it is read; what changes in
//! one makes it *dirty*. Notices are hints: writes through a mapping raise none, and the system drops
//! them when they come too fast. Then the watch is *behind*, until everything was walked again. When
//! there is no more room for watches, or the system has none, it has *failed* and everything is
//! walked each time.
//!
//! Notices come in the order of what they tell (`inotify(7)`), but by way of another thread, which
//! may lag. Two things make sure that it has caught up before the notices are counted. It is asked
//! something twice: it answers in the order in which it was woken, and by its second answer it has
//! worked off what woke it before. Then the root is opened, which raises a notice too: when one has
//! come, those before it have. (Alone that would not do: others open the root as well.) Only Linux is
//! known to keep that order; elsewhere there is no watch.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::{Condvar, Mutex};

/// More dirty directories than this are not told apart.
const DIRTY_MAX: usize = 10_000;
/// A notice that takes longer does not come.
const NOTICE_WAIT: Duration = Duration::from_secs(1);

/// A watch over directories of one workspace.
#[derive(Debug)]
pub(super) struct Watch {
    place: PathBuf,
    watcher: Mutex<RecommendedWatcher>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    noticed: Condvar,
}

/// All paths are from the root.
#[derive(Debug, Default)]
struct State {
    watched: BTreeSet<PathBuf>,
    dirty: HashSet<PathBuf>,
    /// How often anything was dirtied.
    noticed: u64,
    /// How often the root was opened, by anyone.
    root_opened: u64,
    is_behind: bool,
    has_failed: bool,
}

impl Watch {
    /// Starts with nothing watched; nothing where that cannot be.
    pub(super) fn start(place: &Path) -> Option<Self> {
        if !cfg!(target_os = "linux") {
            return None;
        }
        let shared = Arc::new(Shared::default());
        let (heard, root) = (shared.clone(), place.to_owned());
        let handler = move |notice: notify::Result<Event>| heard.hear(&root, notice);
        match notify::recommended_watcher(handler) {
            Ok(watcher) => {
                Some(Self { place: place.to_owned(), watcher: Mutex::new(watcher), shared })
            }
            Err(error) => {
                tracing::warn!(%error, "changes are not watched, every scan looks everywhere");
                None
            }
        }
    }

    /// Watches a directory, if it is not watched yet.
    pub(super) fn add(&self, dir: &Path) {
        {
            // Noted before it is asked for: a notice that the directory went away takes it out again.
            let mut state = self.shared.state.lock();
            if state.has_failed || !state.watched.insert(dir.to_owned()) {
                return;
            }
        }
        if let Err(error) = self.ask(dir) {
            let mut state = self.shared.state.lock();
            state.watched.remove(dir);
            // What is gone or closed is found out by whoever reads it.
            if !is_about_the_directory(&error) {
                state.fail(&error);
            }
        }
    }

    fn ask(&self, dir: &Path) -> notify::Result<()> {
        self.watcher.lock().watch(&self.place.join(dir), RecursiveMode::NonRecursive)
    }

    pub(super) fn has(&self, dir: &Path) -> bool {
        self.shared.state.lock().watched.contains(dir)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.shared.state.lock().has_failed
    }

    /// A number that grows with every change that is noticed; none where notices are missing.
    #[cfg(feature = "cli")]
    pub(super) fn noticed(&self) -> Option<u64> {
        let state = self.shared.state.lock();
        (!state.has_failed).then_some(state.noticed)
    }

    /// Everything is about to be looked at: what was noticed before does not matter any more.
    pub(super) fn begin_anew(&self) {
        let mut state = self.shared.state.lock();
        state.dirty.clear();
        state.is_behind = false;
    }

    /// The directories that changed up to now, or nothing where notices are missing. `open` opens
    /// the root.
    pub(super) fn dirty(&self, open: &dyn Fn() -> io::Result<()>) -> Option<HashSet<PathBuf>> {
        for _ in 0..2 {
            if let Err(error) = self.ask(Path::new("")) {
                self.shared.state.lock().fail(&error);
            }
        }
        let before = self.shared.state.lock().root_opened;
        open().ok()?;
        let mut state = self.shared.state.lock();
        while state.root_opened == before && !state.has_failed {
            if self.shared.noticed.wait_for(&mut state, NOTICE_WAIT).timed_out() {
                state.fail(&"notices do not come");
            }
        }
        let is_whole = !state.is_behind && !state.has_failed;
        is_whole.then(|| std::mem::take(&mut state.dirty))
    }
}

fn is_about_the_directory(error: &notify::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => {
            matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
        }
        _ => false,
    }
}

impl Shared {
    /// Takes a notice, in the thread that waits for them.
    fn hear(&self, root: &Path, notice: notify::Result<Event>) {
        let mut state = self.state.lock();
        match notice {
            Ok(event) if event.need_rescan() => state.fall_behind("too many at once"),
            Ok(event) => {
                for path in event.paths.iter().filter_map(|path| path.strip_prefix(root).ok()) {
                    state.note(event.kind, path);
                }
            }
            Err(error) => state.fail(&error),
        }
        drop(state);
        self.noticed.notify_all();
    }
}

impl State {
    fn note(&mut self, kind: EventKind, path: &Path) {
        let dir = path.parent().unwrap_or(path);
        match kind {
            EventKind::Access(AccessKind::Open(_)) => {
                self.root_opened += u64::from(path.as_os_str().is_empty());
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => self.soil(dir),
            EventKind::Access(_) => {}
            _ => {
                self.soil(dir);
                // The directory shows another time in the one above.
                self.soil(dir.parent().unwrap_or(dir));
                self.forget(path);
            }
        }
    }

    fn soil(&mut self, dir: &Path) {
        self.noticed += 1;
        if self.dirty.len() >= DIRTY_MAX {
            self.fall_behind("more directories than are told apart");
        } else if !self.dirty.contains(dir) {
            self.dirty.insert(dir.to_owned());
        }
    }

    /// A directory that came, went or was moved is to be watched anew, and all below it: the watch
    /// may be gone, or belong to what stands elsewhere now.
    fn forget(&mut self, path: &Path) {
        let from = (Bound::Included(path), Bound::Unbounded);
        let below = self.watched.range::<Path, _>(from);
        let gone: Vec<_> = below.take_while(|dir| dir.starts_with(path)).cloned().collect();
        for dir in gone {
            self.watched.remove(&dir);
        }
    }

    fn fall_behind(&mut self, why: &str) {
        if !self.is_behind {
            tracing::info!(why, "notices of change are missing, the next scan looks everywhere");
        }
        self.is_behind = true;
        self.noticed += 1;
        self.dirty.clear();
    }

    fn fail(&mut self, error: &dyn std::fmt::Display) {
        if !self.has_failed {
            tracing::warn!(%error, "changes are not watched any more, every scan looks everywhere");
        }
        self.has_failed = true;
    }
}
