//! One connection to RabbitMQ: a channel for publications, one for deliveries.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer};
use picasso_types::{CallId, InstanceId};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::hands::{Hands, Tag};
use crate::{Delivery, Dispatch, QueueError};

/// Deliveries of one priority that are fetched ahead or in hand: no more come until some of them
/// are acknowledged.
const PREFETCH: u16 = 32;
/// The queues, by priority.
const QUEUES: [&str; 3] = ["picasso.calls.0", "picasso.calls.1", "picasso.calls.2"];
/// How often overdue deliveries and a process at rest are looked for.
const UPKEEP: Duration = Duration::from_millis(250);

pub(super) struct Session {
    /// In the receipts of this connection.
    name: String,
    connection: Connection,
    publishing: Channel,
    consuming: Channel,
    hands: Arc<Hands>,
    /// What hands deliveries over; ends with the session.
    consumers: Mutex<Option<JoinSet<()>>>,
}

impl Session {
    pub(super) async fn open(url: &str, visible_after: Duration) -> Result<Self, QueueError> {
        let context = "connecting to RabbitMQ";
        let properties = ConnectionProperties::default().with_connection_name("picasso".into());
        let connection = Connection::connect(url, properties).await.context(context)?;
        let publishing = connection.create_channel().await.context(context)?;
        let consuming = connection.create_channel().await.context(context)?;
        publishing.confirm_select(ConfirmSelectOptions::default()).await.context(context)?;
        // For each consumer, not for the channel.
        consuming.basic_qos(PREFETCH, BasicQosOptions::default()).await.context(context)?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        for queue in QUEUES {
            publishing
                .queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments.clone())
                .await
                .context("declaring the queues in RabbitMQ")?;
        }
        Ok(Self {
            name: InstanceId::generate().to_string(),
            connection,
            publishing,
            consuming,
            hands: Hands::new(visible_after),
            consumers: Mutex::default(),
        })
    }

    pub(super) fn is_alive(&self) -> bool {
        self.connection.status().connected()
            && self.publishing.status().connected()
            && self.consuming.status().connected()
    }

    pub(super) fn hands(&self) -> &Arc<Hands> {
        &self.hands
    }

    /// Returns when the broker has confirmed all of them.
    pub(super) async fn publish(&self, dispatches: &[Dispatch]) -> Result<(), QueueError> {
        let context = "publishing to RabbitMQ";
        let mut confirms = Vec::with_capacity(dispatches.len());
        for dispatch in dispatches {
            let Some(queue) = QUEUES.get(usize::from(dispatch.priority)) else {
                return Err(QueueError::broker(context, "a priority is 0 to 2"));
            };
            // Mandatory: where somebody deleted the queue, the id comes back instead of being lost.
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let persistent = BasicProperties::default().with_delivery_mode(2);
            let payload = dispatch.call_id.as_str().as_bytes();
            let confirm = self
                .publishing
                .basic_publish(ShortString::default(), (*queue).into(), options, payload, persistent)
                .await
                .context(context)?;
            confirms.push(confirm);
        }
        for confirm in confirms {
            match confirm.await.context(context)? {
                Confirmation::Ack(None) => {}
                Confirmation::Ack(Some(_)) => {
                    return Err(QueueError::broker(context, "the queue is not there any more"));
                }
                Confirmation::Nack(_) | Confirmation::NotRequested => {
                    return Err(QueueError::broker(context, "the broker did not take it"));
                }
            }
        }
        Ok(())
    }

    /// Has the broker deliver, if it does not already.
    pub(super) async fn consume(&self) -> Result<(), QueueError> {
        let mut consumers = self.consumers.lock().await;
        if consumers.is_some() {
            return Ok(());
        }
        let mut tasks = JoinSet::new();
        for (priority, queue) in QUEUES.into_iter().enumerate() {
            let consumer = self
                .consuming
                .basic_consume(
                    queue.into(),
                    queue.into(),
                    BasicConsumeOptions::default(),
                    FieldTable::default(),
                )
                .await
                .context("consuming from RabbitMQ")?;
            tasks.spawn(hand_over(consumer, priority, self.hands.clone()));
        }
        *consumers = Some(tasks);
        Ok(())
    }

    /// Has the broker deliver no more; what was fetched ahead goes back.
    async fn rest(&self) -> Result<(), QueueError> {
        let context = "ceasing to consume from RabbitMQ";
        let mut consumers = self.consumers.lock().await;
        if consumers.is_none() || !self.hands.at_rest() {
            return Ok(());
        }
        for queue in QUEUES {
            self.consuming
                .basic_cancel(queue.into(), BasicCancelOptions::default())
                .await
                .context(context)?;
        }
        // Their streams end behind the last delivery.
        if let Some(tasks) = consumers.take() {
            tasks.join_all().await;
        }
        self.give_back(self.hands.give_up_fetched()).await
    }

    async fn give_back(&self, tags: Vec<Tag>) -> Result<(), QueueError> {
        // The last first: each goes to the head of its queue, and so the order stays.
        for tag in tags.into_iter().rev() {
            let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
            self.consuming.basic_nack(tag, options).await.context("returning an id to RabbitMQ")?;
        }
        Ok(())
    }

    pub(super) fn take(&self, max: u32) -> Vec<Delivery> {
        let taken = self.hands.take(max);
        taken
            .into_iter()
            .map(|(call_id, tag)| Delivery { call_id, receipt: format!("{}:{tag}", self.name) })
            .collect()
    }

    /// The delivery of a receipt, now in nobody's hand; `None` unless it was in ours. The broker
    /// would close the channel of who acknowledges anything else.
    pub(super) fn hold_no_longer(&self, receipt: &str) -> Option<Tag> {
        let (name, tag) = receipt.split_once(':')?;
        let tag = tag.parse().ok()?;
        (name == self.name && self.hands.release(tag)).then_some(tag)
    }

    pub(super) async fn ack(&self, tag: Tag) -> Result<(), QueueError> {
        self.consuming.basic_ack(tag, BasicAckOptions::default()).await.context("acknowledging to RabbitMQ")
    }

    /// What the broker has ready, and what was fetched ahead here.
    pub(super) async fn depth(&self) -> Result<u64, QueueError> {
        let mut depth = self.hands.fetched_count();
        for queue in QUEUES {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
            let queue = self
                .publishing
                .queue_declare(queue.into(), options, FieldTable::default())
                .await
                .context("asking RabbitMQ for its queues")?;
            depth += u64::from(queue.message_count());
        }
        Ok(depth)
    }
}

