//! The sidecar's interface: HTTP on a socket, and on TCP where a token is set.
//!
//! It promises that what it answers for is done: a checkpoint that was answered with 201 is durable,
//! and one that has begun is finished although the client hangs up. Everything is bounded: bodies,
//! connections, what is worked on at once, how long anybody may keep us waiting. When it is told to
//! end, no new connection is taken, what is under way is finished, streams are ended.
//!
//! [`Server`] listens ([`listener`], [`places`]), each connection is served by [`connection`], and
//! the [`routes`] ask the library for what the request wants; they share an [`App`]. Errors are
//! answered by [`problem`].
//!
//! It decides nothing about checkpoints: each route is a call on the library.

pub(crate) mod api;
mod app;
mod body;
mod caller;
#[cfg(feature = "cli")]
pub(crate) mod client;
mod connection;
#[cfg(feature = "cli")]
mod drills;
mod due;
mod error;
mod feed;
mod flight;
mod guard;
mod listener;
mod metrics;
mod options;
mod places;
mod problem;
#[cfg(feature = "cli")]
pub(crate) mod reach;
mod routes;
mod scope;
#[cfg(feature = "cli")]
pub(crate) mod sessions;
mod token_file;
mod tokens;
mod unsaved;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::time::{sleep, timeout};

pub use api::{
    BeginBody, CheckpointBody, CloseBody, ForgetSingleBody, ImportBody, MarkBody, OwnerWords,
    RestoreBody, RestorePathBody,
};
pub use app::App;
#[cfg(feature = "cli")]
pub use client::{Client, ClientError};
pub use error::Error;
use guard::Rules;
use listener::Listener;
pub use options::{LogFormat, LogLevel, LogOptions, Options};
pub use places::Places;
pub use problem::Problem;
pub use token_file::{Made, read_or_make};
pub use tokens::{Token, Tokens};
pub use unsaved::Unsaved;

/// How long accepting pauses after the system had no room for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// A sidecar that listens and does not serve yet.
#[derive(Debug)]
pub struct Server {
    app: App,
    listener: Listener,
}

impl Server {
    /// Listens, and says in the lock of the store where. Needs a running tokio runtime.
    ///
    /// # Errors
    /// Where a place is taken or not fit.
    pub async fn open(app: App, places: &Places) -> Result<Self, Error> {
        let listener = Listener::open(places).await?;
        app.manager().name_socket(listener.socket());
        app.set_rules(rules(&app.options(), listener.address()));
        Ok(Self { app, listener })
    }

    /// The path of the socket.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.listener.socket()
    }

    /// The address for TCP.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.address()
    }

    /// Serves until `shutdown`; then takes no more connections and finishes what is under way, for no
    /// longer than `drain_timeout`. The store is left open: settling it is its owner's.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let router = routes::router(&self.app);
        let options = self.app.options();
        let feed = tokio::spawn(Arc::clone(self.app.feed()).run(self.app.clone()));
        let saving = tokio::spawn(unsaved::keep_trying(self.app.clone()));
        #[cfg(feature = "cli")]
        let drilling = tokio::spawn(drills::keep_drilling(self.app.clone()));
        let room = connection::Room::new(&options);
        let graceful = GracefulShutdown::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    // A client that went away at once, or no file descriptor left.
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            if let Err(why) = stream.check_peer() {
                tracing::warn!(%why, "a connection through the socket was refused");
                continue;
            }
            let Some(place) = room.take() else {
                self.app.metrics().connection_refused();
                room.refuse(stream);
                continue;
            };
            let app = self.app.clone();
            let serving =
                connection::serve(stream, router.clone(), self.app.options(), graceful.watcher());
            tokio::spawn(async move {
                app.metrics().connection_opened();
                serving.await;
                app.metrics().connection_closed();
                drop(place);
            });
        }
        self.app.end();
        self.app.manager().name_socket(None);
        drop(self.listener);
        if timeout(options.drain_timeout.as_duration(), graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still under way when the time to end had come");
        }
        if let Err(died) = saving.await {
            tracing::error!(%died, "what tries to store again died");
        }
        // A drill under way only looks: what it brings back is worth no wait.
        #[cfg(feature = "cli")]
        drilling.abort();
        if let Err(died) = feed.await {
            tracing::error!(%died, "the feed of events died");
        }
    }
}

/// What `Host` and `Origin` may say, where this address is listened on.
fn rules(options: &Options, address: Option<SocketAddr>) -> Rules {
    let mut hosts: Vec<String> = options.allowed_hosts.iter().map(|it| it.to_lowercase()).collect();
    if let Some(address) = address {
        let port = address.port();
        hosts.push(address.to_string());
        hosts.extend(["127.0.0.1", "[::1]", "localhost"].map(|name| format!("{name}:{port}")));
    }
    Rules { hosts, origins: options.allowed_origins.clone() }
}
