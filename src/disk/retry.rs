//! The one retry loop.
//!
//! Delays grow exponentially with jitter (arithmetic of the crate `backoff`) and are waited for
//! through the clock; the loop is bounded by a count and by a total time, whichever ends first.
//! Only errors that may pass by themselves are tried again; what is full, read-only, forbidden or
//! not there is answered at once. A sync is never retried by anyone: after a failed one, the data
//! goes to another file.

use std::fmt;
use std::io;
use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;

/// How often and how long a failing call is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, the first included; 0 counts as 1.
    pub attempts_max: u32,
    /// No attempt begins later than this after the first.
    pub total_ms_max: u64,
    /// The delay after the first attempt, before jitter.
    pub delay_ms_initial: u64,
    /// No delay is longer, jitter included.
    pub delay_ms_max: u64,
    /// Each delay is that many times the one before; below 1 counts as 1.
    pub multiplier: f64,
    /// Each delay is drawn from itself times `1 - jitter` to `1 + jitter`; from 0 to 1.
    pub jitter: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            // With the making of a fallback store, a commit is still acknowledged within two seconds.
            total_ms_max: 1000,
            delay_ms_initial: 20,
            delay_ms_max: 500,
            multiplier: 2.0,
            jitter: 0.5,
        }
    }
}

/// Whether an error may pass by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Trying again may help.
    Transient,
    /// Trying again cannot help.
    Terminal,
}

/// Tells errors that may pass from those that will not: `EINTR`, `EAGAIN`, `EBUSY`, `ETIMEDOUT` and
/// `ESTALE` may.
#[must_use]
pub fn classify(error: &io::Error) -> Class {
    match error.kind() {
        io::ErrorKind::Interrupted
        | io::ErrorKind::WouldBlock
        | io::ErrorKind::ResourceBusy
        | io::ErrorKind::TimedOut
        | io::ErrorKind::StaleNetworkFileHandle => Class::Transient,
        _ => Class::Terminal,
    }
}

/// The same where nothing was synced yet and each attempt goes to a new place: there `EIO` may
/// pass too.
#[must_use]
pub fn classify_on_new_place(error: &io::Error) -> Class {
    if Errno::from_io_error(error) == Some(Errno::IO) { Class::Transient } else { classify(error) }
}

/// Why the loop gave up.
#[derive(Debug, thiserror::Error)]
pub struct RetryError {
    /// What was tried, as it was named to the loop.
    pub what: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// From the first attempt to the end of the last.
    pub elapsed: Duration,
    /// The error of the last attempt.
    #[source]
    pub last: io::Error,
}

impl fmt::Display for RetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.what, self.last)?;
        if self.attempts > 1 {
            let ms = self.elapsed.as_millis();
            write!(f, " (given up after {} attempts in {ms} ms)", self.attempts)?;
        }
        Ok(())
    }
}

impl RetryError {
    /// A failure that no attempt was worth.
    pub(crate) fn at_once(what: &str, last: io::Error) -> Self {
        Self { what: what.to_owned(), attempts: 0, elapsed: Duration::ZERO, last }
    }
}

impl Retry {
    /// Calls `f` until it succeeds, fails for good, or the bounds are reached; `what` completes
    /// the sentence "cannot …".
    ///
    /// # Errors
    /// The last error of `f`, with the number of attempts and the time they took.
    pub fn run<T>(
        &self,
        clock: &dyn Clock,
        what: &str,
        f: impl FnMut() -> io::Result<T>,
    ) -> Result<T, RetryError> {
        self.run_as(classify, clock, what, f)
    }

