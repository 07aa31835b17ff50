//! Making, listing, showing, changing and deleting triggers.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Uri;
use picasso_identity::policy::defaults as rule;
use picasso_store::StoreError;
use picasso_types::trigger::{IdentityWish, NewTrigger, Trigger, TriggerKind, TriggerSpec, TriggerState};
use picasso_types::{Resource, TriggerId};

use super::hook::Hook;
use super::saving::{change_of, check_kind, check_selector, first_look, route_of};
use super::{find, lending, tag};
use crate::answers::{created, deleted};
use crate::bodies::trigger::{CreateTrigger, UpdateTrigger};
use crate::error::{ApiError, ErrorView, from_store};
use crate::microversion::Microversion;
use crate::request::auth::{Allowed, CallerToken};
use crate::request::json::JsonBody;
use crate::request::listing::{Field, Listed, Of};
use crate::request::origin::Origin;
use crate::request::path::TriggerPath;
use crate::request::preconditions::{Preconditions, tagged};
use crate::state::ApiState;
use crate::trigger_views::{TriggerAnswer, TriggerView, TriggersAnswer};
use crate::views::Done;

/// Triggers in lists.
const TRIGGERS: Listed<Trigger> = Listed {
    fields: &[
        Field { name: "name", of: Of::Text(|trigger| trigger.spec.name.as_str().into()) },
        Field { name: "kind", of: Of::Text(|trigger| trigger.spec.kind.trigger_type().as_str().into()) },
        Field { name: "app", of: Of::Text(|trigger| trigger.app_name.as_str().into()) },
        Field { name: "route", of: Of::Text(|trigger| trigger.route_path.as_str().into()) },
        Field { name: "state", of: Of::Text(|trigger| trigger.state.as_str().into()) },
        Field { name: "created_by", of: Of::Text(|trigger| trigger.created_by.as_str().into()) },
        Field { name: "updated_by", of: Of::Text(|trigger| trigger.updated_by.as_str().into()) },
        Field { name: "created_at", of: Of::Time(|trigger| trigger.created_at) },
        Field { name: "updated_at", of: Of::Time(|trigger| trigger.updated_at) },
    ],
    marker: |trigger| trigger.spec.name.to_string(),
};

/// List the triggers of a project.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/triggers",
    tag = "triggers",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("limit" = Option<u32>, Query, description = "Most entries of the page, 1 to 1000"),
        ("marker" = Option<String>, Query, description = "The name of the last trigger of the page before"),
        ("sort" = Option<String>, Query, description = "Fields and directions, `updated_at:desc,name:asc`"),
        ("name" = Option<String>, Query, description = "Only the trigger with this name; filters may begin with `in:` `nin:` `eq:` `neq:` `gt:` `gte:` `lt:` or `lte:`"),
        ("kind" = Option<String>, Query, description = "Only triggers of this kind"),
        ("app" = Option<String>, Query, description = "Only triggers of routes of the app with this full name"),
        ("route" = Option<String>, Query, description = "Only triggers of routes with this path"),
        ("state" = Option<String>, Query, description = "Only triggers in this state"),
        ("created_by" = Option<String>, Query, description = "Only triggers that this user made"),
        ("updated_by" = Option<String>, Query, description = "Only triggers that this user changed last"),
        ("created_at" = Option<String>, Query, description = "Only triggers made at this time"),
        ("updated_at" = Option<String>, Query, description = "Only triggers last changed at this time"),
    ),
    responses(
        (status = 200, description = "The triggers, ordered by name unless `sort` says otherwise, and where the next page is", body = TriggersAnswer),
        (status = 400, description = "A parameter is refused; the message names it", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:trigger:list"]))
)]
pub(crate) async fn list_triggers(
    Allowed(auth, ..): Allowed<rule::ListTriggers>,
    State(state): State<ApiState>,
    uri: Uri,
    version: Microversion,
    origin: Origin,
) -> Result<Json<TriggersAnswer>, ApiError> {
    let listed = state.store.list_triggers(&auth.project).await;
    let triggers = listed.map_err(|error| ApiError::store("listing triggers", error))?;
    let base = origin.base(state.settings.api_base.as_deref());
    let url = format!("{base}/v1/{}/triggers", auth.project);
    let page = TRIGGERS.page(triggers, uri.query(), version, &url)?;
    Ok(Json(TriggersAnswer {
        triggers: page.entries.iter().map(TriggerView::from).collect(),
        triggers_links: page.links,
        message: "Successfully listed triggers",
    }))
}

