//! What is answered is what the description says: a tour through the interface, each answer held
//! against the schema that stands for it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cli_home::{Home, files};
use crate::server_home::{Reply, Sidecar};

/// A sidecar, what it says of itself, and which of its operations were asked.
struct Tour {
    sidecar: Sidecar,
    document: Value,
    asked: BTreeSet<String>,
}

impl Tour {
    fn of(home: &Home) -> Self {
        let sidecar = home.serve(&[]);
        let document = sidecar.get("/openapi.json").json();
        Self { sidecar, document, asked: BTreeSet::new() }
    }

    /// The path of the description that a path is one of.
    fn template(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('?').next().unwrap().split('/').collect();
        let fits = |template: &&String| {
            let named: Vec<&str> = template.split('/').collect();
            let fits = |(named, part): (&&str, &&str)| named.starts_with('{') || named == part;
            named.len() == parts.len() && named.iter().zip(&parts).all(fits)
        };
        let mut fitting: Vec<&String> =
            self.document["paths"].as_object().unwrap().keys().filter(fits).collect();
        fitting.sort_by_key(|template| template.matches('{').count());
        (*fitting.first().unwrap_or_else(|| panic!("{path} is not described"))).clone()
    }

    /// Asks, and holds the answer against what is said of it.
    fn ask(&mut self, method: &str, path: &str, body: &Value) -> Reply {
        let reply = match method {
            "get" => self.sidecar.get(path),
            _ => self.sidecar.post(path, &body.to_string()),
        };
        let template = self.template(path);
        let operation = &self.document["paths"][&template][method];
        let response = &operation["responses"][reply.status.to_string()];
        let media = reply.header("content-type").unwrap().to_owned();
        let schema = &response["content"][&media]["schema"];
        assert!(schema.is_object(), "{method} {path}: nothing is said of {reply}");
        if media.ends_with("json") {
            // The state is the agent's own; of everything else each field is told.
            let free = template.ends_with("/state") || template == "/openapi.json";
            let whole = json!({
                "allOf": [schema],
                "components": self.document["components"],
                "unevaluatedProperties": free,
            });
            self.check(&whole, &reply);
        }
        self.asked.insert(format!("{method} {template}"));
        reply
    }

    #[cfg(feature = "schema")]
    fn check(&self, schema: &Value, reply: &Reply) {
        let told = jsonschema::validator_for(schema).unwrap();
        let answer = reply.json();
        let wrong: Vec<String> = told
            .iter_errors(&answer)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}\n{reply}");
        assert!(self.document["components"].is_object());
    }

    #[cfg(not(feature = "schema"))]
    fn check(&self, schema: &Value, reply: &Reply) {
        assert!(schema.is_object() && reply.status > 0 && self.document.is_object());
    }

    fn get(&mut self, path: &str) -> Reply {
        self.ask("get", path, &Value::Null)
    }

    #[expect(clippy::needless_pass_by_value, reason = "what is said is written where it is said")]
    fn post(&mut self, path: &str, body: Value) -> Reply {
        self.ask("post", path, &body)
    }
}

/// A workspace with something of each sort in it, and a state file.
fn parts(home: &Home) -> Value {
    home.write("work/a.txt", "a\n");
    home.write("work/deep/b.txt", "b\n");
    home.write("work/node_modules/left/out.js", "x");
    std::os::unix::fs::symlink("a.txt", home.path("work/link")).unwrap();
    let notes = home.write("notes.txt", "some notes\n");
    json!({ "workspace": home.path("work"), "state_files": [notes], "by_hand": true })
}

fn agents_work(tour: &mut Tour, home: &Home) {
    let owner = parts(home);
    let made = "/v1/agents/a/checkpoints";
    tour.get(made);
    let first = json!({ "state": {"n": 1, "list": [1, 2]}, "owner": owner, "comment": "one",
        "labels": {"keep": "v"}, "metadata": {"free": [1]} });
    assert_eq!(tour.post(made, first).status, 201);
    std::fs::remove_file(home.path("work/link")).unwrap();
    home.write("work/a.txt", "another\n");
    home.write("work/deep/b.txt", [0xff; 9]);
    assert_eq!(tour.post(made, json!({ "patch": {"n": 2}, "owner": owner })).status, 201);
    assert_eq!(tour.post(&format!("{made}?if_due"), json!({})).status, 200);
    tour.get(made);
    for of in ["latest", "latest/state", "latest/files", "nothing", "1/diff/2"] {
        tour.get(&format!("{made}/{of}"));
    }
    let ids = tour.get(made).json();
    let [newer, older] = [0, 1].map(|at: usize| ids[at]["checkpoint_id"].as_str().unwrap());
    let differences = tour.get(&format!("{made}/{older}/diff/{newer}")).json();
    assert!(differences["files"].as_array().unwrap().len() >= 3, "{differences}");
    let back = json!({ "owner": owner });
    let restore = format!("{made}/{older}/restore");
    assert_eq!(tour.post(&format!("{restore}?dry_run"), back.clone()).status, 200);
    assert_eq!(tour.post(&restore, back.clone()).status, 200);
    assert_eq!(tour.post("/v1/agents/a/undo", back).status, 200);
    let path = ids[1]["path"].clone();
    let options = json!({ "live": true, "only_state": true });
    assert_eq!(tour.post("/v1/restore", json!({ "path": path, "options": options })).status, 200);
    tour.post(&format!("{made}/{newer}/mark"), json!({ "word": "bad", "why": "a whim" }));
}

