//! The bytes that `checkpoint` takes are those that `restore` gives, from wherever and by whichever
//! name.

use std::process::Stdio;

use crate::cli_home::{Answer, Home};

/// States that a parser in between would change.
fn delicate() -> Vec<Vec<u8>> {
    let large: Vec<String> = (0..250_000).map(|n| format!("\"line {n}\"")).collect();
    let large = format!("{{\"list\":[{}]}}", large.join(","));
    assert!(large.len() > 3_000_000);
    [
        "{}",
        " \t\r\n{ \"b\" : 1 ,\n  \"a\":2 } \n\n",
        "{\"x\":1e400,\"y\":123456789012345678901234567890,\"z\":-0.0,\"w\":1.10}",
        "{\"lone\":\"\\ud800\",\"pair\":\"\\ud83d\\ude00\",\"slash\":\"\\/\"}",
        "{\"a\":1,\"a\":2}",
        &large,
    ]
    .map(|state| state.as_bytes().to_vec())
    .to_vec()
}

#[test]
fn what_goes_in_comes_out_byte_for_byte() {
    for state in delicate() {
        let home = Home::new();
        home.write("s.json", &state);
        let receipt = home.json(&["checkpoint", "--state", "s.json"]);
        assert_eq!(receipt["state_bytes"], state.len());
        assert!(home.state("latest") == state, "{:?}", &state[..state.len().min(80)]);
        home.done(&["restore", "latest", "--state-out", "out.json"]);
        assert!(home.read("out.json") == state);
        assert!(home.done(&["show", "latest", "--state"]).out == state);
    }
}

#[test]
fn stdin_pipes_and_commands_are_read() {
    let home = Home::new();
    let answer = home.run_with_input(&["checkpoint", "--state", "-"], "{\"from\":\"stdin\"}");
    assert_eq!(answer.code, 0, "{answer}");
    assert_eq!(home.state("latest"), b"{\"from\":\"stdin\"}");
    let given = home.run_with_input(&["checkpoint", "--state", "/dev/fd/0"], "{\"from\":\"fd\"}");
    assert_eq!(given.code, 0, "{given}");
    assert_eq!(home.state("latest"), b"{\"from\":\"fd\"}");
    home.done(&["checkpoint", "--state-command", "printf '{\"from\":\"%s\"}' command"]);
    assert_eq!(home.state("latest"), b"{\"from\":\"command\"}");
    let fifo = home.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let child = home.raw(&["checkpoint", "--state", "fifo"]).stdout(Stdio::null()).spawn().unwrap();
    std::fs::write(&fifo, "{\"from\":\"fifo\"}").unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(home.state("latest"), b"{\"from\":\"fifo\"}");
}

#[test]
fn what_is_too_long_is_refused_from_everywhere() {
    let home = Home::new();
    home.write("s.json", format!("{{\"x\":\"{}\"}}", "y".repeat(200)));
    let limited = |arguments: &[&str]| {
        let mut command = home.command(arguments);
        command.env("STATEWARD_STATE__STATE_BYTES_MAX", "100").write_stdin(home.read("s.json"));
        Answer::of(&mut command).error()
    };
    for given in [
        ["--state", "s.json"],
        ["--state", "-"],
        ["--state", "/dev/fd/0"],
        ["--state-command", "yes"],
    ] {
        let (code, error) = limited(&["checkpoint", given[0], given[1], "--json"]);
        assert_eq!((code, &error["kind"]), (2, &"usage".into()), "{given:?}: {error}");
    }
}

