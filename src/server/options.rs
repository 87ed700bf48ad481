//! The section `server`: what bounds the sidecar, and where its log goes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::collect::SavePolicy;
use crate::state::{ByteSize, Span};

/// How the sidecar serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// When the state of an agent that posts with `?if_due` is kept.
    pub save_policy: SavePolicy,
    /// Connections at once; further ones are answered that it is busy.
    pub connections_max: usize,
    /// Requests that are worked on at once; further ones wait.
    pub requests_max: usize,
    /// A request waits no longer than this for its turn.
    pub queue_timeout: Span,
    /// A connection on which no whole head of a request came for this long is dropped.
    pub head_timeout: Span,
    /// The body of a request is whole after this long, or refused.
    pub body_timeout: Span,
    /// A client that takes nothing of an answer for this long is dropped.
    pub write_timeout: Span,
    /// The largest body of a request.
    pub body_bytes_max: ByteSize,
    /// The bodies of all requests together.
    pub bodies_bytes_max: ByteSize,
    /// The deepest nesting of a body.
    pub body_depth_max: usize,
    /// What is under way when the sidecar is told to end may take this long.
    pub drain_timeout: Span,
    /// How often a stream of events says that it is alive.
    pub heartbeat_every: Span,
    /// Events that wait for a client that is slow to take them.
    pub events_queued_max: usize,
    /// Agents that have figures of their own; further ones are counted together.
    pub agents_measured_max: usize,
    /// How often the newest checkpoint of each agent is brought back into the store's own directory
    /// `drill` and compared; zero never does. The first time is a 24th of this after the start. Does
    /// nothing without the feature `cli`.
    pub drill_every: Span,
    /// What `Host` may say on TCP beside the address that is listened on and this machine's own names.
    pub allowed_hosts: Vec<String>,
    /// What `Origin` may say.
    pub allowed_origins: Vec<String>,
    /// The sidecar's own log.
    pub log: LogOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            save_policy: SavePolicy::default(),
            connections_max: 1024,
            requests_max: 256,
            queue_timeout: Span::from_secs(5),
            head_timeout: Span::from_secs(30),
            body_timeout: Span::from_secs(60),
            write_timeout: Span::from_secs(30),
            body_bytes_max: ByteSize(66 << 20),
            bodies_bytes_max: ByteSize(256 << 20),
            body_depth_max: 112,
            drain_timeout: Span::from_secs(10),
            heartbeat_every: Span::from_secs(15),
            events_queued_max: 256,
            agents_measured_max: 200,
            drill_every: Span::from_hours(24),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            log: LogOptions::default(),
        }
    }
}

impl Options {
    /// Checks bounds that types do not express; the key that is out of them, and what is allowed.
    ///
    /// # Errors
    /// The first such key.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let spans = [
            ("server.queue_timeout", self.queue_timeout),
            ("server.head_timeout", self.head_timeout),
            ("server.body_timeout", self.body_timeout),
            ("server.write_timeout", self.write_timeout),
            ("server.heartbeat_every", self.heartbeat_every),
        ];
        if let Some((key, _)) = spans.into_iter().find(|(_, span)| span.as_duration().is_zero()) {
            return Err((key, "it is longer than no time"));
        }
        let counts = [
            ("server.connections_max", self.connections_max),
            ("server.requests_max", self.requests_max),
            ("server.events_queued_max", self.events_queued_max),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, count)| !(1..=65_536).contains(count))
        {
            return Err((key, "it is from 1 to 65536"));
        }
        if self.log.keep == 0 {
            return Err(("server.log.keep", "it is at least 1"));
        }
        if !(8..=120).contains(&self.body_depth_max) {
            return Err(("server.body_depth_max", "it is from 8 to 120"));
        }
        if self.bodies_bytes_max < self.body_bytes_max {
            return Err((
                "server.bodies_bytes_max",
                "it is not smaller than server.body_bytes_max",
            ));
        }
        Ok(())
    }
}

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Nothing but errors.
    Error,
    /// What somebody should look at, too.
    Warn,
    /// What happens, too.
    #[default]
    Info,
    /// How it happens, too.
    Debug,
    /// Every step.
    Trace,
}

impl LogLevel {
    /// The level as filters spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Where the sidecar's log goes and how it looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogOptions {
    /// A directory for files, one a day; absent: stderr.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// How lines look.
    pub format: LogFormat,
    /// How much is written.
    pub level: LogLevel,
    /// Files that are kept.
    pub keep: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { dir: None, format: LogFormat::default(), level: LogLevel::default(), keep: 14 }
    }
}
