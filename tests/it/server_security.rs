//! What a sidecar does not let through over TCP: each rule with a request that tries to get past it.

use crate::cli_home::Home;
use crate::server_home::{Place, Reply, Sidecar};

const JSON: &str = "content-type: application/json";

/// A sidecar that answers over TCP, too.
struct Listening {
    home: Home,
    sidecar: Sidecar,
    place: Place,
    host: String,
    bearer: String,
}

fn listening() -> Listening {
    let home = Home::new();
    home.checkpoint(r#"{"n":1}"#);
    let sidecar = home.serve(&["--listen", "127.0.0.1:0", "--token-file", "token"]);
    let address = sidecar.told["tcp_url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let token = String::from_utf8(home.read("token")).unwrap();
    let (host, bearer) =
        (format!("host: {address}"), format!("authorization: Bearer {}", token.trim()));
    let place = Place::Address(address.to_owned());
    Listening { home, sidecar, place, host, bearer }
}

impl Listening {
    fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        self.place.ask(method, path, headers, b"")
    }

    fn get(&self, path: &str, headers: &[&str]) -> Reply {
        self.ask("GET", path, &[&[&*self.host, &*self.bearer], headers].concat())
    }

    /// Ends the sidecar; what it logged, which must not hold the token.
    fn log(self) -> String {
        let token = String::from_utf8(self.home.read("token")).unwrap();
        let (_, err) = self.sidecar.stop();
        assert!(!err.contains(token.trim()), "the token is in the log");
        err
    }
}

#[test]
fn everything_but_livez_needs_the_token() {
    let it = listening();
    assert_eq!(it.ask("GET", "/livez", &[&it.host]).status, 200);
    let wrong = format!("authorization: Bearer {}", "0".repeat(64));
    let basic = it.bearer.replace("Bearer", "Basic");
    let shorter = &it.bearer[..it.bearer.len() - 1];
    let routes = ["/v1/agents", "/v1/status", "/v1/events", "/v1/log", "/readyz", "/metrics"];
    for path in routes.into_iter().chain(["/openapi.json", "/", "/livez/", "/v1/nothing"]) {
        for shown in [&[][..], &[&*wrong], &[&*basic], &[shorter], &[&*it.bearer, &*it.bearer]] {
            let reply = it.ask("GET", path, &[&[&*it.host], shown].concat());
            reply.problem(401, "refused");
            assert_eq!(reply.header("www-authenticate"), Some("bearer"), "{reply}");
        }
    }
    let in_url = it.bearer.replace("authorization: Bearer ", "/v1/agents?token=");
    assert_eq!(it.ask("GET", &in_url, &[&it.host]).status, 401, "a token in a URL is none");
    assert_eq!(it.get("/v1/agents", &[]).status, 200);
    assert!(it.log().contains("401"));
}

#[test]
fn a_name_of_somebody_elses_that_leads_here_is_no_way_in() {
    let it = listening();
    let port = it.host.rsplit(':').next().unwrap();
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1", "[::1]", "0.0.0.0"] {
        for host in [format!("host: {host}"), format!("host: {host}:1")] {
            let reply = it.ask("GET", "/v1/agents", &[&host, &it.bearer]);
            reply.problem(403, "refused");
        }
    }
    let twice = [&*it.host, "host: evil.example", &*it.bearer];
    assert_ne!(it.ask("GET", "/v1/agents", &twice).status, 200);
    let target = "http://evil.example/v1/agents";
    assert_eq!(it.ask("GET", target, &[&it.host, &it.bearer]).status, 403);
    for name in ["127.0.0.1", "localhost", "[::1]"] {
        let host = format!("host: {name}:{port}");
        assert_eq!(it.ask("GET", "/v1/agents", &[&host, &it.bearer]).status, 200, "{host}");
    }
    assert!(it.log().contains("evil.example"));
}

#[test]
fn pages_have_no_business_here_and_are_told_nothing_that_would_let_them() {
    let it = listening();
    for origin in ["https://evil.example", "null", "http://localhost", "file://"] {
        let reply = it.get("/v1/agents", &[&format!("origin: {origin}")]);
        reply.problem(403, "refused");
    }
    let asks = ["origin: https://evil.example", "access-control-request-method: POST"];
    let reply = it.ask("OPTIONS", "/v1/restore", &[&[&*it.host], &asks[..]].concat());
    assert_eq!(reply.status, 403);
    for reply in [reply, it.get("/v1/agents", &[]), it.ask("GET", "/livez", &[&it.host])] {
        assert!(!reply.head.contains("access-control"), "{reply}");
    }
    let listed = listening_to_pages();
    let origin = "origin: https://board.example";
    assert_eq!(listed.get("/v1/agents", &[origin]).status, 200);
    assert_eq!(listed.get("/v1/agents", &[&format!("{origin}.evil")]).status, 403);
}

