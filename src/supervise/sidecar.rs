//! The sidecar that a `run` is where none holds the store yet.
//!
//! It serves in a thread of its own with an event loop of its own, so that what it does for others
//! keeps nobody waiting who attends to a command. It is the same sidecar that `serve` is, and it is
//! spoken to in the same way, over its socket, by the `run` that it belongs to as well.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::error::Error;
use crate::disk::Disk;
use crate::manager::{CheckpointManager, Options};
use crate::server::{self, App, Places, Server};

/// Agents that end within this after each other end together.
const TOGETHER_WITHIN: Duration = Duration::from_secs(1);

/// The end of others is waited for no longer than this.
const OUTLAST_MAX: Duration = Duration::from_secs(10);

/// What a sidecar needs to be one.
#[derive(Debug, Clone)]
pub struct SidecarSetup {
    /// How the store is opened.
    pub store: Options,
    /// How it is served.
    pub server: server::Options,
    /// Where sockets are kept, where the surroundings say so.
    pub runtime_home: Option<PathBuf>,
}

/// A sidecar of this process, which serves.
#[derive(Debug)]
pub(super) struct Sidecar {
    pub socket: PathBuf,
    /// How many agents are run with it.
    sessions: watch::Receiver<usize>,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Sidecar {
    /// Opens the store and serves it; returns when it can be asked. Blocks.
    pub(super) fn start(setup: &SidecarSetup) -> Result<Self, Error> {
        let manager = CheckpointManager::open(setup.store.clone())?;
        let store = place_of(&*setup.store.disk, &setup.store.path);
        let places = Places::of_store(&store, setup.runtime_home.as_deref())?;
        let app = App::new(manager.clone(), setup.server.clone());
        let sessions = app.sessions().count();
        let (end, ended) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let system = |doing| move |source| Error::System { doing, source };
        let thread = std::thread::Builder::new().name("stateward-sidecar".to_owned());
        let thread = thread.spawn(move || serve(app, &places, ended, &tell));
        let thread = thread.map_err(system("start the sidecar's thread"))?;
        let socket = told.recv().unwrap_or_else(|_| {
            let source = std::io::Error::other("its thread died");
            Err(server::Error::System { doing: "serve", source })
        })?;
        Ok(Self { socket, sessions, end, thread })
    }

    /// Whether it still serves.
    pub(super) fn serves(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Serves on while the agents of others end soon after each other: else each of their runs would
    /// have to take the store up in turn. One that works on has another sidecar found for it.
    pub(super) async fn outlast(&self) {
        outlast(self.sessions.clone()).await;
    }

    /// Lets what is under way finish, settles the store, and lets it go. Blocks.
    pub(super) fn stop(self) {
        // Where nobody listens any more it has ended already.
        self.end.send(()).ok();
        if self.thread.join().is_err() {
            tracing::error!("the thread of the sidecar died");
        }
    }
}

async fn outlast(mut sessions: watch::Receiver<usize>) {
    let latest = Instant::now() + OUTLAST_MAX;
    let mut left = *sessions.borrow_and_update();
    let mut until = Instant::now() + TOGETHER_WITHIN;
    while left > 0 {
        match timeout_at(until.min(latest), sessions.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
        let now = *sessions.borrow_and_update();
        if now < left {
            until = Instant::now() + TOGETHER_WITHIN;
        }
        left = now;
    }
}

fn serve(
    app: App,
    places: &Places,
    ended: oneshot::Receiver<()>,
    tell: &std::sync::mpsc::Sender<Result<PathBuf, server::Error>>,
) {
    let manager = app.manager().clone();
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            // Whoever started this waits for the word.
            tell.send(Err(server::Error::System { doing: "start the event loop", source })).ok();
            return;
        }
    };
    runtime.block_on(async {
        let server = match Server::open(app, places).await {
            Ok(server) => server,
            Err(error) => {
                tell.send(Err(error)).ok();
                return;
            }
        };
        let socket = server.socket().map(Path::to_owned).unwrap_or_default();
        tell.send(Ok(socket)).ok();
        server.serve(async { _ = ended.await.ok() }).await;
    });
    // What has begun is finished before the store is settled.
    drop(runtime);
    if let Err(error) = manager.settle() {
        tracing::warn!(%error, "the store is not settled");
    }
}

/// A store may be named through links; its socket lies where it is.
fn place_of(disk: &dyn Disk, store: &Path) -> PathBuf {
    disk.canonical(store).unwrap_or_else(|_| store.to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    /// How long it is waited for sessions that end so long after each other; all in milliseconds.
    async fn waited(sessions: usize, ends_after_ms: &'static [u64]) -> u128 {
        let (count, left) = watch::channel(sessions);
        let began = Instant::now();
        let ends = tokio::spawn(async move {
            for ms in ends_after_ms {
                sleep(Duration::from_millis(*ms)).await;
                count.send_modify(|count| *count -= 1);
            }
            // Those that are left go on.
            std::future::pending::<()>().await;
        });
        outlast(left).await;
        ends.abort();
        began.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_ends_alone_waits_for_nobody() {
        assert_eq!(waited(0, &[]).await, 0);
        assert_eq!(waited(1, &[3]).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn agents_that_end_together_are_waited_for_and_others_are_not() {
        assert_eq!(waited(4, &[10, 900, 900, 900]).await, 2710);
        assert_eq!(waited(4, &[10, 900]).await, 1910);
        assert_eq!(waited(1, &[]).await, 1000);
        assert_eq!(waited(30, &[900; 30]).await, 10_000);
    }
}
