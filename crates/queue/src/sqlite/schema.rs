//! The schema of a SQLite queue: its migrations, and whether a database has them.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection, SqliteConnection};

use super::Context as _;
use crate::QueueError;

/// Not sqlx's default name: a store may keep its own migrations in the same file.
const MIGRATIONS_TABLE: &str = "queue_migrations";

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/sqlite");
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrator
}

/// Applies what is missing in one transaction, so that two processes may do it at once.
pub(super) async fn upgrade(connection: &mut SqliteConnection) -> Result<(), QueueError> {
    let mut transaction =
        connection.begin_with("BEGIN IMMEDIATE").await.context("locking the database for its upgrade")?;
    match migrator().run_direct(None, &mut *transaction, false).await {
        Ok(()) => transaction.commit().await.context("committing the upgrade"),
        Err(MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_)) => {
            Err(mismatch(&applied(&mut transaction).await?))
        }
        Err(error) => Err(QueueError::Broker { context: "upgrading the database", source: Box::new(error) }),
    }
}

/// `SchemaMismatch` unless the database has exactly this binary's migrations.
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<(), QueueError> {
    let applied = applied(connection).await?;
    let migrator = migrator();
    let same = applied.len() == migrator.iter().count()
        && migrator.iter().zip(&applied).all(|(needed, (version, checksum))| {
            needed.version == *version && *needed.checksum == **checksum
        });
    if same { Ok(()) } else { Err(mismatch(&applied)) }
}

async fn applied(connection: &mut SqliteConnection) -> Result<Vec<(i64, Vec<u8>)>, QueueError> {
    let exists: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1")
            .bind(MIGRATIONS_TABLE)
            .fetch_one(&mut *connection)
            .await
            .context("reading the schema")?;
    if exists == 0 {
        return Ok(Vec::new());
    }
    sqlx::query_as("SELECT version, checksum FROM queue_migrations ORDER BY version")
        .fetch_all(connection)
        .await
        .context("reading the schema version")
}

fn mismatch(applied: &[(i64, Vec<u8>)]) -> QueueError {
    let needed = migrator().iter().map(|m| m.version).max().unwrap_or_default();
    let found = match applied.last() {
        None => "empty".to_owned(),
        Some((version, _)) if *version == needed => format!("version {version} of another build"),
        Some((version, _)) => format!("version {version}"),
    };
    QueueError::SchemaMismatch { found, needed: format!("version {needed}") }
}
