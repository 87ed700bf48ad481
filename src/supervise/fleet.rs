//! The agents that `serve` runs: each under a `run` of its own, in a process of its own.
//!
//! A `run` joins the sidecar through its socket, as it would by hand, and is all that an agent needs;
//! here it is only seen to that it is there. One that dies is started again after a wait that grows,
//! as a crashed command is. One whose command ended with 0 is done. One that says that another start
//! would not help stays down until somebody looks, and that is told: by the log, by an event, and by
//! `/readyz`.
//!
//! It is promised that no `run` and no command outlives an orderly end. A `run` that has to be killed
//! because it does not end leaves its command to the next one, which finds and ends it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::exit::Exit;
use super::options::Options;
use super::report::span;
use super::restarts::{Cause, Ended, Next, Restarts};
use crate::clock::Clock;
use crate::error::ErrorKind;
use crate::server::App;
use crate::state::AgentId;

/// The exit code of a `run` in a fleet whose command ended badly and is not to be started again. No
/// kind of error has it, so that it says this alone.
pub(crate) const OVER: u8 = 10;

/// An agent of a fleet, and the `run` that keeps it.
#[derive(Debug)]
pub struct Member {
    /// The agent.
    pub agent: AgentId,
    /// The program that has the command `run`.
    pub program: PathBuf,
    /// Everything after its name.
    pub arguments: Vec<OsString>,
}

/// Agents that are being run.
#[derive(Debug)]
pub struct Fleet {
    reins: Reins,
    members: JoinSet<()>,
}

/// The way to every `run` of a fleet. Clones reach the same.
#[derive(Debug, Clone)]
pub struct Reins {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    running: Mutex<BTreeMap<AgentId, Pid>>,
    ending: watch::Sender<bool>,
}

impl Fleet {
    /// Starts a `run` for each; they live as long as the thread that calls this.
    #[must_use]
    pub fn start(
        members: Vec<Member>,
        options: &Options,
        app: &App,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        // What a `run` dies of may be over soon: how often it did is bounded, not how quickly.
        let options = Options { crash_loop_exits: u32::MAX, ..options.clone() };
        let inner = Inner { running: Mutex::default(), ending: watch::Sender::new(false) };
        let reins = Reins { inner: Arc::new(inner) };
        let mut tasks = JoinSet::new();
        for member in members {
            let (reins, app, clock) = (reins.clone(), app.clone(), Arc::clone(clock));
            let restarts = Restarts::new(&options, true);
            tasks.spawn(Keeping { member, restarts, reins, app, clock }.keep());
        }
        Self { reins, members: tasks }
    }

    /// The way to its members, also while it ends.
    #[must_use]
    pub fn reins(&self) -> Reins {
        self.reins.clone()
    }

    /// Ends every `run`, and thereby its command. One that takes longer than `patience` is told again,
    /// upon which it kills its command; one that takes twice as long after that is killed.
    pub async fn end(mut self, patience: Duration) {
        self.reins.inner.ending.send_replace(true);
        for signal in [Signal::TERM, Signal::TERM, Signal::KILL] {
            self.reins.signal(signal);
            if timeout(patience, self.gone()).await.is_ok() {
                return;
            }
            for agent in self.reins.inner.running.lock().keys() {
                tracing::warn!(%agent, "it takes too long to end");
            }
        }
    }

    async fn gone(&mut self) {
        while let Some(ended) = self.members.join_next().await {
            if let Err(died) = ended {
                tracing::error!(%died, "what keeps the run of an agent died");
            }
        }
    }
}

impl Reins {
    /// Tells every `run` to end and waits for none. One that was told before kills its command.
    pub fn hurry(&self) {
        self.inner.ending.send_replace(true);
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        // Whoever is in here was not waited for yet, so its number is no other process's.
        for (agent, pid) in &*self.inner.running.lock() {
            if let Err(error) = kill_process(*pid, signal) {
                tracing::warn!(%agent, %error, "its run cannot be told to end");
            }
        }
    }

    fn are_ending(&self) -> bool {
        *self.inner.ending.borrow()
    }

    /// Waits for a time, or until the fleet is to end.
    async fn pause(&self, time: Duration) {
        let mut ending = self.inner.ending.subscribe();
        // Either way whoever waits looks again.
        timeout(time, ending.wait_for(|ending| *ending)).await.map(drop).ok();
    }
}

/// Sees to it that an agent has a `run`.
struct Keeping {
    member: Member,
    restarts: Restarts,
    reins: Reins,
    app: App,
    clock: Arc<dyn Clock>,
}

