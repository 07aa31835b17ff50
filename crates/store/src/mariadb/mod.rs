//! The MariaDB driver: a pool of connections, row locks instead of a single writer.
//!
//! `READ COMMITTED`: a statement sees what was committed before it, so whoever checks and then
//! writes holds a lock first. Apps are made under the lock of one row; every other change of an
//! app, its routes and versions holds the app's row. `UPDATE` returns no rows here: what changes a
//! call is a transaction that holds the call's row, or one statement and a look at its effect. What
//! the server undoes (deadlock, a lock waited for in vain) is done again, a bounded number of times.

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
mod session;
#[path = "../server_store.rs"]
#[expect(clippy::duplicate_mod, reason = "one source over the SQL of each database server")]
mod store;
mod triggers;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use picasso_types::Clock;
use secrecy::SecretString;
use sqlx::Connection as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions};

use crate::call_writes::CallWrites;
use crate::error::Context as _;
use crate::line::{self, Line};
use crate::server::{batch, bounded, read, write, write_each};
use crate::unreadable::Unreadable;
use crate::{SecretKey, StoreError};

/// Which store `mod store` and `mod driver_store` are of.
use MariaDbStore as DriverStore;
/// Its connections.
use MySqlPool as ServerPool;

/// Which database, and how it is used.
#[derive(Debug, Clone)]
pub struct MariaDbSettings {
    /// `mysql://user:password@host:port/database`, with sqlx's options (`ssl-mode`, `ssl-ca`,
    /// `ssl-cert`, `ssl-key`, `socket`).
    pub url: SecretString,
    /// Most connections of this process, at least 1; one more follows the changes.
    pub max_connections: u32,
    /// How long a caller waits for a connection.
    pub acquire_timeout: Duration,
    /// How long one method may take in all; a server that says nothing counts as gone after it.
    pub answer_timeout: Duration,
    /// The largest body or output of a call, bytes: the server must take packets that hold it.
    pub max_call_bytes: u64,
}

impl MariaDbSettings {
    /// The database at `url` with 20 connections and calls of up to 8 MiB.
    pub fn at(url: impl Into<SecretString>) -> Self {
        Self {
            url: url.into(),
            max_connections: 20,
            acquire_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(20),
            max_call_bytes: 8 << 20,
        }
    }
}

/// [`crate::Store`] in a MariaDB database.
pub struct MariaDbStore {
    pool: MySqlPool,
    call_writes: CallWrites,
    line: Arc<Line<MySqlConnection>>,
    options: MySqlConnectOptions,
    key: Arc<SecretKey>,
    clock: Arc<dyn Clock>,
    answer_timeout: Duration,
    unreadable: Arc<Unreadable>,
}

impl std::fmt::Debug for MariaDbStore {
    /// Without the connection's options, which hold the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MariaDbStore").field("connections", &self.pool.size()).finish_non_exhaustive()
    }
}

impl MariaDbStore {
    /// Connects to the database, which may be empty or of another version: follow with
    /// [`MariaDbStore::upgrade`] or [`MariaDbStore::check_schema`]. `key` encrypts stored bodies.
    /// `Unavailable` when the server cannot be reached, `Database` when it refuses or its settings
    /// do not do.
    pub async fn connect(
        settings: &MariaDbSettings,
        key: SecretKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let options = session::options(&settings.url)?;
        // By itself first: a pool tries again for a while and then only says that it waited.
        let first = bounded(settings.acquire_timeout, async {
            let mut first = session::connect(&options).await?;
            session::check_server(&mut first, settings.max_call_bytes).await?;
            Ok(first)
        })
        .await?;
        first.close().await.context("connecting")?;
        let line = Arc::new(Line::new());
        let (before, after) = (line.clone(), line.clone());
        let pool = MySqlPoolOptions::new()
            .max_connections(settings.max_connections.max(1))
            .acquire_timeout(settings.acquire_timeout)
            .after_connect(|connection, _| Box::pin(session::prepare(connection)))
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
    async fn connect_beside_pool(&self) -> Result<MySqlConnection, StoreError> {
        session::connect(&self.options).await
    }

    /// Brings the schema to this binary's version, under a lock. Safe to run twice and from two
    /// processes. What was interrupted is completed by the next run. `SchemaMismatch` when the
    /// database is newer.
    pub async fn upgrade(&self) -> Result<(), StoreError> {
        schema::upgrade(&self.options).await
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
