//! A recorded stream through the detectors: what would have been found, and what would have been done.
//!
//! A stream is JSONL: one [`Recorded`] on each line, in the order of time,
//!
//! ```json
//! {"at": "2026-01-05T10:00:00Z", "observation": {"action": {"name": "edit"}, "ok": true}}
//! {"at": "2026-01-05T10:00:04Z", "state": {"digest": "blake3:…", "bytes": 2, "content": {}}}
//! ```
//!
//! The agent is taken to be alone in its store and without a terminal, and nothing is done: it goes on
//! as recorded. So a finding that a restore would have ended stands on, and is answered once.

use serde::{Deserialize, Serialize};

use super::Options;
use super::ledger::{Answer, Ledger};
use super::policy::Policy;
use super::response::{Case, Decision, Measure, decide};
use super::sighting::Sighting;
use super::signals::Level;
use super::verdict::{Finding, Verdict};
use super::watch::{SignalStatus, Watch};
use crate::state::{AgentId, Timestamp};

/// Findings and decisions that a report holds at most; further ones are counted.
const SHOWN_MAX: usize = 1000;

/// One line of a recorded stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    /// When it was seen.
    pub at: Timestamp,
    /// What was seen, under its name.
    #[serde(flatten)]
    pub saw: Sighting,
}

/// A finding when it was raised, or raised to a higher level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Raised {
    /// When.
    pub at: Timestamp,
    /// At which observation.
    pub observation: u64,
    /// The finding as it was then.
    pub finding: Finding,
}

/// What would have been done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Would {
    /// When.
    pub at: Timestamp,
    /// At which observation.
    pub observation: u64,
    /// The decision.
    pub decision: Decision,
}

/// Sightings that were made at each level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Levels {
    /// Nothing was wrong.
    pub ok: u64,
    /// Something was suspect.
    pub suspect: u64,
    /// The agent drifted.
    pub drifting: u64,
}

/// What a stream would have led to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Sightings.
    pub observations: u64,
    /// How many of them were made at each level.
    pub levels: Levels,
    /// What was found, in the order of time.
    pub raised: Vec<Raised>,
    /// What would have been done.
    pub would: Vec<Would>,
    /// Findings and decisions beyond those shown.
    pub not_shown: u64,
    /// Samples that were no numbers, and such of series beyond the bound.
    pub left_out: (u64, u64),
    /// How the agent stood at the end.
    pub verdict: Verdict,
    /// How each signal stood at the end, blind ones too.
    pub signals: Vec<SignalStatus>,
}

/// Runs a stream through the detectors.
///
/// # Errors
/// The first error of the stream itself.
pub fn replay<E>(
    stream: impl IntoIterator<Item = Result<Recorded, E>>,
    options: &Options,
) -> Result<Report, E> {
    let mut replay = Replay::new(options);
    for recorded in stream {
        replay.take(&recorded?);
    }
    Ok(replay.report())
}

/// A replay while it runs.
struct Replay<'a> {
    options: &'a Options,
    agent: AgentId,
    watch: Watch,
    ledger: Ledger,
    began: Option<Timestamp>,
    stood: Vec<(Finding, Level)>,
    levels: Levels,
    raised: Vec<Raised>,
    would: Vec<Would>,
    not_shown: u64,
}

impl<'a> Replay<'a> {
    fn new(options: &'a Options) -> Self {
        Self {
            options,
            agent: AgentId::default(),
            watch: Watch::new(options),
            ledger: Ledger::default(),
            began: None,
            stood: Vec::new(),
            levels: Levels::default(),
            raised: Vec::new(),
            would: Vec::new(),
            not_shown: 0,
        }
    }

    fn take(&mut self, recorded: &Recorded) {
        let began = *self.began.get_or_insert(recorded.at);
        let now = recorded.at.since(began);
        // What is silent until now is found before it is heard of again.
        let level = self.watch.tick(now);
        self.look(recorded.at, level);
        let level = self.watch.see(&recorded.saw, now);
        match level {
            Level::Ok => self.levels.ok += 1,
            Level::Suspect => self.levels.suspect += 1,
            Level::Drifting => self.levels.drifting += 1,
        }
        self.look(recorded.at, level);
    }

    fn look(&mut self, at: Timestamp, level: Level) {
        if level == Level::Ok {
            self.stood.clear();
            return;
        }
        let verdict = self.watch.verdict();
        let observation = verdict.observation;
        for finding in &verdict.findings {
            let same = |(known, _): &&(Finding, Level)| {
                known.signal == finding.signal
                    && known.subject == finding.subject
                    && known.raised_at == finding.raised_at
            };
            let before = self.stood.iter().find(same).map_or(Level::Ok, |(_, level)| *level);
            if finding.level > before {
                let finding = finding.clone();
                let raised = Raised { at, observation, finding };
                show(&mut self.raised, raised, &mut self.not_shown);
            }
        }
        self.decide(at, &verdict);
        let highest = |finding: Finding| {
            let level = finding.level;
            (finding, level)
        };
        self.stood = verdict.findings.into_iter().map(highest).collect();
    }

