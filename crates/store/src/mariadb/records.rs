//! Calls as their owners see them: lists, outputs, cancelling, retrying, records of synchronous
//! calls, and the end of it all.

use picasso_types::{
    Call, CallFilter, CallId, CallOutput, CallState, Cancelled, ProjectId, Retried, RetriedCalls, Timestamp,
};
use sqlx::{MySql, MySqlConnection, MySqlPool, QueryBuilder};

use super::{changes, objects, outbox};
use crate::error::Context as _;
use crate::rows::{self, Ended, call, parsed, to_json};
use crate::sealed_body::SealedOutput;
use crate::{SecretKey, StoreError};

/// A statement takes 65,535 values; this is far from it.
const RECORDS_PER_STATEMENT: usize = 500;

pub(super) async fn get_output(
    db: &MySqlPool,
    key: &SecretKey,
    id: &CallId,
) -> Result<Option<CallOutput>, StoreError> {
    let row = sqlx::query("SELECT key_id, result, log FROM call_outputs WHERE call_id = ?")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a call's output")?;
    row.map(|row| SealedOutput::read(&row)?.open(key, id)).transpose()
}

pub(super) async fn list(db: &MySqlPool, filter: &CallFilter) -> Result<Vec<Call>, StoreError> {
    let mut query = QueryBuilder::new("SELECT * FROM calls WHERE ");
    push_filter(&mut query, filter);
    if let Some((created_at, id)) = &filter.after {
        // Not as a pair: the server would not use its index for it.
        query.push(" AND created_at <= ").push_bind(created_at.0);
        query.push(" AND (created_at < ").push_bind(created_at.0);
        query.push(" OR id < ").push_bind(id.as_str()).push(")");
    }
    query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(i64::from(filter.limit));
    let rows = query.build().fetch_all(db).await.context("listing calls")?;
    rows.iter().map(call).collect()
}

/// What the filter says of a call, but not where its list goes on.
fn push_filter(query: &mut QueryBuilder<MySql>, filter: &CallFilter) {
    query.push("project_id = ").push_bind(filter.project_id.as_str());
    if let Some(app) = &filter.app_name {
        query.push(" AND app_name = ").push_bind(app);
    }
    if let Some(route) = &filter.route_path {
        query.push(" AND route_path = ").push_bind(route);
    }
    if let Some(state) = filter.state {
        query.push(" AND state = ").push_bind(state.as_str());
    }
    if let Some(since) = filter.since {
        query.push(" AND created_at >= ").push_bind(since.0);
    }
}

pub(super) async fn cancel(
    db: &mut MySqlConnection,
    project: &ProjectId,
    id: &CallId,
    now: Timestamp,
) -> Result<Cancelled, StoreError> {
    let state = hold(db, project, id).await?;
    if state.is_final() {
        return Ok(Cancelled::Finished(state));
    }
    // Assignments see the ones before them.
    sqlx::query(
        "UPDATE calls SET cancel_requested = true, finished_at = CASE state WHEN 'queued' THEN ? END, \
         state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END WHERE id = ?",
    )
    .bind(now.0)
    .bind(id.as_str())
    .execute(&mut *db)
    .await
    .context("cancelling a call")?;
    if state == CallState::Running {
        changes::note_cancelled(db, id, now).await?;
        return Ok(Cancelled::Running);
    }
    outbox::remove(db, id).await?;
    Ok(Cancelled::Queued)
}

pub(super) async fn retry(
    db: &mut MySqlConnection,
    project: &ProjectId,
    id: &CallId,
    now: Timestamp,
) -> Result<Retried, StoreError> {
    match hold(db, project, id).await? {
        CallState::Succeeded => return Ok(Retried::Succeeded),
        state if !state.is_final() => return Ok(Retried::NotFinished(state)),
        _ => {}
    }
    let retried = sqlx::query(
        "UPDATE calls SET state = 'queued', not_before = ?, due_at = ?, queued_at = ?, \
         lost_runs = 0, failed_runs = 0, cancel_requested = false, started_at = NULL, finished_at = NULL, failure = NULL, \
         exit_code = NULL, http_status = NULL, cold_start = NULL, memory_peak_bytes = NULL \
         WHERE id = ? AND EXISTS (SELECT 1 FROM call_bodies WHERE call_id = calls.id)",
    )
    .bind(now.0)
    .bind(now.0)
    .bind(now.0)
    .bind(id.as_str())
    .execute(&mut *db)
    .await
    .context("retrying a call")?;
    if retried.rows_affected() == 0 {
        return Ok(Retried::NoBody);
    }
    objects::delete_output(db, id).await?;
    outbox::put(db, id.as_str(), now).await?;
    Ok(Retried::Queued)
}

pub(super) async fn retry_all(
    db: &mut MySqlConnection,
    filter: &CallFilter,
    now: Timestamp,
) -> Result<RetriedCalls, StoreError> {
    let mut query = QueryBuilder::new("SELECT id FROM calls WHERE ");
    push_filter(&mut query, filter);
    query.push(
        " AND state IN ('failed', 'timed_out', 'cancelled', 'dead') \
         AND EXISTS (SELECT 1 FROM call_bodies WHERE call_id = calls.id) ORDER BY created_at, id LIMIT ",
    );
    query.push_bind(i64::from(filter.limit) + 1);
    let rows = query.build().fetch_all(&mut *db).await.context("looking for calls to retry")?;
    let mut queued = 0;
    for row in rows.iter().take(filter.limit as usize) {
        let id = parsed(row, "id", CallId::parse)?;
        if retry(db, &filter.project_id, &id, now).await? == Retried::Queued {
            queued += 1;
        }
    }
    Ok(RetriedCalls { queued, more: rows.len() > filter.limit as usize })
}

