//! What the service says of itself, and of URLs that it does not have.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use picasso_engine::IronFunctionsCalls;
use serde_json::json;

use super::IronState;
use super::answer::{answer, ok};
use super::error::{IronError, from_store};

pub(super) async fn hello() -> Response {
    ok(&json!({"hello": "world!", "goto": "https://github.com/iron-io/functions"}))
}

pub(super) async fn version() -> Response {
    ok(&json!({"version": env!("CARGO_PKG_VERSION")}))
}

/// The calls of this face: those that wait in the queue, and those that run in this process and ended
/// in it since it started.
pub(super) async fn stats(State(state): State<IronState>) -> Result<Response, IronError> {
    let queued = state.api.store.count_queued().await.map_err(from_store("Resource not found"))?;
    let own = queued.iter().find(|of| of.project_id.is_ironfunctions());
    let IronFunctionsCalls { running, complete } = state.api.engine.ironfunctions_calls();
    let queue = own.map_or(0, |of| of.calls);
    Ok(ok(&json!({"Queue": queue, "Running": running, "Complete": complete})))
}

/// Whatever else there is no URL or no method for.
pub(super) async fn not_found() -> Response {
    answer(StatusCode::NOT_FOUND, &"Not Found")
}
