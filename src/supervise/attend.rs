//! While the command runs: its signals, its stops, the checkpoints that come due, and the reasons to
//! end it.

use std::future::pending;
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinHandle;

use super::exit::Exit;
use super::group::{Change, Group};
use super::keeper::{Ask, Kept, Wanted};
use super::life::Life;
use super::restarts::Cause;
use super::schedule::{Part, Parts};
use crate::drift::Level;
use crate::server::client::ClientError;
use crate::server::sessions::News;

/// So much trouble that lasts is told once; of more, what was told longest ago may be told again.
const TROUBLES_MAX: usize = 16;

/// A checkpoint that is being taken, and when that began.
#[derive(Debug)]
pub(super) struct UnderWay {
    job: JoinHandle<Result<Kept, ClientError>>,
    parts: Parts,
    began: Duration,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attended {
    pub exit: Exit,
    pub cause: Cause,
    pub lived: Duration,
}

/// What is going on with a command.
#[derive(Debug)]
pub(super) struct Watch {
    began: Duration,
    /// When it last gave a sign of life.
    sign: Duration,
    /// It was stopped, and is not expected to do anything.
    pub stopped: bool,
    /// The last signal that was passed on, and when.
    passed_on: Option<(Signal, Duration)>,
    /// It was told that nobody reads what it prints.
    unread: bool,
    ending: Option<Ending>,
}

/// An end that was asked for.
#[derive(Debug)]
struct Ending {
    cause: Cause,
    kill_at: Duration,
}

impl Watch {
    fn new(now: Duration) -> Self {
        Self { began: now, sign: now, stopped: false, passed_on: None, unread: false, ending: None }
    }

    /// Notes that it may act again.
    pub(super) fn goes_on(&mut self, now: Duration) {
        self.stopped = false;
        self.sign = now;
    }

    /// Why it ended, as far as this process had a hand in it.
    fn cause(&self, exit: Exit, now: Duration, grace: Duration) -> Cause {
        if let Some(ending) = &self.ending {
            return ending.cause;
        }
        let answered = self.passed_on.is_some_and(|(signal, at)| {
            let ends = !matches!(signal, Signal::USR1 | Signal::USR2);
            exit.is_of(signal.as_raw()) || (ends && now.saturating_sub(at) <= grace)
        });
        if answered { Cause::Asked } else { Cause::Itself }
    }
}

impl Life {
    /// Attends to a command until it ends.
    pub(super) async fn attend(&mut self, group: &mut Group) -> Attended {
        let mut watch = Watch::new(self.now());
        let exit = loop {
            tokio::select! {
                change = group.changed() => match change {
                    Change::Ended(exit) => break exit,
                    Change::Stopped(signal) => self.on_stopped(group, &mut watch, signal).await,
                },
                signal = self.signals.next() => self.on_signal(group, &mut watch, signal),
                kept = finished(&mut self.under_way) => self.on_kept(group, &watch, kept),
                done = self.senses.done() => self.hear_senses(done),
                news = self.post.news() => self.on_news(&mut watch, news),
                _ = self.ticks.tick() => self.on_tick(group, &mut watch),
            }
        };
        let now = self.now();
        let mut cause = watch.cause(exit, now, self.grace());
        // There the keyboard's signals go to the command and not to this process.
        let typed = [Signal::INT, Signal::QUIT, Signal::HUP];
        if self.on_terminal && typed.iter().any(|signal| exit.is_of(signal.as_raw())) {
            cause = Cause::Asked;
        }
        Attended { exit, cause, lived: now.saturating_sub(watch.began) }
    }

    fn on_signal(&mut self, group: &Group, watch: &mut Watch, signal: Signal) {
        let now = self.now();
        match signal {
            Signal::CONT => self.resume(group, watch),
            // While it is stopped, this is the one that this process sent to its own group.
            Signal::TSTP if watch.stopped => {}
            Signal::TSTP => _ = group.signal(signal),
            Signal::WINCH => self.talk.resized(),
            Signal::TERM if watch.passed_on.is_some_and(|(last, _)| last == signal) => {
                group.signal(Signal::KILL);
            }
            _ => {
                watch.passed_on = Some((signal, now));
                group.signal(signal);
                if signal == Signal::TERM {
                    let kill_at = now + self.grace();
                    watch.ending.get_or_insert(Ending { cause: Cause::Asked, kill_at });
                }
            }
        }
    }