fn agents_risks(tour: &mut Tour) {
    let all = "/v1/agents/a/operations";
    assert_eq!(tour.post(all, json!({ "name": "deploy", "state": {"n": 3} })).status, 201);
    tour.get(all);
    let fail = json!({ "why": "it broke", "restore": true });
    assert_eq!(tour.post(&format!("{all}/deploy/fail"), fail).status, 200);
    tour.post(all, json!({ "name": "again" }));
    assert_eq!(tour.post(&format!("{all}/again/complete"), json!({})).status, 200);
    tour.get(all);
    let observed = json!([
        { "step": 1, "action": {"name": "edit", "input_digest": "x"}, "ok": true,
          "result_digest": "y", "progress": 0.1, "metrics": {"latency_s": 2.1} },
        { "event": "compaction" }, { "heartbeat": true },
    ]);
    assert_eq!(tour.post("/v1/agents/a/observe", observed).status, 200);
    let again = json!({ "action": {"name": "edit", "input_digest": "x"}, "result_digest": "y" });
    let again = Value::Array(vec![again; 40]);
    assert_eq!(tour.post("/v1/agents/a/observe", again).status, 200);
    let drift = tour.get("/v1/agents/a/drift").json();
    assert_eq!(drift["verdict"]["level"], "drifting", "{drift}");
}

fn owners_work(tour: &mut Tour, home: &Home) {
    for path in ["/v1/agents", "/v1/status", "/v1/log", "/v1/log?limit=2", "/readyz", "/livez"] {
        assert_eq!(tour.get(path).status, 200);
    }
    tour.get("/metrics");
    tour.get("/openapi.json");
    home.done(&["export", "latest", "bundle", "--agent", "a"]);
    let file = home.path("bundle");
    assert_eq!(tour.post("/v1/agents/b/import", json!({ "file": file })).status, 200);
    let single = json!({ "references": ["latest"] });
    assert_eq!(tour.post("/v1/agents/b/forget", single).status, 200);
    for dry_run in [true, false] {
        let forget = json!({ "keep_last": 1, "dry_run": dry_run });
        assert_eq!(tour.post("/v1/forget", forget).status, 200);
    }
    for path in ["/v1/prune", "/v1/verify", "/v1/settle", "/v1/agents/a/reset"] {
        assert_eq!(tour.post(path, json!({})).status, 200, "{path}");
    }
}

#[test]
fn each_answer_is_as_the_description_says() {
    let home = Home::new();
    let mut tour = Tour::of(&home);
    agents_work(&mut tour, &home);
    agents_risks(&mut tour);
    owners_work(&mut tour, &home);
    let mut described = BTreeSet::new();
    for (path, item) in tour.document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys();
        described.extend(methods.map(|method| format!("{method} {path}")));
    }
    // A stream has no end; its own tests read it.
    assert!(described.remove("get /v1/events"));
    assert_eq!(described, tour.asked, "what was not asked is not proven");
}

#[test]
fn damage_is_answered_as_the_description_says() {
    let home = Home::new();
    home.checkpoint(r#"{"n":1}"#);
    home.checkpoint(r#"{"n":2}"#);
    let state = br#"{"n":1}"#;
    for segment in files(&home.store().join("log")) {
        let mut bytes = std::fs::read(&segment).unwrap();
        if let Some(at) = bytes.windows(state.len()).position(|it| it == state) {
            bytes[at + 5] ^= 1;
            std::fs::write(&segment, bytes).unwrap();
        }
    }
    let mut tour = Tour::of(&home);
    let found = tour.post("/v1/verify", json!({})).json();
    assert_eq!(found[0]["sound"], false, "{found}");
    tour.get("/v1/status");
    tour.get("/readyz");
}
