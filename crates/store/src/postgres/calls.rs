//! Calls one at a time: held under a lease, put back, cancelled. What is done to many at once is in
//! `call_batches.rs`.

use picasso_types::{Call, CallId, Failure, InstanceId, RouteId, Timestamp};
use sqlx::{PgConnection, PgExecutor, PgPool};

use super::outbox;
use crate::error::Context as _;
use crate::rows::{call, column, number, to_json};
use crate::{Lease, StoreError};

pub(super) async fn get(db: &PgPool, id: &CallId) -> Result<Call, StoreError> {
    let row = sqlx::query("SELECT * FROM calls WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a call")?;
    call(&row.ok_or(StoreError::NotFound)?)
}

pub(super) async fn extend_lease(
    db: impl PgExecutor<'_>,
    id: &CallId,
    owner: &InstanceId,
    lease_until: Timestamp,
) -> Result<Lease, StoreError> {
    let row = sqlx::query(
        "UPDATE calls SET lease_until = $3 WHERE id = $1 AND state = 'running' AND lease_owner = $2 \
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
    db: &mut PgConnection,
    id: &CallId,
    owner: &InstanceId,
    not_before: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = sqlx::query(
        "UPDATE calls SET state = 'queued', attempt = greatest(attempt - 1, 0), not_before = $3, \
         lease_owner = NULL, lease_until = NULL, started_at = NULL \
         WHERE id = $1 AND state = 'running' AND lease_owner = $2 RETURNING project_id, priority",
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
    db: &mut PgConnection,
    id: &CallId,
    owner: &InstanceId,
    not_before: Timestamp,
    failure: &Failure,
    now: Timestamp,
) -> Result<(), StoreError> {
    let row = sqlx::query(
        "UPDATE calls SET state = 'queued', failed_runs = failed_runs + 1, not_before = $3, failure = $4, \
         lease_owner = NULL, lease_until = NULL, started_at = NULL \
         WHERE id = $1 AND state = 'running' AND lease_owner = $2 RETURNING project_id, priority",
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

/// Ends the waiting calls of a route that is gone.
pub(super) async fn cancel_queued(
    db: &mut PgConnection,
    route: &RouteId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "WITH cancelled AS ( \
             UPDATE calls SET state = 'cancelled', finished_at = $2 \
             WHERE route_id = $1 AND state = 'queued' RETURNING id), \
         body AS (DELETE FROM call_bodies USING cancelled WHERE call_id = cancelled.id) \
         DELETE FROM outbox USING cancelled WHERE call_id = cancelled.id",
    )
    .bind(route.as_str())
    .bind(now.0)
    .execute(db)
    .await
    .context("cancelling a route's calls")?;
    Ok(())
}

pub(super) async fn abandon_leases(
    db: &mut PgConnection,
    owner: &InstanceId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let abandoned = sqlx::query(
        "UPDATE calls SET lease_owner = NULL, lease_until = $2 WHERE state = 'running' AND lease_owner = $1",
    )
    .bind(owner.as_str())
    .bind(now.0)
    .execute(&mut *db)
    .await
    .context("ending abandoned leases")?;
    outbox::abandon(db, owner).await?;
    Ok(abandoned.rows_affected())
}
