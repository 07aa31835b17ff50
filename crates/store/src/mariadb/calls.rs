//! Calls: accepted, held under a lease, ended.

use picasso_types::{
    Accepted, Call, CallId, CallOutcome, CallState, Failure, IdempotencyKey, InstanceId, NewCall, RouteId,
    Timestamp,
};
use sqlx::{Acquire, MySql, MySqlConnection, MySqlPool};

use super::{idempotency, outbox};
use crate::error::Context as _;
use crate::rows::{call, column, to_json};
use crate::sealed_body::{SealedBody, SealedOutput};
use crate::sealed_delivery::SealedDelivery;
use crate::{Lease, StoreError};

/// `NotFound` when the version is gone: its route was deleted meanwhile. The version is held until
/// the end, so that a deletion of its route sees this call.
pub(super) async fn accept(
    db: impl Acquire<'_, Database = MySql>,
    new: &NewCall,
    body: &SealedBody,
    now: Timestamp,
) -> Result<Accepted, StoreError> {
    let mut transaction = db.begin().await.context("beginning a transaction")?;
    let db = &mut *transaction;
    sqlx::query("SELECT 1 FROM route_versions WHERE id = ? AND route_id = ? LOCK IN SHARE MODE")
        .bind(new.version_id.as_str())
        .bind(new.route_id.as_str())
        .fetch_optional(&mut *db)
        .await
        .context("holding a call's version")?
        .ok_or(StoreError::NotFound)?;
    sqlx::query(
        "INSERT INTO calls (id, project_id, app_id, route_id, version_id, digest, trigger_kind, \
         call_type, state, request_id, not_before, priority, created_at, queued_at, \
         app_name, route_path, version_number, due_at, delivery, depth) \
         SELECT ?, ?, ?, v.route_id, v.id, v.digest, ?, ?, 'queued', ?, ?, ?, ?, ?, a.full_name, \
         r.pattern, v.number, ?, ?, ? FROM route_versions v \
         JOIN routes r ON r.id = v.route_id JOIN apps a ON a.id = r.app_id WHERE v.id = ?",
    )
    .bind(new.id.as_str())
    .bind(new.project_id.as_str())
    .bind(new.app_id.as_str())
    .bind(new.trigger.as_str())
    .bind(new.call_type.as_str())
    .bind(new.request_id.as_str())
    .bind(new.not_before.0)
    .bind(i64::from(new.priority))
    .bind(now.0)
    .bind(now.0)
    .bind(new.not_before.0)
    .bind(to_json("delivery", &new.delivery)?)
    .bind(i64::from(new.depth))
    .bind(new.version_id.as_str())
    .execute(&mut *db)
    .await
    .context("accepting a call")?;
    sqlx::query("INSERT INTO call_bodies (call_id, key_id, envelope, payload) VALUES (?, ?, ?, ?)")
        .bind(new.id.as_str())
        .bind(&body.key_id)
        .bind(&body.envelope)
        .bind(&body.payload)
        .execute(&mut *db)
        .await
        .context("storing a call's body")?;
    outbox::put(&mut *db, new.id.as_str(), now).await?;
    transaction.commit().await.context("committing a transaction")?;
    Ok(Accepted::New)
}

/// [`accept`] of a call whose caller gave it a name.
pub(super) async fn accept_once(
    db: &mut MySqlConnection,
    new: &NewCall,
    key: &IdempotencyKey,
    body: &SealedBody,
    now: Timestamp,
) -> Result<Accepted, StoreError> {
    if let Some(before) = idempotency::find(db, &new.route_id, key, now).await? {
        return Ok(before);
    }
    let accepted = accept(&mut *db, new, body, now).await?;
    idempotency::put(db, &new.route_id, key, &new.id).await?;
    Ok(accepted)
}

pub(super) async fn get(db: &MySqlPool, id: &CallId) -> Result<Call, StoreError> {
    let row = sqlx::query("SELECT * FROM calls WHERE id = ?")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a call")?;
    call(&row.ok_or(StoreError::NotFound)?)
}

