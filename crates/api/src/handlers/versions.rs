//! Version discovery (API-SIG): which versions of the API are here, without a token.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::link_view::LinkView;
use crate::microversion::Microversion;
use crate::request::origin::Origin;
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
    /// The oldest microversion.
    #[schema(example = "1.0")]
    min_version: String,
    /// The newest microversion.
    #[schema(example = "1.1")]
    max_version: String,
    /// `self`, `collection`, and `functions`: where function URLs begin.
    links: [LinkView; 3],
}

/// List the versions of the API.
#[utoipa::path(
    get,
    path = "/",
    tag = "service",
    responses((status = 200, description = "The versions", body = VersionsAnswer))
)]
pub(crate) async fn list_versions(State(state): State<ApiState>, origin: Origin) -> Json<VersionsAnswer> {
    Json(VersionsAnswer { versions: [v1(&state, &origin)] })
}

/// Show version 1 of the API.
#[utoipa::path(
    get,
    path = "/v1",
    tag = "service",
    responses((status = 200, description = "The version", body = VersionAnswer))
)]
pub(crate) async fn get_version(State(state): State<ApiState>, origin: Origin) -> Json<VersionAnswer> {
    Json(VersionAnswer { version: v1(&state, &origin) })
}

fn v1(state: &ApiState, origin: &Origin) -> VersionView {
    let base = origin.base(state.settings.api_base.as_deref());
    VersionView {
        id: "v1.0",
        status: "CURRENT",
        min_version: Microversion::MIN.to_string(),
        max_version: Microversion::MAX.to_string(),
        links: [
            LinkView { rel: "self", href: format!("{base}/v1/") },
            LinkView { rel: "collection", href: format!("{base}/") },
            LinkView { rel: "functions", href: origin.functions_base(&state.settings) },
        ],
    }
}
