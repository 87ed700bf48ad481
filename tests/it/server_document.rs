//! The description of the interface is whole: every route is in it, and everything in it is a route.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::cli_home::Home;

/// Routes for `run` alone, which are no part of the public interface.
const OF_RUN: &str = "session.rs";

/// Every route that the sources name.
fn routes() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/routes");
    let mut routes = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name == OF_RUN) {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        let named = text.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
        routes.extend(named.map(str::to_owned));
    }
    routes
}

/// Every reference to a schema within a value.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn the_description_names_every_route_and_nothing_else() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    let document = sidecar.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let described: BTreeSet<String> =
        document["paths"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(described, routes());
    let mut referred = BTreeSet::new();
    references(&document, &mut referred);
    for reference in referred {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn each_operation_says_what_it_does_who_may_and_what_can_go_wrong() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    let document = sidecar.get("/openapi.json").json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let what = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{what} says nothing of itself");
            assert_eq!(operation["security"].is_array(), path != "/livez", "{what}");
            let responses = operation["responses"].as_object().unwrap();
            for status in ["401", "403", "500", "503"] {
                assert!(responses.contains_key(status), "{what} says nothing of {status}");
            }
            let named: Vec<&str> = path.split('{').skip(1).collect();
            let parameters = operation["parameters"]
                .as_array()
                .map_or(0, |all| all.iter().filter(|parameter| parameter["in"] == "path").count());
            assert_eq!(parameters, named.len(), "{what}: parameters of the path");
        }
    }
}

/// What is deliberately no form of ours: the description itself, and the state, which is the agent's.
const FREE: [&str; 2] = ["/openapi.json", "/v1/agents/{agent}/checkpoints/{reference}/state"];

/// Whether a schema tells what is in an answer: names fields, or is of several that do.
fn tells(document: &Value, schema: &Value) -> bool {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        return tells(document, document.pointer(pointer).unwrap());
    }
    let several = ["oneOf", "anyOf", "allOf"].iter().find_map(|name| schema[*name].as_array());
    if let Some(several) = several {
        return several.iter().all(|one| tells(document, one));
    }
    match schema["type"].as_str() {
        Some("array") => tells(document, &schema["items"]),
        Some("object") => schema["properties"].as_object().is_some_and(|it| !it.is_empty()),
        // What is only done has nothing to tell.
        Some("null") => true,
        _ => false,
    }
}

#[test]
fn each_answer_in_json_tells_its_fields() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    let document = sidecar.get("/openapi.json").json();
    let mut answers = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let content = response["content"].as_object().into_iter().flatten();
                for (media, body) in content {
                    let what = format!("{method} {path} {status} {media}");
                    let problem = media == "application/problem+json";
                    assert!(problem || status.starts_with('2') || path == "/readyz", "{what}");
                    if media.ends_with("json") && !FREE.contains(&path.as_str()) {
                        assert!(tells(&document, &body["schema"]), "{what} tells no fields");
                        answers += 1;
                    }
                }
            }
        }
    }
    assert!(answers > 200, "only {answers} answers are described");
}