#[test]
fn a_file_is_put_back_where_it_was_read_from() {
    let home = Home::new();
    home.write("real/s.json", "{\"n\":1}");
    std::os::unix::fs::symlink("real/s.json", home.path("link.json")).unwrap();
    let receipt = home.json(&["checkpoint", "--state", "link.json"]);
    let file = home.path("real/s.json");
    assert_eq!(receipt["state_file"], file.to_str().unwrap());
    std::fs::write(&file, "{\"n\":2}").unwrap();

    let planned = home.json(&["restore", "latest", "--dry-run"]);
    assert_eq!((&planned["dry_run"], &planned["restored_as"]), (&true.into(), &().into()));
    assert_eq!(std::fs::read(&file).unwrap(), b"{\"n\":2}");
    let restored = home.json(&["restore", "latest"]);
    assert_eq!(restored["files"]["written"][0], file.to_str().unwrap());
    assert_eq!(restored["state"]["n"], 1);
    assert_eq!(std::fs::read(&file).unwrap(), b"{\"n\":1}");
    assert_eq!(home.json(&["show", "latest"])["checkpoint_id"], restored["restored_as"]);
    home.done(&["undo"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"{\"n\":2}");
}

#[test]
fn each_form_of_reference_finds_its_checkpoint() {
    let home = Home::new();
    let first = home.checkpoint("{\"n\":1}");
    home.json(&["checkpoint", "--kind", "pre-operation", "--state-command", "echo '{\"n\":2}'"]);
    home.checkpoint("{\"n\":3}");
    let path = first["path"].as_str().unwrap();
    let id = first["checkpoint_id"].as_str().unwrap();
    let relative = path.strip_prefix(home.path("").to_str().unwrap()).unwrap();
    for reference in [path, relative, id, &id[..id.len() - 1]] {
        assert_eq!(home.state(reference), b"{\"n\":1}", "{reference}");
    }
    std::fs::remove_file(path).unwrap();
    assert_eq!(home.state(path), b"{\"n\":1}", "the view is not needed");
    assert_eq!(home.state("latest:pre_operation"), b"{\"n\":2}\n");
    assert_eq!(home.state("latest"), b"{\"n\":3}");
    assert_eq!(home.state("good"), b"{\"n\":3}");
}

#[test]
fn a_path_names_its_own_store_and_agent() {
    let home = Home::new();
    home.write("s.json", "{\"n\":1}");
    let other = ["checkpoint", "--state", "s.json", "--store", "other", "--agent", "team/a"];
    let receipt = home.json(&other);
    let path = receipt["path"].as_str().unwrap();
    assert!(path.contains("/other/checkpoints/team%2Fa/"), "{path}");
    assert_eq!(home.state(path), b"{\"n\":1}");
    assert_eq!(home.json(&["restore", path])["checkpoint_id"], receipt["checkpoint_id"]);
    assert_eq!(home.json(&["list", "--store", "other"]), serde_json::json!([]));
    assert_eq!(home.json(&["list", "--store", "other", "--agent", "team/a"])[0]["seq"], 3);

    home.checkpoint("{}");
    for named in [["--store", ".stateward"], ["--agent", "b"]] {
        for out in [&["--state-out", "-"][..], &[]] {
            let arguments = [&["restore", path][..], &named, out].concat();
            let (code, error) = home.error(&arguments);
            assert_eq!((code, &error["kind"]), (7, &"refused".into()), "{arguments:?}: {error}");
        }
    }
    let arguments = ["restore", path, "--agent", "b", "--any-agent", "--state-out", "-"];
    assert_eq!(home.done(&arguments).out, b"{\"n\":1}");
}

#[test]
fn differences_are_told_by_path() {
    let home = Home::new();
    let first = home.checkpoint("{\"a\":1,\"b\":[1]}");
    home.checkpoint("{\"b\":[1,2],\"c\":null}");
    let id = first["checkpoint_id"].as_str().unwrap();
    let changes = home.json(&["diff", id, "latest"]);
    let told: Vec<_> = changes["state"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{} {}", it["kind"].as_str().unwrap(), it["path"].as_str().unwrap()))
        .collect();
    for change in ["removed /a", "added /b/1", "added /c"] {
        assert!(told.iter().any(|it| it == change), "{change} is not in {told:?}");
    }
    let text = home.done(&["diff", id, "latest"]);
    assert!(text.text().contains("- /a  1\n"), "{text}");
    assert!(home.done(&["diff", id, id]).text().contains("the same"));
}

#[test]
fn two_at_once_are_both_kept() {
    let home = Home::new();
    home.write("s.json", "{}");
    let begin = |n: usize| {
        let comment = format!("number {n}");
        home.raw(&["checkpoint", "--state", "s.json", "--comment", &comment, "--label", "keep"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(begin).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert_eq!(home.seqs(), [4, 3, 2, 1]);
}

#[test]
fn a_fresh_start_keeps_the_evidence() {
    let home = Home::new();
    let first = home.checkpoint("{\"n\":1}");
    home.done(&["reset"]);
    assert_eq!(home.error(&["restore", "latest"]).0, 3);
    assert_eq!(home.state(first["checkpoint_id"].as_str().unwrap()), b"{\"n\":1}");
}
