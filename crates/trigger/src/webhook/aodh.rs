//! Alarms of Telemetry (Aodh's actions `http(s)://` and `trust+http(s)://`).

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;

use super::{PostedFault, given_id};
use crate::event::Event;

/// What of an alarm the event's attributes are made of; the function gets all of it.
#[derive(Deserialize)]
struct Alarm {
    #[serde(rename = "alarm_id")]
    id: String,
    #[serde(rename = "alarm_name")]
    name: Option<String>,
    current: String,
    severity: Option<String>,
}

pub(super) fn read(headers: &HeaderMap, body: Bytes) -> Result<Event, PostedFault> {
    let alarm: Alarm = serde_json::from_slice(&body)
        .map_err(|error| PostedFault::Body(format!("The request is no alarm of Aodh: {error}")))?;
    let severity = alarm.severity.map(|severity| ("severity".to_owned(), severity));
    Ok(Event {
        // Aodh gives each sending of an alarm its own.
        id: given_id(headers, "x-openstack-request-id"),
        kind: format!("org.openstack.aodh.alarm.{}", alarm.current.replace(' ', "_")),
        source: format!("/aodh/alarms/{}", alarm.id),
        subject: alarm.name,
        time: None,
        extensions: severity.into_iter().collect(),
        content_type: Some("application/json".to_owned()),
        data: body,
    })
}

#[cfg(test)]
mod tests {
    use picasso_types::TriggerId;
    use picasso_types::trigger::webhook::Sender;

    use super::super::read as read_posted;
    use super::super::tests::one;
    use super::*;

    /// As Aodh 23 sends it, shortened.
    const ALARM: &str = r#"{"alarm_name": "ev1", "alarm_id": "22ed5578", "severity": "low",
        "previous": "insufficient data", "current": "alarm", "reason": "Event <id=ac182f27> hits",
        "reason_data": {"type": "event", "event": {"event_type": "compute.instance.update"}}}"#;

    #[test]
    fn an_alarm_is_an_event_of_its_state() {
        let event = one(Sender::Aodh, &[("x-openstack-request-id", "req-3ff76c73")], ALARM);
        assert_eq!(event.kind, "org.openstack.aodh.alarm.alarm");
        assert_eq!((event.id.as_str(), event.source.as_str()), ("req-3ff76c73", "/aodh/alarms/22ed5578"));
        assert_eq!(event.subject.as_deref(), Some("ev1"));
        assert_eq!(event.attribute("severity"), Some("low"));
        assert_eq!(event.json()["reason_data"]["type"], "event");
        let waiting = r#"{"alarm_id": "1", "current": "insufficient data"}"#;
        assert_eq!(one(Sender::Aodh, &[], waiting).kind, "org.openstack.aodh.alarm.insufficient_data");
    }

    #[test]
    fn what_is_no_alarm_is_refused() {
        let id = TriggerId::parse("t1").unwrap();
        let refused = read_posted(&id, Sender::Aodh, &HeaderMap::new(), Bytes::from_static(b"{}"));
        assert!(matches!(refused, Err(PostedFault::Body(told)) if told.contains("alarm_id")));
    }
}
