//! The drivers `messaging` and `messagingv2`: into a topic exchange of RabbitMQ.
//!
//! One task owns the connection; who notifies only puts the encoded message into a bounded buffer.
//! While no broker answers the task tries them in turn with a growing pause and the buffer fills;
//! what does not fit is dropped, counted, and told in the log once for each outage.

mod losses;
mod session;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{Envelope, Notification, Notifier, Priority};
use losses::{Loss, Losses};
use session::Session;

/// How long the broker may take for one thing.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after the first failure to connect, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// How many messages are on their way without the broker's answer.
const BATCH: usize = 64;
/// Larger messages are not sent; ours are a few KiB.
const MAX_MESSAGE: usize = 64 << 10;

/// Where and how notifications go out.
#[derive(Debug, Clone)]
pub struct RabbitMqSettings {
    /// `amqp://user:password@host:port/vhost` or `amqps:`; the next is tried when one does not answer.
    pub urls: Vec<SecretString>,
    /// The topic exchange (oslo.messaging's `control_exchange`); made where it is missing.
    pub exchange: String,
    /// The topics; each notification goes to all of them, with the routing key `topic.priority`.
    pub topics: Vec<String>,
    /// Whether an exchange and queues that are missing are made durable (`amqp_durable_queues`).
    pub durable: bool,
    /// `messaging` or `messagingv2`.
    pub envelope: Envelope,
    /// `service.host`.
    pub publisher_id: String,
    /// How many notifications wait while no broker answers; more are dropped.
    pub max_waiting: usize,
}

/// [`Notifier`] into RabbitMQ.
#[derive(Debug)]
pub struct RabbitMqNotifier {
    waiting: mpsc::Sender<Work>,
    losses: Arc<Losses>,
    publisher_id: String,
    envelope: Envelope,
    task: JoinHandle<()>,
}

enum Work {
    Publish(Message),
    /// Answered when everything before it is dealt with.
    Flush(oneshot::Sender<()>),
}

/// An encoded notification.
struct Message {
    priority: Priority,
    body: Vec<u8>,
}

impl RabbitMqNotifier {
    /// Connects in the background, from now on. Must be called inside a Tokio runtime.
    pub fn start(settings: RabbitMqSettings) -> Self {
        let (waiting, inbox) = mpsc::channel(settings.max_waiting.max(1));
        let losses = Arc::new(Losses::default());
        let (publisher_id, envelope) = (settings.publisher_id.clone(), settings.envelope);
        let publisher = Publisher { settings, losses: losses.clone(), session: None, next_url: 0 };
        let task = tokio::spawn(publisher.run(inbox));
        Self { waiting, losses, publisher_id, envelope, task }
    }
}

impl Drop for RabbitMqNotifier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Notifier for RabbitMqNotifier {
    fn notify(&self, notification: &Notification) {
        let body = notification.encode(&self.publisher_id, self.envelope);
        if body.len() > MAX_MESSAGE {
            self.losses.count(Loss::TooLarge, 1);
            return;
        }
        let message = Message { priority: notification.priority(), body };
        if self.waiting.try_send(Work::Publish(message)).is_err() {
            self.losses.count(Loss::Full, 1);
        }
    }

    async fn flush(&self, within: Duration) {
        let (done, flushed) = oneshot::channel();
        let flush = async {
            if self.waiting.send(Work::Flush(done)).await.is_ok() {
                // An error says that the task is gone, and with it everything that waited.
                let _ = flushed.await;
            }
        };
        if timeout(within, flush).await.is_err() {
            tracing::warn!("notifications are left unsent: no broker took them in time");
        }
    }
}

/// The task's side.
struct Publisher {
    settings: RabbitMqSettings,
    losses: Arc<Losses>,
    session: Option<Session>,
    next_url: usize,
}

impl Publisher {
    async fn run(mut self, mut inbox: mpsc::Receiver<Work>) {
        // At once, so that a wrong setting is told at the start and not by the first notification.
        self.connect().await;
        let mut works = Vec::with_capacity(BATCH);
        while inbox.recv_many(&mut works, BATCH).await > 0 {
            let (mut messages, mut flushes) = (Vec::new(), Vec::new());
            for work in works.drain(..) {
                match work {
                    Work::Publish(message) => messages.push(message),
                    Work::Flush(done) => flushes.push(done),
                }
            }
            if !messages.is_empty() {
                self.publish(&messages).await;
            }
            for done in flushes {
                // Who asked may have stopped waiting.
                let _ = done.send(());
            }
        }
    }

    /// Publishes them on a living connection. What was not confirmed is not sent again: it may have
    /// arrived.
    async fn publish(&mut self, messages: &[Message]) {
        if !self.session.as_ref().is_some_and(Session::is_alive) {
            self.connect().await;
        }
        let Some(session) = &mut self.session else { return };
        let mut confirmed = 0;
        let published = timeout(PATIENCE, session.publish(&self.settings, messages, &mut confirmed)).await;
        self.losses.sent(confirmed);
        let error: Option<String> = match published {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        if let Some(error) = error {
            tracing::warn!(error, "the connection for notifications is given up");
            self.session = None;
            self.losses.count(Loss::Unconfirmed, messages.len() as u64 - confirmed);
        }
    }

    /// Returns when one of the brokers has taken us.
    async fn connect(&mut self) {
        self.session = None;
        let mut failures = 0_u32;
        loop {
            for _ in 0..self.settings.urls.len() {
                let url = &self.settings.urls[self.next_url % self.settings.urls.len()];
                let opened = timeout(PATIENCE, Session::open(url.expose_secret(), &self.settings)).await;
                let error = match opened {
                    Ok(Ok(session)) => {
                        self.session = Some(session);
                        tracing::info!(exchange = self.settings.exchange, "connected for notifications");
                        return;
                    }
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "no answer in time".to_owned(),
                };
                self.next_url = self.next_url.wrapping_add(1);
                if failures == 0 {
                    tracing::warn!(error, "a broker for notifications cannot be used; trying on");
                } else {
                    tracing::debug!(error, "a broker for notifications cannot be used; trying on");
                }
            }
            let pause = PAUSES.0.saturating_mul(1 << failures.min(10)).min(PAUSES.1);
            failures += 1;
            tokio::time::sleep(pause).await;
        }
    }
}
