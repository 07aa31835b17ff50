//! Calls as a resource: `/v1/{project_id}/calls`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Uri;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use picasso_engine::RetryError;
use picasso_identity::policy::defaults as rule;
use picasso_store::StoreError;
use picasso_types::{
    Call, CallFilter, CallId, CallState, Cancelled, FieldFault, ProjectId, Retried, Timestamp,
};

use crate::answers::accepted;
use crate::call_views::{CallAnswer, CallView, CallsAnswer, RetriedAnswer};
use crate::error::{ApiError, ErrorView, from_store};
use crate::link_view::LinkView;
use crate::microversion::Microversion;
use crate::request::auth::Allowed;
use crate::request::listing::{MAX_LIMIT, limit, time};
use crate::request::origin::Origin;
use crate::request::path::CallPath;
use crate::request::query::Query;
use crate::state::ApiState;

/// Calls of a page when the client does not say.
const DEFAULT_LIMIT: u32 = 100;
/// Most calls that one request queues again.
const MAX_RETRIED: u32 = 250;
/// Which calls can be retried together.
const RETRY_FILTERS: &[&str] = &["app", "route", "status", "since", "limit"];
/// What a list can be asked for.
const FILTERS: &[&str] = &["app", "route", "status", "since", "limit", "marker"];

/// The project's call; another project's is as missing as one that never was.
pub(crate) async fn find_call(state: &ApiState, project: &ProjectId, id: &CallId) -> Result<Call, ApiError> {
    let missing = || ApiError::CallNotFound(id.to_string());
    let call = state.store.get_call(id).await.map_err(from_store(missing))?;
    if call.project_id == *project { Ok(call) } else { Err(missing()) }
}

/// List the calls of a project, newest first.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/calls",
    tag = "calls",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("app" = Option<String>, Query, description = "Only calls of this app, by its short or full name"),
        ("route" = Option<String>, Query, description = "Only calls of routes with this path"),
        ("status" = Option<String>, Query, description = "Only calls in this state"),
        ("since" = Option<String>, Query, description = "Only calls accepted at this time or later, ISO 8601"),
        ("limit" = Option<u32>, Query, description = "Most calls of the page, 1 to 1000; 100 without it"),
        ("marker" = Option<String>, Query, description = "The id of the last call of the page before"),
    ),
    responses(
        (status = 200, description = "A page of calls, and where the next one is", body = CallsAnswer),
        (status = 400, description = "A filter is refused; the message names it", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:call:list"]))
)]
pub(crate) async fn list_calls(
    Allowed(auth, ..): Allowed<rule::ListCalls>,
    State(state): State<ApiState>,
    uri: Uri,
    origin: Origin,
) -> Result<Json<CallsAnswer>, ApiError> {
    let query = Query::parse(uri.query(), FILTERS)?;
    let filter = filter(&state, auth.project, &query, MAX_LIMIT).await?;
    let calls =
        state.store.list_calls(&filter).await.map_err(|error| ApiError::internal("listing calls", error))?;
    let base = origin.base(state.settings.api_base.as_deref());
    let full = calls.len() as u64 == u64::from(filter.limit);
    let next = calls.last().filter(|_| full).map(|last| next_page(base, &filter, &query, &last.id));
    Ok(Json(CallsAnswer {
        calls: calls.iter().map(|call| CallView::new(call, base)).collect(),
        calls_links: next.into_iter().collect(),
        message: "Successfully listed calls",
    }))
}

async fn filter(
    state: &ApiState,
    project: ProjectId,
    query: &Query,
    max_limit: u32,
) -> Result<CallFilter, ApiError> {
    let limit = query.get("limit").map_or(Ok(DEFAULT_LIMIT), |text| limit(text, max_limit))?;
    let since = query.get("since").map(since).transpose()?;
    let after = match query.get("marker") {
        None => None,
        Some(marker) => {
            let unknown = || FieldFault::new("marker", "is not the id of a call of the project");
            let id = CallId::parse(marker).map_err(|_| unknown())?;
            match find_call(state, &project, &id).await {
                Ok(call) => Some((call.created_at, call.id)),
                Err(ApiError::CallNotFound(_)) => return Err(unknown().into()),
                Err(error) => return Err(error),
            }
        }
    };
    let app_name = match query.get("app") {
        None => None,
        // Calls outlive their app: its full name finds them also when it is gone.
        Some(name) => Some(match state.store.get_app(&project, name).await {
            Ok(app) => app.full_name.to_string(),
            Err(StoreError::NotFound) => name.to_owned(),
            Err(error) => return Err(ApiError::internal("loading an app", error)),
        }),
    };
    Ok(CallFilter {
        project_id: project,
        app_name,
        route_path: query.get("route").map(str::to_owned),
        state: query.get("status").map(CallState::parse).transpose()?,
        since,
        after,
        limit,
    })
}

