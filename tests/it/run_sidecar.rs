//! `run` beside others: it is the sidecar, or joins the one there is; it takes over where that goes
//! away; and a restore under a living agent ends it, restores, and starts it again.

use serde_json::json;

use crate::cli_home::Home;
use crate::run_home::{Run, until};
use crate::server_home::{Place, Reply, holder};

/// An agent that posts to its sidecar; `post PATH BODY [KEY]` is the function to do it with.
const POST: &str = "post() {
    python3 - \"$1\" \"$2\" ${3-} <<'PY'
import http.client, os, socket, sys, time
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(os.environ['STATEWARD_URL'][5:])
for _ in range(600):
    try:
        link = Unix('localhost')
        link.request('POST', '/v1/agents/' + os.environ['STATEWARD_AGENT'] + sys.argv[1], sys.argv[2],
            {'Content-Type': 'application/json', 'Authorization': 'Bearer ' + os.environ['STATEWARD_TOKEN'],
                **{'Idempotency-Key': key for key in sys.argv[3:]}})
        answer = link.getresponse()
        print(answer.status, flush=True)
        answer.read()
        break
    except OSError:
        time.sleep(0.05)
PY
}
";

fn socket(home: &Home) -> Place {
    Place::Socket(home.store().join("stateward.sock"))
}

fn get(home: &Home, path: &str) -> Reply {
    socket(home).ask("GET", path, &[], b"")
}

fn start(home: &Home, agent: &str, script: &str, flags: &[&str]) -> Run {
    let path = home.write(&format!("{agent}.sh"), format!("#!/bin/sh\n{POST}{script}\n"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&path, mode).unwrap();
    let program = path.to_str().unwrap();
    let mut command = home.raw(&[&["run", "--agent", agent], flags, &["--", program]].concat());
    for (name, value) in
        [("RESTART_DELAY_INITIAL", "10ms"), ("STATE_SETTLE", "10ms"), ("STOP_GRACE", "20s")]
    {
        command.env(format!("STATEWARD_RUN__{name}"), value);
    }
    Run::start(&mut command)
}

fn newest_state(home: &Home, agent: &str) -> String {
    let flags = ["restore", "latest", "--agent", agent, "--state-out", "-"];
    let answer = home.run(&flags);
    String::from_utf8_lossy(&answer.out).into_owned()
}

#[test]
fn an_agent_finds_its_sidecar_and_reaches_its_own_alone() {
    let home = Home::new();
    let script = "echo \"$STATEWARD_URL\"
        post /checkpoints '{\"state\":{\"n\":1}}'
        post /observe '{\"step\":1}'
        post /reset '{}'
        STATEWARD_AGENT=b; post /checkpoints '{\"state\":{\"n\":1}}'
        STATEWARD_TOKEN=x; post /checkpoints '{\"state\":{\"n\":1}}'";
    let mut run = start(&home, "a", script, &[]);
    assert_eq!(run.hear(), format!("unix:{}", home.store().join("stateward.sock").display()));
    let heard: Vec<String> = (0..5).map(|_| run.hear()).collect();
    assert_eq!(heard, ["201", "200", "403", "403", "401"]);
    let (code, _, told) = run.end();
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("saved     1 checkpoint"), "what it posted is counted: {told}");
    assert_eq!(newest_state(&home, "a"), "{\"n\":1}");
}

#[test]
fn what_is_posted_is_kept_with_the_workspace_of_the_same_moment() {
    let home = Home::new();
    let work = home.write("work/a.txt", "one").parent().unwrap().to_owned();
    let script = format!(
        "cd {}; printf two > a.txt; post /checkpoints '{{\"state\":{{\"n\":2}}}}'
         printf three > a.txt; post /checkpoints '{{\"state\":{{\"n\":3}},\"workspace\":false}}'
         head -c1 >/dev/null",
        work.display()
    );
    let store = home.store();
    let flags = ["--store", store.to_str().unwrap(), "--workspace", work.to_str().unwrap()];
    let slow = [("QUIET_AFTER", "1h"), ("STEADY_EVERY", "1h")];
    let path = home.write("a.sh", format!("#!/bin/sh\n{POST}{script}\n"));
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut command =
        home.raw(&[&["run", "--agent", "a"], &flags[..], &["--", path.to_str().unwrap()]].concat());
    for (name, value) in slow {
        command.env(format!("STATEWARD_RUN__{name}"), value);
    }
    let mut run = Run::start(&mut command);
    assert_eq!([run.hear(), run.hear()], ["201", "201"]);
    let list = get(&home, "/v1/agents/a/checkpoints").json();
    let taken = |index: usize| list[index]["inherited"].get("workspace").is_none();
    assert!(!taken(0) && taken(1), "{list}");
    let (code, _, told) = run.end();
    assert_eq!(code, 0, "{told}");
}

