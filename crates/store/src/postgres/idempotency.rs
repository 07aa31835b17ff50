//! Idempotency keys: which call a caller's name for a request stands for.

use std::collections::HashMap;
use std::sync::Arc;

use picasso_types::{Accepted, CallId, Timestamp};
use sqlx::{PgConnection, PgExecutor};

use crate::StoreError;
use crate::call_writes::Acceptance;
use crate::error::Context as _;
use crate::rows;

/// What names of the calls stand for already, by the ids of these calls. Holds the names until the end of
/// the transaction, so that of two requests at one time the second sees the first. They are held in the
/// order of their hashes: two batches with the same names do not wait for each other in a ring.
pub(super) async fn find(
    db: &mut PgConnection,
    calls: &[Arc<Acceptance>],
    now: Timestamp,
) -> Result<HashMap<CallId, Accepted>, StoreError> {
    let named: Vec<_> = calls.iter().filter_map(|call| Some((&call.new.id, call.name()?))).collect();
    // The inner query keeps its order: a limit is not moved out of it.
    sqlx::query(
        "SELECT pg_advisory_xact_lock(hash) FROM (SELECT DISTINCT hashtextextended(name, 0) AS hash \
         FROM UNNEST($1::text[]) AS n (name) ORDER BY hash OFFSET 0) AS hashes",
    )
    .bind(named.iter().map(|(_, (route, key))| format!("{route}/{}", key.key_hash)).collect::<Vec<_>>())
    .execute(&mut *db)
    .await
    .context("holding idempotency keys")?;
    let found = sqlx::query(
        "SELECT n.place, k.request_hash, k.call_id \
         FROM UNNEST($1::text[], $2::text[]) WITH ORDINALITY AS n (route_id, key_hash, place) \
         JOIN idempotency_keys k ON k.route_id = n.route_id AND k.key_hash = n.key_hash \
         WHERE k.expires_at > $3",
    )
    .bind(named.iter().map(|(_, (route, _))| *route).collect::<Vec<_>>())
    .bind(named.iter().map(|(_, (_, key))| key.key_hash.as_str()).collect::<Vec<_>>())
    .bind(now.0)
    .fetch_all(db)
    .await
    .context("looking for idempotency keys")?;
    let mut before = HashMap::with_capacity(found.len());
    for row in &found {
        let place: usize = rows::number(row, "place")?;
        if let Some((call, (_, key))) = place.checked_sub(1).and_then(|place| named.get(place)) {
            before.insert((*call).clone(), rows::accepted_before(row, key)?);
        }
    }
    Ok(before)
}

/// Keeps the names of those that have one; each takes the place of an entry whose window is over.
pub(super) async fn put(db: &mut PgConnection, calls: &[&Acceptance]) -> Result<(), StoreError> {
    let named: Vec<_> = calls.iter().filter_map(|call| Some((&call.new.id, call.name()?))).collect();
    sqlx::query(
        "INSERT INTO idempotency_keys (route_id, key_hash, request_hash, call_id, expires_at) \
         SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) \
         ON CONFLICT (route_id, key_hash) DO UPDATE SET \
         request_hash = excluded.request_hash, call_id = excluded.call_id, expires_at = excluded.expires_at",
    )
    .bind(named.iter().map(|(_, (route, _))| *route).collect::<Vec<_>>())
    .bind(named.iter().map(|(_, (_, key))| key.key_hash.as_str()).collect::<Vec<_>>())
    .bind(named.iter().map(|(_, (_, key))| key.request_hash.as_str()).collect::<Vec<_>>())
    .bind(named.iter().map(|(call, _)| call.as_str()).collect::<Vec<_>>())
    .bind(named.iter().map(|(_, (_, key))| key.expires_at.0).collect::<Vec<_>>())
    .execute(db)
    .await
    .context("storing idempotency keys")?;
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
