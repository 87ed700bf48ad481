//! `drift`: what the detectors see, what they found, and where it would lead.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::failure::Failure;
use super::output::{count, more, table, visible};
use super::session::Session;
use crate::disk;
use crate::drift::{
    Decision, Directive, Feed, Finding, Level, Measure, Recorded, Report, SignalStatus,
    SourceStatus, Verdict, replay,
};
use crate::manager::{DriftChoice, DriftReport, Observed, Word};
use crate::server::api::{Drift, Mark as MarkCall, MarkBody, Show};
use crate::state::AgentId;

/// Samples that a sparkline shows, the newest.
const SAMPLES_SHOWN: usize = 32;

/// From low to high.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Stands before the first sample that belongs to what is wrong.
const ONSET: char = '╎';

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Examples:\n  stateward drift\n  stateward drift explain metric\n  stateward \
                        drift mark latest bad --why \"it deleted the tests\"\n  stateward drift \
                        replay actions.jsonl\n\nIn a sparkline `╎` stands before the first sample \
                        that belongs to what is wrong."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell what was found, on which evidence, and what follows
    Explain(Explain),
    /// Say that a checkpoint is good or bad
    Mark(Mark),
    /// Run a recorded stream through the detectors, with the configured settings; nothing is done
    Replay(Replay),
}

#[derive(Debug, Args)]
struct Explain {
    /// Only this signal: its name, or its name and subject as `metric:latency_s`
    #[arg(value_name = "SIGNAL")]
    signal: Option<String>,
}

#[derive(Debug, Args)]
struct Mark {
    /// Which checkpoint: a number, a path, an id, latest, latest:KIND, good
    #[arg(value_name = "REF")]
    reference: String,
    /// What it is: bad ones are never chosen by themselves
    #[arg(value_name = "good|bad", hide_possible_values = true)]
    word: MarkWord,
    /// Why, in words
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MarkWord {
    Good,
    Bad,
}

#[derive(Debug, Args)]
struct Replay {
    /// JSONL, one sighting on a line: `{"at": "2026-01-05T10:00:00Z", "observation": {…}}`
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        None => show(session),
        Some(Command::Explain(it)) => explain(session, it),
        Some(Command::Mark(it)) => mark(session, it),
        Some(Command::Replay(it)) => try_out(session, it),
    }
}

fn report(session: &Session) -> Result<DriftReport, Failure> {
    // Whoever holds the store has heard what is not written down yet.
    let reach = session.as_held(&session.store())?;
    session.call(&reach, Drift { agent: session.agent_id().clone() })
}

fn show(session: &Session) -> Result<(), Failure> {
    let report = report(session)?;
    session.out.data(&report, || {
        let mut text = standing(session.agent_id(), &report.verdict, report.directive);
        text.extend(report.halted.iter().map(|why| format!("Halted: {}\n", visible(why))));
        text.push('\n');
        text.push_str(&sources(&report.sources));
        text.push('\n');
        text.push_str(&signals(&report.signals));
        text.push('\n');
        text.push_str(&choice(&report.choice, report.verdict.onset.is_some()));
        text
    })
}

/// How an agent stands after it was observed.
pub(super) fn in_words(agent: &AgentId, observed: &Observed) -> String {
    let mut text = standing(agent, &observed.verdict, observed.directive);
    if observed.due {
        text.push_str("A response is due: `--respond` gives it.\n");
    }
    text
}

fn standing(agent: &AgentId, verdict: &Verdict, directive: Directive) -> String {
    let Verdict { level, observation, onset, findings } = verdict;
    let since = onset.map(|onset| format!(" since observation {onset}")).unwrap_or_default();
    let told = match directive {
        Directive::Continue => "continue",
        Directive::Restore => "restore",
        Directive::Stop => "stop",
    };
    let mut text = format!(
        "Agent {agent} is {}{since}, as of observation {observation}. It is told: {told}.\n",
        word(*level)
    );
    text.extend(findings.iter().map(|finding| format!("  {}\n", line(finding))));
    text
}

