//! The NATS driver: a JetStream work-queue stream on disk, a durable pull consumer for each
//! priority, acknowledgements that the server confirms.
//!
//! Each call has a subject of its own, `picasso.calls.PRIORITY.CALL`, of which the stream keeps the
//! newest message: a second publication replaces the first, so there are never more messages than
//! calls. The consumers' `ack_wait` is the visibility time.
//!
//! A publication is in the stream's file when it is confirmed. When that file is synced to disk is
//! the server's setting (`sync_interval`, two minutes by default): the operators' page says what
//! that means. The client reconnects by itself; meanwhile every method answers with an error.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context as JetStream};
use async_nats::{Client, ConnectOptions};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use picasso_types::{CallId, ProjectId};
use tokio::sync::Notify;

use crate::waiting::{self, Look};
use crate::{Delivery, Dispatch, Queue, QueueError};

const STREAM: &str = "PICASSO_CALLS";
/// How long the server may take for one thing.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a waiting receiver looks for what other processes published.
const POLL: Duration = Duration::from_millis(100);
/// Deliveries in everybody's hands together.
const MAX_IN_HAND: i64 = 100_000;
const PRIORITIES: std::ops::RangeInclusive<u8> = 0..=2;

/// [`Queue`] in NATS JetStream.
pub struct NatsQueue {
    client: Client,
    jetstream: JetStream,
    /// By priority.
    consumers: Vec<jetstream::consumer::PullConsumer>,
    published: Notify,
}

impl std::fmt::Debug for NatsQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsQueue").finish_non_exhaustive()
    }
}

impl NatsQueue {
    /// Connects to `nats://user:password@host:port` (`tls:` demands TLS; a user without a password
    /// is a token) and makes stream and consumers where they are missing. A stream that is there
    /// keeps its settings, such as its replicas.
    pub async fn connect(url: &str, visible_after: Duration) -> Result<Self, QueueError> {
        let context = "connecting to NATS";
        let (address, options) =
            options(url).ok_or_else(|| QueueError::broker(context, "its URL is wrong"))?;
        let client = options.connect(address).await.map_err(broker(context))?;
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(PATIENCE);
        let context = "making the stream in NATS";
        let stream = jetstream
            .get_or_create_stream(Config {
                name: STREAM.to_owned(),
                subjects: vec!["picasso.calls.*.*".to_owned()],
                retention: RetentionPolicy::WorkQueue,
                storage: StorageType::File,
                max_messages_per_subject: 1,
                ..Config::default()
            })
            .await
            .map_err(broker(context))?;
        let mut consumers = Vec::new();
        for priority in PRIORITIES {
            let config = pull::Config {
                durable_name: Some(format!("calls-{priority}")),
                filter_subject: format!("picasso.calls.{priority}.*"),
                ack_policy: AckPolicy::Explicit,
                ack_wait: visible_after,
                max_ack_pending: MAX_IN_HAND,
                ..pull::Config::default()
            };
            consumers.push(stream.create_consumer(config).await.map_err(broker(context))?);
        }
        Ok(Self { client, jetstream, consumers, published: Notify::new() })
    }

    /// An error at once while the connection is lost.
    fn connected(&self, context: &'static str) -> Result<(), QueueError> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            _ => Err(QueueError::broker(context, "the connection is lost; trying again soon")),
        }
    }

    async fn take(&self, max: u32) -> Result<Look, QueueError> {
        let context = "receiving from NATS";
        self.connected(context)?;
        let max = max as usize;
        let mut deliveries = Vec::new();
        for consumer in self.consumers.iter().rev() {
            let free = max - deliveries.len();
            if free == 0 {
                break;
            }
            // Without a time: the server answers at once, also that there is nothing.
            let batch = consumer.fetch().max_messages(free).messages().await;
            let mut batch = batch.map_err(broker(context))?;
            while let Some(message) = batch.next().await {
                let message = message.map_err(|source| QueueError::broker(context, source))?;
                if let Some(delivery) = delivery(&message) {
                    deliveries.push(delivery);
                } else {
                    tracing::warn!("a message in our stream is no call id; it is thrown away");
                    message.ack().await.map_err(|source| QueueError::broker(context, source))?;
                }
            }
        }
        Ok(if deliveries.is_empty() { Look::Nothing(POLL) } else { Look::Some(deliveries) })
    }
}

