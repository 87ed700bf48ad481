//! Checkpoints: made, listed, shown, read, compared.

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::agent::{Asked, At, OfAgent, OfCheckpoint, check, make_asked, note_sign};
use crate::collect::{Moment, Saved};
use crate::error::ErrorKind;
use crate::manager::{Differences, Error, Filter, KeptFile};
use crate::server::api::{
    Call, CheckpointBody, Condition, Diff, Files, List, Made, MakeCheckpoint, Opening, ReadState,
    Show, Shown,
};
use crate::server::app::App;
use crate::server::body::Given;
use crate::server::caller::Caller;
use crate::server::problem::Problem;
use crate::server::unsaved::Spare;
use crate::state::{AgentId, Checkpoint, Kind, Receipt, Seq};

/// Checkpoints in a list where the request does not say how many.
const LIMIT_DEFAULT: usize = 1000;

#[derive(utoipa::OpenApi)]
#[openapi(paths(make, list, show, state, files, diff))]
pub(super) struct Document;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v1/agents/{agent}/checkpoints", get(list).post(make))
        .route("/v1/agents/{agent}/checkpoints/{reference}", get(show))
        .route("/v1/agents/{agent}/checkpoints/{reference}/state", get(state))
        .route("/v1/agents/{agent}/checkpoints/{reference}/files", get(files))
        .route("/v1/agents/{agent}/checkpoints/{reference}/diff/{to}", get(diff))
}

/// What a query says of a checkpoint that is to be made.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MakeQuery {
    /// Only where the save policy says so.
    if_due: Option<String>,
    /// How far the work is, for the policy.
    progress: Option<f64>,
    /// The operation that is named is one that the checkpoint belongs to, whatever its kind.
    belongs: Option<String>,
}

/// What is answered where no checkpoint was made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum NotMade {
    /// The same request made one before.
    #[schema(value_type = Receipt)]
    Before(Box<Receipt>),
    /// The save policy asks for none.
    NotDue {
        /// No.
        due: bool,
    },
}

/// Under which terms a checkpoint is made: what the query and the headers say.
#[derive(Debug)]
struct Terms {
    query: MakeQuery,
    condition: Option<Condition>,
    idempotency_key: Option<String>,
}

impl FromRequestParts<App> for Terms {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Asked(query) = Asked::from_request_parts(parts, app).await?;
        let condition = condition(&parts.headers)?;
        let idempotency_key = idempotency_key(&parts.headers)?;
        Ok(Self { query, condition, idempotency_key })
    }
}

/// A flag is said by its name alone, or as any word for yes.
fn is_said(flag: Option<&str>, name: &str) -> Result<bool, Problem> {
    match flag {
        None | Some("false" | "0") => Ok(false),
        Some("" | "true" | "1") => Ok(true),
        Some(other) => {
            Err(Problem::new(ErrorKind::Usage, format!("{name} is true or false, not `{other}`")))
        }
    }
}

/// Makes a checkpoint; it is durable when this answers.
#[utoipa::path(post, path = "/v1/agents/{agent}/checkpoints",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F"), ("if_due" = Option<bool>, Query, description = "Only where the save policy says so"), ("progress" = Option<f64>, Query, description = "How far the work is, for the save policy"), ("belongs" = Option<bool>, Query, description = "The operation that is named is one that it belongs to, whatever its kind"), ("Idempotency-Key" = Option<String>, Header, description = "Asking again under the same key answers the same checkpoint", min_length = 1, max_length = 255), ("If-Match" = Option<String>, Header, description = "Only where the state last changed at this number, as an ETag has it"), ("If-None-Match" = Option<String>, Header, description = "`*`: only where there is no state yet")),
    request_body = CheckpointBody,
    responses((status = 201, description = "The receipt", body = Receipt, headers(("ETag" = String, description = "The number at which the state last changed"))), (status = 200, description = "The receipt of the same request made before, or that nothing is due", body = NotMade)))]
async fn make(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
    Terms { query, condition, idempotency_key }: Terms,
    Given(body): Given<CheckpointBody>,
) -> Result<Response, Problem> {
    check(&caller, &agent, body.owner.as_ref())?;
    let progress = query.progress;
    if is_said(query.if_due.as_deref(), "if_due")? && !is_due(&app, &agent, progress) {
        note_sign(&app, &agent);
        return Ok(Json(NotMade::NotDue { due: false }).into_response());
    }
    let belongs = is_said(query.belongs.as_deref(), "belongs")?;
    let opening = if belongs { Opening::Belongs } else { Opening::ByKind };
    let wanted = MakeCheckpoint { agent: agent.clone(), body, condition, idempotency_key, opening };
    make_checkpoint(app, wanted, progress).await
}