    fn on_tick(&mut self, group: &Group, watch: &mut Watch) {
        let now = self.now();
        self.look(watch, now);
        self.tell_of_closed_reader(group, watch, now);
        let grace = self.grace();
        if let Some(ending) = &mut watch.ending {
            if now >= ending.kill_at {
                group.signal(Signal::KILL);
                ending.kill_at = now + grace;
            }
        } else if !watch.stopped {
            self.look_around(now);
            if let Some(cause) = self.reason_to_end(watch, now) {
                watch.ending = Some(Ending { cause, kill_at: now + grace });
                group.signal(Signal::TERM);
            } else {
                self.take_if_due(group, now);
            }
        }
        let (agent, wall) = (self.setup.agent.as_str(), self.setup.clock.now());
        let drift = match self.senses.level {
            Level::Ok => "",
            Level::Suspect => " · suspect",
            Level::Drifting => " · drifting",
        };
        let line = self.report.line(agent, self.attempt, wall);
        self.talk.show(&format!("{line}{drift}"));
    }

    /// Hands on that nobody reads what the command prints, as it would learn by printing.
    fn tell_of_closed_reader(&self, group: &Group, watch: &mut Watch, now: Duration) {
        if self.relay.is_closed() && !std::mem::replace(&mut watch.unread, true) {
            watch.passed_on = Some((Signal::PIPE, now));
            group.signal_first(Signal::PIPE);
        }
    }

    /// Looks at what the command may have changed.
    fn look(&mut self, watch: &mut Watch, now: Duration) {
        let prints = self.files.prints();
        if prints != self.prints {
            self.prints = prints;
            self.schedule.changed(Part::State, now);
            watch.sign = now;
        }
        // Where nobody can tell whether the workspace changed, it may have, now and then.
        let every = self.setup.options.steady_every.as_duration();
        if self.noticed.is_none() && now.saturating_sub(self.presumed) >= every {
            self.presumed = now;
            self.schedule.changed(Part::Workspace, now);
        }
    }

    fn on_news(&mut self, watch: &mut Watch, news: News) {
        if matches!(news, News::Sign | News::Saved { .. } | News::Pulse(Some(_))) {
            watch.sign = self.now();
        }
        self.hear(news);
    }

    /// Takes note of what the sidecar tells.
    pub(super) fn hear(&mut self, news: News) {
        let now = self.now();
        match news {
            News::Pulse(noticed) => {
                if noticed.is_some() && noticed != self.noticed {
                    self.schedule.changed(Part::Workspace, now);
                }
                self.noticed = noticed;
            }
            News::Sign => {}
            News::Saved { seq, created_at } => self.report.saved(seq, created_at),
            News::Order { id, why } => {
                self.talk.say(&why);
                self.orders.push_back(id);
            }
            News::Back { own, lost } => {
                let word = if own { "this run keeps it now" } else { "another was found" };
                if lost {
                    self.talk.say(&format!("the sidecar was lost: {word}"));
                }
                for part in [Part::State, Part::Workspace] {
                    self.schedule.changed(part, now);
                }
            }
            News::Trouble(why) => {
                self.tell_once(Some(format!("nobody keeps the agent just now: {why}")));
            }
        }
    }

    fn reason_to_end(&self, watch: &Watch, now: Duration) -> Option<Cause> {
        if !self.orders.is_empty() {
            return Some(Cause::Restore);
        }
        if self.senses.end.is_some() {
            return Some(Cause::Drift);
        }
        let options = &self.setup.options;
        let over = |limit: Option<crate::state::Span>, since: Duration| {
            limit.is_some_and(|limit| now.saturating_sub(since) >= limit.as_duration())
        };
        if over(options.heartbeat_timeout, watch.sign) {
            self.talk.say("no sign of life: ending it");
            return Some(Cause::Silent);
        }
        over(options.max_uptime, watch.began).then_some(Cause::Refresh)
    }

