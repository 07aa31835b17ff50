//! The SQLite driver: one database file, one writing connection with group commit, a few readers.
//!
//! Write-ahead log with `synchronous=FULL`: an answered write is on disk. Several processes may
//! share the file; every write transaction is `BEGIN IMMEDIATE`, so what it checks first still
//! holds when it writes.

mod aliases;
mod apps;
mod call_batches;
mod calls;
mod changes;
mod deliveries;
#[path = "../driver_store/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "one source over the SQL of each database")]
mod driver_store;
mod idempotency;
mod identities;
mod objects;
mod outbox;
mod records;
mod routes;
mod schema;
mod store;
mod triggers;
mod versions;
mod work;
mod writer;

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use picasso_types::Clock;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlitePool};

use crate::call_writes::CallWrites;
use crate::error::Context as _;
use crate::unreadable::Unreadable;
use crate::{SecretKey, StoreError};
use work::{batch, read, write, write_each};
use writer::Writer;

/// Which store `mod driver_store` is of.
use SqliteStore as DriverStore;

/// Where the database is and how it is opened.
#[derive(Debug, Clone)]
pub struct SqliteSettings {
    /// The database file; made (readable by its owner only) where there is none.
    pub path: PathBuf,
    /// Reading connections, at least 1.
    pub readers: u32,
    /// How long a write waits for another process's transaction.
    pub busy_timeout: Duration,
}

impl SqliteSettings {
    /// The database at `path` with four readers.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), readers: 4, busy_timeout: Duration::from_secs(10) }
    }
}

/// [`crate::Store`] in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Arc<Writer>,
    call_writes: CallWrites,
    readers: SqlitePool,
    options: SqliteConnectOptions,
    key: Arc<SecretKey>,
    clock: Arc<dyn Clock>,
    unreadable: Arc<Unreadable>,
}

impl SqliteStore {
    /// Opens the database, which may be empty or of another version: follow with
    /// [`SqliteStore::upgrade`] or [`SqliteStore::check_schema`]. `key` encrypts stored bodies.
    /// To be called inside a tokio runtime.
    pub async fn connect(
        settings: &SqliteSettings,
        key: SecretKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        create_private(&settings.path)?;
        let options = SqliteConnectOptions::new()
            .filename(&settings.path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(settings.busy_timeout)
            // A log that grew under load does not keep its size for ever.
            .pragma("journal_size_limit", "67108864")
            .disable_statement_logging();
        write_ahead(&options, settings.busy_timeout).await.context("opening the database")?;
        let writer = Arc::new(Writer::start(options.clone()).await?);
        let readers = SqlitePoolOptions::new()
            .max_connections(settings.readers.max(1))
            .acquire_timeout(settings.busy_timeout)
            .connect_with(options.clone().pragma("query_only", "ON"))
            .await
            .context("opening the database for reading")?;
        let key = Arc::new(key);
        let call_writes = call_batches::start(&writer, &readers, &key, &clock);
        Ok(Self { writer, call_writes, readers, options, key, clock, unreadable: Arc::default() })
    }

    /// Brings the schema to this binary's version, in one transaction. Safe to run twice and from
    /// two processes. `SchemaMismatch` when the database is newer.
    pub async fn upgrade(&self) -> Result<(), StoreError> {
        let mut connection = self.options.connect().await.context("opening the database")?;
        schema::upgrade(&mut connection).await
    }

    /// `SchemaMismatch` unless the schema is exactly this binary's.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let mut connection = self.readers.acquire().await.context("reading the schema")?;
        schema::check(&mut connection).await
    }
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
fn create_private(path: &Path) -> Result<(), StoreError> {
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    match opened {
        Ok(_) => Ok(()),
        Err(source) => {
            Err(StoreError::Database { context: "making the database file", source: Box::new(source) })
        }
    }
}
