//! One connection: how many there may be, how long one may keep us waiting, what becomes of a
//! request on it.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};
use tower::ServiceExt;

use super::Options;
use super::listener::{Stream, Way};
use super::problem::{MEDIA_TYPE, Problem};

/// The largest head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Headers of a request.
const HEADERS_MAX: usize = 64;
/// Clients at once that are told that the sidecar is busy; further ones are hung up on.
const REFUSED_AT_ONCE: usize = 64;
/// How long telling one so may take.
const REFUSAL_MAX: Duration = Duration::from_secs(1);

/// Room for connections, and for telling those that there is none.
#[derive(Debug)]
pub(super) struct Room {
    connections: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(options.connections_max)),
            refusals: Arc::new(Semaphore::new(REFUSED_AT_ONCE)),
        }
    }

    /// A place for one more connection.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }

    /// Tells a client that there is no room; where too many are being told so, hangs up.
    pub(super) fn refuse(&self, mut stream: Stream) {
        let Ok(turn) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let told = async {
                stream.write_all(&busy()).await?;
                stream.shutdown().await
            };
            if let Ok(Err(error)) = timeout(REFUSAL_MAX, told).await {
                tracing::debug!(%error, "a client went away before it was told that there is no room");
            }
            drop(turn);
        });
    }
}

/// What a client is told for whom there is no room: no request of it is read.
fn busy() -> Vec<u8> {
    let problem = Problem::busy("there are too many connections");
    let body = serde_json::to_string(&problem).expect("a problem has only fields of JSON");
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {MEDIA_TYPE}\r\nretry-after: 1\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        problem.status,
        problem.title,
        body.len()
    )
    .into_bytes()
}

/// Answers the requests of a connection until one side ends it.
pub(super) async fn serve(stream: Stream, router: Router, options: Arc<Options>, watcher: Watcher) {
    let way = stream.way();
    let service = service_fn(move |request| answer(router.clone(), way, request));
    let io = TokioIo::new(Patient::new(stream, options.write_timeout.as_duration()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout.as_duration())
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(io, service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn answer(
    router: Router,
    way: Way,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(way);
    router.oneshot(request).await
}

/// A stream whose other end must take what is written within a time.
#[derive(Debug)]
struct Patient {
    stream: Stream,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(stream: Stream, patience: Duration) -> Self {
        Self { stream, patience, waiting: None }
    }

    /// Passes an answer on; one that is not there yet is waited for no longer than the patience.
    fn bound<T>(
        &mut self,
        context: &mut Context<'_>,
        answer: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if answer.is_ready() {
            self.waiting = None;
            return answer;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(patience)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let answer = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bound(context, answer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let answer = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.bound(context, answer)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
