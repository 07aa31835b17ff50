//! The schema of a MariaDB store: its migrations, and whether a database has them.
//!
//! MariaDB commits at every statement that changes a table, so an upgrade that dies leaves a part
//! of a migration behind. Every migration can therefore run again, and its version is noted after
//! its last statement: sqlx's own way, which notes it first and then wants a person to look, is not
//! used.

use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{Connection as _, raw_sql};

use super::session;
use crate::StoreError;
use crate::error::{Context as _, was_undone};
use crate::schema::{Applied, is_current, mismatch};

/// How long another process's upgrade is waited for.
const PATIENCE: Duration = Duration::from_mins(10);

fn migrator() -> Migrator {
    sqlx::migrate!("migrations/mariadb")
}

/// Applies what is missing. Another connection holds a row meanwhile, so that one process at a time
/// does it: the lock goes with that connection, whatever happens to either.
pub(super) async fn upgrade(options: &MySqlConnectOptions) -> Result<(), StoreError> {
    let mut connection = session::connect(options).await?;
    raw_sql(
        "CREATE TABLE IF NOT EXISTS store_locks (name VARCHAR(64) NOT NULL PRIMARY KEY) ENGINE = InnoDB \
         CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin; \
         INSERT IGNORE INTO store_locks (name) VALUES ('upgrade'), ('names of apps'), ('changes'); \
         CREATE TABLE IF NOT EXISTS store_migrations (version BIGINT NOT NULL PRIMARY KEY, \
         description TEXT NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT current_timestamp, \
         checksum BLOB NOT NULL) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
    )
    .execute(&mut connection)
    .await
    .context("making the tables of migrations")?;
    let mut holder = session::connect(options).await?;
    session::may_idle(&mut holder).await?;
    let mut lock = holder.begin().await.context("locking the database for its upgrade")?;
    wait_for_lock(&mut lock).await?;
    apply_missing(&mut connection).await?;
    lock.rollback().await.context("unlocking the database")?;
    for closing in [connection, holder] {
        closing.close().await.context("disconnecting")?;
    }
    Ok(())
}

async fn wait_for_lock(holder: &mut MySqlConnection) -> Result<(), StoreError> {
    let began = Instant::now();
    loop {
        let locked = sqlx::query("SELECT 1 FROM store_locks WHERE name = 'upgrade' FOR UPDATE")
            .fetch_one(&mut *holder)
            .await
            .context("waiting for the upgrade of another process");
        match locked {
            Err(error) if was_undone(&error) && began.elapsed() < PATIENCE => {}
            other => return other.map(drop),
        }
    }
}

async fn apply_missing(connection: &mut MySqlConnection) -> Result<(), StoreError> {
    let migrator = migrator();
    let applied = applied(connection).await?;
    let known: Vec<_> = migrator.iter().collect();
    let fits = applied.len() <= known.len()
        && known
            .iter()
            .zip(&applied)
            .all(|(known, (version, checksum))| known.version == *version && *known.checksum == **checksum);
    if !fits {
        return Err(mismatch(&migrator, &applied));
    }
    for migration in &known[applied.len()..] {
        raw_sql(migration.sql.clone()).execute(&mut *connection).await.context("upgrading the database")?;
        sqlx::query("INSERT INTO store_migrations (version, description, checksum) VALUES (?, ?, ?)")
            .bind(migration.version)
            .bind(&*migration.description)
            .bind(&*migration.checksum)
            .execute(&mut *connection)
            .await
            .context("noting the database's version")?;
    }
    Ok(())
}

/// `SchemaMismatch` unless the database has exactly this binary's migrations.
pub(super) async fn check(connection: &mut MySqlConnection) -> Result<(), StoreError> {
    let applied = applied(connection).await?;
    if is_current(&migrator(), &applied) { Ok(()) } else { Err(mismatch(&migrator(), &applied)) }
}

/// Whether there is nothing of ours yet, or only what an interrupted first upgrade left.
pub(super) async fn is_empty(connection: &mut MySqlConnection) -> Result<bool, StoreError> {
    Ok(applied(connection).await?.is_empty())
}

async fn applied(connection: &mut MySqlConnection) -> Result<Vec<Applied>, StoreError> {
    let exists: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name = 'store_migrations'",
    )
    .fetch_one(&mut *connection)
    .await
    .context("reading the schema")?;
    if exists == 0 {
        return Ok(Vec::new());
    }
    sqlx::query_as("SELECT version, checksum FROM store_migrations ORDER BY version")
        .fetch_all(connection)
        .await
        .context("reading the schema version")
}
