//! What makes the command at home: help, completions, the manual page, the doctor.

use serde_json::Value;

use crate::cli_home::{Answer, Home, files};

fn level(told: &Value, check: &str) -> String {
    let findings = told["findings"].as_array().unwrap();
    let found = findings.iter().find(|it| it["check"] == check);
    found.map_or_else(String::new, |it| it["level"].as_str().unwrap().to_owned())
}

#[test]
fn help_names_every_command_and_every_exit_code() {
    let home = Home::new();
    let help = home.done(&["--help"]);
    let commands = [
        "checkpoint",
        "list",
        "show",
        "diff",
        "restore",
        "undo",
        "reset",
        "operation",
        "forget",
        "prune",
        "verify",
        "log",
        "status",
        "doctor",
        "validate",
        "drill",
        "export",
        "import",
        "init",
        "completions",
        "man",
    ];
    for command in commands {
        assert!(help.text().contains(&format!("\n  {command} ")), "{command}");
        assert!(home.done(&[command, "--help"]).text().contains("Usage: stateward"), "{command}");
    }
    for code in 0..=7 {
        assert!(help.text().contains(&format!("\n  {code}  ")), "{code}");
    }
    assert!(!home.store().exists());
}

#[test]
fn completions_and_the_manual_page_are_printed() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.done(&["completions", shell]);
        assert!(script.text().contains("if-match"), "{shell}");
    }
    home.write("stateward.toml", "mistake");
    let page = home.done(&["man"]);
    assert!(page.text().starts_with(".ie") || page.text().starts_with(".TH"), "{page}");
    assert!(page.text().contains("idempotency"), "subcommands have their part");
}

#[test]
fn the_doctor_finds_nothing_wrong_with_a_store_that_works() {
    let home = Home::new();
    let told = home.json(&["doctor"]);
    assert_eq!((&told["healthy"], &*level(&told, "store")), (&true.into(), "warning"));
    home.checkpoint("{}");
    let before = files(&home.path(""));
    let told = home.json(&["doctor"]);
    for check in ["configuration", "store", "lock", "rename", "locking", "space"] {
        assert_eq!(level(&told, check), "ok", "{check} in {told}");
    }
    assert_eq!(files(&home.path("")).len(), before.len(), "nothing is left behind");
    let text = home.done(&["doctor"]);
    assert!(text.text().contains("0 problems"), "{text}");
}

#[test]
fn the_doctor_names_what_is_wrong() {
    let home = Home::new();
    home.checkpoint("{}");
    let file = home.write("file", "");
    let nowhere = file.join("store");
    let variables =
        [("STATEWARD_STORE__FALLBACKS", "near"), ("STATEWARD_RETENTION__FREE_FLOOR", "999999TiB")];
    let mut command = home.command(&["doctor", "--json"]);
    let answer = Answer::of(command.envs(variables));
    let told = answer.json();
    assert_eq!((answer.code, &told["healthy"]), (1, &false.into()), "{answer}");
    assert_eq!(level(&told, "space"), "problem");
    assert_eq!(level(&told, "fallback"), "warning", "it is on the same device");

    let mut command = home.command(&["doctor", "--json"]);
    let answer = Answer::of(command.env("STATEWARD_STORE__PATH", nowhere));
    assert_eq!((answer.code, &*level(&answer.json(), "writing")), (1, "problem"), "{answer}");
}

#[test]
fn an_empty_place_where_a_store_was_is_not_a_fresh_start() {
    let home = Home::new();
    home.write("s.json", "{}");
    assert_eq!(home.run(&["checkpoint", "--state", "s.json"]).code, 0);
    std::fs::rename(home.path(".stateward"), home.path("unmounted")).unwrap();
    let answer = home.run(&["checkpoint", "--state", "s.json"]);
    assert_eq!(answer.code, 1, "{}", answer.err);
    assert!(answer.err.contains("stateward init"), "{}", answer.err);
    assert!(!home.path(".stateward").exists());
    assert_eq!(home.run(&["init"]).code, 0);
    assert_eq!(home.run(&["checkpoint", "--state", "s.json"]).code, 0);
}
