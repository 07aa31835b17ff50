//! The schema of a SQLite store: its migrations, and whether a database has them.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, SqliteConnection};

use crate::StoreError;
use crate::error::Context as _;
use crate::schema::{Applied, is_current, mismatch};

/// Not sqlx's default name: a queue may keep its own migrations in the same file.
const MIGRATIONS_TABLE: &str = "store_migrations";

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/sqlite");
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrator
}

/// Applies what is missing, all of it in one transaction, so that two processes may do it at
/// once and a failure leaves the old schema.
pub(super) async fn upgrade(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut transaction =
        connection.begin_with("BEGIN IMMEDIATE").await.context("locking the database for its upgrade")?;
    match migrator().run_direct(None, &mut *transaction, false).await {
        Ok(()) => transaction.commit().await.context("committing the upgrade"),
        Err(MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_)) => {
            Err(mismatch(&migrator(), &applied(&mut transaction).await?))
        }
        Err(error) => {
            Err(StoreError::Database { context: "upgrading the database", source: Box::new(error) })
        }
    }
}

/// `SchemaMismatch` unless the database has exactly this binary's migrations.
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let applied = applied(connection).await?;
    if is_current(&migrator(), &applied) { Ok(()) } else { Err(mismatch(&migrator(), &applied)) }
}

async fn applied(connection: &mut SqliteConnection) -> Result<Vec<Applied>, StoreError> {
    let exists: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1")
            .bind(MIGRATIONS_TABLE)
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