fn line(finding: &Finding) -> String {
    let Finding { signal, subject, level, onset, evidence, .. } = finding;
    let subject = if subject.is_empty() { String::new() } else { format!(" {}", visible(subject)) };
    let words = visible(&evidence.words);
    format!("{}: {signal}{subject} since observation {onset}: {words}", word(*level))
}

pub(super) fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Suspect => "suspect",
        Level::Drifting => "drifting",
    }
}

fn sources(all: &[SourceStatus]) -> String {
    let rows = all.iter().map(|it| {
        let from = it.source.fed_by();
        [it.source.to_string(), fed(it.feed).to_owned(), from.to_owned()]
    });
    table(["SEEN FROM", "FED", "FED BY"], rows.collect())
}

/// What is said of a signal, or of where it comes from.
fn fed(feed: Feed) -> &'static str {
    match feed {
        Feed::Fed => "fed",
        Feed::Blind => "blind",
        Feed::Off => "off",
    }
}

/// Which signals of an agent are fed and which are blind, on a line each.
pub(super) fn feeds_in_words(report: &DriftReport) -> String {
    let sources = report.sources.iter().map(|it| (it.source.to_string(), it.feed));
    let signals = report.signals.iter().map(|it| {
        let subject =
            if it.subject.is_empty() { String::new() } else { format!(":{}", it.subject) };
        (format!("{}{}", it.signal, visible(&subject)), it.feed)
    });
    let all: Vec<(String, Feed)> = sources.chain(signals).collect();
    let line = |feed: Feed| {
        let names = all.iter().filter(|(_, it)| *it == feed).map(|(name, _)| name.as_str());
        let names: Vec<&str> = names.collect();
        let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        format!("  {:6} {names}\n", fed(feed))
    };
    [Feed::Fed, Feed::Blind].map(line).concat()
}

fn signals(all: &[SignalStatus]) -> String {
    let rows = all.iter().map(|it| {
        [
            it.signal.to_string(),
            visible(&it.subject),
            fed(it.feed).to_owned(),
            if it.feed == Feed::Fed { word(it.level).to_owned() } else { String::new() },
            it.onset.map(|onset| onset.to_string()).unwrap_or_default(),
            sparkline(it),
        ]
    });
    table(["SIGNAL", "OF", "FED", "LEVEL", "ONSET", "NEWEST SAMPLES"], rows.collect())
}

/// The newest samples as bars between the least and the most of them.
fn sparkline(status: &SignalStatus) -> String {
    let skip = status.recent.len().saturating_sub(SAMPLES_SHOWN);
    let shown = &status.recent[skip..];
    let (least, most) =
        shown.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), it| {
            (least.min(*it), most.max(*it))
        });
    let mut text = String::new();
    let mut marked = false;
    for (at, sample) in shown.iter().enumerate() {
        let number = status.recent_at.get(skip + at).copied().unwrap_or_default();
        if !marked && status.onset.is_some_and(|onset| number >= onset) {
            marked = true;
            // What began before the first that is shown is not marked as if it began there.
            if at > 0 || status.onset == Some(number) {
                text.push(ONSET);
            }
        }
        text.push(bar(*sample, least, most));
    }
    text
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share from 0 to 1 of seven steps"
)]
fn bar(sample: f64, least: f64, most: f64) -> char {
    let share = if most > least { (sample - least) / (most - least) } else { 0.5 };
    BARS[((share.clamp(0.0, 1.0) * 7.0).round() as usize).min(7)]
}

fn choice(choice: &DriftChoice, drifts: bool) -> String {
    let DriftChoice { onset, chosen, passed, .. } = choice;
    let when = if drifts { format!("since observation {onset}") } else { "now".to_owned() };
    let mut text = match chosen {
        Some(one) => format!(
            "From a drift that began {when} it would go back to #{} ({}).\n",
            one.seq, one.checkpoint_id
        ),
        None => format!("From a drift that began {when} there is nothing to go back to.\n"),
    };
    let lines = passed.iter().map(|one| format!("  not #{}: {}", one.seq, one.words));
    text.extend(more(lines.collect::<Vec<_>>().into_iter(), "  ").map(|line| line + "\n"));
    text
}

