//! Keeps the state of long-running agents, so that whatever happens to the process or to the disk,
//! no more is lost than the work done since the last checkpoint, and the way back is one call.
//!
//! A *checkpoint* is an agent's state (one JSON object, kept byte for byte) at one moment, with what
//! is known about it. It goes into a *store*: a directory with an append-only, checksummed log.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use stateward::{CheckpointManager, Filter, Kind, Options};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Notes {
//!     step: u64,
//!     found: Vec<String>,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let place = dir.path().join(".stateward");
//! # /*
//! let place = "./.stateward";
//! # */
//! let notes = Notes { step: 1, found: vec!["a clue".into()] };
//!
//! let manager = CheckpointManager::open(Options::new(&place))?;
//! let agent = manager.agent("agent-3")?;
//! let receipt = agent.create_checkpoint(Kind::Routine, &notes)?; // durable on return
//! drop((agent, manager)); // the process ends here, or is killed
//!
//! let manager = CheckpointManager::open(Options::new(&place))?;
//! let agent = manager.agent("agent-3")?;
//! let back: Notes = agent.read_checkpoint("latest")?.state()?;
//! assert_eq!(back, notes);
//!
//! // What is risky is guarded: dropped without `complete`, it counts as failed.
//! let operation = agent.begin_operation("rewrite the notes")?;
//! let restored = operation.roll_back("that made it worse")?;
//! assert_eq!(restored.state::<Notes>()?, notes);
//!
//! // A checkpoint is found by its path, its id (or the first digits of it), `latest`,
//! // `latest:KIND` or `good`.
//! assert_eq!(agent.read_checkpoint(&receipt.path)?.checkpoint().seq, receipt.seq);
//! assert_eq!(agent.list_checkpoints(Filter::default())?.last(), Some(&receipt.checkpoint));
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - What [`Request::commit`] returned for survives `kill -9` at any instruction and the loss of
//!   power, as far as the disk keeps what it synced.
//! - A checkpoint is whole or absent; a restore that was interrupted is finished at the next start.
//! - Every byte is proven when it is read. `latest` and `good` walk back past what is damaged and
//!   say so; a checkpoint asked for by path or id is an error then.
//! - Tries that failed, a fallback store, damage: all of it is in the [`Receipt`], the [`Error`], the
//!   [`Status`] or the log of events. Nothing is retried, cut or healed silently.
//! - A restore can be taken back: it begins with a `recovery` checkpoint of what it replaces.
//!
//! # What it does not
//!
//! States are JSON objects of up to 64 MiB; files and directories are kept beside them
//! ([`Agent::workspace`], [`Agent::state_file`]). It says when an agent drifts and can put it back
//! ([`Agent::observe`], [`Agent::respond`]), but starts and stops nothing: that is what the command
//! `run` is for. It protects against accidents, not against whoever can write to the directory.
//! Two processes cannot write to one store at a time; the second one gets
//! [`locked`](ErrorKind::Locked). `docs/guarantees.md` words each promise with its limits.
//!
//! # How it is used
//!
//! Calls block, for one sync where they commit; each has a twin in `_async` that needs a running
//! tokio runtime. Handles are cheap to clone and may be used from any thread. Nothing is logged
//! anywhere: spans and events of [`tracing`] go to whatever subscriber the program has.
//! `examples/agent_loop.rs` is a whole agent.
//!
//! Everything a program needs is named right here. The modules are the stages of the way a
//! checkpoint goes, in that order; what else is in them is for tests and may change.

#![forbid(unsafe_code)]

// What is spoken about.
pub mod state;

// The coarse kinds of failure.
pub mod error;

// What time it is; the first seam under test.
pub mod clock;

// What tests may switch off.
#[doc(hidden)]
pub mod protection;

// All file access; the second seam.
pub mod disk;

// The way out. What is kept, and when.
pub mod collect;

// As which bytes.
pub mod encode;

// Durable, in the log.
pub mod commit;

// Where the log lies, and what is in it.
pub mod store;

// For how long.
pub mod retention;

// The way back. Found sound, or not.
pub mod verify;

// Why to go back, and how far.
pub mod drift;

// Put where it was.
pub mod restore;

// The one that calls them in this order.
pub mod manager;

// The edges. Settings from files and the environment.
pub mod config;

// What is answered on a socket.
#[cfg(feature = "server")]
pub mod server;

// An agent's command, run and kept.
pub mod supervise;

// The promises, tried on the user's own disk.
#[cfg(feature = "cli")]
pub mod validate;

// The command line.
#[cfg(feature = "cli")]
pub mod cli;

// What the fuzz targets call.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod fuzzing;

#[doc(inline)]
pub use clock::{Clock, ManualClock, SystemClock};
#[doc(inline)]
pub use collect::{
    Automatic, Due, Moment, Options as ScanOptions, SavePolicy, SavePolicyError, Saved,
    SourceError, StateSource,
};
#[doc(inline)]
pub use commit::Options as LogOptions;
#[doc(inline)]
pub use config::Settings;
#[doc(inline)]
pub use disk::{Disk, DiskFile, DiskLock, DiskTree, MemoryDisk, RealDisk, Retry};
#[doc(inline)]
pub use drift::{
    Decision, Detector, Directive, Finding as DriftFinding, Level, Measure, Observation, Occasion,
    Opinion, Options as DriftOptions, Sighting, Signal, SignalStatus, Verdict,
};
#[doc(inline)]
pub use encode::event::Outcome;
#[doc(inline)]
pub use encode::{Change, ChangeKind, ChunkParams, NoText, Options as StateOptions};
#[doc(inline)]
pub use error::ErrorKind;
#[doc(inline)]
pub use manager::{
    Agent, AgentSummary, Aspect, CheckpointManager, Differences, DriftChoice, DriftPassed,
    DriftReport, DriftResponse, Error, FileDifference, FileFacts, FileKind, Filter, ForgetReport,
    ForgetRequest, ForgottenOne, KeptFile, KeptOne, LeftOut, Loaded, LogEntry, Observed, Operation,
    OperationStatus, Options, PruneReport, Request, RestoreOptions, Restored, Standing, Status,
    TargetStatus, WalkedPast, Word, Work, WorkProgress, WorkspaceOptions,
};
#[doc(inline)]
pub use restore::{Files, Reason, Untouched};
#[doc(inline)]
pub use retention::{Anchor, KindPolicy, Policy};
#[doc(inline)]
pub use state::{
    AgentId, Attempt, ByteSize, Checkpoint, CheckpointId, Digest, Durable, Kind, NounError,
    OperationRef, Receipt, Seq, Skipped, Span, Timestamp, Why,
};
#[doc(inline)]
pub use store::Options as StoreOptions;
#[doc(inline)]
pub use verify::{DamagedCheckpoint, Finding, Progress, VerifyOptions, VerifyReport};
