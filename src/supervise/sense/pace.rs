//! When what a command printed is worth a sighting.
//!
//! Much output is told at each look; little is gathered for longer, so that a slow loop fills its
//! sightings too. A function of what it is told and of the time that is passed in.

use std::time::Duration;

use super::lines::Count;
use crate::drift::sighting::OutputSeen;

/// Fewer lines than this are gathered for longer; repetition says nothing of fewer.
const LINES_MIN: u64 = 5;

/// For so many times as long.
const PATIENCE: u32 = 6;

/// Lines that were printed and not told yet.
#[derive(Debug)]
pub(crate) struct Pace {
    every: Duration,
    gathered: Count,
    /// When the first of them came.
    since: Duration,
}

impl Pace {
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, gathered: Count::default(), since: Duration::ZERO }
    }

    /// Takes further lines; what is to be told now.
    pub(crate) fn take(&mut self, more: Count, now: Duration) -> Option<OutputSeen> {
        if self.gathered.lines == 0 {
            self.since = now;
        }
        self.gathered = self.gathered.and(more);
        let much = self.gathered.lines >= LINES_MIN;
        let wait = if much { self.every } else { self.every.saturating_mul(PATIENCE) };
        if now.saturating_sub(self.since) < wait {
            return None;
        }
        self.end(Count::default())
    }

    /// What was not told yet, with the last lines; none where that is nothing.
    pub(crate) fn end(&mut self, last: Count) -> Option<OutputSeen> {
        let Count { lines, repeated } = std::mem::take(&mut self.gathered).and(last);
        (lines > 0).then_some(OutputSeen { lines, repeated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(pace: &mut Pace, lines: u64, secs: u64) -> Option<u64> {
        let more = Count { lines, repeated: 0 };
        pace.take(more, Duration::from_secs(secs)).map(|seen| seen.lines)
    }

    #[test]
    fn much_is_told_soon_and_little_later() {
        let mut pace = Pace::new(Duration::from_secs(10));
        assert_eq!(take(&mut pace, 0, 100), None);
        assert_eq!(take(&mut pace, 3, 200), None);
        assert_eq!(take(&mut pace, 3, 209), None);
        assert_eq!(take(&mut pace, 1, 210), Some(7));
        assert_eq!(take(&mut pace, 0, 300), None, "of nothing nothing is told");
        assert_eq!(take(&mut pace, 1, 400), None);
        assert_eq!(take(&mut pace, 1, 459), None);
        assert_eq!(take(&mut pace, 0, 460), Some(2));
        assert_eq!(take(&mut pace, 1, 461), None);
        let last = Count { lines: 2, repeated: 1 };
        assert_eq!(pace.end(last), Some(OutputSeen { lines: 3, repeated: 1 }));
        assert_eq!(pace.end(Count::default()), None);
    }
}
