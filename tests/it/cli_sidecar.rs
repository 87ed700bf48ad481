//! Each command does the same, and says the same, whether a sidecar holds the store or nobody does.

use serde_json::Value;

use crate::cli_home::{Answer, Home};

/// Commands in their order, each on what the ones before it left.
const SCRIPT: &[&[&str]] = &[
    &["init"],
    &["init"],
    &["checkpoint", "--state", "s1.json", "--comment", "one", "--label", "k=v"],
    &["checkpoint", "--state", "s2.json", "--idempotency-key", "key", "--meta", "{\"a\":[1]}"],
    &["checkpoint", "--state", "s2.json", "--idempotency-key", "key", "--meta", "{\"a\":[1]}"],
    &["checkpoint", "--state", "s1.json", "--idempotency-key", "key"],
    &["checkpoint", "--state", "s1.json", "--if-match", "99"],
    &["checkpoint", "--state-command", "printf '{\"from\":\"command\"}'"],
    &["checkpoint", "--state-command", "exit 3"],
    &["checkpoint", "--state", "torn.json"],
    &["checkpoint", "--state", "nowhere.json"],
    &["checkpoint", "--workspace", "work", "--state-file", "notes.txt", "--kind", "recovery"],
    &["list"],
    &["list", "--kind", "recovery", "--limit", "1"],
    &["show", "latest"],
    &["show", "latest", "--state"],
    &["show", "latest:recovery", "--files"],
    &["diff", "latest:recovery", "latest"],
    &["operation", "begin", "deploy", "--state", "s1.json"],
    &["operation", "list"],
    &["operation", "fail", "deploy", "--restore", "--why", "it broke"],
    &["operation", "complete", "deploy"],
    &["operation", "run", "try", "--state", "s2.json", "--", "true"],
    &["operation", "run", "again", "--restore", "--state", "s2.json", "--", "false"],
    &["restore", "latest", "--dry-run"],
    &["restore", "latest"],
    &["undo"],
    &["undo", "--dry-run"],
    &["restore", "0123456789"],
    &["restore", "good", "--state-out", "-"],
    &["export", "latest", "bundle"],
    &["import", "bundle", "--as", "other"],
    &["import", "s1.json"],
    &["list", "--agent", "other"],
    &["forget", "--keep-last", "2", "--dry-run"],
    &["forget", "--keep-last", "2"],
    &["forget", "latest:routine"],
    &["forget", "latest:routine", "--agent", "nobody"],
    &["verify"],
    &["verify", "--repair"],
    &["observe", "--action", "edit", "--input", "x", "--ok", "--metric", "latency_s=2.5"],
    &["observe", "--event", "waiting"],
    &["checkpoint", "--state", "s2.json", "--workspace", "work", "--state-file", "notes.txt"],
    &["drift"],
    &["drift", "explain"],
    &["drift", "mark", "latest", "bad", "--why", "a whim"],
    &["drift", "mark", "latest", "good"],
    &["drift", "replay", "stream.jsonl"],
    &["drill"],
    &["diff", "latest"],
    &["restore", "latest", "--to", "out"],
    &["log"],
    &["log", "--limit", "2"],
    &["status"],
    &["status", "--show-config"],
    &["forget", "latest", "--erase"],
    &["prune"],
    &["verify"],
    &["reset"],
    &["restore", "latest"],
    &["list", "--agent", "no/agent"],
    &["validate", "--list"],
    &["completions", "bash"],
    &["man"],
];

/// Commands that are about who holds a store, so that they have to differ. What they do beside a
/// sidecar has tests of its own.
const HOLDERS: [&str; 3] = ["run", "serve", "doctor"];