/// What is told of findings and signals that were asked for.
#[derive(Serialize)]
struct Explained<'a> {
    verdict: &'a Verdict,
    signals: Vec<&'a SignalStatus>,
    decision: &'a Decision,
    #[serde(skip_serializing_if = "Option::is_none")]
    halted: Option<&'a str>,
}

fn explain(session: &Session, arguments: &Explain) -> Result<(), Failure> {
    let report = report(session)?;
    let asked = |status: &&SignalStatus| match &arguments.signal {
        None => status.level > Level::Ok,
        Some(name) => {
            let signal = status.signal.as_str();
            *name == signal || *name == format!("{signal}:{}", status.subject)
        }
    };
    let signals: Vec<&SignalStatus> = report.signals.iter().filter(asked).collect();
    if let (Some(name), true) = (&arguments.signal, signals.is_empty()) {
        return Err(Failure::Usage {
            message: format!("there is no signal `{name}`"),
            hint: "`stateward drift` lists them all",
        });
    }
    let decision = &report.decision;
    let halted = report.halted.as_deref();
    let explained = Explained { verdict: &report.verdict, signals, decision, halted };
    session.out.data(&explained, || explained_in_words(&explained, session.agent_id()))
}

fn explained_in_words(explained: &Explained<'_>, agent: &AgentId) -> String {
    let mut text = String::new();
    for status in &explained.signals {
        let SignalStatus { signal, subject, lives_on, feed, .. } = status;
        let same = |it: &&Finding| it.signal == *signal && it.subject == *subject;
        let subject =
            if subject.is_empty() { String::new() } else { format!(" {}", visible(subject)) };
        match explained.verdict.findings.iter().find(same) {
            Some(finding) => {
                text.extend([format!("{}\n", line(finding))]);
                let numbers = finding.evidence.numbers.iter();
                text.extend(numbers.map(|(name, number)| format!("  {name}  {number}\n")));
                text.extend([format!("  raised at observation {}\n", finding.raised_at)]);
            }
            None if *feed == Feed::Fed => text.extend([format!("{signal}{subject} is ok.\n")]),
            None => {
                let why = if *feed == Feed::Off { "off" } else { "blind" };
                text.extend([format!("{signal}{subject} is {why}: it lives on {lives_on}.\n")]);
            }
        }
    }
    if text.is_empty() {
        text = format!("Nothing is wrong with agent {agent}.\n");
    }
    text.extend(explained.halted.iter().map(|why| format!("Halted: {}\n", visible(why))));
    let decision = explained.decision;
    if decision.measure != Measure::Nothing {
        text.extend([format!("What follows: {}\n", what_follows(&decision.measure))]);
        if !decision.why.is_empty() {
            text.extend([format!("  because of {}\n", visible(&decision.why))]);
        }
    }
    text
}

fn what_follows(measure: &Measure) -> String {
    match measure {
        Measure::Nothing => "nothing".to_owned(),
        Measure::Observe => "an event".to_owned(),
        Measure::Checkpoint => "a recovery checkpoint, and the hook".to_owned(),
        Measure::Wait { .. } => "it is left alone for a while after its last restore".to_owned(),
        Measure::Restart => "the agent is started again".to_owned(),
        Measure::Restore { onset, .. } => format!("it goes back to before observation {onset}"),
        Measure::Halt => "the agent is stopped, and a person is asked".to_owned(),
    }
}

