//! The description of the interface, OpenAPI 3.1.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::OpenApi as Description;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{events, health, store};
use crate::server::app::App;

/// What is said of all routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Stateward",
        description = "The sidecar that keeps the state of long-running agents.",
    ),
    paths(openapi),
    modifiers(&Everywhere),
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

/// The whole description.
fn description() -> Description {
    let mut whole = Document::openapi();
    for part in
        [health::Document::openapi(), store::Document::openapi(), events::Document::openapi()]
    {
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

impl Modify for Everywhere {
    fn modify(&self, whole: &mut Description) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = whole.components.get_or_insert_default();
        components.add_security_scheme("token", scheme);
        for (path, item) in &mut whole.paths.paths {
            for operation in operations(item) {
                describe(operation, path != "/livez");
            }
        }
    }
}

fn operations(
    item: &mut utoipa::openapi::PathItem,
) -> impl Iterator<Item = &mut utoipa::openapi::path::Operation> {
    [&mut item.get, &mut item.post, &mut item.put, &mut item.delete].into_iter().flatten()
}

fn describe(operation: &mut utoipa::openapi::path::Operation, guarded: bool) {
    use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, SecurityRequirement};
    for (status, why) in ANYWHERE {
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| {
            let problem =
                ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            let response = ResponseBuilder::new()
                .description(why)
                .content(crate::server::problem::MEDIA_TYPE, problem)
                .build();
            RefOr::T(response)
        });
    }
    let none: [&str; 0] = [];
    if guarded {
        operation.security = Some(vec![SecurityRequirement::new("token", none)]);
    }
}
