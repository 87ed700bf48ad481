//! Streams that look like agents, with what is true of each: nothing is wrong, or what goes wrong
//! where. All of it is drawn from a seed.
#![expect(clippy::cast_precision_loss, reason = "counts of a few thousand")]

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use stateward::Digest;
use stateward::drift::sighting::{Exit, OutputSeen, ProcessSeen, StateSeen, WorkspaceSeen};
use stateward::drift::{Level, Observation, Occasion, Sighting, Signal};

/// What is true of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It must be left alone.
    Fine,
    /// From the sighting `onset` on something is wrong, and the signal must say at least `level`.
    Wrong { onset: u64, signal: Signal, level: Level },
}

/// A recorded agent.
pub struct Stream {
    pub sightings: Vec<(Duration, Sighting)>,
    pub truth: Truth,
}

/// A kind of stream.
pub struct Kind {
    pub name: &'static str,
    pub about: &'static str,
    pub draw: fn(&mut Tape),
}

/// Draws numbers: `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014).
pub struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 to below `most`.
    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    /// One of some things.
    fn one_of<'a, T>(&mut self, things: &'a [T]) -> Option<&'a T> {
        let at = self.below(things.len().max(1) as u64);
        things.get(usize::try_from(at).ok()?)
    }

    fn chance(&mut self, share: f64) -> bool {
        self.share() < share
    }

    /// With mean 0 and deviation 1 (Box and Muller, 1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.share()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.share()).cos()
    }
}

/// A recording while it is made.
pub struct Tape {
    pub dice: Dice,
    at: Duration,
    sightings: Vec<(Duration, Sighting)>,
    truth: Truth,
    length: u64,
    digests: u64,
}

/// Draws a stream of about `length` sightings.
pub fn draw(kind: &Kind, seed: u64, length: u64) -> Stream {
    let mut tape = Tape {
        dice: Dice(seed),
        at: Duration::ZERO,
        sightings: Vec::new(),
        truth: Truth::Fine,
        length,
        digests: 0,
    };
    (kind.draw)(&mut tape);
    Stream { sightings: tape.sightings, truth: tape.truth }
}

impl Tape {
    fn going_on(&self) -> bool {
        (self.sightings.len() as u64) < self.length
    }

    fn half(&self) -> u64 {
        self.length / 2
    }

    fn number(&self) -> u64 {
        self.sightings.len() as u64
    }

    fn pass(&mut self, seconds: f64) {
        self.at += Duration::from_secs_f64(seconds);
    }

    fn see(&mut self, sighting: Sighting) {
        self.sightings.push((self.at, sighting));
    }

    fn tell(&mut self, observation: Observation) {
        self.see(Sighting::Observation(observation));
    }

    /// A digest that was not there before.
    fn news(&mut self) -> String {
        self.digests += 1;
        format!("blake3:{:064x}", u128::from(self.digests) << 64)
    }

    /// From the next sighting on it is wrong.
    fn goes_wrong(&mut self, signal: Signal, level: Level) {
        if self.truth == Truth::Fine {
            self.truth = Truth::Wrong { onset: self.number() + 1, signal, level };
        }
    }

    /// An action like any other: news, usually well, after a pause.
    fn act(&mut self, name: &str) -> Observation {
        let pause = 4.0 * (0.5 * self.dice.normal()).exp();
        self.pass(pause);
        let (input, result) = (self.news(), self.news());
        let ok = !self.dice.chance(0.03);
        Observation::action(name, input).result(result).ok(ok)
    }

    /// An action of an agent at its usual work.
    fn work(&mut self) -> Observation {
        let name = self.dice.one_of(&["read", "edit", "test", "search", "think"]);
        self.act(name.unwrap_or(&"think"))
    }

    fn workspace(&mut self, content: u64) {
        let digest = Digest::of(&content.to_le_bytes());
        let touched = vec![PathBuf::from("src/main.rs")];
        let seen = WorkspaceSeen { digest, files: 400, changed: 1, deleted: 0, touched };
        self.see(Sighting::Workspace(seen));
    }

