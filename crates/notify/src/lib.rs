//! Notifications: what happens to the things of tenants, told to whoever listens on OpenStack's bus.
//!
//! The form is oslo.messaging's, so that its listeners (Ceilometer, Panko's successors, audit
//! collectors) read it as they read any other service's: [`Notification`] is the body, the drivers
//! are those that an operator knows from `[oslo_messaging_notifications]`. [`cadf`] has the payload
//! of audit events.
//!
//! At most once: a notification is worth less than the request it tells of. Telling never waits and
//! never fails; what cannot be sent is counted.

pub mod cadf;
mod fan_out;
mod log;
mod notification;
mod rabbitmq;

use std::time::Duration;

use async_trait::async_trait;

pub use fan_out::FanOut;
pub use log::LogNotifier;
pub use notification::{Envelope, Notification, Priority};
pub use rabbitmq::{RabbitMqNotifier, RabbitMqSettings};

/// Tells of things that happened.
#[async_trait]
pub trait Notifier: Send + Sync + std::fmt::Debug {
    /// Takes a notification over. Returns at once and cannot fail.
    fn notify(&self, notification: &Notification);

    /// Returns when everything taken over so far is sent or lost, after `within` at the latest.
    async fn flush(&self, within: Duration);
}

/// Names the metrics of this crate to the recorder, with what they count.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "picasso_notifications_total",
        "Notifications by outcome: sent (the broker has confirmed it), or dropped_full (the buffer \
         was full), dropped_unconfirmed (the connection was lost before the broker's answer) or \
         dropped_too_large"
    );
}
