//! `run`: crashes are met, damaged state is put back, and what comes again and again is ended.

use serde_json::Value;

use crate::cli_home::Home;

fn kinds(home: &Home) -> Vec<String> {
    let list = home.json(&["list"]);
    let kinds = list.as_array().unwrap().iter().rev();
    kinds.map(|it| it["kind"].as_str().unwrap().to_owned()).collect()
}

fn latest(home: &Home) -> String {
    String::from_utf8(home.state("latest")).unwrap()
}

#[test]
fn a_crash_is_met_and_the_damaged_state_put_back() {
    let home = Home::new();
    home.write("m.json", "{\"n\":1}");
    home.agent(
        "echo \"$STATEWARD_ATTEMPT [$STATEWARD_RESTORED_FROM] [$STATEWARD_FAILED_OPERATIONS] \
         $STATEWARD_AGENT $(cat m.json)\"
         [ $STATEWARD_ATTEMPT = 1 ] || exit 0
         printf '{\"n\":' > m.json
         exit 3",
    );
    let ran = home.run_agent(&["--state", "m.json", "--agent", "a/b"]);
    assert_eq!(ran.code, 0, "{ran}");
    let lines: Vec<&str> = ran.text().lines().collect();
    assert_eq!(lines[0], "1 [] [] a/b {\"n\":1}");
    let restored = lines[1].split(['[', ']']).nth(1).unwrap();
    assert_eq!(lines[1], format!("2 [{restored}] [] a/b {{\"n\":1}}"));
    let list = home.json(&["list", "--agent", "a/b"]);
    let first = list.as_array().unwrap().last().unwrap();
    assert_eq!(first["checkpoint_id"], restored);
    assert!(ran.err.contains("attempt 1 ended with exit code 3"), "{ran}");
    assert!(ran.err.contains("put back from checkpoint 1"), "{ran}");
    // What the crash left is kept as it was found.
    let recovery = &list.as_array().unwrap()[list.as_array().unwrap().len() - 2];
    assert_eq!((&recovery["kind"], &recovery["state_bytes"]), (&"recovery".into(), &5.into()));
}

#[test]
fn a_sound_state_is_left_as_the_crash_left_it_unless_both_go_back() {
    for (on_crash, wanted) in [("state", "{\"n\":2}"), ("keep", "{\"n\":2}"), ("both", "{\"n\":1}")]
    {
        let home = Home::new();
        home.write("m.json", "{\"n\":1}");
        home.agent(
            "[ $STATEWARD_ATTEMPT = 1 ] || { cat m.json; exit 0; }
             printf '{\"n\":2}' > m.json; exit 1",
        );
        let ran = home.run_agent(&["--state", "m.json", "--on-crash", on_crash]);
        assert_eq!((ran.code, ran.text()), (0, wanted), "{on_crash}: {ran}");
    }
}

#[test]
fn on_crash_keep_puts_nothing_back() {
    let home = Home::new();
    home.write("m.json", "{\"n\":1}");
    home.agent(
        "[ $STATEWARD_ATTEMPT = 1 ] || { cat m.json; exit 0; }
         printf '{\"n\"' > m.json; exit 1",
    );
    let ran = home.run_agent(&["--state", "m.json", "--on-crash", "keep"]);
    assert_eq!((ran.code, ran.text()), (0, "{\"n\""), "{ran}");
    assert_eq!(latest(&home), "{\"n\":1}", "a damaged state is never kept as whole");
}

#[test]
fn a_missing_state_is_put_back_until_a_fresh_start_is_asked_for() {
    let home = Home::new();
    let file = home.write("m.json", "{\"n\":1}");
    home.agent("cat m.json 2>/dev/null || echo none");
    assert_eq!(home.run_agent(&["--state", "m.json"]).text(), "{\"n\":1}");
    std::fs::remove_file(&file).unwrap();
    let ran = home.run_agent(&["--state", "m.json"]);
    assert_eq!(ran.text(), "{\"n\":1}");
    assert!(ran.err.contains("m.json was missing"), "{ran}");
    std::fs::remove_file(&file).unwrap();
    home.done(&["reset"]);
    assert_eq!(home.run_agent(&["--state", "m.json"]).text(), "none\n");
}

#[test]
fn what_the_command_leaves_in_the_end_is_kept() {
    let home = Home::new();
    home.agent("printf '{\"n\":9}' > m.json");
    let ran = home.run_agent(&["--state", "m.json"]);
    assert_eq!((ran.code, latest(&home).as_str()), (0, "{\"n\":9}"), "{ran}");
    assert_eq!(kinds(&home), ["routine"]);
    home.run_agent(&["--state", "m.json"]);
    assert_eq!(kinds(&home), ["routine"], "nothing changed, so nothing was kept");
}

#[test]
fn three_quick_exits_on_the_same_content_end_it_and_name_the_way_back() {
    let home = Home::new();
    home.checkpoint("{\"n\":1}");
    home.write("state.json", "{\"n\":2,\"poison\":true}");
    home.agent("echo $STATEWARD_ATTEMPT; grep -q poison state.json && exit 4; exit 0");
    let ran = home.run_agent(&["--state", "state.json"]);
    assert_eq!((ran.code, ran.text()), (4, "1\n2\n3\n"), "{ran}");
    assert!(ran.err.contains("crash loop: 3 quick exits"), "{ran}");
    let named = ran.err.lines().find_map(|line| line.split("stateward --store").nth(1)).unwrap();
    let command = format!("--store{named}");
    let words: Vec<&str> = command.split_whitespace().collect();
    home.done(&[words.as_slice(), &["--live"]].concat());
    assert_eq!(home.read("state.json"), b"{\"n\":1}");
    let ran = home.run_agent(&["--state", "state.json"]);
    assert_eq!((ran.code, ran.text()), (0, "1\n"), "{ran}");
}

