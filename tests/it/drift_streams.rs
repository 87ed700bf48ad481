//! The detectors at their defaults on streams that look like agents: what must be left alone is, and
//! what goes wrong is found, with an onset from which a sound checkpoint follows.
//!
//! The streams are those of `examples/drift_report`, which measures more of them.

#[path = "../../examples/drift_report/streams.rs"]
mod streams;

use std::convert::Infallible;

use stateward::Timestamp;
use stateward::drift::{Level, Measure, Options, Recorded, Report, Signal, replay};
use streams::{FINE, Stream, Truth, WRONG, draw};

fn run(stream: &Stream) -> Report {
    let records = stream.sightings.iter().map(|(at, saw)| {
        let at = Timestamp::from_unix_ms(1_767_600_000_000).plus(*at);
        Ok::<_, Infallible>(Recorded { at, saw: saw.clone() })
    });
    let Ok(report) = replay(records, &Options::default());
    report
}

#[test]
fn busy_agents_are_left_alone() {
    for kind in FINE {
        let report = run(&draw(kind, 77, 4_000));
        let drifting: Vec<_> =
            report.raised.iter().filter(|it| it.finding.level == Level::Drifting).collect();
        assert!(drifting.is_empty(), "{} ({}): {drifting:?}", kind.name, kind.about);
        assert!(report.would.is_empty(), "{}: {:?}", kind.name, report.would);
        assert!(report.raised.len() <= 12, "{}: {:?}", kind.name, report.raised);
    }
}

#[test]
fn drifting_agents_are_found_and_dated() {
    for kind in WRONG {
        let mut found = 0;
        for seed in 0..5 {
            let stream = draw(kind, seed, 600);
            let Truth::Wrong { onset, signal, level } = stream.truth else {
                panic!("{}", kind.name)
            };
            let report = run(&stream);
            let heard = report.raised.iter().filter(|it| it.finding.signal == signal);
            let heard = heard.filter(|it| it.finding.level >= level && it.observation + 1 >= onset);
            let onsets: Vec<u64> = heard.map(|it| it.finding.onset).collect();
            let off = if signal == Signal::Metric { 60 } else { 3 };
            found += u64::from(onsets.first().is_some_and(|found| found.abs_diff(onset) <= off));
        }
        assert!(found >= 4, "{} ({}): {found} of 5", kind.name, kind.about);
    }
}

#[test]
fn nothing_is_gone_back_from_by_default_but_broken_states() {
    for kind in WRONG {
        let report = run(&draw(kind, 3, 600));
        let strong = |measure: &Measure| !matches!(measure, Measure::Observe | Measure::Checkpoint);
        let strong = report.would.iter().filter(|would| strong(&would.decision.measure)).count();
        assert_eq!(strong, 0, "{}", kind.name);
    }
}
