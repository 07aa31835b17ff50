//! One of the queues, with channels of its own.
//!
//! The broker deals with the requests of one channel after the other, and one that concerns a queue
//! without a leader waits for it. On a channel of its own it holds up nobody else.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer};
use picasso_types::{CallId, ProjectId};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::hands::{Hands, Named};
use crate::{Dispatch, QueueError};

/// Deliveries that are fetched ahead or in hand: no more come until some of them are acknowledged,
/// which a worker does as soon as it has them.
const PREFETCH: u16 = 256;
/// How long the broker may take for one thing of one queue.
const PATIENCE: Duration = Duration::from_secs(5);
/// A queue that did not answer is left alone for this time.
const REST: Duration = Duration::from_secs(10);

pub(super) struct Lane {
    name: &'static str,
    priority: usize,
    publishing: Channel,
    consuming: Channel,
    /// What hands deliveries over.
    consumer: Mutex<Option<JoinHandle<()>>>,
    /// It did not answer; not to be asked before then.
    ailing_until: std::sync::Mutex<Option<Instant>>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        if let Some(task) = self.consumer.get_mut() {
            task.abort();
        }
    }
}

impl Lane {
    pub(super) async fn open(
        connection: &Connection,
        name: &'static str,
        priority: usize,
    ) -> Result<Self, QueueError> {
        let context = "connecting to RabbitMQ";
        let publishing = connection.create_channel().await.context(context)?;
        let consuming = connection.create_channel().await.context(context)?;
        publishing.confirm_select(ConfirmSelectOptions::default()).await.context(context)?;
        consuming.basic_qos(PREFETCH, BasicQosOptions::default()).await.context(context)?;
        let (consumer, ailing_until) = Default::default();
        Ok(Self { name, priority, publishing, consuming, consumer, ailing_until })
    }

    pub(super) fn is_alive(&self) -> bool {
        self.publishing.status().connected() && self.consuming.status().connected()
    }

    /// Asks the broker for something that concerns this queue. One that did not answer in time is
    /// not asked again for a while.
    async fn asked<T>(
        &self,
        context: &'static str,
        task: impl Future<Output = Result<T, QueueError>>,
    ) -> Result<T, QueueError> {
        if self.is_ailing() {
            return Err(self.silent(context));
        }
        if let Ok(outcome) = timeout(PATIENCE, task).await {
            return outcome;
        }
        *self.ailing_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REST);
        tracing::warn!(queue = self.name, "a queue of RabbitMQ does not answer; the others are used");
        Err(self.silent(context))
    }

    /// Whether the queue did not answer lately.
    pub(super) fn is_ailing(&self) -> bool {
        let until = *self.ailing_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn silent(&self, context: &'static str) -> QueueError {
        QueueError::broker(context, format!("the queue {} does not answer; has it a leader?", self.name))
    }

    /// Makes the queue where it is missing.
    pub(super) async fn declare(&self) -> Result<(), QueueError> {
        let context = "declaring a queue in RabbitMQ";
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let declared =
            self.publishing.queue_declare(self.name.into(), QueueDeclareOptions::durable(), arguments);
        self.asked(context, async { declared.await.context(context).map(drop) }).await
    }

    /// Returns when the broker has confirmed all of them.
    pub(super) async fn publish(&self, dispatches: &[&Dispatch]) -> Result<(), QueueError> {
        let context = "publishing to RabbitMQ";
        let published = async {
            let mut confirms = Vec::with_capacity(dispatches.len());
            for dispatch in dispatches {
                // Mandatory: where somebody deleted the queue, the id comes back instead of being lost.
                let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                let persistent = BasicProperties::default().with_delivery_mode(2);
                let message = format!("{} {}", dispatch.call_id, dispatch.project_id);
                let confirm = self
                    .publishing
                    .basic_publish(
                        ShortString::default(),
                        self.name.into(),
                        options,
                        message.as_bytes(),
                        persistent,
                    )
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
        };
        self.asked(context, published).await
    }

    /// Has the broker deliver, if it does not already.
    pub(super) async fn consume(&self, hands: &Arc<Hands>) -> Result<(), QueueError> {
        let mut running = self.consumer.lock().await;
        if running.is_some() {
            return Ok(());
        }
        let context = "consuming from RabbitMQ";
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = self.consuming.basic_consume(self.name.into(), self.name.into(), options, arguments);
        let consumer = self.asked(context, async { consumer.await.context(context) }).await?;
        *running = Some(tokio::spawn(hand_over(consumer, self.priority, hands.clone())));
        Ok(())
    }

    /// Has the broker deliver no more.
    pub(super) async fn rest(&self) -> Result<(), QueueError> {
        let context = "ceasing to consume from RabbitMQ";
        let mut running = self.consumer.lock().await;
        let Some(task) = running.take() else { return Ok(()) };
        let cancelled = self.consuming.basic_cancel(self.name.into(), BasicCancelOptions::default());
        self.asked(context, async { cancelled.await.context(context) }).await?;
        // Its stream ends behind the last delivery.
        drop(task.await);
        Ok(())
    }

    /// Does not wait for the broker.
    pub(super) async fn give_back(&self, number: u64) -> Result<(), QueueError> {
        let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        self.consuming.basic_nack(number, options).await.context("returning an id to RabbitMQ").map(drop)
    }

    /// Does not wait for the broker.
    pub(super) async fn ack(&self, number: u64) -> Result<(), QueueError> {
        let acknowledged = self.consuming.basic_ack(number, BasicAckOptions::default()).await;
        acknowledged.context("acknowledging to RabbitMQ").map(drop)
    }

    /// What the broker has ready.
    pub(super) async fn depth(&self) -> Result<u64, QueueError> {
        let context = "asking RabbitMQ for its queues";
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let declared = self.publishing.queue_declare(self.name.into(), options, FieldTable::default());
        let queue = self.asked(context, async { declared.await.context(context) }).await?;
        Ok(u64::from(queue.message_count()))
    }
}

/// Runs until the consumer is cancelled or the connection ends.
async fn hand_over(mut consumer: Consumer, priority: usize, hands: Arc<Hands>) {
    while let Some(Ok(delivery)) = consumer.next().await {
        match named(&delivery.data) {
            Some(named) => hands.fetched(named, (priority, delivery.delivery_tag)),
            None => {
                tracing::warn!("a message in a queue of ours is no call id; it is thrown away");
                drop(delivery.acker.ack(BasicAckOptions::default()).await);
            }
        }
    }
    // Whoever waits looks for another connection.
    hands.arrived.notify_waiters();
}

/// `CALL PROJECT`.
fn named(message: &[u8]) -> Option<Named> {
    let (call, project) = std::str::from_utf8(message).ok()?.split_once(' ')?;
    Some((CallId::parse(call).ok()?, ProjectId::stored(project).ok()?))
}

/// Says what was being done when the driver failed.
pub(super) trait Context<T> {
    fn context(self, context: &'static str) -> Result<T, QueueError>;
}

impl<T> Context<T> for Result<T, lapin::Error> {
    fn context(self, context: &'static str) -> Result<T, QueueError> {
        self.map_err(|source| QueueError::broker(context, source))
    }
}
