//! What the design promises of the interface is in its description and does what it says: each route
//! with its parameters, headers, fields and statuses.

use serde_json::{Value, json};

use crate::cli_home::Home;
use crate::server_home::Sidecar;

/// A promise: method and path, what the query and the headers may say, fields of the body, statuses.
type Promise = (&'static str, &'static [&'static str], &'static [&'static str], &'static [u16]);

const CHECKPOINTS: &str = "/v1/agents/a/checkpoints";

const PROMISES: &[Promise] = &[
    (
        "post /v1/agents/{agent}/checkpoints",
        &["if_due", "progress", "If-Match", "If-None-Match", "Idempotency-Key"],
        &[
            "kind",
            "state",
            "patch",
            "workspace",
            "state_files",
            "comment",
            "labels",
            "metadata",
            "operation",
        ],
        &[200, 201, 400, 409, 412, 413, 415, 422, 503, 507],
    ),
    ("get /v1/agents/{agent}/checkpoints", &["kind", "before", "limit"], &[], &[200, 404]),
    ("get /v1/agents/{agent}/checkpoints/{reference}", &[], &[], &[200, 404, 500]),
    ("get /v1/agents/{agent}/checkpoints/{reference}/state", &[], &[], &[200, 404, 500]),
    ("get /v1/agents/{agent}/checkpoints/{reference}/diff/{to}", &[], &[], &[200, 404, 500]),
    (
        "post /v1/agents/{agent}/checkpoints/{reference}/restore",
        &["dry_run"],
        &["options", "owner"],
        &[200, 404, 409, 423],
    ),
    ("post /v1/restore", &["dry_run"], &["path", "options"], &[200, 404, 409]),
    ("post /v1/agents/{agent}/undo", &["dry_run"], &["options", "owner"], &[200, 404, 409]),
    ("get /v1/agents/{agent}/operations", &[], &[], &[200]),
    ("post /v1/agents/{agent}/operations", &[], &["name", "state", "comment"], &[200, 201, 507]),
    (
        "post /v1/agents/{agent}/operations/{operation}/complete",
        &[],
        &["why", "restore"],
        &[200, 404],
    ),
    ("post /v1/agents/{agent}/operations/{operation}/fail", &[], &["why", "restore"], &[200, 404]),
    (
        "post /v1/agents/{agent}/observe",
        &[],
        &["step", "action", "ok", "result_digest", "progress", "metrics", "event", "heartbeat"],
        &[200, 400],
    ),
    ("get /v1/agents/{agent}/drift", &[], &[], &[200]),
    ("get /v1/agents", &[], &[], &[200]),
    ("get /v1/status", &[], &[], &[200]),
    ("get /v1/log", &["limit"], &[], &[200]),
    ("get /v1/events", &["Last-Event-ID"], &[], &[200, 400]),
    ("post /v1/verify", &[], &["subset_percent", "repair"], &[200]),
    ("post /v1/forget", &[], &["agent", "keep_last", "keep_within", "dry_run"], &[200, 507]),
    ("get /livez", &[], &[], &[200]),
    ("get /readyz", &[], &[], &[200, 503]),
    ("get /metrics", &[], &[], &[200]),
    ("get /openapi.json", &[], &[], &[200]),
];

/// The fields that a body may have, of whichever of its forms.
fn fields<'a>(document: &'a Value, schema: &'a Value) -> Vec<&'a String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        return fields(document, document.pointer(pointer).unwrap());
    }
    let forms = schema["oneOf"].as_array().into_iter().flatten();
    let own = schema["properties"].as_object().into_iter().flat_map(|it| it.keys());
    own.chain(forms.flat_map(|form| fields(document, form))).collect()
}

#[test]
fn what_the_design_promises_is_described() {
    let home = Home::new();
    let document = home.serve(&[]).get("/openapi.json").json();
    for (what, said, body, statuses) in PROMISES {
        let (method, path) = what.split_once(' ').unwrap();
        let operation = &document["paths"][path][method];
        assert!(operation.is_object(), "there is no {what}");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let parameters: Vec<&str> = parameters.map(|it| it["name"].as_str().unwrap()).collect();
        for name in *said {
            assert!(parameters.contains(name), "{what} says nothing of {name}");
        }
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let known = fields(&document, schema);
        for name in *body {
            assert!(known.iter().any(|it| it == name), "{what} has no field {name}: {known:?}");
        }
        for status in *statuses {
            let response = &operation["responses"][status.to_string()];
            assert!(response.is_object(), "{what} says nothing of {status}");
        }
    }
}

