//! The command line tells what agents do, how they stand, and what would follow.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli_home::Home;

/// Ten checkpoints of a state that grows, each after an observation.
fn lived() -> Home {
    let home = Home::new();
    for n in 0..10 {
        home.write("s.json", format!("{{\"n\": {n}, \"goal\": \"finish\"}}").as_bytes());
        home.done(&["checkpoint", "--state", "s.json"]);
        let (input, latency) = (format!("patch {n}"), format!("latency_s=2.{n}"));
        home.done(&[
            "observe", "--action", "edit", "--input", &input, "--ok", "--metric", &latency,
        ]);
    }
    home
}

#[test]
fn what_is_observed_is_answered_with_the_verdict_and_what_the_agent_is_told() {
    let home = lived();
    let told = home.json(&["observe", "--action", "edit", "--input-digest", "x", "--failed"]);
    assert_eq!(told["verdict"]["level"], "ok");
    assert_eq!((&told["directive"], &told["due"]), (&"continue".into(), &false.into()));
    let number = told["verdict"]["observation"].as_u64().unwrap();
    let answer = home.run_with_input(
        &["observe", "--json"],
        "{\"heartbeat\": true}\n[{\"event\": \"waiting\"}, {\"event\": \"resumed\"}]\n",
    );
    let told: Value = serde_json::from_slice(&answer.out).unwrap();
    assert_eq!(told["observations"], 3);
    assert_eq!(told["verdict"]["observation"], number + 3, "numbers go on from process to process");
    for wrong in ["{\"actions\": 1}", "{", "[1]"] {
        assert_eq!(home.run_with_input(&["observe"], wrong).code, 2, "{wrong}");
    }
    assert_eq!(home.run(&["observe", "--metric", "a"]).code, 2);
    assert_eq!(home.run(&["observe", "--input", "a"]).code, 2);
}

#[test]
fn a_loop_is_found_over_many_processes_and_explained() {
    let home = lived();
    let mut last = Value::Null;
    for _ in 0..13 {
        last = home.json(&["observe", "--action", "read", "--input", "same", "--ok", "--respond"]);
        if last["response"].is_object() {
            break;
        }
    }
    assert_eq!(last["response"]["decision"]["measure"], "checkpoint", "{last:#}");
    let shown = home.json(&["drift"]);
    assert_eq!(shown["verdict"]["level"], "drifting");
    let signals = shown["signals"].as_array().unwrap();
    let feed = |name: &str| signals.iter().find(|it| it["signal"] == name).unwrap()["feed"].clone();
    assert_eq!(
        (feed("repetition"), feed("thrash"), feed("budget")),
        ("fed".into(), "blind".into(), "off".into())
    );
    assert!(shown["choice"]["chosen"]["observation"].as_u64() < shown["choice"]["onset"].as_u64());
    let text = String::from_utf8(home.done(&["drift"]).out).unwrap();
    for words in ["is drifting since", "repetition", "latency_s", "would go back to #", "blind"] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    let text = String::from_utf8(home.done(&["drift", "explain"]).out).unwrap();
    assert!(text.contains("repetition since observation"), "{text}");
    let text = String::from_utf8(home.done(&["drift", "explain", "thrash"]).out).unwrap();
    assert!(text.contains("blind: it lives on"), "{text}");
    assert_eq!(home.run(&["drift", "explain", "nothing"]).code, 2);
    let log = String::from_utf8(home.done(&["log"]).out).unwrap();
    assert!(log.contains("drift_found") && log.contains("drift_answered"), "{log}");
}

#[test]
fn a_human_says_what_is_good_and_what_is_bad() {
    let home = lived();
    let marked = home.json(&["drift", "mark", "latest", "bad", "--why", "made up"]);
    assert_eq!((&marked["seq"], &marked["tainted"]), (&10.into(), &true.into()));
    assert_eq!(home.json(&["show", "latest"])["seq"], 9);
    assert_eq!(home.json(&["show", "good"])["seq"], 9);
    let id = marked["checkpoint_id"].as_str().unwrap();
    assert_eq!(home.json(&["drift", "mark", id, "good"])["tainted"], false);
    assert_eq!(home.json(&["show", "latest"])["seq"], 10);
    assert_eq!(home.run(&["drift", "mark", "latest", "odd"]).code, 2);
    assert_eq!(home.run(&["drift", "mark", "0123456789abcdef", "bad"]).code, 3);
}

#[test]
fn a_recorded_stream_is_tried_with_the_configured_settings() {
    let home = Home::new();
    let mut stream = String::new();
    for second in 0..30 {
        let told = r#"{"action":{"name":"look","input_digest":"x"}}"#;
        writeln!(stream, "{{\"at\":\"2026-01-05T10:00:{second:02}Z\",\"observation\":{told}}}")
            .unwrap();
    }
    home.write("stream.jsonl", stream.as_bytes());
    let report = home.json(&["drift", "replay", "stream.jsonl"]);
    assert_eq!(report["observations"], 30);
    assert_eq!(report["would"][0]["decision"]["measure"], "checkpoint");
    let text = String::from_utf8(home.done(&["drift", "replay", "stream.jsonl"]).out).unwrap();
    assert!(text.contains("1 response would have been given"), "{text}");
    home.write(
        "stateward.toml",
        b"[drift.repetition]\ndrifting = 100\nsuspect = 50\nalthough_changed = 0\n",
    );
    let report = home.json(&["drift", "replay", "stream.jsonl"]);
    assert_eq!(report["raised"], serde_json::json!([]));
    home.write("wrong.jsonl", b"\n{\"at\": \"2026-01-05T10:00:00Z\"}\n");
    let answer = home.run(&["drift", "replay", "wrong.jsonl"]);
    assert_eq!(answer.code, 2);
    assert!(answer.err.contains("line 2"), "{answer}");
    assert_eq!(home.run(&["drift", "replay", "none.jsonl"]).code, 3);
}

#[test]
fn a_halted_agent_is_told_to_stop_and_a_human_what_can_be_done() {
    let home = lived();
    home.write("stateward.toml", b"[drift.policies]\nbehaviour = \"halt\"\n");
    for _ in 0..13 {
        home.done(&["observe", "--action", "read", "--input", "same", "--ok", "--respond"]);
    }
    let told = home.json(&["observe", "--action", "edit", "--input", "new"]);
    assert_eq!(told["directive"], "stop");
    let text = String::from_utf8(home.done(&["drift"]).out).unwrap();
    assert!(text.contains("Halted:") && text.contains("stateward drift mark REF good"), "{text}");
    home.done(&["drift", "mark", "latest", "good"]);
    let told = home.json(&["observe", "--action", "edit", "--input", "newer"]);
    assert_eq!(told["directive"], "continue");
}
