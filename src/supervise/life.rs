//! The life of an agent under `run`: claimed, started, attended, kept, started again.
//!
//! One attempt is one process of the command. Between two attempts nothing of the command runs: what
//! it left behind is ended first, then what was lost is looked at, then the next one begins. The
//! claim names the last command until all of that is done, so that a successor of a killed `run`
//! does it instead.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde::de::DeserializeOwned;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use super::aftermath::{After, Beginning};
use super::attend::UnderWay;
use super::claim::{Child, Claim, Leader, Left, MARK, Registry};
use super::error::Error;
use super::exit::Exit;
use super::group::{Group, Reaper, end_survivors};
use super::keeper::{Ask, Belongings, Due, Prints, Seen, StateFiles};
use super::options::{Options, Restart};
use super::patterns::Pattern;
use super::post::{Post, Posting};
use super::report::{Report, span};
use super::restarts::{Cause, Restarts};
use super::schedule::{Part, Parts, Schedule};
use super::sense::transcript::Follower;
use super::sense::{Gatherer, Laid, Places, Relay};
use super::senses::Senses;
use super::sidecar::SidecarSetup;
use super::signals::{Signals, tells_to_end};
use super::talk::Talk;
use super::terminal::Terminal;
use crate::clock::Clock;
use crate::disk::{Disk, process};
use crate::server::client::ClientError;
use crate::state::AgentId;

/// How often files are looked at and decisions are made.
const TICK: Duration = Duration::from_millis(200);

