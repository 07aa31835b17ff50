//! Idempotency keys: which call a caller's name for a request stands for.

use picasso_types::{Accepted, CallId, IdempotencyKey, RouteId, Timestamp};
use sqlx::{PgConnection, PgExecutor};

use crate::StoreError;
use crate::error::Context as _;
use crate::rows;

/// What the key stands for already. Holds the key until the end of the transaction, so that of two
/// requests at one time the second sees the first.
pub(super) async fn find(
    db: &mut PgConnection,
    route: &RouteId,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<Accepted>, StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("{route}/{}", key.key_hash))
        .execute(&mut *db)
        .await
        .context("holding an idempotency key")?;
    let row = sqlx::query(
        "SELECT request_hash, call_id FROM idempotency_keys \
         WHERE route_id = $1 AND key_hash = $2 AND expires_at > $3",
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
    db: &mut PgConnection,
    route: &RouteId,
    key: &IdempotencyKey,
    call: &CallId,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO idempotency_keys (route_id, key_hash, request_hash, call_id, expires_at) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (route_id, key_hash) DO UPDATE SET \
         request_hash = excluded.request_hash, call_id = excluded.call_id, expires_at = excluded.expires_at",
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
    db: impl PgExecutor<'_>,
    limit: u32,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let deleted = sqlx::query(
        "DELETE FROM idempotency_keys WHERE (route_id, key_hash) IN ( \
             SELECT route_id, key_hash FROM idempotency_keys WHERE expires_at <= $1 LIMIT $2)",
    )
    .bind(now.0)
    .bind(i64::from(limit))
    .execute(db)
    .await
    .context("deleting idempotency keys")?;
    Ok(deleted.rows_affected())
}
