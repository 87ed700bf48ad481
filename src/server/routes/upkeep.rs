//! Upkeep: letting go, freeing space, verifying, taking in bundles.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use utoipa::OpenApi;

use super::agent::{At, OfAgent};
use crate::manager::{ForgetReport, ForgetRequest, PruneReport};
use crate::server::api::{
    Call, Forget, ForgetSingle, ForgetSingleBody, Forgotten, Import, ImportBody, Prune, Settle,
    Verify,
};
use crate::server::app::App;
use crate::server::body::Given;
use crate::server::caller::Caller;
use crate::server::problem::Problem;
use crate::state::Receipt;
use crate::verify::{VerifyOptions, VerifyReport};

#[derive(OpenApi)]
#[openapi(paths(verify, forget, forget_single, import, prune, settle))]
pub(super) struct Document;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v1/verify", post(verify))
        .route("/v1/forget", post(forget))
        .route("/v1/agents/{agent}/forget", post(forget_single))
        .route("/v1/agents/{agent}/import", post(import))
        .route("/v1/prune", post(prune))
        .route("/v1/settle", post(settle))
}

/// Reads everything and tells what is damaged; mends it with `repair`.
#[utoipa::path(post, path = "/v1/verify", request_body = serde_json::Value, responses(
    (status = 200, description = "A report for each store", body = serde_json::Value),
))]
async fn verify(
    State(app): State<App>,
    caller: Caller,
    Given(options): Given<VerifyOptions>,
) -> Result<Json<Vec<VerifyReport>>, Problem> {
    caller.check_owner("verify the store")?;
    app.ask(move |manager| Verify { options }.perform(manager)).await.map(Json)
}

/// Lets checkpoints go by the policy, or tells what would go.
#[utoipa::path(post, path = "/v1/forget", request_body = serde_json::Value, responses(
    (status = 200, description = "What is kept and what goes, with reasons", body = serde_json::Value),
    (status = 404, description = "There is no such thing", body = Problem, content_type = "application/problem+json"),
    (status = 507, description = "No target could store it", body = Problem, content_type = "application/problem+json"),
))]
async fn forget(
    State(app): State<App>,
    caller: Caller,
    Given(request): Given<ForgetRequest>,
) -> Result<Json<Vec<ForgetReport>>, Problem> {
    caller.check_owner("forget checkpoints")?;
    app.ask(move |manager| Forget { request }.perform(manager)).await.map(Json)
}

/// Forgets single checkpoints.
#[utoipa::path(post, path = "/v1/agents/{agent}/forget", params(("agent" = String, Path, description = "The agent; a / in its id is written %2F")), request_body = ForgetSingleBody, responses(
    (status = 200, description = "What was forgotten", body = serde_json::Value),
    (status = 404, description = "There is no such thing", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "Refused, because it would do harm, or a request under the same key is under way", body = Problem, content_type = "application/problem+json"),
    (status = 507, description = "No target could store it", body = Problem, content_type = "application/problem+json"),
))]
async fn forget_single(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
    Given(body): Given<ForgetSingleBody>,
) -> Result<Json<Forgotten>, Problem> {
    caller.check_owner("forget checkpoints")?;
    app.ask(move |manager| ForgetSingle { agent, body }.perform(manager)).await.map(Json)
}

/// Takes in a checkpoint that was exported to a file.
#[utoipa::path(post, path = "/v1/agents/{agent}/import", params(("agent" = String, Path, description = "The agent; a / in its id is written %2F")), request_body = ImportBody, responses(
    (status = 200, description = "The receipt of the new checkpoint", body = Receipt),
    (status = 404, description = "There is no such thing", body = Problem, content_type = "application/problem+json"),
    (status = 507, description = "No target could store it", body = Problem, content_type = "application/problem+json"),
))]
async fn import(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
    Given(body): Given<ImportBody>,
) -> Result<Json<Receipt>, Problem> {
    caller.check_owner("name files on the disk")?;
    app.ask(move |manager| Import { agent, body }.perform(manager)).await.map(Json)
}

/// Frees the space of what was forgotten.
#[utoipa::path(post, path = "/v1/prune", responses(
    (status = 200, description = "What was freed", body = serde_json::Value),
))]
async fn prune(State(app): State<App>, caller: Caller) -> Result<Json<PruneReport>, Problem> {
    caller.check_owner("free the store's space")?;
    app.ask(|manager| Prune.perform(manager)).await.map(Json)
}

/// Does what can wait now: views, a mark, the way home. Changes nothing that anybody could mind.
#[utoipa::path(post, path = "/v1/settle", responses(
    (status = 200, description = "It is done", body = serde_json::Value),
))]
async fn settle(State(app): State<App>) -> Result<Json<()>, Problem> {
    app.ask(|manager| Settle.perform(manager)).await.map(Json)
}
