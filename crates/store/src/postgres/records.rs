//! Calls as their owners see them: lists, outputs, cancelling, retrying, records of synchronous
//! calls, and the end of it all.

use picasso_types::{
    Call, CallFilter, CallId, CallOutput, CallState, Cancelled, ProjectId, Retried, RetriedCalls, Timestamp,
};
use sqlx::{PgConnection, PgPool, QueryBuilder};

use super::{changes, objects, outbox};
use crate::error::Context as _;
use crate::rows::{self, Ended, call, number, parsed, to_json};
use crate::sealed_body::SealedOutput;
use crate::{SecretKey, StoreError};

/// A statement takes 65,535 values; this is far from it.
const RECORDS_PER_STATEMENT: usize = 500;

pub(super) async fn get_output(
    db: &PgPool,
    key: &SecretKey,
    id: &CallId,
) -> Result<Option<CallOutput>, StoreError> {
    let row = sqlx::query("SELECT key_id, result, log FROM call_outputs WHERE call_id = $1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a call's output")?;
    row.map(|row| SealedOutput::read(&row)?.open(key, id)).transpose()
}

pub(super) async fn list(db: &PgPool, filter: &CallFilter) -> Result<Vec<Call>, StoreError> {
    if cannot_be_found(filter) {
        return Ok(Vec::new());
    }
    let mut query = QueryBuilder::new("SELECT * FROM calls WHERE ");
    push_filter(&mut query, filter);
    if let Some((created_at, id)) = &filter.after {
        query.push(" AND (created_at, id) < (").push_bind(created_at.0);
        query.push(", ").push_bind(id.as_str()).push(")");
    }
    query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(i64::from(filter.limit));
    let rows = query.build().fetch_all(db).await.context("listing calls")?;
    rows.iter().map(call).collect()
}

/// PostgreSQL refuses to look for what it cannot hold.
fn cannot_be_found(filter: &CallFilter) -> bool {
    [&filter.app_name, &filter.route_path].into_iter().flatten().any(|text| text.contains('\0'))
}

/// What the filter says of a call, but not where its list goes on.
fn push_filter(query: &mut QueryBuilder<sqlx::Postgres>, filter: &CallFilter) {
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
    db: &mut PgConnection,
    project: &ProjectId,
    id: &CallId,
    now: Timestamp,
) -> Result<Cancelled, StoreError> {
    let row = sqlx::query(
        "UPDATE calls SET cancel_requested = true, \
         finished_at = CASE state WHEN 'queued' THEN $3 END, \
         state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END \
         WHERE id = $1 AND project_id = $2 AND state IN ('queued', 'running') RETURNING state",
    )
    .bind(id.as_str())
    .bind(project.as_str())
    .bind(now.0)
    .fetch_optional(&mut *db)
    .await
    .context("cancelling a call")?;
    let Some(row) = row else { return state_of(db, project, id).await.map(Cancelled::Finished) };
    if parsed(&row, "state", CallState::parse)? == CallState::Running {
        changes::note_cancelled(db, id, now).await?;
        return Ok(Cancelled::Running);
    }
    sqlx::query("DELETE FROM outbox WHERE call_id = $1")
        .bind(id.as_str())
        .execute(db)
        .await
        .context("deleting a cancelled call's outbox entry")?;
    Ok(Cancelled::Queued)
}

pub(super) async fn retry(
    db: &mut PgConnection,
    project: &ProjectId,
    id: &CallId,
    now: Timestamp,
) -> Result<Retried, StoreError> {
    let row = sqlx::query(
        "UPDATE calls SET state = 'queued', not_before = $3, due_at = $3, queued_at = $3, \
         lost_runs = 0, failed_runs = 0, cancel_requested = false, started_at = NULL, finished_at = NULL, failure = NULL, \
         exit_code = NULL, http_status = NULL, cold_start = NULL, memory_peak_bytes = NULL \
         WHERE id = $1 AND project_id = $2 AND state IN ('failed', 'timed_out', 'cancelled', 'dead') \
         AND EXISTS (SELECT 1 FROM call_bodies WHERE call_id = $1) RETURNING priority",
    )
    .bind(id.as_str())
    .bind(project.as_str())
    .bind(now.0)
    .fetch_optional(&mut *db)
    .await
    .context("retrying a call")?;
    let Some(row) = row else {
        return Ok(match state_of(db, project, id).await? {
            CallState::Succeeded => Retried::Succeeded,
            state if state.is_final() => Retried::NoBody,
            state => Retried::NotFinished(state),
        });
    };
    objects::delete_output(db, id).await?;
    outbox::put(db, id.as_str(), project.as_str(), now, number(&row, "priority")?, now).await?;
    Ok(Retried::Queued)
}

pub(super) async fn retry_all(
    db: &mut PgConnection,
    filter: &CallFilter,
    now: Timestamp,
) -> Result<RetriedCalls, StoreError> {
    if cannot_be_found(filter) {
        return Ok(RetriedCalls { queued: 0, more: false });
    }
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

async fn state_of(db: &mut PgConnection, project: &ProjectId, id: &CallId) -> Result<CallState, StoreError> {
    let row = sqlx::query("SELECT state FROM calls WHERE id = $1 AND project_id = $2")
        .bind(id.as_str())
        .bind(project.as_str())
        .fetch_optional(db)
        .await
        .context("loading a call's state")?;
    parsed(&row.ok_or(StoreError::NotFound)?, "state", CallState::parse)
}

pub(super) async fn record(db: &mut PgConnection, ended: &[Call]) -> Result<(), StoreError> {
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
        query.push(" ON CONFLICT (id) DO NOTHING");
        query.build().execute(&mut *db).await.context("recording calls")?;
    }
    Ok(())
}

/// What [`delete_ended`] looks at.
pub(super) async fn count_ended(db: &PgPool) -> Result<Vec<Ended>, StoreError> {
    let rows = sqlx::query(
        "SELECT project_id, count(*) AS calls, min(finished_at) AS first FROM calls \
         WHERE finished_at IS NOT NULL GROUP BY project_id",
    )
    .fetch_all(db)
    .await
    .context("counting ended calls")?;
    rows.iter().map(rows::ended).collect()
}

/// A call stays until its deliveries have ended.
pub(super) async fn delete_ended(
    db: &mut PgConnection,
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
            "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE project_id = $1 \
             AND finished_at IS NOT NULL AND finished_at < $2 \
             AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.call_id = calls.id AND d.state = 'waiting') \
             ORDER BY finished_at LIMIT $3)",
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
            "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE project_id = $1 \
             AND finished_at IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.call_id = calls.id AND d.state = 'waiting') \
             ORDER BY finished_at LIMIT $2)",
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
