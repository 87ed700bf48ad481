//! Where what happens is logged: stderr for commands, what `[server.log]` says for a sidecar.
//!
//! Untrusted text is escaped: the writer of text does so with control characters, and JSON has an
//! escape for each. Lines of a sidecar are not dropped under load; whoever logs waits instead.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use super::Surroundings;
use super::arguments::{Command, CommandLine};
use super::failure::Failure;
use super::session::Session;
use crate::disk::private;
use crate::server::{LogFormat, LogLevel, LogOptions};

/// Names of the log's files: this, the day, this.
const FILE_PREFIX: &str = "stateward";
const FILE_SUFFIX: &str = "log";
/// Lines that wait for the disk before whoever logs waits too.
const LINES_WAITING: usize = 8192;

/// The log, as long as this is held: what waits for the disk is written when it is dropped.
#[derive(Debug)]
pub struct Logging {
    filter: Option<reload::Handle<EnvFilter, Registry>>,
    _written: Option<WorkerGuard>,
}

impl Logging {
    /// Begins to log as the command line and, for a sidecar, the configuration say.
    ///
    /// # Errors
    /// The exit code, where the log cannot be written as configured; that was said.
    pub fn begin(line: &CommandLine, surroundings: &Surroundings) -> Result<Self, ExitCode> {
        let begun = match &line.command {
            Command::Serve(_) => Self::of_sidecar(line, surroundings),
            _ => Ok(Self::of_command(line, surroundings)),
        };
        begun.map_err(|failure| failure.report(line.global.json))
    }

    /// What the library says of its work goes to stderr: warnings (that a second try was needed is
    /// told by the receipt), more with `-v`, and what `STATEWARD_LOG` or `RUST_LOG` ask for. With
    /// `--json` stderr is for the error object alone.
    fn of_command(line: &CommandLine, surroundings: &Surroundings) -> Self {
        let filter = match (asked(surroundings), line.global.verbose) {
            (_, 1) => EnvFilter::new("stateward=info"),
            (_, 2) => EnvFilter::new("stateward=debug"),
            (_, 3..) => EnvFilter::new("stateward=trace"),
            (Some(asked), 0) => EnvFilter::builder().parse_lossy(asked),
            // What goes wrong there is made to go wrong.
            (None, 0) if matches!(line.command, Command::Validate(_)) => EnvFilter::new("off"),
            (None, 0) if line.global.json => EnvFilter::new("off"),
            (None, 0) if line.global.quiet => EnvFilter::new("error"),
            (None, 0) => EnvFilter::new("warn,stateward::disk::retry=error"),
        };
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(colours(surroundings))
            .without_time();
        tracing_subscriber::registry().with(filter).with(lines).init();
        Self { filter: None, _written: None }
    }

    fn of_sidecar(line: &CommandLine, surroundings: &Surroundings) -> Result<Self, Failure> {
        let session = Session::new(&line.global, surroundings, None)?;
        let options = &session.configuration.settings.server.log;
        let filter = match (asked(surroundings), line.global.verbose) {
            (_, 1..) | (None, 0) => filter(options.level),
            (Some(asked), 0) => EnvFilter::builder().parse_lossy(asked),
        };
        let (filter, handle) = reload::Layer::new(filter);
        let registry = tracing_subscriber::registry().with(filter);
        let written = if let Some(dir) = &options.dir {
            let (writer, written) = file(&session.absolute(dir), options)?;
            registry.with(lines(options, writer, false, true)).init();
            Some(written)
        } else {
            // Service managers put the time before each line themselves.
            let timed = options.format == LogFormat::Json;
            registry.with(lines(options, io::stderr, colours(surroundings), timed)).init();
            None
        };
        Ok(Self { filter: Some(handle), _written: written })
    }

    /// Logs as much as this from now on, where the log is a sidecar's.
    pub(super) fn set_level(&self, level: LogLevel) {
        let Some(handle) = &self.filter else { return };
        if let Err(error) = handle.reload(filter(level)) {
            tracing::error!(%error, "the level of the log stays as it is");
        }
    }
}

/// What the environment asks for.
fn asked(surroundings: &Surroundings) -> Option<&str> {
    ["STATEWARD_LOG", "RUST_LOG"].into_iter().find_map(|name| {
        let found = surroundings.variables.iter().find(|(known, _)| known == name);
        found.and_then(|(_, value)| value.to_str())
    })
}

fn colours(surroundings: &Surroundings) -> bool {
    let plain = surroundings.variables.iter().any(|(name, _)| name == "NO_COLOR");
    io::stderr().is_terminal() && !plain
}

fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::new(format!("warn,stateward={}", level.as_str()))
}

fn lines<S, W>(
    options: &LogOptions,
    writer: W,
    ansi: bool,
    timed: bool,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(ansi);
    match (options.format, timed) {
        (LogFormat::Json, _) => layer.json().flatten_event(true).boxed(),
        (LogFormat::Text, true) => layer.boxed(),
        (LogFormat::Text, false) => layer.without_time().boxed(),
    }
}

/// The file of the day in a directory of ours.
fn file(dir: &Path, options: &LogOptions) -> Result<(NonBlocking, WorkerGuard), Failure> {
    let failed = |source| Failure::Write { path: dir.to_owned(), source };
    private::make_directory(dir).map_err(failed)?;
    private::check_directory(dir).map_err(|why| Failure::Refused {
        message: format!("the directory of the log, {}, is not used: {why}", dir.display()),
        hint: "what is logged may be private: name a directory of yours with mode 0700",
    })?;
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(FILE_PREFIX)
        .filename_suffix(FILE_SUFFIX)
        .max_log_files(options.keep)
        .build(dir)
        .map_err(|error| failed(io::Error::other(error)))?;
    let builder = NonBlockingBuilder::default().lossy(false).buffered_lines_limit(LINES_WAITING);
    Ok(builder.finish(appender))
}
