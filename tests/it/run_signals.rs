//! `run`: signals reach the command, nothing of it is left over, and one session runs an agent.

use crate::cli_home::Home;
use crate::run_home::{lives, signal, until, until_holds};

/// An agent that says its number and waits for signals.
const WAITS: &str = "echo $$; while :; do sleep 0.05; done";

#[test]
fn signals_are_passed_on_to_the_whole_group() {
    let home = Home::new();
    home.agent(
        "for s in HUP INT QUIT USR1 USR2; do trap \"echo $s\" $s; done
         trap 'echo TERM; exit 5' TERM
         sh -c 'trap \"echo inner >> inner\" USR1; echo ready; while :; do sleep 0.02; done' &
         while :; do sleep 0.02; done",
    );
    let mut run = home.start_agent(&[]);
    assert_eq!(run.hear(), "ready");
    for name in ["USR1", "HUP", "INT", "QUIT", "USR2", "TERM"] {
        run.signal(name);
        assert_eq!(run.hear(), name);
        if name == "USR1" {
            until_holds(&home.path("inner"), "inner");
        }
    }
    let (code, _, told) = run.end();
    assert_eq!(code, 5, "an exit after a signal that was passed on ends it: {told}");
}

#[test]
fn a_command_that_dies_of_a_signal_that_was_passed_on_is_not_started_again() {
    for (name, code) in [("TERM", 143), ("INT", 130), ("USR1", 138), ("HUP", 129)] {
        let home = Home::new();
        home.agent("echo here; exec sleep 1000");
        let mut run = home.start_agent(&[]);
        run.hear();
        run.signal(name);
        let (ended, said, told) = run.end();
        assert_eq!((ended, said.as_str()), (code, ""), "{name}: {told}");
    }
}

#[test]
fn the_state_is_kept_before_it_ends_on_a_signal() {
    let home = Home::new();
    home.agent("trap 'printf \"{\\\"last\\\":true}\" > m.json; exit 0' TERM; echo here; while :; do sleep 0.02; done");
    let mut run = home.start_agent(&["--state", "m.json"]);
    run.hear();
    run.signal("TERM");
    assert_eq!(run.end().0, 0);
    assert_eq!(home.state("latest"), b"{\"last\":true}");
}

#[test]
fn who_does_not_end_is_killed_after_the_grace_or_at_the_second_asking() {
    let home = Home::new();
    home.agent("trap '' TERM; echo here; while :; do sleep 0.02; done");
    let mut run = home.start_agent(&["--stop-grace", "100ms"]);
    run.hear();
    run.signal("TERM");
    assert_eq!(run.end().0, 137);
    let mut run = home.start_agent(&["--stop-grace", "1h"]);
    run.hear();
    run.signal("TERM");
    // Two that come together are one, as the system has it.
    let pid = run.pid();
    until("the second is heard", || {
        let gone = !lives(pid);
        if !gone {
            signal(pid, "TERM");
        }
        gone
    });
    assert_eq!(run.end().0, 137);
}

#[test]
fn nothing_of_the_command_outlives_it() {
    let home = Home::new();
    home.agent(
        "sleep 1000 & echo $!
         (setsid sh -c 'echo $$; trap \"\" TERM; sleep 1000' &)
         (sh -c 'sleep 0.1' &)
         sleep 0.3; exit 0",
    );
    let mut run = home.start_agent(&["--stop-grace", "100ms"]);
    let left: Vec<i32> = (0..2).map(|_| run.hear_pid()).collect();
    let run_pid = run.pid();
    let zombies = || {
        let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
            let rest: Vec<String> =
                stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect();
            (rest[0] == "Z" && rest[1] == run_pid.to_string()).then_some(())
        });
        all.count()
    };
    until("the orphan that ended is reaped", || zombies() == 0);
    let (code, _, told) = run.end();
    assert_eq!(code, 0, "{told}");
    for pid in left {
        assert!(!lives(pid), "{pid} lives on: {told}");
    }
}

#[test]
fn the_second_run_of_an_agent_is_told_who_has_it() {
    let home = Home::new();
    home.agent(WAITS);
    let mut run = home.start_agent(&[]);
    run.hear();
    let mut second = home.run_command(&["--json"]);
    second.env("STATEWARD_STORE__LOCK_WAIT_MS", "10");
    let answer = crate::cli_home::Answer::of(&mut assert_cmd::Command::from_std(second));
    let (code, error) = answer.error();
    assert_eq!(code, 5);
    let named = format!("process {} ", run.pid());
    assert!(error["message"].as_str().unwrap().contains(&named), "{error}");
    run.signal("TERM");
    assert_eq!(run.end().0, 143);
}

