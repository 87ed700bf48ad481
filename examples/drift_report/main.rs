//! Tries the default detectors on streams that look like agents, and rewrites the tables in
//! `docs/drift.md` with what came of it.
//!
//! ```text
//! cargo run --release --example drift_report            # all streams, and the tables
//! cargo run --release --example drift_report -- ramp    # some streams, printed only
//! ```
//!
//! The streams are drawn from fixed seeds, so all but the times and the memory come out the same.
#![expect(clippy::disallowed_methods, reason = "an example measures and writes past the seams")]
#![expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]

mod streams;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::{Display, Formatter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use stateward::drift::{
    Level, Measure, Options as Settings, Recorded, Report, Sighting, Signal, Watch, replay,
};
use stateward::{Agent, CheckpointManager, Observation, Options, Timestamp};
use streams::{FINE, Kind, Stream, Truth, WRONG, draw};

/// Each stream that must be left alone is drawn so often, with so many sightings.
const FINE_DRAWS: (u64, u64) = (30, 6_000);

/// Each stream in which something goes wrong, half-way.
const WRONG_DRAWS: (u64, u64) = (200, 600);

/// So many are timed together. They are made just before, as an agent makes them, and are few enough
/// to be in the processor's cache still.
const STRETCH: usize = 4;

const BEGIN: &str = "<!-- figures: cargo run --release --example drift_report -->";
const END: &str = "<!-- end of figures -->";

fn main() -> Result<(), Box<dyn Error>> {
    // Before anything else: memory that was used and freed would be taken again, and not be seen to
    // grow, and what is made then lies scattered.
    let measured = Measured::take()?;
    let only: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |kind: &&Kind| only.is_empty() || only.iter().any(|name| name == kind.name);
    let fine: Vec<Fine> = FINE.iter().filter(wanted).map(Fine::of).collect();
    let wrong: Vec<Wrong> = WRONG.iter().filter(wanted).map(Wrong::of).collect();
    let mut text = String::new();
    fine_table(&mut text, &fine)?;
    wrong_table(&mut text, &wrong)?;
    summary(&mut text, &fine, &wrong, &measured)?;
    println!("{text}");
    if only.is_empty() {
        publish(&text)?;
    }
    Ok(())
}

/// Puts the tables into the document.
fn publish(text: &str) -> Result<(), Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/drift.md");
    let document = std::fs::read_to_string(&path)?;
    let (head, rest) = document.split_once(BEGIN).ok_or("docs/drift.md has no place for them")?;
    let (_, tail) = rest.split_once(END).ok_or("docs/drift.md has no end of the figures")?;
    std::fs::write(&path, format!("{head}{BEGIN}\n\n{text}\n{END}{tail}"))?;
    Ok(())
}

fn run(stream: &Stream) -> Report {
    let began = 1_767_600_000_000_i64;
    let records = stream.sightings.iter().map(|(at, saw)| {
        let at = Timestamp::from_unix_ms(began).plus(*at);
        Ok::<_, Infallible>(Recorded { at, saw: saw.clone() })
    });
    let Ok(report) = replay(records, &Settings::default());
    report
}

/// What it costs.
struct Measured {
    /// An observation with 5 series, with as many as there may be, and that through the library.
    usual: Times,
    full: Times,
    in_library: Times,
    /// Bytes for each agent, with as many series as there may be.
    memory: usize,
    /// Bytes with each checkpoint, as they are and in the store.
    kept: usize,
    stored: u64,
}

impl Measured {
    fn take() -> Result<Self, Box<dyn Error>> {
        let memory = memory(&full_stream(2_000))?;
        let usual = draw(&FINE[0], 1, 50_000).sightings;
        let full = full_stream(20_000);
        Ok(Self {
            usual: cost(&usual),
            full: cost(&full),
            in_library: cost_in_library(&full)?,
            memory,
            kept: kept(&usual),
            stored: stored(&usual)?,
        })
    }
}

