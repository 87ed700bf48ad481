//! Whether the sidecar lives and is ready, in words and in figures.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use crate::error::ErrorKind;
use crate::server::app::App;
use crate::server::metrics;
use crate::server::problem::Problem;

#[derive(OpenApi)]
#[openapi(paths(livez, readyz, figures))]
pub(super) struct Document;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(figures))
}

/// Whether everything is as it should be.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    /// Nothing is amiss.
    ready: bool,
    /// What is amiss, in words.
    reasons: Vec<String>,
}

/// Answers as long as the sidecar lives; asks no store and no token.
#[utoipa::path(get, path = "/livez", responses(
    (status = 200, description = "It lives", body = String, content_type = "text/plain; charset=utf-8"),
))]
async fn livez() -> &'static str {
    "ok\n"
}

/// Tells whether everything is as it should be, and why not.
#[utoipa::path(get, path = "/readyz", responses(
    (status = 200, description = "Nothing is amiss", body = Readiness),
    (status = 503, description = "Something is amiss; commits may well be taken all the same", body = Readiness),
))]
async fn readyz(State(app): State<App>) -> Result<Response, Problem> {
    let mut reasons = app.ask(|manager| Ok(manager.troubles())).await?;
    if app.is_ending() {
        reasons.push("the sidecar is about to end".to_owned());
    }
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(Readiness { ready, reasons })).into_response())
}

/// Tells figures for Prometheus, as OpenMetrics text.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, description = "The figures", body = String,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
))]
async fn figures(State(app): State<App>) -> Result<Response, Problem> {
    let asked = app.clone();
    let text = app
        .work(move || {
            let text = asked.metrics().text(asked.manager());
            text.map_err(|error| Problem::new(ErrorKind::Failed, format!("no figures: {error}")))
        })
        .await?;
    Ok(([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response())
}