#[test]
fn what_an_agent_asks_for_without_a_state_holds_the_one_in_its_file() {
    let home = Home::new();
    home.write("m.json", "{\"n\":1}");
    let script = "printf '{\"n\":2}' > m.json; post /operations '{\"name\":\"deploy\"}'
        printf '{\"n\":3}' > m.json; post /checkpoints '{}'
        post /checkpoints '{\"state_files\":false}'
        printf '{\"n\":4' > m.json; post /checkpoints '{}' key
        printf '{\"n\":5}' > m.json; post /checkpoints '{}' key; head -c1 > /dev/null";
    let path = home.write("a.sh", format!("#!/bin/sh\n{POST}{script}\n"));
    let flags = ["run", "--agent", "a", "--state", "m.json", "--", "sh", path.to_str().unwrap()];
    let mut command = home.raw(&flags);
    // By itself it would not look before it is all over.
    command.env("STATEWARD_RUN__STATE_SETTLE", "1h").env("STATEWARD_RUN__EVERY", "1h");
    command.env("STATEWARD_RETENTION__ROUTINE__KEEP_LAST", "100");
    let mut run = Run::start(command.env("STATEWARD_RUN__LOOK_EVERY", "1h"));
    let heard: Vec<String> = (0..5).map(|_| run.hear()).collect();
    assert_eq!(heard, ["201", "201", "201", "201", "200"], "the last is the same request again");
    let list = get(&home, "/v1/agents/a/checkpoints").json();
    let states: Vec<String> = ["#1", "#2", "#3", "#4", "#5"]
        .iter()
        .map(|seq| home.run(&["restore", seq, "--agent", "a", "--state-out", "-"]))
        .map(|answer| String::from_utf8(answer.out).unwrap())
        .collect();
    let of = |n: u64| format!("{{\"n\":{n}}}");
    assert_eq!(states, [of(1), of(2), of(3), of(3), of(3)], "{list}");
    let (code, _, told) = run.end();
    assert_eq!(code, 0, "{told}");
}

#[test]
fn a_restore_under_a_living_agent_ends_it_restores_and_starts_it_again() {
    let home = Home::new();
    home.write("m.json", "{\"n\":1}");
    let script = "echo \"$STATEWARD_ATTEMPT $(cat m.json) [$STATEWARD_RESTORED_FROM]\"
        [ $STATEWARD_ATTEMPT = 1 ] || exit 0
        printf '{\"n\":2}' > m.json; sleep 600";
    for joined in [false, true] {
        home.write("m.json", "{\"n\":1}");
        home.run(&["reset", "--agent", "a"]);
        let sidecar = joined.then(|| home.serve(&[]));
        let mut run = start(&home, "a", script, &["--state", "m.json"]);
        assert_eq!(run.hear(), "1 {\"n\":1} []");
        until("the second state is kept", || newest_state(&home, "a") == "{\"n\":2}");
        let first = home.json(&["list", "--agent", "a"]);
        let first = first.as_array().unwrap();
        let is_first = |it: &&serde_json::Value| it["kind"] == "routine";
        let id = first.iter().filter(is_first).nth(1).unwrap()["checkpoint_id"].clone();
        let restored = home.json(&["restore", id.as_str().unwrap(), "--agent", "a"]);
        assert_eq!((&restored["checkpoint_id"], &restored["state"]), (&id, &json!({"n": 1})));
        assert_eq!(run.hear(), format!("2 {{\"n\":1}} [{}]", id.as_str().unwrap()));
        let (code, _, told) = run.end();
        assert_eq!(code, 0, "{told}");
        assert!(told.contains("was ordered"), "{told}");
        drop(sidecar);
    }
}

