//! The outbox: every queued call, from its acceptance until it is claimed.
//!
//! Entries that another process is taking or bringing back at the moment are skipped, never waited
//! for.

use picasso_types::{CallId, InstanceId, ProjectId, Timestamp};
use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::error::Context as _;
use crate::rows::{self, outbox_entry, parsed};
use crate::turns::{MAX_PROJECTS, MAX_RETURNED, Turns, by_project};
use crate::{OutboxBatch, OutboxEntry, OutboxTake, QueuedCalls, StoreError};

/// Most calls that one sweep puts back; the next goes on.
const SWEEP_LIMIT: i64 = 1000;

/// Puts a call in.
pub(super) async fn put(
    db: &mut PgConnection,
    call_id: &str,
    project_id: &str,
    not_before: Timestamp,
    priority: u8,
    now: Timestamp,
) -> Result<(), StoreError> {
    let is_due = not_before <= now;
    sqlx::query(
        "INSERT INTO outbox (call_id, project_id, state, not_before, priority, returns_at) \
         VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (call_id) DO UPDATE SET state = excluded.state, not_before = excluded.not_before, \
         priority = excluded.priority, returns_at = excluded.returns_at, taken_by = NULL",
    )
    .bind(call_id)
    .bind(project_id)
    .bind(if is_due { "waiting" } else { "scheduled" })
    .bind(not_before.0)
    .bind(i64::from(priority))
    .bind((!is_due).then_some(not_before.0))
    .execute(db)
    .await
    .context("writing the outbox")?;
    Ok(())
}

/// Whether a take would find or bring back anything.
pub(super) async fn is_anything_due(db: &PgPool, now: Timestamp) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM outbox WHERE state = 'waiting') \
         OR EXISTS (SELECT 1 FROM outbox WHERE returns_at <= $1)",
    )
    .bind(now.0)
    .fetch_one(db)
    .await
    .context("looking into the outbox")
}

pub(super) async fn take(
    db: &mut PgConnection,
    take: &OutboxTake,
    now: Timestamp,
) -> Result<OutboxBatch, StoreError> {
    let returned = sqlx::query(
        "WITH back AS (SELECT number FROM outbox WHERE returns_at <= $1 ORDER BY returns_at LIMIT $2 \
             FOR UPDATE SKIP LOCKED) \
         UPDATE outbox SET state = 'waiting', returns_at = NULL, taken_by = NULL FROM back \
         WHERE outbox.number = back.number",
    )
    .bind(now.0)
    .bind(i64::from(MAX_RETURNED))
    .execute(&mut *db)
    .await
    .context("bringing back outbox entries")?
    .rows_affected();
    let projects = projects(&mut *db, take.after.as_ref()).await?;
    let mut turns = Turns::new(take, projects.len(), returned);
    for project in projects {
        if turns.is_over() {
            break;
        }
        let wanted = turns.wanted(&project);
        if wanted == 0 {
            continue;
        }
        let taken: i64 =
            sqlx::query_scalar("SELECT count(*) FROM outbox WHERE state = 'taken' AND project_id = $1")
                .bind(project.as_str())
                .fetch_one(&mut *db)
                .await
                .context("counting taken outbox entries")?;
        let room = turns.room(wanted, u32::try_from(taken).unwrap_or(u32::MAX));
        if room > 0 {
            let entries = take_of(&mut *db, take, &project, turns.allowed(room)).await?;
            turns.took(entries, room);
        }
    }
    Ok(turns.end())
}

/// The projects with something that waits, from behind `after` once around: one step in the index
/// for each, however much of theirs waits.
async fn projects(db: &mut PgConnection, after: Option<&ProjectId>) -> Result<Vec<ProjectId>, StoreError> {
    let after = after.map_or("", ProjectId::as_str);
    let rows = sqlx::query(
        "WITH RECURSIVE \
         behind (project_id) AS ( \
             (SELECT project_id FROM outbox WHERE state = 'waiting' AND project_id > $1 \
                 ORDER BY project_id LIMIT 1) \
             UNION ALL \
             SELECT (SELECT o.project_id FROM outbox o WHERE o.state = 'waiting' \
                 AND o.project_id > behind.project_id ORDER BY o.project_id LIMIT 1) \
             FROM behind WHERE behind.project_id IS NOT NULL), \
         before (project_id) AS ( \
             (SELECT project_id FROM outbox WHERE state = 'waiting' AND project_id <= $1 \
                 ORDER BY project_id LIMIT 1) \
             UNION ALL \
             SELECT (SELECT o.project_id FROM outbox o WHERE o.state = 'waiting' \
                 AND o.project_id > before.project_id AND o.project_id <= $1 ORDER BY o.project_id LIMIT 1) \
             FROM before WHERE before.project_id IS NOT NULL), \
         some_behind AS (SELECT 0 AS around, project_id FROM behind LIMIT $2), \
         some_before AS (SELECT 1 AS around, project_id FROM before LIMIT $2) \
         SELECT project_id FROM (SELECT * FROM some_behind UNION ALL SELECT * FROM some_before) AS once \
         WHERE project_id IS NOT NULL ORDER BY around, project_id LIMIT $2",
    )
    .bind(after)
    .bind(i64::from(MAX_PROJECTS))
    .fetch_all(db)
    .await
    .context("listing the projects of the outbox")?;
    rows.iter().map(|row| parsed(row, "project_id", ProjectId::stored)).collect()
}

