//! What posted bodies mean: each sender writes its events its own way.
//!
//! Contracts: Aodh's alarm actions and Zaqar's subscriptions (their sources, and bodies captured from
//! them), the HTTP binding of `CloudEvents` 1.0, GitHub's webhooks.

mod aodh;
mod cloud_events;
mod github;
mod zaqar;

use bytes::Bytes;
use http::{HeaderMap, header};
use picasso_types::TriggerId;
use picasso_types::cloud_event::{ContentMode, EventFault};
use picasso_types::random;
use picasso_types::trigger::webhook::Sender;

use crate::event::Event;

pub use zaqar::Confirmation;

/// Most events of one request.
pub const MAX_EVENTS: usize = 100;
/// Longest id of an event that a sender gives, bytes.
const MAX_ID: usize = 200;

/// What was posted.
#[derive(Debug, Clone, PartialEq)]
pub enum Posted {
    /// Events; at least one.
    Events(Vec<Event>),
    /// A queue's question whether its messages are wanted.
    Confirmation(Confirmation),
}

/// Why what was posted is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostedFault {
    /// It claims to be a `CloudEvent` and is none.
    #[error(transparent)]
    Event(#[from] EventFault),
    /// It is not what the sender sends; a sentence.
    #[error("{0}")]
    Body(String),
}

/// Reads what was posted to a webhook of this sender.
pub fn read(
    trigger: &TriggerId,
    sender: Sender,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Posted, PostedFault> {
    match sender {
        Sender::Aodh => aodh::read(headers, body).map(|event| Posted::Events(vec![event])),
        Sender::Zaqar => zaqar::read(body),
        Sender::Github => Ok(Posted::Events(vec![github::read(trigger, headers, body)])),
        Sender::CloudEvents => match cloud_events::read(headers, &body)? {
            Some(events) => Ok(Posted::Events(events)),
            None => Err(PostedFault::Body(
                "The request is no CloudEvent: send ce- headers, or application/cloudevents+json".to_owned(),
            )),
        },
        Sender::Any => Ok(Posted::Events(match cloud_events::read(headers, &body)? {
            Some(events) => events,
            None => vec![plain(trigger, headers, body)],
        })),
    }
}

/// An event of one who only posts data.
fn plain(trigger: &TriggerId, headers: &HeaderMap, body: Bytes) -> Event {
    Event {
        id: given_id(headers, "idempotency-key"),
        kind: "org.openstack.picasso.webhook".to_owned(),
        source: format!("/picasso/triggers/{trigger}"),
        subject: None,
        time: None,
        extensions: Vec::new(),
        content_type: content_type(headers),
        data: body,
    }
}

/// The id that a sender gives in a header, or one of ours: then every request is an event.
fn given_id(headers: &HeaderMap, name: &str) -> String {
    let given = headers.get(name).and_then(|value| value.to_str().ok());
    let fits = |id: &&str| (1..=MAX_ID).contains(&id.len());
    given.filter(fits).map_or_else(random::uuid, str::to_owned)
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// How a body is written, as its headers say.
fn mode(headers: &HeaderMap) -> ContentMode {
    headers.get(header::CONTENT_TYPE).map_or(ContentMode::Binary, |value| ContentMode::of(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    pub(super) fn one(sender: Sender, pairs: &[(&'static str, &'static str)], body: &'static str) -> Event {
        let id = TriggerId::parse("t1").unwrap();
        match read(&id, sender, &headers(pairs), Bytes::from_static(body.as_bytes())) {
            Ok(Posted::Events(mut events)) if events.len() == 1 => events.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn plain_data_are_an_event_whose_sender_may_name_it() {
        let event = one(Sender::Any, &[("content-type", "text/plain"), ("idempotency-key", "k1")], "hi");
        assert_eq!((event.id.as_str(), event.source.as_str()), ("k1", "/picasso/triggers/t1"));
        assert_eq!((event.content_type.as_deref(), &event.data[..]), (Some("text/plain"), &b"hi"[..]));
        let other = || one(Sender::Any, &[], "hi").id;
        assert_ne!(other(), other());
    }
}