/// What nobody answered is asked again after this.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What is to be run, and for whom.
#[derive(Debug)]
pub struct Setup {
    /// The agent.
    pub agent: AgentId,
    /// What it keeps its memory in.
    pub belongings: Belongings,
    /// The store, and how it is served where nobody serves it yet.
    pub sidecar: SidecarSetup,
    /// How long a claim by another process is waited for.
    pub claim_wait: Duration,
    /// The command and its arguments; at least the command.
    pub command: Vec<OsString>,
    /// A command for `sh -c` that takes the place of the first where the agent starts again.
    pub restart_command: Option<String>,
    /// How it is run.
    pub options: Options,
    /// The files of its transcript; absent: it has none that is read.
    pub transcript: Option<Pattern>,
    /// Take over what a killed predecessor left running, instead of ending it.
    pub adopt: bool,
    /// Others speak in the same place: each line names the agent, and there is no status line.
    pub among_others: bool,
    /// Say nothing.
    pub quiet: bool,
    /// Where files lie.
    pub disk: Arc<dyn Disk>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

enum Start {
    Fresh(Beginning),
    Adopted(Group, Child),
}

/// An agent that is being run.
#[derive(Debug)]
pub(super) struct Life {
    pub setup: Setup,
    pub post: Post,
    pub files: StateFiles,
    pub talk: Talk,
    pub report: Report,
    pub schedule: Schedule,
    pub restarts: Restarts,
    pub signals: Signals,
    pub terminal: Option<Terminal>,
    /// Whether the command gets the terminal as the foreground.
    pub on_terminal: bool,
    pub ticks: Interval,
    pub under_way: Option<UnderWay>,
    pub prints: Prints,
    /// How many changes were noticed in the workspace; none where nobody watches it.
    pub noticed: Option<u64>,
    /// Restores that were ordered and wait for the command's end.
    pub orders: VecDeque<Uuid>,
    /// When the workspace was last taken for changed because nobody watches it.
    pub presumed: Duration,
    /// What was told of trouble that lasts, so that it is told once.
    pub troubles: VecDeque<String>,
    pub attempt: u32,
    /// What the command prints, where that does not go to a terminal.
    pub relay: Relay,
    pub senses: Senses,
    reaper: Arc<Reaper>,
    claim: Claim,
}

/// Runs an agent's command until it is over; the exit code to end with.
///
/// This process becomes the subreaper of all its descendants and waits for every child: nothing
/// else in it may start processes meanwhile, hooks and detectors of drift apart.
///
/// # Errors
/// `locked` where the agent is being run already, what the store answers where the first checkpoint
/// cannot be taken or a damaged state not be put back, `not_found` for a command that is not there.
pub async fn run(setup: Setup) -> Result<u8, Error> {
    let posting = Posting {
        agent: setup.agent.clone(),
        belongings: setup.belongings.clone(),
        sidecar: setup.sidecar.clone(),
    };
    let found = posting.find().await?;
    let registry = Registry {
        disk: Arc::clone(&setup.disk),
        clock: Arc::clone(&setup.clock),
        store: setup.sidecar.store.path.clone(),
        wait: setup.claim_wait,
    };
    let (claim, left) = match registry.claim(&setup.agent) {
        Ok(claimed) => claimed,
        Err(error) => {
            found.let_go().await;
            return Err(error);
        }
    };
    let post = Post::take_up(posting, found).await?;
    let mut life = Life::new(setup, claim, post)?;
    let ended = life.live_on(left).await;
    let Life { post, signals, .. } = life;
    post.leave(told_to_end(signals)).await;
    ended
}

async fn told_to_end(mut signals: Signals) {
    while !tells_to_end(signals.next().await) {}
}

impl Life {
    fn new(setup: Setup, claim: Claim, post: Post) -> Result<Self, Error> {
        let system = |doing| move |source| Error::System { doing, source };
        let reaper = Reaper::begin().map_err(system("take charge of descendants"))?;
        let signals = Signals::listen().map_err(system("listen for signals"))?;
        let terminal = Terminal::of_stdin();
        let on_terminal = terminal.as_ref().is_some_and(Terminal::is_ours);
        let wanted = match setup.options.restart {
            Restart::Auto => !on_terminal || setup.restart_command.is_some(),
            Restart::Always => true,
            Restart::Never => false,
        };
        let files = StateFiles::of(Arc::clone(&setup.disk), &setup.belongings)?;
        let parts =
            Parts { state: files.are_any(), workspace: setup.belongings.workspace.is_some() };
        let follower = setup.transcript.clone().map(|pattern| {
            Follower::begin(Arc::clone(&setup.disk), pattern, &setup.options.transcript)
        });
        let places = Places::of(&setup, &files);
        let gatherer = Gatherer::new(places, follower, &setup.options);
        let senses = Senses::new(gatherer, &setup.options);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            schedule: Schedule::new(&setup.options, parts),
            restarts: Restarts::new(&setup.options, wanted),
            talk: Talk::new(setup.quiet, setup.among_others.then_some(&setup.agent)),
            report: Report::default(),
            prints: Prints::new(),
            noticed: Some(0),
            orders: VecDeque::new(),
            presumed: Duration::ZERO,
            post,
            files,
            under_way: None,
            troubles: VecDeque::new(),
            attempt: 0,
            relay: Relay::default(),
            senses,
            setup,
            signals,
            terminal,
            on_terminal,
            ticks,
            reaper,
            claim,
        })
    }

    pub(super) fn now(&self) -> Duration {
        self.setup.clock.monotonic()
    }

    /// Asks the keeper, wherever it is.
    pub(super) async fn ask<T: DeserializeOwned>(&self, ask: Ask) -> Result<T, ClientError> {
        self.post.line.ask(&ask).await
    }

    async fn live_on(&mut self, left: Option<Left>) -> Result<u8, Error> {
        let (sightings, terminal) = (Vec::new(), self.on_terminal);
        let standing: Seen = self.ask(Ask::See { sightings, terminal }).await?;
        if let Some(Due::Halted(why)) = standing.due {
            return Err(self.halted(why));
        }
        let start = self.take_over(left).await?;
        self.live(start).await
    }

    /// Deals with what a killed predecessor left, and makes ready for the first attempt.
    async fn take_over(&mut self, left: Option<Left>) -> Result<Start, Error> {
        let Some(Left { child, survivors }) = left else {
            let restored = self.mend().await?;
            let first = self.ask(Ask::Arrive).await?;
            self.note_kept(&first);
            return Ok(Start::Fresh(Beginning { restored, ..Beginning::default() }));
        };
        self.attempt = child.attempt;
        if let Some(leader) = child.leader.filter(|_| self.setup.adopt) {
            match self.reaper.adopt(leader) {
                Ok(group) => return Ok(Start::Adopted(group, child)),
                Err(error) => {
                    self.talk.say(&format!("process {} cannot be adopted: {error}", leader.pid));
                }
            }
        }
        if !survivors.is_empty() {
            let pids: Vec<String> = survivors.iter().map(|one| one.pid.to_string()).collect();
            let pids = pids.join(", ");
            self.talk.say(&format!("ending what a killed run left running: {pids}"));
            if !end_survivors(&child, self.grace()).await {
                return Err(Error::Survives { pids });
            }
        }
        let why = format!("attempt {} was under way when its run was killed", child.attempt);
        self.talk.say(&why);
        let (beginning, _) = self.recover(&why, child.started_at).await?;
        Ok(Start::Fresh(beginning))
    }

    pub(super) fn grace(&self) -> Duration {
        self.setup.options.stop_grace.as_duration()
    }

    async fn live(&mut self, mut start: Start) -> Result<u8, Error> {
        loop {
            let fresh = matches!(start, Start::Fresh(_));
            let (mut group, child) = match start {
                Start::Adopted(group, child) => {
                    let child = self.adopted(&group, child);
                    (group, child)
                }
                Start::Fresh(beginning) => {
                    if let Some(signal) = self.pause(beginning.after).await {
                        self.talk.say("ended while it waited to start again");
                        return Ok(self.end(128_u8.saturating_add(signal)));
                    }
                    let beginning = self.carry_orders(beginning).await;
                    self.begin(&beginning)?
                }
            };
            self.enter(&group);
            self.senses.begin(group.pid().as_raw_nonzero().get(), &self.relay, fresh);
            let mut attended = self.attend(&mut group).await;
            if self.leave(&group).await {
                attended.cause = Cause::Asked;
            }
            start = match self.settle(attended, child).await? {
                After::Again(beginning) => Start::Fresh(beginning),
                After::Over(exit) => {
                    self.tell_the_end(exit);
                    return Ok(self.end(exit.code()));
                }
                After::Halted { exit, why } => {
                    self.tell_the_end(exit);
                    self.claim.rests();
                    return Err(self.halted(why));
                }
            };
        }
    }

    /// Says what became of it all, and which files that were named are nowhere: their names may be
    /// mistyped.
    fn tell_the_end(&mut self, exit: Exit) {
        self.talk.close_line();
        self.talk.say(&self.report.words(exit));
        let transcript = self.setup.transcript.iter().filter(|it| !it.finds(&*self.setup.disk));
        let transcript = transcript.map(|pattern| pattern.path().to_owned());
        for name in self.files.nowhere().into_iter().chain(transcript) {
            self.talk.say(&format!("there is no file {}", name.display()));
        }
    }

    fn halted(&self, why: String) -> Error {
        Error::Halted { agent: self.setup.agent.clone(), why }
    }

    fn adopted(&mut self, group: &Group, child: Child) -> Child {
        let (pid, attempt) = (group.pid(), child.attempt);
        self.talk.say(&format!("adopted process {pid}, attempt {attempt} of a killed run"));
        match Relay::over(pid.as_raw_nonzero().get(), child.output) {
            Ok(relay) => self.relay = relay,
            Err(error) => self.talk.say(&format!("what it prints cannot be read on: {error}")),
        }
        self.claim.runs(child);
        child
    }

    /// Gives the command what it needs while it runs.
    fn enter(&mut self, group: &Group) {
        self.report.attempt();
        self.prints = self.files.prints();
        // What a crash left is worth keeping for good as soon as a command goes on with it.
        let now = self.now();
        for part in [Part::State, Part::Workspace] {
            self.schedule.changed(part, now);
        }
        if let Some(terminal) = &mut self.terminal {
            terminal.forget_modes();
            terminal.give(group.pid());
        }
        if !self.on_terminal {
            self.talk.open_line();
        }
        // It may have stopped already because the terminal was not its own yet.
        group.signal(Signal::CONT);
    }

    /// Takes it back, ends what the command left behind, and passes on what it printed; whether this
    /// process was asked to end meanwhile.
    async fn leave(&mut self, group: &Group) -> bool {
        if let Some(terminal) = &mut self.terminal {
            terminal.take_from(group.pid());
        }
        let left = group.clear(self.grace()).await;
        if left > 0 {
            self.talk.say(&format!("ended {left} of its processes that it left behind"));
        }
        self.pass_on_the_rest().await
    }

    async fn pass_on_the_rest(&mut self) -> bool {
        let patience = self.grace();
        loop {
            tokio::select! {
                () = self.relay.finish(patience) => return false,
                signal = self.signals.next() => match signal {
                    signal if tells_to_end(signal) => {
                        self.talk.say("nobody reads what it printed last: it is not passed on");
                        return true;
                    }
                    Signal::TSTP => self.stop_with_it().await,
                    Signal::WINCH => self.talk.resized(),
                    _ => {}
                },
            }
        }
    }

    /// Waits before an attempt; the number of a signal that came instead.
    async fn pause(&mut self, after: Duration) -> Option<u8> {
        if after.is_zero() {
            return None;
        }
        self.talk.say(&format!("starting again in {}", span(after)));
        self.wait(after).await
    }

    /// Asks until a sidecar answers: an agent that nobody could look after is not started again. Gives
    /// up where it is told to end meanwhile.
    pub(super) async fn ask_patiently<T: DeserializeOwned>(
        &mut self,
        ask: Ask,
    ) -> Result<T, ClientError> {
        loop {
            match self.ask(ask.clone()).await {
                Err(error) if error.is_gone() => {
                    self.tell_once(Some(format!("it is not started again yet: {error}")));
                    if self.wait(ASK_AGAIN_AFTER).await.is_some() {
                        return Err(error);
                    }
                }
                answer => return answer,
            }
        }
    }

    /// Waits; the signal that ended that, where one did.
    async fn wait(&mut self, time: Duration) -> Option<u8> {
        let wait = sleep(time);
        tokio::pin!(wait);
        loop {
            tokio::select! {
                () = &mut wait => return None,
                news = self.post.news() => self.hear(news),
                signal = self.signals.next() => match signal {
                    signal if tells_to_end(signal) => {
                        return u8::try_from(signal.as_raw()).ok();
                    }
                    Signal::TSTP => self.stop_with_it().await,
                    Signal::WINCH => self.talk.resized(),
                    _ => {}
                },
            }
        }
    }

    /// Starts the command.
    fn begin(&mut self, beginning: &Beginning) -> Result<(Group, Child), Error> {
        self.attempt += 1;
        let (mark, started_at) = (Uuid::new_v4(), self.setup.clock.now());
        let mut command = self.command(beginning);
        command.env(MARK, mark.to_string());
        let laid = self.lay_pipes(&mut command)?;
        let (attempt, output) = (self.attempt, laid.pipes());
        let mut child = Child { mark, attempt, started_at, output, leader: None };
        self.claim.runs(child);
        let group = self.reaper.spawn(&mut command).map_err(|source| {
            // Nothing was started, so nothing is left behind.
            self.claim.rests();
            Error::Spawn { command: command.get_program().display().to_string(), source }
        })?;
        self.relay = laid.begun();
        child.leader =
            process::process(group.pid().as_raw_nonzero().get()).as_ref().map(Leader::of);
        self.claim.runs(child);
        Ok((group, child))
    }

    /// Puts pipes in place of what the command would print to, where that is wanted.
    fn lay_pipes(&self, command: &mut Command) -> Result<Laid, Error> {
        if !self.setup.options.watch_output {
            return Ok(Laid::default());
        }
        let doing = "lay the pipes for what the command prints";
        Laid::before(command).map_err(|source| Error::System { doing, source })
    }

    fn command(&self, beginning: &Beginning) -> Command {
        let mut command = match &self.setup.restart_command {
            Some(text) if self.attempt > 1 => {
                let mut shell = Command::new("sh");
                shell.args(["-c", text]);
                shell
            }
            _ => {
                let (program, rest) =
                    self.setup.command.split_first().expect("there is at least a command");
                let mut command = Command::new(program);
                command.args(rest);
                command
            }
        };
        let restored = beginning.restored.map(|id| id.to_string()).unwrap_or_default();
        command
            .env("STATEWARD_AGENT", self.setup.agent.as_str())
            .env("STATEWARD_ATTEMPT", self.attempt.to_string())
            .env("STATEWARD_RESTORED_FROM", restored)
            .env("STATEWARD_FAILED_OPERATIONS", beginning.failed_operations.join(","))
            .env("STATEWARD_STORE__PATH", &self.setup.sidecar.store.path);
        if let Some((url, token)) = self.post.address() {
            command.env("STATEWARD_URL", url).env("STATEWARD_TOKEN", token);
        }
        command
    }

    /// Says that nothing of the command is left; the exit code.
    fn end(&mut self, code: u8) -> u8 {
        self.talk.close_line();
        self.claim.rests();
        code
    }
}
