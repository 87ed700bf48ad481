//! One agent under watch: all signals together.
//!
//! A [`Watch`] is shown everything that is seen of its agent, one [`Sighting`] after the other, and
//! told now and then that time passes. It numbers the sightings, keeps what the signals remember, and
//! gives the verdict. It is a function of what it was shown: the same sightings at the same times give
//! the same verdicts, also when it was written out and read back between them.
//!
//! Time is that of any clock that never goes back, the same for all calls in one process. What passes
//! between [`Watch::save`] and [`Watch::load`] does not count.
//!
//! What is written out is JSON, `{"version": 1, "memory": {…}, "custom": {NAME: …}}`; what is in
//! `memory` is for this version only. [`Watch::bring_back`] takes over what a checkpoint recorded when
//! the agent was restored to it, so that what it did since does not stand against it. Not brought back
//! are the number of sightings, which never goes back so that each number means one moment, what was
//! spent of budgets, and the limits of the living process. What stood against the agent is dropped.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::detector::{Detector, Opinion};
use super::observation::METRICS_MAX;
use super::sighting::{ProcessSeen, Sighting};
use super::signals::budget::{Budget, Spending};
use super::signals::catalogue::{Family, Signal};
use super::signals::crash_loop::CrashLoop;
use super::signals::error_streak::ErrorStreak;
use super::signals::glimpse::{Changes, Glimpse};
use super::signals::invariants::{Breaches, Invariants};
use super::signals::limits::Limits;
use super::signals::redo::Redo;
use super::signals::repetition::Repetition;
#[cfg(feature = "schema")]
use super::signals::schema::Schema;
use super::signals::series::Series;
use super::signals::shrinkage::Shrinkage;
use super::signals::silence::Silence;
use super::signals::stall::Stall;
use super::signals::surroundings::Surroundings;
use super::signals::thrash::Thrash;
use super::signals::{Evidence, Level, Reading};
use super::sources::{Source, SourceStatus};
use super::verdict::{Findings, Verdict};
use super::{Error, Options};

/// Larger numbers are no measurements, and their sums and squares could not be written out.
const NUMBER_MAX: f64 = 1e100;

/// The version of what is written out.
const VERSION: u32 = 1;

/// Whether a signal can say anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Feed {
    /// It sees what it lives on.
    Fed,
    /// It has seen nothing of what it lives on.
    Blind,
    /// Nothing asks for it.
    Off,
}

/// How one signal stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct SignalStatus {
    /// Which.
    pub signal: Signal,
    /// The metric, the budget, the detector; empty where the signal has but one subject.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// What it is answered like.
    pub family: Family,
    /// Whether it can say anything.
    pub feed: Feed,
    /// What it lives on.
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub lives_on: Cow<'static, str>,
    /// How it stands.
    pub level: Level,
    /// Since which observation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onset: Option<u64>,
    /// The newest samples of a metric, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent: Vec<f64>,
    /// The observations that they came with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recent_at: Vec<u64>,
}

/// What is brought back by a restore.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Learnt {
    /// The agent's time in milliseconds.
    at_ms: u64,
    changes: Changes,
    /// Boxed, because the map keeps room for more than it holds.
    series: BTreeMap<String, Box<Series>>,
    /// When the last action was told.
    acted_ms: Option<u64>,
    repetition: Repetition,
    error_streak: ErrorStreak,
    redo: Redo,
    thrash: Thrash,
    stall: Stall,
    silence: Silence,
    crash_loop: CrashLoop,
    shrinkage: Shrinkage,
    invariants: Invariants,
    schema: Breaches,
    surroundings: Surroundings,
}

/// What is not: it only ever goes on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Counted {
    number: u64,
    /// Time that was watched, in milliseconds.
    lived_ms: u64,
    limits: Limits,
    spending: BTreeMap<String, Spending>,
    /// Samples that were not finite.
    skipped: u64,
    /// Samples of series beyond the bound.
    unwatched: u64,
    lives: u64,
    /// Where anything came from.
    #[serde(default)]
    sources: BTreeSet<Source>,
}

impl Counted {
    /// Whether a number is one; it counts for the budgets on its name then.
    fn take(&mut self, name: &str, value: f64, budgets: &[Budget]) -> bool {
        let is_number = !value.is_nan() && value.abs() <= NUMBER_MAX;
        if is_number {
            self.spend(name, value, budgets);
        } else {
            self.skipped += 1;
        }
        is_number
    }

