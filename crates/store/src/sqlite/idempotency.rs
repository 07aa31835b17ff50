//! Idempotency keys: which call a caller's name for a request stands for.

use std::collections::HashMap;
use std::sync::Arc;

use picasso_types::{Accepted, CallId, Timestamp};
use sqlx::{QueryBuilder, SqliteConnection};

use crate::StoreError;
use crate::batches::chunks;
use crate::call_writes::Acceptance;
use crate::error::Context as _;
use crate::rows;

/// What names of the calls stand for already, by the ids of these calls. The one writer makes what is
/// found here hold until the end of the transaction.
pub(super) async fn find(
    db: &mut SqliteConnection,
    calls: &[Arc<Acceptance>],
    now: Timestamp,
) -> Result<HashMap<CallId, Accepted>, StoreError> {
    let mut before = HashMap::new();
    let named: Vec<_> = calls.iter().filter_map(|call| Some((&call.new.id, call.name()?))).collect();
    for some in chunks(&named) {
        let mut query = QueryBuilder::new("SELECT n.column1 AS place, k.request_hash, k.call_id FROM (");
        query.push_values(some.iter().zip(0_i64..), |mut row, ((_, (route, key)), place)| {
            row.push_bind(place).push_bind(route).push_bind(&key.key_hash);
        });
        // CROSS JOIN keeps this order: a step in the index for each name.
        query.push(
            ") AS n CROSS JOIN idempotency_keys k ON k.route_id = n.column2 AND k.key_hash = n.column3 \
             WHERE k.expires_at > ",
        );
        query.push_bind(now.0);
        let found = query.build().fetch_all(&mut *db).await.context("looking for idempotency keys")?;
        for row in &found {
            let place: usize = rows::number(row, "place")?;
            if let Some((call, (_, key))) = some.get(place) {
                before.insert((*call).clone(), rows::accepted_before(row, key)?);
            }
        }
    }
    Ok(before)
}

/// Keeps the names of those that have one; each takes the place of an entry whose window is over.
pub(super) async fn put(db: &mut SqliteConnection, calls: &[&Acceptance]) -> Result<(), StoreError> {
    let named: Vec<_> = calls.iter().filter_map(|call| Some((&call.new.id, call.name()?))).collect();
    for some in chunks(&named) {
        let mut query = QueryBuilder::new(
            "INSERT OR REPLACE INTO idempotency_keys (route_id, key_hash, request_hash, call_id, expires_at) ",
        );
        query.push_values(some, |mut row, (call, (route, key))| {
            row.push_bind(route)
                .push_bind(&key.key_hash)
                .push_bind(&key.request_hash)
                .push_bind(call.as_str())
                .push_bind(key.expires_at.0);
        });
        query.build().execute(&mut *db).await.context("storing idempotency keys")?;
    }
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