/// Runs until the consumer is cancelled or the connection ends.
async fn hand_over(mut consumer: Consumer, priority: usize, hands: Arc<Hands>) {
    while let Some(Ok(delivery)) = consumer.next().await {
        let id = std::str::from_utf8(&delivery.data).ok().and_then(|id| CallId::parse(id).ok());
        match id {
            Some(id) => hands.fetched(priority, id, delivery.delivery_tag),
            None => {
                tracing::warn!("a message in a queue of ours is no call id; it is thrown away");
                drop(delivery.acker.ack(BasicAckOptions::default()).await);
            }
        }
    }
    // Whoever waits looks for another connection.
    hands.arrived.notify_waiters();
}

/// Returns what is overdue, and everything that was fetched ahead once nobody asks for work, as
/// long as the session is there.
pub(super) async fn upkeep(session: Weak<Session>) {
    let mut tick = tokio::time::interval(UPKEEP);
    loop {
        tick.tick().await;
        let Some(session) = session.upgrade().filter(|session| session.is_alive()) else { return };
        let returned = session.give_back(session.hands.take_overdue()).await;
        let rested = if session.hands.at_rest() { session.rest().await } else { Ok(()) };
        for error in [returned, rested].into_iter().filter_map(Result::err) {
            tracing::warn!(error = &error as &dyn std::error::Error, "deliveries could not be returned");
        }
    }
}

/// Says what was being done when the driver failed.
trait Context<T> {
    fn context(self, context: &'static str) -> Result<T, QueueError>;
}

impl<T> Context<T> for Result<T, lapin::Error> {
    fn context(self, context: &'static str) -> Result<T, QueueError> {
        self.map_err(|source| QueueError::broker(context, source))
    }
}