    fn spend(&mut self, name: &str, value: f64, budgets: &[Budget]) {
        for budget in budgets.iter().filter(|budget| budget.metric == name) {
            let spending = self.spending.entry(budget.name()).or_default();
            spending.see(budget, value, self.number, self.lived_ms);
        }
    }
}

/// Everything that is remembered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Memory {
    learnt: Learnt,
    counted: Counted,
    findings: Findings,
    opinions: BTreeMap<String, Opinion>,
}

#[derive(Serialize)]
struct Saving<'a> {
    version: u32,
    memory: &'a Memory,
    custom: BTreeMap<&'a str, Value>,
}

#[derive(Deserialize)]
struct Saved {
    version: u32,
    memory: Memory,
    custom: BTreeMap<String, Value>,
}

/// One agent under watch.
pub struct Watch {
    options: Options,
    terminal: bool,
    now: Option<Duration>,
    memory: Memory,
    detectors: Vec<Box<dyn Detector>>,
    /// What detectors kept that were not added (yet).
    kept: BTreeMap<String, Value>,
    #[cfg(feature = "schema")]
    schema: Option<Schema>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("number", &self.number()).finish_non_exhaustive()
    }
}

impl Watch {
    /// An agent of which nothing has been seen yet.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            options: options.tuned(),
            terminal: false,
            now: None,
            memory: Memory::default(),
            detectors: Vec::new(),
            kept: BTreeMap::new(),
            #[cfg(feature = "schema")]
            schema: None,
        }
    }

    /// Goes on from what [`Watch::save`] gave.
    ///
    /// # Errors
    /// [`Error::Memory`] where it was written by another version or is none.
    pub fn load(options: &Options, saved: &[u8]) -> Result<Self, Error> {
        let mut watch = Self::new(options);
        let Saved { memory, custom, .. } = read(saved)?;
        watch.memory = memory;
        watch.kept = custom;
        Ok(watch)
    }

    /// Adds a detector of the user's own, in the place of one of that name; what one of that name
    /// kept is handed to it.
    pub fn add(&mut self, mut detector: Box<dyn Detector>) {
        if let Some(saved) = self.kept.remove(detector.name()) {
            detector.bring_back(&saved);
        }
        self.detectors.retain(|known| known.name() != detector.name());
        self.detectors.push(detector);
    }

    /// Whether detectors were added.
    #[must_use]
    pub fn has_detectors(&self) -> bool {
        !self.detectors.is_empty()
    }

    /// Every state must fit this JSON Schema.
    ///
    /// # Errors
    /// [`Error::Option`] where it is no schema, or refers to other documents.
    #[cfg(feature = "schema")]
    pub fn with_schema(&mut self, schema: &Value) -> Result<(), Error> {
        self.schema = Some(Schema::new(schema)?);
        Ok(())
    }

    /// The agent has a terminal: silence says nothing then.
    pub fn on_terminal(&mut self, terminal: bool) {
        self.terminal = terminal;
    }

    /// Numbers on from `number`, where others know of more sightings than what was saved.
    pub fn go_on_from(&mut self, number: u64) {
        let counted = &mut self.memory.counted;
        counted.number = counted.number.max(number);
    }

    /// The number of the newest sighting.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.memory.counted.number
    }

    /// Takes a sighting; how the agent stands now.
    pub fn see(&mut self, sighting: &Sighting, now: Duration) -> Level {
        self.pass(now);
        let counted = &mut self.memory.counted;
        counted.number += 1;
        counted.sources.extend(Source::of(sighting));
        let number = counted.number;
        let learnt = &mut self.memory.learnt;
        let glimpse = learnt.changes.look(sighting, number, learnt.at_ms);
        learnt.see(&glimpse, &self.options);
        #[cfg(feature = "schema")]
        if let Some((schema, state)) = self.schema.as_ref().zip(state_of(sighting)) {
            learnt.schema.take(schema.breaches(state), number);
        }
        let lived = Glimpse { at_ms: counted.lived_ms, ..glimpse };
        counted.limits.see(&lived);
        self.measure_all(sighting);
        for detector in &mut self.detectors {
            if let Some(opinion) = detector.see(sighting, number) {
                self.memory.opinions.insert(detector.name().to_owned(), opinion);
            }
        }
        self.conclude()
    }

    /// Time passes and nothing is seen; how the agent stands now.
    pub fn tick(&mut self, now: Duration) -> Level {
        self.pass(now);
        self.conclude()
    }

    /// Takes the answer of a command; how the agent stands now.
    pub fn hear(&mut self, detector: &str, opinion: Opinion) -> Level {
        self.memory.opinions.insert(detector.to_owned(), opinion);
        self.conclude()
    }

    /// How the agent stands, and why.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let explain = |signal, subject: &str| self.explain(signal, subject);
        self.memory.findings.verdict(self.number(), explain)
    }

    /// The earliest observation that any finding names or could name from now on: what was kept
    /// before it may be needed.
    #[must_use]
    pub fn earliest_onset(&self) -> u64 {
        let learnt = &self.memory.learnt;
        let onsets = [
            learnt.repetition.earliest_onset(),
            learnt.error_streak.earliest_onset(),
            learnt.redo.earliest_onset(&self.options.redo),
            learnt.thrash.earliest_onset(),
            learnt.stall.earliest_onset(),
            learnt.crash_loop.earliest_onset(),
            learnt.shrinkage.earliest_onset(),
            learnt.invariants.breaches.earliest_onset(),
            learnt.schema.earliest_onset(),
            learnt.surroundings.earliest_onset(),
            self.memory.findings.earliest_onset(),
            learnt.series.values().map(|series| series.earliest_onset()).min(),
            self.memory.counted.spending.values().filter_map(Spending::earliest_onset).min(),
        ];
        onsets.into_iter().flatten().min().unwrap_or(u64::MAX).min(self.number() + 1)
    }

    /// What is remembered, to be kept with a checkpoint.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "what is remembered holds finite numbers only")]
    pub fn save(&self) -> Vec<u8> {
        let kept = self.kept.iter().map(|(name, saved)| (name.as_str(), saved.clone()));
        let custom = kept.chain(self.detectors.iter().map(|it| (it.name(), it.save()))).collect();
        let saving = Saving { version: VERSION, memory: &self.memory, custom };
        serde_json::to_vec(&saving).expect("plain values and text keys can be written as JSON")
    }

    /// Takes over what was remembered at the checkpoint that the agent was restored to.
    ///
    /// # Errors
    /// [`Error::Memory`] where it was written by another version or is none; nothing is changed then.
    pub fn bring_back(&mut self, saved: &[u8]) -> Result<(), Error> {
        let Saved { memory, custom, .. } = read(saved)?;
        self.memory.learnt = memory.learnt;
        self.memory.findings = Findings::default();
        self.memory.opinions.clear();
        self.hand_out(custom);
        Ok(())
    }

    /// Takes over all that [`Watch::save`] gave a moment ago: what came since did not happen.
    ///
    /// # Errors
    /// As [`Watch::bring_back`].
    pub fn resume(&mut self, saved: &[u8]) -> Result<(), Error> {
        let Saved { memory, custom, .. } = read(saved)?;
        self.memory = memory;
        self.hand_out(custom);
        Ok(())
    }

    /// Forgets what the agent did: it was restored to a checkpoint that knows nothing of it.
    pub fn forget(&mut self) {
        self.memory.learnt = Learnt::default();
        self.memory.findings = Findings::default();
        self.memory.opinions.clear();
    }

    /// How each signal stands, blind ones too.
    #[must_use]
    pub fn signals(&self) -> Vec<SignalStatus> {
        Signal::ALL.into_iter().flat_map(|signal| self.statuses(signal)).collect()
    }

    /// Every place that sightings come from, blind ones too.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceStatus> {
        let feed = |source| {
            let fed = self.memory.counted.sources.contains(source);
            if fed { Feed::Fed } else { Feed::Blind }
        };
        Source::ALL.iter().map(|it| SourceStatus { source: *it, feed: feed(it) }).collect()
    }

    /// Samples that were left out: not finite, and of series beyond the bound.
    #[must_use]
    pub fn left_out(&self) -> (u64, u64) {
        (self.memory.counted.skipped, self.memory.counted.unwatched)
    }

    fn hand_out(&mut self, mut custom: BTreeMap<String, Value>) {
        for detector in &mut self.detectors {
            if let Some(saved) = custom.remove(detector.name()) {
                detector.bring_back(&saved);
            }
        }
        self.kept = custom;
    }

    /// Moves time on; what lies before the first call does not count.
    fn pass(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.now.unwrap_or(now));
        self.now = Some(self.now.unwrap_or(now).max(now));
        let ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let Memory { learnt, counted, .. } = &mut self.memory;
        learnt.at_ms = learnt.at_ms.saturating_add(ms);
        counted.lived_ms = counted.lived_ms.saturating_add(ms);
        learnt.stall.pass(learnt.at_ms, learnt.changes.waiting());
        learnt.silence.pass(learnt.at_ms);
        counted.limits.pass(counted.lived_ms);
        for budget in &self.options.budgets {
            if let Some(spending) = counted.spending.get_mut(&budget.name()) {
                spending.pass(budget, counted.lived_ms);
            }
        }
    }

    /// Takes every number that a sighting holds.
    fn measure_all(&mut self, sighting: &Sighting) {
        match sighting {
            Sighting::Observation(told) => {
                if told.action.is_some() {
                    self.measure_pause();
                    let failed = told.ok.map(|ok| if ok { 0.0 } else { 1.0 });
                    self.measure("failed", failed);
                }
                self.measure_told(&told.metrics);
            }
            Sighting::Process(ProcessSeen { cpu, memory_bytes, written_bytes, processes }) => {
                self.measure("process.cpu", *cpu);
                self.measure("process.memory_bytes", *memory_bytes);
                self.measure("process.written_bytes", *written_bytes);
                self.measure("process.processes", *processes);
            }
            Sighting::Begun => {
                self.memory.counted.lives += 1;
                if self.memory.counted.lives > 1 {
                    self.memory.counted.spend("restarts", 1.0, &self.options.budgets);
                }
            }
            _ => {}
        }
    }

    /// The time between two actions that are told one by one.
    fn measure_pause(&mut self) {
        let learnt = &mut self.memory.learnt;
        let before = learnt.acted_ms.replace(learnt.at_ms);
        let waited = learnt.changes.take_waited();
        let pause = before.map(|before| learnt.at_ms.saturating_sub(before));
        let told_alone = pause.filter(|pause| *pause > 0 && !waited);
        self.measure("pause_s", told_alone.map(|ms| Duration::from_millis(ms).as_secs_f64()));
    }

    /// Takes what the agent measured. Its metrics and the series are both in the order of their
    /// names, so that they are gone through side by side and none is looked up.
    fn measure_told(&mut self, metrics: &BTreeMap<String, f64>) {
        let Memory { learnt, counted, .. } = &mut self.memory;
        let (mut known, mut unknown) = (learnt.series.iter_mut().peekable(), Vec::new());
        for (name, value) in metrics.iter().take(METRICS_MAX) {
            if !counted.take(name, *value, &self.options.budgets) {
                continue;
            }
            let is_known = loop {
                match known.peek().map(|(next, _)| next.as_str().cmp(name)) {
                    Some(Ordering::Less) => drop(known.next()),
                    other => break other == Some(Ordering::Equal),
                }
            };
            match known.next_if(|_| is_known) {
                Some((_, series)) => series.see(*value, counted.number, &self.options.metrics),
                None => unknown.push((name, *value)),
            }
        }
        for (name, value) in unknown {
            self.begin_series(name, value);
        }
    }

    /// Takes a number under its name.
    fn measure(&mut self, name: &str, value: Option<f64>) {
        let Some(value) = value else { return };
        let Memory { learnt, counted, .. } = &mut self.memory;
        if !counted.take(name, value, &self.options.budgets) {
            return;
        }
        match learnt.series.get_mut(name) {
            Some(series) => series.see(value, counted.number, &self.options.metrics),
            None => self.begin_series(name, value),
        }
    }

    /// Takes the first number under a name, where there is room for one more.
    fn begin_series(&mut self, name: &str, value: f64) {
        let Memory { learnt, counted, .. } = &mut self.memory;
        let options = &self.options.metrics;
        if learnt.series.len() < options.series_max {
            let mut series = Box::<Series>::default();
            series.see(value, counted.number, options);
            learnt.series.insert(name.to_owned(), series);
        } else {
            counted.unwatched += 1;
        }
    }

    /// Asks every signal and settles the findings.
    fn conclude(&mut self) -> Level {
        let mut findings = std::mem::take(&mut self.memory.findings);
        let number = self.number();
        for (signal, reading) in self.readings() {
            findings.note(signal, "", reading, number, || self.explain(signal, ""));
        }
        for (name, series) in &self.memory.learnt.series {
            let reading = series.reading(&self.options.metrics);
            findings.note(Signal::Metric, name, reading, number, || series.explain(name));
        }
        for budget in &self.options.budgets {
            let name = budget.name();
            let reading = self.spending_reading(budget, &name);
            findings.note(Signal::Budget, &name, reading, number, || {
                self.explain(Signal::Budget, &name)
            });
        }
        for (name, opinion) in &self.memory.opinions {
            let onset = opinion.onset.unwrap_or(number);
            let reading = Reading { level: opinion.level, onset };
            findings
                .note(Signal::Custom, name, reading, number, || self.explain(Signal::Custom, name));
        }
        findings.settle(number, self.options.calm);
        self.memory.findings = findings;
        self.memory.findings.level()
    }

    /// What the signals with but one subject say.
    fn readings(&self) -> [(Signal, Reading); 16] {
        let (learnt, options) = (&self.memory.learnt, &self.options);
        let limits = &self.memory.counted.limits;
        let silence = learnt.silence.reading(&options.silence);
        let silence = if self.terminal { Reading::OK } else { silence };
        [
            (Signal::Repetition, learnt.repetition.reading(&options.repetition)),
            (Signal::ErrorStreak, learnt.error_streak.reading(&options.error_streak)),
            (Signal::Redo, learnt.redo.reading(&options.redo)),
            (Signal::Thrash, learnt.thrash.reading(&options.thrash)),
            (Signal::Stall, learnt.stall.reading(&options.stall)),
            (Signal::Silence, silence),
            (Signal::CrashLoop, learnt.crash_loop.reading(&options.crash_loop)),
            (Signal::Shrinkage, learnt.shrinkage.reading(&options.shrinkage)),
            (Signal::Invariant, learnt.invariants.breaches.reading()),
            (Signal::Schema, learnt.schema.reading()),
            (Signal::StateFile, learnt.surroundings.file_reading()),
            (Signal::Foreign, learnt.surroundings.foreign_reading()),
            (Signal::Protected, learnt.surroundings.protected_reading()),
            (Signal::Integrity, learnt.surroundings.damage_reading()),
            (Signal::Cycles, limits.cycles_reading(&options.limits)),
            (Signal::Uptime, limits.uptime_reading(&options.limits)),
        ]
    }

    fn spending_reading(&self, budget: &Budget, name: &str) -> Reading {
        let spending = self.memory.counted.spending.get(name);
        spending.map_or(Reading::OK, |spending| spending.reading(budget, self.number()))
    }

    fn explain(&self, signal: Signal, subject: &str) -> Evidence {
        let (learnt, counted) = (&self.memory.learnt, &self.memory.counted);
        match signal {
            Signal::Repetition => learnt.repetition.explain(),
            Signal::ErrorStreak => learnt.error_streak.explain(),
            Signal::Redo => learnt.redo.explain(),
            Signal::Thrash => learnt.thrash.explain(),
            Signal::Stall => learnt.stall.explain(),
            Signal::Silence => learnt.silence.explain(),
            Signal::CrashLoop => learnt.crash_loop.explain(),
            Signal::Shrinkage => learnt.shrinkage.explain(),
            Signal::Invariant => learnt.invariants.breaches.explain(),
            Signal::Schema => learnt.schema.explain(),
            Signal::StateFile => learnt.surroundings.explain_file(),
            Signal::Foreign => learnt.surroundings.explain_foreign(),
            Signal::Protected => learnt.surroundings.explain_protected(),
            Signal::Integrity => learnt.surroundings.explain_damage(),
            Signal::Cycles => counted.limits.explain_cycles(),
            Signal::Uptime => counted.limits.explain_uptime(),
            Signal::Metric => {
                learnt.series.get(subject).map(|it| it.explain(subject)).unwrap_or_default()
            }
            Signal::Budget => self.explain_budget(subject).unwrap_or_default(),
            Signal::Custom => self.memory.opinions.get(subject).map(words_of).unwrap_or_default(),
        }
    }

    fn explain_budget(&self, subject: &str) -> Option<Evidence> {
        let budget = self.options.budgets.iter().find(|budget| budget.name() == subject)?;
        Some(self.memory.counted.spending.get(subject)?.explain(budget))
    }

    /// The lines of one signal in the list of all: one for each subject, or one that says why not.
    fn statuses(&self, signal: Signal) -> Vec<SignalStatus> {
        let line = |subject: &str, feed| {
            let finding = self.memory.findings.of(signal, subject);
            SignalStatus {
                signal,
                subject: subject.to_owned(),
                family: signal.family(),
                feed,
                lives_on: signal.lives_on().into(),
                level: finding.map_or(Level::Ok, |finding| finding.level),
                onset: finding.map(|finding| finding.onset),
                recent: Vec::new(),
                recent_at: Vec::new(),
            }
        };
        let lines: Vec<SignalStatus> = match signal {
            Signal::Metric => {
                let series = self.memory.learnt.series.iter();
                let fed = series.map(|(name, it)| SignalStatus {
                    recent: it.recent().collect(),
                    recent_at: it.recent_at(),
                    ..line(name, Feed::Fed)
                });
                fed.collect()
            }
            Signal::Budget => {
                let fed = |name: &str| self.memory.counted.spending.contains_key(name);
                let feed = |name: &str| if fed(name) { Feed::Fed } else { Feed::Blind };
                let names = self.options.budgets.iter().map(Budget::name);
                names.map(|name| line(&name, feed(&name))).collect()
            }
            Signal::Custom => {
                let names = self.memory.opinions.keys();
                names.map(|name| line(name, Feed::Fed)).collect()
            }
            _ => Vec::new(),
        };
        if lines.is_empty() { vec![line("", self.feed(signal))] } else { lines }
    }

    /// Whether a signal can say anything; of those with several subjects, where they have none.
    fn feed(&self, signal: Signal) -> Feed {
        let (learnt, options) = (&self.memory.learnt, &self.options);
        let seen = self.number() > 0;
        let (asked, fed) = match signal {
            Signal::Metric => (options.metrics.series_max > 0, false),
            Signal::Budget | Signal::Custom => (false, false),
            Signal::Schema => (self.options.schema.is_some(), learnt.schema.fed()),
            Signal::Repetition => (true, learnt.repetition.fed()),
            Signal::ErrorStreak => (true, learnt.error_streak.fed()),
            Signal::Redo => (true, learnt.redo.fed()),
            Signal::Thrash => (true, learnt.thrash.fed()),
            Signal::Stall => (true, learnt.stall.fed()),
            Signal::Silence => (!self.terminal, learnt.silence.fed()),
            Signal::CrashLoop => (true, learnt.crash_loop.fed()),
            Signal::Shrinkage => (true, learnt.shrinkage.fed()),
            Signal::Invariant => (!options.invariants.is_empty(), learnt.invariants.breaches.fed()),
            Signal::StateFile => (true, learnt.surroundings.files_fed()),
            Signal::Foreign | Signal::Integrity => (true, seen),
            Signal::Protected => {
                (!options.protected.is_empty(), learnt.surroundings.workspace_fed())
            }
            Signal::Cycles => (options.limits.cycles_max > 0, seen),
            Signal::Uptime => (options.limits.uptime_max.as_ms() > 0, seen),
        };
        match (asked, fed) {
            (false, _) => Feed::Off,
            (true, true) => Feed::Fed,
            (true, false) => Feed::Blind,
        }
    }
}

