//! What every request must get past before a route sees it.
//!
//! A local daemon is attacked through the browser: on TCP `Host` must be on an exact list, so that a
//! name of somebody else's that leads here is no way in; an `Origin` that is not allowed is refused;
//! what writes must say that it sends JSON, which a page cannot without asking first, and no answer
//! allows that; everything but `/livez` needs the token. Through the socket comes only our own user,
//! who needs no token; one that is shown counts all the same, so that an agent stays within what it
//! was given.
//!
//! A token that is not known yet may be that of an agent whose `run` has lost its sidecar and is about
//! to join this one: through the socket it is waited for, for a moment, while this sidecar is young.
//!
//! What is refused is logged, with its words escaped and cut, and without any token.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use tokio::time::{sleep, timeout};

use super::app::App;
use super::caller::Caller;
use super::listener::Way;
use super::problem::Problem;
use super::scope;
use crate::error::ErrorKind;

/// A `run` whose sidecar went away has joined another within this time.
const REJOINED_WITHIN: Duration = Duration::from_secs(20);

/// How long a token that is not known yet is waited for, and how often it is looked for.
const TOKEN_PATIENCE: Duration = Duration::from_secs(5);
const TOKEN_LOOKED_FOR: Duration = Duration::from_millis(20);

/// Letters of untrusted words that are logged.
const LOGGED_MAX: usize = 200;

/// What requests are checked against.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    /// What `Host` may say on TCP, in small letters.
    pub hosts: Vec<String>,
    /// What `Origin` may say.
    pub origins: Vec<String>,
}

/// Lets a request through, with who asks; or answers why not.
pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let way = request.extensions().get::<Way>().copied().unwrap_or(Way::Tcp);
    if way == Way::Socket && app.is_younger_than(REJOINED_WITHIN) {
        await_token(&app, request.headers()).await;
    }
    match admit(&app, way, &request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            let mut response = next.run(request).await;
            harden(response.headers_mut());
            response
        }
        Err(problem) => refuse(way, &request, problem),
    }
}

/// Lets nothing write that does not say that it sends JSON. It stands where the method is known to be
/// one that the route takes: of a method that it does not take, that is what is said.
pub(super) async fn sends_json(request: Request, next: Next) -> Response {
    match check_content(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            let way = request.extensions().get::<Way>().copied().unwrap_or(Way::Tcp);
            refuse(way, &request, problem)
        }
    }
}

fn refuse(way: Way, request: &Request, problem: Problem) -> Response {
    let path: String = request.uri().path().chars().take(LOGGED_MAX).collect();
    let method = request.method().as_str();
    let (status, why) = (problem.status, &problem.detail);
    tracing::warn!(?way, ?method, ?path, status, ?why, "a request was refused");
    refusal(problem)
}

/// Waits until the token that is shown is known, or the patience for that is at its end.
async fn await_token(app: &App, headers: &HeaderMap) {
    let Ok(Some(token)) = shown(headers) else { return };
    let known = async {
        while app.tokens().find(token).is_none() {
            sleep(TOKEN_LOOKED_FOR).await;
        }
    };
    // Whether it is known by now is asked again where it is decided.
    timeout(TOKEN_PATIENCE, known).await.ok();
}

