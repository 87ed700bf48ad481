//! What is seen of a command while it runs, shown to its detectors; and what follows from that.
//!
//! Once a second it is looked at what is new, and what the detectors say is heard. One look at a time:
//! one that takes long is waited for, and misses nothing. A state file is put back between two
//! checkpoints and never beside one. When drift asks for the command's end it is ended once, and what
//! is due is done when nothing of it runs any more.

use std::future::pending;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};

use super::keeper::{Ask, Due, PutBack, Seen};
use super::life::Life;
use super::options::Options;
use super::post::Line;
use super::sense::{Gathered, Gatherer, Relay};
use crate::drift::Level;
use crate::drift::sighting::{self, Sighting};
use crate::server::client::ClientError;
use crate::state::Span;
use crate::supervise::restarts::{Cause, Ended};

/// It is looked at what is new as often as this, or as often as output is told.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Sightings that are sent as one.
const SENT_MAX: usize = 512;

/// What looks at a command, and what it says.
#[derive(Debug)]
pub(super) struct Senses {
    gatherer: Arc<Mutex<Gatherer>>,
    job: Option<Job>,
    /// Sightings that nobody has to look for.
    waiting: Vec<Sighting>,
    looked: Duration,
    every: Duration,
    pub level: Level,
    /// A state file is to be put back for this reason.
    put_back: Option<String>,
    /// The command is to be ended, for this reason.
    pub end: Option<String>,
    /// Why nothing could be shown, as it was told last.
    trouble: Option<String>,
}

#[derive(Debug)]
enum Job {
    Look(JoinHandle<Result<Looked, ClientError>>),
    PutBack(JoinHandle<Result<Option<PutBack>, ClientError>>),
}

/// What came of a job.
#[derive(Debug)]
pub(super) enum Done {
    Looked(Result<Looked, ClientError>),
    PutBack(Result<Option<Box<PutBack>>, ClientError>),
}

/// What came of a look.
#[derive(Debug)]
pub(super) struct Looked {
    seen: Seen,
    trouble: Vec<String>,
}

impl Senses {
    pub(super) fn new(gatherer: Gatherer, options: &Options) -> Self {
        Self {
            every: LOOK_EVERY.min(options.look_every.as_duration()),
            gatherer: Arc::new(Mutex::new(gatherer)),
            job: None,
            waiting: Vec::new(),
            looked: Duration::ZERO,
            level: Level::Ok,
            put_back: None,
            end: None,
            trouble: None,
        }
    }

    /// A command begins, or is taken over.
    pub(super) fn begin(&mut self, group: i32, relay: &Relay, fresh: bool) {
        self.gatherer.lock().begin(group, relay.counter());
        self.waiting.extend(fresh.then_some(Sighting::Begun));
        (self.put_back, self.end) = (None, None);
    }

    /// Whether files are being put back.
    pub(super) fn is_putting_back(&self) -> bool {
        matches!(self.job, Some(Job::PutBack(_)))
    }

    /// Waits for the job under way; for ever where none is.
    pub(super) async fn done(&mut self) -> Done {
        let done = match &mut self.job {
            Some(Job::Look(job)) => Done::Looked(job.await.unwrap_or_else(|it| Err(died(&it)))),
            Some(Job::PutBack(job)) => {
                let back = job.await.unwrap_or_else(|it| Err(died(&it)));
                Done::PutBack(back.map(|back| back.map(Box::new)))
            }
            None => pending().await,
        };
        self.job = None;
        done
    }
}

fn died(why: &tokio::task::JoinError) -> ClientError {
    ClientError::Strange { url: "this process".to_owned(), why: why.to_string() }
}

/// Shows what was gathered, in pieces.
async fn show(line: Line, gathered: Gathered, terminal: bool) -> Result<Looked, ClientError> {
    let Gathered { mut sightings, trouble } = gathered;
    let mut said = Vec::new();
    loop {
        let rest = sightings.split_off(sightings.len().min(SENT_MAX));
        let sent = mem::replace(&mut sightings, rest);
        let seen: Seen = line.ask(&Ask::See { sightings: sent, terminal }).await?;
        said.extend(seen.said.iter().cloned());
        if sightings.is_empty() {
            return Ok(Looked { seen: Seen { said, ..seen }, trouble });
        }
    }
}

