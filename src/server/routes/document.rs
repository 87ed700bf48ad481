//! The description of the interface, `OpenAPI` 3.1.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::OpenApi as Description;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, SecurityRequirement};
use utoipa::{Modify, OpenApi, PartialSchema, ToSchema};

use super::{checkpoints, drift, events, health, operations, restores, store, upkeep};
use crate::server::app::App;
use crate::server::problem::{MEDIA_TYPE, Problem};

/// What is said of all routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Stateward",
        description = "The sidecar that keeps the state of long-running agents.",
    ),
    paths(openapi),
    components(schemas(Problem))
)]
struct Document;

pub(super) fn router() -> Router<App> {
    Router::new().route("/openapi.json", get(openapi))
}

/// Describes this interface.
#[utoipa::path(get, path = "/openapi.json", responses(
    (status = 200, description = "The description", body = serde_json::Value),
))]
async fn openapi() -> Response {
    ([(header::CACHE_CONTROL, "no-cache")], Json(description())).into_response()
}

/// The answer of what is done and has nothing to tell: `null`.
pub(super) enum Nothing {}

impl PartialSchema for Nothing {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Null).into()
    }
}

impl ToSchema for Nothing {}

/// The whole description.
fn description() -> Description {
    let mut whole = Document::openapi();
    let parts = [
        health::Document::openapi(),
        store::Document::openapi(),
        checkpoints::Document::openapi(),
        restores::Document::openapi(),
        operations::Document::openapi(),
        drift::Document::openapi(),
        upkeep::Document::openapi(),
        events::Document::openapi(),
    ];
    for part in parts {
        whole.merge(part);
    }
    Everywhere.modify(&mut whole);
    whole
}

/// What holds for every route: how one proves who one is, and which problems any may answer.
struct Everywhere;

/// Problems that can be answered anywhere, with why.
const ANYWHERE: [(&str, &str); 7] = [
    ("400", "The request does not fit"),
    ("401", "The token is missing or is not one that is taken"),
    ("403", "Host, origin or token do not reach this"),
    ("408", "The body did not come in time"),
    ("413", "The body is too large"),
    ("500", "A fault of the sidecar, or damage"),
    ("503", "Too much to do, or a store that does not answer"),
];

/// Problems of what is about one agent or checkpoint, or writes.
const OF_SOMETHING: [(&str, &str); 1] = [("404", "There is no such thing")];
const OF_WRITES: [(&str, &str); 8] = [
    ("404", "There is no such thing"),
    ("409", "It would do harm, or the same is under way"),
    ("410", "The session is over"),
    ("412", "The state changed since the caller last saw it"),
    ("415", "It does not say that it sends JSON"),
    ("422", "The key was used for another request"),
    ("423", "Another process or session holds it"),
    ("507", "No store could take it"),
];

impl Modify for Everywhere {
    fn modify(&self, whole: &mut Description) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = whole.components.get_or_insert_default();
        components.add_security_scheme("token", scheme);
        for (path, item) in &mut whole.paths.paths {
            let of_something = path.contains('{');
            if let Some(operation) = &mut item.get {
                describe(operation, &ANYWHERE);
                describe(operation, &OF_SOMETHING[..usize::from(of_something)]);
            }
            if let Some(operation) = &mut item.post {
                describe(operation, &ANYWHERE);
                describe(operation, &OF_WRITES);
            }
            if path != "/livez" {
                for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                    let none: [&str; 0] = [];
                    operation.security = Some(vec![SecurityRequirement::new("token", none)]);
                }
            }
        }
    }
}

/// Adds problems that an operation may answer, where it says nothing of them itself.
fn describe(operation: &mut Operation, problems: &[(&str, &str)]) {
    for (status, why) in problems {
        operation.responses.responses.entry((*status).to_owned()).or_insert_with(|| {
            let problem = Ref::from_schema_name("Problem");
            let content = ContentBuilder::new().schema(Some(problem)).build();
            let response = ResponseBuilder::new().description(*why).content(MEDIA_TYPE, content);
            RefOr::T(response.build())
        });
    }
}
