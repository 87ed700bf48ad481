//! Upkeep: letting go, freeing space, verifying, taking in bundles.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};

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

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v1/verify", post(verify))
        .route("/v1/forget", post(forget))
        .route("/v1/agents/{agent}/forget", post(forget_single))
        .route("/v1/agents/{agent}/import", post(import))
        .route("/v1/prune", post(prune))
        .route("/v1/settle", post(settle))
}

async fn verify(
    State(app): State<App>,
    caller: Caller,
    Given(options): Given<VerifyOptions>,
) -> Result<Json<Vec<VerifyReport>>, Problem> {
    caller.check_owner("verify the store")?;
    app.ask(move |manager| Verify { options }.perform(manager)).await.map(Json)
}

async fn forget(
    State(app): State<App>,
    caller: Caller,
    Given(request): Given<ForgetRequest>,
) -> Result<Json<Vec<ForgetReport>>, Problem> {
    caller.check_owner("forget checkpoints")?;
    app.ask(move |manager| Forget { request }.perform(manager)).await.map(Json)
}

async fn forget_single(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
    Given(body): Given<ForgetSingleBody>,
) -> Result<Json<Forgotten>, Problem> {
    caller.check_owner("forget checkpoints")?;
    app.ask(move |manager| ForgetSingle { agent, body }.perform(manager)).await.map(Json)
}

async fn import(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
    Given(body): Given<ImportBody>,
) -> Result<Json<Receipt>, Problem> {
    caller.check_owner("name files on the disk")?;
    app.ask(move |manager| Import { agent, body }.perform(manager)).await.map(Json)
}

async fn prune(State(app): State<App>, caller: Caller) -> Result<Json<PruneReport>, Problem> {
    caller.check_owner("free the store's space")?;
    app.ask(|manager| Prune.perform(manager)).await.map(Json)
}

/// Changes nothing that anybody could mind, so every caller may.
async fn settle(State(app): State<App>) -> Result<Json<()>, Problem> {
    app.ask(|manager| Settle.perform(manager)).await.map(Json)
}
