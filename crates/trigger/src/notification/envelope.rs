//! What an oslo.messaging notification says: both envelopes, opened no further than needed.
//!
//! Most notifications are nobody's business. Their head is read and the payload skipped, so that they
//! cost little; the payload is parsed once somebody subscribed to the event.
//! Source of the form: oslo.messaging's `Notifier._notify`, `_drivers/common.py` (`serialize_msg`) and
//! `_drivers/amqp.py` (`pack_context`).

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::json_text::text;
use super::project::{Claims, project_of};

/// Longest name of an event, publisher, id or time, bytes.
const MAX_NAME: usize = 255;

/// Why a message cannot be read. No text of the message is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not JSON, or not an object.
    #[error("it is not a notification: {0}")]
    Form(String),
    /// Its envelope is not one of version 2.
    #[error("its envelope is not one of oslo.messaging's version 2")]
    Envelope,
    /// Its payload is nested too deep.
    #[error("it is nested too deep")]
    Depth,
    /// A name in it is missing, or too long.
    #[error("its {0} is not a text of 1 to {MAX_NAME} bytes")]
    Name(&'static str),
}

/// The notification that a message holds: the message itself (`messaging`), or a text in its envelope
/// (`messagingv2`).
pub fn open(body: &[u8]) -> Result<Cow<'_, str>, Unreadable> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(rename = "oslo.version", borrow, default, deserialize_with = "there")]
        version: Option<&'a RawValue>,
        #[serde(rename = "oslo.message", borrow, default, deserialize_with = "there")]
        message: Option<&'a RawValue>,
    }
    let body = std::str::from_utf8(body).map_err(|_| Unreadable::Form("it is not UTF-8".to_owned()))?;
    let envelope: Envelope<'_> = serde_json::from_str(body).map_err(|error| form(&error))?;
    if envelope.version.is_none() && envelope.message.is_none() {
        return Ok(Cow::Borrowed(body));
    }
    let version = envelope.version.and_then(text).ok_or(Unreadable::Envelope)?;
    let message = envelope.message.and_then(text).ok_or(Unreadable::Envelope)?;
    if version.split('.').next() == Some("2") { Ok(message) } else { Err(Unreadable::Envelope) }
}

/// A notification whose payload nobody has looked into.
#[derive(Debug)]
pub struct Notification<'a> {
    /// The service's id of it; `None` where it gave none that can be used.
    pub message_id: Option<Cow<'a, str>>,
    /// `compute.instance.create.end`
    pub event_type: Cow<'a, str>,
    /// `compute.host1`
    pub publisher_id: Cow<'a, str>,
    /// `INFO`
    pub priority: Cow<'a, str>,
    /// `2026-11-22 15:19:19.219177`, in UTC.
    pub timestamp: Option<Cow<'a, str>>,
    /// Whose it is, as far as that can be believed.
    pub project: Option<Cow<'a, str>>,
    /// JSON, as it came.
    pub payload: &'a RawValue,
}

impl<'a> Notification<'a> {
    /// Reads what [`open`] gave.
    pub fn read(text: &'a str) -> Result<Self, Unreadable> {
        let wire: Wire<'a> = serde_json::from_str(text).map_err(|error| form(&error))?;
        let event_type = name(wire.event_type).ok_or(Unreadable::Name("event_type"))?;
        let publisher_id = name(wire.publisher_id).ok_or(Unreadable::Name("publisher_id"))?;
        let payload = wire.payload.unwrap_or(RawValue::NULL);
        let claims = Claims { project_id: wire.project_id, tenant_id: wire.tenant_id, tenant: wire.tenant };
        let project = project_of(&claims, &event_type, &publisher_id, payload);
        Ok(Self {
            message_id: name(wire.message_id),
            event_type,
            publisher_id,
            priority: name(wire.priority).unwrap_or_default(),
            timestamp: name(wire.timestamp),
            project,
            payload,
        })
    }
}

/// The fields that matter. One that is there twice is a fault: which of two contexts would be true?
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    message_id: Option<&'a RawValue>,
    #[serde(borrow)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    publisher_id: Option<&'a RawValue>,
    #[serde(borrow)]
    priority: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "there")]
    payload: Option<&'a RawValue>,
    #[serde(rename = "_context_project_id", borrow, default, deserialize_with = "there")]
    project_id: Option<&'a RawValue>,
    #[serde(rename = "_context_tenant_id", borrow, default, deserialize_with = "there")]
    tenant_id: Option<&'a RawValue>,
    #[serde(rename = "_context_tenant", borrow, default, deserialize_with = "there")]
    tenant: Option<&'a RawValue>,
}

