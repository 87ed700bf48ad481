//! Guarding a risky step from a script.

use std::os::unix::process::CommandExt;

use crate::cli_home::Home;

fn standing(home: &Home, name: &str) -> String {
    let list = home.json(&["operation", "list"]);
    let found = list.as_array().unwrap().iter().rfind(|it| it["name"] == name);
    found.unwrap()["status"].as_str().unwrap().to_owned()
}

#[test]
fn an_operation_is_opened_and_closed_by_name_or_id() {
    let home = Home::new();
    home.checkpoint("{\"n\":1}");
    let begun = home.json(&["operation", "begin", "deploy"]);
    assert_eq!(begun["kind"], "pre_operation");
    assert_eq!(standing(&home, "deploy"), "open");
    home.done(&["checkpoint", "--state", "state.json", "--operation", "deploy"]);
    assert_eq!(home.json(&["show", "latest"])["operation"]["name"], "deploy");
    home.done(&["operation", "complete", "deploy"]);
    let (code, error) = home.error(&["operation", "complete", "deploy"]);
    assert_eq!((code, &error["kind"]), (3, &"not_found".into()));

    let begun = home.json(&["operation", "begin", "deploy"]);
    let closed = home.json(&["operation", "fail", begun["checkpoint_id"].as_str().unwrap()]);
    assert_eq!(closed["status"], "failed");
    assert_eq!(home.error(&["checkpoint", "--operation", "deploy"]).0, 3);
}

#[test]
fn failing_can_bring_back_what_was_before() {
    let home = Home::new();
    home.checkpoint("{\"n\":1}");
    home.done(&["operation", "begin", "edit", "--state", "state.json"]);
    home.write("state.json", "{\"n\":2}");
    let closed = home.json(&["operation", "fail", "edit", "--restore", "--why", "it looked odd"]);
    assert_eq!(closed["why"], "it looked odd");
    assert!(closed["restored"]["restored_as"].is_string(), "{closed}");
    assert_eq!(home.read("state.json"), b"{\"n\":1}");
}

#[test]
fn a_command_that_succeeds_completes_its_operation() {
    let home = Home::new();
    home.checkpoint("{\"n\":1}");
    let script = "cat; echo err >&2; \"$0\" checkpoint --state state.json -q >/dev/null";
    let binary = env!("CARGO_BIN_EXE_stateward");
    let arguments = ["-q", "operation", "run", "build", "--", "sh", "-c", script, binary];
    let answer = home.run_with_input(&arguments, "in");
    assert_eq!((answer.code, answer.text(), &*answer.err), (0, "in", "err\n"), "{answer}");
    assert_eq!(standing(&home, "build"), "completed");
    assert!(home.seqs().contains(&3), "the command could keep a checkpoint of its own");
}

#[test]
fn a_command_that_fails_gives_its_own_code() {
    let home = Home::new();
    home.checkpoint("{\"n\":1}");
    let run = |script: &str| {
        home.run(&["operation", "run", "x", "--restore", "--", "sh", "-c", script]).code
    };
    assert_eq!(run("echo '{}' > state.json; exit 42"), 42);
    assert_eq!(standing(&home, "x"), "failed");
    assert_eq!(home.read("state.json"), b"{\"n\":1}");
    assert_eq!(run("kill -TERM $$"), 128 + 15);
    let answer = home.run(&["operation", "run", "y", "--", "./no-such-command"]);
    assert!(answer.code == 1 && answer.err.contains("no-such-command"), "{answer}");
    assert_eq!(standing(&home, "y"), "failed");
}

#[test]
fn an_interrupt_ends_the_command_and_is_written_down() {
    let home = Home::new();
    home.checkpoint("{\"n\":1}");
    // As the terminal does, to everything in the foreground; here to a group of its own.
    let script = "kill -INT 0";
    let status = home
        .raw(&["operation", "run", "x", "--", "sh", "-c", script])
        .process_group(0)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(128 + 2), "{status}");
    assert_eq!(standing(&home, "x"), "failed");
}

#[test]
fn what_is_guarded_is_how_things_stand_now() {
    let home = Home::new();
    home.write("w/notes", "monday");
    home.write("s.json", "{\"day\":\"monday\"}");
    home.done(&["--store", ".s", "checkpoint", "--state", "s.json", "--workspace", "w"]);
    home.write("w/notes", "tuesday");
    home.write("s.json", "{\"day\":\"tuesday\"}");
    let script = "echo broken > w/notes; echo broken > s.json; exit 4";
    let risky =
        ["--store", ".s", "operation", "run", "risky", "--restore", "--", "sh", "-c", script];
    assert_eq!(home.run(&risky).code, 4);
    assert_eq!(home.read("w/notes"), b"tuesday");
    assert_eq!(home.read("s.json"), b"{\"day\":\"tuesday\"}");
}
