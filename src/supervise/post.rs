//! The post of a `run`: the sidecar that keeps its agent, wherever that is.
//!
//! A `run` joins the sidecar that holds the store, or is one ([`Sidecar`]); it speaks to both in the
//! same way. At its post it has a session: a request whose answer goes on as long as the session
//! does, and tells of changes in the workspace, of signs of life through the API, and of restores
//! that somebody ordered. When the answer ends, the sidecar is gone: another is looked for, or made,
//! and the session begins anew there. Nothing that was acknowledged is lost by that, and the command
//! is not told: its socket and its token stay what they are.
//!
//! A `run` that is stopped with its command serves nobody meanwhile. Where it is the sidecar it steps
//! aside first: others that had joined it look for another, or one of them is it, and when this one
//! goes on it does the same. Where it ends it serves on while others end soon after it.
//!
//! What is asked meanwhile waits. What had been asked of the sidecar that went is asked again; all
//! that is asked here may be done twice, because a checkpoint is made only where something changed,
//! and a restore of what was restored changes nothing.
//!
//! A sidecar of another process that stands still ends no answer. It is taken for gone once it has
//! said nothing for a while; as long as it holds the store nobody else can take its place, so that
//! nothing is kept until it goes on or ends, and that is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Bytes, Frame, Incoming};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::error::Error;
use super::keeper::{Ask, Belongings};
use super::sidecar::{Sidecar, SidecarSetup};
use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::server::Token;
use crate::server::api::{Wire, agent_path};
use crate::server::client::{Client, ClientError};
use crate::server::reach::socket_of;
use crate::server::sessions::{Asking, GONE, News, Registration};
use crate::state::AgentId;

/// Whoever opens a store to write says where it answers within this time.
const JOIN_PATIENCE: Duration = Duration::from_secs(20);

/// What is asked waits this long for a sidecar at most.
const ASK_PATIENCE: Duration = Duration::from_secs(30);

/// Once that was in vain, what is asked next waits only for this.
const TIRED_PATIENCE: Duration = Duration::from_secs(1);

/// A sidecar that lives says something every five seconds; one that says nothing for so long stands
/// still.
const STILL_AFTER: Duration = Duration::from_secs(12);

/// Looks for a sidecar follow each other after this and up to five times as long, so that many that
/// lost the same one do not all look at the same moment.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// News that wait for whoever attends to the command.
const NEWS_MAX: usize = 256;

/// What keeping an agent takes.
#[derive(Debug, Clone)]
pub(super) struct Posting {
    pub agent: AgentId,
    pub belongings: Belongings,
    pub sidecar: SidecarSetup,
}

/// A session with the sidecar that keeps an agent.
pub(super) struct Post {
    pub line: Line,
    news: mpsc::Receiver<News>,
    ending: watch::Sender<bool>,
    asides: mpsc::Sender<Aside>,
    keeping: JoinHandle<Option<Sidecar>>,
    token: Token,
}

/// What is to be done to step aside: say so when it is done, and wait until there is an end to it.
struct Aside {
    done: oneshot::Sender<()>,
    over: oneshot::Receiver<()>,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("line", &self.line).finish_non_exhaustive()
    }
}

/// What can be asked through, from any thread of the runtime.
#[derive(Debug, Clone)]
pub(super) struct Line {
    agent: AgentId,
    client: watch::Receiver<Option<Client>>,
    /// Says that the sidecar was found to stand still.
    still: watch::Receiver<()>,
    clock: Arc<dyn Clock>,
    /// The last that was asked found no sidecar.
    tired: Arc<AtomicBool>,
}

/// A sidecar that was found or made.
#[derive(Debug)]
pub(super) struct Found {
    client: Client,
    own: Option<Sidecar>,
}

impl Posting {
    /// Finds the sidecar that holds the store, or makes one.
    pub(super) async fn find(&self) -> Result<Found, Error> {
        let deadline = Instant::now() + JOIN_PATIENCE;
        loop {
            let setup = self.sidecar.clone();
            let found = spawn_blocking(move || look(&setup));
            let found = found.await.unwrap_or_else(|died| Err(interrupted(&died.to_string())));
            match found {
                // Whoever holds it may not have said yet where it answers.
                Err(error) if error.kind() == ErrorKind::Locked && Instant::now() < deadline => {
                    sleep(pause()).await;
                }
                other => return other,
            }
        }
    }

    async fn register(
        &self,
        client: &Client,
        token: &Token,
    ) -> Result<Response<Incoming>, ClientError> {
        let body =
            Registration { belongings: self.belongings.clone(), token: token.reveal().to_owned() };
        client.open(&Wire::post(agent_path(&self.agent, "/session"), &body)?).await
    }
}

