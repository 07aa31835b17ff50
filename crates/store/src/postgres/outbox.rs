//! The outbox: call ids that are still to be handed to the queue, and those to be handed again.

use picasso_types::Timestamp;
use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::error::Context as _;
use crate::rows::outbox_entry;
use crate::{OutboxEntry, StoreError};

/// Most calls that one sweep puts back; the next goes on.
const SWEEP_LIMIT: i64 = 1000;

/// Puts a call in; an older entry of it gets a new number, so that whoever is just handing the old
/// one over does not delete the new one.
pub(super) async fn put(
    db: &mut PgConnection,
    call_id: &str,
    not_before: Timestamp,
    priority: u8,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO outbox (call_id, not_before, priority) VALUES ($1, $2, $3) \
         ON CONFLICT (call_id) DO UPDATE SET number = DEFAULT, not_before = excluded.not_before, \
         priority = excluded.priority",
    )
    .bind(call_id)
    .bind(not_before.0)
    .bind(i64::from(priority))
    .execute(db)
    .await
    .context("writing the outbox")?;
    Ok(())
}

pub(super) async fn list(db: &PgPool, limit: u32, now: Timestamp) -> Result<Vec<OutboxEntry>, StoreError> {
    let rows = sqlx::query(
        "SELECT number, call_id, not_before, priority FROM outbox WHERE not_before <= $2 \
         ORDER BY not_before, number LIMIT $1",
    )
    .bind(i64::from(limit))
    .bind(now.0)
    .fetch_all(db)
    .await
    .context("reading the outbox")?;
    rows.iter().map(outbox_entry).collect()
}

pub(super) async fn delete(db: impl PgExecutor<'_>, numbers: &[i64]) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM outbox WHERE number = ANY($1)")
        .bind(numbers)
        .execute(db)
        .await
        .context("deleting outbox entries")?;
    Ok(())
}

/// A call is put back once for an ended lease and once for each time it was dispatched before
/// `lost_before` in vain; so a long queue is not multiplied by its sweeps. Calls that another
/// process is changing or sweeping just now are left to it.
pub(super) async fn sweep(
    db: impl PgExecutor<'_>,
    lost_before: Timestamp,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let put = sqlx::query(
        "WITH lost AS ( \
             SELECT id FROM calls WHERE ( \
                 (state = 'running' AND lease_until <= $1 \
                     AND (dispatched_at <= lease_until OR dispatched_at < $2)) \
                 OR (state = 'queued' AND not_before < $2 AND dispatched_at < $2)) \
             AND NOT EXISTS (SELECT 1 FROM outbox WHERE call_id = calls.id) \
             LIMIT $3 FOR UPDATE OF calls SKIP LOCKED), \
         dispatched AS ( \
             UPDATE calls SET dispatched_at = $1 FROM lost WHERE calls.id = lost.id \
             RETURNING calls.id, calls.not_before, calls.priority) \
         INSERT INTO outbox (call_id, not_before, priority) \
         SELECT id, not_before, priority FROM dispatched ORDER BY id \
         ON CONFLICT (call_id) DO NOTHING",
    )
    .bind(now.0)
    .bind(lost_before.0)
    .bind(SWEEP_LIMIT)
    .execute(db)
    .await
    .context("looking for lost calls")?;
    Ok(put.rows_affected())
}
