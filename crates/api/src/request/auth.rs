//! Who is calling, and whether their roles and project allow it: before any look-up.
//!
//! The order is token, roles, project. A project in the URL that is not the token's answers
//! exactly as a missing resource of the token's own project does, so that nobody learns what
//! exists elsewhere; for a role that is not enough the answer is 403 for every project alike.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use http::request::Parts;
use picasso_identity::{Access, Caller, Presented};
use picasso_types::ProjectId;
use secrecy::SecretString;

use super::context::RequestContext;
use super::path::{function_path, with_slash};
use crate::error::ApiError;
use crate::state::ApiState;

/// A caller in a project it may act in.
#[derive(Debug, Clone)]
pub(crate) struct Authorized {
    /// The caller.
    pub(crate) caller: Arc<Caller>,
    /// The project of the URL; the caller's own unless it is an admin.
    pub(crate) project: ProjectId,
}

/// A caller who may read in the project of the URL.
pub(crate) struct Reader(pub(crate) Authorized);

/// The token of a caller, for requests to other services on the caller's behalf; never kept.
pub(crate) struct CallerToken(pub(crate) SecretString);

impl FromRequestParts<ApiState> for CallerToken {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, ApiError> {
        Ok(Self(presented(parts)?.user_token().clone()))
    }
}

/// A caller who may change things and run functions in the project of the URL.
pub(crate) struct Writer(pub(crate) Authorized);

impl FromRequestParts<ApiState> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        authorize(parts, state, Access::Read).await.map(Self)
    }
}

impl FromRequestParts<ApiState> for Writer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        authorize(parts, state, Access::Write).await.map(Self)
    }
}

async fn authorize(parts: &mut Parts, state: &ApiState, needs: Access) -> Result<Authorized, ApiError> {
    let caller = state.tokens.validate(&presented(parts)?).await?;
    if let Some(context) = parts.extensions.get::<RequestContext>() {
        context.note_caller(&caller);
    }
    if caller.access() < Some(needs) {
        let needs = match needs {
            Access::Read => "reader",
            Access::Write => "member",
        };
        return Err(ApiError::Forbidden { needs });
    }
    let params = Params::of(parts).await;
    let project = ProjectId::parse(params.get("project_id").unwrap_or_default());
    match project {
        Ok(project) if Some(&project) == caller.project_id() || caller.is_admin() => {
            Ok(Authorized { caller, project })
        }
        Ok(_) | Err(_) => Err(as_if_missing(parts, &params)),
    }
}

fn presented(parts: &Parts) -> Result<Presented, ApiError> {
    Ok(Presented::new(&parts.headers, &parts.method, parts.uri.path())?)
}

/// What a missing resource of the same URL in the caller's own project would answer.
fn as_if_missing(parts: &Parts, params: &Params) -> ApiError {
    let template = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if template.starts_with("/v1/f/") {
        return ApiError::FunctionNotFound(function_path(
            params.get("app").unwrap_or_default(),
            &with_slash(params.get("route").unwrap_or_default()),
        ));
    }
    if let Some(app) = params.get("app") {
        ApiError::AppNotFound(app.to_owned())
    } else if let Some(name) = params.get("name") {
        ApiError::ImageNotFound(name.to_owned())
    } else if let Some(id) = params.get("route_id") {
        ApiError::RouteNotFound(id.to_owned())
    } else if let Some(id) = params.get("call_id") {
        ApiError::CallNotFound(id.to_owned())
    } else {
        ApiError::ProjectNotFound(params.get("project_id").unwrap_or_default().to_owned())
    }
}

struct Params(Option<RawPathParams>);

impl Params {
    async fn of(parts: &mut Parts) -> Self {
        Self(RawPathParams::from_request_parts(parts, &()).await.ok())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}
