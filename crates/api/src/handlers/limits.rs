//! Limits and usage of a project: `GET /v1/{project_id}/limits`.
//!
//! The URL is Cinder's and Manila's, the form that of Glance's `/v2/info/usage`, which came with
//! unified limits: an object by resource, so that a new resource changes nothing of the others.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use picasso_engine::NodeUsage;
use picasso_identity::policy::defaults as rule;
use picasso_store::ProjectUsage;
use picasso_types::{ProjectLimits, Resource, mib_of};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::{ApiError, ErrorView};
use crate::request::auth::Allowed;
use crate::state::ApiState;

/// How much a project may have of a resource, and has.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct LimitView {
    /// The most; `-1` is no limit.
    #[schema(example = 500)]
    limit: i64,
    /// How much there is now; of what is counted on each node, on the one that answers. Of calls each
    /// second always 0.
    #[schema(example = 3)]
    usage: u64,
    /// Who set the limit: `keystone`, or `default` for the settings of this service.
    #[schema(example = "keystone")]
    source: &'static str,
}

/// The limits of a project.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LimitsAnswer {
    /// By the name of the resource, as it is registered in Keystone.
    limits: BTreeMap<&'static str, LimitView>,
    /// A sentence.
    message: &'static str,
}

/// Show how much a project may have, and has.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/limits",
    tag = "limits",
    params(("project_id" = String, Path, description = "The project of the token")),
    responses((status = 200, description = "Limit and usage of each resource", body = LimitsAnswer),
        (status = 404, description = "The project is not the token's", body = ErrorView)),
    security(("keystone_token" = ["functions:limit:get"]))
)]
pub(crate) async fn get_limits(
    Allowed(auth, ..): Allowed<rule::GetLimits>,
    State(state): State<ApiState>,
) -> Result<Json<LimitsAnswer>, ApiError> {
    let usage = state.store.project_usage(&auth.project).await;
    let usage = usage.map_err(|error| ApiError::store("counting what a project has", error))?;
    let limits = state.limits.of(&auth.project).await;
    let node = OfNode {
        now: state.engine.node_usage(&auth.project),
        image_bytes: state.images.usage(&auth.project).await,
    };
    Ok(Json(LimitsAnswer { limits: views(&limits, &usage, &node), message: "Successfully loaded limits" }))
}

/// What is counted on each node.
struct OfNode {
    now: NodeUsage,
    image_bytes: u64,
}

fn views(limits: &ProjectLimits, usage: &ProjectUsage, node: &OfNode) -> BTreeMap<&'static str, LimitView> {
    let view = |resource: &Resource| {
        let limit = limits.of(*resource);
        let usage = match resource {
            Resource::Apps => usage.apps,
            Resource::Routes => usage.routes,
            Resource::Triggers => usage.triggers,
            Resource::QueuedCalls => usage.queued_calls,
            Resource::Outputs => mib_of(usage.output_bytes),
            Resource::ConcurrentCalls => node.now.calls,
            Resource::Memory => node.now.memory_mb,
            Resource::Images => mib_of(node.image_bytes),
            // A rate is not something that a project has.
            Resource::CallRate => 0,
        };
        let max = limit.max.map_or(-1, |max| i64::try_from(max).unwrap_or(i64::MAX));
        (resource.name(), LimitView { limit: max, usage, source: limit.source.as_str() })
    };
    Resource::ALL.iter().map(view).collect()
}