fn since(text: &str) -> Result<Timestamp, FieldFault> {
    time(text).ok_or_else(|| FieldFault::new("since", "must be a time like 2026-01-31T12:00:00Z"))
}

fn next_page(base: &str, filter: &CallFilter, query: &Query, last: &CallId) -> LinkView {
    let mut href = format!("{base}/v1/{}/calls?limit={}&marker={last}", filter.project_id, filter.limit);
    for name in ["app", "route", "status", "since"] {
        if let Some(value) = query.get(name) {
            href.extend(["&", name, "="]);
            href.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
    }
    LinkView { rel: "next", href }
}

/// Show a call.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/calls/{call_id}",
    tag = "calls",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("call_id" = String, Path, description = "The call's id"),
    ),
    responses(
        (status = 200, description = "The call", body = CallAnswer),
        (status = 404, description = "The project has no such call", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:call:get"]))
)]
pub(crate) async fn get_call(
    Allowed(auth, ..): Allowed<rule::GetCall>,
    State(state): State<ApiState>,
    CallPath(id): CallPath,
    origin: Origin,
) -> Result<Json<CallAnswer>, ApiError> {
    answer(&state, &auth.project, &id, &origin, "Successfully loaded call").await.map(Json)
}

async fn answer(
    state: &ApiState,
    project: &ProjectId,
    id: &CallId,
    origin: &Origin,
    message: &'static str,
) -> Result<CallAnswer, ApiError> {
    let call = find_call(state, project, id).await?;
    let base = origin.base(state.settings.api_base.as_deref());
    let deliveries = state.store.list_deliveries(id).await;
    let deliveries = deliveries.map_err(|error| ApiError::store("listing a call's deliveries", error))?;
    Ok(CallAnswer { call: CallView::new(&call, base).with_deliveries(&deliveries), message })
}

pub(super) fn call_url(state: &ApiState, origin: &Origin, project: &ProjectId, id: &CallId) -> String {
    format!("{}/v1/{project}/calls/{id}", origin.base(state.settings.api_base.as_deref()))
}

/// Cancel an asynchronous call that waits or runs.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/calls/{call_id}/cancel",
    tag = "calls",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("call_id" = String, Path, description = "The call's id"),
    ),
    responses(
        (status = 200, description = "A waiting call is cancelled; a running one is being ended", body = CallAnswer),
        (status = 202, description = "A running call is being ended, from version 1.1 on", body = CallAnswer, headers(("Location" = String, description = "The call's URL"))),
        (status = 404, description = "The project has no such call", body = ErrorView),
        (status = 409, description = "The call has ended already", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:call:cancel"]))
)]
pub(crate) async fn cancel_call(
    Allowed(auth, ..): Allowed<rule::CancelCall>,
    State(state): State<ApiState>,
    CallPath(id): CallPath,
    version: Microversion,
    origin: Origin,
) -> Result<Response, ApiError> {
    let missing = || ApiError::CallNotFound(id.to_string());
    let cancelled = state.engine.cancel_call(&auth.project, &id).await.map_err(from_store(missing))?;
    let (message, ended) = match cancelled {
        Cancelled::Queued => ("Call successfully cancelled", true),
        Cancelled::Running => ("Call is being ended", false),
        Cancelled::Finished(ended) => return Err(ApiError::CallFinished(ended)),
    };
    let answer = answer(&state, &auth.project, &id, &origin, message).await?;
    if ended {
        return Ok(Json(answer).into_response());
    }
    Ok(accepted(version, Some(call_url(&state, &origin, &auth.project, &id)), answer))
}

