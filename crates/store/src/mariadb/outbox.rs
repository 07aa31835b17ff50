//! The outbox: call ids that are still to be handed to the queue, and those to be handed again.

use picasso_types::{CallState, Timestamp};
use sqlx::{MySql, MySqlConnection, MySqlPool, QueryBuilder};

use crate::error::Context as _;
use crate::rows::{column, outbox_entry};
use crate::{OutboxEntry, StoreError};

/// Most calls that one sweep puts back for each reason; the next goes on.
const SWEEP_LIMIT: i64 = 500;
/// Most entries that one statement deletes.
const DELETED_AT_ONCE: usize = 1000;

/// Puts a call in, as its row says; an older entry of it gets a new number, so that whoever is just
/// handing the old one over does not delete the new one.
pub(super) async fn put(db: &mut MySqlConnection, call_id: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM outbox WHERE call_id = ?")
        .bind(call_id)
        .execute(&mut *db)
        .await
        .context("making room in the outbox")?;
    sqlx::query(
        "INSERT INTO outbox (call_id, not_before, priority) SELECT id, not_before, priority FROM calls WHERE id = ?",
    )
    .bind(call_id)
    .execute(db)
    .await
    .context("writing the outbox")?;
    Ok(())
}

pub(super) async fn list(db: &MySqlPool, limit: u32, now: Timestamp) -> Result<Vec<OutboxEntry>, StoreError> {
    let rows = sqlx::query(
        "SELECT number, call_id, not_before, priority FROM outbox WHERE not_before <= ? \
         ORDER BY not_before, number LIMIT ?",
    )
    .bind(now.0)
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
    .context("reading the outbox")?;
    rows.iter().map(outbox_entry).collect()
}

pub(super) async fn delete(db: &MySqlPool, numbers: &[i64]) -> Result<(), StoreError> {
    for numbers in numbers.chunks(DELETED_AT_ONCE) {
        let mut query = QueryBuilder::new("DELETE FROM outbox WHERE number IN");
        push_list(&mut query, numbers);
        query.build().persistent(false).execute(db).await.context("deleting outbox entries")?;
    }
    Ok(())
}

/// A call is put back once for an ended lease and once for each time it was dispatched before
/// `lost_before` in vain; so a long queue is not multiplied by its sweeps. Calls that another
/// process is changing or sweeping just now are left to it.
pub(super) async fn sweep(db: &MySqlPool, lost_before: Timestamp, now: Timestamp) -> Result<u64, StoreError> {
    // Looked for without locks first, each state by its index: a search that locks holds what it
    // walks over.
    let mut found = Vec::new();
    for state in [CallState::Running, CallState::Queued] {
        let mut search = QueryBuilder::new(SELECT_WITHOUT_ENTRY);
        push_lost(&mut search, state, lost_before, now);
        search.push(" LIMIT ").push_bind(SWEEP_LIMIT);
        let rows = search.build().fetch_all(db).await.context("looking for lost calls")?;
        for row in &rows {
            found.push(column::<String>(row, "id")?);
        }
    }
    if found.is_empty() {
        return Ok(0);
    }
    let mut transaction = db.begin().await.context("beginning a transaction")?;
    let mut select = QueryBuilder::new(SELECT_WITHOUT_ENTRY);
    push_lost(select.push("("), CallState::Running, lost_before, now);
    push_lost(select.push(" OR "), CallState::Queued, lost_before, now);
    push_list(select.push(") AND id IN"), &found);
    select.push(" ORDER BY id FOR UPDATE SKIP LOCKED");
    let held = select.build().persistent(false).fetch_all(&mut *transaction).await;
    let held = held.context("holding lost calls")?;
    let held: Vec<&str> = held.iter().map(|row| column(row, "id")).collect::<Result<_, _>>()?;
    if held.is_empty() {
        return Ok(0);
    }
    let mut dispatch = QueryBuilder::new("UPDATE calls SET dispatched_at = ");
    dispatch.push_bind(now.0);
    push_list(dispatch.push(" WHERE id IN"), &held);
    let updated = dispatch.build().persistent(false).execute(&mut *transaction).await;
    updated.context("dispatching lost calls")?;
    let mut entries = QueryBuilder::new(
        "INSERT INTO outbox (call_id, not_before, priority) SELECT id, not_before, priority FROM calls WHERE id IN",
    );
    push_list(&mut entries, &held);
    entries.push(" ORDER BY id ON DUPLICATE KEY UPDATE call_id = outbox.call_id");
    let inserted = entries.build().persistent(false).execute(&mut *transaction).await;
    inserted.context("putting lost calls into the outbox")?;
    transaction.commit().await.context("committing a transaction")?;
    Ok(held.len() as u64)
}

const SELECT_WITHOUT_ENTRY: &str =
    "SELECT id FROM calls WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE call_id = calls.id) AND ";

fn push_lost(query: &mut QueryBuilder<MySql>, state: CallState, lost_before: Timestamp, now: Timestamp) {
    query.push("(state = ").push_bind(state.as_str());
    if state == CallState::Running {
        query.push(" AND lease_until <= ").push_bind(now.0);
        query.push(" AND (dispatched_at <= lease_until OR dispatched_at < ").push_bind(lost_before.0);
        query.push("))");
    } else {
        query.push(" AND not_before < ").push_bind(lost_before.0);
        query.push(" AND dispatched_at < ").push_bind(lost_before.0).push(")");
    }
}

fn push_list<'a, T>(query: &mut QueryBuilder<MySql>, values: &'a [T])
where
    &'a T: sqlx::Encode<'a, MySql> + sqlx::Type<MySql>,
{
    query.push(" (");
    let mut list = query.separated(", ");
    for value in values {
        list.push_bind(value);
    }
    query.push(")");
}