impl Life {
    /// Begins a look where one is due, or puts back what is to be.
    pub(super) fn look_around(&mut self, now: Duration) {
        if self.senses.job.is_some() {
            return;
        }
        if self.under_way.is_none()
            && let Some(why) = self.senses.put_back.take()
        {
            let line = self.post.line.clone();
            let job = async move { line.ask(&Ask::PutBack { why }).await };
            self.senses.job = Some(Job::PutBack(tokio::spawn(job)));
            return;
        }
        if now.saturating_sub(self.senses.looked) < self.senses.every {
            return;
        }
        self.senses.looked = now;
        let (line, gatherer) = (self.post.line.clone(), Arc::clone(&self.senses.gatherer));
        let (mut sightings, terminal) = (mem::take(&mut self.senses.waiting), self.on_terminal);
        let job = async move {
            let looked = spawn_blocking(move || gatherer.lock().look(now)).await;
            let mut gathered = looked.map_err(|it| died(&it))?;
            sightings.append(&mut gathered.sightings);
            show(line, Gathered { sightings, ..gathered }, terminal).await
        };
        self.senses.job = Some(Job::Look(tokio::spawn(job)));
    }

    /// Hears what came of a look.
    pub(super) fn hear_senses(&mut self, done: Done) {
        match done {
            Done::Looked(Ok(Looked { seen, trouble })) => {
                self.senses.trouble = None;
                trouble.iter().chain(&seen.said).for_each(|text| self.talk.say(text));
                self.senses.level = seen.level;
                match seen.due {
                    None => {}
                    Some(Due::PutBack(why)) => self.senses.put_back = Some(why),
                    // A look that was under way finds the same again.
                    Some(Due::End(_) | Due::Halted(_)) if self.senses.end.is_some() => {}
                    Some(Due::End(why) | Due::Halted(why)) => {
                        self.talk.say(&format!("drift: {why}"));
                        self.talk.say("  it is ended for that");
                        self.senses.end = Some(why);
                    }
                }
            }
            Done::PutBack(Ok(Some(put_back))) => _ = self.note_put_back(&put_back),
            Done::PutBack(Ok(None)) => self.talk.say("there is nothing to put back"),
            Done::Looked(Err(error)) => {
                self.tell_blind(format!("what is seen of it cannot be shown: {error}"));
            }
            Done::PutBack(Err(error)) => {
                self.tell_blind(format!("a state file cannot be put back: {error}"));
            }
        }
    }

    fn tell_blind(&mut self, why: String) {
        if self.senses.trouble.as_ref() != Some(&why) {
            self.talk.say(&why);
            self.senses.trouble = Some(why);
        }
    }

    /// Shows what a command printed last, and how it ended. What is due then is answered by whoever
    /// asks for it; what is found of files is put right with the exit itself.
    pub(super) async fn see_the_end(&mut self, ended: &Ended) -> Option<Due> {
        if self.senses.job.is_some() {
            let done = self.senses.done().await;
            self.hear_senses(done);
        }
        let gatherer = Arc::clone(&self.senses.gatherer);
        let last = match spawn_blocking(move || gatherer.lock().end()).await {
            Ok(gathered) => gathered,
            Err(error) => {
                self.tell_blind(format!("what it did last is not seen: {error}"));
                Gathered::default()
            }
        };
        let mut sightings = mem::take(&mut self.senses.waiting);
        sightings.extend(last.sightings);
        sightings.push(Sighting::Exited(exit_of(ended)));
        let gathered = Gathered { sightings, trouble: last.trouble };
        match show(self.post.line.clone(), gathered, self.on_terminal).await {
            Ok(Looked { seen, trouble }) => {
                trouble.iter().chain(&seen.said).for_each(|text| self.talk.say(text));
                self.senses.level = seen.level;
                seen.due
            }
            Err(error) => {
                self.tell_blind(format!("how it ended cannot be shown: {error}"));
                None
            }
        }
    }
}

/// How an end is shown. One that was asked for is no failure, whatever the command made of it.
fn exit_of(ended: &Ended) -> sighting::Exit {
    let code = match ended.cause {
        Cause::Itself | Cause::Silent => ended.exit.told_code(),
        Cause::Asked | Cause::Refresh | Cause::Restore | Cause::Drift => Some(0),
    };
    let lived = Span::from_ms(u64::try_from(ended.lived.as_millis()).unwrap_or(u64::MAX));
    sighting::Exit { code, lived, content: ended.content }
}
