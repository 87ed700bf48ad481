//! Each signal on a short life that shows it, and what is remembered of a life.

use serde_json::json;

use super::*;
use crate::drift::Sensitivity;
use crate::drift::observation::{Observation, Occasion};
use crate::drift::sighting::{
    Condition, Exit, OutputSeen, StateFileSeen, StateSeen, WorkspaceSeen,
};
use crate::drift::signals::invariants::Invariant;
use crate::drift::verdict::Finding;
use crate::state::{Digest, Span};

/// An agent that is shown things, ten seconds apart.
struct Agent {
    watch: Watch,
    now: Duration,
    news: u64,
}

impl Agent {
    fn new() -> Self {
        Self::with(&Options::default())
    }

    fn with(options: &Options) -> Self {
        options.check().unwrap();
        Self { watch: Watch::new(options), now: Duration::from_secs(1), news: 0 }
    }

    #[expect(clippy::needless_pass_by_value, reason = "what is seen is made for the call")]
    fn see(&mut self, sighting: Sighting) -> Level {
        self.now += Duration::from_secs(10);
        self.watch.see(&sighting, self.now)
    }

    fn tell(&mut self, observation: Observation) -> Level {
        self.see(Sighting::Observation(observation))
    }

    /// An action with an input that was not there before.
    fn work(&mut self) -> Level {
        self.news += 1;
        let input = format!("input {}", self.news);
        self.tell(Observation::action("work", input).result(self.news).ok(true))
    }

    fn work_for(&mut self, actions: u64) -> Level {
        (0..actions).map(|_| self.work()).last().unwrap_or_default()
    }

    fn state(&mut self, state: Value) -> Level {
        self.see(Sighting::State(StateSeen::of(state)))
    }

    fn workspace(&mut self, content: u64) -> Level {
        let digest = Digest::of(&content.to_le_bytes());
        let seen = WorkspaceSeen { digest, files: 100, changed: 1, deleted: 0, touched: vec![] };
        self.see(Sighting::Workspace(seen))
    }

    fn wait(&mut self, minutes: u64) -> Level {
        self.now += Duration::from_secs(60 * minutes);
        self.watch.tick(self.now)
    }

    fn finding(&self, signal: Signal) -> Option<Finding> {
        self.watch.verdict().findings.into_iter().find(|finding| finding.signal == signal)
    }

    fn onset(&self, signal: Signal) -> u64 {
        self.finding(signal).unwrap().onset
    }
}

#[test]
fn a_loop_is_found_and_dated_to_its_first_round() {
    let mut agent = Agent::new();
    agent.work_for(20);
    let round = |agent: &mut Agent, step: u64| {
        agent.tell(Observation::action("look", step % 2).result("nothing").ok(true))
    };
    let levels: Vec<Level> = (0..14).map(|step| round(&mut agent, step)).collect();
    assert_eq!(levels[8], Level::Ok);
    assert_eq!((levels[9], levels[13]), (Level::Suspect, Level::Drifting));
    assert_eq!(agent.onset(Signal::Repetition), 21);
    let words = agent.finding(Signal::Repetition).unwrap().evidence.words;
    assert!(words.contains("12 actions had been done before"), "{words}");
}

#[test]
fn what_changes_state_or_brings_news_is_no_loop() {
    let mut agent = Agent::new();
    let look = || Observation::action("look", 1).result("nothing");
    for step in 0..25 {
        agent.tell(look());
        agent.state(json!({"step": step}));
        assert_eq!(agent.watch.verdict().level, Level::Ok, "step {step}");
    }
    agent.work();
    for _ in 0..5 {
        agent.tell(look());
    }
    agent.tell(look().result("something"));
    assert_eq!(agent.tell(look()), Level::Ok);
    let mut agent = Agent::new();
    let levels: Vec<Level> =
        (0..40).map(|_| agent.tell(Observation::bare_action("think"))).collect();
    assert!(levels.iter().all(|level| *level == Level::Ok), "its input is not known");
}

