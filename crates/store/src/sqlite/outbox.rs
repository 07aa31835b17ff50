//! The outbox: every queued call, from its acceptance until it is claimed.

use picasso_types::{InstanceId, NewCall, ProjectId, Timestamp};
use sqlx::{QueryBuilder, SqliteConnection, SqlitePool};

use crate::error::Context as _;
use crate::rows::{self, outbox_entry, parsed};
use crate::turns::{MAX_PROJECTS, MAX_RETURNED, Turns, by_project};
use crate::{OutboxBatch, OutboxEntry, OutboxTake, QueuedCalls, StoreError};

/// Most calls that one sweep puts back, so that it holds the writer briefly; the next goes on.
const SWEEP_LIMIT: i64 = 1000;

/// A call that is to wait for its turn.
pub(super) struct Entry<'a> {
    pub(super) call_id: &'a str,
    pub(super) project_id: &'a str,
    pub(super) not_before: Timestamp,
    pub(super) priority: u8,
}

impl<'a> Entry<'a> {
    pub(super) fn of(new: &'a NewCall) -> Self {
        Self {
            call_id: new.id.as_str(),
            project_id: new.project_id.as_str(),
            not_before: new.not_before,
            priority: new.priority,
        }
    }
}

/// Puts calls in.
pub(super) async fn put(
    db: &mut SqliteConnection,
    entries: &[Entry<'_>],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut query = QueryBuilder::new(
        "INSERT INTO outbox (call_id, project_id, state, not_before, priority, returns_at) ",
    );
    query.push_values(entries, |mut row, entry| {
        let is_due = entry.not_before <= now;
        row.push_bind(entry.call_id)
            .push_bind(entry.project_id)
            .push_bind(if is_due { "waiting" } else { "scheduled" })
            .push_bind(entry.not_before.0)
            .push_bind(entry.priority)
            .push_bind((!is_due).then_some(entry.not_before.0));
    });
    query.push(
        " ON CONFLICT (call_id) DO UPDATE SET state = excluded.state, not_before = excluded.not_before, \
         priority = excluded.priority, returns_at = excluded.returns_at, taken_by = NULL",
    );
    query.build().execute(db).await.context("writing the outbox")?;
    Ok(())
}

/// Whether a take would find or bring back anything: asked by a reader, so that a look at an empty
/// outbox does not wait for the writer.
pub(super) async fn is_anything_due(db: &SqlitePool, now: Timestamp) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM outbox WHERE state = 'waiting') \
         OR EXISTS (SELECT 1 FROM outbox WHERE returns_at <= ?1)",
    )
    .bind(now.0)
    .fetch_one(db)
    .await
    .context("looking into the outbox")
}

pub(super) async fn take(
    db: &mut SqliteConnection,
    take: &OutboxTake,
    now: Timestamp,
) -> Result<OutboxBatch, StoreError> {
    let returned = sqlx::query(
        "UPDATE outbox SET state = 'waiting', returns_at = NULL, taken_by = NULL WHERE number IN \
         (SELECT number FROM outbox WHERE returns_at <= ?1 ORDER BY returns_at LIMIT ?2)",
    )
    .bind(now.0)
    .bind(MAX_RETURNED)
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
        let taken: u32 =
            sqlx::query_scalar("SELECT count(*) FROM outbox WHERE state = 'taken' AND project_id = ?1")
                .bind(project.as_str())
                .fetch_one(&mut *db)
                .await
                .context("counting taken outbox entries")?;
        let room = turns.room(wanted, taken);
        if room > 0 {
            let entries = take_of(&mut *db, take, &project, turns.allowed(room)).await?;
            turns.took(entries, room);
        }
    }
    Ok(turns.end())
}

