//! The change detectors against the Python package river, sample by sample.
//!
//! `tests/data/drift/make.py` made the fixtures and says how they are written.

use super::adwin::{self, Adwin};
use super::page_hinkley::{self, PageHinkley};

const FIXTURES: [(&str, &str); 11] = [
    ("bits", include_str!("../../../tests/data/drift/bits.txt")),
    ("constant", include_str!("../../../tests/data/drift/constant.txt")),
    ("correlated", include_str!("../../../tests/data/drift/correlated.txt")),
    ("fall", include_str!("../../../tests/data/drift/fall.txt")),
    ("heavy", include_str!("../../../tests/data/drift/heavy.txt")),
    ("ramp", include_str!("../../../tests/data/drift/ramp.txt")),
    ("regimes", include_str!("../../../tests/data/drift/regimes.txt")),
    ("spread", include_str!("../../../tests/data/drift/spread.txt")),
    ("steady", include_str!("../../../tests/data/drift/steady.txt")),
    ("step", include_str!("../../../tests/data/drift/step.txt")),
    ("teeth", include_str!("../../../tests/data/drift/teeth.txt")),
];

/// What river found in a stream with one setting of a detector.
struct Found {
    detector: String,
    settings: Vec<f64>,
    width: u64,
    alarms: Vec<usize>,
}

fn found(line: &str) -> Option<Found> {
    let (head, rest) = line.split_once(" | ")?;
    let (width, alarms) = rest.split_once('|').unwrap_or((rest, ""));
    let (detector, settings) = head.split_once(' ')?;
    let settings = settings.split(' ').map(|number| number.parse().unwrap()).collect();
    let alarms = alarms.split_whitespace().map(|index| index.parse().unwrap()).collect();
    Some(Found {
        detector: detector.into(),
        settings,
        width: width.trim().parse().unwrap(),
        alarms,
    })
}

fn fixtures() -> impl Iterator<Item = (&'static str, Vec<Found>, Vec<f64>)> {
    FIXTURES.into_iter().map(|(name, text)| {
        let samples = text.lines().filter_map(|line| line.parse().ok()).collect();
        (name, text.lines().filter_map(found).collect(), samples)
    })
}

fn alarms(samples: &[f64], mut update: impl FnMut(f64) -> bool) -> Vec<usize> {
    (0..samples.len()).filter(|at| update(samples[*at])).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small whole numbers")]
fn whole(number: f64) -> u64 {
    number as u64
}

fn adwin_options(settings: &[f64]) -> adwin::Options {
    adwin::Options {
        confidence: settings[0],
        every: whole(settings[1]),
        buckets_max: usize::try_from(whole(settings[2])).unwrap(),
        side_min: whole(settings[3]),
        grace: whole(settings[4]),
        width_max: 0,
    }
}

#[test]
fn page_hinkley_alarms_where_river_does() {
    let mut compared = 0;
    for (name, all, samples) in fixtures() {
        for found in all.iter().filter(|found| found.detector == "page_hinkley") {
            let options = page_hinkley::Options {
                samples_min: whole(found.settings[0]),
                tolerance: found.settings[1],
                threshold: found.settings[2],
                keep: found.settings[3],
            };
            let mut test = PageHinkley::default();
            let ours = alarms(&samples, |sample| test.update(sample, &options));
            assert_eq!(ours, found.alarms, "{name} {:?}", found.settings);
            compared += 1;
        }
    }
    assert_eq!(compared, 3 * FIXTURES.len());
}

#[test]
fn adwin_alarms_where_river_does() {
    let mut compared = 0;
    for (name, all, samples) in fixtures() {
        for found in all.iter().filter(|found| found.detector.starts_with("adwin")) {
            let options = adwin_options(&found.settings);
            let mut window = Adwin::default();
            let mut alarmed = false;
            let ours = alarms(&samples, |sample| {
                if alarmed && found.detector == "adwin_afresh" {
                    window = Adwin::default();
                }
                alarmed = window.update(sample, &options);
                alarmed
            });
            assert_eq!(ours, found.alarms, "{name} {} {:?}", found.detector, found.settings);
            assert_eq!(window.width(), found.width, "{name} {}", found.detector);
            compared += 1;
        }
    }
    assert_eq!(compared, 6 * FIXTURES.len());
}
