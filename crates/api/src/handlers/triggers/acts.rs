//! What is done with a trigger: pause, resume, try, look at what it did, give it new secrets.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use picasso_identity::policy::defaults as rule;
use picasso_trigger::{FireOptions, Fired};
use picasso_types::FieldFault;
use picasso_types::trigger::{Trigger, TriggerState};

use super::hook::Hook;
use super::saving::change_of;
use super::{find, tag};
use crate::answers::accepted;
use crate::bodies::trigger::{FireTrigger, WantedChange};
use crate::error::{ApiError, ErrorView, from_store};
use crate::microversion::Microversion;
use crate::request::auth::{Allowed, Authorized};
use crate::request::context::RequestContext;
use crate::request::json::JsonBody;
use crate::request::origin::Origin;
use crate::request::path::TriggerPath;
use crate::request::preconditions::tagged;
use crate::state::ApiState;
use crate::trigger_views::{FiringAnswer, FiringView, FiringsAnswer, TriggerAnswer, TriggerView};

/// Firings that are shown: as many as are kept.
const SHOWN: u32 = 100;

/// Pause a trigger: events pass it by. One that is paused already stays so.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/triggers/{trigger}/pause",
    tag = "triggers",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("trigger" = String, Path, description = "The trigger's name or id"),
    ),
    responses(
        (status = 200, description = "The trigger", body = TriggerAnswer, headers(("ETag" = String, description = "Of its state"))),
        (status = 404, description = "The project has no such trigger", body = ErrorView),
        (status = 412, description = "Somebody changed it this very moment", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:trigger:pause"]))
)]
pub(crate) async fn pause_trigger(
    Allowed(auth, ..): Allowed<rule::PauseTrigger>,
    State(state): State<ApiState>,
    TriggerPath(name): TriggerPath,
) -> Result<Response, ApiError> {
    let trigger = find(&state, &auth.project, &name).await?;
    put_into(&state, &auth, trigger, TriggerState::Paused, "Trigger successfully paused").await
}

/// Make a trigger act again that is paused, stopped or finished. An active one stays so.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/triggers/{trigger}/resume",
    tag = "triggers",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("trigger" = String, Path, description = "The trigger's name or id"),
    ),
    responses(
        (status = 200, description = "The trigger", body = TriggerAnswer, headers(("ETag" = String, description = "Of its state"))),
        (status = 400, description = "No time of the schedule lies ahead", body = ErrorView),
        (status = 404, description = "The project has no such trigger", body = ErrorView),
        (status = 412, description = "Somebody changed it this very moment", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:trigger:resume"]))
)]
pub(crate) async fn resume_trigger(
    Allowed(auth, ..): Allowed<rule::ResumeTrigger>,
    State(state): State<ApiState>,
    TriggerPath(name): TriggerPath,
) -> Result<Response, ApiError> {
    let trigger = find(&state, &auth.project, &name).await?;
    put_into(&state, &auth, trigger, TriggerState::Active, "Trigger successfully resumed").await
}

async fn put_into(
    state: &ApiState,
    auth: &Authorized,
    before: Trigger,
    wanted: TriggerState,
    message: &'static str,
) -> Result<Response, ApiError> {
    auth.about(&before);
    let trigger = if before.state == wanted {
        before
    } else {
        let wanted =
            WantedChange { enabled: Some(wanted == TriggerState::Active), ..WantedChange::default() };
        let (change, _) = change_of(state, &before, wanted, &auth.caller.user_id)?;
        let changed = state.store.update_trigger(&before.id, before.revision, &change).await;
        let missing = || ApiError::TriggerNotFound(before.id.to_string());
        let trigger = changed.map_err(from_store(missing))?;
        state.catalog.forget(&trigger.spec.app_id).await;
        trigger
    };
    let answer = TriggerAnswer { trigger: TriggerView::from(&trigger), webhook: None, message };
    Ok(tagged(&tag(&trigger)?, Json(answer).into_response()))
}

