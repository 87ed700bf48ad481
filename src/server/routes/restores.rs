//! The way back: restores, undo, a fresh start.
//!
//! Under an agent that is being run a restore is ordered: its `run` ends the command, has the restore
//! carried out, and starts the command again. `options.live` restores under the living command.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;

use super::agent::{Asked, At, OfAgent, OfCheckpoint, check, handle};
use super::checkpoints::find;
use super::document::Nothing;
use crate::error::ErrorKind;
use crate::manager::RestoreOptions;
use crate::server::api::{Call, Reset, Restore, RestoreAnswer, RestoreBody, RestorePathBody, Undo};
use crate::server::app::App;
use crate::server::body::Given;
use crate::server::caller::Caller;
use crate::server::problem::Problem;
#[cfg(feature = "cli")]
use crate::server::sessions::Ordered;
use crate::state::AgentId;
use crate::store::ViewPath;

#[derive(utoipa::OpenApi)]
#[openapi(paths(restore, restore_path, undo, reset))]
pub(super) struct Document;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v1/agents/{agent}/checkpoints/{reference}/restore", post(restore))
        .route("/v1/restore", post(restore_path))
        .route("/v1/agents/{agent}/undo", post(undo))
        .route("/v1/agents/{agent}/reset", post(reset))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RestoreQuery {
    dry_run: Option<String>,
}

impl RestoreQuery {
    /// The options with what the query says.
    fn over(&self, options: &mut RestoreOptions) -> Result<(), Problem> {
        match self.dry_run.as_deref() {
            None => {}
            Some("" | "true" | "1") => options.dry_run = true,
            Some("false" | "0") => options.dry_run = false,
            Some(other) => {
                let detail = format!("dry_run is true or false, not `{other}`");
                return Err(Problem::new(ErrorKind::Usage, detail));
            }
        }
        Ok(())
    }
}

/// An agent restores its own, into its own places.
fn check_options(caller: &Caller, options: &RestoreOptions) -> Result<(), Problem> {
    if options.workspace.is_some() || options.any_agent {
        caller.check_owner("restore another agent's, or to another place")?;
    }
    match &options.workspace {
        Some(place) if !place.is_absolute() => {
            let detail = format!("{} is no absolute path", place.display());
            Err(Problem::new(ErrorKind::Usage, detail))
        }
        _ => Ok(()),
    }
}

/// Restores a checkpoint in place, after a recovery checkpoint of what is there.
#[utoipa::path(post, path = "/v1/agents/{agent}/checkpoints/{reference}/restore",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F"), ("reference" = String, Path, description = "An id or at least 4 digits it begins with, latest, latest:KIND, good, or a path"), ("dry_run" = Option<bool>, Query, description = "Only tell what would be done")),
    request_body = RestoreBody,
    responses((status = 200, description = "What was done", body = RestoreAnswer)))]
async fn restore(
    State(app): State<App>,
    caller: Caller,
    At(OfCheckpoint { agent, reference }): At<OfCheckpoint>,
    Asked(query): Asked<RestoreQuery>,
    Given(mut body): Given<RestoreBody>,
) -> Result<Json<RestoreAnswer>, Problem> {
    check(&caller, &agent, body.owner.as_ref())?;
    query.over(&mut body.options)?;
    check_options(&caller, &body.options)?;
    perform(app, &caller, Restore { agent, reference, body }).await.map(Json)
}

/// Restores a checkpoint that is named by its path.
#[utoipa::path(post, path = "/v1/restore",
    params(("dry_run" = Option<bool>, Query, description = "Only tell what would be done")),
    request_body = RestorePathBody,
    responses((status = 200, description = "What was done", body = RestoreAnswer)))]
async fn restore_path(
    State(app): State<App>,
    caller: Caller,
    Asked(query): Asked<RestoreQuery>,
    Given(RestorePathBody { path, mut options }): Given<RestorePathBody>,
) -> Result<Json<RestoreAnswer>, Problem> {
    query.over(&mut options)?;
    check_options(&caller, &options)?;
    let reference = path.to_str().map(str::to_owned);
    let named = ViewPath::parse(&path).map(|view| view.agent);
    let (Some(reference), Some(agent)) = (reference, named) else {
        let detail = format!("{} is no path of a checkpoint", path.display());
        return Err(Problem::new(ErrorKind::Usage, detail));
    };
    caller.check(&agent)?;
    let body = RestoreBody { options, owner: None };
    perform(app, &caller, Restore { agent, reference, body }).await.map(Json)
}

/// Restores; where the agent is being run, by its `run`.
pub(super) async fn perform(
    app: App,
    caller: &Caller,
    restore: Restore,
) -> Result<RestoreAnswer, Problem> {
    // What is not there is no reason to end a command, nor is what is another's.
    let found = find(&app, &restore.agent, &restore.reference).await?;
    caller.check(&found.agent_id)?;
    #[cfg(feature = "cli")]
    if (found.agent_id == restore.agent || restore.body.options.any_agent)
        && let Some(session) = session_for(&app, &restore.agent, &restore.body.options)
    {
        return session.order(Ordered::Restore(restore)).await;
    }
    let own = app.clone();
    app.work(move || {
        let agent = handle(&own, &restore.agent, restore.body.owner.as_ref())?;
        Ok(restore.restore(&agent)?)
    })
    .await
}

#[cfg(feature = "cli")]
fn session_for(
    app: &App,
    agent: &AgentId,
    options: &RestoreOptions,
) -> Option<std::sync::Arc<crate::server::sessions::Session>> {
    app.sessions().of(agent).filter(|_| !options.dry_run && !options.live)
}

/// Takes the last restore back that was not taken back yet.
#[utoipa::path(post, path = "/v1/agents/{agent}/undo",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F"), ("dry_run" = Option<bool>, Query, description = "Only tell what would be done")),
    request_body = RestoreBody,
    responses((status = 200, description = "What was done", body = RestoreAnswer)))]
async fn undo(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
    Asked(query): Asked<RestoreQuery>,
    Given(mut body): Given<RestoreBody>,
) -> Result<Json<RestoreAnswer>, Problem> {
    check(&caller, &agent, body.owner.as_ref())?;
    query.over(&mut body.options)?;
    check_options(&caller, &body.options)?;
    let undo = Undo { agent, body };
    #[cfg(feature = "cli")]
    if let Some(session) = session_for(&app, &undo.agent, &undo.body.options) {
        return session.order(Ordered::Undo(undo)).await.map(Json);
    }
    let own = app.clone();
    app.work(move || {
        let agent = handle(&own, &undo.agent, undo.body.owner.as_ref())?;
        Ok(undo.undo(&agent)?)
    })
    .await
    .map(Json)
}

/// Starts an agent afresh; what was kept stays as evidence.
#[utoipa::path(post, path = "/v1/agents/{agent}/reset",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F")),
    responses((status = 200, description = "It is done", body = Nothing)))]
async fn reset(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
) -> Result<Json<()>, Problem> {
    caller.check_owner("start an agent afresh")?;
    app.ask(move |manager| Reset { agent }.perform(manager)).await.map(Json)
}