fn listening_to_pages() -> Listening {
    let home = Home::new();
    home.write("stateward.toml", "[server]\nallowed_origins = [\"https://board.example\"]\n");
    let sidecar = home.serve(&["--listen", "127.0.0.1:0", "--token-file", "token"]);
    let address = sidecar.told["tcp_url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let token = String::from_utf8(home.read("token")).unwrap();
    let (host, bearer) =
        (format!("host: {address}"), format!("authorization: Bearer {}", token.trim()));
    let place = Place::Address(address.to_owned());
    Listening { home, sidecar, place, host, bearer }
}

#[test]
fn what_writes_must_say_that_it_sends_json() {
    let it = listening();
    let path = "/v1/agents/default/checkpoints";
    let body = br#"{"state":{"n":2}}"#;
    let form = "content-type: application/x-www-form-urlencoded";
    for media in [&[][..], &["content-type: text/plain"], &[form], &["content-type: multipart/x"]] {
        let headers = [&[&*it.host, &*it.bearer], media].concat();
        it.place.ask("POST", path, &headers, body).problem(415, "usage");
    }
    assert_eq!(it.home.seqs(), [1], "nothing was written");
    let headers = [&*it.host, &*it.bearer, JSON];
    assert_eq!(it.place.ask("POST", path, &headers, body).status, 201);
}

#[test]
fn no_route_that_writes_takes_what_a_page_can_send_unasked() {
    let it = listening();
    let document = it.get("/openapi.json", &[]).json();
    let paths = document["paths"].as_object().unwrap();
    let writing = paths.iter().filter(|(_, item)| item.get("post").is_some());
    let mut writing: Vec<String> = writing
        .map(|(path, _)| path.replace("{agent}", "default").replace("{reference}", "latest"))
        .collect();
    let of_run = ["/v1/agents/default/session", "/v1/agents/default/session/ask"];
    writing.extend(of_run.map(str::to_owned));
    assert!(writing.len() > 15, "{writing:?}");
    let before = it.get("/v1/log", &[]).body;
    for path in &writing {
        for media in [&[][..], &["content-type: text/plain"]] {
            let headers = [&[&*it.host, &*it.bearer], media].concat();
            it.place.ask("POST", path, &headers, b"{}").problem(415, "usage");
        }
    }
    assert_eq!(it.get("/v1/log", &[]).body, before);
    // Of a method that a route does not take, that is what is said.
    let reply = it.ask("POST", "/v1/log", &[&it.host, &it.bearer]);
    reply.problem(405, "usage");
    assert_eq!(it.ask("POST", "/v1/nothing", &[&it.host, &it.bearer]).status, 404);
}

#[test]
fn a_get_changes_nothing_and_other_methods_are_told_what_there_is() {
    let it = listening();
    let before = it.get("/v1/log", &[]).body;
    let writes = ["/v1/forget", "/v1/verify", "/v1/restore", "/v1/agents/default/undo"];
    for path in writes {
        let reply = it.get(path, &[]);
        reply.problem(405, "usage");
        assert_eq!(reply.header("allow"), Some("post"), "{reply}");
    }
    for method in ["DELETE", "PATCH", "PUT", "TRACE", "BREW"] {
        let reply = it.ask(method, "/v1/agents", &[&it.host, &it.bearer, JSON]);
        reply.problem(405, "usage");
        assert_eq!(reply.header("allow"), Some("get,head"), "{reply}");
    }
    assert_eq!(it.get("/v1/log", &[]).body, before);
}

#[test]
fn paths_lead_to_agents_and_nowhere_else() {
    let it = listening();
    it.home.json(&["checkpoint", "--state", "state.json", "--agent", "team/a"]);
    for path in [
        "/v1/agents/..%2F..%2Fetc/checkpoints",
        "/v1/agents/%2E%2E/checkpoints",
        "/v1/agents/%2Fetc%2Fpasswd/checkpoints",
        "/v1/agents/a%00b/checkpoints",
        "/v1/agents/a%0Ab/checkpoints",
        "/v1/agents/%FF/checkpoints",
        "/v1/agents/team%5Ca/checkpoints",
    ] {
        let reply = it.get(path, &[]);
        reply.problem(400, "usage");
    }
    for path in ["/v1/agents/../../etc/passwd", "/v1/agents/team/a/checkpoints", "//v1/agents"] {
        it.get(path, &[]).problem(404, "not_found");
    }
    for reference in ["%2Fetc%2Fpasswd", "..%2F..%2Fx", "a%00b", "latest%3A..%2Fx"] {
        let reply = it.get(&format!("/v1/agents/default/checkpoints/{reference}/state"), &[]);
        assert!(matches!(reply.status, 400 | 404), "{reference}: {reply}");
        assert!(!reply.text().contains("root:"), "{reply}");
    }
    assert_eq!(it.get("/v1/agents/team%2Fa/checkpoints", &[]).json()[0]["seq"], 1);
}

#[test]
fn what_is_logged_of_an_attack_is_escaped() {
    let it = listening();
    let origin = "origin: https://x\x1b[2Jy\u{202e}z";
    let reply = it.get("/v1/agents", &[origin]);
    assert!(matches!(reply.status, 400 | 403), "{reply}");
    let path = "/v1/agents/%1B%5B2J%0Afake/checkpoints";
    assert_ne!(it.ask("GET", path, &[&it.host]).status, 200);
    let log = it.log();
    assert!(!log.contains('\x1b') && !log.contains('\u{202e}'), "{log:?}");
    assert!(log.lines().all(|line| !line.starts_with("fake")), "{log}");
}
