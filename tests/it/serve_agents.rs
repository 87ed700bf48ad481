//! `serve` with agents of its own: they are run, kept, started again, ended with it, and what is wrong
//! with them is told.

use std::fmt::Write;

use crate::cli_home::Home;
use crate::run_home::{lives, signal, until, until_holds};
use crate::server_home::Sidecar;

/// Waiting proves nothing here.
const QUICK: &str =
    "[run]\nrestart_delay_initial = \"10ms\"\nstate_settle = \"10ms\"\nstop_grace = \"20s\"\n";

/// An agent that writes its number where it can be found, and goes on.
const STEADY: &str = "echo $$ > ID.pid; exec sleep 1000";

/// Writes the configuration: agents as shell scripts, each with more keys of its table.
fn configure(home: &Home, rest: &str, agents: &[(&str, &str, &str)]) {
    let mut text = String::new();
    for (id, script, keys) in agents {
        home.write(&format!("{id}.sh"), script.replace("ID", id));
        writeln!(text, "[[agent]]\nid = \"{id}\"\ncommand = [\"sh\", \"{id}.sh\"]\n{keys}")
            .unwrap();
    }
    home.configure(&format!("{text}{rest}"));
}

/// The number that an agent wrote, once it is there.
fn pid(home: &Home, id: &str) -> i32 {
    let path = home.path(&format!("{id}.pid"));
    let read = || std::fs::read_to_string(&path).ok()?.trim().parse().ok();
    until(&format!("{id} runs"), || read().is_some());
    read().unwrap()
}

fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Why the sidecar is not ready.
fn reasons(sidecar: &Sidecar) -> String {
    sidecar.get("/readyz").json()["reasons"].to_string()
}

#[test]
fn each_agent_is_kept_goes_on_after_a_crash_and_ends_with_serve() {
    let home = Home::new();
    home.write("m.json", "{\"n\":1}");
    let torn =
        "[ $STATEWARD_ATTEMPT = 1 ] || { cp m.json found.json; echo $$ > ID.pid; exec sleep 1000; }
                printf '{\"n\":' > m.json; exit 3";
    configure(&home, QUICK, &[("a", torn, "state = \"m.json\""), ("b", STEADY, "")]);
    let sidecar = home.serve(&[]);
    until_holds(&home.path("found.json"), "{\"n\":1}");
    let pids = [pid(&home, "a"), pid(&home, "b")];
    let list = sidecar.get("/v1/agents/a/checkpoints").json();
    let kinds: Vec<&str> =
        list.as_array().unwrap().iter().filter_map(|it| it["kind"].as_str()).collect();
    assert!(kinds.contains(&"recovery") && kinds.contains(&"routine"), "{list}");
    assert_eq!(reasons(&sidecar), "[]");
    let runs = pids.map(parent);
    // What it said ends when nobody is left who could say more.
    let (exit, err) = sidecar.stop();
    assert!(exit.success(), "{err}");
    assert!(pids.iter().chain(&runs).all(|pid| !lives(*pid)), "{err}");
    assert!(err.contains("stateward a: attempt 1 ended with exit code 3"), "{err}");
    assert_eq!(home.json(&["list", "--agent", "a"])[0]["state_bytes"], 7);
}

#[test]
fn a_run_that_dies_is_started_again_and_leaves_no_second_command() {
    let home = Home::new();
    configure(&home, QUICK, &[("a", STEADY, "")]);
    let sidecar = home.serve(&[]);
    let first = pid(&home, "a");
    signal(parent(first), "KILL");
    until("another one runs", || pid(&home, "a") != first);
    assert!(!lives(first), "the command of the dead run is ended before another starts");
    assert_eq!(reasons(&sidecar), "[]");
    let (exit, err) = sidecar.stop();
    assert!(exit.success(), "{err}");
    assert!(err.contains("its run died and is started again"), "{err}");
}

