//! What happens, as it happens.

use std::collections::HashSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::body::Frame;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use utoipa::OpenApi;

use crate::error::ErrorKind;
use crate::manager::LogEntry;
use crate::server::app::App;
use crate::server::feed::{self, Subscription};
use crate::server::problem::Problem;

/// Pieces of a stream that wait for the socket.
const PIECES: usize = 8;
/// The header with which a client says where it was.
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(OpenApi)]
#[openapi(paths(events), components(schemas(LogEntry)))]
pub(super) struct Document;

pub(super) fn router() -> Router<App> {
    Router::new().route("/v1/events", get(events))
}

/// Tells what happens as it happens, as server-sent events.
///
/// Each has the id and the name of an entry of the log, and the entry as data. With `Last-Event-ID`
/// the stream begins behind that entry: nothing is missed and nothing comes twice, also across a
/// restart of the sidecar; checkpoints that were let go meanwhile are told by what let them go.
/// Without it the stream begins now. A client that is too slow gets a last event `too_slow` and
/// resumes; `ending` is the last event of a sidecar that ends. These, and `degraded`, `recovered`,
/// `reloaded`, `reload_refused`, `drilled` and `drill_failed`, are not in the log and have no id.
#[utoipa::path(get, path = "/v1/events",
    params(("Last-Event-ID" = Option<String>, Header, description = "The id behind which the stream begins")),
    responses(
    (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
    (status = 400, description = "The id is none", body = Problem, content_type = "application/problem+json"),
))]
async fn events(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let after = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default().to_owned());
    if after.as_ref().is_some_and(|id| !is_id(id)) {
        let detail = "Last-Event-ID is none that this sidecar gave";
        return Err(Problem::new(ErrorKind::Usage, detail).hint("leave it out to begin now"));
    }
    let (sender, receiver) = mpsc::channel(PIECES);
    let subscription = app.feed().subscribe();
    tokio::spawn(async move {
        let mut stream = Stream { sender, sent: HashSet::new() };
        if let Err(Gone) = stream.run(&app, after, subscription).await {
            tracing::debug!("a stream of events has lost its client");
        }
    });
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::OK, headers, Body::new(Pieces(receiver))).into_response())
}

/// Whether a text looks like an id: a time, a dash, and letters and digits.
fn is_id(text: &str) -> bool {
    let Some((time, which)) = text.split_once('-') else { return false };
    let digits = |byte: u8| byte.is_ascii_digit();
    let letters = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    time.len() == 14
        && time.bytes().all(digits)
        && (1..=64).contains(&which.len())
        && which.bytes().all(letters)
}

/// The client went away.
struct Gone;

struct Stream {
    sender: mpsc::Sender<Bytes>,
    /// Entries that were taken from the log and may be heard as well.
    sent: HashSet<String>,
}

impl Stream {
    async fn run(
        &mut self,
        app: &App,
        after: Option<String>,
        mut subscription: Subscription,
    ) -> Result<(), Gone> {
        // The head goes out at once, and with it that the stream stands.
        self.say(": begun\n\n".to_owned()).await?;
        if let Some(after) = after {
            self.catch_up(app, &after).await?;
        }
        let mut beats = interval(app.options().heartbeat_every.as_duration());
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beats.reset();
        loop {
            tokio::select! {
                heard = subscription.receiver.recv() => match heard {
                    Ok(entry) if self.sent.remove(&entry.id) => {}
                    Ok(entry) => self.tell(&entry).await?,
                    Err(RecvError::Lagged(missed)) => {
                        return self.say(format!("event: too_slow\ndata: {missed}\n\n")).await;
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
                _ = beats.tick() => self.say(": alive\n\n".to_owned()).await?,
                () = app.ended() => {
                    return self.say("event: ending\ndata: {}\n\n".to_owned()).await;
                }
                () = self.sender.closed() => return Err(Gone),
            }
        }
    }

    /// Tells what the log has behind an id.
    async fn catch_up(&mut self, app: &App, after: &str) -> Result<(), Gone> {
        let until = feed::settled(app.manager()).await;
        let entries = match app.ask(|manager| manager.log(None)).await {
            Ok(entries) => entries,
            Err(problem) => {
                let told = serde_json::to_string(&problem).unwrap_or_default();
                return self.say(format!("event: problem\ndata: {told}\n\n")).await;
            }
        };
        for entry in entries {
            if entry.id.as_str() > after && entry.at.unix_ms() <= until {
                self.tell(&entry).await?;
                self.sent.insert(entry.id);
            }
        }
        Ok(())
    }

    async fn tell(&self, entry: &LogEntry) -> Result<(), Gone> {
        // JSON has no line breaks of its own, so the data is one line.
        let data = serde_json::to_string(entry).expect("an entry has only fields of JSON");
        let id = if entry.id.is_empty() { String::new() } else { format!("id: {}\n", entry.id) };
        self.say(format!("{id}event: {}\ndata: {data}\n\n", entry.entry)).await
    }

    async fn say(&self, text: String) -> Result<(), Gone> {
        self.sender.send(text.into()).await.map_err(|_| Gone)
    }
}

/// The pieces of a stream as the body of an answer.
struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_time_and_a_name() {
        assert!(is_id("01764435000000-0193b1c2d3e4f5061728394a5b6c7d8e"));
        assert!(is_id("01764435000000-e0000000001ab12cd34"));
        for text in ["", "-", "1-a", "01764435000000-", "01764435000000-A", "0176443500000x-a"] {
            assert!(!is_id(text), "{text}");
        }
    }
}
