//! One notification in the form of oslo.messaging.
//!
//! Source of the form: oslo.messaging's `notify/notifier.py` (the body), `_drivers/amqp.py` (the flat
//! `_context_` entries and `_unique_id`) and `_drivers/common.py` (the envelope of version 2).

use jiff::tz::TimeZone;
use picasso_types::{Clock, SystemClock, Timestamp, random};
use serde_json::{Map, Value, json};

/// How urgent it is; the last part of the routing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Something went as it was asked.
    Info,
    /// Something failed.
    Error,
}

impl Priority {
    /// As it stands in the body.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Error => "ERROR",
        }
    }

    /// As it stands in a routing key.
    pub(crate) const fn in_key(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Error => "error",
        }
    }
}

/// What lies around the body on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// Nothing: the driver `messaging`.
    V1,
    /// The body as text in an object that names the version: the driver `messagingv2`.
    V2,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    id: String,
    time: Timestamp,
    event_type: String,
    priority: Priority,
    context: Map<String, Value>,
    payload: Map<String, Value>,
}

impl Notification {
    /// A notification of now. `context` is what oslo.context would say of the request (`request_id`,
    /// `user_id`, `project_id`, …); neither it nor the payload may hold tokens or secrets.
    pub fn new(
        event_type: impl Into<String>,
        priority: Priority,
        context: Map<String, Value>,
        payload: Map<String, Value>,
    ) -> Self {
        let (id, time) = (random::uuid(), SystemClock.now());
        Self { id, time, event_type: event_type.into(), priority, context, payload }
    }

    /// `function.app.create.end`, `audit.http.request`, …
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// How urgent it is.
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// The body; `publisher_id` is `service.host`.
    pub fn body(&self, publisher_id: &str) -> Map<String, Value> {
        let mut body = Map::new();
        let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
        put("message_id", self.id.clone().into());
        put("publisher_id", publisher_id.into());
        put("event_type", self.event_type.clone().into());
        put("priority", self.priority.as_str().into());
        put("payload", self.payload.clone().into());
        put("timestamp", oslo_time(self.time).into());
        for (key, value) in &self.context {
            put(&format!("_context_{key}"), value.clone());
        }
        put("_unique_id", random::uuid().replace('-', "").into());
        body
    }

    /// The body as it goes out.
    pub(crate) fn encode(&self, publisher_id: &str, envelope: Envelope) -> Vec<u8> {
        let body = Value::Object(self.body(publisher_id));
        let message = match envelope {
            Envelope::V1 => body,
            Envelope::V2 => json!({ "oslo.version": "2.0", "oslo.message": body.to_string() }),
        };
        message.to_string().into_bytes()
    }
}

/// `2026-11-22 15:19:19.219177`, UTC: what Python's `str()` makes of oslo_utils' `utcnow()`.
fn oslo_time(time: Timestamp) -> String {
    in_utc(time, "%Y-%m-%d %H:%M:%S%.6f")
}

/// A time in UTC; empty for one that no calendar has.
pub(crate) fn in_utc(time: Timestamp, format: &str) -> String {
    jiff::Timestamp::from_microsecond(time.0)
        .map(|time| time.to_zoned(TimeZone::UTC).strftime(format).to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification() -> Notification {
        let context = json!({ "request_id": "req-1", "user_id": null });
        let payload = json!({ "app_id": "1" });
        Notification {
            time: Timestamp(1_795_360_759_219_177),
            ..Notification::new(
                "function.app.create.end",
                Priority::Info,
                context.as_object().unwrap().clone(),
                payload.as_object().unwrap().clone(),
            )
        }
    }

    #[test]
    fn the_body_is_that_of_oslo_messaging() {
        let body = notification().body("function.host");
        let keys: Vec<_> = body.keys().map(String::as_str).collect();
        let expected = [
            "_context_request_id",
            "_context_user_id",
            "_unique_id",
            "event_type",
            "message_id",
            "payload",
            "priority",
            "publisher_id",
            "timestamp",
        ];
        assert_eq!(keys, expected);
        assert_eq!(body["timestamp"], "2026-11-22 15:19:19.219177");
        assert_eq!(body["priority"], "INFO");
        assert_eq!(body["_unique_id"].as_str().unwrap().len(), 32);
    }

    #[test]
    fn version_two_carries_the_body_as_text() {
        let notification = notification();
        let plain: Value = serde_json::from_slice(&notification.encode("p", Envelope::V1)).unwrap();
        assert_eq!(plain["event_type"], "function.app.create.end");
        let wrapped: Value = serde_json::from_slice(&notification.encode("p", Envelope::V2)).unwrap();
        assert_eq!(wrapped["oslo.version"], "2.0");
        let inner: Value = serde_json::from_str(wrapped["oslo.message"].as_str().unwrap()).unwrap();
        assert_eq!(inner["payload"], plain["payload"]);
    }
}
