//! The driver `log`: each notification is a line of the server's log.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::{Notification, Notifier, Priority};

/// [`Notifier`] into the log, under the target `picasso_notify::notification`.
#[derive(Debug)]
pub struct LogNotifier {
    publisher_id: String,
}

impl LogNotifier {
    /// `publisher_id` is `service.host`.
    pub fn new(publisher_id: impl Into<String>) -> Self {
        Self { publisher_id: publisher_id.into() }
    }
}

#[async_trait]
impl Notifier for LogNotifier {
    fn notify(&self, notification: &Notification) {
        let event_type = notification.event_type();
        let body = Value::Object(notification.body(&self.publisher_id)).to_string();
        match notification.priority() {
            Priority::Info => {
                tracing::info!(target: "picasso_notify::notification", event_type, body, "notification");
            }
            Priority::Error => {
                tracing::error!(target: "picasso_notify::notification", event_type, body, "notification");
            }
        }
    }

    async fn flush(&self, _: Duration) {}
}