/// The projects with something that waits, from behind `after` once around: one step in the index
/// for each, however much of theirs waits.
async fn projects(
    db: &mut SqliteConnection,
    after: Option<&ProjectId>,
) -> Result<Vec<ProjectId>, StoreError> {
    let after = after.map_or("", ProjectId::as_str);
    let rows = sqlx::query(
        "WITH RECURSIVE \
         behind (project_id) AS ( \
             SELECT (SELECT project_id FROM outbox WHERE state = 'waiting' AND project_id > ?1 \
                 ORDER BY project_id LIMIT 1) \
             UNION ALL \
             SELECT (SELECT o.project_id FROM outbox o WHERE o.state = 'waiting' \
                 AND o.project_id > behind.project_id ORDER BY o.project_id LIMIT 1) \
             FROM behind WHERE behind.project_id IS NOT NULL LIMIT ?2), \
         before (project_id) AS ( \
             SELECT (SELECT project_id FROM outbox WHERE state = 'waiting' AND project_id <= ?1 \
                 ORDER BY project_id LIMIT 1) \
             UNION ALL \
             SELECT (SELECT o.project_id FROM outbox o WHERE o.state = 'waiting' \
                 AND o.project_id > before.project_id AND o.project_id <= ?1 ORDER BY o.project_id LIMIT 1) \
             FROM before WHERE before.project_id IS NOT NULL LIMIT ?2) \
         SELECT project_id FROM (SELECT 0 AS around, project_id FROM behind \
             UNION ALL SELECT 1, project_id FROM before) \
         WHERE project_id IS NOT NULL ORDER BY around, project_id LIMIT ?2",
    )
    .bind(after)
    .bind(MAX_PROJECTS)
    .fetch_all(db)
    .await
    .context("listing the projects of the outbox")?;
    rows.iter().map(|row| parsed(row, "project_id", ProjectId::stored)).collect()
}

async fn take_of(
    db: &mut SqliteConnection,
    take: &OutboxTake,
    project: &ProjectId,
    limit: u32,
) -> Result<Vec<OutboxEntry>, StoreError> {
    let mut rows = sqlx::query(
        "UPDATE outbox SET state = 'taken', returns_at = ?3, taken_by = ?4 WHERE number IN \
         (SELECT number FROM outbox WHERE state = 'waiting' AND project_id = ?1 \
         ORDER BY priority DESC, not_before, number LIMIT ?2) \
         RETURNING call_id, project_id, priority, not_before, number",
    )
    .bind(project.as_str())
    .bind(limit)
    .bind(take.until.0)
    .bind(take.taken_by.as_str())
    .fetch_all(db)
    .await
    .context("taking outbox entries")?;
    // RETURNING has no order.
    rows.sort_by_cached_key(rows::outbox_order);
    rows.iter().map(outbox_entry).collect()
}

/// `calls` is a JSON list.
pub(super) async fn give_back(db: &mut SqliteConnection, calls: &str) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE outbox SET state = 'waiting', returns_at = NULL, taken_by = NULL \
         WHERE state = 'taken' AND call_id IN (SELECT value FROM json_each(?1))",
    )
    .bind(calls)
    .execute(db)
    .await
    .context("returning outbox entries")?;
    Ok(())
}

/// What an earlier process took.
pub(super) async fn abandon(db: &mut SqliteConnection, owner: &InstanceId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE outbox SET state = 'waiting', returns_at = NULL, taken_by = NULL \
         WHERE state = 'taken' AND taken_by = ?1",
    )
    .bind(owner.as_str())
    .execute(db)
    .await
    .context("returning outbox entries")?;
    Ok(())
}

/// `calls` is a JSON list.
pub(super) async fn remove(db: &mut SqliteConnection, calls: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM outbox WHERE call_id IN (SELECT value FROM json_each(?1))")
        .bind(calls)
        .execute(db)
        .await
        .context("deleting outbox entries")?;
    Ok(())
}

pub(super) async fn count(db: &SqlitePool) -> Result<Vec<QueuedCalls>, StoreError> {
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
pub(super) async fn count_of_project(db: &SqlitePool, project: &ProjectId) -> Result<u64, StoreError> {
    // The states are named for the sake of the index, which begins with them.
    let calls: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM outbox WHERE state IN ('scheduled', 'waiting', 'taken') AND project_id = ?1",
    )
    .bind(project.as_str())
    .fetch_one(db)
    .await
    .context("counting a project's queued calls")?;
    Ok(calls.unsigned_abs())
}

/// A call is put back once for an ended lease: its entry stays until somebody claims it.
pub(super) async fn sweep(db: &mut SqliteConnection, now: Timestamp) -> Result<u64, StoreError> {
    let put = sqlx::query(
        "INSERT INTO outbox (call_id, project_id, state, not_before, priority) \
         SELECT id, project_id, 'waiting', not_before, priority FROM calls \
         WHERE state = 'running' AND lease_until <= ?1 \
         AND NOT EXISTS (SELECT 1 FROM outbox WHERE call_id = calls.id) ORDER BY id LIMIT ?2",
    )
    .bind(now.0)
    .bind(SWEEP_LIMIT)
    .execute(db)
    .await
    .context("looking for lost calls")?;
    Ok(put.rows_affected())
}