/// What came of a stream that must be left alone.
struct Fine {
    name: &'static str,
    about: &'static str,
    sightings: u64,
    drifting: u64,
    suspect: u64,
    suspect_time: u64,
    restores: u64,
    by: BTreeMap<String, u64>,
}

impl Fine {
    fn of(kind: &Kind) -> Self {
        let Kind { name, about, .. } = *kind;
        let mut fine = Self {
            name,
            about,
            sightings: 0,
            drifting: 0,
            suspect: 0,
            suspect_time: 0,
            restores: 0,
            by: BTreeMap::new(),
        };
        for seed in 0..FINE_DRAWS.0 {
            fine.take(&run(&draw(kind, 7_000 + seed, FINE_DRAWS.1)));
        }
        fine
    }

    fn take(&mut self, report: &Report) {
        self.sightings += report.observations;
        self.suspect_time += report.levels.suspect + report.levels.drifting;
        for raised in &report.raised {
            let finding = &raised.finding;
            match finding.level {
                Level::Drifting => self.drifting += 1,
                _ => self.suspect += 1,
            }
            let name = format!("{} {}", finding.signal, finding.subject);
            *self.by.entry(name.trim().to_owned()).or_default() += 1;
        }
        let goes_back =
            |measure: &Measure| !matches!(measure, Measure::Observe | Measure::Checkpoint);
        let would = report.would.iter().filter(|would| goes_back(&would.decision.measure));
        self.restores += would.count() as u64;
    }
}

fn fine_table(text: &mut String, all: &[Fine]) -> std::fmt::Result {
    writeln!(text, "Streams that must be left alone, at default settings:\n")?;
    writeln!(text, "| stream | sightings | `drifting` | `suspect` | time `suspect` | by |")?;
    writeln!(text, "|---|---|---|---|---|---|")?;
    for fine in all {
        let Fine { name, about, sightings, drifting, suspect, .. } = fine;
        let share = 100.0 * fine.suspect_time as f64 / (*sightings).max(1) as f64;
        let by: Vec<String> =
            fine.by.iter().map(|(name, times)| format!("{name} {times}")).collect();
        writeln!(
            text,
            "| `{name}`: {about} | {sightings} | {drifting} | {suspect} | {share:.1} % | {} |",
            by.join(", ")
        )?;
    }
    writeln!(text)
}

/// What came of a stream in which something goes wrong.
struct Wrong {
    name: &'static str,
    about: &'static str,
    signal: Signal,
    level: Level,
    streams: u64,
    early: u64,
    delays: Vec<u64>,
    errors: Vec<u64>,
}

impl Wrong {
    fn of(kind: &Kind) -> Self {
        let Kind { name, about, .. } = *kind;
        let (signal, level) = (Signal::Metric, Level::Suspect);
        let (delays, errors) = (Vec::new(), Vec::new());
        let mut wrong = Self { name, about, signal, level, streams: 0, early: 0, delays, errors };
        for seed in 0..WRONG_DRAWS.0 {
            wrong.take(&draw(kind, 9_000 + seed, WRONG_DRAWS.1));
        }
        wrong.delays.sort_unstable();
        wrong.errors.sort_unstable();
        wrong
    }

    fn take(&mut self, stream: &Stream) {
        let Truth::Wrong { onset, signal, level } = stream.truth else { return };
        (self.signal, self.level) = (signal, level);
        self.streams += 1;
        let report = run(stream);
        let heard = report.raised.iter().filter(|it| it.finding.signal == signal);
        let mut heard = heard.filter(|it| it.finding.level >= level).peekable();
        while heard.next_if(|it| it.observation < onset.saturating_sub(1)).is_some() {
            self.early += 1;
        }
        if let Some(raised) = heard.next() {
            self.delays.push(raised.observation.saturating_sub(onset));
            self.errors.push(raised.finding.onset.abs_diff(onset));
        }
    }
}

