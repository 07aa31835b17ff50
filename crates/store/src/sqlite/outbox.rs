//! The outbox: call ids that are still to be handed to the queue, and those to be handed again.

use picasso_types::Timestamp;
use sqlx::{Row as _, SqliteConnection, SqlitePool};

use crate::error::Context as _;
use crate::rows::{column, number, outbox_entry, time};
use crate::{OutboxEntry, StoreError};

/// Most calls that one sweep puts back, so that it holds the writer briefly; the next goes on.
const SWEEP_LIMIT: i64 = 1000;

/// Puts a call in; an older entry of it is replaced under a new number, so that whoever is just
/// handing the old one over does not delete the new one.
pub(super) async fn put(
    db: &mut SqliteConnection,
    call_id: &str,
    not_before: Timestamp,
    priority: u8,
) -> Result<(), StoreError> {
    sqlx::query("INSERT OR REPLACE INTO outbox (call_id, not_before, priority) VALUES (?1, ?2, ?3)")
        .bind(call_id)
        .bind(not_before.0)
        .bind(priority)
        .execute(db)
        .await
        .context("writing the outbox")?;
    Ok(())
}

pub(super) async fn list(
    db: &SqlitePool,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<OutboxEntry>, StoreError> {
    let rows = sqlx::query(
        "SELECT number, call_id, not_before, priority FROM outbox WHERE not_before <= ?2 \
         ORDER BY not_before, number LIMIT ?1",
    )
    .bind(limit)
    .bind(now.0)
    .fetch_all(db)
    .await
    .context("reading the outbox")?;
    rows.iter().map(outbox_entry).collect()
}

pub(super) async fn delete(db: &mut SqliteConnection, numbers: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM outbox WHERE number IN (SELECT value FROM json_each(?1))")
        .bind(numbers)
        .execute(db)
        .await
        .context("deleting outbox entries")?;
    Ok(())
}

/// A call is put back once for an ended lease and once for each time it was dispatched before
/// `lost_before` in vain; so a long queue is not multiplied by its sweeps.
pub(super) async fn sweep(
    db: &mut SqliteConnection,
    lost_before: Timestamp,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut lost = sqlx::query(
        "UPDATE calls SET dispatched_at = ?1 WHERE id IN ( \
             SELECT id FROM calls WHERE state = 'running' AND lease_until <= ?1 \
             AND (dispatched_at <= lease_until OR dispatched_at < ?2) \
             AND NOT EXISTS (SELECT 1 FROM outbox WHERE call_id = calls.id) \
             UNION ALL \
             SELECT id FROM calls WHERE state = 'queued' AND not_before < ?2 AND dispatched_at < ?2 \
             AND NOT EXISTS (SELECT 1 FROM outbox WHERE call_id = calls.id) \
             LIMIT ?3) \
         RETURNING id, not_before, priority",
    )
    .bind(now.0)
    .bind(lost_before.0)
    .bind(SWEEP_LIMIT)
    .fetch_all(&mut *db)
    .await
    .context("looking for lost calls")?;
    // RETURNING has no order; ids sort by the time of acceptance.
    lost.sort_by_cached_key(|row| row.try_get::<String, _>("id").unwrap_or_default());
    for row in &lost {
        put(db, column(row, "id")?, time(row, "not_before")?, number(row, "priority")?).await?;
    }
    Ok(lost.len() as u64)
}