#[test]
fn what_another_start_does_not_help_stays_down_and_is_told() {
    let home = Home::new();
    let absent = "[[agent]]\nid = \"absent\"\ncommand = [\"./nowhere\"]\n";
    let scripts = [("well", "exit 0", ""), ("loop", "echo x >> ID.starts; exit 3", "")];
    configure(&home, &format!("{absent}{QUICK}"), &scripts);
    let sidecar = home.serve(&[]);
    until("both are told", || {
        let told = reasons(&sidecar);
        told.contains("agent loop is down") && told.contains("agent absent is down")
    });
    assert!(!reasons(&sidecar).contains("well"), "an end with 0 is no trouble");
    assert_eq!(sidecar.get("/readyz").status, 503);
    let starts = || String::from_utf8(home.read("loop.starts")).unwrap().lines().count();
    assert_eq!(starts(), 3, "a crash loop");
    let (exit, err) = sidecar.stop();
    assert!(exit.success(), "{err}");
    assert_eq!(starts(), 3, "{err}");
    assert!(err.contains("crash loop: 3 quick exits"), "{err}");
}

#[test]
fn one_agent_goes_back_where_another_is_only_observed() {
    let home = Home::new();
    let quick = format!("{QUICK}look_every = \"200ms\"\n");
    configure(
        &home,
        &quick,
        &[
            ("a", STEADY, "state = \"a.json\""),
            ("b", STEADY, "state = \"b.json\"\ndrift.response = \"observe\""),
        ],
    );
    for id in ["a", "b"] {
        home.write(&format!("{id}.json"), "{\"n\":1}");
    }
    let sidecar = home.serve(&[]);
    for id in ["a", "b"] {
        pid(&home, id);
        let standing = || sidecar.get(&format!("/v1/agents/{id}/drift")).json();
        until("its file was seen whole", || {
            standing()["verdict"]["observation"].as_u64() > Some(1)
        });
    }
    for id in ["b", "a"] {
        home.write(&format!("{id}.json"), "{\"n\":");
    }
    until_holds(&home.path("a.json"), "{\"n\":1}");
    let answers = |id: &str| {
        let told = home.told("drift_answered").into_iter().filter(|it| it["agent_id"] == id);
        told.map(|it| it["done"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    until("the other is found", || !answers("b").is_empty());
    until("the one is answered", || !answers("a").is_empty());
    assert_eq!((answers("a"), answers("b")), (vec!["restore".into()], vec!["observe".into()]));
    assert_eq!(home.read("b.json"), b"{\"n\":");
    let (exit, err) = sidecar.stop();
    assert!(exit.success(), "{err}");
}

#[test]
fn a_second_signal_and_a_kill_leave_no_command_behind() {
    let stubborn = "trap 'echo > ID.asked' TERM; echo $$ > ID.pid
                    while :; do sleep 0.05; done";
    for twice in [true, false] {
        let home = Home::new();
        let patient = "[server]\ndrain_timeout = \"1h\"\n";
        let script = if twice { stubborn } else { STEADY };
        configure(&home, &format!("{QUICK}{patient}"), &[("a", script, "")]);
        let mut sidecar = home.serve(&[]);
        let pid = pid(&home, "a");
        if twice {
            sidecar.signal("TERM");
            until("it is asked to end", || home.path("a.asked").exists());
            sidecar.signal("TERM");
            let (exit, err) = sidecar.over();
            assert_eq!(exit.code(), Some(1), "{err}");
        } else {
            sidecar.kill();
        }
        until("the command is gone", || !lives(pid));
        // Nobody holds the store, or does for long.
        until("its run is gone", || home.run(&["prune"]).code == 0);
    }
}

#[test]
fn wrong_tables_are_told_where_they_stand() {
    let home = Home::new();
    let good = "[[agent]]\nid = \"a\"\ncommand = [\"x\"]\n";
    for (text, part) in [
        (format!("{good}{good}"), "id a stands in two tables"),
        (format!("{good}kommand = 1\n"), "`kommand`"),
        ("[[agent]]\nid = \"a\"\ncommand = []\n".to_owned(), "command is empty"),
        ("[[agent]]\ncommand = [\"x\"]\n".to_owned(), "`id`"),
        (format!("agent = \"a\"\n{good}"), "agent"),
    ] {
        home.configure(&text);
        let (code, error) = home.error(&["serve"]);
        let message = error["message"].as_str().unwrap();
        assert_eq!(code, 2, "{error}");
        assert!(message.contains("stateward.toml") && message.contains(part), "{message}");
    }
    home.configure(&format!("{good}every = \"7m\"\n"));
    let shown = home.json(&["status", "--config"]);
    let every = shown.as_array().unwrap().iter().find(|it| it["key"] == "agent.a.every").unwrap();
    assert_eq!(every["value"], "7m");
}
