//! What is in the store, and how it stands.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use utoipa::OpenApi;

use crate::manager::{AgentSummary, Status};
use crate::server::app::App;
use crate::server::problem::Problem;

#[derive(OpenApi)]
#[openapi(paths(agents, status))]
pub(super) struct Document;

pub(super) fn router() -> Router<App> {
    Router::new().route("/v1/agents", get(agents)).route("/v1/status", get(status))
}

/// Lists every agent that has, or ever had, a checkpoint.
#[utoipa::path(get, path = "/v1/agents", responses(
    (status = 200, description = "The agents", body = Vec<AgentSummary>),
))]
async fn agents(State(app): State<App>) -> Result<Json<Vec<AgentSummary>>, Problem> {
    Ok(Json(app.ask(|manager| Ok(manager.agents())).await?))
}

/// Tells how everything stands.
#[utoipa::path(get, path = "/v1/status", responses(
    (status = 200, description = "How everything stands", body = Status),
))]
async fn status(State(app): State<App>) -> Result<Json<Status>, Problem> {
    Ok(Json(app.ask(|manager| Ok(manager.status())).await?))
}