    fn decide(&mut self, at: Timestamp, verdict: &Verdict) {
        let (agent, terminal, active_agents) = (&self.agent, false, 1);
        let now_ms = u64::try_from(at.unix_ms()).unwrap_or_default();
        self.ledger.alarm(agent, &verdict.findings, now_ms);
        let case = Case { agent, verdict, terminal, active_agents, now_ms };
        let decision = decide(&case, &self.ledger, self.options);
        if decision.measure == Measure::Nothing {
            return;
        }
        if let Some(done) = decision.strength() {
            let (agent_id, causes) = (self.agent.clone(), decision.causes.clone());
            self.ledger.note(Answer { agent_id, at_ms: now_ms, causes, done, restored: None });
        }
        if decision.strength().is_some_and(|done| done > Policy::Observe) {
            let would = Would { at, observation: verdict.observation, decision };
            show(&mut self.would, would, &mut self.not_shown);
        }
    }

    fn report(self) -> Report {
        Report {
            observations: self.watch.number(),
            levels: self.levels,
            raised: self.raised,
            would: self.would,
            not_shown: self.not_shown,
            left_out: self.watch.left_out(),
            verdict: self.watch.verdict(),
            signals: self.watch.signals(),
        }
    }
}

fn show<T>(shown: &mut Vec<T>, one: T, not_shown: &mut u64) {
    if shown.len() < SHOWN_MAX {
        shown.push(one);
    } else {
        *not_shown += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: u64, saw: &str) -> String {
        let at = Timestamp::from_unix_ms(1_700_000_000_000 + i64::try_from(second).unwrap() * 1000);
        format!(r#"{{"at":"{at}",{saw}}}"#)
    }

    fn run(lines: &[String]) -> Result<Report, serde_json::Error> {
        replay(lines.iter().map(|line| serde_json::from_str(line)), &Options::default())
    }

    #[test]
    fn a_recorded_loop_is_found_with_what_would_be_done() {
        let look = r#""observation":{"action":{"name":"look","input_digest":"x"}}"#;
        let mut lines = vec![line(0, r#""begun":null"#)];
        lines.extend((1..=30).map(|second| line(second, look)));
        let report = run(&lines).unwrap();
        assert_eq!(report.observations, 31);
        let raised: Vec<(u64, Level)> =
            report.raised.iter().map(|it| (it.observation, it.finding.level)).collect();
        assert_eq!(raised, [(10, Level::Suspect), (14, Level::Drifting)]);
        assert_eq!(report.would.len(), 1);
        assert_eq!(report.would[0].decision.measure, Measure::Checkpoint);
        assert_eq!(report.levels, Levels { ok: 9, suspect: 4, drifting: 18 });
        assert_eq!(report.verdict.onset, Some(2));
    }

    #[test]
    fn a_silence_between_two_lines_is_found() {
        let beat = r#""observation":{"heartbeat":true}"#;
        let lines: Vec<String> =
            [0, 60, 120, 180, 180 + 3600].map(|second| line(second, beat)).to_vec();
        let report = run(&lines).unwrap();
        assert_eq!(report.raised[0].finding.signal.as_str(), "silence");
        assert_eq!(report.raised[0].observation, 4);
    }

    #[test]
    fn every_sighting_is_written_as_it_is_read() {
        for saw in [
            r#""observation":{"step":1}"#,
            r#""state":{"digest":"blake3:0000000000000000000000000000000000000000000000000000000000000000","bytes":2,"content":{}}"#,
            r#""state_file":{"path":"m.json","condition":{"damaged":"cut short"}}"#,
            r#""output":{"lines":3,"repeated":1}"#,
            r#""process":{"cpu":0.5}"#,
            r#""begun":null"#,
            r#""exited":{"code":1,"lived":"3s"}"#,
            r#""foreign":["a"]"#,
            r#""damage":"x""#,
        ] {
            let text = line(5, saw);
            let recorded: Recorded = serde_json::from_str(&text).unwrap();
            let again = serde_json::to_string(&recorded).unwrap();
            assert_eq!(serde_json::from_str::<Recorded>(&again).unwrap(), recorded, "{again}");
        }
        for saw in [r#""seen":{}"#, r#""output":{"line":3}"#, r#""observation":{"stop":1}"#] {
            assert!(serde_json::from_str::<Recorded>(&line(5, saw)).is_err(), "{saw}");
        }
    }
}
