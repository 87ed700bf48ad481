//! Letting go, moving, looking after: forget, prune, verify, log, status, export, import.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::cli_home::{Answer, Home, files};

/// A home with so many checkpoints, each with a state of its own.
fn with_checkpoints(count: u64) -> Home {
    let home = Home::new();
    for n in 1..=count {
        home.checkpoint(&json!({ "n": n }).to_string());
    }
    home
}

#[test]
fn a_dry_run_tells_and_the_real_one_does_it() {
    let home = with_checkpoints(3);
    let told = home.json(&["forget", "--keep-last", "1", "--dry-run"]);
    let agent = &told[0];
    assert_eq!(agent["agent_id"], "default");
    let gone: Vec<&Value> = agent["forgotten"].as_array().unwrap().iter().collect();
    assert!(!gone.is_empty() && gone.iter().all(|it| it["reason"].is_string()), "{told}");
    let kept = agent["kept"].as_array().unwrap();
    assert!(kept.iter().all(|it| !it["reasons"].as_array().unwrap().is_empty()), "{told}");
    assert_eq!(home.seqs(), [3, 2, 1]);

    let text = home.done(&["forget", "--keep-last", "1", "--dry-run"]);
    assert!(text.text().contains("would go") && text.text().contains("latest"), "{text}");
    let done = home.json(&["forget", "--keep-last", "1"]);
    assert_eq!(done[0]["forgotten"], agent["forgotten"]);
    assert_eq!(home.seqs().len(), kept.len());
}

#[test]
fn single_ones_are_forgotten_and_secrets_erased() {
    let home = with_checkpoints(1);
    let secret = home.checkpoint("{\"key\":\"hunter2-hunter2\"}");
    home.checkpoint("{\"n\":3}");
    let id = secret["checkpoint_id"].as_str().unwrap();
    let told = home.json(&["forget", id, "--erase"]);
    assert_eq!(told, json!({ "forgotten": [id], "erased": true }));
    assert_eq!(home.error(&["show", id]).0, 3);
    home.done(&["prune"]);
    for file in files(&home.store()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{}", file.display());
    }
    assert_eq!(home.seqs(), [3, 1]);
}

#[test]
fn pruning_tells_what_it_freed() {
    let home = with_checkpoints(2);
    let told = home.json(&["prune"]);
    for key in ["before_bytes", "after_bytes", "segments_removed"] {
        assert!(told[key].is_u64(), "{told}");
    }
    assert_eq!(home.seqs(), [2, 1]);
}

#[test]
fn a_checkpoint_travels_in_one_file() {
    let home = Home::new();
    let state = " {\"n\": 1e400, \"s\":\"\\ud800\"}\n";
    let first = home.checkpoint(state);
    home.done(&["export", "latest", "one.stateward"]);
    let streamed = home.done(&["export", first["path"].as_str().unwrap(), "-"]).out;
    assert_eq!(home.read("one.stateward"), streamed);

    let there = Home::new();
    there.write("one.stateward", &streamed);
    let receipt = there.json(&["import", "one.stateward", "--as", "team/b"]);
    assert_eq!(receipt["agent_id"], "team/b");
    let shown = there.done(&["show", "latest", "--state", "--agent", "team/b"]);
    assert_eq!(shown.out, state.as_bytes());
    let piped = there.run_with_input(&["import", "-", "--json"], streamed.clone());
    assert_eq!(piped.json()["agent_id"], "default");

    let mut broken = streamed;
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    there.write("broken", broken);
    let (code, error) = there.error(&["import", "broken"]);
    assert!(code != 0 && code != 1, "{error}");
    assert_eq!(there.error(&["import", "no-such-file"]).0, 3);
}

#[test]
fn verify_ends_with_4_while_damage_remains() {
    let home = with_checkpoints(1);
    assert_eq!(home.done(&["verify"]).code, 0);
    let long = format!("{{\"word\":\"needle\",\"x\":\"{}\"}}", "abcdefgh".repeat(4000));
    home.checkpoint(&long);
    for file in files(&home.store()) {
        let mut bytes = std::fs::read(&file).unwrap();
        if let Some(at) = bytes.windows(6).position(|window| window == b"needle") {
            bytes[at] ^= 1;
            std::fs::write(&file, bytes).unwrap();
        }
    }
    let answer = home.run(&["verify", "--json"]);
    assert_eq!(answer.code, 4, "{answer}");
    assert_eq!(answer.json()[0]["sound"], false);
    assert_eq!(home.error(&["verify", "--read-data-subset", "0%"]).0, 2);
}

#[test]
fn the_log_tells_what_happened_in_order() {
    let home = with_checkpoints(2);
    home.done(&["reset"]);
    let entries = home.json(&["log"]);
    let names: Vec<&str> =
        entries.as_array().unwrap().iter().map(|it| it["entry"].as_str().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| **name == "checkpoint").count(), 2, "{entries}");
    assert_eq!(names.last(), Some(&"reset"), "{entries}");
    let last = home.json(&["log", "--limit", "1"]);
    assert_eq!(last[0], entries[names.len() - 1]);
    assert!(home.done(&["log"]).text().lines().last().unwrap().contains("reset"));
}

#[test]
fn a_followed_log_shows_what_happens_meanwhile() {
    let home = with_checkpoints(1);
    let mut child =
        home.raw(&["log", "--follow", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next_checkpoint = || loop {
        let entry: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if entry["entry"] == "checkpoint" {
            break entry;
        }
    };
    next_checkpoint();
    let second = home.checkpoint("{\"n\":2}");
    let told = next_checkpoint().to_string();
    assert!(told.contains(second["checkpoint_id"].as_str().unwrap()), "{told}");
    drop(lines);
    home.checkpoint("{\"n\":3}");
    assert!(child.wait().unwrap().success(), "it ends when nobody reads any more");
}

#[test]
fn status_shows_stores_and_agents() {
    let home = with_checkpoints(2);
    home.done(&["operation", "begin", "deploy"]);
    let status = home.json(&["status"]);
    assert_eq!(status["store"], home.store().to_str().unwrap());
    assert_eq!(status["degraded"], false);
    assert_eq!(
        (&status["agents"][0]["agent_id"], &status["agents"][0]["open_operations"]),
        (&"default".into(), &1.into())
    );
    let text = home.done(&["status"]);
    assert!(text.text().contains("default") && text.text().contains("primary"), "{text}");
}

#[test]
fn a_fallback_takes_over_and_the_receipt_says_so() {
    let home = Home::new();
    home.write("s.json", "{\"n\":1}");
    home.write("file", "");
    let mut command = home.command(&["checkpoint", "--state", "s.json", "--json"]);
    command.env("STATEWARD_STORE__PATH", "file/store").env("STATEWARD_STORE__FALLBACKS", "second");
    let receipt = Answer::of(&mut command).json();
    assert_eq!((&receipt["durable"], &receipt["degraded"]), (&"fallback".into(), &true.into()));
    let attempts = receipt["attempts"].as_array().unwrap();
    assert!(attempts.len() == 2 && attempts[0]["error"].is_string(), "{receipt}");
}
