//! A client of a sidecar, over its unix socket or over TCP.
//!
//! One connection for each request: whoever asks a sidecar asks seldom, and a sidecar that went away
//! is then noticed at once. What is asked is a [`Call`], and what comes back is its answer or the
//! sidecar's own error, with its kind, its way out and its attempts. A request is not tried again
//! here: whether that is right depends on what was asked.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::api::{Call, Wire};
use super::problem::Problem;
use crate::error::ErrorKind;
use crate::state::Attempt;

/// A sidecar on another machine's port that does not answer for so long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a sidecar may take to say that it is there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a sidecar did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// It answered that it did not, and why.
    #[error("{}", .0.detail)]
    Answered(Box<Problem>),
    /// It is not there, or went away before it answered.
    #[error("the sidecar at {url} does not answer: {source}")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// It answered something else than was asked for.
    #[error("the sidecar at {url} answered what is not understood: {why}")]
    Strange {
        /// Where it is.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The text names no place of a sidecar.
    #[error("`{url}` is no address of a sidecar")]
    Address {
        /// The text.
        url: String,
    },
    /// What is asked cannot be written as JSON.
    #[error("the request cannot be written: {0}")]
    Request(#[from] serde_json::Error),
}

impl ClientError {
    /// What sort of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Answered(problem) => problem.kind,
            Self::Unreachable { .. } => ErrorKind::Unavailable,
            Self::Strange { .. } => ErrorKind::Failed,
            Self::Address { .. } | Self::Request(_) => ErrorKind::Usage,
        }
    }

    /// The way out, where there is one to name.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Answered(problem) => problem.hint.clone(),
            Self::Unreachable { .. } => Some(
                "start it again; where STATEWARD_URL names another that is gone, unset it"
                    .to_owned(),
            ),
            Self::Address { .. } => {
                Some("it is unix:/path/to/socket or http://host:port".to_owned())
            }
            Self::Strange { .. } | Self::Request(_) => None,
        }
    }

    /// Every try to commit, where the error is of a commit.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Self::Answered(problem) => &problem.attempts,
            _ => &[],
        }
    }

    /// Whether the sidecar is not there any more.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// Where a sidecar answers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Socket(PathBuf),
    /// `host:port`.
    Tcp(String),
}

/// A client of one sidecar.
#[derive(Clone)]
pub struct Client {
    place: Place,
    token: Option<String>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the sidecar at a socket, as the owner of its store.
    #[must_use]
    pub fn of_socket(socket: PathBuf) -> Self {
        Self { place: Place::Socket(socket), token: None }
    }

