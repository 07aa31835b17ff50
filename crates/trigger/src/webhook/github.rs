//! GitHub's webhooks, and those of services that send as it does.

use bytes::Bytes;
use http::HeaderMap;
use picasso_types::TriggerId;

use super::{content_type, given_id};
use crate::event::Event;

pub(super) fn read(trigger: &TriggerId, headers: &HeaderMap, body: Bytes) -> Event {
    let named = headers.get("x-github-event").and_then(|value| value.to_str().ok());
    let fits = |name: &&str| {
        (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    let kind = named.filter(fits).unwrap_or("event");
    Event {
        id: given_id(headers, "x-github-delivery"),
        kind: format!("com.github.{kind}"),
        source: format!("/picasso/triggers/{trigger}"),
        subject: None,
        time: None,
        extensions: Vec::new(),
        content_type: content_type(headers),
        data: body,
    }
}

#[cfg(test)]
mod tests {
    use picasso_types::trigger::webhook::Sender;

    use super::super::tests::one;

    #[test]
    fn a_delivery_is_an_event_of_its_name_and_id() {
        let event =
            one(Sender::Github, &[("x-github-event", "pull_request"), ("x-github-delivery", "d1")], "{}");
        assert_eq!((event.kind.as_str(), event.id.as_str()), ("com.github.pull_request", "d1"));
        assert_eq!(one(Sender::Github, &[("x-github-event", "a b")], "{}").kind, "com.github.event");
    }
}
