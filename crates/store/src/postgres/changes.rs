//! The changes that other processes follow; see [`crate::changes`].
//!
//! Transactions of PostgreSQL commit in another order than they begin, and a sequence would give
//! its lower numbers to whoever began first: a follower that has seen 8 would never look for a 7
//! that is committed after it. So the number is taken under an advisory lock that is held until the
//! commit: the next taker gets the lock only when this transaction is there to be seen. It is the
//! last lock of every transaction that takes it, and held for one statement and the commit.

use picasso_types::{AppId, CallId, Timestamp};
use sqlx::PgConnection;

use crate::StoreError;
use crate::changes::{self, BATCH, ChangeMark, Changes};
use crate::error::Context as _;

/// Whoever notes a change holds this advisory lock ("pic chng" in ASCII).
const CHANGES_LOCK: i64 = 0x70_69_63_20_63_68_6e_67;

/// Notes that an app, or a route or version of it, is changed by this transaction: its last
/// statement.
pub(super) async fn note(db: &mut PgConnection, app: &AppId, now: Timestamp) -> Result<(), StoreError> {
    lock(db).await?;
    // A statement of its own: only then does it see what the lock's last holder wrote. The newest
    // row is never deleted, so a number is not used twice.
    sqlx::query(
        "INSERT INTO changes (number, app_id, changed_at) \
         SELECT coalesce(max(number), 0) + 1, $1, $2 FROM changes",
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
    db: &mut PgConnection,
    call: &CallId,
    now: Timestamp,
) -> Result<(), StoreError> {
    lock(db).await?;
    sqlx::query(
        "INSERT INTO changes (number, app_id, changed_at, cancelled_call) \
         SELECT (SELECT coalesce(max(number), 0) + 1 FROM changes), app_id, $2, id FROM calls WHERE id = $1",
    )
    .bind(call.as_str())
    .bind(now.0)
    .execute(db)
    .await
    .context("noting a cancelled call")?;
    Ok(())
}

async fn lock(db: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(CHANGES_LOCK)
        .execute(db)
        .await
        .context("locking the changes")?;
    Ok(())
}

pub(super) async fn list(db: &mut PgConnection, after: Option<ChangeMark>) -> Result<Changes, StoreError> {
    if let Some(after) = after {
        let rows = sqlx::query(
            "SELECT number, app_id, cancelled_call FROM changes WHERE number >= $1 ORDER BY number LIMIT $2",
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

pub(super) async fn delete(db: &mut PgConnection, before: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM changes WHERE changed_at < $1 AND number < (SELECT max(number) FROM changes)")
        .bind(before.0)
        .execute(db)
        .await
        .context("deleting old changes")?;
    Ok(())
}