    /// A client of the sidecar at `unix:/absolute/path` or `http://host:port`.
    ///
    /// # Errors
    /// `usage` where the text is neither.
    pub fn of_url(url: &str, token: Option<String>) -> Result<Self, ClientError> {
        let place =
            if let Some(path) = url.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
                Place::Socket(path.into())
            } else if let Some(host) = url.strip_prefix("http://") {
                let host = host.trim_end_matches('/');
                if host.is_empty() || host.contains('/') {
                    return Err(ClientError::Address { url: url.to_owned() });
                }
                Place::Tcp(if host.contains(':') { host.to_owned() } else { format!("{host}:80") })
            } else {
                return Err(ClientError::Address { url: url.to_owned() });
            };
        Ok(Self { place, token })
    }

    /// The place as `STATEWARD_URL` has it.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.place {
            Place::Socket(path) => format!("unix:{}", path.display()),
            Place::Tcp(host) => format!("http://{host}"),
        }
    }

    /// Asks, and waits for the answer; for threads that may block.
    pub(crate) fn call<C: Call>(&self, call: &C) -> Result<C::Answer, ClientError> {
        let body = self.send_blocking(&call.wire()?)?;
        C::read(&body).map_err(|error| self.strange(&error.to_string()))
    }

    /// Sends a request, and waits for the body of the answer; for threads that may block.
    pub(crate) fn send_blocking(&self, wire: &Wire) -> Result<Bytes, ClientError> {
        self.wait_for(self.send(wire))?
    }

    /// Whether a sidecar answers there, within some seconds, be it that it does not know the token:
    /// one that was stopped still takes connections, and nobody knows for how long.
    pub(crate) fn answers(&self) -> bool {
        let wire = Wire::get("/livez".to_owned());
        let asked = async { timeout(ANSWER_TIMEOUT, self.send(&wire)).await };
        matches!(self.wait_for(asked), Ok(Ok(Ok(_) | Err(ClientError::Answered(_)))))
    }

    fn wait_for<T>(&self, work: impl Future<Output = T>) -> Result<T, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(runtime.map_err(|source| self.unreachable(source))?.block_on(work))
    }

    /// Sends a request, and reads the answer.
    pub(crate) async fn exchange_json<T: DeserializeOwned>(
        &self,
        wire: &Wire,
    ) -> Result<T, ClientError> {
        let body = self.send(wire).await?;
        serde_json::from_slice(&body).map_err(|error| self.strange(&error.to_string()))
    }

    async fn send(&self, wire: &Wire) -> Result<Bytes, ClientError> {
        let response = self.open(wire).await?;
        let body = response.into_body().collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| self.broken(error))
    }

    /// Sends a request; the answer's body is still to come.
    pub(crate) async fn open(&self, wire: &Wire) -> Result<Response<Incoming>, ClientError> {
        let response = match &self.place {
            Place::Socket(path) => {
                let stream = UnixStream::connect(path).await;
                self.exchange(stream.map_err(|source| self.unreachable(source))?, wire).await
            }
            Place::Tcp(host) => {
                let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(host)).await;
                let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                self.exchange(stream.map_err(|source| self.unreachable(source))?, wire).await
            }
        }?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| self.broken(error))?;
        Err(match serde_json::from_slice::<Problem>(&body.to_bytes()) {
            Ok(problem) => ClientError::Answered(Box::new(problem)),
            Err(_) => self.strange(&format!("status {status} without a problem")),
        })
    }

    async fn exchange<S>(&self, stream: S, wire: &Wire) -> Result<Response<Incoming>, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.broken(error))?;
        // What goes wrong with the connection is told by the exchange itself.
        tokio::spawn(async move { connection.await.ok() });
        let request = self.request(wire)?;
        sender.send_request(request).await.map_err(|error| self.broken(error))
    }

    fn request(&self, wire: &Wire) -> Result<Request<Full<Bytes>>, ClientError> {
        let host = match &self.place {
            Place::Socket(_) => "localhost",
            Place::Tcp(host) => host,
        };
        let mut request =
            Request::builder().method(wire.method).uri(&wire.path).header(header::HOST, host);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if wire.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in &wire.headers {
            request = request.header(*name, value);
        }
        let body = Full::new(wire.body.clone().unwrap_or_default().into());
        request.body(body).map_err(|error| self.strange(&format!("no request: {error}")))
    }

    fn unreachable(&self, source: io::Error) -> ClientError {
        ClientError::Unreachable { url: self.url(), source }
    }

    fn broken(&self, error: hyper::Error) -> ClientError {
        self.unreachable(io::Error::other(error))
    }

    fn strange(&self, why: &str) -> ClientError {
        ClientError::Strange { url: self.url(), why: why.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_two_forms() {
        for url in ["unix:/run/s.sock", "http://127.0.0.1:8700", "http://[::1]:8700"] {
            assert_eq!(Client::of_url(url, None).unwrap().url(), url);
        }
        for url in ["", "unix:", "unix:s.sock", "https://a", "http://", "http://a/b", "/run/s.sock"]
        {
            let error = Client::of_url(url, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{url}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let client = Client::of_url("http://a:1", Some("secret".into())).unwrap();
        assert!(!format!("{client:?}").contains("secret"));
    }

    #[test]
    fn nobody_there_is_unavailable() {
        let client = Client::of_socket("/nowhere/at/all.sock".into());
        let error = client.send_blocking(&Wire::get("/livez".into())).unwrap_err();
        assert!(error.is_gone() && error.kind() == ErrorKind::Unavailable, "{error}");
        assert!(!client.answers());
    }
}
