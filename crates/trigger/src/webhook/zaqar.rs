//! Subscriptions of Zaqar's queues: their messages, and the question whether they are wanted.

use std::fmt;

use bytes::Bytes;
use picasso_types::random;
use serde::Deserialize;
use serde_json::Value;

use super::{Posted, PostedFault};
use crate::event::Event;

/// Zaqar asks whether a queue's messages are wanted: a pre-signed URL that says so. It is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// Where to say so.
    pub url: String,
    /// `URL-Signature`.
    pub signature: String,
    /// `URL-Methods`.
    pub methods: String,
    /// `URL-Paths`.
    pub paths: String,
    /// `URL-Expires`.
    pub expires: String,
    /// `X-Project-ID`: whose queue it is.
    pub project: String,
    /// What to send.
    pub body: Value,
}

/// Without the signature.
impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmation").field("project", &self.project).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "Message_Type")]
    kind: Option<String>,
    queue_name: Option<String>,
    id: Option<String>,
    #[serde(rename = "WSGISubscribeURL")]
    url: Option<String>,
    #[serde(rename = "URL-Signature")]
    signature: Option<String>,
    #[serde(rename = "URL-Methods")]
    methods: Option<Value>,
    #[serde(rename = "URL-Paths")]
    paths: Option<Value>,
    #[serde(rename = "URL-Expires")]
    expires: Option<String>,
    #[serde(rename = "X-Project-ID")]
    project: Option<String>,
    #[serde(rename = "SubscribeBody")]
    body: Option<Value>,
}

pub(super) fn read(body: Bytes) -> Result<Posted, PostedFault> {
    let fault = |what: &str| PostedFault::Body(format!("The request is no message of Zaqar: {what}"));
    let message: Message = serde_json::from_slice(&body).map_err(|error| fault(&error.to_string()))?;
    match message.kind.as_deref() {
        Some("SubscriptionConfirmation") => {
            let confirmation = message.into_confirmation();
            confirmation
                .map(Posted::Confirmation)
                .ok_or_else(|| fault("a confirmation lacks its URL or signature"))
        }
        _ => {
            let queue = message.queue_name.as_deref().unwrap_or_default();
            let event = Event {
                id: message.id.unwrap_or_else(random::uuid),
                kind: "org.openstack.zaqar.message".to_owned(),
                source: format!("/zaqar/queues/{queue}"),
                subject: Some(queue.to_owned()).filter(|queue| !queue.is_empty()),
                time: None,
                extensions: Vec::new(),
                content_type: Some("application/json".to_owned()),
                data: body,
            };
            Ok(Posted::Events(vec![event]))
        }
    }
}

impl Message {
    fn into_confirmation(self) -> Option<Confirmation> {
        Some(Confirmation {
            url: self.url?,
            signature: self.signature?,
            methods: joined(self.methods?)?,
            paths: joined(self.paths?)?,
            expires: self.expires?,
            project: self.project?,
            body: self.body?,
        })
    }
}

/// Zaqar writes lists as lists, and takes them back with commas.
fn joined(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(parts) => {
            let parts: Option<Vec<&str>> = parts.iter().map(Value::as_str).collect();
            Some(parts?.join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use picasso_types::trigger::webhook::Sender;

    use super::super::tests::one;
    use super::*;

    #[test]
    fn a_message_is_an_event_of_its_queue() {
        let event = one(
            Sender::Zaqar,
            &[],
            r#"{"body": {"a": 1}, "ttl": 60, "queue_name": "jobs", "Message_Type": "Notification"}"#,
        );
        assert_eq!(event.source, "/zaqar/queues/jobs");
        assert_eq!((event.subject.as_deref(), &event.json()["body"]["a"]), (Some("jobs"), &1.into()));
    }

    #[test]
    fn a_confirmation_keeps_what_its_answer_needs_and_shows_no_signature() {
        let body = r#"{"Message_Type": "SubscriptionConfirmation", "Message": "You have chosen …",
            "WSGISubscribeURL": "http://z:8888/v2/queues/q/subscriptions/1/confirm", "URL-Signature": "93a9ec8a",
            "URL-Methods": ["PUT"], "URL-Paths": ["/v2/queues/q/subscriptions/1/confirm"],
            "URL-Expires": "2027-01-01T00:00:00", "X-Project-ID": "p1",
            "SubscribeBody": {"confirmed": true}, "UnsubscribeBody": {"confirmed": false}}"#;
        let Ok(Posted::Confirmation(asked)) = read(Bytes::from(body)) else { panic!("no confirmation") };
        assert_eq!((asked.methods.as_str(), asked.project.as_str()), ("PUT", "p1"));
        assert_eq!(asked.body, serde_json::json!({"confirmed": true}));
        assert!(!format!("{asked:?}").contains("93a9ec8a"));
        assert!(read(Bytes::from(body.replace("URL-Signature", "x"))).is_err());
        assert!(read(Bytes::from("[]")).is_err());
    }
}
