//! Calls: accepted, held under a lease, ended.

use picasso_types::{
    Accepted, Call, CallId, CallOutcome, CallState, Failure, InstanceId, NewCall, RouteId, Timestamp,
};
use sqlx::{SqliteConnection, SqlitePool};

use super::{idempotency, outbox, records};
use crate::error::Context as _;
use crate::rows::{call, column, number, to_json};
use crate::sealed_body::{SealedBody, SealedOutput};
use crate::{Lease, StoreError};

/// `NotFound` when the version is gone: its route was deleted meanwhile.
pub(super) async fn accept(
    db: &mut SqliteConnection,
    new: &NewCall,
    body: &SealedBody,
    now: Timestamp,
) -> Result<Accepted, StoreError> {
    if let Some(key) = &new.idempotency
        && let Some(before) = idempotency::find(db, &new.route_id, key, now).await?
    {
        return Ok(before);
    }
    let inserted = sqlx::query(
        "INSERT INTO calls (id, project_id, app_id, route_id, version_id, digest, trigger_kind, \
         call_type, state, request_id, not_before, priority, created_at, queued_at, \
         app_name, route_path, version_number, due_at, delivery, depth) \
         SELECT ?1, ?2, ?3, v.route_id, v.id, v.digest, ?4, ?5, 'queued', ?6, ?7, ?8, ?9, ?9, \
         a.full_name, r.pattern, v.number, ?7, ?12, ?13 \
         FROM route_versions v JOIN routes r ON r.id = v.route_id JOIN apps a ON a.id = r.app_id \
         WHERE v.id = ?10 AND v.route_id = ?11",
    )
    .bind(new.id.as_str())
    .bind(new.project_id.as_str())
    .bind(new.app_id.as_str())
    .bind(new.trigger.as_str())
    .bind(new.call_type.as_str())
    .bind(new.request_id.as_str())
    .bind(new.not_before.0)
    .bind(new.priority)
    .bind(now.0)
    .bind(new.version_id.as_str())
    .bind(new.route_id.as_str())
    .bind(to_json("delivery", &new.delivery)?)
    .bind(new.depth)
    .execute(&mut *db)
    .await
    .context("accepting a call")?;
    if inserted.rows_affected() == 0 {
        return Err(StoreError::NotFound);
    }
    sqlx::query("INSERT INTO call_bodies (call_id, key_id, envelope, payload) VALUES (?1, ?2, ?3, ?4)")
        .bind(new.id.as_str())
        .bind(&body.key_id)
        .bind(&body.envelope)
        .bind(&body.payload)
        .execute(&mut *db)
        .await
        .context("storing a call's body")?;
    if let Some(key) = &new.idempotency {
        idempotency::put(db, &new.route_id, key, &new.id).await?;
    }
    outbox::put(db, new.id.as_str(), new.project_id.as_str(), new.not_before, new.priority, now).await?;
    Ok(Accepted::New)
}

pub(super) async fn get(db: &SqlitePool, id: &CallId) -> Result<Call, StoreError> {
    let row = sqlx::query("SELECT * FROM calls WHERE id = ?1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a call")?;
    call(&row.ok_or(StoreError::NotFound)?)
}

/// The body; `None` once the call has succeeded.
pub(super) async fn get_body(db: &SqlitePool, id: &CallId) -> Result<Option<SealedBody>, StoreError> {
    let row = sqlx::query("SELECT key_id, envelope, payload FROM call_bodies WHERE call_id = ?1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a call's body")?;
    row.as_ref().map(SealedBody::read).transpose()
}

pub(super) async fn claim(
    db: &mut SqliteConnection,
    id: &CallId,
    owner: &InstanceId,
    lease_until: Timestamp,
    now: Timestamp,
) -> Result<Option<Call>, StoreError> {
    let row = sqlx::query(
        "UPDATE calls SET state = 'running', attempt = attempt + 1, lost_runs = lost_runs + (state = 'running'), \
         lease_owner = ?2, node = ?2, lease_until = ?3, started_at = ?4 \
         WHERE id = ?1 AND ((state = 'queued' AND not_before <= ?4) OR (state = 'running' AND lease_until <= ?4)) \
         RETURNING *",
    )
    .bind(id.as_str())
    .bind(owner.as_str())
    .bind(lease_until.0)
    .bind(now.0)
    .fetch_optional(&mut *db)
    .await
    .context("claiming a call")?;
    let Some(row) = row else { return Ok(None) };
    outbox::remove(db, id).await?;
    call(&row).map(Some)
}

pub(super) async fn extend_lease(
    db: &mut SqliteConnection,
    id: &CallId,
    owner: &InstanceId,
    lease_until: Timestamp,
) -> Result<Lease, StoreError> {
    let row = sqlx::query(
        "UPDATE calls SET lease_until = ?3 WHERE id = ?1 AND state = 'running' AND lease_owner = ?2 \
         RETURNING cancel_requested",
    )
    .bind(id.as_str())
    .bind(owner.as_str())
    .bind(lease_until.0)
    .fetch_optional(db)
    .await
    .context("extending a lease")?;
    let Some(row) = row else { return Ok(Lease::Lost) };
    Ok(if column(&row, "cancel_requested")? { Lease::CancelRequested } else { Lease::Held })
}

