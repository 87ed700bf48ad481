//! Drift: what an agent says of itself, how it stands, and a person's word on a checkpoint.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use utoipa::OpenApi;

use super::agent::{At, OfAgent, OfCheckpoint, is_attended, note_sign};
use crate::manager::DriftReport;
use crate::server::api::{Call, Drift, Mark, MarkBody, Observations, Observe, ObserveAnswer};
use crate::server::app::App;
use crate::server::body::Given;
use crate::server::caller::Caller;
use crate::server::problem::Problem;

#[derive(OpenApi)]
#[openapi(paths(observe, drift, mark))]
pub(super) struct Document;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v1/agents/{agent}/observe", post(observe))
        .route("/v1/agents/{agent}/drift", get(drift))
        .route("/v1/agents/{agent}/checkpoints/{reference}/mark", post(mark))
}

/// Takes what an agent says of itself, one observation or an array of them; they ride with the next
/// checkpoint or are written down within a second, and are not durable when this answers. What is due
/// about a drift is done before this answers, unless a `run` attends to the agent and does it then.
#[utoipa::path(post, path = "/v1/agents/{agent}/observe",
    params(("agent" = String, Path, description = "The agent")),
    request_body = serde_json::Value,
    responses((status = 200, description = "How it stands, and what it is told", body = serde_json::Value)))]
async fn observe(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
    Given(observations): Given<Observations>,
) -> Result<Json<ObserveAnswer>, Problem> {
    caller.check(&agent)?;
    note_sign(&app, &agent);
    // Whoever runs the agent does what is due when it hears of it; where nobody does, this does.
    let attended = is_attended(&app, &agent);
    let observe = Observe { agent, observations };
    let answer = app.ask(move |manager| {
        if attended { observe.perform(manager) } else { observe.perform_and_respond(manager) }
    });
    answer.await.map(Json)
}

/// Tells how an agent stands, with every signal.
#[utoipa::path(get, path = "/v1/agents/{agent}/drift",
    params(("agent" = String, Path, description = "The agent")),
    responses((status = 200, description = "How it stands", body = serde_json::Value)))]
async fn drift(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
) -> Result<Json<DriftReport>, Problem> {
    caller.check(&agent)?;
    app.ask(move |manager| Drift { agent }.perform(manager)).await.map(Json)
}

/// Takes a person's word on a checkpoint.
#[utoipa::path(post, path = "/v1/agents/{agent}/checkpoints/{reference}/mark",
    params(
        ("agent" = String, Path, description = "The agent"),
        ("reference" = String, Path, description = "The checkpoint"),
    ),
    request_body = MarkBody,
    responses(
        (status = 200, description = "It is written down", body = serde_json::Value),
        (status = 404, description = "There is no such checkpoint", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is another agent's", body = Problem, content_type = "application/problem+json"),
    ))]
async fn mark(
    State(app): State<App>,
    caller: Caller,
    At(OfCheckpoint { agent, reference }): At<OfCheckpoint>,
    Given(body): Given<MarkBody>,
) -> Result<Json<()>, Problem> {
    caller.check_owner("mark checkpoints")?;
    app.ask(move |manager| Mark { agent, reference, body }.perform(manager)).await.map(Json)
}