/// Makes a checkpoint and answers with its receipt.
pub(super) async fn make_checkpoint(
    app: App,
    wanted: MakeCheckpoint,
    progress: Option<f64>,
) -> Result<Response, Problem> {
    let flight = match &wanted.idempotency_key {
        Some(key) => Some(app.flights().take(&wanted.agent, key)?),
        None => None,
    };
    let own = app.clone();
    let (made, changed) = app
        .work(move || {
            // Held until the work is done, also where the client hangs up before.
            let _flight = flight;
            let spare = own.unstored().spare(&wanted, changed_now(&own, &wanted.agent)?);
            perform(&own, wanted, &spare, progress).map_err(|error| unsaved(&own, spare, error))
        })
        .await?;
    let mut answer = if made.repeated {
        Json(NotMade::Before(Box::new(made.receipt))).into_response()
    } else {
        (StatusCode::CREATED, Json(made.receipt)).into_response()
    };
    tag(&mut answer, changed);
    Ok(answer)
}

/// Makes a checkpoint, and notes that its agent has saved. Blocks.
fn perform(
    app: &App,
    wanted: MakeCheckpoint,
    spare: &Spare,
    progress: Option<f64>,
) -> Result<(Made, Option<Seq>), Error> {
    let clock = app.manager().clock();
    let began = clock.monotonic();
    let agent = wanted.agent.clone();
    let by_agent = wanted.body.owner.is_none();
    let made = make_asked(app, wanted)?;
    let at = clock.monotonic();
    let cost = at.saturating_sub(began);
    app.dues().note(&agent, Saved { at, progress, step: 0, cost });
    note_saved(app, &agent, &made, by_agent);
    // What was made is made, whatever can be said of it.
    let changed = changed_by(app, &agent, &made).ok();
    app.unstored().saved(spare, changed);
    Ok((made, changed))
}

/// The number at which the state had last changed once a checkpoint was made. What a recovery
/// checkpoint found is not the state.
fn changed_by(app: &App, agent: &AgentId, made: &Made) -> Result<Seq, Error> {
    if made.receipt.kind == Kind::Recovery {
        return changed_now(app, agent);
    }
    app.manager().agent(agent.as_str())?.state_changed(&made.receipt.checkpoint_id.to_string())
}

fn changed_now(app: &App, agent: &AgentId) -> Result<Seq, Error> {
    Ok(app.manager().agent(agent.as_str())?.state_changed_now())
}

/// Keeps in memory what no store could take, and says so.
fn unsaved(app: &App, spare: Spare, error: Error) -> Problem {
    let unstored = error.kind() == ErrorKind::Unstored;
    let mut problem = Problem::from(error);
    if unstored && app.unstored().keep(spare, app.manager().clock().now()) {
        problem.detail.push_str("; it is kept in memory and tried again, and is not durable");
    }
    problem
}

/// Makes a checkpoint that could not be stored when it was asked for.
pub(in crate::server) async fn make_again(app: &App, spare: Spare) -> Result<(), Problem> {
    let own = app.clone();
    app.work(move || Ok(perform(&own, spare.wanted().clone(), &spare, None).map(|_| ())?)).await
}

#[cfg(feature = "cli")]
fn note_saved(app: &App, agent: &AgentId, made: &Made, by_agent: bool) {
    if let Some(session) = app.sessions().of(agent).filter(|_| by_agent && !made.repeated) {
        session.note_saved(&made.receipt);
    }
}

#[cfg(not(feature = "cli"))]
fn note_saved(_: &App, _: &AgentId, _: &Made, _: bool) {}

fn is_due(app: &App, agent: &AgentId, progress: Option<f64>) -> bool {
    let now = app.manager().clock().monotonic();
    let moment = Moment { now, progress, ..Moment::default() };
    app.dues().is_due(agent, app.options().save_policy, moment)
}

