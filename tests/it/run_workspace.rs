//! `run` with a workspace and state files: when they are kept, and what a crash puts back.

use serde_json::Value;
use stateward::{CheckpointManager, Options};

use crate::cli_home::Home;
use crate::run_home::until;

fn list(home: &Home) -> Vec<Value> {
    // The store of a workspace is found from within it.
    let list = home.json(&["list", "--store", &store(home)]);
    list.as_array().unwrap().clone()
}

fn store(home: &Home) -> String {
    let workspace = home.path("w");
    let digest = blake3::hash(workspace.as_os_str().as_encoded_bytes()).to_hex();
    let store = home.path(&format!(".local/state/stateward/w-{}", &digest[..16]));
    store.to_str().unwrap().to_owned()
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

#[test]
fn what_an_agent_does_in_its_workspace_does_not_reach_the_store() {
    let home = Home::new();
    home.write("w/memory.json", "{\"n\":1}");
    home.agent(
        "[ $STATEWARD_ATTEMPT = 1 ] || { cat w/memory.json; exit 0; }
         cd w && git init -q . && git add -A && git clean -fdxq && rm -rf ./* .git; exit 1",
    );
    let ran = home.run_agent(&["--workspace", "w", "--state", "w/memory.json"]);
    assert_eq!((ran.code, ran.text()), (0, "{\"n\":1}"), "{ran}");
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
