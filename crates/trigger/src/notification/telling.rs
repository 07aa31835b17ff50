//! From a notification to the event that functions get.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use picasso_types::Digest;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::envelope::Notification;
use crate::event::Event;

/// The data of an event.
#[derive(Serialize)]
struct Data<'a> {
    event_type: &'a str,
    publisher_id: &'a str,
    priority: &'a str,
    timestamp: Option<&'a str>,
    project_id: Option<&'a str>,
    payload: &'a RawValue,
}

/// The event of a notification that was read from `text`, and its data; `None` where it is nested too
/// deep for most readers, ours among them.
pub(super) fn event_of(notification: &Notification<'_>, text: &str) -> Option<(Event, Value)> {
    let data = Data {
        event_type: &notification.event_type,
        publisher_id: &notification.publisher_id,
        priority: &notification.priority,
        timestamp: notification.timestamp.as_deref(),
        project_id: notification.project.as_deref(),
        payload: notification.payload,
    };
    // What has no id gets one that is the same when the broker delivers it again.
    let id = notification.message_id.clone();
    let id = id.unwrap_or_else(|| Cow::Owned(format!("sha256-{}", Digest::of(text.as_bytes()).hex())));
    let data = serde_json::to_vec(&data).ok()?;
    let parsed = serde_json::from_slice(&data).ok()?;
    let event = Event {
        id: id.into_owned(),
        kind: notification.event_type.clone().into_owned(),
        source: format!("/openstack/{}", in_uri(&notification.publisher_id)),
        subject: None,
        time: notification.timestamp.as_deref().and_then(rfc3339),
        extensions: Vec::new(),
        content_type: Some("application/json".to_owned()),
        data: Bytes::from(data),
    };
    Some((event, parsed))
}

/// A name as a segment of a URI's path.
fn in_uri(name: &str) -> String {
    let mut written = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@:+=".contains(&byte) {
            written.push(char::from(byte));
        } else {
            // Writing into a string does not fail.
            let _ = write!(written, "%{byte:02X}");
        }
    }
    written
}

/// `2026-11-22 15:19:19.219177`, which is in UTC, with what tells so.
fn rfc3339(timestamp: &str) -> Option<String> {
    let (date, time) = timestamp.split_once([' ', 'T'])?;
    let date: jiff::civil::Date = date.parse().ok()?;
    let time: jiff::civil::Time = time.trim_end_matches('Z').parse().ok()?;
    Some(format!("{date}T{time}Z"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(message: &Value) -> Option<(Event, Value)> {
        let text = message.to_string();
        event_of(&Notification::read(&text).unwrap(), &text)
    }

    #[test]
    fn a_notification_becomes_an_event() {
        let message = json!({
            "message_id": "m-1", "publisher_id": "compute.höst/1", "event_type": "compute.instance.update",
            "priority": "INFO", "payload": {"state": "active"}, "timestamp": "2026-11-22 15:19:19.219177",
            "_context_project_id": "p1", "_context_auth_token": "secret",
        });
        let (event, data) = event(&message).unwrap();
        assert_eq!((event.id.as_str(), event.kind.as_str()), ("m-1", "compute.instance.update"));
        assert_eq!(event.source, "/openstack/compute.h%C3%B6st%2F1");
        assert_eq!(event.time.as_deref(), Some("2026-11-22T15:19:19.219177Z"));
        assert_eq!(
            data,
            json!({
                "event_type": "compute.instance.update", "publisher_id": "compute.höst/1", "priority": "INFO",
                "timestamp": "2026-11-22 15:19:19.219177", "project_id": "p1", "payload": {"state": "active"},
            })
        );
        assert_eq!(event.json(), data);
    }

    #[test]
    fn what_has_no_id_gets_the_same_one_each_time() {
        let message = json!({"publisher_id": "p", "event_type": "e", "timestamp": "yesterday"});
        let (one, _) = event(&message).unwrap();
        assert_eq!(one.id, event(&message).unwrap().0.id);
        assert_eq!((one.id.len(), one.time), ("sha256-".len() + 64, None));
    }

    #[test]
    fn what_is_nested_too_deep_makes_no_event() {
        let text = format!(
            r#"{{"publisher_id":"p","event_type":"e","payload":{}1{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        let read = Notification::read(&text);
        assert!(read.is_err() || event_of(&read.unwrap(), &text).is_none());
    }
}
