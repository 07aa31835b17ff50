//! What is done with a notification: whose business it is, and the calls that it makes.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::book::{Heard, Subscription};
use super::complaints::Complaints;
use super::envelope::{Notification, Unreadable, open};
use super::message::Message;
use super::shared_book::SharedBook;
use super::sink::EventSink;
use super::telling::event_of;
use crate::event::Event;
use crate::filter::passes;
use crate::firing::FireError;

/// Calls of one notification that are accepted at the same time.
const AT_ONCE: usize = 8;

/// An event that somebody is subscribed to.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) event: Event,
    pub(super) subscriptions: Vec<Subscription>,
}

/// Takes notifications. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    pub(super) book: Arc<SharedBook>,
    pub(super) sink: Arc<dyn EventSink>,
    pub(super) complaints: Arc<Complaints>,
    /// Larger messages are not read.
    pub(super) max_bytes: usize,
}

impl Intake {
    /// The event with those who are subscribed to it; `None` where nothing is to be done.
    pub(super) fn look(&self, message: Message<'_>) -> Option<Taken> {
        if message.body.len() > self.max_bytes {
            self.complaints.too_large(message);
            return None;
        }
        match self.read(message) {
            Ok(taken) => {
                let outcome = if taken.is_some() { "taken" } else { "ignored" };
                metrics::counter!("picasso_notification_events_total", "outcome" => outcome).increment(1);
                taken
            }
            Err(error) => {
                self.complaints.unreadable(message, &error);
                None
            }
        }
    }

    fn read(&self, message: Message<'_>) -> Result<Option<Taken>, Unreadable> {
        let text = open(message.body)?;
        let notification = Notification::read(&text)?;
        let topic = message.routing_key.rsplit_once('.').map_or(message.routing_key, |(topic, _)| topic);
        let mut subscriptions = self.book.subscribed(Heard {
            exchange: message.exchange,
            topic,
            event_type: &notification.event_type,
            project: notification.project.as_deref(),
        });
        if subscriptions.is_empty() {
            return Ok(None);
        }
        let Some((event, data)) = event_of(&notification, &text) else { return Err(Unreadable::Depth) };
        subscriptions.retain(|of| passes(&of.trigger.spec.filter, &event, &data));
        Ok((!subscriptions.is_empty()).then_some(Taken { event, subscriptions }))
    }

    /// Returns when all calls are on disk, or are known never to be; else those who are to be tried
    /// later. Waits as long as the database is away.
    pub(super) async fn fire(&self, taken: Taken) -> Taken {
        let Taken { event, subscriptions: mut left } = taken;
        let mut fresh = self.book.freshness();
        loop {
            left = stream::iter(left)
                .map(|of| async { (self.sink.fire(&of.trigger, &event).await, of) })
                .buffered(AT_ONCE)
                .filter_map(
                    |(fired, of)| async move { matches!(fired, Err(FireError::Later(_))).then_some(of) },
                )
                .collect()
                .await;
            // It may be one project's trouble: nobody else is to wait for that.
            if left.is_empty() || *fresh.borrow() {
                return Taken { event, subscriptions: left };
            }
            // The book's end is the server's: then the broker keeps the notification.
            let _ = fresh.wait_for(|is_fresh| *is_fresh).await;
        }
    }
}
