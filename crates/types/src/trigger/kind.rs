//! The kinds of triggers, each with its options.

use serde_json::Value;

use super::notification::{NotificationOptions, RawNotification};
use super::object::{ObjectOptions, RawObject};
use super::parse_options;
use super::queue::{QueueOptions, RawQueue};
use super::schedule::{RawSchedule, ScheduleOptions};
use super::webhook::{RawWebhook, WebhookOptions};
use crate::call::Trigger as CallTrigger;
use crate::fault::FieldFault;
use crate::text_enum::text_enum;

text_enum!(
    /// A kind of trigger, without its options.
    TriggerType, "kind" {
        /// The clock.
        Schedule = "schedule",
        /// Notifications of OpenStack services.
        Notification = "notification",
        /// Whoever posts to its URL.
        Webhook = "webhook",
        /// Changes of objects in Swift.
        Object = "object",
        /// Messages of a Zaqar queue.
        Queue = "queue",
    }
);

/// What makes a trigger fire.
#[derive(Debug, Clone, PartialEq)]
pub enum TriggerKind {
    /// The clock.
    Schedule(ScheduleOptions),
    /// Notifications of OpenStack services.
    Notification(NotificationOptions),
    /// Whoever posts to its URL.
    Webhook(WebhookOptions),
    /// Changes of objects in Swift.
    Object(ObjectOptions),
    /// Messages of a Zaqar queue.
    Queue(QueueOptions),
}

impl TriggerKind {
    /// Reads a kind's options; faults name the field below `options`.
    pub fn parse(kind: TriggerType, options: Value) -> Result<Self, FieldFault> {
        Ok(match kind {
            TriggerType::Schedule => Self::Schedule(parse_options::<RawSchedule, _>(options)?),
            TriggerType::Notification => Self::Notification(parse_options::<RawNotification, _>(options)?),
            TriggerType::Webhook => Self::Webhook(parse_options::<RawWebhook, _>(options)?),
            TriggerType::Object => Self::Object(parse_options::<RawObject, _>(options)?),
            TriggerType::Queue => Self::Queue(parse_options::<RawQueue, _>(options)?),
        })
    }

    /// The options as they were written, defaults filled in.
    pub fn options(&self) -> Value {
        let options = match self {
            Self::Schedule(options) => serde_json::to_value(options),
            Self::Notification(options) => serde_json::to_value(options),
            Self::Webhook(options) => serde_json::to_value(options),
            Self::Object(options) => serde_json::to_value(options),
            Self::Queue(options) => serde_json::to_value(options),
        };
        // Options are maps with text keys: nothing of them cannot be written.
        options.unwrap_or_default()
    }

    /// Which kind it is.
    pub const fn trigger_type(&self) -> TriggerType {
        match self {
            Self::Schedule(_) => TriggerType::Schedule,
            Self::Notification(_) => TriggerType::Notification,
            Self::Webhook(_) => TriggerType::Webhook,
            Self::Object(_) => TriggerType::Object,
            Self::Queue(_) => TriggerType::Queue,
        }
    }
}

impl TriggerType {
    /// What the calls of such a trigger say where they came from.
    pub const fn of_call(self) -> CallTrigger {
        match self {
            Self::Schedule => CallTrigger::Schedule,
            Self::Notification => CallTrigger::Notification,
            Self::Webhook => CallTrigger::Webhook,
            Self::Object => CallTrigger::Object,
            Self::Queue => CallTrigger::Queue,
        }
    }
}
