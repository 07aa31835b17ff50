//! Notifications of OpenStack services, as the settings say that they are heard.

use std::time::Duration;

use picasso_config::Settings;
use picasso_trigger::notification::{Listened, NotificationSettings};

/// `None` where nothing is heard.
pub(crate) fn notifications(settings: &Settings) -> Option<NotificationSettings> {
    let events = &settings.events;
    let listened = events
        .listened()
        .map(|(exchange, topic)| Listened { exchange: exchange.to_owned(), topic: topic.to_owned() });
    Some(NotificationSettings {
        urls: settings.events_url()?.hosts().to_vec(),
        listen: listened.collect(),
        priorities: events.priorities.clone(),
        queue: events.pool.clone(),
        durable: events.durable_exchanges,
        quorum: events.quorum_queues,
        prefetch: events.prefetch,
        max_parallel: events.max_parallel as usize,
        max_message_bytes: events.max_message_bytes as usize,
        retry_after: Duration::from_secs(events.retry_after_s.into()),
        give_up_after: Duration::from_secs(events.give_up_after_s.into()),
    })
}