/// Looks once: joins whoever answers, or takes the store.
fn look(setup: &SidecarSetup) -> Result<Found, Error> {
    let named = socket_of(&*setup.store.disk, &setup.store.path).map(Client::of_socket);
    if let Some(client) = named.filter(Client::answers) {
        return Ok(Found { client, own: None });
    }
    let own = Sidecar::start(setup)?;
    Ok(Found { client: Client::of_socket(own.socket.clone()), own: Some(own) })
}

impl Found {
    /// Lets a sidecar go that was made for nothing.
    pub(super) async fn let_go(self) {
        stop(self.own).await;
    }
}

impl Post {
    /// Begins the session.
    pub(super) async fn take_up(posting: Posting, found: Found) -> Result<Self, Error> {
        let token = Token::random();
        let first = match posting.register(&found.client, &token).await {
            Ok(answer) => answer,
            Err(error) => {
                found.let_go().await;
                return Err(error.into());
            }
        };
        let (tell, news) = mpsc::channel(NEWS_MAX);
        let (clients, client) = watch::channel(Some(found.client));
        let (stood_still, still) = watch::channel(());
        let (ending, ended) = watch::channel(false);
        let clock = Arc::clone(&posting.sidecar.store.clock);
        let (agent, tired) = (posting.agent.clone(), Arc::default());
        let line = Line { agent, client, still, clock, tired };
        let (own, aside) = (found.own, false);
        let keeping =
            Keeping { posting, token: token.clone(), own, clients, stood_still, tell, aside };
        let (asides, aside) = mpsc::channel(1);
        let keeping = tokio::spawn(keeping.keep(first, ended, aside));
        Ok(Self { line, news, ending, asides, keeping, token })
    }

    /// The next that the sidecar tells.
    pub(super) async fn news(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            // It ends only when this does.
            None => std::future::pending().await,
        }
    }

    /// What the command needs to speak to the sidecar: its place and a token.
    pub(super) fn address(&self) -> Option<(String, &str)> {
        let client = self.line.client.borrow();
        client.as_ref().map(|client| (client.url(), self.token.reveal()))
    }

    /// Lets the sidecar go where it is this process's, so that others need not wait for it; until what
    /// is answered is dropped.
    pub(super) async fn step_aside(&self) -> oneshot::Sender<()> {
        let (done, is_done) = oneshot::channel();
        let (until, over) = oneshot::channel();
        // Where nobody takes it nothing is kept up, and nothing has to be let go.
        if self.asides.send(Aside { done, over }).await.is_ok() {
            is_done.await.ok();
        }
        until
    }

    /// Ends the session, and the sidecar where it is this process's. Others that end just now are
    /// waited for, unless it is in a hurry.
    pub(super) async fn leave(self, hurry: impl Future<Output = ()>) {
        self.ending.send_replace(true);
        match self.keeping.await {
            Ok(Some(own)) => {
                tokio::select! {
                    () = own.outlast() => {}
                    () = hurry => {}
                }
                stop(Some(own)).await;
            }
            Ok(None) => {}
            Err(died) => tracing::error!(%died, "what kept touch with the sidecar died"),
        }
    }
}

async fn stop(own: Option<Sidecar>) {
    let Some(own) = own else { return };
    if let Err(died) = spawn_blocking(move || own.stop()).await {
        tracing::error!(%died, "the sidecar could not be stopped");
    }
}

/// Keeps touch with a sidecar, whichever it is.
struct Keeping {
    posting: Posting,
    token: Token,
    own: Option<Sidecar>,
    clients: watch::Sender<Option<Client>>,
    stood_still: watch::Sender<()>,
    tell: mpsc::Sender<News>,
    /// It stepped aside, so that nobody was lost.
    aside: bool,
}

impl Keeping {
    async fn keep(
        mut self,
        first: Response<Incoming>,
        mut ended: watch::Receiver<bool>,
        mut asides: mpsc::Receiver<Aside>,
    ) -> Option<Sidecar> {
        let mut answer = Some(first);
        loop {
            let once = async {
                match answer.take() {
                    Some(answer) => self.relay(answer).await,
                    None => answer = self.again().await,
                }
            };
            tokio::select! {
                () = is_over(&mut ended) => return self.own,
                Some(aside) = asides.recv() => {
                    if let Some(own) = self.own.take() {
                        answer = None;
                        self.aside = true;
                        self.clients.send_replace(None);
                        stop(Some(own)).await;
                    }
                    aside.done.send(()).ok();
                    aside.over.await.ok();
                }
                () = once => {}
            }
        }
    }