/// Make a trigger.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/triggers",
    tag = "triggers",
    params(("project_id" = String, Path, description = "The project of the token")),
    request_body = CreateTrigger,
    responses(
        (status = 200, description = "The trigger; of a webhook also what its senders need, which is not shown again", body = TriggerAnswer, headers(("ETag" = String, description = "Of this state of the trigger"))),
        (status = 201, description = "The same, from version 1.1 on", body = TriggerAnswer, headers(("Location" = String, description = "The trigger's URL"), ("ETag" = String, description = "Of this state of the trigger"))),
        (status = 400, description = "A field is refused, or names an app or route that the project does not have", body = ErrorView),
        (status = 403, description = "The project has as many triggers as it may", body = ErrorView),
        (status = 404, description = "The route went this very moment", body = ErrorView),
        (status = 409, description = "The project has a trigger of this name", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:trigger:create"]))
)]
pub(crate) async fn create_trigger(
    Allowed(auth, ..): Allowed<rule::CreateTrigger>,
    State(state): State<ApiState>,
    version: Microversion,
    origin: Origin,
    token: CallerToken,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let wanted = body.parse::<CreateTrigger>()?.into_wanted()?;
    let (app, route) = route_of(&state, &auth, (&wanted.app, &wanted.route)).await?;
    auth.about(&app);
    check_selector(&state, &route.id, wanted.selector.as_ref(), "trigger.").await?;
    check_kind(&state, &auth, &wanted.kind, "trigger.").await?;
    lending::check(wanted.kind.trigger_type(), &wanted.identity, "trigger.")?;
    let begins = if wanted.enabled { TriggerState::Active } else { TriggerState::Paused };
    let next_at = first_look(&wanted.kind, begins, state.engine.now(), "trigger.")?;
    let id = TriggerId::generate();
    let hook = Hook::make(&state, &id, &wanted.kind, &origin.functions_base(&state.settings))?;
    let spec = TriggerSpec {
        name: wanted.name,
        app_id: app.id.clone(),
        route_id: route.id.clone(),
        selector: wanted.selector,
        kind: wanted.kind,
        filter: wanted.filter,
        input: wanted.input,
    };
    let new = NewTrigger {
        id,
        project_id: auth.project.clone(),
        enabled: wanted.enabled,
        next_at,
        hook_hash: hook.as_ref().map(|hook| hook.hash.clone()),
        hook_key: hook.as_ref().and_then(|hook| hook.key.clone()),
        identity: lending::lend(&state, &auth, &token, &wanted.identity).await?,
        created_by: auth.caller.user_id.clone(),
        spec,
    };
    let max = state.limits.of(&auth.project).await.of(Resource::Triggers).max_u32();
    let trigger = match state.store.create_trigger(&new, max).await {
        Ok(trigger) => trigger,
        Err(error) => {
            lending::give_up(&state, new.identity.as_ref()).await;
            return Err(match error {
                StoreError::TriggerExists => ApiError::TriggerExists(new.spec.name.to_string()),
                other => from_store(|| ApiError::RouteNotFound(wanted.route.clone()))(other),
            });
        }
    };
    auth.about(&trigger);
    state.catalog.forget(&app.id).await;
    let base = origin.base(state.settings.api_base.as_deref());
    let url = format!("{base}/v1/{}/triggers/{}", auth.project, trigger.spec.name);
    let answer = TriggerAnswer {
        trigger: TriggerView::from(&trigger),
        webhook: hook.map(|hook| hook.shown),
        message: "Trigger successfully created",
    };
    Ok(tagged(&tag(&trigger)?, created(version, url, answer)))
}

/// Show a trigger.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/triggers/{trigger}",
    tag = "triggers",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("trigger" = String, Path, description = "The trigger's name or id"),
    ),
    responses(
        (status = 200, description = "The trigger", body = TriggerAnswer, headers(("ETag" = String, description = "Of what its owner decided and its state; not of what it counts"))),
        (status = 304, description = "The trigger has a tag that If-None-Match lists"),
        (status = 400, description = "A header is refused; the message names it", body = ErrorView),
        (status = 404, description = "The project has no such trigger", body = ErrorView),
        (status = 412, description = "The trigger has no tag that If-Match lists", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:trigger:get"]))
)]
pub(crate) async fn get_trigger(
    Allowed(auth, ..): Allowed<rule::GetTrigger>,
    State(state): State<ApiState>,
    TriggerPath(name): TriggerPath,
    preconditions: Preconditions,
) -> Result<Response, ApiError> {
    let trigger = find(&state, &auth.project, &name).await?;
    let message = "Trigger successfully loaded";
    let answer = TriggerAnswer { trigger: TriggerView::from(&trigger), webhook: None, message };
    preconditions.show(&tag(&trigger)?, answer)
}

