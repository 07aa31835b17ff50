//! `/healthcheck`, as oslo.middleware answers it: for load balancers, without a token.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::error::{ApiError, ErrorView};
use crate::state::ApiState;

/// The JSON form of a good health check.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthAnswer {
    /// Always false: nothing of the inside is told here.
    detailed: bool,
    /// `OK`.
    reasons: [&'static str; 1],
}

/// Whether this server can answer requests.
#[utoipa::path(
    get,
    path = "/healthcheck",
    tag = "service",
    responses(
        (status = 200, description = "It can; the text OK, or JSON where Accept asks for it", body = HealthAnswer),
        (status = 503, description = "Its database does not answer", body = ErrorView),
    )
)]
pub(crate) async fn healthcheck(
    State(state): State<ApiState>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    match timeout(state.settings.health_timeout, state.store.ping()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the database does not answer");
            return Err(ApiError::Unhealthy("database"));
        }
        Err(_) => return Err(ApiError::Unhealthy("database")),
    }
    if method == Method::HEAD {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let wants_json = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    Ok(if wants_json {
        Json(HealthAnswer { detailed: false, reasons: ["OK"] }).into_response()
    } else {
        "OK".into_response()
    })
}
