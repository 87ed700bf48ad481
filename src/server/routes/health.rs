//! Whether the sidecar lives.

use axum::Router;
use axum::routing::get;

use crate::server::app::App;

pub(super) fn router() -> Router<App> {
    Router::new().route("/livez", get(livez))
}

/// Answers as long as the sidecar lives; asks no store.
async fn livez() -> &'static str {
    "ok\n"
}
