//! `/healthcheck`, as oslo.middleware answers it: for load balancers, without a token.
//!
//! Contract: oslo.middleware's healthcheck: the text `OK`, or the reasons a line each, or
//! `{"detailed": false, "reasons": […]}` where `Accept` asks for JSON; 200, 204 to HEAD, 503. Where
//! it is not for the client, the URL is not there.

use std::path::Path;

use axum::Json;
use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::error::{ApiError, ERROR_KIND, ErrorView, Kind};
use crate::request::origin::Origin;
use crate::state::ApiState;

/// The JSON form of a health check.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthAnswer {
    /// Always false: nothing of the inside is told here.
    detailed: bool,
    /// `OK`, or why this server should get no requests; then what its operator should look at.
    #[schema(example = json!(["OK"]))]
    reasons: Vec<&'static str>,
}

/// Whether this server can answer requests.
#[utoipa::path(
    get,
    path = "/healthcheck",
    tag = "service",
    responses(
        (status = 200, description = "It can; the text OK, or JSON where Accept asks for it", content(
            (HealthAnswer = "application/json"), (String = "text/plain"),
        )),
        (status = 404, description = "The operator answers other addresses only", body = ErrorView),
        (status = 503, description = "Its database does not answer, or its operator drains it: the reasons, in the same forms", content(
            (HealthAnswer = "application/json"), (String = "text/plain"),
        )),
    )
)]
pub(crate) async fn healthcheck(
    State(state): State<ApiState>,
    origin: Origin,
    uri: OriginalUri,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let ranges = &state.settings.health_sources;
    // A Unix socket has no address; its permissions are its range.
    let is_foreign = |address| !ranges.iter().any(|net| net.contains(&address));
    if !ranges.is_empty() && origin.client_address().is_some_and(is_foreign) {
        return Err(ApiError::UrlNotFound(uri.path().to_owned()));
    }
    let (is_alive, is_drained) =
        tokio::join!(database_answers(&state), exists(state.settings.drain_file.as_deref()));
    let mut reasons = Vec::new();
    if is_drained {
        reasons.push("DISABLED BY FILE");
    }
    if !is_alive {
        reasons.push("The database does not answer");
    }
    let wants_json = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"));
    let is_healthy = reasons.is_empty();
    if is_healthy {
        reasons.push("OK");
    }
    // The rules before them stay in force, so that requests need not go elsewhere.
    if state.policy.fault().is_some() {
        reasons.push("The policy files cannot be used; the rules before them are in force");
    }
    if is_healthy {
        return Ok(if method == Method::HEAD {
            StatusCode::NO_CONTENT.into_response()
        } else {
            told(reasons, wants_json)
        });
    }
    let mut response = told(reasons, wants_json);
    *response.status_mut() = Kind::Unhealthy.status();
    response.headers_mut().insert(ERROR_KIND, HeaderValue::from_static(Kind::Unhealthy.as_str()));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    Ok(response)
}

async fn database_answers(state: &ApiState) -> bool {
    match timeout(state.settings.health_timeout, state.store.ping()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the database does not answer");
            false
        }
        Err(_) => false,
    }
}

async fn exists(file: Option<&Path>) -> bool {
    match file {
        Some(file) => tokio::fs::try_exists(file).await.unwrap_or(false),
        None => false,
    }
}

fn told(reasons: Vec<&'static str>, as_json: bool) -> Response {
    if as_json {
        Json(HealthAnswer { detailed: false, reasons }).into_response()
    } else {
        reasons.join("\n").into_response()
    }
}