#[test]
fn a_loop_that_writes_into_its_state_is_suspect() {
    let mut agent = Agent::new();
    for step in 0..32 {
        agent.tell(Observation::action("look", 1));
        agent.state(json!({"step": step}));
    }
    let finding = agent.finding(Signal::Repetition).unwrap();
    assert_eq!((finding.level, finding.onset), (Level::Suspect, 1));
}

#[test]
fn an_action_that_fails_again_and_again_is_found() {
    let mut agent = Agent::new();
    agent.work_for(5);
    let call = |agent: &mut Agent| agent.tell(Observation::bare_action("call").ok(false));
    let levels: Vec<Level> = (0..8).map(|_| call(&mut agent)).collect();
    assert_eq!((levels[3], levels[4]), (Level::Ok, Level::Suspect));
    assert_eq!((levels[6], levels[7]), (Level::Suspect, Level::Drifting));
    assert_eq!(agent.onset(Signal::ErrorStreak), 6);
    let mut agent = Agent::new();
    for _ in 0..4 {
        call(&mut agent);
    }
    agent.tell(Observation::bare_action("call").ok(true));
    assert_eq!(call(&mut agent), Level::Ok, "success ends the streak");
}

#[test]
fn edit_test_edit_test_is_left_alone() {
    for watched in [true, false] {
        let mut agent = Agent::new();
        for round in 0..200 {
            agent.news += 1;
            let edit = Observation::action("edit", format!("edit {}", agent.news)).ok(true);
            agent.tell(edit);
            if watched {
                agent.workspace(agent.news);
            }
            let passed = round % 15 == 14;
            let result = format!("{} failed", round / 4 % 4);
            let level = agent.tell(Observation::action("test", "all").result(result).ok(passed));
            assert_eq!(level, Level::Ok, "round {round}, watched: {watched}");
        }
    }
}

#[test]
fn work_done_again_after_a_compaction_is_redo() {
    let mut agent = Agent::new();
    agent.work_for(100);
    agent.tell(Observation::event(Occasion::Compaction));
    agent.news = 60;
    agent.work_for(30);
    let finding = agent.finding(Signal::Redo).unwrap();
    assert_eq!((finding.level, finding.onset), (Level::Drifting, 101));
    assert_eq!(agent.finding(Signal::Repetition), None, "each of them is done but once more");

    let mut agent = Agent::new();
    agent.work_for(100);
    agent.tell(Observation::event(Occasion::Compaction));
    agent.news = 95;
    agent.work_for(60);
    assert_eq!(agent.finding(Signal::Redo), None, "five files are read again");
}

#[test]
fn a_workspace_that_goes_back_and_forth_thrashes() {
    let mut agent = Agent::new();
    for content in 0..10 {
        agent.workspace(content);
    }
    for turn in 0..9 {
        agent.workspace(100 + turn % 2);
    }
    assert_eq!(agent.finding(Signal::Thrash).unwrap().level, Level::Suspect);
    agent.workspace(101);
    let finding = agent.finding(Signal::Thrash).unwrap();
    assert_eq!((finding.level, finding.onset), (Level::Drifting, 12));

    let mut agent = Agent::new();
    for attempt in 1..50 {
        agent.workspace(attempt);
        assert_eq!(agent.workspace(0), Level::Ok, "tried and taken back");
    }
}

#[test]
fn busy_without_effect_is_a_stall_and_waiting_is_none() {
    let mut agent = Agent::new();
    agent.state(json!({"step": 1}));
    for _ in 0..30 {
        agent.work();
    }
    assert_eq!(agent.wait(14), Level::Ok);
    agent.tell(Observation::heartbeat());
    assert_eq!(agent.wait(2), Level::Suspect);
    agent.tell(Observation::heartbeat());
    agent.wait(14);
    agent.tell(Observation::heartbeat());
    agent.wait(14);
    agent.tell(Observation::heartbeat());
    assert_eq!(agent.wait(13), Level::Drifting);
    assert_eq!(agent.onset(Signal::Stall), 2);

    let mut agent = Agent::new();
    agent.work_for(30);
    agent.wait(120);
    assert_eq!(agent.finding(Signal::Stall), None, "none of its works can be seen");
    let mut agent = Agent::new();
    agent.state(json!({"step": 1}));
    agent.work_for(30);
    agent.tell(Observation::event(Occasion::Waiting));
    assert_eq!(agent.wait(600), Level::Ok);
    assert_eq!(agent.work(), Level::Ok, "what was waited does not count");
}

