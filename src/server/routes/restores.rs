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
    Ok(())
}

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
    perform(app, Restore { agent, reference, body }).await.map(Json)
}

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
    perform(app, Restore { agent, reference, body: RestoreBody { options, owner: None } })
        .await
        .map(Json)
}

/// Restores; where the agent is being run, by its `run`.
pub(super) async fn perform(app: App, restore: Restore) -> Result<RestoreAnswer, Problem> {
    // What is not there is no reason to end a command.
    find(&app, &restore.agent, &restore.reference).await?;
    #[cfg(feature = "cli")]
    if let Some(session) = session_for(&app, &restore.agent, &restore.body.options) {
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

async fn reset(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
) -> Result<Json<()>, Problem> {
    caller.check_owner("start an agent afresh")?;
    app.ask(move |manager| Reset { agent }.perform(manager)).await.map(Json)
}
