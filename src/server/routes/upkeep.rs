//! Upkeep: the log, letting go, freeing space, verifying, taking in bundles.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::agent::{Asked, At, OfAgent};
use super::document::Nothing;
use crate::manager::{ForgetReport, ForgetRequest, LogEntry, PruneReport};
use crate::server::api::{
    Call, Forget, ForgetSingle, ForgetSingleBody, Forgotten, Import, ImportBody, Log, Prune,
    Settle, Verify,
};
use crate::server::app::App;
use crate::server::body::Given;
use crate::server::caller::Caller;
use crate::server::problem::Problem;
use crate::state::{AgentId, Receipt};
use crate::verify::{VerifyOptions, VerifyReport};

#[derive(utoipa::OpenApi)]
#[openapi(paths(log, verify, forget, forget_single, import, prune, settle))]
pub(super) struct Document;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v1/log", get(log))
        .route("/v1/verify", post(verify))
        .route("/v1/forget", post(forget))
        .route("/v1/agents/{agent}/forget", post(forget_single))
        .route("/v1/agents/{agent}/import", post(import))
        .route("/v1/prune", post(prune))
        .route("/v1/settle", post(settle))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LogQuery {
    limit: Option<usize>,
}

/// Tells what happened, oldest first: checkpoints that are held, and events.
#[utoipa::path(get, path = "/v1/log",
    params(("limit" = Option<usize>, Query, description = "Only the newest so many")),
    responses((status = 200, description = "The entries", body = Vec<LogEntry>)))]
async fn log(
    State(app): State<App>,
    caller: Caller,
    Asked(LogQuery { limit }): Asked<LogQuery>,
) -> Result<Json<Vec<LogEntry>>, Problem> {
    caller.check_owner("read the log of every agent")?;
    app.ask(move |manager| Log { limit }.perform(manager)).await.map(Json)
}

/// Reads every byte and tells what is damaged.
#[utoipa::path(post, path = "/v1/verify",
    request_body = VerifyOptions,
    responses((status = 200, description = "What was found, store by store", body = Vec<VerifyReport>)))]
async fn verify(
    State(app): State<App>,
    caller: Caller,
    Given(options): Given<VerifyOptions>,
) -> Result<Json<Vec<VerifyReport>>, Problem> {
    caller.check_owner("verify the store")?;
    app.ask(move |manager| Verify { options }.perform(manager)).await.map(Json)
}

/// Lets checkpoints go by the policy.
#[utoipa::path(post, path = "/v1/forget",
    request_body = ForgetRequest,
    responses((status = 200, description = "What went and what stayed, with reasons", body = Vec<ForgetReport>)))]
async fn forget(
    State(app): State<App>,
    caller: Caller,
    Given(request): Given<ForgetRequest>,
) -> Result<Json<Vec<ForgetReport>>, Problem> {
    caller.check_owner("forget checkpoints")?;
    app.ask(move |manager| Forget { request }.perform(manager)).await.map(Json)
}

/// Lets single checkpoints go.
#[utoipa::path(post, path = "/v1/agents/{agent}/forget",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F")),
    request_body = ForgetSingleBody,
    responses((status = 200, description = "What went", body = Forgotten)))]
async fn forget_single(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
    Given(body): Given<ForgetSingleBody>,
) -> Result<Json<Forgotten>, Problem> {
    caller.check_owner("forget checkpoints")?;
    app.ask(move |manager| ForgetSingle { agent, body }.perform(manager)).await.map(Json)
}

/// Takes in a bundle from a file on the sidecar's machine.
#[utoipa::path(post, path = "/v1/agents/{agent}/import",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F")),
    request_body = ImportBody,
    responses((status = 200, description = "The receipt", body = Receipt)))]
async fn import(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
    Given(body): Given<ImportBody>,
) -> Result<Json<Receipt>, Problem> {
    caller.check_owner("name files on the disk")?;
    app.ask(move |manager| Import { agent, body }.perform(manager)).await.map(Json)
}

/// Frees the space of what was let go.
#[utoipa::path(post, path = "/v1/prune",
    responses((status = 200, description = "What was freed", body = PruneReport)))]
async fn prune(State(app): State<App>, caller: Caller) -> Result<Json<PruneReport>, Problem> {
    caller.check_owner("free the store's space")?;
    app.ask(|manager| Prune.perform(manager)).await.map(Json)
}

/// Does now what can wait: views, summaries, a mark. It changes nothing that anybody could mind, so every caller may.
#[utoipa::path(post, path = "/v1/settle",
    responses((status = 200, description = "It is done", body = Nothing)))]
async fn settle(State(app): State<App>) -> Result<Json<()>, Problem> {
    app.ask(|manager| Settle.perform(manager)).await.map(Json)
}
