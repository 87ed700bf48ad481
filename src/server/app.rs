//! What every route works with.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::Options;
use super::body::Budget;
use super::due::Dues;
use super::flight::Flights;
use super::problem::Problem;
#[cfg(feature = "cli")]
use super::sessions::Sessions;
use crate::manager::{self, CheckpointManager};

/// What every route works with. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct App {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    manager: CheckpointManager,
    options: Options,
    /// The agents that are being run.
    #[cfg(feature = "cli")]
    sessions: Sessions,
    /// What the bodies of all requests take.
    bodies: Budget,
    dues: Dues,
    flights: Flights,
    /// Turns true when the sidecar is told to end.
    ending: watch::Sender<bool>,
}

impl App {
    /// An application over an open store.
    #[must_use]
    pub fn new(manager: CheckpointManager, options: Options) -> Self {
        let ending = watch::Sender::new(false);
        let inner = Inner {
            manager,
            options,
            #[cfg(feature = "cli")]
            sessions: Sessions::default(),
            bodies: Budget::default(),
            dues: Dues::default(),
            flights: Flights::default(),
            ending,
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
    pub fn options(&self) -> &Options {
        &self.inner.options
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

    /// The idempotency keys that are being worked on.
    pub(crate) fn flights(&self) -> &Flights {
        &self.inner.flights
    }

    pub(super) fn bodies(&self) -> &Budget {
        &self.inner.bodies
    }

    /// Says that the sidecar is about to end.
    pub(super) fn end(&self) {
        self.inner.ending.send_replace(true);
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
