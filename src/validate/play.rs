//! The part that a real process plays: it keeps states as fast as it can and says what was
//! acknowledged, a line each, until it is killed.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::life::state;
use crate::manager::{CheckpointManager, Error, Options};
use crate::state::{ByteSize, Digest, Kind};

/// What the process is to do; it gets it as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The store it writes to.
    pub store: PathBuf,
    /// Takes its commits when the store cannot.
    pub fallback: Option<PathBuf>,
    /// As many agents, a thread each.
    pub threads: u64,
    /// How many checkpoints of each agent are kept.
    pub keep_last: u64,
}

impl Part {
    /// Small segments, so that killing meets segments being made, and few checkpoints, so that it
    /// meets forgetting and compaction.
    pub(super) fn options(&self) -> Options {
        let mut options = Options::new(&self.store);
        if let Some(fallback) = &self.fallback {
            options = options.fallback(fallback);
        }
        options.log.segment_bytes_min = 64 << 10;
        options.log.segment_bytes_max = 256 << 10;
        options.retention.routine.keep_last = self.keep_last;
        options.retention.routine.anchors = Vec::new();
        // A disk this nearly full is the fault, where one is meant.
        options.retention.disk_budget = Some(ByteSize(1 << 40));
        options.retention.free_floor = Some(ByteSize(0));
        options
    }
}

/// Plays the part until nobody listens any more, or a commit fails.
///
/// # Errors
/// The first commit that failed.
pub fn play(part: &Part) -> Result<(), Error> {
    let manager = CheckpointManager::open(part.options())?;
    say("ready").map_err(|source| Error::Io { doing: "speak".to_owned(), source })?;
    let threads: Vec<u64> = (0..part.threads).collect();
    std::thread::scope(|scope| {
        let start = |thread: &u64| {
            let (manager, thread) = (&manager, *thread);
            scope.spawn(move || keep_for_ever(manager, thread))
        };
        let writers: Vec<_> = threads.iter().map(start).collect();
        let ended = writers.into_iter().map(|writer| match writer.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

fn keep_for_ever(manager: &CheckpointManager, thread: u64) -> Result<(), Error> {
    let agent = manager.agent(&format!("agent-{thread}"))?;
    for n in 0.. {
        let bytes = state(n, [100, 3000, 40_000][n % 3]);
        let digest = Digest::of(&bytes);
        let made = agent.checkpoint(Kind::Routine).state_bytes(bytes).commit()?.checkpoint;
        let words = format!("agent-{thread} {} {} {digest}", made.checkpoint_id, made.seq);
        if say(&words).is_err() {
            // Nobody listens any more.
            break;
        }
    }
    Ok(())
}

fn say(words: &str) -> io::Result<()> {
    // One write, so that what a killed process said is a line or is nothing.
    let mut out = io::stdout().lock();
    out.write_all(format!("{words}\n").as_bytes())?;
    out.flush()
}
