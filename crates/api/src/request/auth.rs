//! Who is calling, and whether a policy rule allows it: before any look-up.
//!
//! **Every handler names one rule** of [`picasso_identity::policy::defaults`] twice: by its type in its
//! arguments, `Allowed(auth, ..): Allowed<rule::ListApps>`, and by its name in its documentation,
//! `security(("keystone_token" = ["functions:app:list"]))`. A new handler gets a rule in `defaults.rs`,
//! whose operations list its method and path; tests hold the three against each other. Handlers
//! without a token are listed by themselves in `tests/faces/policy.rs`.
//!
//! The order is token, rule, project. The rule is asked about the project of the URL. Where it says no,
//! it is asked about the token's own project: what is allowed there was refused for the project alone,
//! and answers exactly as a missing resource of the token's own project does, so that nobody learns
//! what exists elsewhere. What is refused there, too, answers 403 for every project alike. A rule sees
//! what the URL names and nothing of what is stored.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams};
use http::request::Parts;
use picasso_identity::policy::{Credentials, NamedRule, RuleDefault};
use picasso_identity::{Caller, Presented};
use picasso_types::ProjectId;
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::context::RequestContext;
use super::path::{function_path, with_slash};
use crate::announce::Subject;
use crate::error::ApiError;
use crate::state::ApiState;

/// A caller in a project it may act in.
#[derive(Debug, Clone)]
pub(crate) struct Authorized {
    /// The caller.
    pub(crate) caller: Arc<Caller>,
    /// The project of the URL; the caller's own unless a rule allows others.
    pub(crate) project: ProjectId,
    context: RequestContext,
}

impl Authorized {
    /// Whether a further rule allows the caller what the request asks for.
    pub(crate) async fn may(&self, state: &ApiState, rule: &'static RuleDefault) -> Result<bool, ApiError> {
        let target = Map::from_iter([("project_id".to_owned(), self.project.as_str().into())]);
        Ok(state.policy.allows(rule, &target, &Credentials::from(&*self.caller)).await?)
    }

    /// Notes what the request is about, for what is told of it on OpenStack's bus.
    pub(crate) fn about(&self, subject: &impl Subject) {
        self.context.about(subject);
    }
}

/// The token of a caller, for requests to other services on the caller's behalf; never kept.
pub(crate) struct CallerToken(pub(crate) SecretString);

impl FromRequestParts<ApiState> for CallerToken {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, ApiError> {
        Ok(Self(presented(parts)?.user_token().clone()))
    }
}

/// A caller whom the rule `R` allows what it asks for in the project of the URL.
pub(crate) struct Allowed<R>(pub(crate) Authorized, pub(crate) PhantomData<R>);

impl<R: NamedRule> FromRequestParts<ApiState> for Allowed<R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, ApiError> {
        authorize(parts, state, R::RULE).await.map(|auth| Self(auth, PhantomData))
    }
}

async fn authorize(
    parts: &mut Parts,
    state: &ApiState,
    rule: &'static RuleDefault,
) -> Result<Authorized, ApiError> {
    let caller = state.tokens.validate(&presented(parts)?).await?;
    let Ok(context) = RequestContext::from_request_parts(parts, state).await;
    context.note_caller(&caller);
    let refused = || {
        context.note_refused(rule);
        let is_default = !state.policy.rules().overrides().contains_key(rule.name);
        ApiError::Forbidden { rule: rule.name, needs: is_default.then(|| rule.least_role()) }
    };
    // A domain, the system and nothing at all have no apps.
    let own = caller.project_id().ok_or_else(refused)?;
    let params = Params::of(parts).await;
    let credentials = Credentials::from(&*caller);
    let mut target = params.target();
    let asked = ProjectId::parse(params.get("project_id").unwrap_or_default());
    if let Ok(project) = asked
        && state.policy.allows(rule, &target, &credentials).await?
    {
        context.note_authorized(rule, &project);
        return Ok(Authorized { caller, project, context });
    }
    target.insert("project_id".to_owned(), own.as_str().into());
    if state.policy.allows(rule, &target, &credentials).await? {
        context.note_refused(rule);
        Err(as_if_missing(parts, &params))
    } else {
        Err(refused())
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
    if let Some(name) = params.get("trigger") {
        ApiError::TriggerNotFound(name.to_owned())
    } else if let Some(id) = params.get("route_id") {
        ApiError::RouteNotFound(id.to_owned())
    } else if let Some(app) = params.get("app") {
        ApiError::AppNotFound(app.to_owned())
    } else if let Some(name) = params.get("name") {
        ApiError::ImageNotFound(name.to_owned())
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

    /// What the URL names, as rules see it.
    fn target(&self) -> Map<String, Value> {
        self.0.iter().flatten().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }
}
