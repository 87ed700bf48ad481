//! What became of an agent's work, counted while it runs and told in the end.

use std::time::Duration;

use super::exit::Exit;
use super::keeper::PutBack;
use crate::state::{Seq, Timestamp};

/// What was saved, put back and lost.
#[derive(Debug, Default)]
pub(crate) struct Report {
    saved: u64,
    newest: Option<(Seq, Timestamp)>,
    put_back: Vec<Seq>,
    /// The longest time before a crash that no checkpoint holds.
    lost: Duration,
    /// Why what there was in the end could not be kept.
    unkept: Option<String>,
    attempts: u32,
}

impl Report {
    pub(crate) fn saved(&mut self, seq: Seq, at: Timestamp) {
        self.saved += 1;
        self.newest = self.newest.max(Some((seq, at)));
    }

    pub(crate) fn put_back(&mut self, it: &PutBack, now: Timestamp) {
        self.put_back.push(it.from.seq);
        self.lost = self.lost.max(now.since(it.from.created_at));
    }

    /// How keeping what an attempt left went: where it could not be kept, why.
    pub(crate) fn left(&mut self, unkept: Option<String>) {
        self.unkept = unkept;
    }

    /// What somebody ordered to be put back is no loss.
    pub(crate) fn ordered(&mut self, seq: Seq) {
        self.put_back.push(seq);
    }

    pub(crate) fn attempt(&mut self) {
        self.attempts += 1;
    }

    /// How things stand, on one line.
    pub(crate) fn line(&self, agent: &str, attempt: u32, now: Timestamp) -> String {
        let kept = match self.newest {
            Some((seq, at)) => format!("checkpoint {seq}, {} ago", span(now.since(at))),
            None => "nothing to keep yet".to_owned(),
        };
        format!("stateward · {agent} · attempt {attempt} · {} saved · {kept}", self.saved)
    }

    /// What became of it all, a line for each thing; nothing where nothing happened.
    pub(crate) fn words(&self, exit: Exit) -> String {
        let nothing = self.saved == 0 && self.put_back.is_empty() && self.unkept.is_none();
        if nothing && self.attempts == 1 && exit.is_success() {
            return String::new();
        }
        let attempts = count(u64::from(self.attempts), "attempt");
        let saved = match self.newest {
            Some((seq, _)) => format!("{}, the newest is {seq}", count(self.saved, "checkpoint")),
            None => "no checkpoint: nothing had changed".to_owned(),
        };
        let mut lines = vec![format!("ended with {exit} after {attempts}")];
        lines.push(format!("saved     {saved}"));
        if !self.put_back.is_empty() {
            let from: Vec<String> = self.put_back.iter().map(Seq::to_string).collect();
            lines.push(format!("restored  from checkpoint {}", from.join(", ")));
        }
        if let Some(why) = &self.unkept {
            lines
                .push(format!("unsaved   what changed since then, which is as it was left: {why}"));
        }
        lines.push(if self.lost.is_zero() {
            "lost      nothing that was saved".to_owned()
        } else {
            let work = span(self.lost);
            format!("lost      nothing that was saved; at most the last {work} of work")
        });
        lines.join("\n")
    }
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A length of time as people read it: tenths below ten seconds, else its two largest units.
pub(crate) fn span(duration: Duration) -> String {
    let secs = duration.as_secs();
    match (secs / 3600, secs / 60 % 60) {
        (0, 0) if secs < 10 => format!("{secs}.{}s", duration.subsec_millis() / 100),
        (0, 0) => format!("{secs}s"),
        (0, minutes) => format!("{minutes}m {}s", secs % 60),
        (hours, minutes) => format!("{hours}h {minutes}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_well() {
        for (ms, text) in
            [(0, "0.0s"), (1250, "1.2s"), (12_900, "12s"), (75_000, "1m 15s"), (7_260_000, "2h 1m")]
        {
            assert_eq!(span(Duration::from_millis(ms)), text);
        }
    }
}