#[test]
fn silence_is_longer_than_usual_and_not_while_waiting() {
    let mut agent = Agent::new();
    assert_eq!(agent.wait(60), Level::Ok, "it never said anything");
    agent.work_for(10);
    assert_eq!(agent.wait(14), Level::Ok);
    assert_eq!(agent.wait(1), Level::Drifting);
    assert_eq!(agent.onset(Signal::Silence), 11);

    let mut slow = Agent::new();
    for _ in 0..10 {
        slow.now += Duration::from_secs(300);
        slow.work();
    }
    assert_eq!(slow.wait(45), Level::Ok, "ten usual gaps have not passed");
    assert_eq!(slow.wait(10), Level::Drifting);

    let mut agent = Agent::new();
    agent.work_for(10);
    agent.tell(Observation::event(Occasion::Waiting));
    assert_eq!(agent.wait(14 * 60), Level::Ok);
    agent.tell(Observation::event(Occasion::Resumed));
    assert_eq!(agent.wait(14), Level::Ok);
    assert_eq!(agent.wait(2), Level::Drifting);

    let mut human = Agent::new();
    human.watch.on_terminal(true);
    human.work_for(10);
    assert_eq!(human.wait(600), Level::Ok);
}

#[test]
fn quick_exits_on_the_same_content_are_a_crash_loop() {
    let mut agent = Agent::new();
    let exit = |agent: &mut Agent, code, secs, content: &[u8]| {
        agent.see(Sighting::Begun);
        let (lived, content) = (Span::from_secs(secs), Some(Digest::of(content)));
        agent.see(Sighting::Exited(Exit { code, lived, content }))
    };
    exit(&mut agent, Some(1), 2, b"a");
    exit(&mut agent, Some(1), 2, b"b");
    exit(&mut agent, None, 2, b"b");
    assert_eq!(agent.watch.verdict().level, Level::Ok);
    assert_eq!(exit(&mut agent, Some(1), 2, b"b"), Level::Drifting);
    assert_eq!(agent.onset(Signal::CrashLoop), 4);
    let mut agent = Agent::new();
    for _ in 0..10 {
        assert_eq!(exit(&mut agent, Some(0), 2, b"a"), Level::Ok);
        assert_eq!(exit(&mut agent, Some(1), 3600, b"a"), Level::Ok);
    }
}

fn sound_state(step: u64) -> Value {
    let messages: Vec<u64> = (0..40).map(|n| step + n).collect();
    json!({"step": step, "plan": ["a"], "goal": "x", "memory": {}, "messages": messages})
}

#[test]
fn keys_that_vanish_are_found() {
    let mut agent = Agent::new();
    for step in 0..20 {
        agent.state(sound_state(step));
    }
    let mut less = sound_state(20);
    less.as_object_mut().unwrap().remove("memory");
    assert_eq!(agent.state(less.clone()), Level::Suspect);
    for _ in 0..3 {
        agent.state(less.clone());
    }
    let finding = agent.finding(Signal::Shrinkage).unwrap();
    assert_eq!((finding.level, finding.onset), (Level::Drifting, 21));
    assert!(finding.evidence.words.contains("`memory`"), "{}", finding.evidence.words);

    let mut agent = Agent::new();
    for step in 0..20 {
        agent.state(sound_state(step));
    }
    assert_eq!(agent.state(json!({"error": "stub"})), Level::Drifting, "nearly all at once");
}

#[test]
fn lists_that_are_trimmed_or_compacted_do_not_shrink() {
    let with = |messages: Vec<u64>| {
        let mut state = sound_state(0);
        state["messages"] = json!(messages);
        state
    };
    let mut agent = Agent::new();
    agent.state(with((0..40).collect()));
    assert_eq!(agent.state(with((30..40).collect())), Level::Ok, "the newest survive");
    agent.state(with((0..40).collect()));
    assert_eq!(agent.state(with((0..10).collect())), Level::Suspect, "the newest are gone");

    let mut agent = Agent::new();
    agent.state(with((0..40).collect()));
    agent.tell(Observation::event(Occasion::Compaction));
    assert_eq!(agent.state(with(vec![99])), Level::Ok);
}

