//! What scripts rely on: keys of the JSON, exit codes, what is on which stream.

use std::process::Stdio;

use serde_json::Value;
use stateward::{CheckpointManager, Options};

use crate::cli_home::{Answer, Home, files};

#[track_caller]
fn check_keys(value: &Value, keys: &[&str]) {
    for key in keys {
        assert!(value.get(key).is_some(), "{key} is missing in {value}");
    }
}

#[test]
fn the_keys_of_receipts_lists_and_restores() {
    const FACTS: [&str; 14] = [
        "checkpoint_id",
        "agent_id",
        "kind",
        "seq",
        "parent",
        "path",
        "created_at",
        "digest",
        "state_digest",
        "state_bytes",
        "workspace_files",
        "stored_bytes",
        "durable",
        "inherited",
    ];
    const RESTORED: [&str; 8] = [
        "requested",
        "checkpoint_id",
        "walked_past",
        "tainted",
        "recovery_checkpoint_id",
        "restored_as",
        "files",
        "dry_run",
    ];
    let home = Home::new();
    let receipt = home.checkpoint("{\"n\":1}");
    check_keys(&receipt, &FACTS);
    check_keys(&receipt, &["degraded", "attempts", "skipped", "unsettled"]);
    assert_eq!((&receipt["kind"], &receipt["durable"]), (&"routine".into(), &"local".into()));
    check_keys(&home.json(&["list"])[0], &FACTS);
    check_keys(&home.json(&["show", "latest"]), &FACTS);
    let restored = home.json(&["restore", "latest"]);
    check_keys(&restored, &RESTORED);
    check_keys(&restored["files"], &["written", "removed", "unchanged", "conflicts"]);
    assert_eq!(restored["state"], serde_json::json!({ "n": 1 }));
    let written = home.json(&["restore", "latest", "--state-out", "out.json"]);
    check_keys(&written, &RESTORED);
    assert_eq!(written.get("state"), None);
    assert_eq!(written["recovery_checkpoint_id"], Value::Null);
}

#[test]
fn json_of_a_restore_carries_the_state_as_it_is() {
    let home = Home::new();
    let state = "{\"big\":1e400,\"lone\":\"\\ud800\"}";
    home.checkpoint(state);
    let told = home.done(&["restore", "latest", "--json"]);
    assert!(told.text().contains(&format!("\"state\":{state}")), "{told}");
}

#[test]
fn words_travel_with_the_checkpoint() {
    let home = Home::new();
    home.write("s.json", "{}");
    let receipt = home.json(&[
        "checkpoint",
        "--state",
        "s.json",
        "--comment",
        "a comment",
        "--label",
        "env=prod",
        "--label",
        "keep",
        "--meta",
        "{\"run\":17}",
    ]);
    let shown = home.json(&["show", receipt["checkpoint_id"].as_str().unwrap()]);
    assert_eq!(shown["comment"], "a comment");
    assert_eq!(shown["labels"], serde_json::json!({ "env": "prod", "keep": "" }));
    assert_eq!(shown["metadata"], serde_json::json!({ "run": 17 }));
    assert!(home.done(&["list"]).text().contains("env=prod, keep, a comment"));
}

#[test]
fn the_same_idempotency_key_gives_the_same_checkpoint() {
    let home = Home::new();
    home.write("s.json", "{\"n\":1}");
    let asked = ["checkpoint", "--state", "s.json", "--idempotency-key", "step-1"];
    let first = home.json(&asked);
    let again = home.json(&asked);
    assert_eq!(first["checkpoint_id"], again["checkpoint_id"]);
    assert_eq!(home.seqs(), [1]);
    home.write("s.json", "{\"n\":2}");
    assert_eq!(home.error(&asked).1["kind"], "refused");
}

#[test]
fn a_stale_if_match_is_told_and_keeps_nothing() {
    let home = Home::new();
    home.checkpoint("{\"n\":1}");
    home.checkpoint("{\"n\":2}");
    let (code, error) = home.error(&["checkpoint", "--state", "state.json", "--if-match", "1"]);
    assert_eq!((code, &error["kind"]), (1, &"stale".into()));
    home.done(&["checkpoint", "--state", "state.json", "--if-match", "2"]);
}

#[test]
fn each_kind_of_error_has_its_exit_code() {
    let home = Home::new();
    home.checkpoint("{\"n\":1}");
    home.done(&["init"]);
    let missing = "01900000-0000-7000-8000-000000000000";
    let cases: [(i32, &str, &[&str]); 9] = [
        (1, "failed", &["checkpoint", "--state-command", "exit 3"]),
        (2, "usage", &["checkpoint", "--state-command", "echo '[1]'"]),
        (2, "usage", &["checkpoint", "--meta", "{"]),
        (2, "usage", &["list", "--kind", "daily"]),
        (2, "usage", &["restore", "newest"]),
        (2, "usage", &["--agent", "-x", "list"]),
        (3, "not_found", &["restore", missing]),
        (3, "not_found", &["checkpoint", "--state", "missing.json"]),
        (7, "refused", &["checkpoint", "--workspace", "."]),
    ];
    for (code, kind, arguments) in cases {
        let (answered, error) = home.error(arguments);
        assert_eq!((answered, &error["kind"]), (code, &kind.into()), "{arguments:?}: {error}");
    }
}

