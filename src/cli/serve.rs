//! `serve`: the sidecar alone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::failure::Failure;
use super::fleet::members;
use super::logging::Logging;
use super::session::Session;
use crate::config::{Configuration, Settings};
use crate::manager::{self, CheckpointManager, Options};
use crate::server::{self, App, Made, Places, Server, read_or_make};
use crate::supervise::Fleet;

const EXAMPLES: &str = "\
Examples:
  stateward serve                       on the socket in the store
  stateward serve --socket /run/user/1000/kept/s.sock
  stateward serve --listen 127.0.0.1:7878 --token-file token

The socket is its owner's alone and needs no token. Over TCP every request but /livez says \
`Authorization: Bearer TOKEN`; the token is made where its file is not there yet. /openapi.json \
describes what can be asked.

Agents that the configuration names in tables [[agent]] are run, each as `stateward run` would, and \
started again when they die; what they print comes out on stderr.

SIGTERM and SIGINT end it: the agents that it runs are ended, no new connection is taken, what is under \
way is finished, the store is settled. A second one ends it at once; what was acknowledged is kept \
either way. SIGHUP reads the configuration again.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The socket; without it stateward.sock in the store, or in the runtime directory where that
    /// path would be too long
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Answer over TCP, too
    #[arg(long, value_name = "ADDR:PORT", requires = "token_file")]
    listen: Option<SocketAddr>,
    /// A file of yours with mode 0600 that holds the token for TCP; made where it is not there
    #[arg(long, value_name = "FILE", requires = "listen")]
    token_file: Option<PathBuf>,
}

/// Where it answers.
#[derive(Debug, Serialize)]
struct Told {
    store: PathBuf,
    /// As `STATEWARD_URL` has it.
    url: String,
    /// The same for TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    token_made: bool,
}

