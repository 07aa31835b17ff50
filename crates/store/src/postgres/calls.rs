//! Calls: accepted, held under a lease, ended. Each is one statement, so one way to the server.

use picasso_types::{
    Accepted, Call, CallId, CallOutcome, Failure, IdempotencyKey, InstanceId, NewCall, RouteId, Timestamp,
};
use sqlx::{PgConnection, PgExecutor, PgPool};

use super::{idempotency, outbox};
use crate::error::Context as _;
use crate::rows::{call, column, number, to_json};
use crate::sealed_body::{SealedBody, SealedOutput};
use crate::sealed_delivery::SealedDelivery;
use crate::{Lease, StoreError};

/// `NotFound` when the version is gone: its route was deleted meanwhile. The version is held until
/// the end, so that a deletion of its route sees this call.
pub(super) async fn accept(
    db: impl PgExecutor<'_>,
    new: &NewCall,
    body: &SealedBody,
    now: Timestamp,
) -> Result<Accepted, StoreError> {
    let accepted = sqlx::query(
        "WITH version AS ( \
             SELECT v.id, v.route_id, v.digest, v.number, r.pattern, a.full_name FROM route_versions v \
             JOIN routes r ON r.id = v.route_id JOIN apps a ON a.id = r.app_id \
             WHERE v.id = $10 AND v.route_id = $11 FOR KEY SHARE OF v), \
         accepted AS ( \
             INSERT INTO calls (id, project_id, app_id, route_id, version_id, digest, trigger_kind, \
             call_type, state, request_id, not_before, priority, created_at, queued_at, \
             app_name, route_path, version_number, due_at, delivery, depth) \
             SELECT $1, $2, $3, route_id, id, digest, $4, $5, 'queued', $6, $7, $8, $9, $9, full_name, \
             pattern, number, $7, $15, $16 FROM version \
             RETURNING id, project_id, not_before, priority), \
         body AS ( \
             INSERT INTO call_bodies (call_id, key_id, envelope, payload) \
             SELECT id, $12, $13, $14 FROM accepted) \
         INSERT INTO outbox (call_id, project_id, state, not_before, priority, returns_at) \
         SELECT id, project_id, CASE WHEN not_before <= $9 THEN 'waiting' ELSE 'scheduled' END, not_before, \
         priority, CASE WHEN not_before > $9 THEN not_before END FROM accepted",
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
    .bind(new.version_id.as_str())
    .bind(new.route_id.as_str())
    .bind(&body.key_id)
    .bind(&body.envelope)
    .bind(&body.payload)
    .bind(to_json("delivery", &new.delivery)?)
    .bind(i64::from(new.depth))
    .execute(db)
    .await
    .context("accepting a call")?;
    if accepted.rows_affected() == 0 { Err(StoreError::NotFound) } else { Ok(Accepted::New) }
}

/// [`accept`] of a call whose caller gave it a name.
pub(super) async fn accept_once(
    db: &mut PgConnection,
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

pub(super) async fn get(db: &PgPool, id: &CallId) -> Result<Call, StoreError> {
    let row = sqlx::query("SELECT * FROM calls WHERE id = $1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a call")?;
    call(&row.ok_or(StoreError::NotFound)?)
}

/// The body; `None` once the call has succeeded.
pub(super) async fn get_body(db: &PgPool, id: &CallId) -> Result<Option<SealedBody>, StoreError> {
    let row = sqlx::query("SELECT key_id, envelope, payload FROM call_bodies WHERE call_id = $1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a call's body")?;
    row.as_ref().map(SealedBody::read).transpose()
}

pub(super) async fn claim(
    db: impl PgExecutor<'_>,
    id: &CallId,
    owner: &InstanceId,
    lease_until: Timestamp,
    now: Timestamp,
) -> Result<Option<Call>, StoreError> {
    let row = sqlx::query(
        "WITH claimed AS ( \
             UPDATE calls SET state = 'running', attempt = attempt + 1, \
             lost_runs = lost_runs + CASE state WHEN 'running' THEN 1 ELSE 0 END, \
             lease_owner = $2, node = $2, lease_until = $3, started_at = $4 \
             WHERE id = $1 \
             AND ((state = 'queued' AND not_before <= $4) OR (state = 'running' AND lease_until <= $4)) \
             RETURNING *), \
         entry AS (DELETE FROM outbox USING claimed WHERE call_id = claimed.id) \
         SELECT * FROM claimed",
    )
    .bind(id.as_str())
    .bind(owner.as_str())
    .bind(lease_until.0)
    .bind(now.0)
    .fetch_optional(db)
    .await
    .context("claiming a call")?;
    row.as_ref().map(call).transpose()
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

/// Most calls have no deliveries, and end with one statement and no round trip more.
pub(super) async fn finish(
    db: &PgPool,
    id: &CallId,
    owner: &InstanceId,
    outcome: &CallOutcome,
    output: Option<&SealedOutput>,
    deliveries: &[SealedDelivery],
    now: Timestamp,
) -> Result<bool, StoreError> {
    if deliveries.is_empty() {
        return finish_row(db, id, owner, outcome, output, now).await;
    }
    let mut transaction = db.begin().await.context("beginning a transaction")?;
    if !finish_row(&mut *transaction, id, owner, outcome, output, now).await? {
        return Ok(false);
    }
    super::deliveries::put(&mut transaction, id, deliveries, now).await?;
    transaction.commit().await.context("committing a transaction")?;
    Ok(true)
}

async fn finish_row(
    db: impl PgExecutor<'_>,
    id: &CallId,
    owner: &InstanceId,
    outcome: &CallOutcome,
    output: Option<&SealedOutput>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let failure = outcome.failure.as_ref().map(|failure| to_json("failure", failure)).transpose()?;
    let peak = outcome.memory_peak_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let ended: i64 = sqlx::query_scalar(
        "WITH ended AS ( \
             UPDATE calls SET state = $3, failure = $4, exit_code = $5, memory_peak_bytes = $6, \
             finished_at = $7, http_status = $8, cold_start = $9, lease_owner = NULL, lease_until = NULL \
             WHERE id = $1 AND state = 'running' AND lease_owner = $2 RETURNING id), \
         body AS (DELETE FROM call_bodies USING ended WHERE call_id = ended.id AND $3 = 'succeeded'), \
         output AS ( \
             INSERT INTO call_outputs (call_id, key_id, result, log) \
             SELECT id, $10, $11, $12 FROM ended WHERE $10::text IS NOT NULL \
             ON CONFLICT (call_id) DO UPDATE SET key_id = excluded.key_id, result = excluded.result, \
             log = excluded.log), \
         entry AS (DELETE FROM outbox USING ended WHERE call_id = ended.id) \
         SELECT count(*) FROM ended",
    )
    .bind(id.as_str())
    .bind(owner.as_str())
    .bind(outcome.state.as_str())
    .bind(failure)
    .bind(outcome.exit_code.map(i64::from))
    .bind(peak)
    .bind(now.0)
    .bind(outcome.http_status.map(i64::from))
    .bind(outcome.cold_start)
    .bind(output.map(|output| output.key_id.as_str()))
    .bind(output.map(|output| output.result.as_slice()))
    .bind(output.map(|output| output.log.as_slice()))
    .fetch_one(db)
    .await
    .context("ending a call")?;
    Ok(ended > 0)
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
