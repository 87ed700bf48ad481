//! What happens, as it happens, for streams of events.
//!
//! Entries are told in the order of the log, which is that of their ids. Two may get their time in
//! one millisecond and be written in either order, so an entry is passed on only when everything of
//! its millisecond was heard: whoever resumes behind an id then misses nothing and gets nothing twice,
//! from this process or from the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Notify, broadcast};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::app::App;
use crate::manager::{CheckpointManager, LogEntry};
use crate::state::Timestamp;

/// After this long another millisecond has begun.
const ANOTHER_MILLISECOND: Duration = Duration::from_millis(2);

/// How often it is looked whether everything is as it should be, while somebody listens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is heard and who listens.
#[derive(Debug)]
pub(super) struct Feed {
    heard: Mutex<Vec<LogEntry>>,
    news: Notify,
    streams: AtomicUsize,
    sender: broadcast::Sender<Arc<LogEntry>>,
}

/// A listener; as long as there is one, what happens is heard.
#[derive(Debug)]
pub(super) struct Subscription {
    feed: Arc<Feed>,
    pub receiver: broadcast::Receiver<Arc<LogEntry>>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.streams.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Feed {
    /// A feed of what happens in a store; `queued_max` entries wait for each listener.
    pub(super) fn of(manager: &CheckpointManager, queued_max: usize) -> Arc<Self> {
        let feed = Arc::new(Self {
            heard: Mutex::default(),
            news: Notify::new(),
            streams: AtomicUsize::new(0),
            sender: broadcast::Sender::new(queued_max),
        });
        let (asked, told) = (Arc::clone(&feed), Arc::clone(&feed));
        manager.on_entry(
            move || asked.streams.load(Ordering::SeqCst) > 0,
            move |entry| {
                told.heard.lock().push(entry);
                told.news.notify_one();
            },
        );
        feed
    }

    pub(super) fn subscribe(self: &Arc<Self>) -> Subscription {
        self.streams.fetch_add(1, Ordering::SeqCst);
        Subscription { feed: Arc::clone(self), receiver: self.sender.subscribe() }
    }

    /// Passes on what is heard, and what is amiss, until the sidecar ends.
    pub(super) async fn run(self: Arc<Self>, app: App) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut amiss = Vec::new();
        loop {
            tokio::select! {
                () = self.news.notified() => {}
                _ = looks.tick() => {
                    if self.streams.load(Ordering::SeqCst) > 0 {
                        amiss = self.tell_amiss(&app, amiss).await;
                    }
                    continue;
                }
                () = app.ended() => return,
            }
            let until = settled(app.manager()).await;
            for entry in self.take(until) {
                // Without a listener there is nobody to miss it.
                self.sender.send(Arc::new(entry)).ok();
            }
        }
    }

    /// Tells what is amiss, where that has changed; what it is now.
    async fn tell_amiss(&self, app: &App, before: Vec<String>) -> Vec<String> {
        let Ok(now) = app.ask(|manager| Ok(manager.troubles())).await else { return before };
        if now != before {
            let entry = if now.is_empty() { "recovered" } else { "degraded" };
            self.announce(app.manager().now(), entry, json!({ "reasons": now }));
        }
        now
    }

    /// Tells every listener something that is not in the log, and so has no id.
    pub(super) fn announce(&self, at: Timestamp, entry: &str, detail: Value) {
        let entry = entry.to_owned();
        let told = LogEntry { id: String::new(), at, entry, agent_id: None, detail };
        // Without a listener there is nobody to tell.
        self.sender.send(Arc::new(told)).ok();
    }

    /// Takes what happened up to a millisecond, in order; what came later waits for its turn.
    fn take(&self, until: i64) -> Vec<LogEntry> {
        let mut heard = self.heard.lock();
        let all = std::mem::take(&mut *heard);
        let (mut ready, later): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|entry| entry.at.unix_ms() <= until);
        if !later.is_empty() {
            *heard = later;
            self.news.notify_one();
        }
        drop(heard);
        ready.sort_by(|a, b| a.id.cmp(&b.id));
        ready
    }
}

/// Waits until everything that gets its time in this millisecond was heard; the millisecond.
pub(super) async fn settled(manager: &CheckpointManager) -> i64 {
    let now = manager.now().unix_ms();
    sleep(ANOTHER_MILLISECOND).await;
    let manager = manager.clone();
    if let Err(died) = spawn_blocking(move || manager.await_entries()).await {
        tracing::error!(%died, "waiting for what happens was interrupted");
    }
    now
}
