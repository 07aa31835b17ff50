//! The outbox: every queued call, from its acceptance until it is claimed.
//!
//! Entries that another process is taking or bringing back at the moment are skipped, never waited
//! for.

use picasso_types::{CallId, InstanceId, ProjectId, Timestamp};
use sqlx::{MySql, MySqlConnection, MySqlPool, QueryBuilder};

use crate::call_writes::Acceptance;
use crate::error::Context as _;
use crate::rows::{self, column, outbox_entry, parsed};
use crate::turns::{MAX_PROJECTS, MAX_RETURNED, Turns, by_project};
use crate::{OutboxBatch, OutboxEntry, OutboxTake, QueuedCalls, StoreError};

/// Most calls that one sweep puts back; the next goes on.
const SWEEP_LIMIT: i64 = 1000;
/// Most calls that one statement names.
const NAMED_AT_ONCE: usize = 1000;

/// Puts a call in, as its row says.
pub(super) async fn put(db: &mut MySqlConnection, call_id: &str, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO outbox (call_id, project_id, state, not_before, priority, returns_at) \
         SELECT id, project_id, IF(not_before <= ?, 'waiting', 'scheduled'), not_before, priority, \
         IF(not_before <= ?, NULL, not_before) FROM calls WHERE id = ? \
         ON DUPLICATE KEY UPDATE state = VALUES(state), not_before = VALUES(not_before), \
         priority = VALUES(priority), returns_at = VALUES(returns_at), taken_by = NULL",
    )
    .bind(now.0)
    .bind(now.0)
    .bind(call_id)
    .execute(db)
    .await
    .context("writing the outbox")?;
    Ok(())
}

/// Puts calls in that are stored just now.
pub(super) async fn put_new(
    db: &mut MySqlConnection,
    calls: &[&Acceptance],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut query = QueryBuilder::new(
        "INSERT INTO outbox (call_id, project_id, state, not_before, priority, returns_at) ",
    );
    query.push_values(calls, |mut row, Acceptance { new, .. }| {
        let is_due = new.not_before <= now;
        row.push_bind(new.id.as_str())
            .push_bind(new.project_id.as_str())
            .push_bind(if is_due { "waiting" } else { "scheduled" })
            .push_bind(new.not_before.0)
            .push_bind(i64::from(new.priority))
            .push_bind((!is_due).then_some(new.not_before.0));
    });
    query.build().execute(db).await.context("writing the outbox")?;
    Ok(())
}

/// Whether a take would find or bring back anything.
pub(super) async fn is_anything_due(db: &MySqlPool, now: Timestamp) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM outbox WHERE state = 'waiting') \
         OR EXISTS (SELECT 1 FROM outbox WHERE returns_at <= ?)",
    )
    .bind(now.0)
    .fetch_one(db)
    .await
    .context("looking into the outbox")
}