    fn state(&mut self, content: Value) {
        self.see(Sighting::State(StateSeen::of(content)));
    }
}

macro_rules! kinds {
    ($($draw:ident: $about:literal,)*) => {
        &[$(Kind { name: stringify!($draw), about: $about, draw: $draw }),*]
    };
}

/// Streams that must be left alone.
pub const FINE: &[Kind] = kinds![
    steady: "latency, tokens and cost with normal noise",
    heavy_tailed: "latencies after Pareto (α = 1.5), tokens log-normal",
    autocorrelated: "latency follows its predecessor (first order, 0.8)",
    regimes: "tasks of 40 to 200 actions, each with its own latency and tokens",
    sawtooth: "context grows, is compacted, a few files are read again",
    test_driven: "edit, test, edit, test, with bursts of failing tests",
    waiting: "a human answers after minutes, or the next morning",
    gaps: "metrics come and go, some are not numbers",
    constants: "metrics that never change, one that does now and then",
    growing_state: "messages pile up and are trimmed, passing keys come and go",
    polling: "asks for a result a few times before it is there",
    trial_and_error: "edits that are taken back as often as not",
];

/// Streams in which something goes wrong.
pub const WRONG: &[Kind] = kinds![
    step_up: "a metric rises by 3 deviations",
    step_down: "a metric falls by 3 deviations",
    step_in_heavy_tail: "a log-normal latency becomes four times as long",
    step_in_autocorrelated: "a metric that follows its predecessor (0.5) rises by 3 deviations",
    ramp: "a metric rises by a twentieth of a deviation with each sample",
    spread: "a metric scatters four times as much",
    slower: "latency grows by 2 % with each action",
    failing: "actions fail more and more often, up to half of them",
    looping: "the same action, input and result",
    looping_in_threes: "three actions in turn",
    looping_output: "prints the same lines again and again",
    provider_down: "each call fails",
    forgetful: "does again what it did before the compaction",
    thrashing: "edits and reverts",
    stalled: "busy without any effect",
    silent: "stops without a word",
    crash_loop: "ends right after each start",
    losing_keys: "top-level keys vanish",
    corrupted: "the state is replaced by a stub",
];

fn usual_metrics(tape: &mut Tape, observation: Observation) -> Observation {
    let latency = 2.0 + 0.3 * tape.dice.normal();
    let tokens = (1500.0 + 300.0 * tape.dice.normal()).round();
    observation.metric("latency_s", latency).metric("tokens", tokens).metric("cost", tokens * 1e-5)
}

fn steady(tape: &mut Tape) {
    while tape.going_on() {
        let observation = tape.work();
        let observation = usual_metrics(tape, observation);
        tape.tell(observation);
    }
}

fn heavy_tailed(tape: &mut Tape) {
    while tape.going_on() {
        let latency = (1.0 - tape.dice.share()).powf(-1.0 / 1.5);
        let tokens = (7.0 + 1.2 * tape.dice.normal()).exp().round();
        let observation = tape.work().metric("latency_s", latency).metric("tokens", tokens);
        tape.tell(observation);
    }
}

fn autocorrelated(tape: &mut Tape) {
    let mut level = 0.0;
    while tape.going_on() {
        level = 0.8 * level + 0.6 * tape.dice.normal();
        let observation = tape.work().metric("latency_s", 10.0 + level);
        tape.tell(observation);
    }
}

fn regimes(tape: &mut Tape) {
    while tape.going_on() {
        let actions = 40 + tape.dice.below(160);
        let (latency, tokens) = (0.5 + 8.0 * tape.dice.share(), 200.0 + 4000.0 * tape.dice.share());
        for _ in 0..actions {
            let latency = latency * (0.25 * tape.dice.normal()).exp();
            let tokens = (tokens * (0.25 * tape.dice.normal()).exp()).round();
            let observation = tape.work().metric("latency_s", latency).metric("tokens", tokens);
            tape.tell(observation);
        }
    }
}

