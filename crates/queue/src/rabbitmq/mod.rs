//! The RabbitMQ driver: a quorum queue for each priority, publisher confirms, prefetch.
//!
//! Three queues, because quorum queues know two priorities at most. What is published is confirmed
//! when a majority of the queue's nodes has it on disk.
//!
//! **Visibility.** RabbitMQ hides a delivery until it is acknowledged, returned or its connection
//! is lost, and closes the channel of a consumer that holds one longer than `consumer_timeout`
//! (30 minutes by default). Nothing is held that long: a delivery in hand is acknowledged as soon as
//! the worker has it, or returned when the visibility time has passed, and what was fetched
//! ahead is returned as soon as this process has not asked for work for a moment, so that a busy
//! process does not sit on ids that an idle one could run. The length of a call does not matter.
//!
//! **Loss of the connection.** The broker delivers again what was in hand; a receipt of the lost
//! connection is refused. The next use connects again, with a growing pause after each failure;
//! until then every method answers with an error at once.

mod hands;
mod lane;
mod session;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{Delivery, Dispatch, Queue, QueueError};
use session::Session;

/// How long the broker may take for one thing.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after the first failure to connect, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// [`Queue`] in RabbitMQ.
pub struct RabbitMqQueue {
    url: String,
    visible_after: Duration,
    link: Mutex<Link>,
}

#[derive(Default)]
struct Link {
    session: Option<Arc<Session>>,
    failures: u32,
    retry_at: Option<Instant>,
}

impl std::fmt::Debug for RabbitMqQueue {
    // The URL holds a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RabbitMqQueue").finish_non_exhaustive()
    }
}

impl RabbitMqQueue {
    /// Connects to `amqp://user:password@host:port/vhost` (or `amqps:`) and declares the queues
    /// where they are missing. Without a path the virtual host is `/`.
    pub async fn connect(url: &str, visible_after: Duration) -> Result<Self, QueueError> {
        let queue = Self { url: url.to_owned(), visible_after, link: Mutex::default() };
        queue.session().await?;
        Ok(queue)
    }

    /// The session in use, or a new one.
    async fn session(&self) -> Result<Arc<Session>, QueueError> {
        let context = "connecting to RabbitMQ";
        let mut link = self.link.lock().await;
        if let Some(session) = link.session.as_ref().filter(|session| session.is_alive()) {
            return Ok(session.clone());
        }
        link.session = None;
        if link.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(QueueError::broker(context, "the connection is lost; trying again soon"));
        }
        let opened = timeout(PATIENCE, Session::open(&self.url, self.visible_after)).await;
        let error = match opened {
            Ok(Ok(session)) => {
                let session = Arc::new(session);
                tokio::spawn(session::upkeep(Arc::downgrade(&session)));
                *link = Link { session: Some(session.clone()), ..Link::default() };
                return Ok(session);
            }
            Ok(Err(error)) => error,
            Err(_) => QueueError::broker(context, "no answer in time"),
        };
        let pause = PAUSES.0.saturating_mul(1 << link.failures.min(10)).min(PAUSES.1);
        link.failures += 1;
        link.retry_at = Some(Instant::now() + pause);
        Err(error)
    }

    /// Gives up a session whose state is not known any more; the next use opens a new one.
    async fn abandon(&self, session: &Arc<Session>) {
        let mut link = self.link.lock().await;
        if link.session.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            link.session = None;
        }
    }

    /// Runs `task` with a deadline; after a failure of the broker the session is given up.
    async fn with<T>(
        &self,
        session: &Arc<Session>,
        context: &'static str,
        task: impl Future<Output = Result<T, QueueError>>,
    ) -> Result<T, QueueError> {
        let outcome = match timeout(PATIENCE, task).await {
            Ok(outcome) => outcome,
            Err(_) => Err(QueueError::broker(context, "no answer in time")),
        };
        // A queue that does not answer is no reason to disturb the others.
        if outcome.is_err() && !session.is_ailing() {
            self.abandon(session).await;
        }
        outcome
    }
}

#[async_trait]
impl Queue for RabbitMqQueue {
    async fn publish(&self, dispatches: &[Dispatch]) -> Result<(), QueueError> {
        if dispatches.is_empty() {
            return Ok(());
        }
        let session = self.session().await?;
        self.with(&session, "publishing to RabbitMQ", session.publish(dispatches)).await
    }

    async fn receive(&self, max: u32, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + wait;
        loop {
            let session = self.session().await?;
            let wanting = session.hands().want();
            // Registered before looking: what arrives in between is not missed.
            let arrived = wanting.hands().arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            self.with(&session, "consuming from RabbitMQ", session.consume()).await?;
            let deliveries = session.take(max);
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
            // Woken by a delivery, or by the end of the connection.
            if timeout_at(deadline, arrived).await.is_err() {
                return Ok(session.take(max));
            }
        }
    }

    async fn ack(&self, deliveries: &[Delivery]) -> Result<(), QueueError> {
        let context = "acknowledging to RabbitMQ";
        if deliveries.is_empty() {
            return Ok(());
        }
        let session = self.session().await?;
        let held: Vec<_> =
            deliveries.iter().filter_map(|delivery| session.hold_no_longer(&delivery.receipt)).collect();
        self.with(&session, context, session.ack(&held)).await?;
        if held.len() < deliveries.len() {
            let late = "a visibility time has passed, or the connection was lost";
            return Err(QueueError::broker(context, late));
        }
        Ok(())
    }

    async fn depth(&self) -> Result<u64, QueueError> {
        let session = self.session().await?;
        self.with(&session, "asking RabbitMQ for its queues", session.depth()).await
    }
}
