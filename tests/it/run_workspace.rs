//! `run` with a workspace and state files: when they are kept, and what a crash puts back.

use std::path::Path;

use serde_json::Value;
use stateward::{CheckpointManager, Options};

use crate::cli_home::{Answer, Home};
use crate::run_home::until;

fn list(home: &Home) -> Vec<Value> {
    // The store of a workspace is found from within it.
    let list = home.json(&["list", "--store", &store(home)]);
    list.as_array().unwrap().clone()
}

fn store(home: &Home) -> String {
    home.store_of("w").to_str().unwrap().to_owned()
}

fn files_of(home: &Home, checkpoint: &Value) -> Vec<String> {
    let store = CheckpointManager::open_to_look(Options::new(store(home))).unwrap();
    let agent = store.agent("default").unwrap();
    let files = agent.files(checkpoint["checkpoint_id"].as_str().unwrap()).unwrap();
    files.iter().map(|file| file.path.to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_workspace_is_kept_when_it_falls_quiet() {
    let home = Home::new();
    home.write("w/first", "1");
    home.agent(
        "while [ ! -e go ]; do sleep 0.02; done
         echo 2 > w/second; while [ ! -e end ]; do sleep 0.02; done; rm end",
    );
    let mut command = home.run_command(&["--workspace", "w"]);
    command.env("STATEWARD_RUN__QUIET_AFTER", "300ms");
    let run = crate::run_home::Run::start(&mut command);
    let kept = || home.run(&["list", "--store", &store(&home)]).text().contains("routine");
    until("the beginning is kept", kept);
    assert_eq!(files_of(&home, &list(&home)[0]), ["first"]);
    home.write("go", "");
    until("the new file is kept", || list(&home).len() > 1);
    assert_eq!(files_of(&home, &list(&home)[0]), ["first", "second"]);
    home.write("end", "");
    let (code, _, told) = run.end();
    assert_eq!(code, 0, "{told}");
}

#[test]
fn a_workspace_that_never_falls_quiet_is_kept_now_and_then_and_within_the_interval() {
    for (name, value, every) in [("STEADY_EVERY", "300ms", "1h"), ("STEADY_EVERY", "1h", "300ms")] {
        let home = Home::new();
        home.write("w/first", "1");
        home.agent("n=0; while [ ! -e end ]; do n=$((n+1)); echo $n > w/second; sleep 0.02; done");
        let mut command = home.run_command(&["--workspace", "w", "--every", every]);
        command.env("STATEWARD_RUN__QUIET_AFTER", "1h");
        command.env(format!("STATEWARD_RUN__{name}"), value);
        let run = crate::run_home::Run::start(&mut command);
        let kept = || home.run(&["list", "--store", &store(&home)]).text().contains("routine");
        until("the beginning is kept", kept);
        until("its work is kept while it goes on", || {
            list(&home).iter().filter(|one| files_of(&home, one).contains(&"second".into())).count()
                > 1
        });
        home.write("end", "");
        let (code, _, told) = run.end();
        assert_eq!(code, 0, "{name} {value}, every {every}: {told}");
    }
}

#[test]
fn nothing_is_kept_again_while_nothing_changes() {
    let home = Home::new();
    home.write("w/first", "1");
    home.write("m.json", "{\"n\":1}");
    home.agent("echo up; while [ ! -e end ]; do sleep 0.02; done; touch w/first");
    let flags = ["--workspace", "w", "--state", "m.json", "--every", "100ms"];
    let mut command = home.run_command(&flags);
    command.env("STATEWARD_RUN__QUIET_AFTER", "100ms").env("STATEWARD_RUN__STEADY_EVERY", "100ms");
    let mut run = crate::run_home::Run::start(&mut command);
    assert_eq!(run.hear(), "up");
    until("the beginning is kept", || list(&home).len() == 1);
    // Each look is one at a process of its own, so many intervals pass.
    for _ in 0..20 {
        assert_eq!(list(&home).len(), 1);
    }
    home.write("end", "");
    let (code, _, told) = run.end();
    assert_eq!(code, 0, "{told}");
}

#[test]
fn both_go_back_to_one_moment_and_the_state_alone_tells_how_far_they_lie_apart() {
    for (on_crash, file) in [("both", "good\n"), ("state", "broken\n")] {
        let home = Home::new();
        home.write("w/file", "good\n");
        home.write("w/memory.json", "{\"n\":1}");
        home.agent(
            "[ $STATEWARD_ATTEMPT = 1 ] || { cat w/memory.json w/file; exit 0; }
             echo broken > w/file; echo new > w/new; printf '{' > w/memory.json; exit 1",
        );
        let flags = ["--workspace", "w", "--state", "w/memory.json", "--on-crash", on_crash];
        let ran = home.run_agent(&flags);
        assert_eq!((ran.code, ran.text()), (0, format!("{{\"n\":1}}{file}").as_str()), "{ran}");
        assert_eq!(home.path("w/new").exists(), on_crash == "state", "{ran}");
        let told = ran.err.contains("the workspace stays as it is: 3 names differ");
        assert_eq!(told, on_crash == "state", "{ran}");
        // What the crash left is in the recovery checkpoint, workspace and all.
        let list = list(&home);
        let recovery = list.iter().rev().find(|one| one["kind"] == "recovery").unwrap();
        assert_eq!(files_of(&home, recovery), ["file", "memory.json", "new"]);
    }
}

/// What an agent does where it works, and whether that ends with nothing of its files left.
const RASH: [(&str, bool); 5] = [
    ("git init -q . && git add -A && git ls-files", false),
    ("git init -q . && git clean -fdxq", true),
    ("git init -q . && git add -A && git reset -q --hard && git clean -fdxq", true),
    ("rm -rf ./* ./.[!.]*", true),
    ("rm -rf \"$PWD\"", true),
];

#[test]
fn what_an_agent_does_in_its_workspace_does_not_reach_the_store() {
    for (rash, all_gone) in RASH {
        let home = Home::new();
        home.write("w/memory.json", "{\"n\":1}");
        home.write("w/sub/file", "one");
        home.write("agent.sh", format!("echo $STATEWARD_STORE__PATH; {rash}"));
        let run = |words: &[&str]| {
            let mut command = home.raw(words);
            command.current_dir(home.path("w"));
            Answer::of(&mut assert_cmd::Command::from_std(command))
        };
        let ran =
            run(&["run", "--workspace", ".", "--state", "memory.json", "--", "sh", "../agent.sh"]);
        assert_eq!(ran.code, 0, "{rash}: {ran}");
        let said: Vec<&str> = ran.text().lines().collect();
        assert_eq!(Path::new(said[0]), home.store_of("w"), "{rash}");
        let added: &[&str] =
            if rash.ends_with("ls-files") { &["memory.json", "sub/file"] } else { &[] };
        assert_eq!(&said[1..], added, "{rash}: nothing of the store is there to be added");
        assert_eq!(!home.path("w/sub/file").exists(), all_gone, "{rash}");
        let first = list(&home).last().unwrap().clone();
        assert_eq!(files_of(&home, &first), ["memory.json", "sub", "sub/file"], "{rash}");
        home.done(&["restore", first["path"].as_str().unwrap(), "--live", "-y"]);
        assert_eq!(home.read("w/sub/file"), b"one", "{rash}");
        assert_eq!(home.read("w/memory.json"), b"{\"n\":1}", "{rash}");
        let verified = home.json(&["verify", "--store", &store(&home)]);
        assert_eq!(verified[0]["sound"], true, "{rash}: {verified}");
    }
}

#[test]
fn a_workspace_that_is_emptied_in_a_crash_gives_the_state_back_alone_or_everything() {
    for rash in
        ["rm -rf w/*", "rm -rf w", "rm -rf w; mkdir w", "rm -rf w; mkdir w; echo two > w/file"]
    {
        for (on_crash, file) in [("state", false), ("both", true)] {
            let home = Home::new();
            home.write("w/memory.json", "{\"n\":1}");
            home.write("w/file", "one");
            home.agent(&format!(
                "[ $STATEWARD_ATTEMPT = 1 ] || {{ cat w/memory.json; exit 0; }}
                 {rash}; exit 1"
            ));
            let flags = ["--workspace", "w", "--state", "w/memory.json", "--on-crash", on_crash];
            let ran = home.run_agent(&flags);
            assert_eq!((ran.code, ran.text()), (0, "{\"n\":1}"), "{rash}: {ran}");
            let holds = std::fs::read(home.path("w/file")).is_ok_and(|bytes| bytes == b"one");
            assert_eq!(holds, file, "{rash}: {ran}");
        }
    }
}

#[test]
fn what_a_crash_left_torn_is_never_taken_over_as_whole() {
    for (before, state) in [(None, 0), (Some("{\"n\":1}"), 7)] {
        let home = Home::new();
        home.write("w/file", "1");
        before.map(|text| home.write("m.json", text));
        before.map(|text| home.write("m.jsonl", text));
        home.agent(
            "echo \"found $(cat m.json) $(cat m.jsonl)\"; echo $STATEWARD_ATTEMPT > w/file
             printf '{\"n\":' > m.json; printf '{\"n\":' > m.jsonl; [ $STATEWARD_ATTEMPT = 2 ]",
        );
        let flags = ["--workspace", "w", "--state", "m.json", "--state-file", "m.jsonl"];
        let keep = ["--on-crash", "keep"];
        let ran = home.run_agent(&[&flags[..], &keep].concat());
        assert_eq!(ran.code, 0, "{ran}");
        let newest = list(&home)[0].clone();
        assert_eq!(newest["kind"], "routine", "the workspace was kept once more");
        assert_eq!(newest["state_bytes"], state, "{newest}");
        // By default it is put back where it was ever whole.
        let ran = home.run_agent(&flags);
        let found = format!("found {0} {0}\n", before.unwrap_or("{\"n\":"));
        assert!(ran.text().starts_with(&found), "{ran}");
    }
}

#[test]
fn state_files_of_any_form_are_kept_whole_and_put_back_one_by_one() {
    let home = Home::new();
    home.write("m/a.json", "[1]");
    home.write("m/log.jsonl", "{}\n");
    home.write("m/blob", "bytes");
    home.agent(
        "[ $STATEWARD_ATTEMPT = 1 ] || { cat m/a.json m/log.jsonl m/blob; exit 0; }
         printf '[1,' > m/a.json; rm m/blob; printf '{}\\n{\"n\":2}\\n' > m/log.jsonl; exit 1",
    );
    let flags = ["--store", "s", "--state-file", "m/*.json*", "--state-file", "m/blob"];
    let ran = home.run_agent(&flags);
    assert_eq!(ran.code, 0, "{ran}");
    assert_eq!(ran.text(), "[1]{}\n{\"n\":2}\nbytes", "what is whole stays: {ran}");
    assert!(ran.err.contains("m/a.json was damaged") && ran.err.contains("m/blob was missing"));
    let (torn, latest) = ("[1,", home.json(&["list", "--store", "s"])[0].clone());
    assert_eq!(latest["kind"], "routine");
    home.done(&["restore", "latest", "--store", "s", "-y", "--live"]);
    assert_ne!(home.read("m/a.json"), torn.as_bytes(), "a torn file is never kept as whole");
}