/// The number at which the state last changed, as a tag.
fn tag(answer: &mut Response, changed: Option<Seq>) {
    let tag = changed.and_then(|seq| HeaderValue::from_str(&format!("\"{seq}\"")).ok());
    if let Some(tag) = tag {
        answer.headers_mut().insert(header::ETAG, tag);
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        Problem::new(ErrorKind::Usage, format!("the header {name} is more than visible ASCII"))
    })?;
    Ok(Some(text.trim()))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let key = text(headers, "idempotency-key")?;
    match key {
        Some("") => Err(Problem::new(ErrorKind::Usage, "the header idempotency-key is empty")),
        Some(key) if key.len() > 255 => Err(Problem::new(
            ErrorKind::Usage,
            "the header idempotency-key is longer than 255 characters",
        )),
        other => Ok(other.map(str::to_owned)),
    }
}

/// Under which condition a checkpoint is made at all.
fn condition(headers: &HeaderMap) -> Result<Option<Condition>, Problem> {
    let wrong = |why: &str| Err(Problem::new(ErrorKind::Usage, why));
    match (text(headers, "if-match")?, text(headers, "if-none-match")?) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => wrong("if-match and if-none-match exclude each other"),
        (None, Some("*")) => Ok(Some(Condition::First)),
        (None, Some(_)) => wrong("if-none-match is `*`: only where there is no state yet"),
        (Some(tag), None) => {
            let seq = tag.trim_matches('"').parse().ok();
            match seq {
                Some(seq) => Ok(Some(Condition::Match(Seq(seq)))),
                None => wrong("if-match is the number that an ETag of this agent's state had"),
            }
        }
    }
}

/// Which checkpoints are listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ListQuery {
    kind: Option<Kind>,
    before: Option<u64>,
    limit: Option<usize>,
}

/// Lists an agent's checkpoints, newest first.
#[utoipa::path(get, path = "/v1/agents/{agent}/checkpoints",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F"), ("kind" = Option<Kind>, Query, description = "Only of this kind"), ("before" = Option<u64>, Query, description = "Only with a smaller number"), ("limit" = Option<usize>, Query, description = "No more than so many; 1000 where it is not said")),
    responses((status = 200, description = "The checkpoints", body = Vec<Checkpoint>)))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    At(OfAgent { agent }): At<OfAgent>,
    Asked(ListQuery { kind, before, limit }): Asked<ListQuery>,
) -> Result<Json<Vec<Checkpoint>>, Problem> {
    caller.check(&agent)?;
    let limit = Some(limit.unwrap_or(LIMIT_DEFAULT));
    let list = List { agent, filter: Filter { kind, before: before.map(Seq), limit } };
    app.ask(move |manager| list.perform(manager)).await.map(Json)
}

/// Shows one checkpoint.
#[utoipa::path(get, path = "/v1/agents/{agent}/checkpoints/{reference}",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F"), ("reference" = String, Path, description = "An id or at least 4 digits it begins with, latest, latest:KIND, good, or a path")),
    responses((status = 200, description = "The checkpoint, and what it left out", body = Shown, headers(("ETag" = String, description = "The number at which the state last changed")))))]
async fn show(
    State(app): State<App>,
    caller: Caller,
    At(OfCheckpoint { agent, reference }): At<OfCheckpoint>,
) -> Result<Response, Problem> {
    let show = Show { agent: agent.clone(), reference };
    let (shown, changed) = app
        .ask(move |manager| {
            let of = manager.agent(show.agent.as_str())?;
            let shown = show.perform(manager)?;
            let changed = of.state_changed(&shown.checkpoint.checkpoint_id.to_string())?;
            Ok((shown, changed))
        })
        .await?;
    // An id leads to a checkpoint whosever it is; a scoped token does not.
    caller.check(&shown.checkpoint.agent_id)?;
    let mut answer = Json(shown).into_response();
    tag(&mut answer, Some(changed));
    Ok(answer)
}

/// Gives the state of a checkpoint, byte for byte.
#[utoipa::path(get, path = "/v1/agents/{agent}/checkpoints/{reference}/state",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F"), ("reference" = String, Path, description = "An id or at least 4 digits it begins with, latest, latest:KIND, good, or a path")),
    responses((status = 200, description = "The state", body = serde_json::Value, content_type = "application/json", headers(("ETag" = String, description = "The number at which the state last changed"), ("Stateward-Checkpoint" = String, description = "The id of the checkpoint")))))]
