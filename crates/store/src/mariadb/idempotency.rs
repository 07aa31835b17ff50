//! Idempotency keys: which call a caller's name for a request stands for.

use std::collections::HashMap;
use std::sync::Arc;

use picasso_types::{Accepted, CallId, IdempotencyKey, Timestamp};
use sqlx::{MySql, MySqlConnection, MySqlPool, QueryBuilder};

use crate::StoreError;
use crate::batches::chunks;
use crate::call_writes::Acceptance;
use crate::error::{Context as _, Overtaken};
use crate::rows::{self, column, number};

/// A call with its name.
type Named<'a> = (&'a CallId, (&'a str, &'a IdempotencyKey));

/// Those that have names, in the order of these: two batches with the same names do not wait for each other
/// in a ring.
fn named<'a>(calls: impl Iterator<Item = &'a Acceptance>) -> Vec<Named<'a>> {
    let mut named: Vec<Named<'a>> = calls.filter_map(|call| Some((&call.new.id, call.name()?))).collect();
    named.sort_by_key(|(_, (route, key))| (*route, key.key_hash.as_str()));
    named
}

/// What names of the calls stand for already, by the ids of these calls. Entries whose window is over make
/// room.
pub(super) async fn find(
    db: &mut MySqlConnection,
    calls: &[Arc<Acceptance>],
    now: Timestamp,
) -> Result<HashMap<CallId, Accepted>, StoreError> {
    let mut before = HashMap::new();
    let named = named(calls.iter().map(|call| &**call));
    for some in chunks(&named) {
        let start =
            "SELECT route_id, key_hash, request_hash, call_id, expires_at FROM idempotency_keys WHERE ";
        let mut query = of_names(start, some);
        let found = query.build().fetch_all(&mut *db).await.context("looking for idempotency keys")?;
        let mut is_any_over = false;
        for row in &found {
            let name: (&str, &str) = (column(row, "route_id")?, column(row, "key_hash")?);
            if number::<i64>(row, "expires_at")? <= now.0 {
                is_any_over = true;
            } else if let Some((call, (_, key))) =
                some.iter().find(|(_, (route, key))| (*route, key.key_hash.as_str()) == name)
            {
                before.insert((*call).clone(), rows::accepted_before(row, key)?);
            }
        }
        if is_any_over {
            let mut query = of_names("DELETE FROM idempotency_keys WHERE (", some);
            query.push(") AND expires_at <= ").push_bind(now.0);
            query.build().execute(&mut *db).await.context("forgetting idempotency keys")?;
        }
    }
    Ok(before)
}

/// A statement that ends with a condition for these names.
fn of_names(start: &'static str, some: &[Named<'_>]) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new(start);
    for (place, (_, (route, key))) in some.iter().enumerate() {
        query.push(if place == 0 { "(route_id = " } else { " OR (route_id = " }).push_bind(*route);
        query.push(" AND key_hash = ").push_bind(key.key_hash.as_str()).push(")");
    }
    query
}

/// Keeps the names of those that have one. Of two requests at one time the second waits here for the first,
/// and is then undone: done again, it finds the first one's call.
pub(super) async fn put(db: &mut MySqlConnection, calls: &[&Acceptance]) -> Result<(), StoreError> {
    let context = "storing idempotency keys";
    for some in chunks(&named(calls.iter().copied())) {
        let mut query = QueryBuilder::new(
            "INSERT INTO idempotency_keys (route_id, key_hash, request_hash, call_id, expires_at) ",
        );
        query.push_values(some, |mut row, (call, (route, key))| {
            row.push_bind(*route)
                .push_bind(&key.key_hash)
                .push_bind(&key.request_hash)
                .push_bind(call.as_str())
                .push_bind(key.expires_at.0);
        });
        match query.build().execute(&mut *db).await {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                return Err(StoreError::Unavailable { context, source: Box::new(Overtaken) });
            }
            stored => stored.context(context)?,
        };
    }
    Ok(())
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
