//! The documents say what is there: `SPECIFICATION.md` names the test that holds each promise, and
//! every option that people may set has its place in `docs/`.

use std::path::Path;

use picasso_types::trigger::{TriggerKind, TriggerType};
use serde_json::json;

#[test]
fn every_promise_is_held_by_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("SPECIFICATION.md")).unwrap();
    let mut promises = 0;
    for line in page.lines().filter(|line| line.contains("` → `")) {
        let (before, after) = line.split_once("` → `").unwrap();
        let file = before.rsplit('`').next().unwrap();
        let test = after.split('`').next().unwrap();
        let source = std::fs::read_to_string(root.join(file));
        let source = source.unwrap_or_else(|error| panic!("{file} of SPECIFICATION.md: {error}"));
        assert!(source.contains(&format!("fn {test}(")), "{file} has no {test}");
        promises += 1;
    }
    assert!(promises >= 40, "only {promises} promises were found; did the table change its form?");
}

/// All options of each kind that can be set together; between them each option once.
fn options() -> Vec<(TriggerType, serde_json::Value)> {
    let cron = json!({"cron": "0 3 * * *", "time_zone": "Europe/Berlin", "jitter_s": 1, "count": 2,
        "first_at": "2027-01-01T00:00:00Z", "last_at": "2028-01-01T00:00:00Z", "missed": "all"});
    let notification =
        json!({"event_types": ["*"], "exchange": "nova", "topic": "notifications", "scope": "all"});
    let object = json!({"container": "c", "prefix": "p", "suffix": "s"});
    vec![
        (TriggerType::Schedule, cron),
        (TriggerType::Schedule, json!({"at": "2027-01-01T00:00:00Z"})),
        (TriggerType::Notification, notification),
        (TriggerType::Webhook, json!({"sender": "github"})),
        (TriggerType::Object, object),
        (TriggerType::Queue, json!({"queue": "q"})),
    ]
}

#[test]
fn every_option_of_a_trigger_is_in_the_documents() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let read = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
    for (kind, written) in options() {
        let page = match kind {
            TriggerType::Schedule => "schedules.md",
            TriggerType::Notification => "event-notifications.md",
            TriggerType::Webhook => "webhooks.md",
            TriggerType::Object => "swift.md",
            TriggerType::Queue => "queue-triggers.md",
        };
        let text = read(page);
        // With their defaults, so that one which is new cannot be forgotten.
        let shown = TriggerKind::parse(kind, written).unwrap().options();
        for option in shown.as_object().unwrap().keys() {
            assert!(text.contains(&format!("`{option}`")), "docs/{page} does not say what `{option}` is");
        }
    }
}
