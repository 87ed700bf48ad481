//! `run`: agents that are merely busy, test-driven, waiting, compacting, or edited beside are left
//! alone by the defaults.
//!
//! Looks are quicker than by default, so that there are many in a short life.

use crate::cli_home::Home;
use crate::drift_home::QUICK;
use crate::run_home::until;

/// Runs an agent to its end, which has to come by itself, and to no answer of any kind.
#[track_caller]
fn left_alone(home: &Home, flags: &[&str]) {
    let ran = home.run_agent(flags);
    assert_eq!(ran.code, 0, "{ran}");
    assert!(!ran.err.contains("drift"), "{ran}");
    check_calm(home);
    let newest = home.json(&["list"])[0]["observation"].as_u64();
    assert!(newest > Some(10), "little was seen of it: {newest:?}");
}

#[track_caller]
fn check_calm(home: &Home) {
    let none: Vec<String> = Vec::new();
    assert_eq!((home.drifted(), home.answers()), (none.clone(), none));
}

#[test]
fn a_busy_agent_is_left_alone() {
    let home = Home::new();
    home.configure(QUICK);
    home.agent(
        "for n in $(seq 60); do
           echo \"step $n\"; echo working; echo \"file $n done\"; echo working; echo \"$n of 60\"
           printf '{\"n\":%s,\"done\":[%s]}' $n $n > m.json; echo \"line $n\" >> w/log; sleep 0.05
         done",
    );
    home.write("w/log", "");
    left_alone(&home, &["--state", "m.json", "--workspace", "w"]);
}

#[test]
fn test_driven_work_is_left_alone() {
    let home = Home::new();
    home.configure(QUICK);
    home.write("w/code", "");
    let edit = r#"{"action":"edit","input":"change '$n'","ok":true,"result":"done '$n'"}"#;
    let test = r#"{"action":"test","input":"make test","ok":'$ok',"result":"'$ok'"}"#;
    home.agent(&format!(
        "for n in $(seq 40); do
           echo \"change $n\" >> w/code; echo '{edit}' >> t.jsonl
           ok=false; [ $((n % 3)) = 0 ] && ok=true; echo '{test}' >> t.jsonl; sleep 0.05
         done"
    ));
    left_alone(&home, &["--transcript", "t.jsonl", "--workspace", "w"]);
}

#[test]
fn an_agent_that_waits_is_left_alone() {
    let home = Home::new();
    home.configure(&format!("{QUICK}[drift.silence]\nafter = \"1s\"\ngaps = 1\n"));
    home.agent(
        "echo '{\"action\":\"ask\",\"input\":1}' >> t.jsonl
         echo '{\"event\":\"waiting\"}' >> t.jsonl; echo waits
         while [ ! -e go ]; do sleep 0.05; done",
    );
    let mut run = home.start_agent(&["--transcript", "t.jsonl"]);
    assert_eq!(run.hear(), "waits");
    until("several times as long as silence takes", || home.observation() > 6);
    home.write("go", "");
    let (code, _, told) = run.end();
    assert_eq!(code, 0, "{told}");
    check_calm(&home);
}

#[test]
fn an_agent_that_compacts_is_left_alone() {
    let home = Home::new();
    home.configure(QUICK);
    home.agent(
        "items() { seq $1 $2 | sed 's/.*/\"message &\"/' | paste -sd, -; }
         for n in 20 40 60 80 100 120; do
           printf '{\"n\":%s,\"history\":[%s]}' $n \"$(items 1 $n)\" > m.json; sleep 0.5
         done
         echo '{\"event\":\"compaction\"}' >> t.jsonl; sleep 0.3
         for n in 121 122 123 124 125; do
           printf '{\"n\":%s,\"history\":[\"all that was\"]}' $n > m.json; sleep 0.5
         done",
    );
    left_alone(&home, &["--state", "m.json", "--transcript", "t.jsonl"]);
}

#[test]
fn a_person_who_edits_meanwhile_is_no_drift() {
    let home = Home::new();
    home.configure(QUICK);
    home.write("w/notes", "first");
    home.agent(
        "echo up; n=0; while [ ! -e go ]; do n=$((n+1)); echo \"step $n\"; sleep 0.05; done",
    );
    let mut run = home.start_agent(&["--workspace", "w"]);
    assert_eq!(run.hear(), "up");
    let seqs = home.seqs().len();
    home.write("w/notes", "edited by hand");
    home.write("w/more", "and more");
    until("the edit is kept", || home.seqs().len() > seqs);
    home.write("go", "");
    let (code, _, told) = run.end();
    assert_eq!(code, 0, "{told}");
    check_calm(&home);
    assert_eq!(home.read("w/notes"), b"edited by hand");
}

#[test]
fn what_a_person_edits_between_two_runs_is_told_and_kept() {
    let home = Home::new();
    home.configure(QUICK);
    home.write("w/notes", "first");
    home.write("m.json", "{\"n\":1}");
    let flags = ["--workspace", "w", "--state", "m.json", "--state-file", "extra.json"];
    home.write("extra.json", "{}");
    home.agent("exit 0");
    home.run_agent(&flags);
    assert!(home.told("drift_found").is_empty(), "the first run meets what it does not know");
    home.run_agent(&flags);
    assert!(home.told("drift_found").is_empty(), "nothing changed");
    home.write("w/notes", "edited by hand");
    home.write("m.json", "{\"n\":2}");
    home.write("extra.json", "{\"by\":\"hand\"}");
    let ran = home.run_agent(&flags);
    assert_eq!(ran.code, 0, "{ran}");
    let found = home.told("drift_found");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0]["signal"], &found[0]["level"]), (&"foreign".into(), &"suspect".into()));
    let words = found[0]["evidence"].to_string() + &found[0].to_string();
    for name in ["notes", "m.json", "extra.json"] {
        assert!(words.contains(name), "{name} is not in {words}");
    }
    check_calm(&home);
    assert_eq!(home.read("w/notes"), b"edited by hand");
    assert_eq!(home.state("latest"), b"{\"n\":2}");
    let seq = home.seqs()[0].to_string();
    assert!(seq.parse::<u64>().unwrap() >= 2, "the edits are kept as #{seq}");
}
