//! What is in the store, and how it stands.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};

use crate::manager::{AgentSummary, Status};
use crate::server::app::App;
use crate::server::problem::Problem;

pub(super) fn router() -> Router<App> {
    Router::new().route("/v1/agents", get(agents)).route("/v1/status", get(status))
}

async fn agents(State(app): State<App>) -> Result<Json<Vec<AgentSummary>>, Problem> {
    Ok(Json(app.ask(|manager| Ok(manager.agents())).await?))
}

async fn status(State(app): State<App>) -> Result<Json<Status>, Problem> {
    Ok(Json(app.ask(|manager| Ok(manager.status())).await?))
}
