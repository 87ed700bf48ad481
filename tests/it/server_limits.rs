//! What bounds a sidecar: bodies, time, connections. Whoever goes beyond is told, or hung up on, and
//! the others are served.

use std::io::{Read, Write};

use crate::cli_home::Home;
use crate::server_home::{Place, Reply, Sidecar, request};

const JSON: &str = "content-type: application/json";
const CHECKPOINTS: &str = "/v1/agents/default/checkpoints";

fn serve(home: &Home, settings: &[(&str, &str)]) -> Sidecar {
    let mut command = home.raw(&["serve", "--json"]);
    for (name, value) in settings {
        command.env(format!("STATEWARD_SERVER__{name}"), value);
    }
    Sidecar::start(&mut command)
}

/// Everything that still comes until the other side ends the connection.
fn rest(wire: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A connection that was reset is as ended as one that was closed.
    wire.read_to_end(&mut bytes).ok();
    bytes
}

#[test]
fn a_body_is_neither_too_large_nor_too_deep() {
    let home = Home::new();
    let sidecar = serve(&home, &[("BODY_BYTES_MAX", "100KB")]);
    let large = format!(r#"{{"state":{{"x":"{}"}}}}"#, "x".repeat(100_000));
    sidecar.post(CHECKPOINTS, &large).problem(413, "usage");
    let deep = format!(r#"{{"state":{{"x":{}{}}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    sidecar.post(CHECKPOINTS, &deep).problem(400, "usage");
    let unclosed = format!(r#"{{"state":{}"#, "{\"a\":".repeat(15_000));
    sidecar.post(CHECKPOINTS, &unclosed).problem(400, "usage");
    for broken in ["{", "[]", "{\"kind\":\"other\"}", "{\"unknown\":1}", "\u{0}", "{} {}"] {
        sidecar.post(CHECKPOINTS, broken).problem(400, "usage");
    }
    assert_eq!(sidecar.post(CHECKPOINTS, r#"{"state":{}}"#).status, 201);
}

#[test]
fn all_bodies_together_take_no_more_than_they_may() {
    let home = Home::new();
    let sidecar = serve(&home, &[("BODY_BYTES_MAX", "1MiB"), ("BODIES_BYTES_MAX", "1MiB")]);
    let head = format!(
        "POST {CHECKPOINTS} HTTP/1.1\r\nhost: x\r\n{JSON}\r\ncontent-length: 1000000\r\n\r\n"
    );
    let mut first = sidecar.socket().connect();
    first.write_all(head.as_bytes()).unwrap();
    first.write_all(&b"{\"state\":{\"x\":\"".repeat(40_000)).unwrap();
    // The first holds most of the room before the second asks for it.
    crate::run_home::until("the first body is in memory", || {
        let body = format!(r#"{{"state":{{"x":"{}"}}}}"#, "x".repeat(600_000));
        let reply = sidecar.post(CHECKPOINTS, &body);
        let busy = reply.status == 503;
        assert!(busy || reply.status == 201, "{reply}");
        busy && reply.header("retry-after").is_some()
    });
    drop(first);
    let body = format!(r#"{{"state":{{"x":"{}"}}}}"#, "x".repeat(600_000));
    crate::run_home::until("the room was given back", || {
        sidecar.post(CHECKPOINTS, &body).status == 201
    });
}

#[test]
fn whoever_is_slow_or_idle_is_hung_up_on() {
    let home = Home::new();
    let settings = [("HEAD_TIMEOUT", "300ms"), ("BODY_TIMEOUT", "300ms")];
    let sidecar = serve(&home, &settings);
    let mut idle = sidecar.socket().connect();
    let mut slow_head = sidecar.socket().connect();
    slow_head.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: ").unwrap();
    let mut slow_body = sidecar.socket().connect();
    let head = format!("POST {CHECKPOINTS} HTTP/1.1\r\nhost: x\r\n{JSON}\r\ncontent-length: 100");
    slow_body.write_all(format!("{head}\r\nconnection: close\r\n\r\n{{").as_bytes()).unwrap();
    Reply::of(&rest(&mut slow_body)).unwrap().problem(408, "usage");
    assert!(rest(&mut idle).is_empty(), "nobody asked anything");
    let told = rest(&mut slow_head);
    assert!(told.is_empty() || told.starts_with(b"HTTP/1.1 408"), "{told:?}");
    assert_eq!(sidecar.get("/livez").status, 200);
}

#[test]
fn a_client_that_takes_no_answer_is_hung_up_on() {
    let home = Home::new();
    let state = format!(r#"{{"x":"{}"}}"#, "x".repeat(8 << 20));
    home.write("state.json", state);
    home.done(&["checkpoint", "--state", "state.json"]);
    let sidecar = serve(&home, &[("WRITE_TIMEOUT", "300ms"), ("CONNECTIONS_MAX", "1")]);
    let mut deaf = sidecar.socket().connect();
    let path = format!("{CHECKPOINTS}/latest/state");
    deaf.write_all(&request("GET", &path, &[], b"")).unwrap();
    // Its place is free again although it never read a byte.
    let place = sidecar.socket();
    crate::run_home::until("the place is free", || answers(&place) == Some(200));
}

fn answers(place: &Place) -> Option<u16> {
    let mut wire = place.connect();
    wire.write_all(&request("GET", "/livez", &[], b"")).ok()?;
    Reply::of(&rest(&mut wire)).map(|reply| reply.status)
}

#[test]
fn there_are_no_more_connections_than_there_may_be() {
    let home = Home::new();
    let sidecar = serve(&home, &[("CONNECTIONS_MAX", "2")]);
    let mut first = sidecar.socket().connect();
    let mut second = sidecar.socket().connect();
    for held in [&mut first, &mut second] {
        held.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        held.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    let mut third = sidecar.socket().connect();
    let told = Reply::of(&rest(&mut third)).unwrap();
    told.problem(503, "unavailable");
    assert_eq!(told.header("retry-after"), Some("1"));
    drop((first, second));
    let place = sidecar.socket();
    crate::run_home::until("there is room again", || answers(&place) == Some(200));
}

#[test]
fn requests_wait_for_their_turn_but_not_for_ever() {
    let home = Home::new();
    let settings = [("REQUESTS_MAX", "1"), ("QUEUE_TIMEOUT", "100ms"), ("BODY_TIMEOUT", "1m")];
    let sidecar = serve(&home, &settings);
    let mut first = sidecar.socket().connect();
    let head = format!("POST {CHECKPOINTS} HTTP/1.1\r\nhost: x\r\n{JSON}\r\ncontent-length: 13");
    first.write_all(format!("{head}\r\nconnection: close\r\n\r\n{{").as_bytes()).unwrap();
    crate::run_home::until("the first is being worked on", || {
        let reply = sidecar.get("/v1/agents");
        reply.status == 503 && reply.header("retry-after") == Some("1")
    });
    assert_eq!(sidecar.get("/livez").status, 200, "it lives all the same");
    first.write_all(br#""state":{} }"#).unwrap();
    assert_eq!(Reply::read(&mut first).status, 201);
    assert_eq!(sidecar.get("/v1/agents").status, 200);
}