fn read(file: &str) -> Observation {
    Observation::action("read", file).result(file).ok(true)
}

fn sawtooth(tape: &mut Tape) {
    let (mut context, mut files) = (5_000.0, Vec::<String>::new());
    while tape.going_on() {
        let mut observation = tape.work();
        if tape.dice.chance(0.2) {
            let again = tape.dice.one_of(&files).cloned();
            observation = again.map_or(observation, |file| read(&file));
        } else if tape.dice.chance(0.3) {
            let file = tape.news();
            observation = read(&file);
            files.push(file);
        }
        context += 500.0 + 2_500.0 * tape.dice.share();
        tape.tell(observation.metric("context_tokens", context));
        if context > 150_000.0 {
            tape.tell(Observation::event(Occasion::Compaction));
            context = 12_000.0;
            for file in files.iter().rev().take(5).cloned().collect::<Vec<_>>() {
                tape.pass(2.0);
                tape.tell(read(&file));
            }
        }
    }
}

fn test_driven(tape: &mut Tape) {
    let mut content = 0;
    while tape.going_on() {
        let attempts = if tape.dice.chance(0.1) { 25 } else { 1 + tape.dice.below(5) };
        for attempt in (0..attempts).rev() {
            let edit = tape.act("edit").ok(true);
            tape.tell(edit);
            content += 1;
            tape.workspace(content);
            let pause = 5.0 + 20.0 * tape.dice.share();
            tape.pass(pause);
            let result =
                if attempt == 0 { "passed".into() } else { format!("{} failed", attempt / 3) };
            let test = Observation::action("test", "all").result(result).ok(attempt == 0);
            tape.tell(test.metric("test_s", pause));
        }
    }
}

fn waiting(tape: &mut Tape) {
    while tape.going_on() {
        for _ in 0..5 + tape.dice.below(60) {
            let observation = tape.work();
            let observation = usual_metrics(tape, observation);
            tape.tell(observation);
        }
        tape.tell(Observation::event(Occasion::Waiting));
        let hours = if tape.dice.chance(0.2) { 14.0 } else { tape.dice.share() };
        tape.pass(3600.0 * hours);
        if tape.dice.chance(0.5) {
            tape.tell(Observation::event(Occasion::Resumed));
        }
    }
}

fn gaps(tape: &mut Tape) {
    while tape.going_on() {
        let latency = 2.0 + 0.3 * tape.dice.normal();
        let mut observation = tape.work();
        if tape.number() / 300 % 3 != 1 {
            observation = observation.metric("latency_s", latency);
        }
        if tape.dice.chance(0.02) {
            let odd = tape.dice.one_of(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308]);
            observation = observation.metric("latency_s", odd.copied().unwrap_or(f64::NAN));
        }
        if tape.dice.chance(0.05) {
            observation = observation.metric("rare", tape.dice.normal());
        }
        tape.tell(observation);
    }
}

fn constants(tape: &mut Tape) {
    while tape.going_on() {
        let retries = if tape.dice.chance(0.02) { 1.0 } else { 0.0 };
        let observation = tape.work().metric("temperature", 0.7).metric("errors", 0.0);
        tape.tell(observation.metric("retries", retries));
    }
}

fn growing_state(tape: &mut Tape) {
    let (mut messages, mut step, mut kept) = (Vec::new(), 0, 0);
    while tape.going_on() {
        step += 1;
        let observation = tape.work();
        tape.tell(observation);
        messages.push(json!({"id": step, "text": format!("message {step}")}));
        if messages.len() > 60 {
            messages.drain(..50);
        }
        let mut state = json!({"step": step, "messages": messages, "goal": "build", "notes": []});
        if tape.dice.chance(0.3) {
            state["pending_tool"] = json!({"name": "test"});
        }
        if kept > 0 || tape.dice.chance(0.02) {
            kept = if kept == 0 { 6 } else { kept - 1 };
            state["sub_task"] = json!("look something up");
        }
        tape.state(state);
    }
}

