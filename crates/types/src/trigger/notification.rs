//! Options of subscriptions to notifications.

use serde::{Deserialize, Serialize};

use crate::fault::FieldFault;

/// Most patterns of event types.
const MAX_EVENT_TYPES: usize = 32;

/// Which notifications a trigger subscribes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawNotification", into = "RawNotification")]
pub struct NotificationOptions {
    /// Patterns of event types, 1 to 32: `*` is any text.
    pub event_types: Vec<String>,
    /// Only what came through this exchange (`nova`).
    pub exchange: Option<String>,
    /// Only what came under this topic (`notifications`).
    pub topic: Option<String>,
    /// Whose events.
    pub scope: Scope,
}

/// Whose events a subscription takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Those of the trigger's own project.
    #[default]
    Project,
    /// Those of all projects, and those of none: for administrators.
    All,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNotification {
    event_types: Vec<String>,
    exchange: Option<String>,
    topic: Option<String>,
    #[serde(default)]
    scope: Scope,
}

impl TryFrom<RawNotification> for NotificationOptions {
    type Error = FieldFault;

    fn try_from(raw: RawNotification) -> Result<Self, FieldFault> {
        let fits =
            |text: &String| (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if !(1..=MAX_EVENT_TYPES).contains(&raw.event_types.len()) || !raw.event_types.iter().all(fits) {
            let limit = format!(
                "must be 1 to {MAX_EVENT_TYPES} event types of 1 to 255 visible ASCII characters; \"*\" is any text"
            );
            return Err(FieldFault::new("event_types", limit));
        }
        for (name, value) in [("exchange", &raw.exchange), ("topic", &raw.topic)] {
            if value.as_ref().is_some_and(|text| !fits(text)) {
                return Err(FieldFault::new(name, "must be 1 to 255 visible ASCII characters"));
            }
        }
        let RawNotification { event_types, exchange, topic, scope } = raw;
        Ok(Self { event_types, exchange, topic, scope })
    }
}

impl From<NotificationOptions> for RawNotification {
    fn from(options: NotificationOptions) -> Self {
        let NotificationOptions { event_types, exchange, topic, scope } = options;
        Self { event_types, exchange, topic, scope }
    }
}