/// Change a trigger. Absent fields stay; its kind and its route do.
#[utoipa::path(
    put,
    path = "/v1/{project_id}/triggers/{trigger}",
    tag = "triggers",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("trigger" = String, Path, description = "The trigger's name or id"),
    ),
    request_body = UpdateTrigger,
    responses(
        (status = 200, description = "The trigger; where it asks for signatures from now on, also the key, which is not shown again", body = TriggerAnswer, headers(("ETag" = String, description = "Of the new state"))),
        (status = 400, description = "A field is refused", body = ErrorView),
        (status = 404, description = "The project has no such trigger", body = ErrorView),
        (status = 409, description = "The project has another trigger of the new name", body = ErrorView),
        (status = 412, description = "The trigger has no tag that If-Match lists, or somebody changed it this very moment; nothing is changed", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:trigger:update"]))
)]
pub(crate) async fn update_trigger(
    Allowed(auth, ..): Allowed<rule::UpdateTrigger>,
    State(state): State<ApiState>,
    TriggerPath(name): TriggerPath,
    preconditions: Preconditions,
    token: CallerToken,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let before = find(&state, &auth.project, &name).await?;
    auth.about(&before);
    preconditions.allow_change(&tag(&before)?)?;
    let wanted = body.parse::<UpdateTrigger>()?.into_wanted(before.spec.kind.trigger_type())?;
    // Who may not subscribe to all projects does not change such a subscription either.
    let subscription = Some(&before.spec.kind).filter(|kind| matches!(kind, TriggerKind::Notification(_)));
    if let Some(kind) = wanted.kind.as_ref().or(subscription) {
        check_kind(&state, &auth, kind, "").await?;
    }
    if let Some(selector) = &wanted.selector {
        check_selector(&state, &before.spec.route_id, selector.as_ref(), "").await?;
    }
    let wish = identity_after(&before, wanted.identity.as_ref(), &auth.caller.user_id);
    if let Some(wish) = &wish {
        lending::check(before.spec.kind.trigger_type(), wish, "")?;
    }
    let (mut change, webhook) = change_of(&state, &before, wanted, &auth.caller.user_id)?;
    if let Some(wish) = &wish {
        change.identity = lending::lend(&state, &auth, &token, wish).await?;
    }
    let trigger = match state.store.update_trigger(&before.id, before.revision, &change).await {
        Ok(trigger) => trigger,
        Err(error) => {
            if wish.is_some() {
                lending::give_up(&state, change.identity.as_ref()).await;
            }
            return Err(match error {
                StoreError::TriggerExists => ApiError::TriggerExists(change.spec.name.to_string()),
                other => from_store(|| ApiError::TriggerNotFound(name.clone()))(other),
            });
        }
    };
    if wish.is_some() {
        lending::give_up(&state, before.identity.as_ref()).await;
    }
    auth.about(&trigger);
    state.catalog.forget(&trigger.spec.app_id).await;
    let message = "Trigger successfully updated";
    let answer = TriggerAnswer { trigger: TriggerView::from(&trigger), webhook, message };
    Ok(tagged(&tag(&trigger)?, Json(answer).into_response()))
}

/// The identity that a change makes anew; `None`: it stays. Nobody changes what is done in another's
/// name: whoever changes a trigger lends it their own.
fn identity_after(before: &Trigger, wished: Option<&IdentityWish>, user: &str) -> Option<IdentityWish> {
    match (wished, &before.identity) {
        (Some(wish), _) => Some(wish.clone()),
        (None, Some(identity)) if identity.user_id != user => {
            Some(IdentityWish::Trust(identity.roles.clone()))
        }
        (None, _) => None,
    }
}

/// Delete a trigger with what is known of its firings. Calls that it made stay.
#[utoipa::path(
    delete,
    path = "/v1/{project_id}/triggers/{trigger}",
    tag = "triggers",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("trigger" = String, Path, description = "The trigger's name or id"),
    ),
    responses(
        (status = 200, description = "The trigger is gone", body = Done),
        (status = 204, description = "The same, from version 1.1 on"),
        (status = 400, description = "A header is refused; the message names it", body = ErrorView),
        (status = 404, description = "The project has no such trigger", body = ErrorView),
        (status = 412, description = "The trigger has no tag that If-Match lists", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:trigger:delete"]))
)]
pub(crate) async fn delete_trigger(
    Allowed(auth, ..): Allowed<rule::DeleteTrigger>,
    State(state): State<ApiState>,
    TriggerPath(name): TriggerPath,
    version: Microversion,
    preconditions: Preconditions,
) -> Result<Response, ApiError> {
    let trigger = find(&state, &auth.project, &name).await?;
    auth.about(&trigger);
    preconditions.allow_change(&tag(&trigger)?)?;
    let gone = state.store.delete_trigger(&trigger.id).await;
    gone.map_err(from_store(|| ApiError::TriggerNotFound(name)))?;
    lending::give_up(&state, trigger.identity.as_ref()).await;
    state.catalog.forget(&trigger.spec.app_id).await;
    Ok(deleted(version, Done { message: "Trigger successfully deleted" }))
}
