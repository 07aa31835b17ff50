//! An event, whatever brought it: the attributes of a `CloudEvent` and its data.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use picasso_types::cloud_event::encode;
use picasso_types::text::cut;
use serde_json::Value;

use picasso_types::trigger::path::EventPath;

/// Longest value of an attribute that a function gets, bytes before encoding.
const MAX_ATTRIBUTE: usize = 4096;

/// An event (`CloudEvents` 1.0).
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Tells it from all others of the same source; what makes a second one a duplicate.
    pub id: String,
    /// What happened: `org.openstack.swift.object.put`.
    pub kind: String,
    /// Where: a URI reference.
    pub source: String,
    /// To what.
    pub subject: Option<String>,
    /// When, RFC 3339.
    pub time: Option<String>,
    /// Further attributes: names of lower-case letters and digits.
    pub extensions: Vec<(String, String)>,
    /// The media type of the data.
    pub content_type: Option<String>,
    /// The data as they came.
    pub data: Bytes,
}

impl Event {
    /// An event whose data are JSON.
    pub fn of_json(id: String, kind: String, source: String, data: &Value) -> Self {
        Self {
            id,
            kind,
            source,
            subject: None,
            time: None,
            extensions: Vec::new(),
            content_type: Some("application/json".to_owned()),
            data: Bytes::from(data.to_string()),
        }
    }

    /// The data as JSON; a text that is no JSON is a string, other bytes are nothing.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.data)
            .or_else(|_| std::str::from_utf8(&self.data).map(|text| Value::String(text.to_owned())))
            .unwrap_or_default()
    }

    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        match name {
            "id" => Some(&self.id),
            "type" => Some(&self.kind),
            "source" => Some(&self.source),
            "subject" => self.subject.as_deref(),
            "time" => self.time.as_deref(),
            "specversion" => Some("1.0"),
            "datacontenttype" => self.content_type.as_deref(),
            name => self.extensions.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()),
        }
    }

    /// What lies at a path of the event; `data` are its data as JSON.
    pub(crate) fn at(&self, path: &EventPath, data: &Value) -> Option<Value> {
        if path.root() == "data" {
            return path.within(data).cloned();
        }
        self.attribute(path.root()).map(|value| Value::String(value.to_owned()))
    }

    /// The headers of the binary mode of the HTTP binding, the media type among them.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let own = ["id", "type", "source", "subject", "time", "specversion"];
        let known = own.iter().filter_map(|name| Some((*name, self.attribute(name)?)));
        let extensions = self.extensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in known.chain(extensions) {
            let value = encode(cut(value, MAX_ATTRIBUTE));
            let pair = (HeaderName::try_from(format!("ce-{name}")), HeaderValue::try_from(value));
            if let (Ok(name), Ok(value)) = pair {
                headers.insert(name, value);
            }
        }
        if let Some(Ok(value)) = self.content_type.as_deref().map(HeaderValue::try_from) {
            headers.insert(header::CONTENT_TYPE, value);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_goes_out_in_headers_and_body() {
        let mut event = Event::of_json("1".into(), "t.x".into(), "/s".into(), &json!({"a": 1}));
        event.subject = Some("Käse \"1\"".to_owned());
        event.extensions.push(("picassotrigger".to_owned(), "nightly".to_owned()));
        let headers = event.headers();
        let shown: Vec<_> = headers.iter().map(|(k, v)| format!("{k}: {}", v.to_str().unwrap())).collect();
        assert_eq!(
            shown,
            [
                "ce-id: 1",
                "ce-type: t.x",
                "ce-source: /s",
                "ce-subject: K%C3%A4se%20%221%22",
                "ce-specversion: 1.0",
                "ce-picassotrigger: nightly",
                "content-type: application/json",
            ]
        );
        assert_eq!(&event.data[..], br#"{"a":1}"#);
    }

    #[test]
    fn data_that_are_no_json_are_text_or_nothing() {
        let with = |data: &'static [u8]| Event {
            data: Bytes::from_static(data),
            ..Event::of_json(String::new(), String::new(), String::new(), &Value::Null)
        };
        assert_eq!(with(b"{\"a\":2}").json(), json!({"a": 2}));
        assert_eq!(with(b"hello").json(), json!("hello"));
        assert_eq!(with(&[0xff, 0xfe]).json(), Value::Null);
    }
}