fn polling(tape: &mut Tape) {
    while tape.going_on() {
        for _ in 0..3 + tape.dice.below(10) {
            let observation = tape.work();
            tape.tell(observation);
        }
        let build = tape.news();
        for _ in 0..=tape.dice.below(5) {
            tape.pass(30.0);
            tape.tell(Observation::action("ask_build", &build).result("running").ok(true));
        }
        tape.tell(Observation::action("ask_build", &build).result("done").ok(true));
    }
}

fn trial_and_error(tape: &mut Tape) {
    let (mut content, mut base) = (1, 0);
    tape.workspace(base);
    while tape.going_on() {
        let edit = tape.act("edit").ok(true);
        tape.tell(edit);
        tape.workspace(content);
        let good = tape.dice.chance(0.4);
        let test = tape.act("test").ok(good);
        tape.tell(test);
        if good {
            base = content;
        } else {
            let revert = tape.act("revert").ok(true);
            tape.tell(revert);
            tape.workspace(base);
        }
        content += 1;
    }
}

/// Work with one metric, which `value` gives; what goes wrong does so half-way.
fn metric(tape: &mut Tape, mut value: impl FnMut(&mut Dice, Option<u64>) -> f64) {
    let mut since = None;
    while tape.going_on() {
        if tape.number() >= tape.half() {
            tape.goes_wrong(Signal::Metric, Level::Suspect);
            since = Some(since.map_or(0, |since: u64| since + 1));
        }
        let value = value(&mut tape.dice, since);
        let observation = tape.work().metric("value", value);
        tape.tell(observation);
    }
}

fn step_up(tape: &mut Tape) {
    metric(tape, |dice, since| 10.0 + dice.normal() + since.map_or(0.0, |_| 3.0));
}

fn step_down(tape: &mut Tape) {
    metric(tape, |dice, since| 10.0 + dice.normal() - since.map_or(0.0, |_| 3.0));
}

fn step_in_heavy_tail(tape: &mut Tape) {
    metric(tape, |dice, since| (0.7 * dice.normal()).exp() * since.map_or(1.0, |_| 4.0));
}

fn step_in_autocorrelated(tape: &mut Tape) {
    let mut level = 0.0;
    metric(tape, |dice, since| {
        level = 0.5 * level + 0.75_f64.sqrt() * dice.normal();
        10.0 + level + since.map_or(0.0, |_| 3.0)
    });
}

fn ramp(tape: &mut Tape) {
    metric(tape, |dice, since| 10.0 + dice.normal() + since.map_or(0.0, |it| 0.05 * it as f64));
}

fn spread(tape: &mut Tape) {
    metric(tape, |dice, since| 10.0 + dice.normal() * since.map_or(1.0, |_| 4.0));
}

fn slower(tape: &mut Tape) {
    metric(tape, |dice, since| {
        2.0 * (0.3 * dice.normal()).exp()
            * since.map_or(1.0, |it| 1.02_f64.powf(it.min(200) as f64))
    });
}

fn failing(tape: &mut Tape) {
    while tape.going_on() {
        let mut share = 0.05;
        if tape.number() >= tape.half() {
            tape.goes_wrong(Signal::Metric, Level::Suspect);
            share = ((tape.number() - tape.half()) as f64 / 60.0).clamp(0.05, 0.5);
        }
        let failed = tape.dice.chance(share);
        let observation = tape.work().ok(!failed);
        tape.tell(observation);
    }
}

/// Work until half-way, then something else.
fn then(tape: &mut Tape, signal: Signal, mut wrong: impl FnMut(&mut Tape)) {
    let mut content = 0;
    while tape.going_on() {
        if tape.number() >= tape.half() {
            tape.goes_wrong(signal, Level::Drifting);
            wrong(tape);
        } else {
            let observation = tape.work();
            tape.tell(observation);
            content += 1;
            tape.workspace(content);
        }
    }
}