async fn state(
    State(app): State<App>,
    caller: Caller,
    At(OfCheckpoint { agent, reference }): At<OfCheckpoint>,
) -> Result<Response, Problem> {
    let read = ReadState { agent, reference };
    let (loaded, changed) = app
        .ask(move |manager| {
            let agent = manager.agent(read.agent.as_str())?;
            let loaded = agent.read_checkpoint(&read.reference)?;
            let id = loaded.checkpoint().checkpoint_id.to_string();
            Ok((loaded, agent.state_changed(&id).ok()))
        })
        .await?;
    let checkpoint = loaded.checkpoint();
    caller.check(&checkpoint.agent_id)?;
    let Some(bytes) = loaded.state_bytes() else {
        let detail = format!("checkpoint {} holds no state", checkpoint.checkpoint_id);
        return Err(Problem::new(ErrorKind::NotFound, detail));
    };
    let kind = (header::CONTENT_TYPE, "application/json".to_owned());
    let id = (
        header::HeaderName::from_static("stateward-checkpoint"),
        checkpoint.checkpoint_id.to_string(),
    );
    let mut answer = ([kind, id], bytes.to_vec()).into_response();
    tag(&mut answer, changed);
    Ok(answer)
}

/// Lists the files of a checkpoint.
#[utoipa::path(get, path = "/v1/agents/{agent}/checkpoints/{reference}/files",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F"), ("reference" = String, Path, description = "An id or at least 4 digits it begins with, latest, latest:KIND, good, or a path")),
    responses((status = 200, description = "The files", body = Vec<KeptFile>)))]
async fn files(
    State(app): State<App>,
    caller: Caller,
    At(OfCheckpoint { agent, reference }): At<OfCheckpoint>,
) -> Result<Json<Vec<KeptFile>>, Problem> {
    let of = find(&app, &agent, &reference).await?;
    caller.check(&of.agent_id)?;
    let files = Files { agent, reference: of.checkpoint_id.to_string() };
    app.ask(move |manager| files.perform(manager)).await.map(Json)
}

/// Two checkpoints that are compared.
#[derive(Debug, Deserialize)]
struct OfTwo {
    agent: AgentId,
    reference: String,
    to: String,
}

/// Tells what changed from one checkpoint to another.
#[utoipa::path(get, path = "/v1/agents/{agent}/checkpoints/{reference}/diff/{to}",
    params(("agent" = AgentId, Path, description = "The agent; a / in its id is written %2F"), ("reference" = String, Path, description = "An id or at least 4 digits it begins with, latest, latest:KIND, good, or a path"), ("to" = String, Path, description = "The other checkpoint")),
    responses((status = 200, description = "The differences", body = Differences)))]
async fn diff(
    State(app): State<App>,
    caller: Caller,
    At(OfTwo { agent, reference, to }): At<OfTwo>,
) -> Result<Json<Differences>, Problem> {
    for one in [&reference, &to] {
        caller.check(&find(&app, &agent, one).await?.agent_id)?;
    }
    let diff = Diff { agent, from: reference, to };
    app.ask(move |manager| diff.perform(manager)).await.map(Json)
}

/// The facts of what a reference leads to.
pub(super) async fn find(
    app: &App,
    agent: &AgentId,
    reference: &str,
) -> Result<Checkpoint, Problem> {
    let (agent, reference) = (agent.clone(), reference.to_owned());
    app.ask(move |manager| manager.find(&agent, &reference)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> Result<Option<Condition>, Problem> {
        let headers = headers.iter().map(|(name, value)| {
            (header::HeaderName::from_static(name), HeaderValue::from_static(value))
        });
        condition(&headers.collect())
    }

    #[test]
    fn a_condition_is_a_number_or_that_there_is_nothing() {
        assert_eq!(of(&[]).unwrap(), None);
        let seven = Some(Condition::Match(Seq(7)));
        assert_eq!(of(&[("if-match", "\"7\"")]).unwrap(), seven);
        assert_eq!(of(&[("if-match", "7")]).unwrap(), seven);
        assert_eq!(of(&[("if-none-match", "*")]).unwrap(), Some(Condition::First));
        for wrong in [&[("if-match", "W/\"7\"")][..], &[("if-none-match", "7")]] {
            assert_eq!(of(wrong).unwrap_err().status, 400);
        }
    }

    #[test]
    fn a_flag_is_said_by_its_name_alone() {
        assert!(is_said(Some(""), "if_due").unwrap());
        assert!(!is_said(None, "if_due").unwrap() && !is_said(Some("false"), "if_due").unwrap());
        assert_eq!(is_said(Some("maybe"), "if_due").unwrap_err().status, 400);
    }
}
