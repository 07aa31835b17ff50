//! Version discovery (API-SIG): which versions of the API are here, without a token.

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, Uri, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::state::ApiState;

/// All versions of the API.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionsAnswer {
    versions: [VersionView; 1],
}

/// One version of the API.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionAnswer {
    version: VersionView,
}

/// A version.
#[derive(Debug, Serialize, ToSchema)]
struct VersionView {
    #[schema(example = "v1.0")]
    id: &'static str,
    #[schema(example = "CURRENT")]
    status: &'static str,
    links: [LinkView; 1],
}

/// Where something is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkView {
    pub(crate) rel: &'static str,
    pub(crate) href: String,
}

/// List the versions of the API.
#[utoipa::path(
    get,
    path = "/",
    tag = "service",
    responses((status = 200, description = "The versions", body = VersionsAnswer))
)]
pub(crate) async fn list_versions(State(state): State<ApiState>, headers: HeaderMap) -> Json<VersionsAnswer> {
    Json(VersionsAnswer { versions: [v1(&state, &headers)] })
}

/// Show version 1 of the API.
#[utoipa::path(
    get,
    path = "/v1",
    tag = "service",
    responses((status = 200, description = "The version", body = VersionAnswer))
)]
pub(crate) async fn get_version(State(state): State<ApiState>, headers: HeaderMap) -> Json<VersionAnswer> {
    Json(VersionAnswer { version: v1(&state, &headers) })
}

fn v1(state: &ApiState, headers: &HeaderMap) -> VersionView {
    let href = format!("{}/v1/", base(state.settings.api_base.as_deref(), headers));
    VersionView { id: "v1.0", status: "CURRENT", links: [LinkView { rel: "self", href }] }
}

/// The configured base URL, else the one the client used.
pub(crate) fn base(configured: Option<&str>, headers: &HeaderMap) -> String {
    let asked = || {
        let host = headers.get(header::HOST)?.to_str().ok()?;
        let uri: Uri = format!("http://{host}").parse().ok()?;
        Some(format!("http://{}", uri.authority()?))
    };
    match configured {
        Some(base) => base.trim_end_matches('/').to_owned(),
        None => asked().unwrap_or_default(),
    }
}