/// Try a trigger with an event: its function runs as if the event had happened, whatever the
/// trigger's filter and state.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/triggers/{trigger}/fire",
    tag = "triggers",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("trigger" = String, Path, description = "The trigger's name or id"),
    ),
    request_body(content = Option<FireTrigger>),
    responses(
        (status = 200, description = "The call that runs", body = FiringAnswer),
        (status = 202, description = "The same, from version 1.1 on", body = FiringAnswer, headers(("Location" = String, description = "The call's URL"))),
        (status = 400, description = "A field is refused", body = ErrorView),
        (status = 404, description = "The project has no such trigger", body = ErrorView),
        (status = 409, description = "The call is refused: the version or alias is gone, for one", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
        (status = 503, description = "The call cannot be accepted now: the queue is full, or the function not ready yet", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:trigger:fire"]))
)]
pub(crate) async fn fire_trigger(
    Allowed(auth, ..): Allowed<rule::FireTrigger>,
    State(state): State<ApiState>,
    TriggerPath(name): TriggerPath,
    version: Microversion,
    origin: Origin,
    context: RequestContext,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let trigger = find(&state, &auth.project, &name).await?;
    auth.about(&trigger);
    let event = body.parse_optional::<FireTrigger>()?.unwrap_or_default().into_event();
    let options =
        FireOptions { request_id: Some(context.id.clone()), is_test: true, ..FireOptions::default() };
    let call = match state.firer.fire(&trigger, &event, options).await? {
        Fired::Accepted(call) | Fired::Duplicate(call) => call,
        Fired::Filtered => return Err(ApiError::internal("trying a trigger", "a test was filtered")),
    };
    let base = origin.base(state.settings.api_base.as_deref());
    let url = format!("{base}/v1/{}/calls/{call}", auth.project);
    let firing = FiringView::accepted(event.id, &call, state.engine.now());
    Ok(accepted(version, Some(url), FiringAnswer { firing, message: "Trigger successfully fired" }))
}

/// Show what became of the last events of a trigger, newest first: up to 100.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/triggers/{trigger}/firings",
    tag = "triggers",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("trigger" = String, Path, description = "The trigger's name or id"),
    ),
    responses(
        (status = 200, description = "The firings", body = FiringsAnswer),
        (status = 404, description = "The project has no such trigger", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:trigger:list_firings"]))
)]
pub(crate) async fn list_firings(
    Allowed(auth, ..): Allowed<rule::ListFirings>,
    State(state): State<ApiState>,
    TriggerPath(name): TriggerPath,
) -> Result<Json<FiringsAnswer>, ApiError> {
    let trigger = find(&state, &auth.project, &name).await?;
    let listed = state.store.list_firings(&trigger.id, SHOWN).await;
    let firings = listed.map_err(|error| ApiError::store("listing firings", error))?;
    let firings = firings.iter().map(FiringView::from).collect();
    Ok(Json(FiringsAnswer { firings, message: "Successfully listed firings" }))
}

/// Give a webhook a new URL, and a new signing key where it has one. The old ones end at once.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/triggers/{trigger}/secret",
    tag = "triggers",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("trigger" = String, Path, description = "The trigger's name or id"),
    ),
    responses(
        (status = 200, description = "The trigger and what its senders need, which is not shown again", body = TriggerAnswer, headers(("ETag" = String, description = "Of the new state"))),
        (status = 400, description = "The trigger is no webhook", body = ErrorView),
        (status = 404, description = "The project has no such trigger", body = ErrorView),
        (status = 412, description = "Somebody changed it this very moment", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:trigger:rotate_secret"]))
)]
pub(crate) async fn rotate_trigger_secret(
    Allowed(auth, ..): Allowed<rule::RotateTriggerSecret>,
    State(state): State<ApiState>,
    TriggerPath(name): TriggerPath,
    origin: Origin,
) -> Result<Response, ApiError> {
    let before = find(&state, &auth.project, &name).await?;
    auth.about(&before);
    let made = Hook::make(&state, &before.id, &before.spec.kind, &origin.functions_base(&state.settings))?;
    let hook =
        made.ok_or_else(|| FieldFault::new("kind", "must be \"webhook\": other triggers have no URL"))?;
    let user = &auth.caller.user_id;
    let rotated =
        state.store.rotate_hook(&before.id, before.revision, &hook.hash, hook.key.as_ref(), user).await;
    let trigger = rotated.map_err(from_store(|| ApiError::TriggerNotFound(name)))?;
    state.catalog.forget(&trigger.spec.app_id).await;
    let message = "Keep these secrets; they are not shown again";
    let answer = TriggerAnswer { trigger: TriggerView::from(&trigger), webhook: Some(hook.shown), message };
    Ok(tagged(&tag(&trigger)?, Json(answer).into_response()))
}