/// `NotFound` when `owner` does not hold the call.
pub(super) async fn release(
    db: &mut SqliteConnection,
    id: &CallId,
    owner: &InstanceId,
    not_before: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = sqlx::query(
        "UPDATE calls SET state = 'queued', attempt = max(attempt - 1, 0), not_before = ?3, \
         lease_owner = NULL, lease_until = NULL, started_at = NULL \
         WHERE id = ?1 AND state = 'running' AND lease_owner = ?2 RETURNING project_id, priority",
    )
    .bind(id.as_str())
    .bind(owner.as_str())
    .bind(not_before.0)
    .fetch_optional(&mut *db)
    .await
    .context("releasing a call")?;
    let row = row.ok_or(StoreError::NotFound)?;
    let (project, priority) = (column(&row, "project_id")?, number(&row, "priority")?);
    outbox::put(db, id.as_str(), project, not_before, priority, now).await
}

/// `NotFound` when `owner` does not hold the call.
pub(super) async fn repeat(
    db: &mut SqliteConnection,
    id: &CallId,
    owner: &InstanceId,
    not_before: Timestamp,
    failure: &Failure,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = sqlx::query(
        "UPDATE calls SET state = 'queued', failed_runs = failed_runs + 1, not_before = ?3, failure = ?4, \
         lease_owner = NULL, lease_until = NULL, started_at = NULL \
         WHERE id = ?1 AND state = 'running' AND lease_owner = ?2 RETURNING project_id, priority",
    )
    .bind(id.as_str())
    .bind(owner.as_str())
    .bind(not_before.0)
    .bind(to_json("failure", failure)?)
    .fetch_optional(&mut *db)
    .await
    .context("repeating a call")?;
    let row = row.ok_or(StoreError::NotFound)?;
    let (project, priority) = (column(&row, "project_id")?, number(&row, "priority")?);
    outbox::put(db, id.as_str(), project, not_before, priority, now).await
}

pub(super) async fn finish(
    db: &mut SqliteConnection,
    id: &CallId,
    owner: &InstanceId,
    outcome: &CallOutcome,
    output: Option<&SealedOutput>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let failure = outcome.failure.as_ref().map(|failure| to_json("failure", failure)).transpose()?;
    let peak = outcome.memory_peak_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let held = sqlx::query(
        "UPDATE calls SET state = ?3, failure = ?4, exit_code = ?5, memory_peak_bytes = ?6, \
         finished_at = ?7, http_status = ?8, cold_start = ?9, lease_owner = NULL, lease_until = NULL \
         WHERE id = ?1 AND state = 'running' AND lease_owner = ?2",
    )
    .bind(id.as_str())
    .bind(owner.as_str())
    .bind(outcome.state.as_str())
    .bind(failure)
    .bind(outcome.exit_code)
    .bind(peak)
    .bind(now.0)
    .bind(outcome.http_status)
    .bind(outcome.cold_start)
    .execute(&mut *db)
    .await
    .context("ending a call")?;
    if held.rows_affected() == 0 {
        return Ok(false);
    }
    if outcome.state == CallState::Succeeded {
        sqlx::query("DELETE FROM call_bodies WHERE call_id = ?1")
            .bind(id.as_str())
            .execute(&mut *db)
            .await
            .context("deleting a call's body")?;
    }
    if let Some(output) = output {
        records::put_output(&mut *db, id, output).await?;
    }
    outbox::remove(db, id).await?;
    Ok(true)
}

/// Ends the waiting calls of a route that is gone.
pub(super) async fn cancel_queued(
    db: &mut SqliteConnection,
    route: &RouteId,
    now: Timestamp,
) -> Result<(), StoreError> {
    for delete in [
        "DELETE FROM call_bodies WHERE call_id IN (SELECT id FROM calls WHERE route_id = ?1 AND state = 'queued')",
        "DELETE FROM outbox WHERE call_id IN (SELECT id FROM calls WHERE route_id = ?1 AND state = 'queued')",
    ] {
        sqlx::query(delete)
            .bind(route.as_str())
            .execute(&mut *db)
            .await
            .context("deleting the bodies of cancelled calls")?;
    }
    sqlx::query(
        "UPDATE calls SET state = 'cancelled', finished_at = ?2 WHERE route_id = ?1 AND state = 'queued'",
    )
    .bind(route.as_str())
    .bind(now.0)
    .execute(db)
    .await
    .context("cancelling a route's calls")?;
    Ok(())
}

pub(super) async fn abandon_leases(
    db: &mut SqliteConnection,
    owner: &InstanceId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let abandoned = sqlx::query(
        "UPDATE calls SET lease_owner = NULL, lease_until = ?2 WHERE state = 'running' AND lease_owner = ?1",
    )
    .bind(owner.as_str())
    .bind(now.0)
    .execute(&mut *db)
    .await
    .context("ending abandoned leases")?;
    outbox::abandon(db, owner).await?;
    Ok(abandoned.rows_affected())
}
