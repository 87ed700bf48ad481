//! A whole agent that cannot lose its work.
//!
//! `cargo run --example agent_loop` lives two lives of one agent. It reads a book and keeps a note
//! on each chapter. On the way it asks a save policy after every turn whether a checkpoint is due,
//! guards a risky step and takes it back when it goes wrong, says what it did so that its drift can be
//! found, meets an error with a recovery checkpoint, and starts over from its last checkpoint when it has been up for long. In the middle
//! of another risky step its process is killed. The second life finds that step open, goes back to
//! the moment before it, and finishes the book.
//!
//! `cargo run --example agent_loop -- DIR` keeps the store in DIR, to be looked at with
//! `stateward --store DIR --agent reader list`.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use stateward::{
    Agent, CheckpointManager, Clock, ErrorKind, Kind, ManualClock, Moment, Observation, Options,
    Outcome as Ended, Receipt, SavePolicy, Saved, SourceError, Standing, StateSource, Timestamp,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

const CHAPTERS: u64 = 12;
/// A turn of a real agent takes minutes; this one only says that it did.
const TURN: Duration = Duration::from_secs(4 * 60);
/// After so long a life the agent starts over from its last checkpoint, with nothing else in mind.
const REFRESH_AFTER: Duration = Duration::from_secs(32 * 60);

/// What the agent must not lose. Any type that serde can turn into a JSON object will do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Work {
    chapter: u64,
    notes: Vec<String>,
    published: bool,
}

/// Where the agent's work lies while it lives: the store collects it from here and puts it back.
#[derive(Debug, Default)]
struct Desk(Mutex<Work>);

impl StateSource for Desk {
    fn collect(&self) -> Result<Vec<u8>, SourceError> {
        Ok(serde_json::to_vec(&*self.0.lock())?)
    }

    fn apply(&self, state: &[u8]) -> Result<(), SourceError> {
        *self.0.lock() = serde_json::from_slice(state)?;
        Ok(())
    }
}

/// The agent and what its loop keeps in mind.
struct Reader {
    agent: Agent,
    desk: Arc<Desk>,
    policy: SavePolicy,
    clock: Arc<ManualClock>,
    up_since: Duration,
    saved: Option<Saved>,
    /// The first life ends in the middle of publishing.
    doomed: bool,
}

impl Reader {
    /// Goes on from the newest checkpoint, or begins where there is none.
    fn wake(store: &Path, doomed: bool) -> Outcome<Self> {
        let desk = Arc::new(Desk::default());
        let manager = CheckpointManager::open(Options::new(store))?;
        let agent = manager.agent("reader")?.with_source(Arc::clone(&desk) as Arc<dyn StateSource>);
        let clock = ManualClock::starting_at(Timestamp::default());
        // At most every ten minutes, unless a third of the book was read.
        let policy = "automatic min=10m progress=0.33".parse()?;
        let up_since = clock.monotonic();
        let mut reader = Self { agent, desk, policy, clock, up_since, saved: None, doomed };
        reader.resume()?;
        Ok(reader)
    }

    fn resume(&mut self) -> Outcome<()> {
        match self.agent.read_checkpoint("latest") {
            Ok(latest) => {
                *self.desk.0.lock() = latest.state()?;
                say("", &format!("resumed from #{}", latest.checkpoint().seq));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                say("", "nothing was kept before: a fresh start");
            }
            Err(error) => return Err(error.into()),
        }
        let operations = self.agent.operations()?;
        for open in operations.iter().filter(|one| one.status == Standing::Open) {
            let id = open.operation_id.to_string();
            say("", &format!("found \"{}\" open: it died half-way", open.name));
            self.agent.close_operation(&id, Ended::Failed, "the process died")?;
            self.agent.restore_checkpoint(&id)?;
            say("", &format!("went back to #{}, the moment before it", open.seq));
        }
        Ok(())
    }

    fn live(&mut self) -> Outcome<()> {
        while self.desk.0.lock().chapter < CHAPTERS {
            self.turn()?;
            self.save_if_due()?;
            self.refresh_if_old()?;
        }
        self.save("the book is finished")
    }

    fn turn(&mut self) -> Outcome<()> {
        let chapter = self.desk.0.lock().chapter + 1;
        let read = self.read(chapter);
        self.check_drift(chapter, read.is_ok())?;
        if let Err(error) = read {
            // Whatever comes of it, how things stood when it went wrong is kept.
            let receipt =
                self.agent.checkpoint(Kind::Recovery).comment(error.to_string()).commit()?;
            say(&format!("chapter {chapter}"), &format!("{error}; kept {}", name(&receipt)));
        }
        let mut work = self.desk.0.lock();
        work.notes.push(format!("what chapter {chapter} says"));
        work.chapter = chapter;
        drop(work);
        say(&format!("chapter {chapter}"), "read");
        match chapter {
            4 => self.shorten_notes(),
            9.. if !self.desk.0.lock().published => self.publish(),
            _ => Ok(()),
        }
    }

    /// Stands for a tool that fails now and then.
    fn read(&self, chapter: u64) -> Outcome<()> {
        self.clock.advance(TURN);
        if chapter == 6 { Err("the page would not load".into()) } else { Ok(()) }
    }

