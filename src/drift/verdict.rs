//! From what signals say to one verdict.
//!
//! The verdict is as bad as the worst finding. A finding is taken up at once and let go slowly: it
//! stands until its signal has kept below its level for `calm` sightings, so that a signal at its
//! limit does not flicker. As long as it stands it is one *cause*, known by its signal, its subject
//! and the observation at which it was raised. Its onset is the earliest that its signal named
//! meanwhile. A change in a metric alone never makes the verdict worse than `suspect`, because its
//! signal never says more.

use serde::{Deserialize, Serialize};

use super::signals::catalogue::Signal;
use super::signals::{Evidence, Level, Reading};

/// Something that is wrong with an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Finding {
    /// What tells it.
    pub signal: Signal,
    /// The metric, the budget, the detector; empty where the signal has but one subject.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// How bad it is.
    pub level: Level,
    /// The first observation that belongs to it.
    pub onset: u64,
    /// The observation at which it was raised.
    pub raised_at: u64,
    /// Why, in words and in numbers.
    pub evidence: Evidence,
}

/// How an agent stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Verdict {
    /// The worst level of all findings.
    pub level: Level,
    /// The newest observation that the verdict knows.
    pub observation: u64,
    /// The earliest onset of the findings of that level; none where nothing is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onset: Option<u64>,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// The earliest onset of anything that is suspected, whatever its level: what was kept before it
    /// may be called good.
    #[must_use]
    pub fn suspected_since(&self) -> Option<u64> {
        self.findings.iter().map(|finding| finding.onset).min()
    }

    /// Nothing is wrong, as of this observation.
    #[must_use]
    pub fn ok(observation: u64) -> Self {
        Self { observation, ..Self::default() }
    }

    fn of(mut findings: Vec<Finding>, observation: u64) -> Self {
        findings.sort_by_key(|it| (std::cmp::Reverse(it.level), it.onset));
        let level = findings.first().map_or(Level::Ok, |worst| worst.level);
        let worst = findings.iter().filter(|finding| finding.level == level);
        let onset = worst.map(|finding| finding.onset).min();
        Self { level, observation, onset, findings }
    }
}

/// A finding, with when its signal last said so much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Held {
    finding: Finding,
    suspect_at: u64,
    drifting_at: u64,
}

/// The findings that stand.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Findings(Vec<Held>);

impl Findings {
    /// Takes what a signal says at the observation `number`; `explain` is asked where it says more
    /// than before.
    pub fn note(
        &mut self,
        signal: Signal,
        subject: &str,
        reading: Reading,
        number: u64,
        explain: impl FnOnce() -> Evidence,
    ) {
        if reading.level == Level::Ok {
            return;
        }
        let known =
            |held: &&mut Held| held.finding.signal == signal && held.finding.subject == subject;
        let Some(held) = self.0.iter_mut().find(known) else {
            self.0.push(Held::raised(signal, subject, reading, number, explain()));
            return;
        };
        if reading.level > held.finding.level {
            held.finding.evidence = explain();
        }
        held.hear(reading, number);
    }

    /// Lets go what has been calm for long enough.
    pub fn settle(&mut self, number: u64, calm: u64) {
        self.0.retain_mut(|held| held.settle(number, calm));
    }

    /// The worst level.
    pub fn level(&self) -> Level {
        self.0.iter().map(|held| held.finding.level).max().unwrap_or_default()
    }

    /// The verdict; `explain` is asked for fresh words where a signal says the same right now.
    pub fn verdict(&self, number: u64, explain: impl Fn(Signal, &str) -> Evidence) -> Verdict {
        let fresh = |held: &Held| {
            let mut finding = held.finding.clone();
            if held.suspect_at == number {
                finding.evidence = explain(finding.signal, &finding.subject);
            }
            finding
        };
        Verdict::of(self.0.iter().map(fresh).collect(), number)
    }

    /// How a signal stands, by the findings.
    pub fn of(&self, signal: Signal, subject: &str) -> Option<&Finding> {
        let known = |it: &&Finding| it.signal == signal && it.subject == subject;
        self.0.iter().map(|held| &held.finding).find(known)
    }