#[async_trait]
impl Queue for NatsQueue {
    async fn publish(&self, dispatches: &[Dispatch]) -> Result<(), QueueError> {
        let context = "publishing to NATS";
        self.connected(context)?;
        let mut confirms = Vec::with_capacity(dispatches.len());
        for Dispatch { call_id, project_id, priority } in dispatches {
            if !PRIORITIES.contains(priority) {
                return Err(QueueError::broker(context, "a priority is 0 to 2"));
            }
            let subject = format!("picasso.calls.{priority}.{call_id}");
            let project = project_id.as_str().to_owned().into();
            confirms.push(self.jetstream.publish(subject, project).await.map_err(broker(context))?);
        }
        for confirm in confirms {
            confirm.await.map_err(broker(context))?;
        }
        self.published.notify_waiters();
        Ok(())
    }

    async fn receive(&self, max: u32, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let look = || async {
            let looked = tokio::time::timeout(PATIENCE, self.take(max)).await;
            looked.unwrap_or_else(|_| Err(QueueError::broker("receiving from NATS", "no answer in time")))
        };
        waiting::poll(wait, POLL, &self.published, look).await
    }

    async fn ack(&self, deliveries: &[Delivery]) -> Result<(), QueueError> {
        let context = "acknowledging to NATS";
        self.connected(context)?;
        let mut asked = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            // The receipt is the subject that the server listens on for this delivery.
            let receipt = &delivery.receipt;
            if !receipt.starts_with("$JS.ACK.") || !receipt.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(QueueError::broker(context, "the receipt is not one of this queue"));
            }
            // A request, so that the server confirms it.
            asked.push(self.client.request(receipt.clone(), "+ACK".into()));
        }
        match tokio::time::timeout(PATIENCE, futures_util::future::try_join_all(asked)).await {
            Ok(answers) => answers.map(drop).map_err(broker(context)),
            Err(_) => Err(QueueError::broker(context, "no answer in time")),
        }
    }

    async fn depth(&self) -> Result<u64, QueueError> {
        let context = "asking NATS for its consumers";
        self.connected(context)?;
        let mut depth = 0;
        for consumer in &self.consumers {
            depth += consumer.get_info().await.map_err(broker(context))?.num_pending;
        }
        Ok(depth)
    }
}

/// Subject `picasso.calls.PRIORITY.CALL`, the project as its body; `None` where it is anything else.
fn delivery(message: &jetstream::Message) -> Option<Delivery> {
    let (priority, call) = message.subject.strip_prefix("picasso.calls.")?.split_once('.')?;
    Some(Delivery {
        call_id: CallId::parse(call).ok()?,
        project_id: ProjectId::stored(std::str::from_utf8(&message.payload).ok()?).ok()?,
        priority: priority.parse().ok()?,
        receipt: message.reply.as_ref()?.to_string(),
    })
}

/// Address and options of a URL. The client gets the password apart from the address, which it
/// may show.
fn options(url: &str) -> Option<(String, ConnectOptions)> {
    let mut url = url::Url::parse(url).ok()?;
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).ok()
    };
    let user = decode(url.username())?;
    let password = url.password().map(decode);
    let options = match password {
        Some(password) => ConnectOptions::with_user_and_password(user, password?),
        None if user.is_empty() => ConnectOptions::new(),
        None => ConnectOptions::with_token(user),
    };
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    let options = options
        .name("picasso")
        .connection_timeout(PATIENCE)
        .request_timeout(Some(PATIENCE))
        .ping_interval(Duration::from_secs(10))
        .require_tls(url.scheme() == "tls");
    Some((url.to_string(), options))
}

fn broker<E>(context: &'static str) -> impl Fn(E) -> QueueError
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |source| QueueError::broker(context, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_does_not_hold_the_password() {
        let (address, options) = options("nats://me:p%40ss-word@broker.example.org:4222").unwrap();
        assert_eq!(address, "nats://broker.example.org:4222");
        assert!(!format!("{options:?}").contains("ss-word"), "{options:?}");
    }
}
