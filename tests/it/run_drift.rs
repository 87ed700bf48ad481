//! `run`: agents that drift are found from outside, without a word of their own, and what the policy
//! says is done, once.
//!
//! The policies are the defaults unless a test says otherwise; times that are minutes by default are
//! shorter here.

use crate::cli_home::Home;
use crate::drift_home::QUICK;
use crate::run_home::{lives, until, until_holds};

#[test]
fn output_that_says_nothing_new_is_found_and_kept_as_evidence() {
    let home = Home::new();
    home.configure(QUICK);
    home.agent(
        "echo $$; while :; do for n in 1 2 3 4 5 6; do echo \"retrying $n\"; done; sleep 0.02; done",
    );
    let mut run = home.start_agent(&[]);
    let pid = run.hear_pid();
    run.ignore();
    until("the loop is found", || home.drifted() == ["repetition"]);
    until("it is answered", || home.answers() == ["checkpoint"]);
    assert!(lives(pid), "by default nothing that may be work is stopped");
    run.signal("TERM");
    let (code, _, told) = run.end();
    assert_eq!(code, 143, "{told}");
    assert_eq!(home.answers(), ["checkpoint"], "a cause is answered once");
    assert!(told.contains("drift: repetition since observation"), "{told}");
}

#[test]
fn a_state_file_that_is_damaged_or_gone_is_put_back_while_the_agent_runs() {
    for wrong in [Some("{\"n\":"), None] {
        let home = Home::new();
        let file = home.write("m.json", "{\"n\":1}");
        home.agent("echo $$; exec sleep 1000");
        let mut run = home.start_agent(&["--state", "m.json"]);
        let pid = run.hear_pid();
        until("the file was seen", || home.run(&["list"]).text().contains("routine"));
        until("it was whole once", || home.observation() > 1);
        match wrong {
            Some(torn) => drop(home.write("m.json", torn)),
            None => std::fs::remove_file(&file).unwrap(),
        }
        until_holds(&file, "{\"n\":1}");
        until("it is answered", || home.answers() == ["restore"]);
        assert!(lives(pid), "it is not started again for a file");
        assert_eq!(home.drifted(), ["state_file"]);
        run.signal("TERM");
        let (_, _, told) = run.end();
        assert!(told.contains("put back from checkpoint"), "{told}");
        assert_eq!(home.state("latest"), b"{\"n\":1}");
        if wrong.is_some() {
            let list = home.json(&["list", "--kind", "recovery"]);
            let kept = list.as_array().unwrap().iter();
            assert!(kept.map(|it| it["state_bytes"].as_u64()).any(|len| len == Some(5)), "{list}");
        }
    }
}

#[test]
fn a_file_that_is_being_written_is_not_taken_for_damaged() {
    let home = Home::new();
    home.configure(QUICK);
    let file = home.write("m.json", "{\"n\":1}");
    // Opened and cut at once, written much later: as long as it is open it is not finished.
    home.agent(
        "exec 3>m.json; printf '{\"n\":' >&3; echo half
         while [ ! -e go ]; do sleep 0.05; done
         printf '2}' >&3; exec 3>&-; echo whole; exec sleep 1000",
    );
    let mut run = home.start_agent(&["--state", "m.json"]);
    assert_eq!(run.hear(), "half");
    until("many looks later", || home.observation() > 6);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"n\":");
    home.write("go", "");
    assert_eq!(run.hear(), "whole");
    until("it is kept", || home.state("latest") == b"{\"n\":2}");
    assert_eq!((home.drifted(), home.answers()), (Vec::new(), Vec::new()));
    run.signal("TERM");
    run.end();
}

#[test]
fn lost_keys_go_back_to_before_the_loss_where_the_policy_says_so() {
    let home = Home::new();
    home.configure(&format!(
        "{QUICK}[drift.shrinkage]\nsteady = 3\n[drift.policies]\nshrinkage = \"restore\"\n"
    ));
    home.agent(
        "echo \"found $(cat m.json 2>/dev/null)\"
         [ -z \"$STATEWARD_RESTORED_FROM\" ] || exec sleep 1000
         for n in 1 2 3 4 5 6; do
           printf '{\"n\":%s,\"plan\":\"p\",\"goals\":[1],\"notes\":{}}' $n > m.json; sleep 0.6
         done
         for n in 7 8 9 10 11 12; do printf '{\"n\":%s}' $n > m.json; sleep 0.6; done; exec sleep 1000",
    );
    let mut run = home.start_agent(&["--state", "m.json"]);
    assert_eq!(run.hear(), "found ");
    let found = run.hear();
    assert!(found.contains("\"plan\":\"p\""), "it goes on with what was lost: {found}");
    assert_eq!(home.drifted(), ["shrinkage"]);
    assert_eq!(home.answers(), ["restore"], "once for one cause");
    let list = home.json(&["list"]);
    let list = list.as_array().unwrap();
    let tainted = list.iter().filter(|it| it["tainted"] == true).count();
    assert!(tainted > 0 && list.iter().any(|it| it["tainted"] == false), "{list:?}");
    run.signal("TERM");
    let (_, _, told) = run.end();
    assert!(told.contains("everything: shrinkage"), "{told}");
}

#[test]
fn an_agent_that_falls_silent_is_found_and_started_again_where_the_policy_says_so() {
    let home = Home::new();
    home.configure(&format!(
        "{QUICK}[drift.silence]\nafter = \"2s\"\ngaps = 1\n[drift.policies]\ninactivity = \"restart\"\n"
    ));
    home.agent(
        "[ $STATEWARD_ATTEMPT = 1 ] || { echo again; exit 0; }
         for n in 1 2 3 4 5 6 7 8 9; do echo \"step $n\"; sleep 0.1; done; exec sleep 1000",
    );
    let mut run = home.start_agent(&[]);
    let said: Vec<String> = (0..10).map(|_| run.hear()).collect();
    assert_eq!(said[9], "again");
    let (code, _, told) = run.end();
    assert_eq!(code, 0, "{told}");
    assert_eq!((home.drifted(), home.answers()), (vec!["silence".into()], vec!["restart".into()]));
}

#[test]
fn a_crash_loop_ends_and_is_found() {
    let home = Home::new();
    home.write("m.json", "{\"n\":1}");
    home.agent("echo up; exit 3");
    let ran = home.run_agent(&["--state", "m.json"]);
    assert_eq!(ran.code, 3, "{ran}");
    assert!(ran.err.contains("crash loop: 3 quick exits"), "{ran}");
    assert_eq!(
        (home.drifted(), home.answers()),
        (vec!["crash_loop".into()], vec!["checkpoint".into()])
    );
}

#[test]
fn a_crash_loop_goes_back_where_the_policy_says_so() {
    let home = Home::new();
    home.configure("[drift.policies]\ncrash_loop = \"restore\"\n");
    home.write("m.json", "{\"n\":1}");
    home.agent(
        "[ -z \"$STATEWARD_RESTORED_FROM\" ] || { cat m.json; exit 0; }
         printf '{\"bad\":1}' > m.json; exit 1",
    );
    let ran = home.run_agent(&["--state", "m.json"]);
    assert_eq!((ran.code, ran.text()), (0, "{\"n\":1}"), "{ran}");
    assert_eq!(
        (home.drifted(), home.answers()),
        (vec!["crash_loop".into()], vec!["restore".into()])
    );
}