#[test]
fn what_a_killed_run_left_is_ended_before_another_is_started() {
    let home = Home::new();
    home.write("m.json", "{\"n\":1}");
    home.agent("echo $$; echo \"$STATEWARD_ATTEMPT $(cat m.json)\"; printf '{\"n' > m.json; exec sleep 1000");
    let mut run = home.start_agent(&["--state", "m.json"]);
    let pid = run.hear_pid();
    assert_eq!(run.hear(), "1 {\"n\":1}");
    until_holds(&home.path("m.json"), "{\"n");
    run.kill();
    assert!(lives(pid), "the command outlives its sidecar");
    let mut run = home.start_agent(&["--state", "m.json"]);
    let second = run.hear_pid();
    assert!(second != pid && !lives(pid), "two of one agent");
    assert_eq!(run.hear(), "2 {\"n\":1}", "it starts again, from what was kept");
    run.signal("TERM");
    let (code, _, told) = run.end();
    assert_eq!(code, 143, "{told}");
    assert!(told.contains("attempt 1 was under way when its run was killed"), "{told}");
}

#[test]
fn what_a_killed_run_left_can_be_adopted() {
    let home = Home::new();
    home.agent(
        "trap 'echo bye > bye; exit 0' TERM
         echo $$; exec > /dev/null 2>&1; n=0; while :; do n=$((n+1)); echo \"{\\\"n\\\":$n}\" > m.json; sleep 0.05; done",
    );
    let mut run = home.start_agent(&["--state", "m.json"]);
    let pid = run.hear_pid();
    run.kill();
    let run = home.start_agent(&["--state", "m.json", "--adopt"]);
    until("the adopted one's state is kept", || home.run(&["list"]).text().contains("routine"));
    assert!(lives(pid));
    run.signal("TERM");
    let (code, said, told) = run.end();
    assert!(told.contains(&format!("adopted process {pid}, attempt 1")), "{told}");
    assert_eq!((code, said.as_str()), (1, ""), "how it ended is not told to strangers: {told}");
    assert!(home.path("bye").exists() && !lives(pid));
}

#[test]
fn an_adopted_command_that_ends_by_itself_is_started_again() {
    let home = Home::new();
    home.agent("[ $STATEWARD_ATTEMPT = 1 ] || { echo again; exit 0; }; echo $$; exec sleep 1000");
    let mut run = home.start_agent(&[]);
    let pid = run.hear_pid();
    run.kill();
    let mut run = home.start_agent(&["--adopt"]);
    let claimed = home.store().join("runs/default.lock");
    let adopter = run.pid();
    until_holds(&claimed, &format!("\"pid\":{adopter}"));
    signal(pid, "KILL");
    assert_eq!(run.hear(), "again");
    let (code, _, told) = run.end();
    assert_eq!(code, 0, "{told}");
}

#[test]
fn both_killed_it_goes_on_from_what_was_kept() {
    let home = Home::new();
    home.write("m.json", "{\"n\":1}");
    home.agent("echo $$; cat m.json; printf '{\"n\":2' > m.json; echo; echo torn; exec sleep 1000");
    let mut run = home.start_agent(&["--state", "m.json"]);
    let pid = run.hear_pid();
    assert_eq!((run.hear().as_str(), run.hear().as_str()), ("{\"n\":1}", "torn"));
    run.kill();
    signal(pid, "KILL");
    until("it is gone", || !lives(pid));
    let mut run = home.start_agent(&["--state", "m.json"]);
    run.hear();
    assert_eq!(run.hear(), "{\"n\":1}");
    run.signal("TERM");
    run.end();
}

#[test]
fn a_frozen_command_goes_on_after_each_checkpoint() {
    let home = Home::new();
    home.agent(
        "trap 'echo went on >> went' CONT
         for n in 1 2 3 4; do echo \"{\\\"n\\\":$n}\" > m.json; sleep 0.4; done",
    );
    let run = home.start_agent(&["--state", "m.json", "--freeze"]);
    let (code, _, told) = run.end();
    assert_eq!(code, 0, "{told}");
    assert_eq!(home.state("latest"), b"{\"n\":4}\n");
    let went = std::fs::read_to_string(home.path("went")).unwrap();
    assert!(went.lines().count() >= 2, "it was never stopped: {went}");
}
