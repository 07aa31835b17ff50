//! Triggers and their firings as clients see them.

use picasso_types::Selector;
use picasso_types::trigger::{Firing, Trigger};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::link_view::LinkView;
use crate::views::iso8601;

/// A trigger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TriggerView {
    /// Its id.
    id: String,
    /// Its name, unique in the project.
    #[schema(example = "nightly")]
    name: String,
    /// Its project.
    project_id: String,
    /// The full name of the app of its route.
    app: String,
    /// The app's id.
    app_id: String,
    /// The path of its route.
    #[schema(example = "/report")]
    route: String,
    /// The route's id.
    route_id: String,
    /// The number of the version that it runs.
    version: Option<u32>,
    /// The alias that it runs.
    alias: Option<String>,
    /// `schedule`, `notification`, `webhook`, `object` or `queue`.
    kind: &'static str,
    /// What the kind needs to know, defaults filled in.
    #[schema(value_type = Object)]
    options: Value,
    /// Conditions that an event must meet, all of them.
    #[schema(value_type = Vec<Object>)]
    filter: Value,
    /// What the function gets instead of the event's data.
    #[schema(value_type = Option<Object>)]
    input: Option<Value>,
    /// `false` while it is paused.
    enabled: bool,
    /// `active`, `paused`, `finished`, `stopped` or `suspended`.
    state: &'static str,
    /// Why, where that is no choice of its owner's.
    state_reason: Option<String>,
    /// In whose name Picasso acts for it.
    identity: TriggerIdentityView,
    /// When it is due next, UTC; of a schedule.
    next_at: Option<String>,
    /// When it last made a call, UTC.
    last_fired_at: Option<String>,
    /// How many events made calls.
    fired: u64,
    /// The user who made it.
    created_by: String,
    /// The user who changed it last.
    updated_by: String,
    /// When it was made, UTC.
    #[schema(example = "2026-01-31T12:00:00.000000Z")]
    created_at: String,
    /// When somebody changed it last, UTC.
    updated_at: String,
}

/// In whose name Picasso acts for a trigger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TriggerIdentityView {
    /// `none` or `trust`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The roles of the trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<String>>,
    /// The user who gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
}

impl From<&Trigger> for TriggerView {
    fn from(trigger: &Trigger) -> Self {
        let spec = &trigger.spec;
        let (version, alias) = match &spec.selector {
            None => (None, None),
            Some(Selector::Number(number)) => (Some(*number), None),
            Some(Selector::Alias(name)) => (None, Some(name.to_string())),
        };
        // Both were JSON once; nothing of them cannot be written.
        let filter = serde_json::to_value(&spec.filter).unwrap_or_default();
        let input = spec.input.as_ref().map(|input| serde_json::to_value(input).unwrap_or_default());
        Self {
            id: trigger.id.to_string(),
            name: spec.name.to_string(),
            project_id: trigger.project_id.to_string(),
            app: trigger.app_name.clone(),
            app_id: spec.app_id.to_string(),
            route: trigger.route_path.clone(),
            route_id: spec.route_id.to_string(),
            version,
            alias,
            kind: spec.kind.trigger_type().as_str(),
            options: spec.kind.options(),
            filter,
            input,
            enabled: trigger.state != picasso_types::trigger::TriggerState::Paused,
            state: trigger.state.as_str(),
            state_reason: trigger.state_reason.clone(),
            identity: TriggerIdentityView {
                kind: if trigger.identity.is_some() { "trust" } else { "none" },
                roles: trigger.identity.as_ref().map(|identity| identity.roles.clone()),
                user_id: trigger.identity.as_ref().map(|identity| identity.user_id.clone()),
            },
            next_at: trigger.next_at.map(iso8601),
            last_fired_at: trigger.last_fired_at.map(iso8601),
            fired: trigger.fired,
            created_by: trigger.created_by.clone(),
            updated_by: trigger.updated_by.clone(),
            created_at: iso8601(trigger.created_at),
            updated_at: iso8601(trigger.updated_at),
        }
    }
}

/// What its senders need, shown once.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct HookView {
    /// The URL to post to: whoever has it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// The key that bodies are signed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signing_key: Option<String>,
}

/// A trigger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TriggerAnswer {
    pub(crate) trigger: TriggerView,
    /// What its senders need, of a webhook that was just made; it is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webhook: Option<HookView>,
    /// What was done.
    pub(crate) message: &'static str,
}

/// Triggers of a project, or a page of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TriggersAnswer {
    pub(crate) triggers: Vec<TriggerView>,
    /// Where the next page is, where there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) triggers_links: Vec<LinkView>,
    /// What was done.
    pub(crate) message: &'static str,
}

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FiringView {
    /// Its id; null of one that is not written down yet.
    id: Option<String>,
    /// The event's id.
    event_id: String,
    /// `accepted`, `duplicate`, `skipped` or `refused`.
    #[schema(example = "accepted")]
    outcome: &'static str,
    /// Why, where that needs words.
    reason: Option<String>,
    /// The call that it made, which may be gone already.
    call_id: Option<String>,
    /// When, UTC.
    at: String,
}

impl From<&Firing> for FiringView {
    fn from(firing: &Firing) -> Self {
        Self {
            id: Some(firing.id.to_string()),
            event_id: firing.event_id.clone(),
            outcome: firing.outcome.as_str(),
            reason: firing.reason.clone(),
            call_id: firing.call_id.as_ref().map(ToString::to_string),
            at: iso8601(firing.at),
        }
    }
}

impl FiringView {
    /// Of an event that just made a call.
    pub(crate) fn accepted(
        event_id: String,
        call: &picasso_types::CallId,
        at: picasso_types::Timestamp,
    ) -> Self {
        Self {
            id: None,
            event_id,
            outcome: "accepted",
            reason: None,
            call_id: Some(call.to_string()),
            at: iso8601(at),
        }
    }
}

/// The last firings of a trigger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FiringsAnswer {
    /// Newest first.
    pub(crate) firings: Vec<FiringView>,
    /// What was done.
    pub(crate) message: &'static str,
}

/// What became of an event that a trigger was tried with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FiringAnswer {
    pub(crate) firing: FiringView,
    /// What was done.
    pub(crate) message: &'static str,
}

/// What became of what was posted to a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PostedAnswer {
    /// The call, of one event that made one.
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    /// The calls, of several events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    call_ids: Vec<String>,
    /// How many events the trigger passed over.
    skipped: usize,
    /// What was done.
    message: String,
}

impl PostedAnswer {
    pub(crate) fn accepted(calls: &[picasso_types::CallId], events: usize) -> Self {
        let all = calls.iter().map(ToString::to_string);
        let (call_id, call_ids) = if events == 1 {
            (calls.last().map(ToString::to_string), Vec::new())
        } else {
            (None, all.collect())
        };
        let message = if calls.is_empty() { "No event was taken" } else { "Accepted" };
        Self { call_id, call_ids, skipped: events - calls.len(), message: message.to_owned() }
    }

    pub(crate) fn skipped(events: usize, reason: &str) -> Self {
        Self { call_id: None, call_ids: Vec::new(), skipped: events, message: format!("Skipped: {reason}") }
    }

    pub(crate) fn confirmed() -> Self {
        let message = "The subscription is confirmed".to_owned();
        Self { call_id: None, call_ids: Vec::new(), skipped: 0, message }
    }
}