    /// The earliest onset that stands.
    pub fn earliest_onset(&self) -> Option<u64> {
        self.0.iter().map(|held| held.finding.onset).min()
    }
}

impl Held {
    fn raised(
        signal: Signal,
        subject: &str,
        reading: Reading,
        number: u64,
        evidence: Evidence,
    ) -> Self {
        let Reading { level, onset } = reading;
        let subject = subject.to_owned();
        let finding = Finding { signal, subject, level, onset, raised_at: number, evidence };
        let mut held = Self { finding, suspect_at: number, drifting_at: 0 };
        held.hear(reading, number);
        held
    }

    fn hear(&mut self, reading: Reading, number: u64) {
        self.suspect_at = number;
        if reading.level == Level::Drifting {
            self.drifting_at = number;
        }
        self.finding.level = self.finding.level.max(reading.level);
        self.finding.onset = self.finding.onset.min(reading.onset);
    }

    /// Lowers the level after a calm; whether anything is left of it.
    fn settle(&mut self, number: u64, calm: u64) -> bool {
        if number - self.suspect_at > calm {
            return false;
        }
        if self.finding.level == Level::Drifting && number - self.drifting_at > calm {
            self.finding.level = Level::Suspect;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(findings: &mut Findings, number: u64, level: Level, onset: u64) {
        findings.note(Signal::Repetition, "", Reading { level, onset }, number, Evidence::default);
        findings.settle(number, 5);
    }

    #[test]
    fn a_finding_is_raised_at_once_and_let_go_after_a_calm() {
        let mut findings = Findings::default();
        say(&mut findings, 10, Level::Suspect, 8);
        assert_eq!(findings.level(), Level::Suspect);
        say(&mut findings, 11, Level::Drifting, 7);
        assert_eq!(findings.level(), Level::Drifting);
        say(&mut findings, 16, Level::Suspect, 9);
        assert_eq!(findings.level(), Level::Drifting, "five sightings are not calm enough");
        say(&mut findings, 17, Level::Suspect, 9);
        assert_eq!(findings.level(), Level::Suspect);
        say(&mut findings, 22, Level::Ok, 0);
        assert_eq!(findings.level(), Level::Suspect);
        let verdict = findings.verdict(22, |_, _| Evidence::default());
        assert_eq!((verdict.onset, verdict.findings[0].raised_at), (Some(7), 10));
        say(&mut findings, 23, Level::Ok, 0);
        assert_eq!(findings.level(), Level::Ok);
    }

    #[test]
    fn a_signal_at_its_limit_does_not_flicker() {
        let mut findings = Findings::default();
        let mut seen = Vec::new();
        for number in 1..200 {
            let level = if number % 4 == 0 { Level::Drifting } else { Level::Ok };
            say(&mut findings, number, level, 4);
            seen.push(findings.level());
        }
        seen.dedup();
        assert_eq!(seen, [Level::Ok, Level::Drifting]);
    }

    #[test]
    fn the_verdict_is_as_bad_as_the_worst_and_dated_by_it() {
        let mut findings = Findings::default();
        let reading = |level, onset| Reading { level, onset };
        let note = |findings: &mut Findings, signal, reading| {
            findings.note(signal, "x", reading, 50, || Evidence::new("why", &[]));
        };
        note(&mut findings, Signal::Metric, reading(Level::Suspect, 10));
        note(&mut findings, Signal::Shrinkage, reading(Level::Drifting, 40));
        note(&mut findings, Signal::Stall, reading(Level::Drifting, 30));
        let verdict = findings.verdict(50, |_, _| Evidence::new("now", &[]));
        assert_eq!((verdict.level, verdict.onset), (Level::Drifting, Some(30)));
        assert_eq!(verdict.suspected_since(), Some(10));
        assert_eq!(verdict.findings[0].signal, Signal::Stall);
        assert!(verdict.findings.iter().all(|finding| finding.evidence.words == "now"));
        let later = findings.verdict(51, |_, _| Evidence::new("now", &[]));
        assert!(later.findings.iter().all(|finding| finding.evidence.words == "why"));
    }
}
