//! The token that `run` exports reaches its own agent, and of that what an agent may do: each route is
//! tried with it, for itself and for another.

use serde_json::{Value, json};

use crate::cli_home::Home;
use crate::run_home::Run;
use crate::server_home::{Place, Reply, Sidecar};

/// What an agent may ask about itself.
const OWN: [&str; 15] = [
    "get /v1/agents/{agent}/checkpoints",
    "post /v1/agents/{agent}/checkpoints",
    "get /v1/agents/{agent}/checkpoints/{reference}",
    "get /v1/agents/{agent}/checkpoints/{reference}/state",
    "get /v1/agents/{agent}/checkpoints/{reference}/files",
    "get /v1/agents/{agent}/checkpoints/{reference}/diff/{to}",
    "post /v1/agents/{agent}/checkpoints/{reference}/restore",
    "post /v1/agents/{agent}/undo",
    "get /v1/agents/{agent}/operations",
    "post /v1/agents/{agent}/operations",
    "post /v1/agents/{agent}/operations/{operation}/complete",
    "post /v1/agents/{agent}/operations/{operation}/fail",
    "post /v1/agents/{agent}/observe",
    "get /v1/agents/{agent}/drift",
    "post /v1/settle",
];

/// What tells nothing of anybody.
const ANYBODY: [&str; 3] = ["get /livez", "get /readyz", "get /openapi.json"];

/// An agent that is being run, beside one whose checkpoint is none of its business.
struct Ward {
    home: Home,
    sidecar: Sidecar,
    run: Run,
    place: Place,
    headers: [String; 3],
    /// The other's checkpoint.
    others: String,
}

impl Ward {
    fn new() -> Self {
        let home = Home::new();
        home.write("state.json", r#"{"secret":"of another"}"#);
        let other = home.json(&["checkpoint", "--agent", "b", "--state", "state.json"]);
        home.agent("echo \"$STATEWARD_TOKEN\"; exec sleep 1000");
        let sidecar = home.serve(&["--listen", "127.0.0.1:0", "--token-file", "token"]);
        let address = sidecar.told["tcp_url"].as_str().unwrap().strip_prefix("http://").unwrap();
        let mut run = home.start_agent(&["--agent", "a"]);
        let token = run.hear();
        run.ignore();
        let headers = [
            format!("host: {address}"),
            format!("authorization: Bearer {token}"),
            "content-type: application/json".to_owned(),
        ];
        let place = Place::Address(address.to_owned());
        let others = other["checkpoint_id"].as_str().unwrap().to_owned();
        Self { home, sidecar, run, place, headers, others }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Reply {
        let headers: Vec<&str> = self.headers.iter().map(String::as_str).collect();
        let (method, body) = (method.to_uppercase(), body.to_string());
        let body = if method == "POST" { body.as_bytes() } else { b"" };
        self.place.ask(&method, path, &headers, body)
    }

    fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("post", &format!("/v1/agents/a{path}"), body)
    }

    fn get(&self, path: &str) -> Reply {
        self.ask("get", &format!("/v1/agents/a{path}"), &Value::Null)
    }

    fn operations(&self) -> Vec<String> {
        let document = self.sidecar.get("/openapi.json").json();
        let mut all = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            all.extend(item.as_object().unwrap().keys().map(|method| format!("{method} {path}")));
        }
        all
    }

    fn end(self) {
        self.run.signal("TERM");
        let (_, _, told) = self.run.end();
        let (exit, err) = self.sidecar.stop();
        assert!(exit.success(), "{err}\n{told}");
    }
}

/// A path of the description, for this agent.
fn path_of(operation: &str, agent: &str) -> String {
    let path = operation.split_once(' ').unwrap().1.replace("{agent}", agent);
    path.replace("{reference}", "latest").replace("{to}", "latest").replace("{operation}", "none")
}

