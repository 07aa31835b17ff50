//! Calls one at a time: held under a lease, put back, cancelled. What is done to many at once is in
//! `call_batches.rs`.

use picasso_types::{Call, CallId, Failure, InstanceId, RouteId, Timestamp};
use sqlx::{MySqlConnection, MySqlPool};

use super::outbox;
use crate::error::Context as _;
use crate::rows::{call, column, to_json};
use crate::{Lease, StoreError};

pub(super) async fn get(db: &MySqlPool, id: &CallId) -> Result<Call, StoreError> {
    let row = sqlx::query("SELECT * FROM calls WHERE id = ?")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a call")?;
    call(&row.ok_or(StoreError::NotFound)?)
}

pub(super) async fn extend_lease(
    db: &MySqlPool,
    id: &CallId,
    owner: &InstanceId,
    lease_until: Timestamp,
) -> Result<Lease, StoreError> {
    let extended = sqlx::query(
        "UPDATE calls SET lease_until = ? WHERE id = ? AND state = 'running' AND lease_owner = ?",
    )
    .bind(lease_until.0)
    .bind(id.as_str())
    .bind(owner.as_str())
    .execute(db)
    .await
    .context("extending a lease")?;
    if extended.rows_affected() == 0 {
        return Ok(Lease::Lost);
    }
    let row = sqlx::query("SELECT cancel_requested FROM calls WHERE id = ?")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("looking whether a call is cancelled")?;
    let Some(row) = row else { return Ok(Lease::Lost) };
    Ok(if column(&row, "cancel_requested")? { Lease::CancelRequested } else { Lease::Held })
}

/// `NotFound` when `owner` does not hold the call.
pub(super) async fn release(
    db: &mut MySqlConnection,
    id: &CallId,
    owner: &InstanceId,
    not_before: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let released = sqlx::query(
        "UPDATE calls SET state = 'queued', attempt = greatest(attempt - 1, 0), not_before = ?, \
         lease_owner = NULL, lease_until = NULL, started_at = NULL \
         WHERE id = ? AND state = 'running' AND lease_owner = ?",
    )
    .bind(not_before.0)
    .bind(id.as_str())
    .bind(owner.as_str())
    .execute(&mut *db)
    .await
    .context("releasing a call")?;
    if released.rows_affected() == 0 {
        return Err(StoreError::NotFound);
    }
    outbox::put(db, id.as_str(), now).await
}

/// `NotFound` when `owner` does not hold the call.
pub(super) async fn repeat(
    db: &mut MySqlConnection,
    id: &CallId,
    owner: &InstanceId,
    not_before: Timestamp,
    failure: &Failure,
    now: Timestamp,
) -> Result<(), StoreError> {
    let repeated = sqlx::query(
        "UPDATE calls SET state = 'queued', failed_runs = failed_runs + 1, not_before = ?, failure = ?, \
         lease_owner = NULL, lease_until = NULL, started_at = NULL \
         WHERE id = ? AND state = 'running' AND lease_owner = ?",
    )
    .bind(not_before.0)
    .bind(to_json("failure", failure)?)
    .bind(id.as_str())
    .bind(owner.as_str())
    .execute(&mut *db)
    .await
    .context("repeating a call")?;
    if repeated.rows_affected() == 0 {
        return Err(StoreError::NotFound);
    }
    outbox::put(db, id.as_str(), now).await
}

/// Ends the waiting calls of a route that is gone.
pub(super) async fn cancel_queued(
    db: &mut MySqlConnection,
    route: &RouteId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE calls SET state = 'cancelled', finished_at = ? WHERE route_id = ? AND state = 'queued'",
    )
    .bind(now.0)
    .bind(route.as_str())
    .execute(&mut *db)
    .await
    .context("cancelling a route's calls")?;
    // Nobody can retry a call whose route is gone, whoever cancelled it.
    for deletion in [
        "DELETE b FROM call_bodies b JOIN calls c ON c.id = b.call_id \
         WHERE c.route_id = ? AND c.state = 'cancelled' AND c.finished_at = ?",
        "DELETE o FROM outbox o JOIN calls c ON c.id = o.call_id \
         WHERE c.route_id = ? AND c.state = 'cancelled' AND c.finished_at = ?",
    ] {
        sqlx::query(deletion)
            .bind(route.as_str())
            .bind(now.0)
            .execute(&mut *db)
            .await
            .context("deleting what cancelled calls leave")?;
    }
    Ok(())
}

pub(super) async fn abandon_leases(
    db: &mut MySqlConnection,
    owner: &InstanceId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let abandoned = sqlx::query(
        "UPDATE calls SET lease_owner = NULL, lease_until = ? WHERE state = 'running' AND lease_owner = ?",
    )
    .bind(now.0)
    .bind(owner.as_str())
    .execute(&mut *db)
    .await
    .context("ending abandoned leases")?;
    outbox::abandon(db, owner).await?;
    Ok(abandoned.rows_affected())
}