fn wrong_table(text: &mut String, all: &[Wrong]) -> std::fmt::Result {
    let level = |level| if level == Level::Drifting { "drifting" } else { "suspect" };
    writeln!(
        text,
        "Streams in which something goes wrong half-way; delay and error in sightings:\n"
    )?;
    writeln!(
        text,
        "| stream | is found as | found | alarms before | delay p50 / p90 | onset error p50 / p90 |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|")?;
    for wrong in all {
        let Wrong { name, about, signal, streams, early, delays, errors, .. } = wrong;
        writeln!(
            text,
            "| `{name}`: {about} | {signal}, `{}` | {} of {streams} | {early} | {} / {} | {} / {} |",
            level(wrong.level),
            delays.len(),
            percentile(delays, 50),
            percentile(delays, 90),
            percentile(errors, 50),
            percentile(errors, 90),
        )?;
    }
    writeln!(text)
}

/// Of sorted values; 0 of none.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(rank).copied().unwrap_or_default()
}

fn summary(
    text: &mut String,
    fine: &[Fine],
    wrong: &[Wrong],
    measured: &Measured,
) -> Result<(), Box<dyn Error>> {
    let total = |of: fn(&Fine) -> u64| fine.iter().map(of).sum::<u64>();
    let sightings = total(|it| it.sightings).max(1);
    let per = |number: u64| 60_000.0 * number as f64 / sightings as f64;
    let steps = wrong.iter().filter(|it| matches!(it.name, "step_up" | "step_down"));
    let late: usize =
        steps.clone().map(|it| it.delays.iter().filter(|delay| **delay > 50).count()).sum();
    let missed: u64 = steps.map(|it| it.streams - it.delays.len() as u64).sum();
    let mut errors: Vec<u64> = wrong.iter().flat_map(|it| it.errors.iter().copied()).collect();
    errors.sort_unstable();
    let changes = wrong.iter().filter(|it| it.signal == Signal::Metric);
    let mut of_changes: Vec<u64> = changes.flat_map(|it| it.errors.iter().copied()).collect();
    of_changes.sort_unstable();
    writeln!(text, "| in all | bar | measured |\n|---|---|---|")?;
    let mut row =
        |what: &str, bar: &str, measured: String| writeln!(text, "| {what} | {bar} | {measured} |");
    let drifting = format!("{:.2}", per(total(|it| it.drifting)));
    row("`drifting` per 60,000 sightings that must be left alone", "≤ 1", drifting)?;
    row("`suspect` per 60,000 of them", "", format!("{:.1}", per(total(|it| it.suspect))))?;
    row("restores, restarts and halts there", "0", total(|it| it.restores).to_string())?;
    row(
        "steps of 3 deviations not `suspect` within 50 samples",
        "0",
        (late as u64 + missed).to_string(),
    )?;
    row("median onset error", "≤ 10", percentile(&errors, 50).to_string())?;
    row("the same, of changes in metrics alone", "≤ 10", percentile(&of_changes, 50).to_string())?;
    row("an observation, 5 series", "< 5 µs", measured.usual.to_string())?;
    row("an observation, 16 series", "< 5 µs", measured.full.to_string())?;
    row("the same through `Agent::observe`", "< 5 µs", measured.in_library.to_string())?;
    row("memory per agent, 16 series", "< 64 KB", format!("{} KB", measured.memory / 1000))?;
    let kept = format!("{} KB", measured.kept / 1000);
    row("what is kept with a checkpoint, 5 series", "", kept)?;
    let stored = format!("{:.1} KB", measured.stored as f64 / 1000.0);
    row("the same in the store, compressed", "", stored)?;
    Ok(())
}

/// What a checkpoint of a watched agent takes beyond one of another agent.
fn stored(sightings: &[(Duration, Sighting)]) -> Result<u64, Box<dyn Error>> {
    let manager = CheckpointManager::open(Options { background: false, ..Options::in_memory() })?;
    let watched = manager.agent("watched")?;
    for (_, sighting) in sightings {
        watched.see(sighting.clone())?;
    }
    let state = serde_json::json!({"a": 1});
    let bytes = |agent: Agent| -> Result<u64, Box<dyn Error>> {
        Ok(agent.create_checkpoint(stateward::Kind::Routine, &state)?.stored_bytes)
    };
    Ok(bytes(watched)?.saturating_sub(bytes(manager.agent("plain")?)?))
}

