//! Whose change it was: the agent's own, or someone else's.
//!
//! An agent's files are its own as long as a session of it is open. What changed at another time was
//! changed by someone else, and is a conflict for a restore. An agent without sessions, and what
//! changed before its first one, is never told apart.

use crate::disk::FileTime;
use crate::state::Timestamp;

/// The clock by which a kernel notes times moves in ticks of up to 10 ms, and the log's times are
/// whole milliseconds; what lies this close to a session belongs to it.
const TOLERANCE_MS: i64 = 50;

/// When an agent's sessions were open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    /// First and last millisecond of each, tolerance included; in order, without overlap.
    spans: Vec<(i64, i64)>,
    first: Option<i64>,
}

impl Sessions {
    /// From the beginning and the end of each session; one that is open has no end.
    pub fn new(sessions: impl IntoIterator<Item = (Timestamp, Option<Timestamp>)>) -> Self {
        let mut all: Vec<(i64, i64)> = sessions
            .into_iter()
            .map(|(from, to)| (from.unix_ms(), to.map_or(i64::MAX, Timestamp::unix_ms)))
            .collect();
        all.sort_unstable();
        let first = all.first().map(|(from, _)| *from);
        let mut spans: Vec<(i64, i64)> = Vec::new();
        for (from, to) in all {
            let (from, to) = (from.saturating_sub(TOLERANCE_MS), to.saturating_add(TOLERANCE_MS));
            match spans.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => spans.push((from, to)),
            }
        }
        Self { spans, first }
    }

    /// Whether a session was open when something changed.
    pub fn covers(&self, changed: FileTime) -> bool {
        let ms = Timestamp::from(changed).unix_ms();
        let after = self.spans.partition_point(|(from, _)| *from <= ms);
        after > 0 && ms <= self.spans[after - 1].1
    }

    /// Whether someone else made a change.
    pub fn is_foreign(&self, changed: FileTime) -> bool {
        let ms = Timestamp::from(changed).unix_ms();
        self.first.is_some_and(|first| ms > first) && !self.covers(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(spans: &[(i64, Option<i64>)]) -> Sessions {
        let at = Timestamp::from_unix_ms;
        Sessions::new(spans.iter().map(|(from, to)| (at(*from), to.map(at))))
    }

    fn foreign(sessions: &Sessions, times: &[i64]) -> Vec<bool> {
        let at = |ms: &i64| FileTime::from(Timestamp::from_unix_ms(*ms));
        times.iter().map(|ms| sessions.is_foreign(at(ms))).collect()
    }

    #[test]
    fn an_agent_without_sessions_has_nothing_foreign() {
        assert_eq!(foreign(&sessions(&[]), &[0, 1_000_000]), [false, false]);
    }

    #[test]
    fn what_changed_between_sessions_is_foreign_but_for_the_clocks_grain() {
        let known = sessions(&[(1_000, Some(2_000)), (5_000, Some(6_000))]);
        let times = [0, 999, 1_500, 2_050, 2_051, 4_949, 4_950, 6_050, 6_051];
        let expected = [false, false, false, false, true, true, false, false, true];
        assert_eq!(foreign(&known, &times), expected);
    }

    #[test]
    fn an_open_session_never_ends_and_a_short_one_inside_a_long_one_ends_nothing() {
        let known = sessions(&[(100, Some(10_000)), (200, Some(300)), (20_000, None)]);
        let times = [5_000, 15_000, 20_000, i64::MAX / 2];
        assert_eq!(foreign(&known, &times), [false, true, false, false]);
    }
}