/// Holds a call of the project until the transaction ends, and says how far it is.
async fn hold(db: &mut MySqlConnection, project: &ProjectId, id: &CallId) -> Result<CallState, StoreError> {
    let row = sqlx::query("SELECT state FROM calls WHERE id = ? AND project_id = ? FOR UPDATE")
        .bind(id.as_str())
        .bind(project.as_str())
        .fetch_optional(db)
        .await
        .context("loading a call's state")?;
    parsed(&row.ok_or(StoreError::NotFound)?, "state", CallState::parse)
}

pub(super) async fn record(db: &mut MySqlConnection, ended: &[Call]) -> Result<(), StoreError> {
    for calls in ended.chunks(RECORDS_PER_STATEMENT) {
        let mut failures = Vec::with_capacity(calls.len());
        for call in calls {
            failures.push(call.failure.as_ref().map(|failure| to_json("failure", failure)).transpose()?);
        }
        let mut query = QueryBuilder::new(
            "INSERT INTO calls (id, project_id, app_id, route_id, version_id, app_name, route_path, \
             version_number, trigger_kind, call_type, state, request_id, attempt, not_before, priority, \
             node, created_at, queued_at, started_at, finished_at, failure, exit_code, \
             http_status, cold_start, memory_peak_bytes, due_at, depth) ",
        );
        query.push_values(calls.iter().zip(failures), |mut row, (call, failure)| {
            let peak = call.memory_peak_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
            row.push_bind(call.id.as_str())
                .push_bind(call.project_id.as_str())
                .push_bind(call.app_id.as_str())
                .push_bind(call.route_id.as_str())
                .push_bind(call.version_id.as_str())
                .push_bind(&call.app_name)
                .push_bind(&call.route_path)
                .push_bind(i64::from(call.version_number))
                .push_bind(call.trigger.as_str())
                .push_bind(call.call_type.as_str())
                .push_bind(call.state.as_str())
                .push_bind(&call.request_id)
                .push_bind(i64::from(call.attempt))
                .push_bind(call.not_before.0)
                .push_bind(i64::from(call.priority))
                .push_bind(&call.node)
                .push_bind(call.created_at.0)
                .push_bind(call.queued_at.0)
                .push_bind(call.started_at.map(|time| time.0))
                .push_bind(call.finished_at.map(|time| time.0))
                .push_bind(failure)
                .push_bind(call.exit_code.map(i64::from))
                .push_bind(call.http_status.map(i64::from))
                .push_bind(call.cold_start)
                .push_bind(peak)
                .push_bind(call.due_at.0)
                .push_bind(i64::from(call.depth));
        });
        query.push(" ON DUPLICATE KEY UPDATE id = calls.id");
        query.build().persistent(false).execute(&mut *db).await.context("recording calls")?;
    }
    Ok(())
}

/// What [`delete_ended`] looks at.
pub(super) async fn count_ended(db: &MySqlPool) -> Result<Vec<Ended>, StoreError> {
    let rows = sqlx::query(
        "SELECT project_id, count(*) AS calls, min(finished_at) AS `first` FROM calls \
         WHERE finished_at IS NOT NULL GROUP BY project_id",
    )
    .fetch_all(db)
    .await
    .context("counting ended calls")?;
    rows.iter().map(rows::ended).collect()
}

/// A call stays until its deliveries have ended.
pub(super) async fn delete_ended(
    db: &mut MySqlConnection,
    ended: &[Ended],
    before: Timestamp,
    max_per_project: u32,
    limit: u32,
) -> Result<u64, StoreError> {
    let mut deleted = 0;
    for Ended { project, calls, first } in ended {
        let left = i64::from(limit).saturating_sub(i64::try_from(deleted).unwrap_or(i64::MAX));
        let beyond = (calls - i64::from(max_per_project)).max(0);
        if left == 0 || (*first >= before && beyond == 0) {
            continue;
        }
        let old = sqlx::query(
            "DELETE FROM calls WHERE project_id = ? AND finished_at IS NOT NULL AND finished_at < ? \
             AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.call_id = calls.id AND d.state = 'waiting') \
             ORDER BY finished_at LIMIT ?",
        )
        .bind(project)
        .bind(before.0)
        .bind(left)
        .execute(&mut *db)
        .await
        .context("deleting old calls")?
        .rows_affected();
        deleted += old;
        let old = i64::try_from(old).unwrap_or(i64::MAX);
        let beyond = sqlx::query(
            "DELETE FROM calls WHERE project_id = ? AND finished_at IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.call_id = calls.id AND d.state = 'waiting') \
             ORDER BY finished_at LIMIT ?",
        )
        .bind(project)
        .bind((beyond - old).clamp(0, left - old))
        .execute(&mut *db)
        .await
        .context("deleting calls beyond the bound")?;
        deleted += beyond.rows_affected();
    }
    Ok(deleted)
}