async fn take_of(
    db: &mut PgConnection,
    take: &OutboxTake,
    project: &ProjectId,
    limit: u32,
) -> Result<Vec<OutboxEntry>, StoreError> {
    let mut rows = sqlx::query(
        "WITH first AS (SELECT number FROM outbox WHERE state = 'waiting' AND project_id = $1 \
             ORDER BY priority DESC, not_before, number LIMIT $2 FOR UPDATE SKIP LOCKED) \
         UPDATE outbox SET state = 'taken', returns_at = $3, taken_by = $4 FROM first \
         WHERE outbox.number = first.number \
         RETURNING call_id, project_id, priority, not_before, outbox.number",
    )
    .bind(project.as_str())
    .bind(i64::from(limit))
    .bind(take.until.0)
    .bind(take.taken_by.as_str())
    .fetch_all(db)
    .await
    .context("taking outbox entries")?;
    // RETURNING has no order.
    rows.sort_by_cached_key(rows::outbox_order);
    rows.iter().map(outbox_entry).collect()
}

pub(super) async fn give_back(db: impl PgExecutor<'_>, calls: &[CallId]) -> Result<(), StoreError> {
    let calls: Vec<&str> = calls.iter().map(CallId::as_str).collect();
    sqlx::query(
        "UPDATE outbox SET state = 'waiting', returns_at = NULL, taken_by = NULL \
         WHERE state = 'taken' AND call_id = ANY($1)",
    )
    .bind(calls)
    .execute(db)
    .await
    .context("returning outbox entries")?;
    Ok(())
}

/// What an earlier process took.
pub(super) async fn abandon(db: impl PgExecutor<'_>, owner: &InstanceId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE outbox SET state = 'waiting', returns_at = NULL, taken_by = NULL \
         WHERE state = 'taken' AND taken_by = $1",
    )
    .bind(owner.as_str())
    .execute(db)
    .await
    .context("returning outbox entries")?;
    Ok(())
}

pub(super) async fn count(db: &PgPool) -> Result<Vec<QueuedCalls>, StoreError> {
    let rows = sqlx::query(
        "SELECT state, project_id, count(*) AS calls, min(not_before) AS first FROM outbox \
         GROUP BY state, project_id",
    )
    .fetch_all(db)
    .await
    .context("counting queued calls")?;
    Ok(by_project(rows.iter().map(rows::queued_calls).collect::<Result<_, _>>()?))
}

/// How many calls of a project are queued.
pub(super) async fn count_of_project(db: &PgPool, project: &ProjectId) -> Result<u64, StoreError> {
    // The states are named for the sake of the index, which begins with them.
    let calls: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM outbox WHERE state IN ('scheduled', 'waiting', 'taken') AND project_id = $1",
    )
    .bind(project.as_str())
    .fetch_one(db)
    .await
    .context("counting a project's queued calls")?;
    Ok(calls.unsigned_abs())
}

/// A call is put back once for an ended lease: its entry stays until somebody claims it. Of two
/// sweeps at the same time one puts it.
pub(super) async fn sweep(db: impl PgExecutor<'_>, now: Timestamp) -> Result<u64, StoreError> {
    let put = sqlx::query(
        "INSERT INTO outbox (call_id, project_id, state, not_before, priority) \
         SELECT id, project_id, 'waiting', not_before, priority FROM calls \
         WHERE state = 'running' AND lease_until <= $1 \
         AND NOT EXISTS (SELECT 1 FROM outbox WHERE call_id = calls.id) ORDER BY id LIMIT $2 \
         ON CONFLICT (call_id) DO NOTHING",
    )
    .bind(now.0)
    .bind(SWEEP_LIMIT)
    .execute(db)
    .await
    .context("looking for lost calls")?;
    Ok(put.rows_affected())
}
