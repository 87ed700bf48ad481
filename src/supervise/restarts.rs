//! What follows when a command ends: nothing more, or another start, and when.
//!
//! A function of what ended, of what ended before, and of the time that is passed in; it knows no
//! process and no clock. Waits double from `restart_delay_initial` to `restart_delay_max`; restarts
//! are bounded by number within a time; and quick exits on the same content are a crash loop,
//! because what the command finds is then what ends it, and it will find the same again.

use std::collections::VecDeque;
use std::time::Duration;

use super::Options;
use super::exit::Exit;
use crate::state::Digest;

/// Why a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// By itself, or by somebody else's hand.
    Itself,
    /// After a signal that was passed on to it: somebody wanted it to end.
    Asked,
    /// It was stopped because it gave no sign of life.
    Silent,
    /// It was stopped to be started afresh after a long time.
    Refresh,
    /// It was stopped because a restore was asked for.
    Restore,
    /// It was stopped because it drifted.
    Drift,
}

/// A command that ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// How.
    pub exit: Exit,
    /// Why.
    pub cause: Cause,
    /// How long it ran.
    pub lived: Duration,
    /// What its parts held in the end; absent where it keeps nothing.
    pub content: Option<Digest>,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it ended as it should.
    Done,
    /// Nothing, although it crashed: restarts are not wanted.
    Stay,
    /// Another start.
    Again {
        /// After this wait.
        after: Duration,
    },
    /// Nothing: the same content ended it so often that it will again.
    CrashLoop {
        /// How often.
        exits: u32,
    },
    /// Nothing: it was started often enough.
    Exhausted {
        /// How often.
        restarts: u32,
    },
}

/// What ended before.
#[derive(Debug, Clone)]
pub struct Restarts {
    options: Options,
    /// Whether a crashed command is started again at all.
    wanted: bool,
    /// Crashes in a row.
    row: u32,
    /// Quick exits in a row on one content.
    quick: u32,
    content: Option<Digest>,
    /// When restarts were made, by the time that is passed in.
    made: VecDeque<Duration>,
}

impl Ended {
    /// Whether it ended in a way that nobody wanted.
    #[must_use]
    pub fn is_crash(&self) -> bool {
        match self.cause {
            Cause::Itself => !self.exit.is_success(),
            Cause::Silent => true,
            Cause::Asked | Cause::Refresh | Cause::Restore | Cause::Drift => false,
        }
    }
}

impl Restarts {
    /// Nothing ended yet.
    #[must_use]
    pub fn new(options: &Options, wanted: bool) -> Self {
        Self {
            options: options.clone(),
            wanted,
            row: 0,
            quick: 0,
            content: None,
            made: VecDeque::new(),
        }
    }

    /// Says what follows, and remembers it.
    pub fn after(&mut self, ended: &Ended, now: Duration) -> Next {
        match ended.cause {
            Cause::Refresh | Cause::Restore | Cause::Drift => {
                (self.row, self.quick) = (0, 0);
                return Next::Again { after: Duration::ZERO };
            }
            _ if !ended.is_crash() => return Next::Done,
            _ if !self.wanted => return Next::Stay,
            _ => {}
        }
        self.count_quick(ended);
        if self.quick >= self.options.crash_loop_exits {
            return Next::CrashLoop { exits: self.quick };
        }
        let within = self.options.restarts_within.as_duration();
        self.made.retain(|made| now.saturating_sub(*made) < within);
        let restarts = u32::try_from(self.made.len()).unwrap_or(u32::MAX);
        if restarts >= self.options.restarts_max {
            return Next::Exhausted { restarts };
        }
        self.made.push_back(now);
        Next::Again { after: self.delay(ended.lived) }
    }

    fn count_quick(&mut self, ended: &Ended) {
        let quick = ended.lived < self.options.quick_exit.as_duration();
        let same = self.quick > 0 && self.content == ended.content;
        self.quick = match (quick, same) {
            (true, true) => self.quick + 1,
            (true, false) => 1,
            (false, _) => 0,
        };
        self.content = ended.content;
    }

