//! The stream of events: everything that the log shows, once and in its order, whoever goes away.

use std::io::{BufRead, BufReader, Write};

use serde_json::{Value, json};

use crate::cli_home::Home;
use crate::run_home::until;
use crate::server_home::{Place, Sidecar, Wire};

/// A stream that is being listened to.
struct Listener(BufReader<Box<dyn Wire + Send>>);

/// One event: its id, its name, its data.
type Event = (String, String, Value);

impl Listener {
    fn open(place: &Place, after: Option<&str>) -> Self {
        let mut wire = place.connect();
        let last = after.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        write!(wire, "GET /v1/events HTTP/1.1\r\nhost: x\r\n{last}\r\n").unwrap();
        let mut listener = Self(BufReader::new(wire));
        while listener.line().unwrap() != ": begun" {}
        listener
    }

    /// The next line of the stream, the sizes of chunks left out; none where it ended.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        (self.0.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event; none where the stream ended.
    fn next(&mut self) -> Option<Event> {
        let (mut id, mut name, mut data) = (String::new(), String::new(), Value::Null);
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("id", value)) => value.clone_into(&mut id),
                Some(("event", value)) => value.clone_into(&mut name),
                Some(("data", value)) => data = serde_json::from_str(value).unwrap(),
                _ if line.is_empty() && !name.is_empty() => return Some((id, name, data)),
                _ => {}
            }
        }
    }
}

fn keep(sidecar: &Sidecar, agent: &str, n: usize) {
    let path = format!("/v1/agents/{agent}/checkpoints");
    let reply = sidecar.post(&path, &json!({ "state": { "n": n } }).to_string());
    assert_eq!(reply.status, 201, "{reply}");
}

/// The ids of the log, in its order.
fn ids(sidecar: &Sidecar) -> Vec<String> {
    let log = sidecar.get("/v1/log").json();
    log.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_happens_is_told_as_the_log_has_it() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    let mut listener = Listener::open(&sidecar.socket(), None);
    keep(&sidecar, "a", 1);
    let begun = sidecar.post("/v1/agents/a/operations", r#"{"name":"deploy"}"#);
    assert_eq!(begun.status, 201, "{begun}");
    let done = sidecar.post("/v1/agents/a/operations/deploy/complete", "");
    assert_eq!(done.status, 200, "{done}");
    let log = sidecar.get("/v1/log").json();
    for told in log.as_array().unwrap() {
        let (id, name, data) = listener.next().unwrap();
        assert_eq!((&data, &json!(id), &json!(name)), (told, &told["id"], &told["entry"]));
    }
    let (exit, err) = sidecar.stop();
    assert!(exit.success(), "{err}");
    assert_eq!(listener.next().unwrap().1, "ending");
    assert_eq!(listener.next(), None, "the stream ends with the sidecar");
}

#[test]
fn whoever_comes_back_misses_nothing_and_gets_nothing_twice() {
    let home = Home::new();
    home.write("stateward.toml", "[retention.routine]\nkeep_last = 10000\n");
    let mut sidecar = home.serve(&[]);
    let mut heard: Vec<String> = Vec::new();
    let mut listener = Listener::open(&sidecar.socket(), None);
    for round in 0..4 {
        // Several write at once, so that entries share their milliseconds.
        std::thread::scope(|scope| {
            for agent in ["a", "b", "c", "d"] {
                let sidecar = &sidecar;
                scope.spawn(move || (0..25).for_each(|n| keep(sidecar, agent, round * 100 + n)));
            }
            for _ in 0..40 {
                heard.push(listener.next().unwrap().0);
            }
        });
        // The client is gone for a while, and in one round so is the sidecar.
        drop(listener);
        keep(&sidecar, "e", round);
        if round == 1 {
            sidecar.kill();
            sidecar = home.serve(&[]);
        }
        listener = Listener::open(&sidecar.socket(), heard.last().map(String::as_str));
    }
    let all = ids(&sidecar);
    while heard.len() < all.len() {
        heard.push(listener.next().unwrap().0);
    }
    assert_eq!(heard, all);
    assert!(heard.is_sorted(), "ids are in order");
}

#[test]
fn an_id_that_nobody_gave_is_refused() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    for id in ["x", "1", "../..", "99999999999999"] {
        let header = format!("last-event-id: {id}");
        sidecar.socket().ask("GET", "/v1/events", &[&header], b"").problem(400, "usage");
    }
}

#[test]
fn a_listener_that_is_too_slow_is_told_so_and_resumes() {
    let home = Home::new();
    home.write(
        "stateward.toml",
        "[server]\nevents_queued_max = 4\n[retention.routine]\nkeep_last = 100000\n",
    );
    let sidecar = home.serve(&[]);
    let mut slow = Listener::open(&sidecar.socket(), None);
    // More than the buffers on the way hold.
    let words = "x".repeat(20_000);
    for n in 0..60 {
        let body = json!({ "state": { "n": n }, "comment": words }).to_string();
        assert_eq!(sidecar.post("/v1/agents/a/checkpoints", &body).status, 201);
    }
    let mut heard = Vec::new();
    let last = loop {
        match slow.next().unwrap() {
            (id, name, _) if name == "checkpoint" => heard.push(id),
            (_, name, _) => break name,
        }
    };
    assert_eq!(last, "too_slow");
    assert_eq!(slow.next(), None);
    let mut again = Listener::open(&sidecar.socket(), heard.last().map(String::as_str));
    while heard.len() < 60 {
        heard.push(again.next().unwrap().0);
    }
    assert_eq!(heard, ids(&sidecar));
}

#[test]
fn figures_and_readiness_tell_what_happened() {
    let home = Home::new();
    let sidecar = home.serve(&[]);
    assert_eq!(sidecar.get("/readyz").json(), json!({ "ready": true, "reasons": [] }));
    (0..3).for_each(|n| keep(&sidecar, "a", n));
    sidecar.post("/v1/agents/a/checkpoints", "{").problem(400, "usage");
    let reply = sidecar.get("/metrics");
    let text = reply.text();
    for line in [
        "stateward_commits_total{agent=\"a\",kind=\"routine\"} 3",
        "stateward_commit_seconds_count{kind=\"routine\"} 3",
        "stateward_checkpoints{agent=\"a\",kind=\"routine\"} 3",
        "stateward_damage 0",
        "stateward_troubles 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
    }
    let refused = "stateward_requests_total{route=\"/v1/agents/{agent}/checkpoints\",\
                   method=\"POST\",status=\"400\"} 1";
    assert!(text.contains(refused), "{text}");
    assert!(reply.header("content-type").unwrap().starts_with("application/openmetrics-text"));

    std::fs::rename(home.store().join("log"), home.store().join("gone")).unwrap();
    // Whether this one is taken or not, the store is looked at now.
    sidecar.post("/v1/agents/a/checkpoints", r#"{"state":{"n":9}}"#);
    until("it is not ready", || sidecar.get("/readyz").status == 503);
    let reasons = sidecar.get("/readyz").json();
    assert!(reasons["reasons"][0].as_str().unwrap().contains("takes nothing"), "{reasons}");
}
