//! Triggers of the kind `notification`: what services of OpenStack tell on the message bus.
//!
//! One task owns the connection to RabbitMQ. A message is acknowledged when all calls that it makes are
//! on disk, so whatever dies - the broker, this process, the database - the broker delivers again what
//! was not finished, and the id of the event makes a call of it once. All servers of one installation
//! read the same queue, each message goes to one of them.

mod book;
mod complaints;
mod envelope;
mod intake;
mod json_text;
mod message;
mod patterns;
mod project;
mod session;
mod set_aside;
mod shared_book;
mod sink;
mod telling;
#[cfg(test)]
mod tests;
mod work;

use std::sync::Arc;
use std::time::Duration;

use picasso_engine::Catalog;
use picasso_store::Store;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use envelope::{Notification, Unreadable, open};
pub use sink::EventSink;

use complaints::Complaints;
use intake::Intake;
use session::Session;
use shared_book::SharedBook;
use work::End;

/// How long the broker may take for a connection with all that is declared on it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause after the first failure to connect, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// Where notifications are heard, and how.
#[derive(Debug, Clone)]
pub struct NotificationSettings {
    /// `amqp://user:password@host:port/vhost` or `amqps:`; the next is tried when one does not answer.
    pub urls: Vec<SecretString>,
    /// What is listened to.
    pub listen: Vec<Listened>,
    /// The priorities that are listened to: `info`, `error`.
    pub priorities: Vec<String>,
    /// Our queue (oslo.messaging's pool); that of notifications which are set aside has `.later` behind
    /// its name.
    pub queue: String,
    /// Whether exchanges that are missing are made durable (`amqp_durable_queues`).
    pub durable: bool,
    /// Whether our queues are quorum queues (`rabbit_quorum_queue`). They are durable in any case.
    pub quorum: bool,
    /// How many notifications the broker hands over before some are acknowledged.
    pub prefetch: u16,
    /// How many notifications make calls at the same time.
    pub max_parallel: usize,
    /// Larger messages are left out.
    pub max_message_bytes: usize,
    /// How long until a notification that was set aside is tried again.
    pub retry_after: Duration,
    /// How long it is tried.
    pub give_up_after: Duration,
}

/// An exchange and a topic in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listened {
    /// The exchange: a service's `control_exchange`.
    pub exchange: String,
    /// The topic: the routing key without its priority.
    pub topic: String,
}

impl NotificationSettings {
    fn set_aside_queue(&self) -> String {
        format!("{}.later", self.queue)
    }
}

/// Names the metrics of notifications to the recorder, with what they count.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "picasso_notification_events_total",
        "Notifications heard, by outcome: ignored (nobody is subscribed), taken, set_aside (to be tried again, \
         as no call could be accepted), given_up, unreadable or too_large"
    );
    metrics::describe_gauge!(
        "picasso_notification_connected",
        "1 while a broker hands over notifications of services"
    );
    metrics::describe_gauge!("picasso_notification_subscriptions", "Active subscriptions in memory");
}

/// Hears notifications and fires triggers.
#[derive(Debug)]
pub struct Notifications {
    intake: Intake,
    store: Arc<dyn Store>,
    catalog: Arc<Catalog>,
    settings: NotificationSettings,
    next_url: usize,
}

impl Notifications {
    /// Fires into `sink`; subscriptions are read from `store`, and their changes heard from `catalog`.
    pub fn new(
        sink: Arc<dyn EventSink>,
        store: Arc<dyn Store>,
        catalog: Arc<Catalog>,
        settings: NotificationSettings,
    ) -> Self {
        let intake = Intake {
            book: SharedBook::new(),
            sink,
            complaints: Arc::new(Complaints::default()),
            max_bytes: settings.max_message_bytes,
        };
        Self { intake, store, catalog, settings, next_url: 0 }
    }

    /// Counts how often subscriptions were read, or changes of them taken in.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.intake.book.changes()
    }

    /// Runs until `stopping`, however often the broker goes and comes.
    pub async fn run(mut self, stopping: CancellationToken) {
        let book = self.intake.book.clone();
        let keeping = book.keep(self.store.clone(), self.catalog.clone(), stopping.clone());
        tokio::join!(keeping, self.listen(&stopping));
    }

    async fn listen(&mut self, stopping: &CancellationToken) {
        while let Some(session) = self.connect(stopping).await {
            metrics::gauge!("picasso_notification_connected").set(1.0);
            let end = work::work(&session, &self.intake, &self.settings, stopping).await;
            metrics::gauge!("picasso_notification_connected").set(0.0);
            match end {
                End::Stopped => return session.close().await,
                End::Lost(error) => {
                    tracing::warn!(error, "the connection that notifications come over is lost");
                    let _ = timeout(PAUSES.0, session.close()).await;
                }
            }
        }
    }

    /// Returns when one of the brokers has taken us; `None` when we are to stop.
    async fn connect(&mut self, stopping: &CancellationToken) -> Option<Session> {
        let mut failures = 0_u32;
        loop {
            for _ in 0..self.settings.urls.len() {
                let url = self.settings.urls[self.next_url % self.settings.urls.len()].clone();
                let opened = tokio::select! {
                    opened = timeout(PATIENCE, self.open(&url)) => opened,
                    () = stopping.cancelled() => return None,
                };
                let error = match opened {
                    Ok(Ok(session)) => return Some(session),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "no answer in time".to_owned(),
                };
                self.next_url = self.next_url.wrapping_add(1);
                if failures == 0 {
                    tracing::warn!(error, "a broker of notifications cannot be used; trying on");
                } else {
                    tracing::debug!(error, "a broker of notifications cannot be used; trying on");
                }
            }
            let pause = PAUSES.0.saturating_mul(1 << failures.min(10)).min(PAUSES.1);
            failures += 1;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopping.cancelled() => return None,
            }
        }
    }

    async fn open(&self, url: &SecretString) -> Result<Session, lapin::Error> {
        let session = Session::open(url.expose_secret(), &self.settings).await?;
        let bound = session.bind(&self.settings).await?;
        let of = self.settings.listen.len();
        tracing::info!(queue = self.settings.queue, bound, of, "connected to hear notifications");
        Ok(session)
    }
}
