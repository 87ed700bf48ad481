//! Targets: the primary store and, in order, the directories that take its place when it fails.
//!
//! Each target is a store of its own. One that fails is left alone for a while that doubles with
//! each failure, up to half a minute; what it held is still read as far as it can be. A fallback is
//! opened, and so locked, before it is written, and made when it is first needed. One that another
//! process holds is not waited for, and one that belongs to another home is never written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use super::identity::{Found, Home, Identity};
use super::layout::Layout;
use super::news::News;
use super::open::{Ground, IfMissing};
use super::{Error, Store};
use crate::protection::{self, Protection};

const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Why a target takes nothing just now.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub why: String,
    next_try: Duration,
    pause: Duration,
    /// Only room is missing: the store is well, and is tried again without being opened anew.
    for_room: bool,
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
    /// Where this process answers; the lock names it, also after the store was opened again.
    socket: RwLock<Option<PathBuf>>,
}

/// Every target, the primary first.
#[derive(Debug)]
pub(crate) struct Targets {
    pub primary: Target,
    pub fallbacks: Vec<Target>,
    /// The registry of stores knows that the primary was there.
    pub registered: bool,
    /// Grows when everything is home and the fallbacks are about to let go.
    pub homecomings: AtomicU64,
    /// Whom to tell what was written.
    pub news: News,
}

impl Target {
    pub(crate) fn new(ground: Ground) -> Self {
        Self { ground, standing: RwLock::default(), socket: RwLock::default() }
    }

    /// A target whose lock is not waited for: the next one takes the commit.
    pub(crate) fn impatient(mut ground: Ground) -> Self {
        ground.store.lock_wait_ms = 0;
        Self::new(ground)
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

    /// Whether something of a store stands there.
    pub(crate) fn is_there(&self) -> io::Result<bool> {
        self.ground.is_there()
    }

    /// Opens the store, or opens it again after trouble.
    pub(crate) fn open(&self, if_missing: &IfMissing) -> Result<Arc<Store>, Error> {
        let store = self.open_apart(if_missing)?;
        self.adopt(&store);
        Ok(store)
    }

    /// Opens the store and leaves the target as it stands: what is read goes on being read, and
    /// commits do not come yet. A store that is open for reading gives its lock back first.
    pub(crate) fn open_apart(&self, if_missing: &IfMissing) -> Result<Arc<Store>, Error> {
        if let Some(store) = self.store() {
            store.give_lock_back()?;
        }
        let socket = self.socket.read().clone();
        let store = self.ground.open(if_missing, socket)?;
        if let IfMissing::Make { home: Some(home) } = if_missing {
            belongs(&store, home)?;
        }
        Ok(Arc::new(store))
    }

    /// Says in the lock where this process answers, now and whenever the store is opened again.
    #[cfg(feature = "server")]
    fn name_socket(&self, socket: Option<&Path>) {
        *self.socket.write() = socket.map(Path::to_owned);
        if let Some(store) = self.store() {
            store.name_socket(socket.map(Path::to_owned));
        }
    }

    /// Lets commits come to a store that was opened apart.
    pub(crate) fn adopt(&self, store: &Arc<Store>) {
        *self.standing.write() = Standing { store: Some(Arc::clone(store)), trouble: None };
    }

    pub(crate) fn open_to_look(&self) -> Result<Arc<Store>, Error> {
        let store = Arc::new(self.ground.open_to_look()?);
        self.adopt(&store);
        Ok(store)
    }

    /// Reads what can be read of a store that failed to open: a disk that takes no writes may well
    /// give what is on it.
    pub(crate) fn look_meanwhile(&self) {
        match self.ground.open_to_look() {
            Ok(store) => self.standing.write().store = Some(Arc::new(store)),
            Err(error) => {
                tracing::debug!(target_store = %self.path().display(), %error, "nor can it be read");
            }
        }
    }

    /// Whether this fallback was made, or was home, in sight of the primary: then a store was there.
    fn has_seen_home(&self) -> bool {
        if !self.is_there().unwrap_or(false) {
            return false;
        }
        match Identity::read(&*self.ground.disk, &Layout::new(self.path())) {
            Ok(Found::Identity(identity)) => {
                identity.home.is_some_and(|home| home.store_id.is_some())
            }
            Ok(Found::Missing) => false,
            // What cannot be read may well say so.
            Ok(Found::Unreadable(_)) | Err(_) => true,
        }
    }

    /// Notes that the target failed.
    pub(crate) fn fail(&self, why: String) {
        self.fail_as(why, false);
    }

    /// Notes that the target's disk is full.
    pub(crate) fn fail_for_room(&self, why: String) {
        self.fail_as(why, true);
    }

    /// The store, where nothing but room was missing.
    pub(crate) fn waiting_for_room(&self) -> Option<Arc<Store>> {
        let standing = self.standing.read();
        let waits = standing.trouble.as_ref().is_some_and(|trouble| trouble.for_room);
        standing.store.clone().filter(|store| waits && store.is_writable())
    }

    fn fail_as(&self, why: String, for_room: bool) {
        let now = self.ground.clock.monotonic();
        let mut standing = self.standing.write();
        let before = standing.trouble.as_ref().map_or(PAUSE_FIRST / 2, |trouble| trouble.pause);
        let pause = (before * 2).min(PAUSE_MAX);
        tracing::warn!(target_store = %self.path().display(), %why, ?pause, "a target failed");
        standing.trouble = Some(Trouble { why, next_try: now + pause, pause, for_room });
    }

    /// Notes that the target took something after all.
    pub(crate) fn mend(&self) {
        let troubled = self.standing.read().trouble.is_some();
        if troubled {
            self.standing.write().trouble = None;
        }
    }

    /// Whether the time has come to try a failed target again.
    pub(crate) fn is_due(&self) -> bool {
        let now = self.ground.clock.monotonic();
        self.standing.read().trouble.as_ref().is_some_and(|trouble| trouble.next_try <= now)
    }
}

impl Targets {
    /// Says in the lock of every target where this process answers.
    #[cfg(feature = "server")]
    pub(crate) fn name_socket(&self, socket: Option<&Path>) {
        self.all().for_each(|target| target.name_socket(socket));
    }