impl Keeping {
    async fn keep(mut self) {
        while !self.reins.are_ending() {
            let began = self.clock.monotonic();
            let exit = self.run().await.unwrap_or_else(|error| {
                tracing::error!(agent = %self.member.agent, %error, "its run is not there");
                Exit::Unknown
            });
            if self.reins.are_ending() {
                tracing::info!(agent = %self.member.agent, %exit, "its run ended");
                return;
            }
            match self.after(exit, began) {
                Some(wait) => self.reins.pause(wait).await,
                None => return,
            }
        }
    }

    /// Has a `run` until it ends.
    async fn run(&self) -> io::Result<Exit> {
        let agent = &self.member.agent;
        // Listened to first, so that no end is missed.
        let mut children = signal(SignalKind::child())?;
        let mut command = Command::new(&self.member.program);
        // In a group of its own it hears from this process alone when keys are typed. What it prints
        // goes where the log does: stdout is for what `serve` answers.
        command.args(&self.member.arguments).process_group(0);
        command.stdin(Stdio::null()).stdout(io::stderr()).stderr(Stdio::inherit());
        command.env_remove("NOTIFY_SOCKET");
        let mut child = command.spawn()?;
        let pid = Pid::from_child(&child);
        self.reins.inner.running.lock().insert(agent.clone(), pid);
        tracing::info!(%agent, %pid, "running it");
        loop {
            // No wait lies between its end being seen and its number being let go.
            let seen = child.try_wait();
            if !matches!(seen, Ok(None)) {
                self.reins.inner.running.lock().remove(agent);
            }
            match seen? {
                Some(status) => return Ok(Exit::Told(status)),
                None => _ = children.recv().await,
            }
        }
    }

    /// How long to wait before the next start; none where there is none.
    fn after(&mut self, exit: Exit, began: Duration) -> Option<Duration> {
        let agent = &self.member.agent;
        let why = match follows(exit) {
            Follows::Nothing => {
                tracing::info!(%agent, "its command ended well: it is done");
                return None;
            }
            Follows::Rest(why) => why,
            Follows::Start => {
                let now = self.clock.monotonic();
                let lived = now.saturating_sub(began);
                let ended = Ended { exit, cause: Cause::Itself, lived, content: None };
                if let Next::Again { after } = self.restarts.after(&ended, now) {
                    let wait = span(after);
                    tracing::warn!(%agent, %exit, %wait, "its run died and is started again");
                    return Some(after);
                }
                "its run died too often"
            }
        };
        tracing::error!(%agent, %exit, why, "it stays down");
        self.app.note_down(agent, why);
        None
    }
}

/// What follows when a `run` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// Nothing: the agent is done.
    Nothing,
    /// Nothing until somebody looked; why.
    Rest(&'static str),
    /// Another start.
    Start,
}

/// What follows when a `run` ended in this way.
fn follows(exit: Exit) -> Follows {
    let kinds = [ErrorKind::Usage, ErrorKind::NotFound, ErrorKind::Damaged];
    let is = |kind: ErrorKind| exit.told_code() == Some(kind.exit_code().into());
    match exit.told_code() {
        Some(0) => Follows::Nothing,
        Some(code) if code == i32::from(OVER) => {
            Follows::Rest("its command ended badly, and too often to be started again")
        }
        _ if is(ErrorKind::Refused) => Follows::Rest("it is halted until somebody looks"),
        _ if kinds.into_iter().any(is) => Follows::Rest("it cannot be run as it is configured"),
        _ => Follows::Start,
    }
}

/// Has this process told to end when the `serve` that started it ends, in whatever way it does; where
/// the system has no such thing, an orderly end alone is passed on.
///
/// # Errors
/// When that one is gone already.
pub fn stay_with(parent: i32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    // It may have ended before this was said.
    let now = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if now == parent { Ok(()) } else { Err(io::Error::other("it is gone")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    #[test]
    fn what_another_start_does_not_help_is_not_started_again() {
        let of = |raw: i32| follows(Exit::Told(ExitStatus::from_raw(raw)));
        assert_eq!(of(0), Follows::Nothing);
        for code in [i32::from(OVER), 2, 3, 4, 7] {
            assert!(matches!(of(code << 8), Follows::Rest(_)), "{code}");
        }
        // Failed or unavailable, locked, unstored, a panic; then what kills it.
        for raw in [1 << 8, 5 << 8, 6 << 8, 101 << 8, 9, 11] {
            assert_eq!(of(raw), Follows::Start, "{raw}");
        }
        assert_eq!(follows(Exit::Unknown), Follows::Start);
    }
}
