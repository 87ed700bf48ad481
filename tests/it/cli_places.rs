//! Which store and which checkpoint a command means, and that it makes none where it only needs one.

use assert_cmd::Command;

use crate::cli_home::{Answer, Home};

fn from(home: &Home, directory: &str, arguments: &[&str]) -> Answer {
    let mut command: Command = home.command(arguments);
    Answer::of(command.current_dir(home.path(directory)))
}

#[test]
fn what_needs_a_store_makes_none() {
    let home = Home::new();
    for arguments in [
        &["restore", "latest"][..],
        &["restore", "good", "--dry-run"],
        &["undo"],
        &["reset"],
        &["prune"],
        &["forget", "--dry-run"],
        &["forget", "latest"],
        &["operation", "complete", "deploy"],
        &["drift", "mark", "latest", "bad"],
        &["list"],
        &["verify", "--repair"],
    ] {
        let answer = home.run(arguments);
        assert_eq!(answer.code, 3, "{arguments:?}: {answer}");
        assert!(answer.err.contains("there is no store at"), "{arguments:?}: {answer}");
        assert!(!home.path(".stateward").exists(), "{arguments:?}");
    }
}

#[test]
fn a_workspace_that_is_refused_leaves_no_store_behind() {
    let home = Home::new();
    for arguments in [
        &["checkpoint", "--workspace", "/"][..],
        &["checkpoint", "--workspace", "."],
        &["operation", "begin", "x", "--workspace", "."],
        &["run", "--workspace", ".", "--", "true"],
    ] {
        let answer = home.run(arguments);
        assert_eq!(answer.code, 7, "{arguments:?}: {answer}");
    }
    let made: Vec<_> = std::fs::read_dir(home.path("")).unwrap().collect();
    assert!(made.is_empty(), "{made:?}");
}

#[test]
fn a_checkpoint_is_named_by_the_number_it_is_listed_with() {
    let home = Home::new();
    for n in 1..4 {
        home.write("s.json", format!("{{\"n\":{n}}}"));
        home.done(&["checkpoint", "--state", "s.json", "--label", "keep=yes"]);
    }
    assert_eq!(home.json(&["show", "2"])["seq"], 2);
    home.done(&["restore", "#1"]);
    assert_eq!(home.read("s.json"), b"{\"n\":1}");
    let answer = home.run(&["show", "77"]);
    assert_eq!(answer.code, 3, "{answer}");
    let of_another = home.run(&["show", "2", "--agent", "other"]);
    assert_eq!(of_another.code, 3, "a number is an agent's: {of_another}");
}

#[test]
fn where_an_agent_has_nothing_the_others_are_named() {
    let home = Home::new();
    home.write("s.json", "{}");
    home.done(&["checkpoint", "--state", "s.json", "--agent", "writer"]);
    let told = home.done(&["list"]);
    assert!(told.text().contains("writer"), "{told}");
    assert_eq!(home.json(&["list"]), serde_json::json!([]));
}

#[test]
fn a_store_in_the_directory_is_named_where_that_of_the_workspace_is_meant() {
    let home = Home::new();
    std::fs::create_dir(home.path("project")).unwrap();
    home.write("project/s.json", "{}");
    let own = from(&home, "project", &["checkpoint", "--state", "s.json"]);
    assert_eq!(own.code, 0, "{own}");
    assert!(!own.err.contains("--store"), "{own}");
    let whole = from(&home, "project", &["checkpoint", "--workspace", "."]);
    assert!(whole.err.contains("project/.stateward"), "{whole}");
    let listed = from(&home, "project", &["--json", "show", "latest", "--files"]);
    assert!(!listed.text().contains(".stateward/"), "a store is no part of it: {listed}");
    let back = from(&home, "project", &["restore", "latest", "--workspace", "."]);
    assert_eq!(back.code, 0, "{back}");
    let kept = from(&home, "project", &["list", "--store", ".stateward"]);
    assert!(kept.text().contains("routine"), "{kept}");
}