    /// The same with another view of which errors may pass.
    ///
    /// # Errors
    /// As [`Retry::run`].
    pub fn run_as<T>(
        &self,
        classify: fn(&io::Error) -> Class,
        clock: &dyn Clock,
        what: &str,
        mut f: impl FnMut() -> io::Result<T>,
    ) -> Result<T, RetryError> {
        let started = clock.monotonic();
        let mut delays = self.delays();
        let mut attempts = 0;
        loop {
            let last = match f() {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            attempts += 1;
            let elapsed = clock.monotonic().saturating_sub(started);
            let over = attempts >= self.attempts_max || classify(&last) == Class::Terminal;
            let Some(delay) = self.delay(&mut delays, elapsed).filter(|_| !over) else {
                return Err(RetryError { what: what.to_owned(), attempts, elapsed, last });
            };
            let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            // What somebody holds may be let go; whoever waits for it is told once, at the end.
            if last.kind() == io::ErrorKind::WouldBlock {
                tracing::debug!(what, attempts, delay_ms, "waiting");
            } else {
                tracing::warn!(what, attempts, delay_ms, error = %last, "trying again");
            }
            clock.sleep(delay);
        }
    }

    /// The delays before jitter's cap; made anew for each call, without a time limit of their own,
    /// because time is measured by our clock.
    fn delays(&self) -> ExponentialBackoff {
        ExponentialBackoffBuilder::new()
            .with_initial_interval(Duration::from_millis(self.delay_ms_initial))
            .with_max_interval(Duration::from_millis(self.delay_ms_max))
            .with_multiplier(self.multiplier.max(1.0))
            .with_randomization_factor(self.jitter.clamp(0.0, 1.0))
            .with_max_elapsed_time(None)
            .build()
    }

    /// The next delay, cut so that an attempt still begins within the total; none when it is over.
    fn delay(&self, delays: &mut ExponentialBackoff, elapsed: Duration) -> Option<Duration> {
        let left = Duration::from_millis(self.total_ms_max).checked_sub(elapsed)?;
        let longest = left.min(Duration::from_millis(self.delay_ms_max));
        (!left.is_zero()).then_some(delays.next_backoff()?.min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::state::Timestamp;

    const STEADY: Retry = Retry {
        attempts_max: 5,
        total_ms_max: 2000,
        delay_ms_initial: 100,
        delay_ms_max: 300,
        multiplier: 2.0,
        jitter: 0.0,
    };

    /// Runs with a call that fails each time; gives attempts and milliseconds waited.
    fn fails_with(retry: Retry, errno: Errno, call_ms: u64) -> (u32, u128) {
        let clock = ManualClock::starting_at(Timestamp::default());
        let mut calls = 0;
        let error = retry
            .run(&*clock, "write it", || -> io::Result<()> {
                calls += 1;
                clock.advance(Duration::from_millis(call_ms));
                Err(errno.into())
            })
            .unwrap_err();
        assert_eq!(error.attempts, calls);
        assert_eq!(error.elapsed, clock.monotonic(), "nothing is waited for after the last try");
        assert_eq!(Errno::from_io_error(&error.last), Some(errno));
        (calls, error.elapsed.as_millis())
    }

    #[test]
    fn delays_grow_to_their_limit_and_attempts_are_counted() {
        assert_eq!(fails_with(STEADY, Errno::INTR, 0), (5, 100 + 200 + 300 + 300));
    }

    #[test]
    fn the_total_time_ends_it_with_one_last_attempt() {
        let retry = Retry { total_ms_max: 250, ..STEADY };
        assert_eq!(fails_with(retry, Errno::BUSY, 0), (3, 250));
        assert_eq!(fails_with(retry, Errno::BUSY, 400), (1, 400), "the call itself took too long");
        assert_eq!(fails_with(Retry { total_ms_max: 0, ..STEADY }, Errno::BUSY, 0), (1, 0));
    }

    #[test]
    fn what_cannot_pass_is_tried_once() {
        use Errno as E;
        for errno in [E::NOSPC, E::DQUOT, E::ROFS, E::ACCESS, E::PERM, E::NOENT, E::IO, E::NXIO] {
            assert_eq!(fails_with(STEADY, errno, 0), (1, 0), "{errno:?}");
        }
        for errno in [E::INTR, E::AGAIN, E::BUSY, E::TIMEDOUT, E::STALE] {
            assert_eq!(fails_with(STEADY, errno, 0).0, 5, "{errno:?}");
        }
    }

    #[test]
    fn an_input_output_error_may_pass_on_a_new_place_only() {
        let class = classify_on_new_place;
        assert_eq!(class(&Errno::IO.into()), Class::Transient);
        assert_eq!(class(&Errno::STALE.into()), Class::Transient);
        assert_eq!(class(&Errno::NOSPC.into()), Class::Terminal);
    }

    #[test]
    fn success_ends_it() {
        let clock = ManualClock::starting_at(Timestamp::default());
        let mut answers = [Err(Errno::AGAIN.into()), Err(Errno::BUSY.into()), Ok(7)].into_iter();
        let found = STEADY.run(&*clock, "read it", || answers.next().unwrap());
        assert_eq!(found.unwrap(), 7);
        assert_eq!(clock.monotonic(), Duration::from_millis(300));
    }

    #[test]
    fn jitter_stays_within_its_bounds() {
        let retry = Retry { jitter: 1.0, attempts_max: 200, total_ms_max: u64::MAX, ..STEADY };
        let (attempts, waited) = fails_with(retry, Errno::INTR, 0);
        assert!(attempts == 200 && waited < 199 * 300, "{waited}");
    }

    #[test]
    fn numbers_out_of_range_do_no_harm() {
        let odd = Retry { attempts_max: 0, multiplier: f64::NAN, jitter: -1.0, ..STEADY };
        assert_eq!(fails_with(odd, Errno::INTR, 0).0, 1);
        let (attempts, _) = fails_with(Retry { attempts_max: 3, ..odd }, Errno::INTR, 0);
        assert_eq!(attempts, 3);
    }

    #[test]
    fn the_message_says_what_why_and_how_often() {
        let clock = ManualClock::starting_at(Timestamp::default());
        let fail = |errno: Errno| {
            let failed = STEADY.run(&*clock, "open the log", || Err::<(), _>(errno.into()));
            failed.unwrap_err().to_string()
        };
        assert!(fail(Errno::ROFS).starts_with("cannot open the log: "));
        assert!(fail(Errno::BUSY).ends_with("(given up after 5 attempts in 900 ms)"));
    }
}
