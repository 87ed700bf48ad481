//! What every route works with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Options;
use super::body::Budget;
#[cfg(feature = "cli")]
use super::drills::Drills;
use super::due::Dues;
use super::feed::Feed;
use super::flight::Flights;
use super::guard::Rules;
use super::metrics::Metrics;
use super::problem::Problem;
#[cfg(feature = "cli")]
use super::sessions::Sessions;
use super::tokens::Tokens;
use super::unsaved::{Unsaved, Unstored};
use crate::manager::{self, CheckpointManager};
use crate::state::AgentId;

/// What every route works with. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct App {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    manager: CheckpointManager,
    /// By the clock of the store.
    began: Duration,
    options: RwLock<Arc<Options>>,
    tokens: Tokens,
    /// What `Host` and `Origin` may say.
    rules: RwLock<Arc<Rules>>,
    /// Requests that may be worked on.
    turns: Arc<Semaphore>,
    /// The agents that are being run.
    #[cfg(feature = "cli")]
    sessions: Sessions,
    /// What the bodies of all requests take.
    bodies: Budget,
    dues: Dues,
    flights: Flights,
    unstored: Unstored,
    /// Agents that should be run and are not, and why.
    down: Mutex<BTreeMap<AgentId, String>>,
    #[cfg(feature = "cli")]
    drills: Drills,
    metrics: Arc<Metrics>,
    feed: Arc<Feed>,
    /// Turns true when the sidecar is told to end.
    ending: watch::Sender<bool>,
}

impl App {
    /// An application over an open store. It hears of every commit there from now on.
    #[must_use]
    pub fn new(manager: CheckpointManager, options: Options) -> Self {
        let metrics = Arc::new(Metrics::new(options.agents_measured_max));
        let counting = Arc::clone(&metrics);
        manager.on_commit(move |ended| counting.count_commit(ended));
        let inner = Inner {
            feed: Feed::of(&manager, options.events_queued_max),
            began: manager.clock().monotonic(),
            manager,
            tokens: Tokens::default(),
            rules: RwLock::default(),
            turns: Arc::new(Semaphore::new(options.requests_max)),
            #[cfg(feature = "cli")]
            sessions: Sessions::default(),
            bodies: Budget::default(),
            dues: Dues::default(),
            flights: Flights::default(),
            unstored: Unstored::default(),
            down: Mutex::default(),
            #[cfg(feature = "cli")]
            drills: Drills::default(),
            options: RwLock::new(Arc::new(options)),
            metrics,
            ending: watch::Sender::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The store.
    #[must_use]
    pub fn manager(&self) -> &CheckpointManager {
        &self.inner.manager
    }

    /// How the sidecar serves.
    #[must_use]
    pub fn options(&self) -> Arc<Options> {
        Arc::clone(&self.inner.options.read())
    }

    pub(super) fn is_younger_than(&self, age: Duration) -> bool {
        self.elapsed().saturating_sub(self.inner.began) < age
    }

    /// The tokens that are taken.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.inner.tokens
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.inner.rules.read())
    }

    pub(super) fn set_rules(&self, rules: Rules) {
        *self.inner.rules.write() = Arc::new(rules);
    }

    /// The agents that are being run.
    #[cfg(feature = "cli")]
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    /// When the agents' next checkpoints are due.
    pub(crate) fn dues(&self) -> &Dues {
        &self.inner.dues
    }

    /// What agents handed over and no store could take: kept in memory and tried again.
    #[must_use]
    pub fn unsaved(&self) -> Vec<Unsaved> {
        self.inner.unstored.report()
    }

    pub(crate) fn unstored(&self) -> &Unstored {
        &self.inner.unstored
    }

    /// The idempotency keys that are being worked on.
    pub(crate) fn flights(&self) -> &Flights {
        &self.inner.flights
    }

    pub(super) fn bodies(&self) -> &Budget {
        &self.inner.bodies
    }

    /// What came of the last drill.
    #[cfg(feature = "cli")]
    pub(super) fn drills(&self) -> &Drills {
        &self.inner.drills
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    pub(super) fn feed(&self) -> &Arc<Feed> {
        &self.inner.feed
    }

    /// Serves by other options from now on: timeouts, sizes and the like. The numbers of connections,
    /// requests, agents and queued events stay until the next start.
    #[cfg(feature = "cli")]
    pub(crate) fn set_options(&self, options: Options) {
        *self.inner.options.write() = Arc::new(options);
    }

    /// Tells every stream of events something that is not in the log.
    #[cfg(feature = "cli")]
    pub(crate) fn announce(&self, entry: &str, detail: serde_json::Value) {
        self.feed().announce(self.manager().now(), entry, detail);
    }

    /// Tells that an agent should be run and is not.
    #[cfg(feature = "cli")]
    pub(crate) fn note_down(&self, agent: &AgentId, why: &str) {
        self.inner.down.lock().insert(agent.clone(), why.to_owned());
        self.announce("agent_down", serde_json::json!({ "agent_id": agent, "why": why }));
    }

    /// Time since some fixed moment.
    pub(super) fn elapsed(&self) -> Duration {
        self.manager().monotonic()
    }

    /// Waits for the turn of a request.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let patience = self.options().queue_timeout.as_duration();
        match timeout(patience, Arc::clone(&self.inner.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Problem::busy("there are too many requests before this one")),
        }
    }

    /// Why not everything is as it should be, in words; nothing where it is. Blocks.
    pub(super) fn troubles(&self) -> Vec<String> {
        let mut troubles = self.manager().troubles();
        troubles.extend(self.unsaved().into_iter().map(|Unsaved { agent_id, since, bytes }| {
            format!(
                "no store could take the newest {bytes} bytes of agent {agent_id} since {since}"
            )
        }));
        let down = self.inner.down.lock();
        troubles.extend(down.iter().map(|(agent, why)| format!("agent {agent} is down: {why}")));
        drop(down);
        #[cfg(feature = "cli")]
        troubles.extend(self.drills().troubles());
        if self.is_ending() {
            troubles.push("the sidecar is about to end".to_owned());
        }
        troubles
    }

    /// Says that the sidecar is about to end.
    pub(super) fn end(&self) {
        self.inner.ending.send_replace(true);
    }

    /// Whether the sidecar was told to end.
    pub(super) fn is_ending(&self) -> bool {
        *self.inner.ending.borrow()
    }

    /// Waits until the sidecar is told to end: streams must end with it, or nothing would.
    pub(crate) async fn ended(&self) {
        let mut ending = self.inner.ending.subscribe();
        // The sender lives as long as this does, so that waiting ends with true alone.
        ending.wait_for(|ended| *ended).await.ok();
    }

    /// Does what blocks in a thread that may. What has begun is finished, also when the client that
    /// asked for it hangs up.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&CheckpointManager) -> Result<T, manager::Error> + Send + 'static,
    ) -> Result<T, Problem> {
        let manager = self.manager().clone();
        self.work(move || work(&manager).map_err(Problem::from)).await
    }

    /// The same for work that finds its own problems.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let span = tracing::Span::current();
        spawn_blocking(move || span.in_scope(work)).await.unwrap_or_else(|died| {
            tracing::error!(%died, "a request died");
            Err(Problem::died("a fault of the sidecar"))
        })
    }
}
