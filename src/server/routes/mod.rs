//! What can be asked, one file for each topic.
//!
//! Each has a `router()` with its routes and a `Document` that describes them; both are put together
//! here. A handler reads the request, lets the library do it in a thread that may block, and answers.

mod agent;
mod checkpoints;
mod health;
mod operations;
mod restores;
#[cfg(feature = "cli")]
mod session;
mod store;
mod upkeep;

use axum::Router;

use super::app::App;

/// Every route.
pub(super) fn router() -> Router<App> {
    let router = Router::new()
        .merge(health::router())
        .merge(store::router())
        .merge(checkpoints::router())
        .merge(restores::router())
        .merge(operations::router())
        .merge(upkeep::router());
    #[cfg(feature = "cli")]
    let router = router.merge(session::router());
    router
}
