//! Changes of objects, as the filter in Swift's proxy tells them.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use picasso_types::trigger::object::ObjectOperation;
use picasso_types::{FieldFault, ProjectId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::event::Event;

/// Longest text of an event but for an object's name, bytes.
const MAX_TEXT: usize = 512;
/// Most roles of whoever asked; the filter tells 2 KiB of names.
const MAX_ROLES: usize = 2048;
/// Longest name of an object that is taken: Swift's own limit.
const MAX_OBJECT: usize = 1024;

/// A change of an object (docs/swift.md, "The event").
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectEvent {
    /// The same each time this event is sent.
    pub id: String,
    /// When Swift had answered, RFC 3339.
    pub time: String,
    /// What happened.
    pub operation: ObjectOperation,
    /// The account.
    pub account: String,
    /// The project that it belongs to.
    pub project_id: String,
    /// The container.
    pub container: String,
    /// The object.
    pub object: String,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its entity tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Its media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The project of the token that it was asked with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_project_id: Option<String>,
    /// The trust through which the token was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_id: Option<String>,
    /// The application credential through which the token was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_credential_id: Option<String>,
    /// Swift's transaction id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Of a copy: what was copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<CopySource>,
    /// A subscription in the container's metadata.
    #[serde(default, skip_serializing)]
    pub subscription: Option<Subscription>,
    /// A function that the client named, checked by the filter.
    #[serde(default, skip_serializing)]
    pub function_url: Option<String>,
    /// The roles of the token that it was asked with; with `function_url` only.
    #[serde(default, skip_serializing)]
    pub user_roles: Vec<String>,
}

/// What was copied.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CopySource {
    /// Its account, where it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Its container.
    pub container: String,
    /// Its name.
    pub object: String,
}

/// A function that a container's metadata name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscription {
    /// The app.
    pub app: String,
    /// The route, with or without its leading slash.
    pub route: String,
}

impl ObjectEvent {
    /// Checks what can be checked of an event by itself; the fault names the field.
    pub fn check(&self) -> Result<ProjectId, FieldFault> {
        let texts = [
            ("id", Some(&self.id)),
            ("time", Some(&self.time)),
            ("account", Some(&self.account)),
            ("container", Some(&self.container)),
            ("etag", self.etag.as_ref()),
            ("content_type", self.content_type.as_ref()),
            ("user_id", self.user_id.as_ref()),
            ("user_project_id", self.user_project_id.as_ref()),
            ("trust_id", self.trust_id.as_ref()),
            ("application_credential_id", self.application_credential_id.as_ref()),
            ("request_id", self.request_id.as_ref()),
        ];
        for (name, text) in texts {
            if text.is_some_and(|text| !(1..=MAX_TEXT).contains(&text.len())) {
                return Err(FieldFault::new(name, format!("must be 1 to {MAX_TEXT} bytes")));
            }
        }
        if !(1..=MAX_OBJECT).contains(&self.object.len()) {
            return Err(FieldFault::new("object", format!("must be 1 to {MAX_OBJECT} bytes")));
        }
        if self.function_url.as_ref().is_some_and(|url| url.len() > 2048) {
            return Err(FieldFault::new("function_url", "must be at most 2048 bytes"));
        }
        let is_long = |role: &String| !(1..=MAX_TEXT).contains(&role.len());
        if self.user_roles.len() > MAX_ROLES || self.user_roles.iter().any(is_long) {
            let limit = format!("must be at most {MAX_ROLES} names of 1 to {MAX_TEXT} bytes");
            return Err(FieldFault::new("user_roles", limit));
        }
        ProjectId::parse(&self.project_id).map_err(|fault| FieldFault::new("project_id", fault.message))
    }

    /// The event that functions get.
    pub(crate) fn event(&self) -> Event {
        let operation = match self.operation {
            ObjectOperation::Put => "put",
            ObjectOperation::Copy => "copy",
            ObjectOperation::Post => "post",
            ObjectOperation::Delete => "delete",
            ObjectOperation::SegmentsCompleted => "segments_completed",
        };
        // A map of texts and numbers: nothing of it cannot be written.
        let data = serde_json::to_value(self).unwrap_or_else(|_| json!({}));
        let source = format!("/swift/{}/{}", segment(&self.account), segment(&self.container));
        let event =
            Event::of_json(self.id.clone(), format!("org.openstack.swift.object.{operation}"), source, &data);
        Event { subject: Some(self.object.clone()), time: Some(self.time.clone()), ..event }
    }

    /// Whether it was caused by a token made of this trust or application credential.
    pub(crate) fn is_by(&self, trust_or_credential: &str) -> bool {
        [&self.trust_id, &self.application_credential_id]
            .into_iter()
            .flatten()
            .any(|id| id == trust_or_credential)
    }
}

/// A text as one segment of a URI.
fn segment(text: &str) -> impl fmt::Display + '_ {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, KEPT)
}

/// The data of an event for a test.
#[cfg(test)]
pub(crate) fn sample(container: &str, object: &str) -> serde_json::Value {
    json!({
        "id": "e1", "time": "2026-11-23T18:36:24.975Z", "operation": "put", "account": "AUTH_p1",
        "project_id": "p1", "container": container, "object": object, "size": 7, "user_id": "u1",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_an_event_about_its_object() {
        let change: ObjectEvent = serde_json::from_value(sample("a b", "in/Käse.jpg")).unwrap();
        assert_eq!(change.check().unwrap().as_str(), "p1");
        let event = change.event();
        assert_eq!(event.kind, "org.openstack.swift.object.put");
        assert_eq!(event.source, "/swift/AUTH_p1/a%20b");
        assert_eq!(event.subject.as_deref(), Some("in/Käse.jpg"));
        assert_eq!(event.json()["size"], 7);
        assert!(event.json().get("subscription").is_none());
    }

    #[test]
    fn what_is_too_long_or_no_project_is_refused_by_its_field() {
        for (field, value) in [
            ("id", json!("")),
            ("object", json!("x".repeat(1025))),
            ("project_id", json!("a/b")),
            ("etag", json!("x".repeat(513))),
            ("user_roles", json!(vec!["r"; 2049])),
            ("user_roles", json!([""])),
        ] {
            let mut data = sample("c", "o");
            data[field] = value;
            let change: ObjectEvent = serde_json::from_value(data).unwrap();
            assert_eq!(change.check().unwrap_err().field, field);
        }
    }
}
