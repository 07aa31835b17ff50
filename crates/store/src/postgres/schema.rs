//! The schema of a PostgreSQL store: its migrations, and whether a database has them.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, PgConnection};

use crate::StoreError;
use crate::error::Context as _;
use crate::schema::{Applied, is_current, mismatch};

/// Not sqlx's default name: other tables of this database may have migrations of their own.
const MIGRATIONS_TABLE: &str = "store_migrations";
/// Whoever upgrades holds this advisory lock ("picasso" in ASCII).
const UPGRADE_LOCK: i64 = 0x70_69_63_61_73_73_6f;

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/postgres");
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    // Ours is of the transaction, so that a killed upgrade leaves none behind.
    migrator.set_locking(false);
    migrator
}

/// Applies what is missing, all of it in one transaction under a lock, so that two processes may
/// do it at once and a failure leaves the old schema.
pub(super) async fn upgrade(connection: &mut PgConnection) -> Result<(), StoreError> {
    let mut transaction = connection.begin().await.context("beginning the upgrade")?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(UPGRADE_LOCK)
        .execute(&mut *transaction)
        .await
        .context("locking the database for its upgrade")?;
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
pub(super) async fn check(connection: &mut PgConnection) -> Result<(), StoreError> {
    let applied = applied(connection).await?;
    if is_current(&migrator(), &applied) { Ok(()) } else { Err(mismatch(&migrator(), &applied)) }
}

/// Whether there is nothing of ours yet.
pub(super) async fn is_empty(connection: &mut PgConnection) -> Result<bool, StoreError> {
    Ok(applied(connection).await?.is_empty())
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<Applied>, StoreError> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(MIGRATIONS_TABLE)
        .fetch_one(&mut *connection)
        .await
        .context("reading the schema")?;
    if !exists {
        return Ok(Vec::new());
    }
    sqlx::query_as("SELECT version, checksum FROM store_migrations ORDER BY version")
        .fetch_all(connection)
        .await
        .context("reading the schema version")
}
