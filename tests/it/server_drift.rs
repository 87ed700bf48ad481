//! Drift over the sidecar's socket: who does what is due.

use serde_json::{Value, json};

use crate::cli_home::Home;
use crate::run_home::until;
use crate::server_home::Place;

/// Says the same thing often enough to be going round in circles; the last answer.
fn go_round(place: &Place, agent: &str) -> Value {
    let same = json!({ "action": { "name": "read", "input_digest": "a" }, "ok": true,
        "result_digest": "b" });
    let all = Value::Array(vec![same; 20]).to_string();
    let told = place.post(&format!("/v1/agents/{agent}/observe"), &all);
    assert_eq!(told.status, 200, "{told}");
    told.json()
}

#[test]
fn an_agent_that_nobody_attends_is_answered_by_the_sidecar() {
    let home = Home::new();
    home.configure("[drift]\ninvariants = [{ pointer = \"/goal\", required = true }]\n");
    let sidecar = home.serve(&[]);
    for state in [json!({ "goal": 1, "n": 1 }), json!({ "goal": 1, "n": 2 }), json!({ "n": 3 })] {
        let kept =
            sidecar.post("/v1/agents/default/checkpoints", &json!({ "state": state }).to_string());
        assert_eq!(kept.status, 201, "{kept}");
    }
    let told = sidecar.post("/v1/agents/default/observe", r#"{"heartbeat":true}"#);
    assert_eq!(told.json()["directive"], "restore", "{told}");
    assert_eq!(told.json()["due"], false, "it is done: {told}");
    let latest = sidecar.get("/v1/agents/default/checkpoints/latest/state");
    assert_eq!(latest.json(), json!({ "goal": 1, "n": 2 }), "back to before the onset");
    until("who looks beside the sidecar sees it", || home.answers() == ["restore"]);
    let kinds = sidecar.get("/v1/agents/default/checkpoints?kind=recovery").json();
    assert_eq!(kinds.as_array().map(Vec::len), Some(1), "what was there is kept: {kinds}");
    let again = sidecar.post("/v1/agents/default/observe", r#"{"heartbeat":true}"#).json();
    assert_ne!(again["directive"], "restore", "a cause is answered once: {again}");
    assert_eq!(home.answers(), ["restore"]);
}

#[test]
fn an_agent_that_a_run_attends_is_answered_by_the_run() {
    let home = Home::new();
    home.configure("[drift.policies]\nbehaviour = \"restart\"\n[run]\nlook_every = \"200ms\"\n");
    home.agent("echo $STATEWARD_ATTEMPT; exec sleep 1000");
    let sidecar = home.serve(&[]);
    let mut run = home.start_agent(&[]);
    assert_eq!(run.hear(), "1");
    let told = go_round(&sidecar.socket(), "default");
    assert_eq!((&told["directive"], &told["due"]), (&json!("stop"), &json!(true)), "{told}");
    assert_eq!(run.hear(), "2", "it is started again by whom it is run");
    until("it is answered", || home.answers() == ["restart"]);
    run.signal("TERM");
    run.end();
    // The same of an agent that runs somewhere else.
    let kept = sidecar.post("/v1/agents/b/checkpoints", r#"{"state":{"n":1}}"#);
    assert_eq!(kept.status, 201, "{kept}");
    let told = go_round(&sidecar.socket(), "b");
    assert_eq!((&told["directive"], &told["due"]), (&json!("stop"), &json!(false)), "{told}");
    let of_b = || {
        let log = home.json(&["log"]);
        let all = log.as_array().unwrap().iter();
        let of_b = all.filter(|it| it["entry"] == "drift_answered" && it["agent_id"] == "b");
        of_b.map(|it| it["detail"]["done"].clone()).collect::<Vec<_>>()
    };
    until("who looks beside the sidecar sees what was done", || !of_b().is_empty());
    assert_eq!(of_b(), ["restart"], "it is answered once, before it is told");
}

#[test]
fn whoever_looks_beside_a_sidecar_sees_what_is_not_written_down_yet() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    let observe = |metric: &str| {
        let body = json!({ "action": { "name": "edit" }, "ok": true, "metrics": { metric: 1.0 } });
        let told = sidecar.post("/v1/agents/default/observe", &body.to_string());
        assert_eq!(told.status, 200, "{told}");
    };
    observe("first");
    until("it is written down", || home.told_beside("first"));
    // What the detectors remember is written down at once the first time, then every half minute.
    observe("second");
    let drift = home.json(&["drift"]);
    let subjects: Vec<&str> = drift["signals"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["subject"].as_str())
        .collect();
    assert!(subjects.contains(&"second"), "{subjects:?}");
    assert_eq!(drift["verdict"]["observation"], 2);
    let status = home.json(&["status"]);
    let seen = &status["seen"]["default"];
    let fed = |list: &str, name: &str, value: &str| {
        let all = seen[list].as_array().unwrap();
        let found = all.iter().find(|it| it[name] == value).unwrap_or_else(|| panic!("{seen}"));
        found["feed"].as_str().unwrap().to_owned()
    };
    assert_eq!(fed("sources", "source", "observations"), "fed");
    assert_eq!(fed("sources", "source", "process_group"), "blind");
    assert_eq!(fed("sources", "source", "output"), "blind");
    assert_eq!(fed("signals", "subject", "second"), "fed");
    assert_eq!(fed("signals", "signal", "crash_loop"), "blind");
    let text = home.done(&["status"]).text().to_owned();
    assert!(text.contains("metric:second") && text.contains("blind"), "{text}");
    let text = home.done(&["drift"]).text().to_owned();
    assert!(text.contains("process group") && text.contains("SEEN FROM"), "{text}");
}

impl Home {
    /// Whether a metric is known to whoever reads the store itself.
    fn told_beside(&self, metric: &str) -> bool {
        let options = stateward::Options::new(self.store());
        let manager = stateward::CheckpointManager::open_to_look(options).unwrap();
        let report = manager.agent("default").unwrap().drift_report().unwrap();
        report.signals.iter().any(|it| it.subject == metric)
    }
}