    /// Says what was done, and has done what is due where that is not as it should be: evidence is
    /// kept, or the agent goes back to before the drift began.
    fn check_drift(&self, chapter: u64, ok: bool) -> Outcome<()> {
        let told = Observation::action("read", chapter).ok(ok).progress(share(chapter));
        let observed = self.agent.observe(told.metric("latency_s", 2.1))?;
        if observed.due {
            let response = self.agent.respond()?;
            say("", &format!("drifts: {}", response.decision.why));
        }
        Ok(())
    }

    /// A risky step that goes wrong, and is taken back.
    fn shorten_notes(&mut self) -> Outcome<()> {
        let operation = self.agent.begin_operation("shorten the notes")?;
        say("", &format!("begin \"shorten the notes\": kept {}", name(operation.receipt())));
        self.desk.0.lock().notes.retain(|note| note.len() > 1000);
        let left = self.desk.0.lock().notes.len();
        if left > 0 {
            operation.complete()?;
            return Ok(());
        }
        let seq = operation.receipt().seq;
        operation.roll_back("no note was left")?;
        let notes = self.desk.0.lock().notes.len();
        say("", &format!("no note was left; went back to #{seq}: {notes} notes again"));
        Ok(())
    }

    /// A risky step that goes well, in a life that lasts so long.
    fn publish(&mut self) -> Outcome<()> {
        let operation = self.agent.begin_operation("publish")?;
        say("", &format!("begin \"publish\": kept {}", name(operation.receipt())));
        if self.doomed {
            self.desk.0.lock().notes.clear();
            std::process::abort();
        }
        self.desk.0.lock().published = true;
        operation.complete()?;
        say("", "published");
        Ok(())
    }

    fn save_if_due(&mut self) -> Outcome<()> {
        let chapter = self.desk.0.lock().chapter;
        let moment = Moment {
            now: self.clock.monotonic(),
            progress: Some(share(chapter)),
            step: chapter,
            saved: self.saved,
        };
        match self.policy.due(&moment) {
            Some(due) => self.save(&due.to_string()),
            None => Ok(()),
        }
    }

    fn save(&mut self, why: &str) -> Outcome<()> {
        let began = self.clock.monotonic();
        let receipt = self.agent.checkpoint(Kind::Routine).comment(why).commit()?;
        let chapter = self.desk.0.lock().chapter;
        let at = self.clock.monotonic();
        let progress = Some(share(chapter));
        self.saved = Some(Saved { at, progress, step: chapter, cost: at.saturating_sub(began) });
        say("", &format!("kept {}: {why}", name(&receipt)));
        Ok(())
    }

    /// What gathers in a long life (stale plans, a crowded context) is shed: only what was kept
    /// comes along.
    fn refresh_if_old(&mut self) -> Outcome<()> {
        if self.clock.monotonic().saturating_sub(self.up_since) < REFRESH_AFTER {
            return Ok(());
        }
        self.save("before a refresh")?;
        *self.desk.0.lock() = self.agent.read_checkpoint("latest")?.state()?;
        self.up_since = self.clock.monotonic();
        say("", "refreshed after a long uptime");
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a dozen chapters")]
fn share(chapter: u64) -> f64 {
    chapter as f64 / CHAPTERS as f64
}

fn name(receipt: &Receipt) -> String {
    format!("#{} {}", receipt.seq, receipt.kind)
}

fn say(what: &str, words: &str) {
    println!("  {what:<12}{words}");
}

/// Runs a life in a process of its own; answers whether it ended well and the number it kept last.
fn life(store: &Path, doomed: bool) -> Outcome<(bool, String)> {
    let word = if doomed { "doomed" } else { "long" };
    let child = Command::new(std::env::current_exe()?)
        .args(["live", word])
        .arg(store)
        .stdout(Stdio::piped())
        .spawn()?;
    let ended = child.wait_with_output()?;
    let told = String::from_utf8(ended.stdout)?;
    print!("{told}");
    let mut numbers = told.split_whitespace().filter(|word| word.starts_with('#'));
    let kept = numbers.next_back().unwrap_or("nothing").trim_end_matches([',', ':']).to_owned();
    Ok((ended.status.success(), kept))
}

fn show(store: &Path) -> Outcome<()> {
    println!("First life");
    let (_, acknowledged) = life(store, true)?;
    println!(
        "Killed in the middle of \"publish\". The last checkpoint it was told of: {acknowledged}"
    );

    let look = CheckpointManager::open_to_look(Options::new(store))?;
    let found = look.agent("reader")?.read_checkpoint("latest")?;
    let notes = found.state::<Work>()?.notes.len();
    println!("Found in the store: #{}, {notes} notes. Lost: nothing", found.checkpoint().seq);
    if format!("#{}", found.checkpoint().seq) != acknowledged {
        return Err("an acknowledged checkpoint is missing".into());
    }
    drop((found, look));

    println!("Second life");
    let (well, _) = life(store, false)?;
    if !well {
        return Err("the second life did not end well".into());
    }
    let look = CheckpointManager::open_to_look(Options::new(store))?;
    let work: Work = look.agent("reader")?.read_checkpoint("latest")?.state()?;
    println!(
        "The end: {} notes on {} chapters, published: {}",
        work.notes.len(),
        work.chapter,
        work.published
    );
    Ok(())
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["live", life, store] => Reader::wake(store.as_ref(), *life == "doomed")?.live(),
        [store] => show(store.as_ref()),
        _ => show(&tempfile::tempdir()?.path().join(".stateward")),
    }
}
