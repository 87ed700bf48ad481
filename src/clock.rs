//! The clock seam: wall time, monotonic time, and waiting.
//!
//! Everything that asks what time it is or waits does so through [`Clock`], so that tests can drive
//! time by hand. Plans (retention, restore, drift) take the time as an argument and never ask.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::state::Timestamp;

/// Where the program learns the time and waits.
pub trait Clock: Send + Sync + Debug {
    /// The wall clock; may jump in either direction.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment of this process; never goes back.
    fn monotonic(&self) -> Duration;
    /// Waits for `duration` (the manual clock only moves its own time).
    fn sleep(&self, duration: Duration);
}

/// The system's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: std::time::Instant,
}

impl SystemClock {
    /// A shared handle to the system's clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the seam the ban points to")]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self { started: std::time::Instant::now() })
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the seam the ban points to")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_system(std::time::SystemTime::now())
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// A clock that moves only when told to; waiting advances it.
#[derive(Debug)]
pub struct ManualClock {
    inner: Mutex<(Timestamp, Duration)>,
}

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::new((start, Duration::ZERO)) })
    }

    /// Moves wall and monotonic time on together.
    pub fn advance(&self, by: Duration) {
        let mut inner = self.inner.lock();
        inner.0 = inner.0.plus(by);
        inner.1 += by;
    }

    /// Sets the wall clock alone, as an operator or a time server would.
    pub fn jump_to(&self, now: Timestamp) {
        self.inner.lock().0 = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.inner.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.inner.lock().1
    }

    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}
