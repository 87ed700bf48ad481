//! The agents that are being run, and what they and their sidecar tell each other.
//!
//! A `run` begins a session of its agent with a request whose answer goes on as long as the session
//! does: when the connection ends, so does the session. The sidecar has the agent's handle with its
//! workspace and its state files meanwhile, so that what the agent posts is kept with the files of the
//! same moment. Through the answer it tells what the `run` cannot see by itself ([`News`]): changes in
//! the workspace, signs of life and checkpoints through the API, and restores that somebody ordered.
//!
//! A restore under a living agent is ordered: whoever asks for it waits, the `run` is told, ends the
//! command, and then has it carried out; then the command starts again. An order that a session ends
//! before is answered as unavailable.
//!
//! One session for each agent: a second one takes the place of the first, whose `run` has lost its
//! claim on the agent or its connection.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use super::api::{Made, MakeCheckpoint, Restore, RestoreAnswer, Undo};
use super::app::App;
use super::problem::Problem;
use super::tokens::Token;
use crate::error::ErrorKind;
use crate::manager::{self, Agent, Pulse};
use crate::state::{AgentId, Receipt, Seq, Timestamp};
use crate::supervise::{Ask, Belongings, Keeper, PutBack};

/// How often it is looked whether there is news.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// After so long without news an empty line says that the sidecar is there.
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// News that wait for a `run` that is slow to take them; further checkpoints are not told.
const NEWS_MAX: usize = 64;

/// How long whoever ordered a restore waits for it.
const ORDER_PATIENCE: Duration = Duration::from_secs(600);

/// The status that answers what is asked of a session that is not there, or too late.
pub(crate) const GONE: u16 = 410;

/// What a `run` says of its agent.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    pub belongings: Belongings,
    /// What the agent shows to speak for itself and nobody else.
    pub token: String,
}

/// What a sidecar tells a `run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum News {
    /// A number that grows with every change that is noticed in the workspace; none where nobody
    /// watches it.
    Pulse(Option<u64>),
    /// The agent spoke.
    Sign,
    /// A checkpoint was made that the `run` did not ask for.
    Saved { seq: Seq, created_at: Timestamp },
    /// A restore is to be carried out once the command has ended.
    Order { id: Uuid, why: String },
    /// The sidecar was lost, or was this process's and let go; another was found, or this process is
    /// one now.
    #[serde(skip)]
    Back { own: bool, lost: bool },
    /// No sidecar is to be had.
    #[serde(skip)]
    Trouble(String),
}

/// A restore that waits for a command's end.
#[derive(Debug)]
pub(crate) enum Ordered {
    Restore(Restore),
    Undo(Undo),
}

#[derive(Debug)]
struct Order {
    what: Ordered,
    answer: oneshot::Sender<Result<RestoreAnswer, Problem>>,
}

/// A line of the answer that a session is; none ends it.
type Line = Option<Bytes>;

/// An agent that is being run.
pub(crate) struct Session {
    id: Uuid,
    agent: AgentId,
    keeper: Keeper,
    token: Token,
    signs: AtomicU64,
    orders: Mutex<BTreeMap<Uuid, Order>>,
    tell: mpsc::Sender<Line>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("agent", &self.agent).finish_non_exhaustive()
    }
}

/// Every agent that is being run.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    all: Mutex<HashMap<AgentId, Arc<Session>>>,
    count: watch::Sender<usize>,
}

impl Sessions {
    /// Begins a session; what is told goes to the other end of the channel. Blocks.
    pub(crate) fn begin(
        app: &App,
        agent: &AgentId,
        registration: &Registration,
    ) -> Result<(Arc<Session>, mpsc::Receiver<Line>), Problem> {
        let token = Token::of(&registration.token).map_err(|why| {
            Problem::new(ErrorKind::Usage, format!("the token of the agent: {why}"))
        })?;
        let keeper = Keeper::open(app.manager(), agent, &registration.belongings)?;
        let (tell, lines) = mpsc::channel(NEWS_MAX);
        let session = Arc::new(Session {
            id: Uuid::new_v4(),
            agent: agent.clone(),
            keeper,
            token,
            signs: AtomicU64::new(0),
            orders: Mutex::default(),
            tell,
        });
        let sessions = app.sessions();
        let mut all = sessions.all.lock();
        let before = all.insert(agent.clone(), Arc::clone(&session));
        sessions.count.send_replace(all.len());
        drop(all);
        if let Some(before) = before {
            app.tokens().revoke(&before.token);
            before.end();
        }
        app.tokens().accept_for(&session.token, agent);
        Ok((session, lines))
    }

    /// How many there are, now and from now on.
    pub(crate) fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// The session of an agent.
    pub(crate) fn of(&self, agent: &AgentId) -> Option<Arc<Session>> {
        self.all.lock().get(agent).cloned()
    }

    /// Ends a session; that of another `run` of the same agent stays.
    fn end(app: &App, session: &Session) {
        let sessions = app.sessions();
        let mut all = sessions.all.lock();
        if all.get(&session.agent).is_some_and(|it| it.id == session.id) {
            all.remove(&session.agent);
            sessions.count.send_replace(all.len());
            app.tokens().revoke(&session.token);
        }
        drop(all);
        session.end();
    }
}

impl Session {
    /// The agent with its workspace, and with the state files that are there now.
    pub(crate) fn handle(&self) -> Result<Agent, manager::Error> {
        self.keeper.agent()
    }

    /// Makes a checkpoint that the agent asks for. Blocks.
    pub(crate) fn make(&self, wanted: MakeCheckpoint) -> Result<Made, manager::Error> {
        self.keeper.make(wanted)
    }