    fn delay(&mut self, lived: Duration) -> Duration {
        let max = self.options.restart_delay_max.as_duration();
        self.row = if lived > max { 1 } else { self.row.saturating_add(1) };
        let doubled = 1_u32.checked_shl(self.row - 1).unwrap_or(u32::MAX);
        self.options.restart_delay_initial.as_duration().saturating_mul(doubled).min(max)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;
    use crate::state::Span;

    const LONG: Duration = Duration::from_secs(40);
    const SHORT: Duration = Duration::from_secs(1);

    fn ended(code: i32, lived: Duration, content: u8) -> Ended {
        Ended {
            exit: Exit::Told(ExitStatus::from_raw(code << 8)),
            cause: Cause::Itself,
            lived,
            content: Some(Digest([content; 32])),
        }
    }

    fn wait(next: Next) -> Duration {
        let Next::Again { after } = next else { panic!("{next:?}") };
        after
    }

    #[test]
    fn what_ended_well_or_as_asked_is_not_started_again() {
        let mut restarts = Restarts::new(&Options::default(), true);
        assert_eq!(restarts.after(&ended(0, SHORT, 1), SHORT), Next::Done);
        let asked = Ended { cause: Cause::Asked, ..ended(1, SHORT, 1) };
        assert_eq!(restarts.after(&asked, SHORT), Next::Done);
        let mut unwanted = Restarts::new(&Options::default(), false);
        assert_eq!(unwanted.after(&ended(1, SHORT, 1), SHORT), Next::Stay);
        let refresh = Ended { cause: Cause::Refresh, ..ended(1, LONG, 1) };
        assert_eq!(wait(unwanted.after(&refresh, SHORT)), Duration::ZERO);
    }

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_a_long_life() {
        let mut restarts = Restarts::new(&Options::default(), true);
        let waits: Vec<u64> = (0..8)
            .map(|_| wait(restarts.after(&ended(1, LONG, 1), Duration::ZERO)).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        let lived = Duration::from_secs(61);
        assert_eq!(wait(restarts.after(&ended(1, lived, 1), Duration::ZERO)).as_secs(), 1);
    }

    #[test]
    fn three_quick_exits_on_the_same_content_are_a_crash_loop() {
        let mut restarts = Restarts::new(&Options::default(), true);
        wait(restarts.after(&ended(1, SHORT, 1), SHORT));
        wait(restarts.after(&ended(1, SHORT, 1), SHORT));
        // The content moved on: it got further than before.
        wait(restarts.after(&ended(1, SHORT, 2), SHORT));
        wait(restarts.after(&ended(1, SHORT, 2), SHORT));
        assert_eq!(restarts.after(&ended(1, SHORT, 2), SHORT), Next::CrashLoop { exits: 3 });
    }

    #[test]
    fn a_long_life_or_a_restore_between_quick_exits_breaks_the_loop() {
        for between in [ended(1, LONG, 1), Ended { cause: Cause::Restore, ..ended(1, SHORT, 1) }] {
            let mut restarts = Restarts::new(&Options::default(), true);
            for _ in 0..2 {
                wait(restarts.after(&ended(1, SHORT, 1), SHORT));
            }
            wait(restarts.after(&between, SHORT));
            for _ in 0..2 {
                wait(restarts.after(&ended(1, SHORT, 1), SHORT));
            }
        }
    }

    #[test]
    fn agents_that_keep_nothing_can_loop_too() {
        let mut restarts = Restarts::new(&Options::default(), true);
        let nothing = Ended { content: None, ..ended(1, SHORT, 0) };
        wait(restarts.after(&nothing, SHORT));
        wait(restarts.after(&nothing, SHORT));
        assert_eq!(restarts.after(&nothing, SHORT), Next::CrashLoop { exits: 3 });
    }

    #[test]
    fn restarts_are_bounded_within_their_time() {
        let options = Options {
            restarts_max: 2,
            restarts_within: Span::from_secs(100),
            ..Options::default()
        };
        let mut restarts = Restarts::new(&options, true);
        let at = Duration::from_secs;
        wait(restarts.after(&ended(1, LONG, 1), at(0)));
        wait(restarts.after(&ended(1, LONG, 1), at(50)));
        assert_eq!(restarts.after(&ended(1, LONG, 1), at(99)), Next::Exhausted { restarts: 2 });
        wait(restarts.after(&ended(1, LONG, 1), at(101)));
    }

    #[test]
    fn silence_is_a_crash_whatever_the_exit_code() {
        let silent = Ended { cause: Cause::Silent, ..ended(0, LONG, 1) };
        assert!(silent.is_crash());
        let unseen = Ended { exit: Exit::Unknown, ..ended(0, LONG, 1) };
        assert!(unseen.is_crash(), "an exit nobody saw may have been one");
    }
}