/// Run an asynchronous call that did not succeed again.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/calls/{call_id}/retry",
    tag = "calls",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("call_id" = String, Path, description = "The call's id"),
    ),
    responses(
        (status = 200, description = "The call is queued again, its attempts count on", body = CallAnswer),
        (status = 202, description = "The same, from version 1.1 on", body = CallAnswer, headers(("Location" = String, description = "The call's URL"))),
        (status = 404, description = "The project has no such call", body = ErrorView),
        (status = 409, description = "The call has not ended, has succeeded, or what its caller sent is not kept", body = ErrorView),
        (status = 429, description = "The project has as many queued calls as it may", body = ErrorView),
        (status = 503, description = "The whole service has as many", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:call:retry"]))
)]
pub(crate) async fn retry_call(
    Allowed(auth, ..): Allowed<rule::RetryCall>,
    State(state): State<ApiState>,
    CallPath(id): CallPath,
    version: Microversion,
    origin: Origin,
) -> Result<Response, ApiError> {
    let missing = || ApiError::CallNotFound(id.to_string());
    let retried = state.engine.retry_call(&auth.project, &id).await.map_err(|error| match error {
        RetryError::QueueFull(full) => full.into(),
        RetryError::Store(error) => from_store(missing)(error),
    })?;
    match retried {
        Retried::Queued => {
            let answer =
                answer(&state, &auth.project, &id, &origin, "Call successfully queued again").await?;
            Ok(accepted(version, Some(call_url(&state, &origin, &auth.project, &id)), answer))
        }
        Retried::NotFinished(now) => Err(ApiError::CallNotFinished(now)),
        Retried::Succeeded => Err(ApiError::CallFinished(CallState::Succeeded)),
        Retried::NoBody => Err(ApiError::CallBodyGone),
    }
}

/// Run many calls that did not succeed again, the oldest first; without `status` the dead ones.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/calls/retry",
    tag = "calls",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("app" = Option<String>, Query, description = "Only calls of this app, by its short or full name"),
        ("route" = Option<String>, Query, description = "Only calls of routes with this path"),
        ("status" = Option<String>, Query, description = "`dead` (also without it), `failed`, `timed_out` or `cancelled`"),
        ("since" = Option<String>, Query, description = "Only calls accepted at this time or later, ISO 8601"),
        ("limit" = Option<u32>, Query, description = "Most calls of this request, 1 to 250; 100 without it"),
    ),
    responses(
        (status = 200, description = "How many calls are queued again, and whether there are more", body = RetriedAnswer),
        (status = 202, description = "The same, from version 1.1 on", body = RetriedAnswer, headers(("Location" = String, description = "The list of the project's calls"))),
        (status = 400, description = "A filter is refused; the message names it", body = ErrorView),
        (status = 429, description = "The project has as many queued calls as it may", body = ErrorView),
        (status = 503, description = "The whole service has as many", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:call:retry"]))
)]
pub(crate) async fn retry_calls(
    Allowed(auth, ..): Allowed<rule::RetryCall>,
    State(state): State<ApiState>,
    uri: Uri,
    version: Microversion,
    origin: Origin,
) -> Result<Response, ApiError> {
    let at = format!("{}/v1/{}/calls", origin.base(state.settings.api_base.as_deref()), auth.project);
    let query = Query::parse(uri.query(), RETRY_FILTERS)?;
    let filter = filter(&state, auth.project, &query, MAX_RETRIED).await?;
    let status = filter.state.unwrap_or(CallState::Dead);
    if !status.is_final() || status == CallState::Succeeded {
        let allowed = "must be one of: \"dead\" \"failed\" \"timed_out\" \"cancelled\"";
        return Err(FieldFault::new("status", allowed).into());
    }
    let retried =
        state.engine.retry_calls(&CallFilter { state: Some(status), ..filter }).await.map_err(|error| {
            match error {
                RetryError::QueueFull(full) => full.into(),
                RetryError::Store(error) => ApiError::store("retrying calls", error),
            }
        })?;
    let message = "Calls successfully queued again";
    Ok(accepted(version, Some(at), RetriedAnswer { retried: retried.queued, more: retried.more, message }))
}
