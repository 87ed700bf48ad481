//! Operations: opened, listed, closed.

use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::agent::{At, OfAgent, check, note_sign};
use super::checkpoints::make_checkpoint;
use super::restores;
use crate::encode::event::Outcome;
use crate::manager::OperationStatus;
use crate::server::api::{
    BeginBody, Call, Close, CloseBody, Closed, MakeCheckpoint, Opening, Operations, Restore,
    RestoreBody, roll_back_options,
};
use crate::server::app::App;
use crate::server::body::Given;
use crate::server::caller::Caller;
use crate::server::problem::Problem;
use crate::state::{AgentId, Receipt};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, begin, complete, fail))]
pub(super) struct Document;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v1/agents/{agent}/operations", get(list).post(begin))
        .route("/v1/agents/{agent}/operations/{operation}/complete", post(complete))
        .route("/v1/agents/{agent}/operations/{operation}/fail", post(fail))
}

/// Lists operations and how they stand.
#[utoipa::path(get, path = "/v1/agents/{agent}/operations",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F")),
    responses((status = 200, description = "The operations", body = Vec<OperationStatus>)))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
) -> Result<Json<Vec<OperationStatus>>, Problem> {
    caller.check(&agent)?;
    app.ask(move |manager| Operations { agent }.perform(manager)).await.map(Json)
}

/// Opens an operation with a checkpoint to go back to.
#[utoipa::path(post, path = "/v1/agents/{agent}/operations",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F")),
    request_body = BeginBody,
    responses((status = 201, description = "The receipt of its checkpoint", body = Receipt), (status = 200, description = "The receipt of the same request made before", body = Receipt)))]
async fn begin(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
    Given(body): Given<BeginBody>,
) -> Result<Response, Problem> {
    check(&caller, &agent, body.owner.as_ref())?;
    let wanted = MakeCheckpoint {
        agent,
        body: body.into_checkpoint(),
        condition: None,
        idempotency_key: None,
        opening: Opening::ByKind,
    };
    make_checkpoint(app, wanted, None).await
}

/// An operation of an agent.
#[derive(Debug, Deserialize)]
struct OfOperation {
    agent: AgentId,
    operation: String,
}

/// Closes an operation that went well.
#[utoipa::path(post, path = "/v1/agents/{agent}/operations/{operation}/complete",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F"), ("operation" = String, Path, description = "The operation, by name or id")),
    request_body = CloseBody,
    responses((status = 200, description = "How it stands", body = Closed)))]
async fn complete(
    State(app): State<App>,
    caller: Caller,
    At(of): At<OfOperation>,
    Given(body): Given<CloseBody>,
) -> Result<Json<Closed>, Problem> {
    close(app, &caller, of, (Outcome::Completed, body)).await.map(Json)
}

/// Closes an operation that failed; goes back to its checkpoint where that is asked for.
#[utoipa::path(post, path = "/v1/agents/{agent}/operations/{operation}/fail",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F"), ("operation" = String, Path, description = "The operation, by name or id")),
    request_body = CloseBody,
    responses((status = 200, description = "How it stands", body = Closed)))]
async fn fail(
    State(app): State<App>,
    caller: Caller,
    At(of): At<OfOperation>,
    Given(body): Given<CloseBody>,
) -> Result<Json<Closed>, Problem> {
    close(app, &caller, of, (Outcome::Failed, body)).await.map(Json)
}

async fn close(
    app: App,
    caller: &Caller,
    OfOperation { agent, operation }: OfOperation,
    (outcome, body): (Outcome, CloseBody),
) -> Result<Closed, Problem> {
    check(caller, &agent, body.owner.as_ref())?;
    note_sign(&app, &agent);
    let (restores, owner) = (body.restore, body.owner.clone());
    let close = Close { agent: agent.clone(), operation, outcome, body };
    let operation = app.ask(move |manager| close.close(manager)).await?;
    if !restores {
        return Ok(Closed { operation, restored: None });
    }
    let reference = operation.operation_id.to_string();
    let body = RestoreBody { options: roll_back_options(), owner };
    let restored = restores::perform(app, caller, Restore { agent, reference, body }).await?;
    Ok(Closed { operation, restored: Some(restored) })
}
