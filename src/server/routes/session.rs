//! The sessions of agents that are being run: for `run` alone, and not part of the public API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;

use super::agent::{At, OfAgent};
use crate::server::app::App;
use crate::server::body::Given;
use crate::server::caller::Caller;
use crate::server::problem::Problem;
use crate::server::sessions::{self, Asking, Lines, Registration, Sessions, no_session};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v1/agents/{agent}/session", post(begin))
        .route("/v1/agents/{agent}/session/ask", post(ask))
}

async fn begin(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
    Given(registration): Given<Registration>,
) -> Result<Response, Problem> {
    caller.check_owner("run an agent")?;
    let own = app.clone();
    let (session, lines) = app.work(move || Sessions::begin(&own, &agent, &registration)).await?;
    tokio::spawn(sessions::tell(app, session));
    let body = axum::body::Body::new(Lines(lines));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

async fn ask(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
    Given(asking): Given<Asking>,
) -> Result<Json<Value>, Problem> {
    caller.check_owner("run an agent")?;
    let session = app.sessions().of(&agent).ok_or_else(|| no_session(&agent))?;
    let session = Arc::clone(&session);
    let now = app.manager().clock().now();
    app.work(move || session.answer(asking, now)).await.map(Json)
}