#[test]
fn a_store_that_is_not_there_is_said_with_the_way_to_one() {
    let home = Home::new();
    for command in [&["list"][..], &["restore", "latest", "--state-out", "-"], &["status"]] {
        let (code, error) = home.error(command);
        assert_eq!((code, &error["kind"]), (3, &"not_found".into()), "{command:?}");
        assert!(error["hint"].as_str().unwrap().contains("stateward init"), "{error}");
    }
    assert!(!home.store().exists(), "looking makes nothing");
}

#[test]
fn a_held_store_is_locked_to_writers_and_open_to_lookers() {
    let home = Home::new();
    home.checkpoint("{\"n\":1}");
    let held = CheckpointManager::open(Options::new(home.store())).unwrap();
    let mut command = home.command(&["checkpoint", "--state", "state.json", "--json"]);
    let (code, error) = Answer::of(command.env("STATEWARD_STORE__LOCK_WAIT_MS", "0")).error();
    assert_eq!((code, &error["kind"]), (5, &"locked".into()), "{error}");
    let holder = format!("process {}", std::process::id());
    assert!(error["message"].as_str().unwrap().contains(&holder), "{error}");
    assert_eq!(home.state("latest"), b"{\"n\":1}");
    for command in [&["list"][..], &["show", "latest"], &["log"], &["status"]] {
        home.json(command);
    }
    drop(held);
    home.checkpoint("{\"n\":2}");
}

#[test]
fn damage_is_told_and_what_is_sound_is_given() {
    let home = Home::new();
    home.checkpoint("{\"word\":\"first\"}");
    // Too long to lie in the checkpoint's own record: the record stays sound, a block does not.
    let numbers: Vec<String> =
        (0..9000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_string()).collect();
    let long = format!("{{\"word\":\"second\",\"long\":[{}]}}", numbers.join(","));
    let second = home.checkpoint(&long);
    for file in files(&home.store()) {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes.windows(8).position(|window| window == b"\"second\"");
        if let Some(at) = found {
            let mut bytes = bytes;
            bytes[at + 1] ^= 1;
            std::fs::write(&file, bytes).unwrap();
        }
    }
    let id = second["checkpoint_id"].as_str().unwrap();
    let (code, error) = home.error(&["restore", id, "--state-out", "-"]);
    assert_eq!((code, &error["kind"]), (4, &"damaged".into()), "{error}");
    let walked = home.done(&["restore", "latest", "--state-out", "-"]);
    assert_eq!(walked.out, b"{\"word\":\"first\"}");
    assert!(walked.err.contains(id), "{walked}");
}

#[test]
fn a_store_that_takes_nothing_more_is_unstored() {
    let home = Home::new();
    home.checkpoint(&format!("{{\"fill\":\"{}\"}}", "x".repeat(9000)));
    let mut command = assert_cmd::Command::from_std({
        let mut shell = std::process::Command::new("sh");
        // An ignored SIGXFSZ turns the limit into an error of the write, as a full disk gives one.
        shell.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"]);
        shell.arg(env!("CARGO_BIN_EXE_stateward")).current_dir(home.path(""));
        shell.args(["checkpoint", "--state", "state.json", "--json"]);
        shell
    });
    let (code, error) = Answer::of(&mut command).error();
    assert_eq!((code, &error["kind"]), (6, &"unstored".into()), "{error}");
    assert_eq!(error["attempts"].as_array().unwrap().len(), 1, "{error}");
}

#[test]
fn errors_for_people_have_words_and_a_hint() {
    let home = Home::new();
    home.checkpoint("{}");
    let answer = home.run(&["restore", "newest"]);
    assert!(answer.err.starts_with("error: ") && answer.err.contains("\nhint: "), "{answer}");
    let answer = home.run(&["lst"]);
    assert!(answer.code == 2 && answer.err.contains("'list'"), "{answer}");
    let (code, error) = home.error(&["lst"]);
    assert_eq!((code, &error["kind"]), (2, &"usage".into()));
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let home = Home::new();
    home.checkpoint(&format!("{{\"long\":\"{}\"}}", "x".repeat(1_000_000)));
    for arguments in [&["show", "latest", "--state"][..], &["restore", "latest", "--json"]] {
        let mut child =
            home.raw(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

#[test]
fn nothing_is_coloured_where_nobody_looks() {
    let home = Home::new();
    home.checkpoint("{}");
    for arguments in [&["doctor"][..], &["list"], &["restore", "newest"]] {
        let answer = home.run(arguments);
        assert!(!answer.out.contains(&0x1b) && !answer.err.contains('\x1b'), "{answer}");
    }
}
