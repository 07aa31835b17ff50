//! `CloudEvents` in every mode of their HTTP binding: in headers, as one document, as a list of them.

use bytes::Bytes;
use http::HeaderMap;
use picasso_types::cloud_event::{
    BinaryEvent, ContentMode, EventFault, check_binary, decode, parse_structured,
};
use serde_json::value::RawValue;

use super::{MAX_EVENTS, PostedFault, content_type, mode};
use crate::event::Event;

/// The events of a request; `None` when it says nothing of events.
pub(super) fn read(headers: &HeaderMap, body: &Bytes) -> Result<Option<Vec<Event>>, PostedFault> {
    match mode(headers) {
        ContentMode::Structured => Ok(Some(vec![of_document(body)?])),
        ContentMode::Batch => of_batch(body).map(Some),
        ContentMode::OtherFormat => Err(PostedFault::Body(
            "The event is in a format that is not understood here; send application/cloudevents+json"
                .to_owned(),
        )),
        ContentMode::Binary if headers.contains_key("ce-specversion") => {
            let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            check_binary(pairs)?;
            let attributes = headers.iter().filter_map(|(name, value)| {
                Some((name.as_str().strip_prefix("ce-")?.to_owned(), decode(value.as_bytes())?))
            });
            Ok(Some(vec![of_attributes(attributes, content_type(headers), body.clone())]))
        }
        ContentMode::Binary => Ok(None),
    }
}

fn of_batch(body: &Bytes) -> Result<Vec<Event>, PostedFault> {
    let documents: Vec<&RawValue> = serde_json::from_slice(body)
        .map_err(|error| PostedFault::Body(format!("The batch is no list of events: {error}")))?;
    if !(1..=MAX_EVENTS).contains(&documents.len()) {
        return Err(PostedFault::Body(format!("A batch must have 1 to {MAX_EVENTS} events")));
    }
    documents.into_iter().map(|document| Ok(of_document(document.get().as_bytes())?)).collect()
}

fn of_document(json: &[u8]) -> Result<Event, EventFault> {
    let BinaryEvent { headers, content_type, body, .. } = parse_structured(json)?;
    let attributes = headers
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("ce-")?.to_owned(), decode(value.as_bytes())?)));
    Ok(of_attributes(attributes, content_type, body.into()))
}

fn of_attributes(
    attributes: impl Iterator<Item = (String, String)>,
    content_type: Option<String>,
    data: Bytes,
) -> Event {
    let mut event = Event {
        id: String::new(),
        kind: String::new(),
        source: String::new(),
        subject: None,
        time: None,
        extensions: Vec::new(),
        content_type,
        data,
    };
    for (name, value) in attributes {
        match name.as_str() {
            "id" => event.id = value,
            "type" => event.kind = value,
            "source" => event.source = value,
            "subject" => event.subject = Some(value),
            "time" => event.time = Some(value),
            "specversion" => {}
            _ => event.extensions.push((name, value)),
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use picasso_types::TriggerId;
    use picasso_types::trigger::webhook::Sender;

    use super::super::tests::{headers, one};
    use super::super::{Posted, read as read_posted};
    use super::*;

    const DOCUMENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"Käse","team":"x","datacontenttype":"application/json","data":{"a":1}}"#;

    #[test]
    fn an_event_is_the_same_in_every_mode() {
        let binary = one(
            Sender::Any,
            &[
                ("ce-specversion", "1.0"),
                ("ce-id", "1"),
                ("ce-source", "/s"),
                ("ce-type", "t"),
                ("ce-subject", "K%C3%A4se"),
                ("ce-team", "x"),
                ("content-type", "application/json"),
            ],
            "{\"a\":1}",
        );
        assert_eq!(binary.subject.as_deref(), Some("Käse"));
        assert_eq!(binary.attribute("team"), Some("x"));
        let structured =
            one(Sender::CloudEvents, &[("content-type", "application/cloudevents+json")], DOCUMENT);
        assert_eq!(structured, binary);
        let batch = [("content-type", "application/cloudevents-batch+json")];
        let id = TriggerId::parse("t1").unwrap();
        let list = Bytes::from(format!("[{DOCUMENT},{DOCUMENT}]"));
        let read = read_posted(&id, Sender::Any, &headers(&batch), list);
        assert_eq!(read, Ok(Posted::Events(vec![binary.clone(), binary])));
    }

    #[test]
    fn what_claims_to_be_an_event_and_is_none_is_refused() {
        let id = TriggerId::parse("t1").unwrap();
        let refused = |sender, pairs: &[(&'static str, &'static str)], body: &'static str| {
            read_posted(&id, sender, &headers(pairs), Bytes::from_static(body.as_bytes())).unwrap_err()
        };
        assert!(matches!(refused(Sender::Any, &[("ce-specversion", "1.0")], ""), PostedFault::Event(_)));
        assert!(matches!(refused(Sender::CloudEvents, &[], "{}"), PostedFault::Body(_)));
        let batch = [("content-type", "application/cloudevents-batch+json")];
        assert!(matches!(refused(Sender::Any, &batch, "[]"), PostedFault::Body(_)));
        assert!(matches!(refused(Sender::Any, &batch, "[{}]"), PostedFault::Event(_)));
    }
}