#[test]
fn progress_between_crashes_is_no_loop_and_restarts_are_bounded() {
    let home = Home::new();
    home.write("m.json", "{\"n\":0}");
    home.agent("printf '{\"n\":%d}' $STATEWARD_ATTEMPT > m.json; exit 1");
    let mut command = home.run_command(&["--state", "m.json"]);
    command.env("STATEWARD_RUN__RESTARTS_MAX", "5");
    let ran = crate::cli_home::Answer::of(&mut assert_cmd::Command::from_std(command));
    assert_eq!((ran.code, home.state("latest:recovery")), (1, b"{\"n\":6}".to_vec()), "{ran}");
    assert!(ran.err.contains("attempt 6 ended") && ran.err.contains("5 times within 1h"), "{ran}");
}

#[test]
fn exit_codes_pass_through() {
    let home = Home::new();
    for (body, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -6 $$", 134)] {
        home.agent(body);
        let ran = home.run_agent(&["--restart", "never"]);
        assert_eq!(ran.code, code, "{body}: {ran}");
    }
}

#[test]
fn a_restart_command_takes_the_place_of_the_first() {
    let home = Home::new();
    home.agent("echo first; exit 1");
    let again = "echo \"again $STATEWARD_ATTEMPT\"; exit 0";
    let ran = home.run_agent(&["--restart-command", again]);
    assert_eq!((ran.code, ran.text()), (0, "first\nagain 2\n"), "{ran}");
}

#[test]
fn a_command_that_is_not_there_is_said_at_once_and_frees_the_agent() {
    let home = Home::new();
    for _ in 0..2 {
        let (code, error) = home.run(&["run", "--json", "--", "./nothing"]).error();
        assert_eq!((code, &error["kind"]), (3, &Value::from("not_found")), "{error}");
        assert!(error["message"].as_str().unwrap().contains("./nothing"), "{error}");
    }
}

#[test]
fn after_a_success_the_old_may_be_forgotten() {
    let home = Home::new();
    home.checkpoint("{\"n\":1}");
    home.write("state.json", "{\"n\":2}");
    home.json(&["checkpoint", "--state", "state.json", "--label", "keep"]);
    home.agent("printf '{\"n\":3}' > state.json");
    home.run_agent(&["--state", "state.json", "--on-success", "forget"]);
    assert_eq!(home.seqs(), [3, 2], "the newest and the pinned stay");
    home.agent("printf '{\"n\":4}' > state.json; exit 1");
    home.run_agent(&["--state", "state.json", "--on-success", "forget", "--restart", "never"]);
    assert_eq!(home.seqs(), [4, 3, 2]);
}

#[test]
fn a_long_life_is_refreshed_and_a_silent_one_ended() {
    let home = Home::new();
    let waits = "echo \"$STATEWARD_ATTEMPT\"; [ $STATEWARD_ATTEMPT = 3 ] && exit 0
                 while :; do sleep 0.1; done";
    home.agent(waits);
    let ran = home.run_agent(&["--max-uptime", "100ms"]);
    assert_eq!((ran.code, ran.text()), (0, "1\n2\n3\n"), "{ran}");
    assert!(!ran.err.contains("attempt 1 ended"), "a refresh is no crash: {ran}");
    let ran = home.run_agent(&["--heartbeat-timeout", "100ms", "--state", "m.json"]);
    assert_eq!((ran.code, ran.text()), (0, "1\n2\n3\n"), "{ran}");
    assert!(ran.err.contains("no sign of life"), "{ran}");
    // Whoever writes its state is not silent.
    home.agent(
        "for n in 1 2 3 4 5 6 7 8; do echo \"{\\\"n\\\":$n}\" > m.json; sleep 0.2; done; echo done",
    );
    let ran = home.run_agent(&["--heartbeat-timeout", "1s", "--state", "m.json"]);
    assert_eq!((ran.code, ran.text()), (0, "done\n"), "{ran}");
}

#[test]
fn operations_whose_process_died_have_failed_and_the_next_attempt_is_told() {
    let home = Home::new();
    home.write("m.json", "{\"n\":1}");
    let program = env!("CARGO_BIN_EXE_stateward");
    home.agent(&format!(
        "echo \"$STATEWARD_ATTEMPT [$STATEWARD_FAILED_OPERATIONS]\"
         [ $STATEWARD_ATTEMPT = 3 ] && exit 0
         {program} operation begin move > /dev/null; {program} operation complete move > /dev/null
         for name in deploy migrate; do {program} operation begin $name-$STATEWARD_ATTEMPT > /dev/null; done
         kill -9 $$"
    ));
    let ran = home.run_agent(&["--state", "m.json"]);
    let wanted = "1 []\n2 [deploy-1,migrate-1]\n3 [deploy-2,migrate-2]\n";
    assert_eq!((ran.code, ran.text()), (0, wanted), "{ran}");
    let all = home.json(&["operation", "list"]);
    let of = |status: &str| {
        let all = all.as_array().unwrap().iter().filter(|it| it["status"] == status);
        all.map(|it| it["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((of("failed").len(), of("open").len()), (4, 0), "{all}");
    assert!(ran.err.contains("operation deploy-1 failed: its process is gone"), "{ran}");
}
