//! What can be asked, one file for each topic.
//!
//! Each has a `router()` with its routes and a `Document` that describes them; both are put together
//! here. A handler reads the request, lets the library do it in a thread that may block, and answers.

mod health;
mod store;

use axum::Router;

use super::app::App;

/// Every route.
pub(super) fn router() -> Router<App> {
    Router::new().merge(health::router()).merge(store::router())
}
