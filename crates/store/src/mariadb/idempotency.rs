//! Idempotency keys: which call a caller's name for a request stands for.

use picasso_types::{Accepted, CallId, IdempotencyKey, RouteId, Timestamp};
use sqlx::{MySqlConnection, MySqlPool};

use crate::StoreError;
use crate::error::{Context as _, Overtaken};
use crate::rows;

/// What the key stands for already. An entry whose window is over makes room.
pub(super) async fn find(
    db: &mut MySqlConnection,
    route: &RouteId,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<Accepted>, StoreError> {
    let row = sqlx::query(
        "SELECT request_hash, call_id FROM idempotency_keys \
         WHERE route_id = ? AND key_hash = ? AND expires_at > ?",
    )
    .bind(route.as_str())
    .bind(&key.key_hash)
    .bind(now.0)
    .fetch_optional(&mut *db)
    .await
    .context("looking for an idempotency key")?;
    if let Some(row) = row {
        return rows::accepted_before(&row, key).map(Some);
    }
    sqlx::query("DELETE FROM idempotency_keys WHERE route_id = ? AND key_hash = ? AND expires_at <= ?")
        .bind(route.as_str())
        .bind(&key.key_hash)
        .bind(now.0)
        .execute(db)
        .await
        .context("forgetting an idempotency key")?;
    Ok(None)
}

/// Of two requests at one time the second waits here for the first, and is then undone: done
/// again, it finds the first one's call.
pub(super) async fn put(
    db: &mut MySqlConnection,
    route: &RouteId,
    key: &IdempotencyKey,
    call: &CallId,
) -> Result<(), StoreError> {
    let context = "storing an idempotency key";
    let stored = sqlx::query(
        "INSERT INTO idempotency_keys (route_id, key_hash, request_hash, call_id, expires_at) \
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(route.as_str())
    .bind(&key.key_hash)
    .bind(&key.request_hash)
    .bind(call.as_str())
    .bind(key.expires_at.0)
    .execute(db)
    .await;
    match stored {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Err(StoreError::Unavailable { context, source: Box::new(Overtaken) })
        }
        stored => stored.context(context).map(drop),
    }
}

pub(super) async fn delete_expired(db: &MySqlPool, limit: u32, now: Timestamp) -> Result<u64, StoreError> {
    let deleted = sqlx::query("DELETE FROM idempotency_keys WHERE expires_at <= ? LIMIT ?")
        .bind(now.0)
        .bind(i64::from(limit))
        .execute(db)
        .await
        .context("deleting idempotency keys")?;
    Ok(deleted.rows_affected())
}
