//! Notifications of oslo.messaging in both envelopes. Nobody's payload says whose an event is: what
//! comes with a context is its context's, whatever else is in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use picasso_trigger::notification::{Notification, open};
use serde_json::{Value, json};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = open(bytes)
        && let Ok(read) = Notification::read(&text)
    {
        assert!((1..=255).contains(&read.event_type.len()));
        assert!((1..=255).contains(&read.publisher_id.len()));
    }
    // The same bytes as what a tenant put into a payload.
    let payload: Value = serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()));
    for event_type in ["compute.instance.update", "identity.project.created"] {
        for (context, project) in [(json!("own"), Some("own")), (Value::Null, None)] {
            let message = json!({
                "event_type": event_type, "publisher_id": "identity.host", "payload": payload,
                "_context_project_id": context,
            });
            for body in [
                message.to_string(),
                json!({"oslo.version": "2.0", "oslo.message": message.to_string()}).to_string(),
            ] {
                // A payload that is as deep as the parser goes is too deep within an envelope.
                let Ok(text) = open(body.as_bytes()) else { continue };
                let Ok(read) = Notification::read(&text) else { continue };
                assert_eq!(read.project.as_deref(), project);
            }
        }
    }
});
