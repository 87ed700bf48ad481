//! What can be asked, one file for each topic.
//!
//! Each has a `router()` with its routes and a `Document` that describes them; both are put together
//! here. A handler reads the request, lets the library do it in a thread that may block, and answers.
//!
//! From outside to inside, a request is counted, kept from bringing the sidecar down by a fault of
//! ours, checked by the guard, given its turn, and answered by its route, where it sends JSON or
//! nothing.

mod agent;
mod checkpoints;
mod document;
mod drift;
mod events;
mod health;
mod operations;
mod restores;
#[cfg(feature = "cli")]
mod session;
mod store;
mod upkeep;

use std::any::Any;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;

pub(super) use checkpoints::make_again;

use super::app::App;
use super::guard::{guard, sends_json};
use super::problem::Problem;
use crate::error::ErrorKind;

/// Every route behind everything a request must get past.
pub(super) fn router(app: &App) -> Router {
    let routes = Router::new()
        .merge(health::router())
        .merge(store::router())
        .merge(events::router())
        .merge(document::router())
        .merge(checkpoints::router())
        .merge(restores::router())
        .merge(operations::router())
        .merge(drift::router())
        .merge(upkeep::router());
    #[cfg(feature = "cli")]
    let routes = routes.merge(session::router());
    // Before the fallbacks, which answer what no route takes, whatever it sends.
    routes
        .layer(from_fn(sends_json))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(app.clone(), turn))
        .layer(from_fn_with_state(app.clone(), guard))
        .layer(CatchPanicLayer::custom(died))
        .layer(from_fn_with_state(app.clone(), count))
        .with_state(app.clone())
}

async fn no_route() -> Problem {
    Problem::new(ErrorKind::NotFound, "there is no such route")
        .hint("/openapi.json tells what there is; a / in an agent's id is written %2F")
}

async fn no_method(method: Method) -> Problem {
    let name: String = method.as_str().chars().take(32).collect();
    let detail = format!("the route takes no {name:?}");
    Problem::with_status(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::Usage, detail)
}

/// A fault of ours is an answer, and the others' requests go on.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn died(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let why = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
    tracing::error!(?why, "a request died");
    Problem::died("a fault of the sidecar").into_response()
}

/// Lets as many requests be worked on at once as are allowed; others wait, but not for ever.
async fn turn(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.uri().path() == "/livez" {
        return next.run(request).await;
    }
    match app.turn().await {
        Ok(turn) => {
            let response = next.run(request).await;
            drop(turn);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|it| it.as_str().to_owned());
    let known = [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS];
    let method = known.iter().find(|one| *one == request.method()).map_or("other", Method::as_str);
    let method = method.to_owned();
    let began = app.elapsed();
    let response = next.run(request).await;
    let took = app.elapsed().saturating_sub(began);
    let route = route.as_deref().unwrap_or("unmatched");
    app.metrics().count_request(route, method, response.status().as_u16(), took);
    response
}