    /// Passes on what the sidecar tells, until it tells no more.
    async fn relay(&self, answer: Response<Incoming>) {
        let (mut body, mut text) = (answer.into_body(), Vec::new());
        while let Some(frame) = self.next_frame(&mut body).await {
            let Ok(data) = frame.into_data() else { continue };
            text.extend_from_slice(&data);
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                // An empty line only says that the sidecar is there.
                if let Ok(news) = serde_json::from_slice(&line) {
                    self.tell.send(news).await.ok();
                }
            }
        }
        self.clients.send_replace(None);
    }

    /// What the sidecar says next; none where it ended, or stands still.
    async fn next_frame(&self, body: &mut Incoming) -> Option<Frame<Bytes>> {
        if self.own.is_some() {
            return body.frame().await?.ok();
        }
        let frame = timeout(STILL_AFTER, body.frame()).await;
        if frame.is_err() {
            self.stood_still.send_replace(());
        }
        frame.ok()??.ok()
    }

    /// Begins the session anew; none where that has to be tried again.
    async fn again(&mut self) -> Option<Response<Incoming>> {
        sleep(pause()).await;
        if self.own.as_ref().is_some_and(|own| !own.serves()) {
            stop(self.own.take()).await;
        }
        let begun = match &self.own {
            Some(own) => {
                let client = Client::of_socket(own.socket.clone());
                self.posting.register(&client, &self.token).await.map(|answer| (client, answer))
            }
            None => match self.posting.find().await {
                Ok(found) => {
                    self.own = found.own;
                    let answer = self.posting.register(&found.client, &self.token).await;
                    answer.map(|answer| (found.client, answer))
                }
                Err(error) => {
                    self.tell.send(News::Trouble(error.to_string())).await.ok();
                    sleep(Duration::from_secs(1)).await;
                    return None;
                }
            },
        };
        match begun {
            Ok((client, answer)) => {
                self.clients.send_replace(Some(client));
                let (own, lost) = (self.own.is_some(), !std::mem::take(&mut self.aside));
                self.tell.send(News::Back { own, lost }).await.ok();
                Some(answer)
            }
            Err(error) if error.is_gone() => None,
            Err(error) => {
                self.tell.send(News::Trouble(error.to_string())).await.ok();
                sleep(Duration::from_secs(1)).await;
                None
            }
        }
    }
}

async fn is_over(ended: &mut watch::Receiver<bool>) {
    // Whoever would say so may have gone, which says the same.
    ended.wait_for(|ended| *ended).await.map(drop).ok();
}

impl Line {
    /// Asks the keeper, wherever it is; waits while there is none.
    pub(super) async fn ask<T: DeserializeOwned>(&self, ask: &Ask) -> Result<T, ClientError> {
        let tired = self.tired.load(Ordering::Relaxed);
        let deadline = Instant::now() + if tired { TIRED_PATIENCE } else { ASK_PATIENCE };
        let (mut clients, mut still) = (self.client.clone(), self.still.clone());
        loop {
            let client = match timeout_at(deadline, clients.wait_for(Option::is_some)).await {
                Ok(Ok(client)) => client.clone(),
                Ok(Err(_)) | Err(_) => None,
            };
            self.tired.store(client.is_none(), Ordering::Relaxed);
            let client = client.ok_or_else(nobody)?;
            let asking = Asking { until: self.clock.now().plus(STILL_AFTER), ask: ask.clone() };
            let wire = Wire::post(agent_path(&self.agent, "/session/ask"), &asking)?;
            still.mark_unchanged();
            let answer = tokio::select! {
                answer = client.exchange_json(&wire) => answer,
                Ok(()) = still.changed() => Err(nobody()),
            };
            match answer {
                Err(error) if has_gone(&error) && Instant::now() < deadline => {
                    sleep(pause()).await;
                }
                other => return other,
            }
        }
    }
}

/// Whether the sidecar went away, or does not know of the session any more.
fn has_gone(error: &ClientError) -> bool {
    let forgot =
        |error: &ClientError| matches!(error, ClientError::Answered(it) if it.status == GONE);
    error.is_gone() || forgot(error)
}

fn nobody() -> ClientError {
    let source = std::io::Error::other("no sidecar was found in time");
    ClientError::Unreachable { url: "the store's socket".to_owned(), source }
}

fn interrupted(why: &str) -> Error {
    Error::Manager(crate::manager::Error::Interrupted(why.to_owned()))
}

/// A wait that is not the same for everybody who waits.
fn pause() -> Duration {
    let spread = u32::from(uuid::Uuid::new_v4().as_bytes()[0]) * 4;
    LOOK_EVERY + LOOK_EVERY * spread / 256
}
