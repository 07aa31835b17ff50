//! Notifications that could make no call yet - the project's queue is full, the route not ready - go
//! into a queue of their own and are tried again from there, so that one project's trouble holds up
//! nobody else's events, and no message goes round in circles.
//!
//! The broker confirms the copy before the notification is acknowledged: at every moment one of the
//! two queues has it.

use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};
use picasso_types::{Clock, SystemClock};

use super::book::Subscription;
use super::message::Message;

const EXCHANGE: &str = "picasso-exchange";
const ROUTING_KEY: &str = "picasso-routing-key";
const SINCE: &str = "picasso-since";
const DUE: &str = "picasso-due";
const TRIGGERS: &str = "picasso-triggers";
/// Longest list of triggers that goes along; without one all who are subscribed are asked again.
const MAX_TRIGGERS: usize = 16 << 10;

/// What is noted beside a notification that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slip {
    exchange: String,
    routing_key: String,
    /// When it was set aside first, and when it is to be tried again: microseconds since the epoch.
    since: i64,
    due: i64,
    /// Whose calls are missing, by id; `None`: of all who are subscribed.
    triggers: Option<String>,
}

/// Why a notification could not be set aside.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetAsideError {
    #[error("RabbitMQ: {0}")]
    Broker(#[from] lapin::Error),
    #[error("RabbitMQ did not take a notification that was to be set aside")]
    Refused,
}

impl Slip {
    /// For a notification that is set aside now, the first time or, with `before`, again.
    pub(super) fn new(
        message: Message<'_>,
        before: Option<&Self>,
        left: &[Subscription],
        pause: Duration,
    ) -> Self {
        let now = SystemClock.now();
        let ids: Vec<&str> = left.iter().map(|of| of.trigger.id.as_str()).collect();
        let ids = ids.join(",");
        Self {
            exchange: message.exchange.to_owned(),
            routing_key: message.routing_key.to_owned(),
            since: before.map_or(now.0, |before| before.since),
            due: now.plus(pause).0,
            triggers: (ids.len() <= MAX_TRIGGERS).then_some(ids),
        }
    }

    /// What lies beside a message; one without is due now.
    pub(super) fn of(properties: &BasicProperties) -> Self {
        let headers = properties.headers().as_ref();
        let value = |name: &str| headers.and_then(|headers| headers.inner().get(name));
        let text = |name: &str| match value(name) {
            Some(AMQPValue::LongString(text)) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
            _ => None,
        };
        let now = SystemClock.now().0;
        let number = |name: &str| match value(name) {
            Some(AMQPValue::LongLongInt(number)) => *number,
            _ => now,
        };
        Self {
            exchange: text(EXCHANGE).unwrap_or_default(),
            routing_key: text(ROUTING_KEY).unwrap_or_default(),
            since: number(SINCE),
            due: number(DUE),
            triggers: text(TRIGGERS),
        }
    }

    /// The message as it came first.
    pub(super) fn message<'a>(&'a self, body: &'a [u8]) -> Message<'a> {
        Message { exchange: &self.exchange, routing_key: &self.routing_key, body }
    }

    /// How long until it is due, at most `longest`: clocks differ, and may be wrong.
    pub(super) fn wait(&self, longest: Duration) -> Duration {
        let micros = self.due.saturating_sub(SystemClock.now().0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0)).min(longest)
    }

    /// Whether it was set aside longer ago than this.
    pub(super) fn is_older_than(&self, age: Duration) -> bool {
        SystemClock.now().0.saturating_sub(self.since) > i64::try_from(age.as_micros()).unwrap_or(i64::MAX)
    }

    /// Whether this one's call is missing.
    pub(super) fn is_for(&self, subscription: &Subscription) -> bool {
        let id = subscription.trigger.id.as_str();
        self.triggers.as_ref().is_none_or(|ids| ids.split(',').any(|of| of == id))
    }

    fn headers(&self) -> FieldTable {
        let mut headers = FieldTable::default();
        let mut text = |name: &str, value: &str| {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        };
        text(EXCHANGE, &self.exchange);
        text(ROUTING_KEY, &self.routing_key);
        if let Some(triggers) = &self.triggers {
            text(TRIGGERS, triggers);
        }
        headers.insert(SINCE.into(), AMQPValue::LongLongInt(self.since));
        headers.insert(DUE.into(), AMQPValue::LongLongInt(self.due));
        headers
    }
}

/// Returns when the broker has it in `queue`.
pub(super) async fn set_aside(
    channel: &Channel,
    queue: &str,
    slip: &Slip,
    body: &[u8],
) -> Result<(), SetAsideError> {
    // Mandatory: where somebody deleted the queue, it comes back instead of being lost.
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(2).with_headers(slip.headers());
    let confirm = channel.basic_publish("".into(), queue.into(), options, body, properties).await?;
    match confirm.await? {
        Confirmation::Ack(None) => {
            metrics::counter!("picasso_notification_events_total", "outcome" => "set_aside").increment(1);
            Ok(())
        }
        Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested => {
            Err(SetAsideError::Refused)
        }
    }
}
