//! The sidecar from its start to its end: where it answers, who finds it, what it leaves behind.

use serde_json::json;

use crate::cli_home::Home;
use crate::server_home::holder;

#[test]
fn a_sidecar_answers_on_the_socket_that_the_lock_names_until_it_is_told_to_end() {
    let home = Home::new();
    home.checkpoint(r#"{"n":1}"#);
    let sidecar = home.serve(&[]);
    let path = home.store().join("stateward.sock");
    assert_eq!(sidecar.told["url"], format!("unix:{}", path.display()));
    assert_eq!(holder(&home.store())["socket"], path.to_str().unwrap());
    assert_eq!(sidecar.get("/livez").text(), "ok\n");

    let agents = sidecar.get("/v1/agents");
    assert_eq!(agents.status, 200);
    assert_eq!(agents.json()[0]["agent_id"], "default");
    assert_eq!(sidecar.get("/v1/status").json()["store"], home.store().to_str().unwrap());

    let (exit, err) = sidecar.stop();
    assert!(exit.success(), "{err}");
    assert!(!path.exists(), "the socket goes with the sidecar");
    assert_eq!(holder(&home.store()).get("socket"), None);
    assert_eq!(home.seqs(), [1]);
}

#[test]
fn a_second_sidecar_is_told_who_holds_the_store() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    let mut second = home.raw(&["serve", "--json"]);
    second.env("STATEWARD_STORE__LOCK_WAIT_MS", "50");
    let answer = crate::cli_home::Answer::of(&mut assert_cmd::Command::from_std(second));
    let (code, error) = answer.error();
    assert_eq!((code, &error["kind"]), (5, &json!("locked")));
    let named = format!("process {} on", sidecar.pid());
    assert!(error["message"].as_str().unwrap().contains(&named), "{error}");
    assert_eq!(sidecar.get("/livez").status, 200, "the first one goes on");
}
