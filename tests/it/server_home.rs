//! A sidecar under test, and a client that can also be rude.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::cli_home::Home;
use crate::run_home::signal;

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `serve` that goes on; it is killed when this is dropped.
pub struct Sidecar {
    child: Child,
    /// What it said of itself when it was ready.
    pub told: Value,
}

/// Where a client connects.
#[derive(Clone, Debug)]
pub enum Place {
    Socket(PathBuf),
    Address(String),
}

/// What was answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// Both ways of a connection.
pub trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

impl Home {
    /// A sidecar over the store of this home, ready to answer.
    pub fn serve(&self, flags: &[&str]) -> Sidecar {
        Sidecar::start(&mut self.raw(&[&["serve", "--json"], flags].concat()))
    }
}

impl Sidecar {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(told) = serde_json::from_str(&line) else {
            let mut err = String::new();
            child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            panic!("{line}\n{err}");
        };
        Self { child, told }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// The socket that it said it answers on.
    pub fn socket(&self) -> Place {
        let url = self.told["url"].as_str().unwrap();
        Place::Socket(url.strip_prefix("unix:").unwrap().into())
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Ends it as a service manager does: how it exited, and what it said.
    pub fn stop(mut self) -> (ExitStatus, String) {
        self.signal("TERM");
        self.over()
    }

    /// Waits for its end.
    pub fn over(&mut self) -> (ExitStatus, String) {
        let mut err = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap(), err)
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn get(&self, path: &str) -> Reply {
        self.socket().ask("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &str) -> Reply {
        self.socket().post(path, body)
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Place {
    pub fn connect(&self) -> Box<dyn Wire + Send> {
        match self {
            Self::Socket(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Box::new(stream)
            }
            Self::Address(address) => {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                Box::new(stream)
            }
        }
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Reply {
        let mut wire = self.connect();
        wire.write_all(&request(method, path, headers, body)).unwrap();
        Reply::read(&mut wire)
    }

    pub fn post(&self, path: &str, body: &str) -> Reply {
        self.ask("POST", path, &["content-type: application/json"], body.as_bytes())
    }
}

/// The bytes of a request that is the last on its connection.
pub fn request(method: &str, path: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|header| header.to_lowercase().starts_with("host:")) {
        text += "host: localhost\r\n";
    }
    for header in headers {
        write!(text, "{header}\r\n").unwrap();
    }
    if !body.is_empty() || method == "POST" {
        write!(text, "content-length: {}\r\n", body.len()).unwrap();
    }
    [(text + "\r\n").as_bytes(), body].concat()
}

impl Reply {
    /// Reads until the other side ends the connection.
    pub fn read(wire: &mut dyn Wire) -> Self {
        let mut bytes = Vec::new();
        let read = wire.read_to_end(&mut bytes);
        Self::of(&bytes).unwrap_or_else(|| panic!("{read:?}: {}", String::from_utf8_lossy(&bytes)))
    }

    /// The reply in these bytes; `None` where its head is not whole.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?.to_lowercase();
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let body = bytes[end + 4..].to_vec();
        let chunked = head.contains("transfer-encoding: chunked");
        let body = if chunked { unchunked(&body) } else { body };
        Some(Self { status, head, body })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that this is a problem of this status and kind; what it says.
    #[track_caller]
    pub fn problem(&self, status: u16, kind: &str) -> String {
        assert_eq!(self.status, status, "{self}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self}");
        let problem = self.json();
        for member in ["type", "title", "status", "detail", "kind", "hint", "attempts"] {
            assert!(problem.get(member).is_some(), "no {member} in {self}");
        }
        assert_eq!(
            (&problem["status"], &problem["kind"]),
            (&status.into(), &kind.into()),
            "{self}"
        );
        problem["detail"].as_str().unwrap().to_owned()
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n\n{}", self.head, String::from_utf8_lossy(&self.body))
    }
}

/// The content of a body that came in chunks, as far as it came.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let rest = &body[end + 2..];
        let len = size.min(rest.len());
        content.extend_from_slice(&rest[..len]);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    content
}

/// The holder that the lock of a store names.
pub fn holder(store: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(store.join("lock")).unwrap()).unwrap()
}
