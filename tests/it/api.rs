//! What is asked over HTTP is done by the library and answered as it answers: bytes, conditions,
//! repetitions, patches, operations, the way back.

use serde_json::{Value, json};

use crate::cli_home::Home;
use crate::server_home::{Reply, Sidecar};

const CHECKPOINTS: &str = "/v1/agents/a/checkpoints";

fn post_with(sidecar: &Sidecar, path: &str, headers: &[&str], body: &str) -> Reply {
    let headers = [&["content-type: application/json"], headers].concat();
    sidecar.socket().ask("POST", path, &headers, body.as_bytes())
}

fn seqs(sidecar: &Sidecar) -> Vec<u64> {
    let list = sidecar.get(CHECKPOINTS).json();
    list.as_array().unwrap().iter().map(|it| it["seq"].as_u64().unwrap()).collect()
}

fn state(sidecar: &Sidecar, reference: &str) -> String {
    let answer = sidecar.get(&format!("{CHECKPOINTS}/{reference}/state"));
    assert_eq!(answer.status, 200, "{answer}");
    answer.text().to_owned()
}

#[test]
fn a_state_comes_back_byte_for_byte() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    let state_text = r#"{"b":9007199254740993, "a":1e400,"c":"\ud800", "b2":[ 1 ]}"#;
    let made = sidecar.post(CHECKPOINTS, &format!(r#"{{"state":{state_text},"comment":"x"}}"#));
    assert_eq!(made.status, 201, "{made}");
    let receipt = made.json();
    assert_eq!((&receipt["seq"], &receipt["durable"]), (&json!(1), &json!("local")));
    assert_eq!(made.header("etag"), Some("\"1\""));
    assert_eq!(state(&sidecar, "latest"), state_text);
    let shown = sidecar.get(&format!("{CHECKPOINTS}/latest")).json();
    assert_eq!(
        (&shown["comment"], &shown["checkpoint_id"]),
        (&json!("x"), &receipt["checkpoint_id"])
    );
    drop(sidecar);
    let home_state = home.done(&["restore", "latest", "--agent", "a", "--state-out", "-"]).out;
    assert_eq!(home_state, state_text.as_bytes());
}

#[test]
fn what_does_not_fit_is_a_problem_and_keeps_nothing() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    for body in [
        r#"{"stat":{}}"#,
        r#"{"state":[]}"#,
        r#"{"state":{"a":1,}}"#,
        r#"{"kind":"daily","state":{}}"#,
        r#"{"state":{},"labels":[]}"#,
        "[",
    ] {
        sidecar.post(CHECKPOINTS, body).problem(400, "usage");
    }
    sidecar.post(CHECKPOINTS, "{}").problem(400, "usage");
    sidecar.post("/v1/agents/..%2Fx/checkpoints", r#"{"state":{}}"#).problem(400, "usage");
    sidecar.post(CHECKPOINTS, r#"{"state":{},"patch":[]}"#).problem(409, "refused");
    sidecar.get(&format!("{CHECKPOINTS}/latest")).problem(404, "not_found");
    sidecar.get(&format!("{CHECKPOINTS}?limit=many")).problem(400, "usage");
    assert_eq!(seqs(&sidecar), Vec::<u64>::new());
}

#[test]
fn a_condition_is_about_the_state_and_not_about_other_checkpoints() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    let first = post_with(&sidecar, CHECKPOINTS, &["if-none-match: *"], r#"{"state":{"n":1}}"#);
    assert_eq!(first.status, 201, "{first}");
    post_with(&sidecar, CHECKPOINTS, &["if-none-match: *"], r#"{"state":{"n":2}}"#)
        .problem(412, "stale");
    // A checkpoint that takes the state over does not change it.
    let other = sidecar.post(CHECKPOINTS, r#"{"kind":"recovery"}"#);
    assert_eq!((other.status, other.header("etag")), (201, Some("\"1\"")), "{other}");
    let second = post_with(&sidecar, CHECKPOINTS, &["if-match: \"1\""], r#"{"state":{"n":2}}"#);
    assert_eq!((second.status, second.header("etag")), (201, Some("\"3\"")), "{second}");
    post_with(&sidecar, CHECKPOINTS, &["if-match: \"1\""], r#"{"state":{"n":3}}"#)
        .problem(412, "stale");
    let read = sidecar.get(&format!("{CHECKPOINTS}/latest/state"));
    assert_eq!((read.text(), read.header("etag")), (r#"{"n":2}"#, Some("\"3\"")));
}

#[test]
fn what_a_recovery_checkpoint_found_is_not_the_state_that_an_agent_is_at() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    sidecar.post(CHECKPOINTS, r#"{"state":{"n":1}}"#);
    sidecar.post(CHECKPOINTS, r#"{"state":{"n":2}}"#);
    let found = sidecar.post(CHECKPOINTS, r#"{"kind":"recovery","state":{"n":1}}"#);
    assert_eq!(found.status, 201, "{found}");
    let other = sidecar.post(CHECKPOINTS, r#"{"kind":"pre_operation","comment":"no state"}"#);
    assert_eq!((other.status, other.header("etag")), (201, Some("\"2\"")), "{other}");
    assert_eq!(other.json()["inherited"]["state"], 2, "{other}");
    assert_eq!(state(&sidecar, "latest"), r#"{"n":2}"#);
    sidecar.post(CHECKPOINTS, r#"{"kind":"recovery","state":{"n":0}}"#);
    let third = post_with(&sidecar, CHECKPOINTS, &["if-match: \"2\""], r#"{"state":{"n":3}}"#);
    assert_eq!(third.status, 201, "{third}");
}

#[test]
fn what_a_restore_replaced_comes_back_and_not_what_a_crash_had_left() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    for body in
        [r#"{"state":{"n":1}}"#, r#"{"state":{"n":2}}"#, r#"{"kind":"recovery","state":{"n":0}}"#]
    {
        assert_eq!(sidecar.post(CHECKPOINTS, body).status, 201);
    }
    home.done(&["--agent", "a", "restore", "1", "--live"]);
    assert_eq!(state(&sidecar, "latest"), r#"{"n":1}"#);
    home.done(&["--agent", "a", "undo", "--live"]);
    assert_eq!(state(&sidecar, "latest"), r#"{"n":2}"#);
}

#[test]
fn the_state_that_latest_shows_can_be_gone_on_from_where_newer_ones_are_tainted() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    for n in 1..=3 {
        sidecar.post(CHECKPOINTS, &format!(r#"{{"state":{{"n":{n}}}}}"#));
    }
    home.done(&["--agent", "a", "drift", "mark", "3", "bad"]);
    let read = sidecar.get(&format!("{CHECKPOINTS}/latest/state"));
    assert_eq!((read.text(), read.header("etag")), (r#"{"n":2}"#, Some("\"2\"")));
    post_with(&sidecar, CHECKPOINTS, &["if-match: \"1\""], r#"{"state":{"n":4}}"#)
        .problem(412, "stale");
    let fourth = post_with(&sidecar, CHECKPOINTS, &["if-match: \"2\""], r#"{"state":{"n":4}}"#);
    assert_eq!(fourth.status, 201, "{fourth}");
    post_with(&sidecar, CHECKPOINTS, &["if-match: \"2\""], r#"{"state":{"n":5}}"#)
        .problem(412, "stale");
}

#[test]
fn patches_from_many_sides_are_all_in_the_state_in_the_end() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    sidecar.post(CHECKPOINTS, r#"{"state":{}}"#);
    let (sides, each) = (6, 10);
    std::thread::scope(|scope| {
        for side in 0..sides {
            let sidecar = &sidecar;
            scope.spawn(move || {
                for n in 0..each {
                    let made =
                        sidecar.post(CHECKPOINTS, &format!(r#"{{"patch":{{"{side}-{n}":1}}}}"#));
                    assert_eq!(made.status, 201, "{made}");
                }
            });
        }
    });
    let latest: Value = serde_json::from_str(&state(&sidecar, "latest")).unwrap();
    assert_eq!(latest.as_object().unwrap().len(), sides * each, "{latest}");
}

#[test]
fn a_key_answers_its_first_receipt_also_after_a_restart() {
    let home = Home::new();
    let key = ["idempotency-key: step-1"];
    let mut sidecar = home.serve(&[]);
    let first = post_with(&sidecar, CHECKPOINTS, &key, r#"{"state":{"n":1}}"#);
    assert_eq!(first.status, 201, "{first}");
    for _ in 0..2 {
        let again = post_with(&sidecar, CHECKPOINTS, &key, r#"{"state":{"n":1}}"#);
        assert_eq!(again.status, 200, "{again}");
        assert_eq!(again.json()["checkpoint_id"], first.json()["checkpoint_id"]);
        post_with(&sidecar, CHECKPOINTS, &key, r#"{"state":{"n":2}}"#).problem(422, "refused");
        sidecar.kill();
        sidecar = home.serve(&[]);
    }
    assert_eq!(seqs(&sidecar), [1]);
}

#[test]
fn a_patch_is_applied_to_the_newest_state_and_once_under_its_key() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    sidecar.post(CHECKPOINTS, r#"{"state":{"steps":[1],"x":1e400}}"#);
    let add = r#"{"patch":[{"op":"test","path":"/steps/0","value":1},{"op":"add","path":"/steps/-","value":2}]}"#;
    let key = ["idempotency-key: add-2"];
    assert_eq!(post_with(&sidecar, CHECKPOINTS, &key, add).status, 201);
    assert_eq!(state(&sidecar, "latest"), r#"{"steps":[1,2],"x":1e400}"#);
    assert_eq!(post_with(&sidecar, CHECKPOINTS, &key, add).status, 200);
    let merged = sidecar.post(CHECKPOINTS, r#"{"patch":{"x":null,"y":"z"}}"#);
    assert_eq!(merged.status, 201, "{merged}");
    assert_eq!(state(&sidecar, "latest"), r#"{"steps":[1,2],"y":"z"}"#);
    sidecar
        .post(CHECKPOINTS, r#"{"patch":[{"op":"test","path":"/y","value":"q"}]}"#)
        .problem(400, "usage");
    assert_eq!(seqs(&sidecar), [3, 2, 1]);
}

#[test]
fn what_is_not_due_is_not_kept() {
    let home = Home::new();
    let mut command = home.raw(&["serve", "--json"]);
    command.env("STATEWARD_SERVER__SAVE_POLICY", "at_progress 0.5");
    let sidecar = Sidecar::start(&mut command);
    let ask = |progress: &str, n: u8| {
        let path = format!("{CHECKPOINTS}?if_due&progress={progress}");
        sidecar.post(&path, &format!(r#"{{"state":{{"n":{n}}}}}"#))
    };
    assert_eq!(ask("0.0", 1).status, 201, "the first is due");
    let not_yet = ask("0.4", 2);
    assert_eq!((not_yet.status, not_yet.json()), (200, json!({ "due": false })));
    assert_eq!(ask("0.5", 3).status, 201);
    assert_eq!(state(&sidecar, "latest"), r#"{"n":3}"#);
}

#[test]
fn an_operation_that_fails_is_rolled_back() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    sidecar.post(CHECKPOINTS, r#"{"state":{"n":1}}"#);
    let begun = sidecar.post("/v1/agents/a/operations", r#"{"name":"deploy","state":{"n":2}}"#);
    assert_eq!((begun.status, &begun.json()["kind"]), (201, &json!("pre_operation")), "{begun}");
    sidecar.post(CHECKPOINTS, r#"{"state":{"n":3},"operation":"deploy"}"#);
    let failed =
        sidecar.post("/v1/agents/a/operations/deploy/fail", r#"{"why":"broke","restore":true}"#);
    assert_eq!(failed.status, 200, "{failed}");
    let failed = failed.json();
    assert_eq!(
        (&failed["operation"]["status"], &failed["operation"]["why"]),
        (&json!("failed"), &json!("broke"))
    );
    assert_eq!(failed["restored"]["checkpoint_id"], begun.json()["checkpoint_id"]);
    assert_eq!(state(&sidecar, "latest"), r#"{"n":2}"#);
    sidecar.post("/v1/agents/a/operations/deploy/complete", "{}").problem(404, "not_found");
    assert_eq!(sidecar.get("/v1/agents/a/operations").json()[0]["name"], "deploy");
}

#[test]
fn a_restore_is_planned_done_and_taken_back() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    let body = r#"{"state":{"n":1},"labels":{"keep":"yes"}}"#;
    let first: Value = sidecar.post(CHECKPOINTS, body).json();
    sidecar.post(CHECKPOINTS, r#"{"state":{"n":2}}"#);
    let id = first["checkpoint_id"].as_str().unwrap();
    let planned = sidecar.post(&format!("{CHECKPOINTS}/{id}/restore?dry_run"), "{}");
    assert_eq!((planned.status, &planned.json()["dry_run"]), (200, &json!(true)), "{planned}");
    assert_eq!(state(&sidecar, "latest"), r#"{"n":2}"#);
    let path = json!({ "path": first["path"] }).to_string();
    let done = sidecar.post("/v1/restore", &path);
    assert_eq!(done.status, 200, "{done}");
    assert_eq!(
        (&done.json()["checkpoint_id"], &done.json()["state"]),
        (&first["checkpoint_id"], &json!({"n": 1}))
    );
    assert_eq!(state(&sidecar, "latest"), r#"{"n":1}"#);
    assert_eq!(sidecar.post("/v1/agents/a/undo", "{}").status, 200);
    assert_eq!(state(&sidecar, "latest"), r#"{"n":2}"#);
    let diff = sidecar.get(&format!("{CHECKPOINTS}/{id}/diff/latest")).json();
    assert_eq!(diff["state"][0]["path"], "/n");
    sidecar.post("/v1/restore", r#"{"path":"/nowhere"}"#).problem(400, "usage");
    sidecar.post(&format!("{CHECKPOINTS}/01234567/restore"), "{}").problem(404, "not_found");
}

#[test]
fn an_agent_says_how_it_is_and_is_told_how_it_stands() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    sidecar.post(CHECKPOINTS, r#"{"state":{"n":1}}"#);
    let body = r#"[{"step":1,"action":{"name":"edit","input_digest":"a"},"ok":true},{"metrics":{"cost":0.1}}]"#;
    let told = sidecar.post("/v1/agents/a/observe", body);
    assert_eq!(told.status, 200, "{told}");
    assert_eq!(
        (&told.json()["directive"], &told.json()["verdict"]["level"]),
        (&json!("continue"), &json!("ok"))
    );
    sidecar.post("/v1/agents/a/observe", r#"{"metrics":{"x":"y"}}"#).problem(400, "usage");
    let drift = sidecar.get("/v1/agents/a/drift").json();
    assert!(drift["signals"].as_array().is_some_and(|all| !all.is_empty()), "{drift}");
    let marked =
        sidecar.post(&format!("{CHECKPOINTS}/latest/mark"), r#"{"word":"bad","why":"no"}"#);
    assert_eq!(marked.status, 200, "{marked}");
    assert_eq!(sidecar.get(CHECKPOINTS).json()[0]["tainted"], true);
}

#[test]
fn agents_whose_names_begin_alike_are_told_apart() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    for (agent, n) in [("team%2Fa", 1), ("team%2Fa%2Fb", 2), ("team", 3)] {
        let path = format!("/v1/agents/{agent}/checkpoints");
        assert_eq!(sidecar.post(&path, &format!(r#"{{"state":{{"n":{n}}}}}"#)).status, 201);
    }
    let read = sidecar.get("/v1/agents/team%2Fa/checkpoints/latest/state");
    assert_eq!(read.text(), r#"{"n":1}"#);
    assert_eq!(sidecar.get("/v1/agents").json().as_array().unwrap().len(), 3);
}
