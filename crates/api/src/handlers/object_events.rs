//! What the filter in Swift's proxies tells: `/v1/object-events`.

use axum::extract::State;
use axum::response::Response;
use picasso_identity::policy::defaults as rule;
use picasso_identity::policy::{Credentials, NamedRule as _};
use picasso_trigger::object::{ObjectEvent, ObjectFault, checked};
use picasso_types::{FieldFault, ProjectId};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use utoipa::ToSchema;

use crate::answers::accepted;
use crate::error::{ApiError, ErrorView};
use crate::microversion::Microversion;
use crate::request::auth::AllowedOwn;
use crate::request::json::JsonBody;
use crate::state::ApiState;

/// Most events of one request.
const MAX_EVENTS: usize = 100;

/// Changes of objects, in the order in which they happened.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectEvents {
    /// 1 to 100 events; docs/swift.md has their fields.
    #[schema(value_type = Vec<Object>, min_items = 1, max_items = 100)]
    events: Vec<ObjectEvent>,
}

/// What became of changes of objects.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObjectEventsAnswer {
    /// How many calls they made; those that were told before make none.
    accepted: usize,
    /// What was done.
    message: &'static str,
}

/// Tell of changes of objects. When this is answered with 2xx the calls that they make are durable.
#[utoipa::path(
    post,
    path = "/v1/object-events",
    tag = "triggers",
    request_body = ObjectEvents,
    responses(
        (status = 200, description = "The events are taken", body = ObjectEventsAnswer),
        (status = 202, description = "The same, from version 1.1 on", body = ObjectEventsAnswer),
        (status = 400, description = "An event is refused, and none is taken; the message names its place and field", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
        (status = 503, description = "Some calls cannot be accepted now; send all events again: those that were taken make no second call", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:object_event:create"]))
)]
pub(crate) async fn create_object_events(
    AllowedOwn(_caller, ..): AllowedOwn<rule::CreateObjectEvents>,
    State(state): State<ApiState>,
    version: Microversion,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let told = body.parse::<ObjectEvents>()?;
    if !(1..=MAX_EVENTS).contains(&told.events.len()) {
        return Err(FieldFault::new("events", format!("must be 1 to {MAX_EVENTS} events")).into());
    }
    let mut events = checked(told.events)?;
    for event in &mut events {
        if let Some(project) = event.private_function_of()
            && !may_invoke(&state, event.change(), project).await?
        {
            tracing::info!(%project, user = event.change().user_id, "X-Function-URL names a function that its user may not call");
            event.leave_function_out();
        }
    }
    let taken = state.objects.take(&events).await;
    let taken = taken.map_err(|ObjectFault(reason)| ApiError::TriggerBusy(reason))?;
    Ok(accepted(version, None, ObjectEventsAnswer { accepted: taken, message: "The events are taken" }))
}

/// Whether whoever changed the object may call private functions of this project, which is the one of
/// their token. The filter hands on what Keystone told Swift of them.
async fn may_invoke(state: &ApiState, event: &ObjectEvent, project: &ProjectId) -> Result<bool, ApiError> {
    let asker = Map::from_iter([
        ("user_id".to_owned(), event.user_id.as_deref().into()),
        ("project_id".to_owned(), project.as_str().into()),
        ("roles".to_owned(), event.user_roles.clone().into()),
        ("trust_id".to_owned(), event.trust_id.as_deref().into()),
    ]);
    let target = Map::from_iter([("project_id".to_owned(), project.as_str().into())]);
    Ok(state.policy.allows(rule::InvokeFunction::RULE, &target, &Credentials::new(asker)).await?)
}