#[test]
fn a_workspace_that_is_deleted_is_found() {
    let look = |deleted| {
        let (files, changed, digest) = (100 - deleted, 0, Digest::of(&[1]));
        Sighting::Workspace(WorkspaceSeen { digest, files, changed, deleted, touched: vec![] })
    };
    for (deleted, level) in [(10, Level::Ok), (60, Level::Suspect), (90, Level::Drifting)] {
        assert_eq!(Agent::new().see(look(deleted)), level, "{deleted}");
    }
}

#[test]
fn a_broken_invariant_is_dated_behind_the_last_state_that_held() {
    let rule = |text: &str| serde_json::from_str::<Invariant>(text).unwrap();
    let invariants = vec![
        rule(r#"{"pointer": "/step", "required": true, "monotonic": "up"}"#),
        rule(r#"{"pointer": "/at", "compare": "at_most_length", "other": "/items"}"#),
    ];
    let mut agent = Agent::with(&Options { invariants, ..Options::default() });
    assert_eq!(agent.state(json!({"step": 5, "at": 1, "items": [1]})), Level::Ok);
    agent.work_for(3);
    assert_eq!(agent.state(json!({"step": 6, "at": 2, "items": [1, 2]})), Level::Ok);
    agent.work_for(3);
    assert_eq!(agent.state(json!({"step": 4, "at": 3, "items": [1]})), Level::Drifting);
    let finding = agent.finding(Signal::Invariant).unwrap();
    assert_eq!(finding.onset, 6);
    assert!(finding.evidence.words.contains("`/step` went from 6 to 4"));
    agent.state(json!({"step": 5}));
    assert_eq!(agent.finding(Signal::Invariant).unwrap().level, Level::Drifting, "5 is not 6");
    agent.state(json!({"step": 6}));
    agent.work_for(21);
    assert_eq!(agent.finding(Signal::Invariant), None);
}

#[test]
fn every_kind_of_invariant_can_be_broken() {
    let sound = json!({"n": 3, "text": "abc", "list": [1, 2], "other": 3, "map": {"a": 1}});
    for (rule, broken) in [
        (r#"{"pointer": "/n", "required": true}"#, json!({})),
        (r#"{"pointer": "/n", "type": "integer"}"#, json!({"n": 3.5})),
        (r#"{"pointer": "/map", "type": "object"}"#, json!({"map": []})),
        (r#"{"pointer": "/n", "min": 3}"#, json!({"n": 2})),
        (r#"{"pointer": "/n", "max": 3}"#, json!({"n": 3.1})),
        (r#"{"pointer": "/list", "length_min": 2}"#, json!({"list": [1]})),
        (r#"{"pointer": "/text", "length_max": 3}"#, json!({"text": "abcd"})),
        (
            r#"{"pointer": "/n", "compare": "equal", "other": "/other"}"#,
            json!({"n": 3, "other": 4}),
        ),
        (
            r#"{"pointer": "/n", "compare": "at_most", "other": "/other"}"#,
            json!({"n": 5, "other": 4}),
        ),
        (
            r#"{"pointer": "/n", "compare": "at_least", "other": "/other"}"#,
            json!({"n": 3, "other": 4}),
        ),
        (
            r#"{"pointer": "/map/a", "compare": "length", "other": "/list"}"#,
            json!({"map": {"a": 1}, "list": [1, 2]}),
        ),
    ] {
        let invariants: Vec<Invariant> = vec![serde_json::from_str(rule).unwrap()];
        let holds = !rule.contains("/map/a");
        let mut agent = Agent::with(&Options { invariants, ..Options::default() });
        if holds {
            assert_eq!(agent.state(sound.clone()), Level::Ok, "{rule}");
        }
        assert_eq!(agent.state(broken), Level::Drifting, "{rule}");
    }
    for rule in [
        r#"{"pointer": "n", "required": true}"#,
        r#"{"pointer": "/n"}"#,
        r#"{"pointer": "/n", "compare": "equal"}"#,
    ] {
        assert!(serde_json::from_str::<Invariant>(rule).unwrap().check().is_err(), "{rule}");
    }
}

#[cfg(feature = "schema")]
#[test]
fn a_state_that_does_not_fit_its_schema_is_found() {
    let mut agent = Agent::new();
    let schema = json!({"required": ["step"]});
    agent.watch.with_schema(&schema).unwrap();
    assert_eq!(agent.state(json!({"step": 1})), Level::Ok);
    agent.work_for(2);
    assert_eq!(agent.state(json!({"steps": 1})), Level::Drifting);
    let finding = agent.finding(Signal::Schema).unwrap();
    assert!(finding.onset == 2 && finding.evidence.words.contains("step"), "{finding:?}");
}

#[test]
fn budgets_are_spent_for_good_and_rates_are_not() {
    let budgets = vec![
        Budget { metric: "cost".into(), most: 10.0, per: None },
        Budget { metric: "restarts".into(), most: 3.0, per: Some(Span::from_hours(1)) },
    ];
    let mut agent = Agent::with(&Options { budgets, ..Options::default() });
    let pay = |agent: &mut Agent| agent.tell(Observation::default().metric("cost", 1.0));
    let levels: Vec<Level> = (0..10).map(|_| pay(&mut agent)).collect();
    assert_eq!((levels[7], levels[8], levels[9]), (Level::Ok, Level::Suspect, Level::Drifting));
    let saved = Agent::new().watch.save();
    agent.watch.bring_back(&saved).unwrap();
    assert_eq!(agent.watch.tick(agent.now), Level::Drifting, "spent money does not come back");

    let budgets =
        vec![Budget { metric: "restarts".into(), most: 3.0, per: Some(Span::from_hours(1)) }];
    let mut agent = Agent::with(&Options { budgets, ..Options::default() });
    for _ in 0..4 {
        agent.see(Sighting::Begun);
    }
    assert_eq!(agent.watch.verdict().level, Level::Drifting);
    agent.wait(61);
    agent.work_for(25);
    assert_eq!(agent.watch.verdict().level, Level::Ok);
}

#[test]
fn limits_refresh_and_begin_anew_with_each_life() {
    let mut options = Options::default();
    options.limits.cycles_max = 50;
    options.limits.uptime_max = Span::from_hours(2);
    options.calm = 1;
    let mut agent = Agent::with(&options);
    agent.see(Sighting::Begun);
    assert_eq!(agent.work_for(49), Level::Ok);
    assert_eq!(agent.work(), Level::Suspect);
    agent.see(Sighting::Begun);
    assert_eq!(agent.work_for(3), Level::Ok);
    agent.wait(121);
    assert_eq!(agent.finding(Signal::Uptime).unwrap().level, Level::Suspect);
}

#[test]
fn what_others_find_is_told() {
    let protected = vec![".git/hooks".into()];
    let mut agent = Agent::with(&Options { protected, calm: 2, ..Options::default() });
    let file =
        |condition| Sighting::StateFile(StateFileSeen { path: "memory.json".into(), condition });
    agent.see(file(Condition::Whole));
    agent.work_for(4);
    assert_eq!(agent.see(file(Condition::Damaged("cut short".into()))), Level::Drifting);
    assert_eq!(agent.onset(Signal::StateFile), 2);
    agent.see(file(Condition::Whole));
    assert_eq!(agent.work_for(3), Level::Ok);
    assert_eq!(agent.see(file(Condition::Missing)), Level::Drifting);

    let mut agent = Agent::with(&agent.watch.options);
    assert_eq!(agent.see(Sighting::Foreign(vec!["notes.md".into()])), Level::Suspect);
    let touch = |path: &str| {
        let (files, changed, digest) = (9, 1, Digest::of(path.as_bytes()));
        let touched = vec![path.into()];
        Sighting::Workspace(WorkspaceSeen { digest, files, changed, deleted: 0, touched })
    };
    agent.work_for(3);
    assert_eq!(agent.see(touch(".git/hooksaw")), Level::Ok);
    assert_eq!(agent.see(touch(".git/hooks/pre-push")), Level::Drifting);
    agent.work_for(3);
    assert_eq!(agent.see(Sighting::Damage("a block does not verify".into())), Level::Drifting);
    assert_eq!(agent.finding(Signal::Integrity).unwrap().evidence.words, "a block does not verify");
}

#[test]
fn output_that_says_the_same_again_is_repetition() {
    let mut agent = Agent::new();
    let print = |repeated| Sighting::Output(OutputSeen { lines: 40, repeated });
    for _ in 0..30 {
        assert_eq!(agent.see(print(20)), Level::Ok);
    }
    for _ in 0..13 {
        agent.see(print(40));
    }
    assert_eq!(agent.finding(Signal::Repetition).unwrap().level, Level::Drifting);
    assert_eq!(agent.onset(Signal::Repetition), 31);
}

#[test]
fn numbers_that_are_none_are_skipped_and_counted() {
    let run = |odd: &[f64]| {
        let mut agent = Agent::new();
        for step in 0..200 {
            let value = f64::from(step % 7) + if step >= 150 { 20.0 } else { 0.0 };
            agent.tell(Observation::default().metric("value", value));
            for odd in odd {
                agent.watch.measure("value", Some(*odd));
            }
        }
        (agent.finding(Signal::Metric), agent.watch.left_out().0)
    };
    let (clean, none) = run(&[]);
    let (odd, skipped) = run(&[f64::NAN, f64::INFINITY, -1e300]);
    assert!(clean.is_some() && none == 0);
    assert_eq!((odd, skipped), (clean, 600));
}

#[test]
fn a_metric_alone_is_never_more_than_suspect() {
    let mut agent = Agent::new();
    let levels: Vec<Level> = (0..300)
        .map(|step| {
            let value = f64::from(step % 5) + f64::from(step / 200) * 1000.0;
            let told = Observation::default().metric("a", value).metric("b", -value);
            agent.tell(told.metric("c", value * value))
        })
        .collect();
    assert_eq!(levels.iter().max(), Some(&Level::Suspect));
    assert_eq!(agent.onset(Signal::Metric), 201);
}

#[test]
fn a_watch_that_was_written_out_goes_on_as_if_it_had_not_been() {
    let mut whole = Agent::new();
    let mut halves = Agent::new();
    for step in 0..300_u32 {
        let value = if step < 200 { 5.0 } else { 9.0 } + f64::from(step * 7919 % 13) / 13.0;
        for agent in [&mut whole, &mut halves] {
            let action = Observation::action("work", step % 90).ok(step % 5 > 0);
            agent.tell(action.metric("value", value));
            agent.state(json!({"step": step / 3, "list": [step]}));
        }
        if step % 17 == 0 {
            let saved = halves.watch.save();
            halves.watch = Watch::load(&Options::default(), &saved).unwrap();
            halves.watch.tick(halves.now);
        }
        assert_eq!(whole.watch.verdict(), halves.watch.verdict(), "step {step}");
    }
    assert_eq!(whole.watch.memory, halves.watch.memory);
    assert!(!whole.watch.verdict().findings.is_empty());
}

#[test]
fn a_restore_brings_back_what_was_learnt_and_drops_what_stood_against_the_agent() {
    let mut agent = Agent::new();
    agent.work_for(20);
    let saved = agent.watch.save();
    for _ in 0..14 {
        agent.tell(Observation::action("look", 1));
    }
    assert_eq!(agent.watch.verdict().level, Level::Drifting);
    agent.watch.bring_back(&saved).unwrap();
    assert_eq!(agent.watch.verdict().level, Level::Ok);
    assert_eq!(agent.watch.number(), 34, "numbers never go back");
    for _ in 0..13 {
        agent.tell(Observation::action("look", 1));
    }
    assert_eq!(agent.watch.verdict().level, Level::Drifting, "the same again is found again");
    assert_eq!(agent.onset(Signal::Repetition), 35);
}

#[test]
fn what_another_version_wrote_is_refused() {
    let saved = String::from_utf8(Agent::new().watch.save()).unwrap();
    let newer = saved.replacen("\"version\":1", "\"version\":2", 1);
    for bytes in [newer.as_bytes(), b"{}", b"", b"[1"] {
        let error = Watch::load(&Options::default(), bytes).unwrap_err();
        assert!(matches!(error, Error::Memory { .. }), "{error}");
    }
}

#[test]
fn every_signal_is_listed_as_fed_blind_or_off() {
    let mut agent = Agent::new();
    let feed = |agent: &Agent, wanted| {
        let all = agent.watch.signals().into_iter();
        all.filter(|it| it.feed == wanted).map(|it| it.signal).collect::<Vec<_>>()
    };
    assert_eq!(feed(&agent, Feed::Fed), []);
    assert_eq!(agent.watch.signals().len(), Signal::ALL.len());
    agent.tell(Observation::action("work", 1).ok(true).metric("tokens", 5.0));
    let fed = feed(&agent, Feed::Fed);
    for signal in [Signal::Repetition, Signal::ErrorStreak, Signal::Silence, Signal::Metric] {
        assert!(fed.contains(&signal), "{signal}");
    }
    assert!(feed(&agent, Feed::Blind).contains(&Signal::Thrash));
    assert!(feed(&agent, Feed::Off).contains(&Signal::Invariant));
    let tokens = agent.watch.signals().into_iter().find(|it| it.subject == "tokens").unwrap();
    assert_eq!(tokens.recent, [5.0]);
}

/// Thinks that every seventh sighting is odd.
struct Sevens(u64);

impl Detector for Sevens {
    fn name(&self) -> &'static str {
        "sevens"
    }

    fn see(&mut self, _: &Sighting, number: u64) -> Option<Opinion> {
        self.0 += 1;
        let level = if self.0.is_multiple_of(7) { Level::Suspect } else { Level::Ok };
        Some(Opinion { level, onset: Some(number - 1), why: "seven".into(), numbers: [].into() })
    }

    fn save(&self) -> Value {
        json!(self.0)
    }

    fn bring_back(&mut self, saved: &Value) {
        self.0 = saved.as_u64().unwrap_or_default();
    }
}

#[test]
fn a_detector_of_ones_own_speaks_with_the_others() {
    let mut agent = Agent::new();
    agent.watch.add(Box::new(Sevens(0)));
    assert_eq!(agent.work_for(6), Level::Ok);
    let saved = agent.watch.save();
    assert_eq!(agent.work(), Level::Suspect);
    let finding = agent.finding(Signal::Custom).unwrap();
    assert_eq!((finding.subject.as_str(), finding.onset), ("sevens", 6));
    agent.watch.bring_back(&saved).unwrap();
    assert_eq!(agent.work(), Level::Suspect, "it counts on from where it was");
    let opinion = r#"{"level": "drifting", "why": "asked and answered"}"#;
    let opinion: Opinion = serde_json::from_str(opinion).unwrap();
    assert_eq!(agent.watch.hear("command", opinion), Level::Drifting);
}

#[test]
fn sensitivity_moves_every_limit() {
    let rows = |sensitivity| {
        let mut agent = Agent::with(&Options { sensitivity, ..Options::default() });
        (0..50).take_while(|_| agent.tell(Observation::action("look", 1)) == Level::Ok).count()
    };
    assert_eq!([Sensitivity::High, Sensitivity::Normal, Sensitivity::Low].map(rows), [5, 8, 12]);
}

#[test]
fn retention_is_told_how_far_back_an_onset_may_lie() {
    let mut agent = Agent::new();
    assert_eq!(agent.watch.earliest_onset(), 1);
    let mut found = 0;
    let mut earliest = Vec::new();
    for step in 0..400 {
        earliest.push(agent.watch.earliest_onset());
        let value = f64::from(step % 7) + if step >= 300 { 30.0 } else { 0.0 };
        agent.tell(Observation::action("work", step.min(350)).metric("value", value));
        for finding in agent.watch.verdict().findings {
            if finding.raised_at == agent.watch.number() {
                found += 1;
                assert!(finding.onset >= earliest[earliest.len() - 1], "{finding:?}");
            }
        }
    }
    assert!(found >= 2, "{found}");
    assert!(earliest[299] > 150, "it does not keep everything: {}", earliest[299]);
}