fn refusal(problem: Problem) -> Response {
    let unknown = problem.status == StatusCode::UNAUTHORIZED.as_u16();
    let mut response = problem.into_response();
    if unknown {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    // What follows on this connection is not to be taken for what was allowed.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    harden(response.headers_mut());
    response
}

/// Answers are data for one client: no cache keeps them, no browser guesses at them.
fn harden(headers: &mut HeaderMap) {
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

fn admit(app: &App, way: Way, request: &Request) -> Result<Caller, Problem> {
    let (headers, path) = (request.headers(), request.uri().path());
    if way == Way::Tcp {
        check_host(&app.rules().hosts, request)?;
    }
    check_origin(&app.rules().origins, headers)?;
    let caller = match shown(headers)? {
        Some(token) => app.tokens().find(token).ok_or_else(unknown)?,
        None if way == Way::Socket || path == "/livez" => Caller::Owner,
        None => return Err(unknown()),
    };
    if let Caller::Agent(agent) = &caller {
        scope::check(request.method(), path, agent)?;
    }
    Ok(caller)
}

fn unknown() -> Problem {
    let detail = "the token is missing or is not one that is taken here";
    Problem::with_status(StatusCode::UNAUTHORIZED, ErrorKind::Refused, detail)
        .hint("send `Authorization: Bearer TOKEN`; `serve` says where the token is kept")
}

fn check_host(allowed: &[String], request: &Request) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let said = hosts.next().and_then(|host| host.to_str().ok()).map(str::to_lowercase);
    let in_target = request.uri().authority().map(|it| it.as_str().to_lowercase());
    let fits = |host: &String| allowed.contains(host);
    let sound = said.as_ref().is_some_and(fits)
        && hosts.next().is_none()
        && in_target.as_ref().is_none_or(fits);
    if sound {
        return Ok(());
    }
    let said = said.unwrap_or_default();
    let cut: String = said.chars().take(LOGGED_MAX).collect();
    Err(Problem::forbidden(&format!("the host {cut:?} is not one of this sidecar"))
        .hint("ask for the address that is listened on, or name the host in server.allowed_hosts"))
}

fn check_origin(allowed: &[String], headers: &HeaderMap) -> Result<(), Problem> {
    for origin in headers.get_all(header::ORIGIN) {
        let known = origin.to_str().is_ok_and(|origin| allowed.iter().any(|one| one == origin));
        if !known {
            let text = String::from_utf8_lossy(origin.as_bytes());
            let cut: String = text.chars().take(LOGGED_MAX).collect();
            return Err(Problem::forbidden(&format!("pages of {cut:?} have no business here"))
                .hint("name the origin in server.allowed_origins if they have"));
        }
    }
    Ok(())
}

/// The token that is shown.
fn shown(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let Some(first) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(unknown());
    }
    let text = first.to_str().map_err(|_| unknown())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(unknown)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(unknown()) }
}

/// What writes says that it sends JSON, or bytes that are none of the kinds a page can send unasked.
/// Every route that writes takes POST; methods other than that a page must ask for first.
fn check_content(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if *method != Method::POST {
        return Ok(());
    }
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = said.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let taken = ["application/json", "application/octet-stream"];
    if taken.iter().any(|one| media.eq_ignore_ascii_case(one)) {
        return Ok(());
    }
    Err(Problem::with_status(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorKind::Usage,
        "what writes says that it sends JSON",
    )
    .hint("send `Content-Type: application/json`, also without a body"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request {
        let mut builder = Request::builder().uri("/v1/agents");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(Body::empty()).unwrap()
    }

    #[test]
    fn a_host_is_taken_only_as_it_stands_on_the_list() {
        let allowed = ["127.0.0.1:80".to_owned(), "localhost:80".to_owned()];
        for host in ["127.0.0.1:80", "LOCALHOST:80"] {
            check_host(&allowed, &request(&[("host", host)])).unwrap();
        }
        for host in ["", "localhost", "localhost:81", "localhost:80.evil.example", "evil.example"] {
            let problem = check_host(&allowed, &request(&[("host", host)])).unwrap_err();
            assert_eq!(problem.status, 403, "{host}");
        }
        assert!(check_host(&allowed, &request(&[])).is_err());
        let two = [("host", "localhost:80"), ("host", "localhost:80")];
        assert!(check_host(&allowed, &request(&two)).is_err());
        let absolute = Request::builder()
            .uri("http://evil.example/v1/agents")
            .header("host", "localhost:80")
            .body(Body::empty())
            .unwrap();
        assert!(check_host(&allowed, &absolute).is_err());
    }

    #[test]
    fn a_token_is_a_bearers_and_there_is_one() {
        let of = |values: &[&str]| {
            let headers: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
            shown(request(&headers).headers()).map(|token| token.map(str::to_owned))
        };
        assert_eq!(of(&["Bearer abc"]), Ok(Some("abc".to_owned())));
        assert_eq!(of(&["bearer abc"]), Ok(Some("abc".to_owned())));
        assert_eq!(of(&[]), Ok(None));
        for wrong in [&["Basic abc"][..], &["Bearer"], &["Bearer a", "Bearer a"]] {
            assert_eq!(of(wrong).unwrap_err().status, 401, "{wrong:?}");
        }
    }

    #[test]
    fn what_a_page_can_send_unasked_is_not_taken_for_a_write() {
        let check = |media: &str| {
            check_content(&Method::POST, request(&[("content-type", media)]).headers())
        };
        for media in ["application/json", "Application/JSON; charset=utf-8"] {
            check(media).unwrap();
        }
        let simple = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""];
        for media in simple {
            assert_eq!(check(media).unwrap_err().status, 415, "{media}");
        }
        assert!(check_content(&Method::POST, &HeaderMap::new()).is_err());
        check_content(&Method::GET, &HeaderMap::new()).unwrap();
    }
}
