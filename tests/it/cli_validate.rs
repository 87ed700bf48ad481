//! `validate` and `drill` on the command line: what they print, how they end, and what they say where
//! the ground does not carry.

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

fn stateward(home: &Path) -> Command {
    let mut command = Command::cargo_bin("stateward").unwrap();
    command.current_dir(home).env_clear().env("HOME", home);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command
}

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn run(home: &Path, arguments: &[&str]) -> Said {
    let ran = stateward(home).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: ran.status.code().unwrap(), out: text(ran.stdout), err: text(ran.stderr) }
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.err))
}

const FEW: [&str; 3] = ["two-homes-one-fallback", "old-format-read", "private-by-default"];

#[test]
fn a_run_says_what_was_tried_and_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let said = run(home.path(), &[&["validate", "--junit", "report.xml"], &FEW[..]].concat());
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    for name in FEW {
        assert!(said.out.contains(name), "{}", said.out);
    }
    assert!(said.out.contains("lost: nothing.\nEvery promise held."), "{}", said.out);
    let left = std::fs::read_dir(home.path()).unwrap().map(|it| it.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["report.xml"]);
    let xml = std::fs::read_to_string(home.path().join("report.xml")).unwrap();
    assert!(xml.contains("tests=\"3\" failures=\"0\""), "{xml}");
}

#[test]
fn json_has_the_same_and_the_cases_follow_from_the_seed() {
    let home = tempfile::tempdir().unwrap();
    let arguments = ["validate", "--json", "two-homes-one-fallback", "--seed", "5"];
    let [first, again] = [0, 1].map(|_| json(&run(home.path(), &arguments)));
    assert_eq!(first["holds"], true);
    assert_eq!(first["seed"], 5);
    assert_eq!(first["tried"]["lost"], 0);
    assert_eq!(first["scenarios"][0]["promises"][0], "1. Acknowledged means durable");
    assert_eq!(first["scenarios"], again["scenarios"]);
}

#[test]
fn the_list_names_every_scenario_and_what_it_proves() {
    let home = tempfile::tempdir().unwrap();
    let listed = json(&run(home.path(), &["validate", "--list", "--json"]));
    let listed = listed.as_array().unwrap();
    assert!(listed.len() >= 30, "{}", listed.len());
    assert!(listed.iter().all(|one| !one["about"].as_str().unwrap().is_empty()));
}

#[test]
fn a_scenario_of_ones_own_is_run_and_a_wrong_one_is_named() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("mine");
    std::fs::create_dir(&dir).unwrap();
    let shipped = include_str!("../../validate/kill-at-every-write.toml");
    let mine = shipped.replace("kill-at-every-write", "mine").replace("quick = 120", "quick = 3");
    std::fs::write(dir.join("mine.toml"), &mine).unwrap();
    let told = json(&run(home.path(), &["validate", "--json", "--scenarios", "mine"]));
    assert_eq!(told["scenarios"][0]["tried"]["cases"], 3);
    let wrongs = [
        ("settle", "dance", "\"dance\" is no step"),
        ("then =", "than =", "unknown field `than`"),
        ("2. Never half", "2. Never whole", "is no promise"),
        ("name = \"mine\"", "name = \"yours\"", "not that of its file"),
        ("nothing half is served", "all is well", "unknown variant `all is well`"),
    ];
    for (right, wrong, told) in wrongs {
        std::fs::write(dir.join("mine.toml"), mine.replacen(right, wrong, 1)).unwrap();
        let said = run(home.path(), &["validate", "--scenarios", "mine"]);
        assert_eq!(said.code, 2, "{wrong}: {}", said.out);
        assert!(said.err.contains("mine.toml") && said.err.contains(told), "{}", said.err);
    }
    let said = run(home.path(), &["validate", "no-such-scenario"]);
    assert_eq!(said.code, 3, "{}", said.err);
}

#[test]
fn a_workload_that_fails_by_itself_is_no_promise_kept() {
    let home = tempfile::tempdir().unwrap();
    let shipped = include_str!("../../validate/kill-at-every-write.toml");
    let mine = shipped.replacen("\"settle\"", "\"undo a\"", 1);
    std::fs::write(home.path().join("kill-at-every-write.toml"), mine).unwrap();
    let said = run(home.path(), &["validate", "--scenarios", "."]);
    assert_eq!(said.code, 4, "{}", said.out);
    assert!(said.out.contains("fails by itself"), "{}", said.out);
}

#[test]
fn ground_that_does_not_carry_is_told_in_plain_words() {
    let home = tempfile::tempdir().unwrap();
    let said = run(home.path(), &["validate", "--dir", "/proc/nowhere", "old-format-read"]);
    assert_eq!(said.code, 7, "{}", said.out);
    assert!(said.err.contains("the promises cannot be tried in /proc/nowhere"), "{}", said.err);
    assert!(!said.err.contains("panicked") && !said.err.contains("backtrace"), "{}", said.err);
}

#[test]
fn a_drill_brings_everything_back_and_says_what_does_not() {
    let home = tempfile::tempdir().unwrap();
    let store = ["--store", "store"];
    std::fs::write(home.path().join("state.json"), "{\"n\": 1}").unwrap();
    std::fs::create_dir(home.path().join("work")).unwrap();
    std::fs::write(home.path().join("work/notes.txt"), "notes").unwrap();
    let keep = ["checkpoint", "--state", "state.json", "--workspace", "work"];
    assert_eq!(run(home.path(), &[&keep[..], &store].concat()).code, 0);
    let drilled = run(home.path(), &[&["drill", "--json"], &store[..]].concat());
    assert_eq!(drilled.code, 0, "{}", drilled.err);
    let told = &json(&drilled)[0];
    assert_eq!((&told["sound"], &told["files"]), (&true.into(), &1.into()));
    assert_eq!(told["bytes"], "{\"n\": 1}notes".len());
    assert!(told["recovery_point_ms"].is_u64() && told["recovery_time_ms"].is_u64());
    damage_the_log(&home.path().join("store/log"));
    let drilled = run(home.path(), &[&["drill"], &store[..]].concat());
    assert_eq!(drilled.code, 4, "{}{}", drilled.out, drilled.err);
    assert!(drilled.out.contains("1 of 1 do not come back."), "{}", drilled.out);
    let left = std::fs::read_dir(home.path()).unwrap().map(|it| it.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_str().unwrap().starts_with(".stateward")));
}

/// Breaks the state that lies in the log, wherever it is.
fn damage_the_log(log: &Path) {
    for entry in std::fs::read_dir(log).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let wanted = b"{\"n\": 1}";
        while let Some(at) = bytes.windows(wanted.len()).position(|it| it == wanted) {
            bytes[at] = b'[';
        }
        std::fs::write(&path, bytes).unwrap();
    }
}
