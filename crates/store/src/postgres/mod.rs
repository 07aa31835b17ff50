//! The PostgreSQL driver: a pool of connections, row locks instead of a single writer.
//!
//! `READ COMMITTED`: a statement sees what was committed before it, so whoever checks and then
//! writes holds a lock first. Apps are made under one advisory lock; every other change of an app,
//! its routes and versions holds the app's row. A call is changed by single statements. What the
//! server undoes (deadlock, serialisation) is done again, a bounded number of times.

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
#[path = "../server_store.rs"]
#[expect(clippy::duplicate_mod, reason = "one source over the SQL of each database server")]
mod store;
mod triggers;
mod versions;

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use picasso_types::Clock;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool};

use crate::call_writes::CallWrites;
use crate::error::Context as _;
use crate::line::{self, Line};
use crate::server::{batch, bounded, read, write, write_each};
use crate::unreadable::Unreadable;
use crate::{SecretKey, StoreError};

/// Its connections.
use PgPool as ServerPool;
/// Which store `mod store` and `mod driver_store` are of.
use PostgresStore as DriverStore;

/// Which database, and how it is used.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// `postgres://user:password@host:port/database`, with libpq's options (`sslmode`,
    /// `sslrootcert`, `host` for a socket's folder).
    pub url: SecretString,
    /// Most connections of this process, at least 1; one more follows the changes.
    pub max_connections: u32,
    /// How long a caller waits for a connection.
    pub acquire_timeout: Duration,
    /// How long one method may take in all; a server that says nothing counts as gone after it.
    pub answer_timeout: Duration,
}

impl PostgresSettings {
    /// The database at `url` with 20 connections.
    pub fn at(url: impl Into<SecretString>) -> Self {
        Self {
            url: url.into(),
            max_connections: 20,
            acquire_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(20),
        }
    }
}

/// [`crate::Store`] in a PostgreSQL database.
pub struct PostgresStore {
    pool: PgPool,
    call_writes: CallWrites,
    line: Arc<Line<PgConnection>>,
    options: PgConnectOptions,
    key: Arc<SecretKey>,
    clock: Arc<dyn Clock>,
    answer_timeout: Duration,
    unreadable: Arc<Unreadable>,
}

impl std::fmt::Debug for PostgresStore {
    /// Without the connection's options, which hold the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("connections", &self.pool.size()).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects to the database, which may be empty or of another version: follow with
    /// [`PostgresStore::upgrade`] or [`PostgresStore::check_schema`]. `key` encrypts stored bodies.
    /// `Unavailable` when the server cannot be reached, `Database` when it refuses.
    pub async fn connect(
        settings: &PostgresSettings,
        key: SecretKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(settings.url.expose_secret())
            .context("reading the database's URL")?
            .application_name("picasso")
            .disable_statement_logging();
        // By itself first: a pool tries again for a while and then only says that it waited.
        let first = bounded(settings.acquire_timeout, async {
            let mut first = options.connect().await.context("connecting")?;
            check_server(&mut first).await?;
            Ok(first)
        })
        .await?;
        first.close().await.context("connecting")?;
        let line = Arc::new(Line::new());
        let (before, after) = (line.clone(), line.clone());
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections.max(1))
            .acquire_timeout(settings.acquire_timeout)
            .after_connect(|connection, _| Box::pin(make_durable(connection)))
            // Instead of the pool's own test, which waits as long as TCP does.
            .test_before_acquire(false)
            .before_acquire(move |connection, about| {
                let trusted = before.trusts(&about);
                Box::pin(async move { Ok(trusted && line::is_alive(connection).await) })
            })
            .after_release(move |_, about| {
                let trusted = after.trusts(&about);
                Box::pin(async move { Ok(trusted) })
            })
            .connect_lazy_with(options.clone());
        let (key, answer_timeout) = (Arc::new(key), settings.answer_timeout);
        let call_writes = store::start_writes(&pool, &key, &clock, answer_timeout);
        let unreadable = Arc::default();
        Ok(Self { pool, call_writes, line, options, key, clock, answer_timeout, unreadable })
    }

    /// A connection that follows the changes.
    async fn connect_beside_pool(&self) -> Result<PgConnection, StoreError> {
        self.options.connect().await.context("connecting")
    }

    /// Brings the schema to this binary's version, in one transaction under a lock. Safe to run
    /// twice and from two processes. `SchemaMismatch` when the database is newer.
    pub async fn upgrade(&self) -> Result<(), StoreError> {
        let mut connection = self.options.connect().await.context("connecting")?;
        schema::upgrade(&mut connection).await
    }

    /// `SchemaMismatch` unless the schema is exactly this binary's.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await.context("reading the schema")?;
        schema::check(&mut connection).await
    }

    /// Whether the database has no tables of ours yet.
    pub async fn is_new(&self) -> Result<bool, StoreError> {
        let mut connection = self.pool.acquire().await.context("reading the schema")?;
        schema::is_empty(&mut connection).await
    }
}

/// An answered write is on disk, also where the server's own default is otherwise. And the locks of a
/// process whose network is cut in the middle of a transaction go long before TCP gives it up: no
/// transaction of ours lives on after `answer_timeout`.
async fn make_durable(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "SELECT set_config(name, value, false) FROM (VALUES ('synchronous_commit', 'off', 'on'), \
         ('idle_in_transaction_session_timeout', '0', '60s')) AS wanted (name, unwanted, value) \
         WHERE current_setting(name) = unwanted",
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Text must be stored as it is; and somebody should know when a crash can lose what was answered.
async fn check_server(connection: &mut PgConnection) -> Result<(), StoreError> {
    let (encoding, fsync): (String, String) =
        sqlx::query_as("SELECT current_setting('server_encoding'), current_setting('fsync')")
            .fetch_one(connection)
            .await
            .context("asking for the server's settings")?;
    if encoding != "UTF8" {
        return Err(StoreError::Database {
            context: "looking at the database",
            source: format!("its encoding is {encoding}, it must be UTF8: createdb --encoding=UTF8").into(),
        });
    }
    if fsync == "off" {
        tracing::warn!("the PostgreSQL server runs with fsync=off: a crash can lose accepted calls");
    }
    Ok(())
}