    /// Every store that is open, the primary first.
    pub(crate) fn sighted(&self) -> Vec<Arc<Store>> {
        let fallbacks = self.fallbacks.iter().filter_map(Target::store);
        self.primary.store().into_iter().chain(fallbacks).collect()
    }

    /// Reads from every store that is open, the primary first, and again where checkpoints went home
    /// meanwhile: they could have been missed in both places.
    pub(crate) fn in_one_view<T>(&self, mut read: impl FnMut(&[Arc<Store>]) -> T) -> T {
        loop {
            let before = self.homecomings.load(Ordering::SeqCst);
            let answer = read(&self.sighted());
            if self.homecomings.load(Ordering::SeqCst) == before {
                return answer;
            }
        }
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
    pub(crate) fn home(&self) -> Home {
        let path = self.primary.path().to_owned();
        let sighted = self.primary.store().map(|store| store.identity().store_id);
        let told = || {
            let stores = self.fallbacks.iter().filter_map(Target::store);
            stores.filter_map(|store| store.identity().home.clone()).find_map(|home| home.store_id)
        };
        Home { store_id: sighted.or_else(told), path, events_known: 0 }
    }

    /// Whether the registry or a fallback knows that the primary was there: then an empty directory in its place is
    /// an unmounted volume, not a place to start afresh.
    pub(crate) fn know_of_home(&self) -> bool {
        self.registered || self.fallbacks.iter().any(Target::has_seen_home)
    }

    /// Why something that is not found may still be there: a target holds a store that cannot be
    /// seen.
    pub(crate) fn unseen(&self) -> Option<String> {
        self.all().enumerate().find_map(|(index, target)| {
            let trouble = target.trouble().filter(|_| target.store().is_none())?;
            let may_hold = index == 0 || target.is_there().unwrap_or(true);
            may_hold.then(|| format!("{}: {}", target.path().display(), trouble.why))
        })
    }

    /// The homes of open stores that are fallbacks and were opened without their home, to look at:
    /// what was committed there has gone home.
    pub(crate) fn homes_elsewhere(&self) -> Vec<Arc<Store>> {
        let known = self.paths();
        let named = self.sighted().into_iter().filter_map(|store| store.identity().home.clone());
        named
            .filter(|home| !known.contains(&home.path))
            .filter_map(|home| {
                let ground = Ground { path: home.path.clone(), ..self.primary.ground.clone() };
                let store = ground.open_to_look().ok()?;
                let same = home.store_id.is_none_or(|id| id == store.identity().store_id);
                same.then(|| Arc::new(store))
            })
            .collect()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Target> {
        std::iter::once(&self.primary).chain(&self.fallbacks)
    }

    /// Paths of every target, in order.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.all().map(|target| target.path().to_owned()).collect()
    }
}

/// Refuses a store that is no fallback, or that of another home. Home is known by its identity, and
/// by its path where it was made anew.
fn belongs(store: &Store, home: &Home) -> Result<(), Error> {
    if !protection::stands(Protection::FallbackIdentity) {
        return Ok(());
    }
    let why = match &store.identity().home {
        None => "it is a store of its own".to_owned(),
        Some(known) if known.path == home.path => return Ok(()),
        Some(known) if known.store_id.is_some() && known.store_id == home.store_id => return Ok(()),
        Some(known) => format!("its home is {}", known.path.display()),
    };
    Err(Error::Foreign { path: store.path().to_owned(), why })
}
