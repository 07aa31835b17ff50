//! The changes that other processes follow; see [`crate::changes`].
//!
//! Transactions commit in another order than they begin, and an `AUTO_INCREMENT` would give its
//! lower numbers to whoever began first. So the number is taken under the lock of one row that is
//! held until the commit. It is the last lock of every transaction that takes it, and held for one
//! statement and the commit.

use picasso_types::{AppId, CallId, Timestamp};
use sqlx::MySqlConnection;

use crate::StoreError;
use crate::changes::{self, BATCH, ChangeMark, Changes};
use crate::error::Context as _;

/// Notes that an app, or a route or version of it, is changed by this transaction: its last
/// statement.
pub(super) async fn note(db: &mut MySqlConnection, app: &AppId, now: Timestamp) -> Result<(), StoreError> {
    lock(db).await?;
    // A statement of its own: only then does it see what the lock's last holder wrote. The newest
    // row is never deleted, so a number is not used twice.
    sqlx::query(
        "INSERT INTO changes (number, app_id, changed_at) SELECT coalesce(max(number), 0) + 1, ?, ? FROM changes",
    )
    .bind(app.as_str())
    .bind(now.0)
    .execute(db)
    .await
    .context("noting a change")?;
    Ok(())
}

/// Notes that a running call is to end, in the same way.
pub(super) async fn note_cancelled(
    db: &mut MySqlConnection,
    call: &CallId,
    now: Timestamp,
) -> Result<(), StoreError> {
    lock(db).await?;
    sqlx::query(
        "INSERT INTO changes (number, app_id, changed_at, cancelled_call) \
         SELECT newest.number + 1, c.app_id, ?, c.id \
         FROM calls c, (SELECT coalesce(max(number), 0) AS number FROM changes) newest WHERE c.id = ?",
    )
    .bind(now.0)
    .bind(call.as_str())
    .execute(db)
    .await
    .context("noting a cancelled call")?;
    Ok(())
}

async fn lock(db: &mut MySqlConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT 1 FROM store_locks WHERE name = 'changes' FOR UPDATE")
        .fetch_one(db)
        .await
        .context("locking the changes")?;
    Ok(())
}

pub(super) async fn list(db: &mut MySqlConnection, after: Option<ChangeMark>) -> Result<Changes, StoreError> {
    if let Some(after) = after {
        let rows = sqlx::query(
            "SELECT number, app_id, cancelled_call FROM changes WHERE number >= ? ORDER BY number LIMIT ?",
        )
        .bind(after.0)
        .bind(i64::from(BATCH))
        .fetch_all(&mut *db)
        .await
        .context("reading the changes")?;
        if let Some(changes) = changes::since(after, &rows)? {
            return Ok(changes);
        }
    }
    let newest = sqlx::query_scalar("SELECT max(number) FROM changes")
        .fetch_one(db)
        .await
        .context("reading the newest change")?;
    Ok(changes::from_newest(newest))
}

pub(super) async fn delete(db: &mut MySqlConnection, before: Timestamp) -> Result<(), StoreError> {
    let newest: Option<i64> = sqlx::query_scalar("SELECT max(number) FROM changes")
        .fetch_one(&mut *db)
        .await
        .context("reading the newest change")?;
    sqlx::query("DELETE FROM changes WHERE changed_at < ? AND number < ?")
        .bind(before.0)
        .bind(newest.unwrap_or(0))
        .execute(db)
        .await
        .context("deleting old changes")?;
    Ok(())
}