pub(super) fn run(
    session: &Session,
    logging: &Logging,
    arguments: &Arguments,
) -> Result<ExitCode, Failure> {
    raise_limit_of_files();
    let store = session.store();
    if let Some(client) = session.holder_of(&store) {
        let by = session.lock_holder(&store);
        return Err(Failure::Served { store, url: client.url(), by });
    }
    let background = Options { background: true, by_hand: false, ..session.options(&store) };
    let manager = CheckpointManager::open(background)?;
    let system = |doing| move |source| server::Error::System { doing, source };
    // One thread reads and writes sockets; what takes time is done by threads that may block.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the event loop"))?;
    let settings = &session.configuration.settings;
    let app = App::new(manager, settings.server.clone());
    let patience = settings.server.drain_timeout.as_duration();
    let ended = runtime.block_on(serve(session, logging, arguments, &app));
    match ended {
        Ok(End::Drained) => runtime.shutdown_timeout(patience),
        Ok(End::AtOnce) | Err(_) => runtime.shutdown_background(),
    }
    match ended? {
        End::Drained => Ok(ExitCode::SUCCESS),
        End::AtOnce => Ok(ExitCode::FAILURE),
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// What was under way is done, and the store is settled.
    Drained,
    /// It was told a second time.
    AtOnce,
}

async fn serve(
    session: &Session,
    logging: &Logging,
    arguments: &Arguments,
    app: &App,
) -> Result<End, Failure> {
    let mut signals = Signals::listen()?;
    let server = open(session, arguments, app).await?;
    notify(&[NotifyState::Ready]);
    let run = &session.configuration.settings.run;
    let members = members(session, app.manager().store_path())?;
    let fleet = Fleet::start(members, run, app, &session.clock);
    let reins = fleet.reins();
    let mut watchdog = Watchdog::asked_for();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut stop = Some(stop);
    let mut serving = tokio::spawn(drain(server, fleet, stopped, app.clone()));
    let mut settings = session.configuration.settings.clone();
    loop {
        tokio::select! {
            ended = &mut serving => return finished(ended).map(|()| End::Drained),
            () = watchdog.tick() => notify(&[NotifyState::Watchdog]),
            word = signals.next() => match (word, stop.take()) {
                (Word::Reload, waiting) => {
                    stop = waiting;
                    settings = reload(session.read_again(), settings, app, logging);
                }
                (Word::End, Some(stop)) => {
                    tracing::info!("told to end: finishing what is under way");
                    notify(&[NotifyState::Stopping]);
                    // The other half goes only when serving is over, which is seen above.
                    stop.send(()).ok();
                }
                (Word::End, None) => {
                    tracing::warn!("told to end again: ending at once");
                    reins.hurry();
                    return Ok(End::AtOnce);
                }
            },
        }
    }
}

/// Serves until told otherwise, ends the agents that it runs while they can still be kept, then
/// settles the store.
async fn drain(
    server: Server,
    fleet: Fleet,
    stopped: oneshot::Receiver<()>,
    app: App,
) -> Result<(), manager::Error> {
    let patience = app.options().drain_timeout.as_duration();
    server
        .serve(async {
            // A sender that is gone is as good as its word.
            stopped.await.ok();
            fleet.end(patience).await;
        })
        .await;
    app.manager().settle_async().await
}

type Ended = Result<Result<(), manager::Error>, tokio::task::JoinError>;

fn finished(ended: Ended) -> Result<(), Failure> {
    let died = |error: tokio::task::JoinError| server::Error::System {
        doing: "serve",
        source: std::io::Error::other(error.to_string()),
    };
    ended.map_err(died)??;
    Ok(())
}

async fn open(session: &Session, arguments: &Arguments, app: &App) -> Result<Server, Failure> {
    let store = app.manager().store_path().to_owned();
    let mut places = if let Some(path) = &arguments.socket {
        Places { socket: Some(session.absolute(path)), listen: None }
    } else {
        // A store may be named through links; its socket lies where it is.
        let there = session.disk.canonical(&store).unwrap_or_else(|_| store.clone());
        Places::of_store(&there, session.runtime_home())?
    };
    places.listen = arguments.listen;
    let token_file = arguments.token_file.as_ref().map(|path| session.absolute(path));
    let mut token_made = false;
    if let Some(path) = &token_file {
        let (token, made) = read_or_make(&*session.disk, path)?;
        token_made = made == Made::Now;
        app.tokens().accept(&token);
    }
    if places.listen.is_some_and(|address| !address.ip().is_loopback()) {
        tracing::warn!(
            "what goes over TCP is not encrypted, and the address is not this machine's own"
        );
    }
    let server = Server::open(app.clone(), &places).await?;
    let url = server.socket().map(|path| format!("unix:{}", path.display())).unwrap_or_default();
    let tcp_url = server.address().map(|address| format!("http://{address}"));
    let told = Told { store, url, tcp_url, token_file, token_made };
    tracing::info!(store = %told.store.display(), url = told.url, tcp_url = told.tcp_url, "serving");
    session.out.data(&told, || told.in_words())?;
    Ok(server)
}

impl Told {
    fn in_words(&self) -> String {
        let tcp = match (&self.tcp_url, &self.token_file) {
            (Some(url), Some(file)) => {
                let made = if self.token_made { ", made just now" } else { "" };
                format!(" and {url}\nthe token is in {}{made}", file.display())
            }
            _ => String::new(),
        };
        format!("serving {} on {}{tcp}\n", self.store.display(), self.url)
    }
}

/// Takes over what can be changed while it runs; what cannot is told. A configuration that is wrong
/// changes nothing.
fn reload(
    read: Result<Configuration, Failure>,
    old: Settings,
    app: &App,
    logging: &Logging,
) -> Settings {
    let new = match read {
        Ok(configuration) => configuration.settings,
        Err(error) => {
            tracing::error!(%error, "the configuration is wrong; the old one stays");
            app.announce("reload_refused", serde_json::json!({ "why": error.to_string() }));
            return old;
        }
    };
    app.manager().set_policy(new.retention.clone());
    app.set_options(new.server.clone());
    logging.set_level(new.server.log.level);
    let restart = needs_restart(&old, &new);
    if restart.is_empty() {
        tracing::info!("the configuration was read again");
    } else {
        tracing::warn!(sections = ?restart, "the configuration was read again; these need a restart");
    }
    app.announce("reloaded", serde_json::json!({ "needs_restart": restart }));
    new
}

/// What was changed and holds only after a restart.
fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let bounds = |it: &server::Options| {
        (it.connections_max, it.requests_max, it.events_queued_max, it.agents_measured_max)
    };
    let log = |it: &server::Options| (it.log.dir.clone(), it.log.format, it.log.keep);
    let changed = [
        ("agent", old.agent != new.agent),
        ("store", old.store != new.store),
        ("log", old.log != new.log),
        ("state", old.state != new.state),
        ("workspace", old.workspace != new.workspace),
        ("retry", old.retry != new.retry),
        ("drift", old.drift != new.drift),
        ("server: bounds", bounds(&old.server) != bounds(&new.server)),
        ("server: hosts", old.server.allowed_hosts != new.server.allowed_hosts),
        ("server: origins", old.server.allowed_origins != new.server.allowed_origins),
        ("server.log", log(&old.server) != log(&new.server)),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

/// What a signal says.
enum Word {
    End,
    Reload,
}

/// The signals it minds.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> Result<Self, server::Error> {
        let open = |kind| {
            let doing = "listen for signals";
            signal(kind).map_err(|source| server::Error::System { doing, source })
        };
        Ok(Self {
            terminate: open(SignalKind::terminate())?,
            interrupt: open(SignalKind::interrupt())?,
            hang_up: open(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Word {
        tokio::select! {
            _ = self.terminate.recv() => Word::End,
            _ = self.interrupt.recv() => Word::End,
            _ = self.hang_up.recv() => Word::Reload,
        }
    }
}

/// How often the service manager wants to hear that all is well; never, where it does not.
struct Watchdog(Option<Interval>);

impl Watchdog {
    fn asked_for() -> Self {
        Self(sd_notify::watchdog_enabled().map(|within| {
            let mut ticks = interval((within / 2).max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    async fn tick(&mut self) {
        match &mut self.0 {
            Some(ticks) => drop(ticks.tick().await),
            None => std::future::pending().await,
        }
    }
}

/// Tells the service manager, where there is one.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Each connection takes a file descriptor, and so does each file; what the system allows is used.
fn raise_limit_of_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
