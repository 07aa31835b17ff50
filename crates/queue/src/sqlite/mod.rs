//! The SQLite driver: a table of call ids in a database file.
//!
//! The file may be the store's, but one of its own is better: SQLite has one writer per file, and
//! who finds it taken sleeps and tries again. Measured here, calls went through three times faster
//! with two files. A queue that is lost with its file is filled again from the store's outbox.
//!
//! What is published is on disk (`synchronous=FULL`). Deliveries and acknowledgements are not
//! waited for: one that a power cut undoes is delivered again, and the store knows better. One
//! publication of a call replaces another: there are never more entries than calls.

mod entries;
mod schema;

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use picasso_types::Clock;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlitePool};
use tokio::sync::{Mutex, Notify};

use crate::waiting::{self, Look};
use crate::{Delivery, Dispatch, Queue, QueueError};

/// Where the queue's database is and how it is used.
#[derive(Debug, Clone)]
pub struct SqliteQueueSettings {
    /// The database file; made (readable by its owner only) where there is none.
    pub path: PathBuf,
    /// How long a write waits for another process's transaction.
    pub busy_timeout: Duration,
    /// How often a waiting receiver looks for what other processes published. Publications of
    /// this process wake it at once.
    pub poll_interval: Duration,
    /// How long a delivery is hidden from others.
    pub visible_after: Duration,
}

impl SqliteQueueSettings {
    /// The queue at `path`, polled four times a second; deliveries are hidden for 30 s.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            busy_timeout: Duration::from_secs(10),
            poll_interval: Duration::from_millis(250),
            visible_after: Duration::from_secs(30),
        }
    }
}

/// [`Queue`] in a SQLite file.
#[derive(Debug)]
pub struct SqliteQueue {
    /// One connection that waits for the disk.
    durable: SqlitePool,
    /// One connection that does not.
    relaxed: SqlitePool,
    readers: SqlitePool,
    /// SQLite has one writer at a time; waiting here is fair and exact, waiting there is polling.
    writing: Mutex<()>,
    published: Notify,
    poll_interval: Duration,
    visible_after: Duration,
    clock: Arc<dyn Clock>,
}

impl SqliteQueue {
    /// Opens the database, which may be empty or of another version: follow with
    /// [`SqliteQueue::upgrade`] or [`SqliteQueue::check_schema`].
    pub async fn connect(settings: &SqliteQueueSettings, clock: Arc<dyn Clock>) -> Result<Self, QueueError> {
        create_private(&settings.path)?;
        let options = SqliteConnectOptions::new()
            .filename(&settings.path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(settings.busy_timeout)
            // A log that grew under load does not keep its size for ever.
            .pragma("journal_size_limit", "67108864")
            .disable_statement_logging();
        let pool = |connections, options| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(settings.busy_timeout)
                .connect_with(options)
        };
        let context = "opening the queue's database";
        write_ahead(&options, settings.busy_timeout).await.context(context)?;
        Ok(Self {
            durable: pool(1, options.clone()).await.context(context)?,
            relaxed: pool(1, options.clone().synchronous(SqliteSynchronous::Normal))
                .await
                .context(context)?,
            readers: pool(2, options.pragma("query_only", "ON")).await.context(context)?,
            writing: Mutex::new(()),
            published: Notify::new(),
            poll_interval: settings.poll_interval,
            visible_after: settings.visible_after,
            clock,
        })
    }

    /// Brings the schema to this binary's version, in one transaction. Safe to run twice and from
    /// two processes. `SchemaMismatch` when the database is newer.
    pub async fn upgrade(&self) -> Result<(), QueueError> {
        let _turn = self.writing.lock().await;
        let mut connection = self.durable.acquire().await.context("opening the queue's database")?;
        schema::upgrade(&mut connection).await
    }

    /// `SchemaMismatch` unless the schema is exactly this binary's.
    pub async fn check_schema(&self) -> Result<(), QueueError> {
        let mut connection = self.readers.acquire().await.context("opening the queue's database")?;
        schema::check(&mut connection).await
    }

    async fn take(&self, max: u32) -> Result<Look, QueueError> {
        // A look costs no write: idle receivers of several processes do not contend.
        let Some(next) = entries::next_visible(&self.readers).await? else {
            return Ok(Look::Nothing(Duration::MAX));
        };
        let now = self.clock.now();
        if next > now {
            return Ok(Look::Nothing(micros(next.since(now))));
        }
        let _turn = self.writing.lock().await;
        let now = self.clock.now();
        let deliveries = entries::take(&self.relaxed, max, now, now.plus(self.visible_after)).await?;
        // Another receiver was faster; what is left may be visible any moment.
        Ok(if deliveries.is_empty() { Look::Nothing(Duration::MAX) } else { Look::Some(deliveries) })
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn publish(&self, dispatches: &[Dispatch]) -> Result<(), QueueError> {
        if dispatches.is_empty() {
            return Ok(());
        }
        {
            let _turn = self.writing.lock().await;
            entries::put(&self.durable, dispatches, self.clock.now()).await?;
        }
        self.published.notify_waiters();
        Ok(())
    }

    async fn receive(&self, max: u32, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        if max == 0 {
            return Ok(Vec::new());
        }
        waiting::poll(wait, self.poll_interval, &self.published, || self.take(max)).await
    }

    async fn ack(&self, deliveries: &[Delivery]) -> Result<(), QueueError> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let _turn = self.writing.lock().await;
        entries::delete(&self.relaxed, deliveries).await
    }

    async fn depth(&self) -> Result<u64, QueueError> {
        entries::count_waiting(&self.readers, self.clock.now()).await
    }
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(micros.try_into().unwrap_or(0))
}

/// Makes the file one with a write-ahead log, which it stays. SQLite does not wait for another that
/// does the same at this moment, whatever the busy timeout.
async fn write_ahead(options: &SqliteConnectOptions, patience: Duration) -> sqlx::Result<()> {
    let until = tokio::time::Instant::now() + patience;
    loop {
        match options.connect().await {
            Ok(connection) => return connection.close().await,
            Err(error) if is_busy(&error) && tokio::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// `SQLITE_BUSY`.
fn is_busy(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "5")
}

/// SQLite gives its `-wal` and `-shm` files the mode of the database file.
fn create_private(path: &Path) -> Result<(), QueueError> {
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    match opened {
        Ok(_) => Ok(()),
        Err(source) => {
            Err(QueueError::Broker { context: "making the queue's database file", source: Box::new(source) })
        }
    }
}

/// Says what was being done when the driver failed.
trait Context<T> {
    fn context(self, context: &'static str) -> Result<T, QueueError>;
}

impl<T> Context<T> for Result<T, sqlx::Error> {
    fn context(self, context: &'static str) -> Result<T, QueueError> {
        self.map_err(|source| QueueError::Broker { context, source: Box::new(source) })
    }
}