fn mark(session: &Session, arguments: &Mark) -> Result<(), Failure> {
    let Mark { reference, word, why } = arguments;
    let named = session.named_by(reference, false)?;
    let word = match word {
        MarkWord::Good => Word::Good,
        MarkWord::Bad => Word::Bad,
    };
    let marked = session.reach(&named.store, |reach| {
        let agent = session.owner_of(reach, reference, &named)?;
        let show = |reference: String| Show { agent: agent.clone(), reference };
        let found = session.call(reach, show(reference.clone()))?;
        let reference = found.checkpoint.checkpoint_id.to_string();
        let body = MarkBody { word, why: why.clone() };
        let mark = MarkCall { agent: agent.clone(), reference: reference.clone(), body };
        session.call(reach, mark)?;
        Ok(session.call(reach, show(reference))?.checkpoint)
    })?;
    session.out.data(&marked, || {
        let said = match word {
            Word::Good => "good: it may be gone back to",
            Word::Bad => "bad: it is kept, and never chosen by itself",
        };
        format!("Checkpoint #{} of agent {} is {said}.", marked.seq, marked.agent_id)
    })
}

fn try_out(session: &Session, arguments: &Replay) -> Result<(), Failure> {
    let path = session.absolute(&arguments.file);
    let bytes = disk::read(&*session.disk, &path)
        .map_err(|source| Failure::Read { path: path.clone(), source })?;
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    let stream = lines.map(|(at, line)| recorded(&path, at + 1, line));
    let report = replay(stream, &session.configuration.settings.drift)?;
    session.out.data(&report, || replayed_in_words(&report))
}

fn recorded(path: &Path, at: usize, line: &[u8]) -> Result<Recorded, Failure> {
    serde_json::from_slice(line).map_err(|error| Failure::Usage {
        message: format!("{}, line {at}: {error}", path.display()),
        hint: "docs/drift.md shows what a line looks like",
    })
}

fn replayed_in_words(report: &Report) -> String {
    let Report { observations, levels, raised, would, not_shown, verdict, .. } = report;
    let mut text = format!(
        "{observations} sightings: {} ok, {} suspect, {} drifting.\n",
        levels.ok, levels.suspect, levels.drifting
    );
    let found =
        raised.iter().map(|it| format!("{}  at {}: {}", it.at, it.observation, line(&it.finding)));
    let found: Vec<String> = found.collect();
    text.extend([format!("{}:\n", count(found.len(), "finding", "findings"))]);
    text.extend(more(found.into_iter().map(|line| format!("  {line}")), "  ").map(|it| it + "\n"));
    let done = would.iter().map(|it| {
        let follows = what_follows(&it.decision.measure);
        format!("  {}  at {}: {follows}: {}", it.at, it.observation, visible(&it.decision.why))
    });
    let done: Vec<String> = done.collect();
    text.extend([format!(
        "{} would have been given:\n",
        count(done.len(), "response", "responses")
    )]);
    text.extend(more(done.into_iter(), "  ").map(|line| line + "\n"));
    if *not_shown > 0 {
        text.extend([format!("{not_shown} more are not listed.\n")]);
    }
    text.extend([format!("At the end it is {}.\n\n", word(verdict.level))]);
    text.push_str(&signals(&report.signals));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::Watch;
    use crate::drift::{Observation, Options, Sighting};

    #[test]
    fn a_sparkline_goes_from_the_least_to_the_most_and_shows_the_onset() {
        let mut watch = Watch::new(&Options::default());
        for number in 0..4_u32 {
            let told = Observation::default().metric("m", f64::from(number));
            watch.see(&Sighting::Observation(told), std::time::Duration::from_secs(1));
        }
        let all = watch.signals();
        let mut metric = all.into_iter().find(|it| it.subject == "m").unwrap();
        assert_eq!(sparkline(&metric), "▁▃▆█");
        metric.onset = Some(3);
        assert_eq!(sparkline(&metric), "▁▃╎▆█");
        metric.recent = vec![5.0; 40];
        metric.recent_at = (1..=40).collect();
        assert_eq!(sparkline(&metric).chars().count(), SAMPLES_SHOWN);
    }
}