    /// The agent spoke.
    pub(crate) fn note_sign(&self) {
        self.signs.fetch_add(1, Ordering::Relaxed);
    }

    /// A checkpoint was made that the `run` did not ask for.
    pub(crate) fn note_saved(&self, receipt: &Receipt) {
        self.note_sign();
        let (seq, created_at) = (receipt.seq, receipt.created_at);
        // A `run` that takes no news counts fewer checkpoints; nothing hangs on that.
        self.tell.try_send(Some(line(&News::Saved { seq, created_at }))).ok();
    }

    /// Does what the `run` asks. Blocks.
    pub(crate) fn answer(&self, asking: Asking, now: Timestamp) -> Result<Value, Problem> {
        let Asking { until, ask } = asking;
        if now > until {
            return Err(gone(format!(
                "this was to be done until {until}, and is asked for no more"
            )));
        }
        match ask {
            Ask::Carry { order } => {
                let put_back = self.carry(order);
                Ok(serde_json::to_value(put_back).unwrap_or_default())
            }
            other => Ok(self.keeper.answer(other)?),
        }
    }

    /// Orders a restore, and waits until it was carried out.
    pub(crate) async fn order(&self, what: Ordered) -> Result<RestoreAnswer, Problem> {
        let (answer, answered) = oneshot::channel();
        let (id, why) = (Uuid::new_v4(), what.in_words());
        self.orders.lock().insert(id, Order { what, answer });
        if self.tell.send(Some(line(&News::Order { id, why }))).await.is_err() {
            self.orders.lock().remove(&id);
            return Err(over());
        }
        match tokio::time::timeout(ORDER_PATIENCE, answered).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(over())),
            Err(_) => Err(Problem::new(
                ErrorKind::Unavailable,
                "the agent's command did not end in time for the restore; it is still ordered",
            )),
        }
    }

    /// Carries an order out. Whoever gave it is answered, and the `run` is told what was put back;
    /// nothing where it could not be done.
    fn carry(&self, order: Uuid) -> Option<PutBack> {
        let Order { what, answer } = self.orders.lock().remove(&order)?;
        let why = what.in_words();
        let done = self.keeper.agent().and_then(|agent| match what {
            Ordered::Restore(mut it) => {
                it.body.options.live = true;
                it.restore(&agent)
            }
            Ordered::Undo(mut it) => {
                it.body.options.live = true;
                it.undo(&agent)
            }
        });
        let put_back = done.as_ref().ok().and_then(|done| {
            let from = done.checkpoint.clone()?;
            Some(PutBack { from, what: vec![format!("everything: {why}")], apart: None })
        });
        // Whoever gave the order may have gone: an agent that asks for it itself is ended for it.
        answer.send(done.map_err(Problem::from)).ok();
        put_back
    }

    fn end(&self) {
        // Whoever waits for one of these is told by its end going away.
        self.orders.lock().clear();
        self.tell.try_send(None).ok();
    }

    fn pulse(&self) -> Pulse {
        self.keeper.pulse()
    }
}

impl Ordered {
    fn in_words(&self) -> String {
        match self {
            Self::Restore(it) => format!("the restore of {} was ordered", it.reference),
            Self::Undo(_) => "the last restore is to be taken back".to_owned(),
        }
    }
}

fn over() -> Problem {
    Problem::new(ErrorKind::Unavailable, "the agent's run ended before the restore was carried out")
        .hint("ask again; where nothing runs the agent it is restored at once")
}

/// What a `run` asks, and until when: a sidecar that stood still does not do later what the `run` has
/// given up on, because it may have gone on by then.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asking {
    pub until: Timestamp,
    pub ask: Ask,
}

/// What is answered where there is no session.
pub(crate) fn no_session(agent: &AgentId) -> Problem {
    gone(format!("agent {agent} has no session here"))
}

fn gone(detail: String) -> Problem {
    Problem::with_status(axum::http::StatusCode::GONE, ErrorKind::Unavailable, detail)
}

fn line(news: &News) -> Bytes {
    let mut text = serde_json::to_vec(news).expect("news have only fields that JSON can carry");
    text.push(b'\n');
    text.into()
}

/// Tells a session's news until the session is over, the client gone, or the sidecar told to end.
pub(crate) async fn tell(app: App, session: Arc<Session>) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut pulse, mut signs, mut said) = (Pulse::Busy, 0, Instant::now());
    loop {
        tokio::select! {
            () = app.ended() => break,
            () = session.tell.closed() => break,
            _ = looks.tick() => {}
        }
        let mut news = Vec::new();
        let now = session.pulse();
        if now != Pulse::Busy && now != pulse {
            pulse = now;
            news.push(line(&News::Pulse(match now {
                Pulse::Noticed(noticed) => Some(noticed),
                Pulse::Unwatched | Pulse::Busy => None,
            })));
        }
        let now = session.signs.load(Ordering::Relaxed);
        if now != signs {
            signs = now;
            news.push(line(&News::Sign));
        }
        if news.is_empty() && said.elapsed() >= BEAT_EVERY {
            news.push(Bytes::from_static(b"\n"));
        }
        if !news.is_empty() {
            said = Instant::now();
        }
        for line in news {
            if session.tell.send(Some(line)).await.is_err() {
                break;
            }
        }
    }
    Sessions::end(&app, &session);
}

/// The answer that a session is.
#[derive(Debug)]
pub(crate) struct Lines(pub mpsc::Receiver<Line>);

impl Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let line = ready!(self.0.poll_recv(context)).flatten();
        Poll::Ready(line.map(|line| Ok(Frame::data(line))))
    }
}