    fn take_if_due(&mut self, group: &Group, now: Duration) {
        if self.under_way.is_some() || self.senses.is_putting_back() {
            return;
        }
        let Some(due) = self.schedule.due(now) else { return };
        let parts = self.schedule.parts(due);
        let (line, take) = (self.post.line.clone(), Ask::Take(Wanted::routine(parts)));
        let frozen = self.setup.options.freeze.then(|| group.handle());
        let job = tokio::spawn(async move {
            if let Some(group) = frozen {
                group.freeze().await;
            }
            line.ask(&take).await
        });
        self.under_way = Some(UnderWay { job, parts, began: now });
    }

    fn on_kept(&mut self, group: &Group, watch: &Watch, kept: Result<Kept, ClientError>) {
        if self.setup.options.freeze && !watch.stopped {
            group.signal(Signal::CONT);
        }
        let Some(UnderWay { parts, began, .. }) = self.under_way.take() else { return };
        match kept {
            Ok(kept) => {
                self.schedule.kept(parts, began);
                self.note_kept(&kept);
            }
            Err(error) => {
                self.schedule.failed(self.now());
                self.tell_once(Some(format!("no checkpoint could be taken: {error}")));
            }
        }
    }

    /// Waits for a checkpoint that is being taken.
    pub(super) async fn wait_for_checkpoint(&mut self) {
        if self.under_way.is_none() {
            return;
        }
        let kept = finished(&mut self.under_way).await;
        self.under_way = None;
        match kept {
            Ok(kept) => self.note_kept(&kept),
            Err(error) => self.tell_once(Some(format!("no checkpoint could be taken: {error}"))),
        }
    }

    /// Counts a checkpoint, and says what was left out of it.
    pub(super) fn note_kept(&mut self, kept: &Kept) {
        if let Some(receipt) = &kept.receipt {
            self.report.saved(receipt.seq, receipt.created_at);
            for why in &receipt.degraded_why {
                self.talk.say(&format!("degraded: {why}"));
            }
        }
        self.tell_once(kept.left_out.clone());
    }

    /// Tells of trouble where it was not told since there was none; none ends it.
    pub(super) fn tell_once(&mut self, trouble: Option<String>) {
        let Some(text) = trouble else { return self.troubles.clear() };
        if self.troubles.contains(&text) {
            return;
        }
        self.talk.say(&text);
        if self.troubles.len() == TROUBLES_MAX {
            self.troubles.pop_front();
        }
        self.troubles.push_back(text);
    }
}

/// Waits for the checkpoint that is being taken; for ever where none is.
async fn finished(under_way: &mut Option<UnderWay>) -> Result<Kept, ClientError> {
    match under_way {
        Some(it) => (&mut it.job).await.unwrap_or_else(|died| {
            Err(ClientError::Strange { url: "this process".to_owned(), why: died.to_string() })
        }),
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    const GRACE: Duration = Duration::from_secs(8);

    fn cause(passed_on: Signal, ago: Duration, raw: i32) -> Cause {
        let watch =
            Watch { passed_on: Some((passed_on, Duration::ZERO)), ..Watch::new(Duration::ZERO) };
        watch.cause(Exit::Told(ExitStatus::from_raw(raw)), ago, GRACE)
    }

    #[test]
    fn an_exit_soon_after_a_signal_answers_it() {
        let soon = Duration::from_secs(3);
        let late = Duration::from_secs(300);
        assert_eq!(cause(Signal::INT, soon, 1 << 8), Cause::Asked);
        assert_eq!(cause(Signal::HUP, late, 1 << 8), Cause::Itself);
        assert_eq!(cause(Signal::INT, late, 2), Cause::Asked, "it died of that signal");
        assert_eq!(cause(Signal::INT, late, 130 << 8), Cause::Asked, "or says so");
        assert_eq!(cause(Signal::USR1, soon, 1 << 8), Cause::Itself, "no wish that it ends");
        assert_eq!(cause(Signal::USR1, soon, 10), Cause::Asked);
    }
}