/// A directory with what the script is about.
fn field() -> Home {
    let home = Home::new();
    home.write("s1.json", r#"{"n":1,"big":9007199254740993}"#);
    home.write("s2.json", r#"{"n":2}"#);
    home.write("torn.json", r#"{"n":"#);
    home.write("notes.txt", "some notes\n");
    let line = r#"{"at":"2026-01-05T10:00:00Z","observation":{"step":1,"ok":true}}"#;
    home.write("stream.jsonl", format!("{line}\n"));
    home.write("work/a.txt", "a\n");
    home.write("work/deep/b.txt", "b\n");
    home
}

/// What a command said, without what differs from one run to another: where it ran, ids, times.
fn told(home: &Home, answer: &Answer) -> String {
    let place = home.path("").display().to_string();
    let text = format!("{answer}").replace(place.trim_end_matches('/'), "HOME");
    plain(&text)
}

/// Replaces ids and times by a letter each, and the sizes that depend on them.
fn plain(text: &str) -> String {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || "-:.".contains(letter);
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
        if end == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        out.push_str(&word(&rest[..end]));
        rest = &rest[end..];
    }
    out
}

fn word(word: &str) -> String {
    let word = word.trim_end_matches(".json");
    let dashes = word.matches('-').count();
    match word {
        _ if dashes >= 4 && word.len() >= 36 => {
            // The number and the kind before an id in a file's name stay.
            format!("{}ID", &word[..word.len() - 36])
        }
        _ if is_of_log(word) => "ENTRY".to_owned(),
        _ if word.starts_with("20") && word.contains('T') => "TIME".to_owned(),
        _ if word.starts_with("blake3:") => "DIGEST".to_owned(),
        _ => word.to_owned(),
    }
}

/// Whether a word is the id of an entry of the log: a time, and a name.
fn is_of_log(word: &str) -> bool {
    let time = word.split_once('-').map_or("", |(time, _)| time);
    time.len() == 14 && time.bytes().all(|byte| byte.is_ascii_digit())
}

/// What depends on when a command ran, on how the log lies on the disk, and on the disk.
const UNSTEADY: [&str; 13] = [
    "store_time_ms",
    "stored_bytes",
    "digest",
    "modified_at",
    "bytes_read",
    "segments",
    "bytes",
    "recovery_point_ms",
    "recovery_time_ms",
    "log_bytes",
    "free_bytes",
    "before_bytes",
    "after_bytes",
];

/// What of a JSON value is the same in every run.
fn steady(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in UNSTEADY {
                fields.remove(name);
            }
            fields.values_mut().for_each(steady);
        }
        Value::Array(items) => items.iter_mut().for_each(steady),
        _ => {}
    }
}

/// The arguments, and behind them that the store is meant which the sidecar has: that of a workspace
/// lies elsewhere.
fn in_store(home: &Home, arguments: &[&str]) -> Vec<String> {
    let store = home.store().display().to_string();
    let mut all: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
    let at = all.iter().position(|it| it == "--").unwrap_or(all.len());
    all.splice(at..at, ["--store".to_owned(), store]);
    all
}

fn run(home: &Home, arguments: &[&str]) -> (i32, String) {
    let all = in_store(home, &[&["--json"], arguments].concat());
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let answer = home.run(&all);
    let mut said = answer.out.clone();
    if let Ok(mut value) = serde_json::from_slice::<Value>(&said) {
        steady(&mut value);
        said = value.to_string().into_bytes();
    }
    let answer = Answer { out: said, ..answer };
    (answer.code, told(home, &answer))
}

#[test]
fn no_command_is_left_out() {
    let help = Home::new().done(&["--help"]);
    let listed = help.text().split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let names = listed.lines().filter(is_name).filter_map(|line| line.split_whitespace().next());
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        let tried = SCRIPT.iter().any(|arguments| arguments[0] == name);
        assert!(tried || HOLDERS.contains(&name), "{name} is not tried beside a sidecar");
    }
}

#[test]
fn each_command_does_the_same_with_a_sidecar_and_without() {
    let (alone, kept) = (field(), field());
    alone.done(&["checkpoint", "--agent", "first", "--state", "s1.json"]);
    let sidecar = kept.serve(&[]);
    kept.done(&["checkpoint", "--agent", "first", "--state", "s1.json"]);
    for arguments in SCRIPT {
        let (expected, found) = (run(&alone, arguments), run(&kept, arguments));
        assert_eq!(expected, found, "{arguments:?}");
    }
    let (exit, err) = sidecar.stop();
    assert!(exit.success(), "{err}");
    // What was done through the sidecar is in the store like anything else.
    for arguments in [&["list"][..], &["operation", "list"], &["list", "--agent", "other"]] {
        assert_eq!(run(&alone, arguments), run(&kept, arguments), "{arguments:?}");
    }
}

#[test]
fn words_for_people_are_the_same_too() {
    let (alone, kept) = (field(), field());
    let _sidecar = kept.serve(&[]);
    for arguments in [
        &["checkpoint", "--state", "s1.json"][..],
        &["checkpoint", "--workspace", "work"],
        &["operation", "begin", "deploy"],
        &["operation", "fail", "deploy", "--restore"],
        &["restore", "latest", "--state-out", "-"],
        &["checkpoint", "--state", "torn.json"],
        &["reset"],
    ] {
        let [expected, found] = [&alone, &kept].map(|home| {
            let all = in_store(home, arguments);
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            told(home, &home.run(&all))
        });
        assert_eq!(expected, found, "{arguments:?}");
    }
}

