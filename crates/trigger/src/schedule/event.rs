//! The event of a planned time.

use picasso_types::trigger::Trigger;
use picasso_types::trigger::schedule::ScheduleOptions;
use picasso_types::{Digest, Timestamp};
use serde_json::json;

use crate::event::Event;

/// What the event of a schedule says that it is.
const TYPE: &str = "org.openstack.picasso.schedule";

/// The event of a planned time. All of it follows from the trigger and the time: whoever fires the same
/// time again makes the same call.
pub(super) fn of(trigger: &Trigger, options: &ScheduleOptions, planned: Timestamp) -> Event {
    let at = jiff::Timestamp::from_microsecond(planned.0).unwrap_or_default().to_string();
    let data = json!({
        "planned_at": at,
        "local_time": options.local(planned),
        "time_zone": options.time_zone(),
    });
    let source = format!("/v1/{}/triggers/{}", trigger.project_id, trigger.id);
    Event {
        subject: Some(trigger.spec.name.to_string()),
        time: Some(at.clone()),
        ..Event::of_json(at, TYPE.to_owned(), source, &data)
    }
}

/// When the call of a planned time is due: up to `jitter_s` later, by a hash, so that a second attempt
/// comes to the same moment.
pub(super) fn due_at(trigger: &Trigger, options: &ScheduleOptions, planned: Timestamp) -> Timestamp {
    let jitter = u64::from(options.jitter_s) * 1_000_000;
    let hash = Digest::of(format!("{}:{}", trigger.id, planned.0).as_bytes());
    // The first 15 hex digits fit into 60 bits.
    let drawn = u64::from_str_radix(&hash.hex()[..15], 16).unwrap_or_default();
    planned.plus(std::time::Duration::from_micros(drawn % (jitter + 1)))
}
