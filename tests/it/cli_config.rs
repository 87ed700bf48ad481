//! Configuration on the command line: which value wins, where it came from, what a mistake says.

use serde_json::Value;

use crate::cli_home::{Answer, Home};

/// Runs with variables of the environment.
fn with(home: &Home, variables: &[(&str, &str)], arguments: &[&str]) -> Answer {
    let mut command = home.command(arguments);
    command.envs(variables.iter().copied());
    Answer::of(&mut command)
}

#[track_caller]
fn check_value(entries: &Value, key: &str, value: impl Into<Value>, origin: &str) {
    let entry = entries.as_array().unwrap().iter().find(|it| it["key"] == key).unwrap();
    assert_eq!(entry["value"], value.into(), "{key}");
    let from = entry["origin"].as_str().unwrap();
    assert!(from.ends_with(origin), "{key} came from {from}, not {origin}");
}

#[test]
fn each_value_is_shown_with_its_origin() {
    let home = Home::new();
    home.write("stateward.toml", "agent = \"here\"\n[store]\npath = \"kept\"\n");
    home.write(".config/stateward/config.toml", "agent = \"user\"\n[retry]\nattempts_max = 2\n");
    home.write("named.toml", "[retry]\njitter = 0.1\n");
    let variables = [("STATEWARD_STORE__LOCK_WAIT_MS", "7"), ("STATEWARD_LOG", "warn")];
    let arguments = ["--config", "named.toml", "--agent", "flag", "status", "--config", "--json"];
    let entries = with(&home, &variables, &arguments).json();
    check_value(&entries, "agent", "flag", "--agent");
    check_value(&entries, "store.path", home.path("kept").to_str().unwrap(), "/stateward.toml");
    check_value(&entries, "store.lock_wait_ms", 7, "STATEWARD_STORE__LOCK_WAIT_MS");
    check_value(&entries, "retry.attempts_max", 2, "/.config/stateward/config.toml");
    check_value(&entries, "retry.jitter", 0.1, "/named.toml");
    check_value(&entries, "retention.disk_budget", Value::Null, "default");
    let text = home.done(&["status", "--config"]);
    assert!(text.text().contains("store.fallbacks"), "{text}");
}

#[test]
fn what_is_configured_is_what_happens() {
    let home = Home::new();
    home.write("conf/c.toml", "agent = \"team/a\"\n[store]\npath = \"store\"\n");
    home.write("s.json", "{}");
    let arguments = ["checkpoint", "--state", "s.json", "--json"];
    let receipt = with(&home, &[("STATEWARD_CONFIG", "conf/c.toml")], &arguments).json();
    assert_eq!(receipt["agent_id"], "team/a");
    assert!(home.path("conf/store/store.json").exists(), "relative to the file");
    let receipt =
        with(&home, &[("STATEWARD_STORE__PATH", "b"), ("STATEWARD_AGENT", "c")], &arguments);
    assert_eq!(receipt.json()["agent_id"], "c");
    assert!(home.path("b/store.json").exists(), "relative to the working directory");
}

#[test]
fn mistakes_say_where_and_what_is_allowed() {
    let home = Home::new();
    home.write("bad.toml", "[store]\nlock_wait = 3\n");
    let answer = home.run(&["--config", "bad.toml", "list"]);
    assert_eq!(answer.code, 2, "{answer}");
    for part in ["bad.toml", "line 2, column 1", "^", "`lock_wait_ms`"] {
        assert!(answer.err.contains(part), "{part} is not in {answer}");
    }
    let cases = [
        ("STATEWARD_STORE__LOCK_WAIT", "3", "STATEWARD_STORE__LOCK_WAIT_MS"),
        ("STATEWARD_RETRY__JITTER", "much", "retry.jitter"),
        ("STATEWARD_LOG__BATCH_ALIGN", "9", "power of two"),
        ("STATEWARD_STATE__DEPTH_MAX", "0", "depth_max"),
        ("STATEWARD_CONFIG", "missing.toml", "missing.toml"),
    ];
    for (name, value, told) in cases {
        let (code, error) = with(&home, &[(name, value)], &["list", "--json"]).error();
        let message = error["message"].as_str().unwrap();
        assert_eq!(code, 2, "{error}");
        assert!(message.contains(name) || name == "STATEWARD_CONFIG", "{error}");
        assert!(message.contains(told), "{told} is not in {error}");
    }
}

#[test]
fn init_writes_a_file_that_changes_nothing_and_makes_the_store() {
    let home = Home::new();
    let before = home.json(&["status", "--config"]);
    let told = home.json(&["init"]);
    assert_eq!(told["store"], home.store().to_str().unwrap());
    assert!(home.path(".stateward/store.json").exists());
    assert_eq!(home.json(&["status", "--config"]), before);
    assert!(home.read("stateward.toml").starts_with(b"# "));
    home.write("stateward.toml", "agent = \"mine\"\n");
    std::fs::remove_dir_all(home.store()).unwrap();
    let told = home.json(&["init"]);
    assert_eq!(told["config_written"], false);
    assert!(home.path(".stateward/store.json").exists(), "a store that went is made anew");
    assert_eq!(home.read("stateward.toml"), b"agent = \"mine\"\n");
}