#[test]
fn what_only_the_sidecar_knows_is_asked_of_it() {
    let home = field();
    let sidecar = home.serve(&[]);
    let observe = "/v1/agents/default/observe";
    assert_eq!(sidecar.post(observe, r#"[{"step":1},{"step":2},{"step":3}]"#).status, 200);
    let drift = home.json(&["drift"]);
    assert_eq!(drift["verdict"]["observation"], 3, "what is not written down yet: {drift}");
    let doctor = home.json(&["doctor"]);
    let lock = doctor["findings"].as_array().unwrap().iter().find(|it| it["check"] == "lock");
    let told = lock.unwrap()["message"].as_str().unwrap();
    let url = sidecar.told["url"].as_str().unwrap();
    assert!(told.contains(&format!("it answers at {url}, and commands ask it")), "{told}");
    assert_eq!(home.json(&["status"])["targets"][0]["writable"], true);
}

#[test]
fn the_path_in_a_receipt_is_there_when_the_command_ends() {
    let home = field();
    let _sidecar = home.serve(&[]);
    let receipt = home.json(&["checkpoint", "--state", "s1.json"]);
    assert!(std::path::Path::new(receipt["path"].as_str().unwrap()).exists(), "{receipt}");
}

#[test]
fn a_sidecar_is_found_by_its_address_where_its_store_is_not_to_be_seen() {
    let (home, away) = (field(), field());
    let sidecar = home.serve(&[]);
    home.done(&["checkpoint", "--state", "s1.json"]);
    let url = sidecar.told["url"].as_str().unwrap().to_owned();
    let ask = |arguments: &[&str]| {
        let mut command = away.command(arguments);
        Answer::of(command.env("STATEWARD_URL", &url))
    };
    let made = ask(&["checkpoint", "--state", "s2.json", "--json"]);
    assert_eq!((made.code, made.json()["seq"].as_u64()), (0, Some(2)), "{made}");
    assert_eq!(ask(&["list", "--json"]).json().as_array().unwrap().len(), 2);
    assert_eq!(ask(&["show", "latest", "--state"]).text(), r#"{"n":2}"#);
    assert_eq!(ask(&["restore", "latest", "--state-out", "-"]).text(), r#"{"n":2}"#);
    assert_eq!(ask(&["diff", "latest"]).code, 7);
    assert!(!away.store().exists(), "nothing was made where the command ran");
    drop(sidecar);
    let alone = ask(&["checkpoint", "--state", "s2.json", "--json"]);
    assert_eq!(alone.code, 0, "where nobody answers the store is opened: {alone}");
    let wrong =
        Answer::of(away.command(&["list", "--json", "--store", "x"]).env("STATEWARD_URL", "x"));
    assert_eq!(wrong.error().0, 3, "another store was named: {wrong}");
}

#[test]
fn a_sidecar_on_a_port_is_asked_with_its_token() {
    let (home, away) = (field(), field());
    let sidecar = home.serve(&["--listen", "127.0.0.1:0", "--token-file", "token"]);
    home.done(&["checkpoint", "--state", "s1.json"]);
    let url = sidecar.told["tcp_url"].as_str().unwrap().to_owned();
    let token = String::from_utf8(home.read("token")).unwrap();
    let ask = |token: &str, arguments: &[&str]| {
        let mut command = away.command(arguments);
        Answer::of(command.env("STATEWARD_URL", &url).env("STATEWARD_TOKEN", token.trim()))
    };
    let made = ask(&token, &["checkpoint", "--state", "s2.json", "--json"]);
    assert_eq!((made.code, made.json()["seq"].as_u64()), (0, Some(2)), "{made}");
    assert_eq!(ask(&token, &["list", "--json"]).json().as_array().unwrap().len(), 2);
    assert_eq!(ask(&token, &["restore", "latest", "--state-out", "-"]).text(), r#"{"n":2}"#);
    assert!(!away.store().exists(), "nothing was made where the command ran");
    let wrong = ask("wrong", &["checkpoint", "--state", "s2.json", "--json"]);
    let (code, error) = wrong.error();
    assert_eq!(code, 7, "{error}");
    assert!(!format!("{wrong}").contains(token.trim()), "{wrong}");
}