pub(super) async fn take(
    db: &mut MySqlConnection,
    take: &OutboxTake,
    now: Timestamp,
) -> Result<OutboxBatch, StoreError> {
    let returned = bring_back(&mut *db, now).await?;
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
            sqlx::query_scalar("SELECT count(*) FROM outbox WHERE state = 'taken' AND project_id = ?")
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

/// What is due now, and what was taken in vain, waits.
async fn bring_back(db: &mut MySqlConnection, now: Timestamp) -> Result<u64, StoreError> {
    let rows = sqlx::query(
        "SELECT number FROM outbox WHERE returns_at <= ? ORDER BY returns_at LIMIT ? FOR UPDATE SKIP LOCKED",
    )
    .bind(now.0)
    .bind(i64::from(MAX_RETURNED))
    .fetch_all(&mut *db)
    .await
    .context("bringing back outbox entries")?;
    let numbers: Vec<i64> = rows.iter().map(|row| column(row, "number")).collect::<Result<_, _>>()?;
    if numbers.is_empty() {
        return Ok(0);
    }
    let mut update = QueryBuilder::new(
        "UPDATE outbox SET state = 'waiting', returns_at = NULL, taken_by = NULL WHERE number IN",
    );
    push_list(&mut update, &numbers);
    let updated = update.build().persistent(false).execute(db).await;
    updated.context("bringing back outbox entries")?;
    Ok(numbers.len() as u64)
}

/// The projects with something that waits, from behind `after` once around: one step in the index
/// for each, however much of theirs waits.
async fn projects(db: &mut MySqlConnection, after: Option<&ProjectId>) -> Result<Vec<ProjectId>, StoreError> {
    let start = after.map_or("", ProjectId::as_str);
    let mut projects: Vec<ProjectId> = Vec::new();
    for (from, to) in [(start, None), ("", Some(start))] {
        let mut last = from.to_owned();
        while projects.len() < MAX_PROJECTS as usize {
            let row = sqlx::query(
                "SELECT project_id FROM outbox WHERE state = 'waiting' AND project_id > ? \
                 ORDER BY project_id LIMIT 1",
            )
            .bind(&last)
            .fetch_optional(&mut *db)
            .await
            .context("listing the projects of the outbox")?;
            let Some(row) = row else { break };
            let project = parsed(&row, "project_id", ProjectId::stored)?;
            if to.is_some_and(|to| project.as_str() > to) {
                break;
            }
            project.as_str().clone_into(&mut last);
            projects.push(project);
        }
    }
    Ok(projects)
}

async fn take_of(
    db: &mut MySqlConnection,
    take: &OutboxTake,
    project: &ProjectId,
    limit: u32,
) -> Result<Vec<OutboxEntry>, StoreError> {
    let rows = sqlx::query(
        "SELECT call_id, project_id, priority, number FROM outbox WHERE state = 'waiting' AND project_id = ? \
         ORDER BY priority DESC, not_before, number LIMIT ? FOR UPDATE SKIP LOCKED",
    )
    .bind(project.as_str())
    .bind(i64::from(limit))
    .fetch_all(&mut *db)
    .await
    .context("taking outbox entries")?;
    let numbers: Vec<i64> = rows.iter().map(|row| column(row, "number")).collect::<Result<_, _>>()?;
    for numbers in numbers.chunks(NAMED_AT_ONCE) {
        let mut update = QueryBuilder::new("UPDATE outbox SET state = 'taken', returns_at = ");
        update.push_bind(take.until.0).push(", taken_by = ").push_bind(take.taken_by.as_str());
        push_list(update.push(" WHERE number IN"), numbers);
        let updated = update.build().persistent(false).execute(&mut *db).await;
        updated.context("taking outbox entries")?;
    }
    rows.iter().map(outbox_entry).collect()
}

pub(super) async fn give_back(db: &MySqlPool, calls: &[CallId]) -> Result<(), StoreError> {
    let calls: Vec<&str> = calls.iter().map(CallId::as_str).collect();
    for calls in calls.chunks(NAMED_AT_ONCE) {
        let mut update = QueryBuilder::new(
            "UPDATE outbox SET state = 'waiting', returns_at = NULL, taken_by = NULL \
             WHERE state = 'taken' AND call_id IN",
        );
        push_list(&mut update, calls);
        update.build().persistent(false).execute(db).await.context("returning outbox entries")?;
    }
    Ok(())
}

/// What an earlier process took.
pub(super) async fn abandon(db: &mut MySqlConnection, owner: &InstanceId) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE outbox SET state = 'waiting', returns_at = NULL, taken_by = NULL \
         WHERE state = 'taken' AND taken_by = ?",
    )
    .bind(owner.as_str())
    .execute(db)
    .await
    .context("returning outbox entries")?;
    Ok(())
}

pub(super) async fn remove(db: &mut MySqlConnection, id: &CallId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM outbox WHERE call_id = ?")
        .bind(id.as_str())
        .execute(db)
        .await
        .context("deleting an outbox entry")?;
    Ok(())
}

pub(super) async fn count(db: &MySqlPool) -> Result<Vec<QueuedCalls>, StoreError> {
    let rows = sqlx::query(
        "SELECT state, project_id, count(*) AS calls, min(not_before) AS `first` FROM outbox \
         GROUP BY state, project_id",
    )
    .fetch_all(db)
    .await
    .context("counting queued calls")?;
    Ok(by_project(rows.iter().map(rows::queued_calls).collect::<Result<_, _>>()?))
}

/// How many calls of a project are queued.
pub(super) async fn count_of_project(db: &MySqlPool, project: &ProjectId) -> Result<u64, StoreError> {
    // The states are named for the sake of the index, which begins with them.
    let calls: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM outbox WHERE state IN ('scheduled', 'waiting', 'taken') AND project_id = ?",
    )
    .bind(project.as_str())
    .fetch_one(db)
    .await
    .context("counting a project's queued calls")?;
    Ok(calls.unsigned_abs())
}

/// A call is put back once for an ended lease: its entry stays until somebody claims it. Of two
/// sweeps at the same time one puts it.
pub(super) async fn sweep(db: &MySqlPool, now: Timestamp) -> Result<u64, StoreError> {
    // Looked for without locks first: a search that locks holds what it walks over.
    let found = sqlx::query(
        "SELECT id FROM calls WHERE state = 'running' AND lease_until <= ? \
         AND NOT EXISTS (SELECT 1 FROM outbox WHERE call_id = calls.id) ORDER BY id LIMIT ?",
    )
    .bind(now.0)
    .bind(SWEEP_LIMIT)
    .fetch_all(db)
    .await
    .context("looking for lost calls")?;
    let found: Vec<String> = found.iter().map(|row| column(row, "id")).collect::<Result<_, _>>()?;
    if found.is_empty() {
        return Ok(0);
    }
    let mut put = QueryBuilder::new(
        "INSERT IGNORE INTO outbox (call_id, project_id, state, not_before, priority) \
         SELECT id, project_id, 'waiting', not_before, priority FROM calls WHERE state = 'running' \
         AND lease_until <= ",
    );
    put.push_bind(now.0);
    push_list(put.push(" AND id IN"), &found);
    let put = put.push(" ORDER BY id").build().persistent(false).execute(db).await;
    Ok(put.context("putting lost calls into the outbox")?.rows_affected())
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
