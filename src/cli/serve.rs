//! `serve`: the sidecar alone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;
use super::session::Session;
use crate::manager::{CheckpointManager, Options};
use crate::server::{self, App, Places, Server};

const EXAMPLES: &str = "\
Examples:
  stateward serve                       on the socket stateward.sock in the store
  stateward serve --socket /run/user/1000/kept/s.sock

SIGTERM and SIGINT end it: no new connection is taken, what is under way is finished, the store is
settled. A second one ends it at once; what was acknowledged is kept either way.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The socket; without it stateward.sock in the store, or in the runtime directory where that
    /// path would be too long
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Where it answers.
#[derive(Debug, Serialize)]
struct Told {
    store: PathBuf,
    url: String,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let store = session.store();
    let background = Options { background: true, by_hand: false, ..session.options(&store) };
    let manager = CheckpointManager::open(background)?;
    let system = |doing| move |source| server::Error::System { doing, source };
    // One thread reads and writes sockets; what takes time is done by threads that may block.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the event loop"))?;
    let app = App::new(manager.clone(), session.configuration.settings.server.clone());
    let ended = runtime.block_on(serve(session, arguments, app));
    // What has begun is finished before the store is settled; what waits for nobody is not waited for.
    drop(runtime);
    let settled = manager.settle();
    ended?;
    settled?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(session: &Session, arguments: &Arguments, app: App) -> Result<(), Failure> {
    let store = app.manager().store_path().to_owned();
    let mut places = Places::default();
    match &arguments.socket {
        Some(path) => places.socket = Some(session.absolute(path)),
        None => places = Places::of_store(&resolved(session, &store), session.runtime_home())?,
    }
    let server = Server::open(app, &places).await?;
    let url = server.socket().map(|path| format!("unix:{}", path.display())).unwrap_or_default();
    let told = Told { store, url };
    session.out.data(&told, || format!("serving {} on {}\n", told.store.display(), told.url))?;
    let mut ends = Ends::listen()?;
    server.serve(ends.next()).await;
    Ok(())
}

/// A store may be named through links; its socket lies where it is.
fn resolved(session: &Session, store: &Path) -> PathBuf {
    session.disk.canonical(store).unwrap_or_else(|_| store.to_owned())
}

/// The signals that end it.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    fn listen() -> Result<Self, server::Error> {
        let open = |kind| {
            signal(kind)
                .map_err(|source| server::Error::System { doing: "listen for signals", source })
        };
        Ok(Self {
            terminate: open(SignalKind::terminate())?,
            interrupt: open(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