fn seqs(sidecar: &Sidecar, query: &str) -> Vec<u64> {
    let list = sidecar.get(&format!("{CHECKPOINTS}{query}"));
    assert_eq!(list.status, 200, "{list}");
    list.json().as_array().unwrap().iter().map(|it| it["seq"].as_u64().unwrap()).collect()
}

#[test]
fn a_list_is_narrowed_by_kind_number_and_length() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    for kind in ["routine", "recovery", "routine", "pre_operation"] {
        let body = json!({ "kind": kind, "state": {"kind": kind} }).to_string();
        assert_eq!(sidecar.post(CHECKPOINTS, &body).status, 201);
    }
    for (query, expected) in [
        ("", &[4, 3, 2, 1][..]),
        ("?kind=routine", &[3, 1]),
        ("?kind=pre_operation", &[4]),
        ("?before=3", &[2, 1]),
        ("?limit=2", &[4, 3]),
        ("?kind=routine&before=3&limit=5", &[1]),
        ("?limit=0", &[]),
    ] {
        assert_eq!(seqs(&sidecar, query), expected, "{query}");
    }
    for wrong in ["?kind=daily", "?before=x", "?limit=-1", "?page=2"] {
        sidecar.get(&format!("{CHECKPOINTS}{wrong}")).problem(400, "usage");
    }
    assert_eq!(sidecar.get("/v1/log?limit=2").json().as_array().unwrap().len(), 2);
}

#[test]
fn what_is_said_of_a_checkpoint_stays_with_it() {
    let home = Home::new();
    let notes = home.write("notes.txt", "some notes\n");
    home.write("work/a.txt", "a\n");
    let sidecar = home.serve(&[]);
    let owner = json!({ "workspace": home.path("work"), "state_files": [notes] });
    sidecar.post("/v1/agents/a/operations", r#"{"name":"deploy","state":{"n":0}}"#);
    let body = json!({
        "kind": "routine", "state": {"n": 1}, "comment": "after the first step",
        "labels": {"keep": "yes"}, "metadata": {"cost": [1.5]}, "operation": "deploy",
        "owner": owner,
    });
    let receipt = sidecar.post(CHECKPOINTS, &body.to_string());
    assert_eq!(receipt.status, 201, "{receipt}");
    let shown = sidecar.get(&format!("{CHECKPOINTS}/latest"));
    let facts = shown.json();
    for field in ["comment", "labels", "metadata"] {
        assert_eq!(facts[field], body[field], "{field} in {shown}");
    }
    assert_eq!(facts["operation"]["name"], "deploy");
    assert_eq!(shown.header("etag"), receipt.header("etag"));
    let kept = sidecar.get(&format!("{CHECKPOINTS}/latest/files")).json();
    assert_eq!(kept.as_array().unwrap().len(), 2, "{kept}");
    // What is not wanted is taken over, and said to be.
    let without = json!({ "state": {"n": 2}, "workspace": false, "state_files": false,
        "owner": owner });
    let receipt = sidecar.post(CHECKPOINTS, &without.to_string()).json();
    assert!(receipt["inherited"]["workspace"].is_u64(), "{receipt}");
    assert!(receipt["inherited"]["state_files"].is_u64(), "{receipt}");
}

#[test]
fn paths_that_mean_something_else_elsewhere_are_refused() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    for path in ["", "work", "./work", "/a\0b"] {
        for owner in [
            json!({ "workspace": path }),
            json!({ "state_files": [path] }),
            json!({ "state_file": path }),
        ] {
            let body = json!({ "state": {}, "owner": owner }).to_string();
            sidecar.post(CHECKPOINTS, &body).problem(400, "usage");
        }
        let body = json!({ "file": path }).to_string();
        sidecar.post("/v1/agents/a/import", &body).problem(400, "usage");
    }
    assert_eq!(seqs(&sidecar, ""), Vec::<u64>::new());
}

#[test]
fn a_directory_where_a_file_is_meant_is_no_fault_of_the_sidecars() {
    let home = Home::new();
    let place = home.write("place/file", "").parent().unwrap().to_owned();
    let sidecar = home.serve(&[]);
    let file = json!({ "file": place }).to_string();
    sidecar.post("/v1/agents/a/import", &file).problem(400, "usage");
    let body = json!({ "state": {"n": 1}, "owner": {"state_file": place} }).to_string();
    assert_eq!(sidecar.post(CHECKPOINTS, &body).status, 201);
    let restored = sidecar.post(&format!("{CHECKPOINTS}/latest/restore"), "{}");
    restored.problem(409, "refused");
    assert!(restored.json()["hint"].as_str().unwrap().contains("directory"), "{restored}");
}
