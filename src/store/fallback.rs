//! Targets: the primary store and, in order, the directories that take its place when it fails.
//!
//! Each target is a store of its own. One that fails is left alone for a while that doubles with
//! each failure, up to half a minute; what it held is still read as far as it can be. A fallback is
//! opened, and so locked, before it is written, and made when it is first needed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::open::{Ground, Home, IfMissing};
use super::{Error, Store};

const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Why a target takes nothing just now.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub why: String,
    next_try: Duration,
    pause: Duration,
}

#[derive(Debug, Default)]
struct Standing {
    store: Option<Arc<Store>>,
    trouble: Option<Trouble>,
}

/// One target.
#[derive(Debug)]
pub(crate) struct Target {
    ground: Ground,
    standing: RwLock<Standing>,
}

/// Every target, the primary first.
#[derive(Debug)]
pub(crate) struct Targets {
    pub primary: Target,
    pub fallbacks: Vec<Target>,
}

impl Target {
    pub(crate) fn new(ground: Ground) -> Self {
        Self { ground, standing: RwLock::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.ground.path
    }

    /// The store, whether it takes commits just now or not; `None` where it was never seen.
    pub(crate) fn store(&self) -> Option<Arc<Store>> {
        self.standing.read().store.clone()
    }

    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.standing.read().trouble.clone()
    }

    /// The store, if it takes commits as far as is known.
    pub(crate) fn ready(&self) -> Option<Arc<Store>> {
        let standing = self.standing.read();
        let well = standing.trouble.is_none();
        standing.store.clone().filter(|store| well && store.is_writable())
    }

    /// Takes an open store in.
    pub(crate) fn set(&self, store: Store) -> Arc<Store> {
        let store = Arc::new(store);
        *self.standing.write() = Standing { store: Some(Arc::clone(&store)), trouble: None };
        store
    }

    /// Whether something of a store stands there.
    pub(crate) fn is_there(&self) -> io::Result<bool> {
        self.ground.is_there()
    }

    /// Opens the store, or opens it again after trouble. A store that is open for reading gives its
    /// lock back first.
    pub(crate) fn open(&self, if_missing: &IfMissing) -> Result<Arc<Store>, Error> {
        if let Some(store) = self.store() {
            store.give_lock_back();
        }
        Ok(self.set(self.ground.open(if_missing, None)?))
    }

    pub(crate) fn open_to_look(&self) -> Result<Arc<Store>, Error> {
        Ok(self.set(self.ground.open_to_look()?))
    }

    /// Notes that the target failed.
    pub(crate) fn fail(&self, why: String) {
        let now = self.ground.clock.monotonic();
        let mut standing = self.standing.write();
        let before = standing.trouble.as_ref().map_or(PAUSE_FIRST / 2, |trouble| trouble.pause);
        let pause = (before * 2).min(PAUSE_MAX);
        tracing::warn!(target_store = %self.path().display(), %why, ?pause, "a target failed");
        standing.trouble = Some(Trouble { why, next_try: now + pause, pause });
    }

    /// Notes that the target took something after all.
    pub(crate) fn mend(&self) {
        self.standing.write().trouble = None;
    }

    /// Whether the time has come to try a failed target again.
    pub(crate) fn is_due(&self) -> bool {
        let now = self.ground.clock.monotonic();
        self.standing.read().trouble.as_ref().is_some_and(|trouble| trouble.next_try <= now)
    }
}

impl Targets {
    /// Every store that is open, the primary first.
    pub(crate) fn sighted(&self) -> Vec<Arc<Store>> {
        let fallbacks = self.fallbacks.iter().filter_map(Target::store);
        self.primary.store().into_iter().chain(fallbacks).collect()
    }

    /// Targets that are left alone because they failed, and could be written all the same: the last
    /// resort of a commit that no other target takes.
    pub(crate) fn resting(&self) -> Vec<(&Target, Arc<Store>)> {
        let resting = self.all().filter(|target| target.trouble().is_some());
        resting
            .filter_map(|target| Some((target, target.store()?)))
            .filter(|(_, store)| store.is_writable())
            .collect()
    }

    /// What a fallback store is to know of its home.
    pub(crate) fn home(&self) -> Option<Home> {
        let path = self.primary.path().to_owned();
        let known = self
            .fallbacks
            .iter()
            .find_map(|target| target.store().and_then(|store| store.identity().home.clone()));
        match self.primary.store() {
            Some(store) => Some(Home { store_id: Some(store.identity().store_id), path }),
            None => Some(known.unwrap_or(Home { store_id: None, path })),
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Target> {
        std::iter::once(&self.primary).chain(&self.fallbacks)
    }

    /// Paths of every target, in order.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.all().map(|target| target.path().to_owned()).collect()
    }
}