#[test]
fn a_run_joins_and_takes_over_where_its_sidecar_goes_away() {
    let home = Home::new();
    let script = "post /checkpoints '{\"state\":{\"n\":1}}'
        while [ ! -e go ]; do sleep 0.05; done
        post /checkpoints '{\"state\":{\"n\":2}}'
        while [ ! -e end ]; do sleep 0.05; done";
    for ends_by in ["KILL", "TERM"] {
        for name in ["go", "end"] {
            std::fs::remove_file(home.path(name)).ok();
        }
        let mut sidecar = home.serve(&[]);
        let mut runs = [start(&home, "a", script, &[]), start(&home, "b", script, &[])];
        for run in &mut runs {
            assert_eq!(run.hear(), "201");
        }
        assert_eq!(holder(&home.store())["pid"], sidecar.pid());
        sidecar.signal(ends_by);
        sidecar.over();
        until("one of them is the sidecar", || {
            // For a moment the text names nobody.
            let text = std::fs::read(home.store().join("lock")).unwrap_or_default();
            let holder: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
            let pid = holder["socket"].as_str().and(holder["pid"].as_i64());
            runs.iter().any(|run| pid == Some(run.pid().into()))
        });
        home.write("go", "");
        for run in &mut runs {
            assert_eq!(run.hear(), "201", "what the agent asks reaches the new one");
        }
        home.write("end", "");
        for run in runs {
            let (code, _, told) = run.end();
            assert_eq!(code, 0, "{told}");
            assert!(told.contains("the sidecar was lost"), "{told}");
        }
        for agent in ["a", "b"] {
            assert_eq!(newest_state(&home, agent), "{\"n\":2}");
        }
    }
}

/// An agent that saves again and again through the API. Where nobody answers, because the sidecar goes
/// away and another takes over, it asks again under the same key, so that nothing is saved twice.
const SAVER: &str = r#"
import http.client, os, socket, sys, time
steps, pause = int(sys.argv[1]), float(sys.argv[2])
class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(os.environ["STATEWARD_URL"][5:])
def save(n):
    path = "/v1/agents/%s/checkpoints" % os.environ["STATEWARD_AGENT"]
    head = {"Content-Type": "application/json", "Idempotency-Key": "step-%d" % n,
            "Authorization": "Bearer " + os.environ["STATEWARD_TOKEN"]}
    link = Unix("localhost")
    link.request("POST", path, '{"state":{"n":%d}}' % n, head)
    return link.getresponse().status
began = time.monotonic()
for n in range(1, steps + 1):
    for _ in range(4000):
        try:
            if save(n) in (200, 201):
                break
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.05)
    else:
        sys.exit("step %d was not saved" % n)
    time.sleep(max(0, began + n * pause - time.monotonic()))
"#;

#[test]
fn many_runs_share_one_store() {
    let whole = std::env::var_os("STATEWARD_EXHAUSTIVE").is_some();
    let (all, steps, pause) = if whole { (100, 60, "1") } else { (8, 5, "0.1") };
    let home = Home::new();
    let saver = home.write("saver.py", SAVER);
    let script = format!("exec python3 {} {steps} {pause}", saver.display());
    let agents: Vec<String> = (0..all).map(|n| format!("a{n}")).collect();
    let runs: Vec<Run> = agents.iter().map(|agent| start(&home, agent, &script, &[])).collect();
    for run in runs {
        let (code, _, told) = run.end();
        assert_eq!(code, 0, "{told}");
    }
    for agent in &agents {
        assert_eq!(newest_state(&home, agent), format!("{{\"n\":{steps}}}"));
        let newest = home.json(&["list", "--agent", agent, "--limit", "1"]);
        assert_eq!(newest[0]["seq"], steps, "one for each step: {newest}");
    }
    let verified = home.json(&["verify"]);
    assert_eq!(verified[0]["sound"], true, "{verified}");
}

#[test]
fn the_second_run_of_an_agent_is_told_who_runs_it() {
    let home = Home::new();
    let mut first = start(&home, "a", "echo up; while [ ! -e end ]; do sleep 0.05; done", &[]);
    assert_eq!(first.hear(), "up");
    let (code, _, told) = start(&home, "a", "echo two", &[]).end();
    assert_eq!(code, 5, "{told}");
    assert!(told.contains(&format!("process {} on", first.pid())), "{told}");
    home.write("end", "");
    assert_eq!(first.end().0, 0);
}

#[test]
fn what_an_agent_says_through_the_api_is_a_sign_of_life() {
    let home = Home::new();
    let script = "[ $STATEWARD_ATTEMPT = 1 ] || { echo again; exit 0; }
        for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
            post /observe '{\"heartbeat\":true}' > /dev/null; sleep 0.7
        done
        echo lived; sleep 600";
    let mut run = start(&home, "a", script, &["--heartbeat-timeout", "6s"]);
    assert_eq!(run.hear(), "lived");
    assert_eq!(run.hear(), "again", "then it was silent, and was started again");
    let (code, _, told) = run.end();
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("no sign of life"), "{told}");
}
