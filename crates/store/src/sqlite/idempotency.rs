//! Idempotency keys: which call a caller's name for a request stands for.

use picasso_types::{Accepted, CallId, IdempotencyKey, RouteId, Timestamp};
use sqlx::SqliteConnection;

use crate::StoreError;
use crate::error::Context as _;
use crate::rows;

/// What the key stands for already. The one writer makes what is found here hold until the end of
/// the transaction.
pub(super) async fn find(
    db: &mut SqliteConnection,
    route: &RouteId,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<Accepted>, StoreError> {
    let row = sqlx::query(
        "SELECT request_hash, call_id FROM idempotency_keys \
         WHERE route_id = ?1 AND key_hash = ?2 AND expires_at > ?3",
    )
    .bind(route.as_str())
    .bind(&key.key_hash)
    .bind(now.0)
    .fetch_optional(db)
    .await
    .context("looking for an idempotency key")?;
    row.as_ref().map(|row| rows::accepted_before(row, key)).transpose()
}

/// Takes the place of an entry whose window is over.
pub(super) async fn put(
    db: &mut SqliteConnection,
    route: &RouteId,
    key: &IdempotencyKey,
    call: &CallId,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT OR REPLACE INTO idempotency_keys (route_id, key_hash, request_hash, call_id, expires_at) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(route.as_str())
    .bind(&key.key_hash)
    .bind(&key.request_hash)
    .bind(call.as_str())
    .bind(key.expires_at.0)
    .execute(db)
    .await
    .context("storing an idempotency key")?;
    Ok(())
}

pub(super) async fn delete_expired(
    db: &mut SqliteConnection,
    limit: u32,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let deleted = sqlx::query(
        "DELETE FROM idempotency_keys WHERE (route_id, key_hash) IN ( \
             SELECT route_id, key_hash FROM idempotency_keys WHERE expires_at <= ?1 LIMIT ?2)",
    )
    .bind(now.0)
    .bind(limit)
    .execute(db)
    .await
    .context("deleting idempotency keys")?;
    Ok(deleted.rows_affected())
}
