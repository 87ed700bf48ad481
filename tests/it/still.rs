//! A sidecar that stands still, as one that was stopped does: it takes connections, holds the store and
//! answers nothing. Nobody waits for it without end, everybody says so, and once it goes on what
//! was missed is kept.

use std::process::Command;

use crate::cli_home::Home;
use crate::run_home::{Run, until, until_holds};

#[test]
fn a_command_beside_it_looks_and_says_who_holds_the_store() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    home.checkpoint("{\"n\":1}");
    sidecar.signal("STOP");
    let looked = home.json(&["list"]);
    assert_eq!(looked.as_array().unwrap().len(), 1, "looking needs nobody");
    let (code, error) = home.error(&["checkpoint", "--state", "state.json"]);
    assert_eq!((code, error["kind"].as_str()), (5, Some("locked")), "{error}");
    let said = error["message"].as_str().unwrap();
    assert!(said.contains(&format!("process {}", sidecar.pid())), "{said}");
    sidecar.signal("CONT");
    assert_eq!(home.checkpoint("{\"n\":2}")["seq"], 2);
}

#[test]
fn a_run_beside_it_goes_on_says_so_and_keeps_again_once_it_can() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    let script = "[ $STATEWARD_ATTEMPT = 1 ] || { echo again $(cat m.json); exit 0; }
        printf '{\"n\":1}' > m.json; echo 1
        until [ -e go ]; do sleep 0.05; done; printf '{\"n\":2}' > m.json; echo 2
        until [ -e crash ]; do sleep 0.05; done; printf '{\"n' > m.json; exit 3";
    home.write("a.sh", script);
    let said = home.path("said.txt");
    // What it says is read while it goes on.
    let flags = ["run", "--agent", "a", "--state", "m.json", "--restart", "always"];
    let run = home.raw(&[&flags[..], &["--", "sh", "a.sh"]].concat());
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2> said.txt"]).arg(run.get_program());
    command.args(run.get_args()).current_dir(home.path("")).env_clear();
    command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut run = Run::start(command.env("STATEWARD_RUN__STATE_SETTLE", "10ms"));
    assert_eq!(run.hear(), "1");
    let newest = || home.run(&["show", "latest", "--agent", "a", "--state"]).out;
    until("the first state is kept", || newest() == b"{\"n\":1}");
    sidecar.signal("STOP");
    home.write("go", "");
    assert_eq!(run.hear(), "2", "the agent goes on");
    until_holds(&said, "no checkpoint could be taken");
    assert_eq!(newest(), b"{\"n\":1}");
    sidecar.signal("CONT");
    until("what was missed is kept", || newest() == b"{\"n\":2}");
    sidecar.signal("STOP");
    home.write("crash", "");
    until_holds(&said, "it is not started again yet");
    sidecar.signal("CONT");
    assert_eq!(run.hear(), "again {\"n\":2}", "it is looked after before it is started again");
    let (code, _, _) = run.end();
    let said = String::from_utf8(home.read("said.txt")).unwrap();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("was damaged") && !said.contains("unsaved"), "{said}");
}