/// Through an agent's handle, for each observation.
fn cost_in_library(sightings: &[(Duration, Sighting)]) -> Result<Times, Box<dyn Error>> {
    let manager = CheckpointManager::open(Options { background: false, ..Options::in_memory() })?;
    let agent = manager.agent("a")?;
    let told = sightings.iter().filter_map(|(_, sighting)| match sighting {
        Sighting::Observation(told) => Some(told.clone()),
        _ => None,
    });
    let told: Vec<Observation> = told.collect();
    let mut times = Vec::new();
    for stretch in told.chunks(STRETCH) {
        let stretch = stretch.to_vec();
        let count = u32::try_from(stretch.len()).unwrap_or(1);
        let began = Instant::now();
        for told in stretch {
            agent.observe(told)?;
        }
        times.push(began.elapsed() / count);
    }
    Ok(Times::of(times))
}

/// Observations that feed as many series as there may be.
fn full_stream(length: u64) -> Vec<(Duration, Sighting)> {
    let stream = draw(&FINE[0], 2, length);
    let (mut at, mut digit) = (Duration::ZERO, 0_u64);
    let more = |observation: Observation, digit: u64| {
        (0..11).fold(observation, |it, n| {
            let mixed = (digit + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let value = (mixed >> 40) as f64;
            it.metric(format!("metric-{n}"), 1e6 + value)
        })
    };
    stream
        .sightings
        .into_iter()
        .map(|(_, sighting)| {
            at += Duration::from_secs(5);
            digit += 97;
            let Sighting::Observation(told) = sighting else { return (at, sighting) };
            (at, Sighting::Observation(more(told, digit)))
        })
        .collect()
}

/// For each sighting.
fn cost(sightings: &[(Duration, Sighting)]) -> Times {
    let mut watch = Watch::new(&Settings::default());
    let times = sightings
        .chunks(STRETCH)
        .map(|stretch| {
            let stretch = stretch.to_vec();
            let began = Instant::now();
            for (at, sighting) in &stretch {
                watch.see(sighting, *at);
            }
            began.elapsed() / u32::try_from(stretch.len()).unwrap_or(1)
        })
        .collect();
    Times::of(times)
}

/// How long stretches took, for each sighting in them.
struct Times {
    p10: Duration,
    median: Duration,
    p90: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent| times[(times.len() - 1) * percent / 100];
        Self { p10: at(10), median: at(50), p90: at(90) }
    }
}

impl Display for Times {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let [p10, median, p90] =
            [self.p10, self.median, self.p90].map(|time| time.as_secs_f64() * 1e6);
        write!(f, "{median:.1} µs ({p10:.1} to {p90:.1})")
    }
}

/// What the process grows by with each agent that has seen the stream.
fn memory(sightings: &[(Duration, Sighting)]) -> Result<usize, Box<dyn Error>> {
    const AGENTS: usize = 400;
    let mut all = Vec::with_capacity(AGENTS);
    let before = resident()?;
    for _ in 0..AGENTS {
        let mut watch = Watch::new(&Settings::default());
        for (at, sighting) in sightings {
            watch.see(sighting, *at);
        }
        all.push(watch);
    }
    Ok(resident()?.saturating_sub(before) / all.len())
}

/// Bytes of this process in memory.
fn resident() -> Result<usize, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
    Ok(kilobytes.parse::<usize>()? * 1024)
}

fn kept(sightings: &[(Duration, Sighting)]) -> usize {
    let mut watch = Watch::new(&Settings::default());
    for (at, sighting) in sightings {
        watch.see(sighting, *at);
    }
    watch.save().len()
}
