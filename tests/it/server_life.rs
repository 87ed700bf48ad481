//! The sidecar from its start to its end: where it answers, who finds it, what it leaves behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};

use serde_json::json;

use crate::cli_home::Home;
use crate::run_home::until;
use crate::server_home::{Place, Reply, Sidecar, holder, request};

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
    // What it logged comes before.
    let told: serde_json::Value = serde_json::from_str(answer.err.lines().last().unwrap()).unwrap();
    assert_eq!((answer.code, &told["error"]["kind"]), (5, &json!("locked")), "{answer}");
    let named = format!("process {} on", sidecar.pid());
    assert!(told["error"]["message"].as_str().unwrap().contains(&named), "{answer}");
    assert_eq!(sidecar.get("/livez").status, 200, "the first one goes on");
}

#[test]
fn what_is_under_way_is_finished_and_then_it_is_over() {
    let home = Home::new();
    let mut sidecar = home.serve(&[]);
    let mut wire = sidecar.socket().connect();
    let head = "POST /v1/agents/a/checkpoints HTTP/1.1\r\nhost: x\r\n\
                content-type: application/json\r\ncontent-length: 18\r\n\r\n";
    wire.write_all(head.as_bytes()).unwrap();
    wire.write_all(br#"{"state":"#).unwrap();
    until("the request is being worked on", || {
        sidecar.get("/metrics").text().contains("stateward_connections 2")
    });
    sidecar.signal("TERM");
    let Place::Socket(path) = sidecar.socket() else { unreachable!() };
    until("no new connection is taken", || UnixStream::connect(&path).is_err());
    wire.write_all(br#"{"n": 1}}"#).unwrap();
    let reply = Reply::read(&mut wire);
    assert_eq!(reply.status, 201, "{reply}");
    let (exit, err) = sidecar.over();
    assert!(exit.success(), "{err}");
    assert_eq!(home.json(&["list", "--agent", "a"])[0]["seq"], 1);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let home = Home::new();
    let mut command = home.raw(&["serve", "--json"]);
    command.env("STATEWARD_SERVER__DRAIN_TIMEOUT", "1h");
    let mut sidecar = Sidecar::start(&mut command);
    let mut wire = sidecar.socket().connect();
    wire.write_all(b"POST /v1/agents/a/checkpoints HTTP/1.1\r\nhost: x\r\n").unwrap();
    wire.write_all(b"content-type: application/json\r\ncontent-length: 9\r\n\r\n{").unwrap();
    until("the request is being worked on", || {
        sidecar.get("/metrics").text().contains("stateward_connections 2")
    });
    sidecar.signal("TERM");
    let Place::Socket(path) = sidecar.socket() else { unreachable!() };
    until("no new connection is taken", || UnixStream::connect(&path).is_err());
    sidecar.signal("TERM");
    let (exit, err) = sidecar.over();
    assert_eq!(exit.code(), Some(1), "{err}");
    assert!(err.contains("ending at once"), "{err}");
}

#[test]
fn killed_with_a_thousand_requests_in_flight_everything_acknowledged_is_there() {
    const CLIENTS: usize = 1000;
    let home = Home::new();
    let mut sidecar = home.serve(&[]);
    let place = sidecar.socket();
    let mut wires: Vec<_> = (0..CLIENTS).map(|_| place.connect()).collect();
    for (n, wire) in wires.iter_mut().enumerate() {
        let body = json!({ "state": { "n": n } }).to_string();
        let path = format!("/v1/agents/agent-{n}/checkpoints");
        let headers = ["content-type: application/json"];
        wire.write_all(&request("POST", &path, &headers, body.as_bytes())).unwrap();
    }
    // Some are answered, most are not.
    let first = Reply::read(&mut wires[0]);
    assert_eq!(first.status, 201, "{first}");
    sidecar.kill();
    let mut acknowledged = vec![0];
    for (n, wire) in wires.iter_mut().enumerate().skip(1) {
        let mut bytes = Vec::new();
        wire.read_to_end(&mut bytes).ok();
        if Reply::of(&bytes).is_some_and(|reply| reply.status == 201) {
            acknowledged.push(n);
        }
    }
    let sidecar = home.serve(&[]);
    for n in &acknowledged {
        let state = sidecar.get(&format!("/v1/agents/agent-{n}/checkpoints/latest/state"));
        assert_eq!(state.json(), json!({ "n": n }), "{} were acknowledged", acknowledged.len());
    }
    println!("{} of {CLIENTS} were acknowledged before the kill", acknowledged.len());
}

#[test]
fn a_client_that_vanishes_takes_nothing_with_it() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    let body = br#"{"state":{"n":1}}"#;
    let bytes =
        request("POST", "/v1/agents/a/checkpoints", &["content-type: application/json"], body);
    for cut in 0..bytes.len() {
        let mut wire = sidecar.socket().connect();
        wire.write_all(&bytes[..cut]).unwrap();
    }
    let kept = || sidecar.get("/v1/agents/a/checkpoints").json().as_array().unwrap().len();
    assert_eq!(kept(), 0, "nothing was asked for whole");
    // What was begun is done, although nobody waits for it; who is gone before that asked in vain.
    let mut asked = 0;
    until("it is kept", || {
        sidecar.socket().connect().write_all(&bytes).unwrap();
        asked += 1;
        kept() > 0
    });
    let (exit, err) = sidecar.stop();
    assert!(exit.success(), "{err}");
    let found = home.json(&["list", "--agent", "a"]).as_array().unwrap().len();
    assert!((1..=asked).contains(&found), "{found} of {asked}");
}

#[test]
fn ten_thousand_connections_do_not_bring_it_down() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    let place = sidecar.socket();
    let (mut served, mut refused) = (0, 0);
    for _ in 0..10 {
        // A thousand at a time: this process has no more descriptors to spare than that.
        let mut wires: Vec<_> = (0..1000).map(|_| place.connect()).collect();
        for wire in &mut wires {
            wire.write_all(&request("GET", "/livez", &[], b"")).ok();
        }
        for wire in &mut wires {
            let mut bytes = Vec::new();
            wire.read_to_end(&mut bytes).ok();
            match Reply::of(&bytes).map(|reply| reply.status) {
                Some(200) => served += 1,
                Some(503) | None => refused += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    println!("{served} served, {refused} refused");
    assert!(served >= 9000, "{served} served, {refused} refused");
    assert_eq!(sidecar.get("/livez").status, 200);
    let figures = sidecar.get("/metrics");
    assert!(figures.text().contains("stateward_connections 1"), "{figures}");
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing_and_one_that_is_right_holds_at_once() {
    let home = Home::new();
    home.write("stateward.toml", "");
    let sidecar = home.serve(&[]);
    let body = format!(r#"{{"state":{{"x":"{}"}}}}"#, "x".repeat(2000));
    let keep = || sidecar.post("/v1/agents/a/checkpoints", &body).status;
    assert_eq!(keep(), 201);
    home.write("stateward.toml", "[server]\nbody_bytes_max = \"1KB\"\n[store]\nlock_wait_ms = 7\n");
    sidecar.signal("HUP");
    until("the new bound holds", || keep() == 413);
    let mut events = sidecar.socket().connect();
    events.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut lines = BufReader::new(events).lines();
    assert!(lines.any(|line| line.unwrap() == ": begun"));
    home.write("stateward.toml", "[server]\nbody_bytes_max = \"1GB\"\nnonsense = 1\n");
    sidecar.signal("HUP");
    assert!(lines.any(|line| line.unwrap() == "event: reload_refused"));
    assert_eq!(keep(), 413, "the old one stays");
    let (exit, err) = sidecar.stop();
    assert!(exit.success(), "{err}");
    assert!(err.contains("need a restart") && err.contains("store"), "{err}");
    assert!(err.contains("the old one stays") && err.contains("nonsense"), "{err}");
}

#[test]
fn the_log_goes_into_files_of_ours_in_text_or_json() {
    for format in ["text", "json"] {
        let home = Home::new();
        let text = format!("[server.log]\ndir = \"logs\"\nformat = \"{format}\"\n");
        home.write("stateward.toml", text);
        let sidecar = home.serve(&[]);
        let origin = "origin: https://evil.example";
        assert_eq!(sidecar.socket().ask("GET", "/v1/agents", &[origin], b"").status, 403);
        let (exit, err) = sidecar.stop();
        assert!(exit.success() && err.is_empty(), "{err}");
        let files = crate::cli_home::files(&home.path("logs"));
        assert_eq!(files.len(), 1, "{files:?}");
        let log = std::fs::read_to_string(&files[0]).unwrap();
        assert!(log.contains("evil.example") && log.contains("403"), "{log}");
        if format == "json" {
            for line in log.lines() {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
        }
    }
}

#[test]
fn the_service_manager_is_told_when_it_is_ready_alive_and_stopping() {
    let home = Home::new();
    let path = home.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let mut command = home.raw(&["serve", "--json"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    let sidecar = Sidecar::start(&mut command);
    let heard = || {
        let mut bytes = [0; 512];
        let len = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..len]).trim().to_owned()
    };
    assert_eq!(heard(), "READY=1");
    assert_eq!((heard(), heard()), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()));
    sidecar.signal("TERM");
    until("it says that it is stopping", || heard() == "STOPPING=1");
    let mut sidecar = sidecar;
    assert!(sidecar.over().0.success());
}