/// A field that is null is there.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

fn name(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    raw.and_then(text).filter(|text| (1..=MAX_NAME).contains(&text.len()))
}

/// Where the fault is; its own text may quote the message.
fn form(error: &serde_json::Error) -> Unreadable {
    let (kind, line, column) = (error.classify(), error.line(), error.column());
    Unreadable::Form(format!("a fault ({kind:?}) in line {line}, column {column}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn v1() -> Value {
        json!({
            "message_id": "m-1", "publisher_id": "compute.host", "event_type": "compute.instance.update",
            "priority": "INFO", "payload": {"state": "käse"}, "timestamp": "2026-11-22 15:19:19.219177",
            "_unique_id": "u", "_context_project_id": "p1", "_context_auth_token": "secret",
        })
    }

    fn v2(message: &Value) -> Value {
        json!({"oslo.version": "2.0", "oslo.message": message.to_string()})
    }

    #[test]
    fn both_envelopes_hold_the_same_notification() {
        for body in [v1().to_string(), v2(&v1()).to_string()] {
            let text = open(body.as_bytes()).unwrap();
            let read = Notification::read(&text).unwrap();
            assert_eq!(read.message_id.as_deref(), Some("m-1"));
            assert_eq!(read.event_type, "compute.instance.update");
            assert_eq!(read.publisher_id, "compute.host");
            assert_eq!(read.priority, "INFO");
            assert_eq!(read.timestamp.as_deref(), Some("2026-11-22 15:19:19.219177"));
            assert_eq!(read.project.as_deref(), Some("p1"));
            assert_eq!(read.payload.get(), r#"{"state":"käse"}"#);
        }
    }

    #[test]
    fn real_messages_are_read() {
        let lines = concat!(
            include_str!("../../tests/samples/amqp_keystone_basic.jsonl"),
            include_str!("../../tests/samples/amqp_keystone_cadf.jsonl"),
            include_str!("../../tests/samples/amqp_alarm_all.jsonl"),
        );
        let mut seen = Vec::new();
        for line in lines.lines() {
            let captured: Value = serde_json::from_str(line).unwrap();
            let body = captured["raw"].as_str().unwrap();
            let text = open(body.as_bytes()).unwrap();
            let read = Notification::read(&text).unwrap();
            seen.push((read.event_type.into_owned(), read.project.map(Cow::into_owned)));
        }
        let of_admin = || Some("28a40aa154d2402999a354eb31f4c443".to_owned());
        assert_eq!(
            seen,
            [
                ("identity.project.created".to_owned(), None),
                ("identity.project.deleted".to_owned(), None),
                ("identity.project.created".to_owned(), of_admin()),
                ("identity.project.updated".to_owned(), of_admin()),
                ("identity.project.deleted".to_owned(), of_admin()),
                ("event".to_owned(), None),
            ]
        );
    }

    #[test]
    fn what_is_no_notification_is_told_without_its_text() {
        let with = |field: &str, value: Value| {
            let mut message = v1();
            message[field] = value;
            message.to_string()
        };
        let twice = r#"{"event_type":"e","publisher_id":"p","_context_project_id":"a","_context_project_id":"secret"}"#;
        for body in [
            "secret".to_owned(),
            "[\"secret\"]".to_owned(),
            "{}".to_owned(),
            json!({"oslo.version": "2.0"}).to_string(),
            json!({"oslo.version": "3.0", "oslo.message": "{}"}).to_string(),
            json!({"oslo.version": "2.0", "oslo.message": {"secret": 1}}).to_string(),
            with("event_type", json!(7)),
            with("event_type", json!("")),
            with("event_type", json!("x".repeat(256))),
            with("publisher_id", json!(null)),
            twice.to_owned(),
        ] {
            let read = open(body.as_bytes()).and_then(|text| Notification::read(&text).map(|_| ()));
            let told = read.unwrap_err().to_string();
            assert!(!told.contains("secret"), "{told}");
        }
        assert!(open(&[0xff, b'{', b'}']).is_err());
    }

    #[test]
    fn what_is_odd_and_not_needed_is_left_out() {
        let odd = json!({"event_type": "e", "publisher_id": "p", "message_id": 7, "timestamp": null,
                         "priority": ["x"]});
        let text = odd.to_string();
        let read = Notification::read(&text).unwrap();
        assert_eq!((read.message_id, read.timestamp, &*read.priority), (None, None, ""));
        assert_eq!(read.payload.get(), "null");
    }
}