fn looping(tape: &mut Tape) {
    then(tape, Signal::Repetition, |tape| {
        tape.pass(5.0);
        tape.tell(Observation::action("search", "same").result("nothing").ok(true));
    });
}

fn looping_in_threes(tape: &mut Tape) {
    let mut turn = 0;
    then(tape, Signal::Repetition, |tape| {
        turn = (turn + 1) % 3;
        tape.pass(5.0);
        tape.tell(Observation::action("search", turn).result(turn).ok(true));
    });
}

fn looping_output(tape: &mut Tape) {
    while tape.going_on() {
        tape.pass(10.0);
        let wrong = tape.number() >= tape.half();
        if wrong {
            tape.goes_wrong(Signal::Repetition, Level::Drifting);
        }
        let lines = 10 + tape.dice.below(40);
        tape.see(Sighting::Output(OutputSeen {
            lines,
            repeated: if wrong { lines } else { lines / 3 },
        }));
    }
}

fn provider_down(tape: &mut Tape) {
    then(tape, Signal::ErrorStreak, |tape| {
        let call = tape.act("call").ok(false);
        tape.tell(call);
    });
}

fn forgetful(tape: &mut Tape) {
    let mut done: Vec<Observation> = Vec::new();
    while tape.number() < tape.half() {
        let observation = tape.work();
        done.push(observation.clone());
        tape.tell(observation);
    }
    tape.goes_wrong(Signal::Redo, Level::Drifting);
    tape.tell(Observation::event(Occasion::Compaction));
    let again: Vec<Observation> = done.into_iter().rev().take(120).rev().collect();
    for observation in again {
        tape.pass(5.0);
        let observation = if tape.dice.chance(0.2) { tape.work() } else { observation };
        tape.tell(observation);
    }
}

fn thrashing(tape: &mut Tape) {
    let mut turn = 0;
    then(tape, Signal::Thrash, |tape| {
        turn = 1 - turn;
        let edit = tape.act("edit").ok(true);
        tape.tell(edit);
        tape.workspace(u64::MAX - turn);
    });
}

fn stalled(tape: &mut Tape) {
    then(tape, Signal::Stall, |tape| {
        tape.pass(60.0);
        let thought = tape.act("think").ok(true);
        tape.tell(thought);
    });
}

fn silent(tape: &mut Tape) {
    while tape.number() < tape.half() {
        let observation = tape.work();
        tape.tell(observation);
    }
    tape.goes_wrong(Signal::Silence, Level::Drifting);
    tape.pass(20.0 * 60.0);
    tape.see(Sighting::Process(ProcessSeen::default()));
}

fn crash_loop(tape: &mut Tape) {
    while tape.number() < tape.half() {
        let observation = tape.work();
        tape.tell(observation);
    }
    tape.goes_wrong(Signal::CrashLoop, Level::Drifting);
    for _ in 0..5 {
        tape.pass(3.0);
        let content = Some(Digest::of(b"the same"));
        let lived = stateward::Span::from_secs(3);
        tape.see(Sighting::Exited(Exit { code: Some(1), lived, content }));
        tape.see(Sighting::Begun);
    }
}

fn losing(tape: &mut Tape, lost: impl Fn(u64) -> Value) {
    let mut step = 0;
    while tape.going_on() {
        step += 1;
        let observation = tape.work();
        tape.tell(observation);
        let wrong = tape.number() >= tape.half();
        if wrong {
            tape.goes_wrong(Signal::Shrinkage, Level::Drifting);
        }
        let sound = json!({"step": step, "plan": ["a", "b"], "memory": {"x": 1}, "goal": "build"});
        tape.state(if wrong { lost(step) } else { sound });
    }
}

fn losing_keys(tape: &mut Tape) {
    losing(tape, |step| json!({"step": step, "plan": ["a", "b"], "goal": "build"}));
}

fn corrupted(tape: &mut Tape) {
    losing(tape, |_| json!({"error": "could not load"}));
}