/// The body; `None` once the call has succeeded.
pub(super) async fn get_body(db: &MySqlPool, id: &CallId) -> Result<Option<SealedBody>, StoreError> {
    let row = sqlx::query("SELECT key_id, envelope, payload FROM call_bodies WHERE call_id = ?")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a call's body")?;
    row.as_ref().map(SealedBody::read).transpose()
}

pub(super) async fn claim(
    db: &MySqlPool,
    id: &CallId,
    owner: &InstanceId,
    lease_until: Timestamp,
    now: Timestamp,
) -> Result<Option<Call>, StoreError> {
    let mut transaction = db.begin().await.context("beginning a transaction")?;
    let db = &mut *transaction;
    // Assignments see the ones before them: what was lost is counted before the state changes.
    let claimed = sqlx::query(
        "UPDATE calls SET attempt = attempt + 1, \
         lost_runs = lost_runs + CASE state WHEN 'running' THEN 1 ELSE 0 END, \
         state = 'running', lease_owner = ?, node = ?, lease_until = ?, started_at = ? \
         WHERE id = ? AND ((state = 'queued' AND not_before <= ?) OR (state = 'running' AND lease_until <= ?))",
    )
    .bind(owner.as_str())
    .bind(owner.as_str())
    .bind(lease_until.0)
    .bind(now.0)
    .bind(id.as_str())
    .bind(now.0)
    .bind(now.0)
    .execute(&mut *db)
    .await
    .context("claiming a call")?;
    if claimed.rows_affected() == 0 {
        return Ok(None);
    }
    outbox::remove(&mut *db, id).await?;
    let row = sqlx::query("SELECT * FROM calls WHERE id = ? AND state = 'running' AND lease_owner = ?")
        .bind(id.as_str())
        .bind(owner.as_str())
        .fetch_optional(&mut *db)
        .await
        .context("loading a claimed call")?;
    transaction.commit().await.context("committing a transaction")?;
    row.as_ref().map(call).transpose()
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

pub(super) async fn finish(
    db: &MySqlPool,
    id: &CallId,
    owner: &InstanceId,
    outcome: &CallOutcome,
    output: Option<&SealedOutput>,
    deliveries: &[SealedDelivery],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let failure = outcome.failure.as_ref().map(|failure| to_json("failure", failure)).transpose()?;
    let peak = outcome.memory_peak_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let mut transaction = db.begin().await.context("beginning a transaction")?;
    let db = &mut *transaction;
    let ended = sqlx::query(
        "UPDATE calls SET state = ?, failure = ?, exit_code = ?, memory_peak_bytes = ?, \
         finished_at = ?, http_status = ?, cold_start = ?, lease_owner = NULL, lease_until = NULL \
         WHERE id = ? AND state = 'running' AND lease_owner = ?",
    )
    .bind(outcome.state.as_str())
    .bind(failure)
    .bind(outcome.exit_code.map(i64::from))
    .bind(peak)
    .bind(now.0)
    .bind(outcome.http_status.map(i64::from))
    .bind(outcome.cold_start)
    .bind(id.as_str())
    .bind(owner.as_str())
    .execute(&mut *db)
    .await
    .context("ending a call")?;
    if ended.rows_affected() == 0 {
        return Ok(false);
    }
    if outcome.state == CallState::Succeeded {
        sqlx::query("DELETE FROM call_bodies WHERE call_id = ?")
            .bind(id.as_str())
            .execute(&mut *db)
            .await
            .context("deleting an ended call's body")?;
    }
    if let Some(output) = output {
        sqlx::query("REPLACE INTO call_outputs (call_id, key_id, result, log) VALUES (?, ?, ?, ?)")
            .bind(id.as_str())
            .bind(&output.key_id)
            .bind(&output.result)
            .bind(&output.log)
            .execute(&mut *db)
            .await
            .context("keeping a call's output")?;
    }
    outbox::remove(&mut *db, id).await?;
    super::deliveries::put(db, id, deliveries, now).await?;
    transaction.commit().await.context("committing a transaction")?;
    Ok(true)
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