#[test]
fn each_route_that_is_not_the_agents_own_is_closed_to_it() {
    let ward = Ward::new();
    let state = json!({ "state": {"n": 1} });
    assert_eq!(ward.post("/checkpoints", &state).status, 201);
    let before = ward.home.json(&["list", "--agent", "b"]);
    let operations = ward.operations();
    for known in OWN.iter().chain(&ANYBODY) {
        assert!(operations.iter().any(|it| it == known), "there is no {known}");
    }
    for operation in &operations {
        let method = operation.split(' ').next().unwrap();
        let theirs = ward.ask(method, &path_of(operation, "b"), &json!({}));
        let own = ward.ask(method, &path_of(operation, "a"), &json!({}));
        let is_open = OWN.contains(&operation.as_str()) || ANYBODY.contains(&operation.as_str());
        assert_eq!(own.status == 403, !is_open, "{operation} of its own: {own}");
        if !is_open || operation.contains("{agent}") {
            theirs.problem(403, "refused");
            assert!(!theirs.text().contains("of another"), "{theirs}");
        }
    }
    assert_eq!(ward.home.json(&["list", "--agent", "b"]), before);
    ward.end();
}

#[test]
fn an_agent_creates_reads_observes_and_restores_its_own() {
    let ward = Ward::new();
    for n in 1..=2 {
        let made = ward.post("/checkpoints", &json!({ "state": {"n": n}, "labels": {"n": "x"} }));
        assert_eq!(made.status, 201, "{made}");
    }
    let list = ward.get("/checkpoints").json();
    let older = list[1]["checkpoint_id"].as_str().unwrap();
    assert_eq!(ward.get("/checkpoints/latest/state").json(), json!({ "n": 2 }));
    assert_eq!(ward.get(&format!("/checkpoints/{older}/diff/latest")).status, 200);
    assert_eq!(ward.post("/operations", &json!({ "name": "deploy" })).status, 201);
    assert_eq!(ward.post("/operations/deploy/complete", &json!({})).status, 200);
    let observed = ward.post("/observe", &json!({ "step": 1, "ok": true })).json();
    assert_eq!(observed["directive"], "continue");
    assert_eq!(ward.get("/drift").json()["verdict"]["level"], "ok");
    let restored = ward.post(&format!("/checkpoints/{older}/restore"), &json!({}));
    assert_eq!(restored.status, 200, "{restored}");
    assert_eq!(ward.get("/checkpoints/latest/state").json(), json!({ "n": 1 }));
    assert_eq!(ward.post("/undo", &json!({})).status, 200);
    assert_eq!(ward.get("/checkpoints/latest/state").json(), json!({ "n": 2 }));
    ward.end();
}

#[test]
fn what_is_anothers_is_not_reached_by_its_id_nor_by_words_of_the_owners() {
    let ward = Ward::new();
    assert_eq!(ward.post("/checkpoints", &json!({ "state": {"n": 1} })).status, 201);
    let id = &ward.others;
    for of in [id.clone(), format!("{id}/state"), format!("{id}/files")] {
        ward.get(&format!("/checkpoints/{of}")).problem(403, "refused");
    }
    for of in [format!("{id}/diff/latest"), format!("latest/diff/{id}")] {
        ward.get(&format!("/checkpoints/{of}")).problem(403, "refused");
    }
    let wide = json!({ "options": {"any_agent": true} });
    let away = json!({ "options": {"workspace": ward.home.path("")} });
    let owner = json!({ "owner": {"workspace": ward.home.path("")} });
    for body in [&json!({}), &wide, &away, &owner, &json!({ "options": {"live": true} })] {
        ward.post(&format!("/checkpoints/{id}/restore"), body).problem(403, "refused");
    }
    for body in [&wide, &away, &owner] {
        ward.post("/checkpoints/latest/restore", body).problem(403, "refused");
        ward.post("/undo", body).problem(403, "refused");
    }
    ward.post("/checkpoints", &owner).problem(403, "refused");
    let named = json!({ "name": "x", "owner": {"by_hand": true} });
    ward.post("/operations", &named).problem(403, "refused");
    let closed = json!({ "restore": true, "owner": {"by_hand": true} });
    ward.post("/operations/x/fail", &closed).problem(403, "refused");
    // The same through the socket: a token that is shown counts, whoever could do without.
    let headers: Vec<&str> = ward.headers.iter().map(String::as_str).collect();
    for path in ["/v1/agents", "/v1/log", "/v1/agents/b/checkpoints"] {
        let reply = ward.sidecar.socket().ask("GET", path, &headers, b"");
        reply.problem(403, "refused");
    }
    // None of it was a reason to end the command.
    let log = ward.sidecar.get("/v1/log").json();
    let told = log.as_array().unwrap().iter().filter(|it| it["entry"] == "checkpoint").count();
    assert_eq!(told, 2, "{log}");
    ward.end();
}
