//! Many calls accepted, claimed or ended: their statements share a transaction, and its sync.

use std::collections::HashMap;
use std::sync::Arc;

use picasso_types::{Accepted, Call, CallState, IdempotencyKey, Timestamp};
use sqlx::{MySqlConnection, MySqlPool, QueryBuilder};

use super::{deliveries, idempotency, objects, outbox};
use crate::StoreError;
use crate::call_writes::{Acceptance, Claim, Ending};
use crate::error::Context as _;
use crate::rows::{call, column};
use crate::sealed_body::SealedBody;

/// `NotFound` for a call whose version is gone: its route was deleted meanwhile.
pub(super) async fn accept(
    db: &MySqlPool,
    calls: &[Arc<Acceptance>],
    now: Timestamp,
) -> Result<Vec<Result<Accepted, StoreError>>, StoreError> {
    let mut transaction = db.begin().await.context("beginning a transaction")?;
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        answers.push(match accept_one(&mut transaction, call, now).await {
            // It wrote nothing.
            Err(StoreError::NotFound) => Err(StoreError::NotFound),
            accepted => Ok(accepted?),
        });
    }
    transaction.commit().await.context("committing a transaction")?;
    Ok(answers)
}

/// [`accept`] of a call whose caller gave it a name.
pub(super) async fn accept_once(
    db: &mut MySqlConnection,
    call: &Arc<Acceptance>,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<Accepted, StoreError> {
    if let Some(before) = idempotency::find(db, &call.new.route_id, key, now).await? {
        return Ok(before);
    }
    let accepted = accept_one(db, call, now).await?;
    idempotency::put(db, &call.new.route_id, key, &call.new.id).await?;
    Ok(accepted)
}

/// `NotFound` when the version is gone: its route was deleted meanwhile. The version is held until
/// the end, so that a deletion of its route sees this call.
async fn accept_one(
    db: &mut MySqlConnection,
    Acceptance { new, body, delivery }: &Acceptance,
    now: Timestamp,
) -> Result<Accepted, StoreError> {
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
    .bind(delivery)
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
    Ok(Accepted::New)
}

/// The bodies of those that have not succeeded.
pub(super) async fn bodies(
    db: &MySqlPool,
    claims: &[Arc<Claim>],
) -> Result<HashMap<String, SealedBody>, StoreError> {
    let mut query =
        QueryBuilder::new("SELECT call_id, key_id, envelope, payload FROM call_bodies WHERE call_id IN (");
    let mut ids = query.separated(", ");
    for claim in claims {
        ids.push_bind(claim.id.as_str());
    }
    query.push(")");
    // Of many lengths: not one of them is worth a prepared statement.
    let rows = query.build().persistent(false).fetch_all(db).await.context("loading the bodies of calls")?;
    rows.iter().map(|row| Ok((column(row, "call_id")?, SealedBody::read(row)?))).collect()
}

/// The rows of those that were free to take.
pub(super) async fn claim(
    db: &MySqlPool,
    claims: &[Arc<Claim>],
    now: Timestamp,
) -> Result<Vec<Option<Call>>, StoreError> {
    let mut transaction = db.begin().await.context("beginning a transaction")?;
    let mut claimed = Vec::with_capacity(claims.len());
    for claim in claims {
        claimed.push(claim_one(&mut transaction, claim, now).await?);
    }
    transaction.commit().await.context("committing a transaction")?;
    Ok(claimed)
}

async fn claim_one(
    db: &mut MySqlConnection,
    Claim { id, owner, lease_until }: &Claim,
    now: Timestamp,
) -> Result<Option<Call>, StoreError> {
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
    row.as_ref().map(call).transpose()
}

/// Which of them were held by who ended them.
pub(super) async fn finish(
    db: &MySqlPool,
    endings: &[Arc<Ending>],
    now: Timestamp,
) -> Result<Vec<Result<bool, StoreError>>, StoreError> {
    let mut transaction = db.begin().await.context("beginning a transaction")?;
    let mut ended = Vec::with_capacity(endings.len());
    for ending in endings {
        ended.push(Ok(finish_one(&mut transaction, ending, now).await?));
    }
    transaction.commit().await.context("committing a transaction")?;
    Ok(ended)
}

async fn finish_one(db: &mut MySqlConnection, ending: &Ending, now: Timestamp) -> Result<bool, StoreError> {
    let Ending { id, owner, outcome, failure, output, deliveries } = ending;
    let ended = sqlx::query(
        "UPDATE calls SET state = ?, failure = ?, exit_code = ?, memory_peak_bytes = ?, \
         finished_at = ?, http_status = ?, cold_start = ?, output_bytes = ?, lease_owner = NULL, lease_until = NULL \
         WHERE id = ? AND state = 'running' AND lease_owner = ?",
    )
    .bind(outcome.state.as_str())
    .bind(failure)
    .bind(outcome.exit_code.map(i64::from))
    .bind(ending.memory_peak_bytes())
    .bind(now.0)
    .bind(outcome.http_status.map(i64::from))
    .bind(outcome.cold_start)
    .bind(ending.output_bytes())
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
        objects::give_to_call(&mut *db, id, &output.objects).await?;
    }
    outbox::remove(&mut *db, id).await?;
    deliveries::put(db, id, deliveries, now).await?;
    Ok(true)
}