impl Learnt {
    fn see(&mut self, glimpse: &Glimpse<'_>, options: &Options) {
        self.repetition.see(glimpse, &options.repetition);
        self.error_streak.see(glimpse);
        self.redo.see(glimpse, &options.redo);
        self.thrash.see(glimpse);
        self.stall.see(glimpse);
        self.silence.see(glimpse);
        self.crash_loop.see(glimpse, &options.crash_loop);
        self.shrinkage.see(glimpse, &options.shrinkage);
        self.surroundings.see(glimpse, &options.protected);
        if let Some(state) = state_of(glimpse.sighting) {
            self.invariants.see(&options.invariants, state, glimpse.number);
        }
    }
}

/// The content of a state that was seen.
fn state_of(sighting: &Sighting) -> Option<&Value> {
    match sighting {
        Sighting::State(seen) => seen.content.as_deref(),
        _ => None,
    }
}

fn read(saved: &[u8]) -> Result<Saved, Error> {
    let saved: Saved =
        serde_json::from_slice(saved).map_err(|error| Error::Memory { why: error.to_string() })?;
    if saved.version == VERSION {
        return Ok(saved);
    }
    Err(Error::Memory { why: format!("its version is {}", saved.version) })
}

fn words_of(opinion: &Opinion) -> Evidence {
    Evidence { words: opinion.why.clone(), numbers: opinion.numbers.clone() }
}

#[cfg(test)]
mod tests;
