//! The sidecar that a `run` is where none holds the store yet.
//!
//! It serves in a thread of its own with an event loop of its own, so that what it does for others
//! keeps nobody waiting who attends to a command. It is the same sidecar that `serve` is, and it is
//! spoken to in the same way, over its socket, by the `run` that it belongs to as well.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::error::Error;
use crate::disk::Disk;
use crate::manager::{CheckpointManager, Options};
use crate::server::{self, App, Places, Server};

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
        Ok(Self { socket, end, thread })
    }

    /// Whether it still serves.
    pub(super) fn serves(&self) -> bool {
        !self.thread.is_finished()
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
