//! Many calls accepted, claimed or ended. Each is one statement over many rows, so one way to the
//! server.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use picasso_types::{Accepted, Call, Timestamp};
use sqlx::{PgExecutor, PgPool};

use super::{deliveries, idempotency, objects};
use crate::StoreError;
use crate::call_writes::{self, Acceptance, Claim, Ending};
use crate::error::Context as _;
use crate::rows::{call, column};
use crate::sealed_body::SealedBody;

/// `NotFound` for a call whose version is gone: its route was deleted meanwhile. A call whose name stands
/// for another one already is not stored. Calls without names are one statement, and no round trip more.
pub(super) async fn accept(
    db: &PgPool,
    calls: &[Arc<Acceptance>],
    now: Timestamp,
) -> Result<Vec<Result<Accepted, StoreError>>, StoreError> {
    if calls.iter().all(|call| call.name().is_none()) {
        let stored = insert(db, calls, now).await?;
        return Ok(call_writes::accepted(calls, HashMap::new(), &stored));
    }
    let mut transaction = db.begin().await.context("beginning a transaction")?;
    let before = idempotency::find(&mut transaction, calls, now).await?;
    let fresh: Vec<_> = calls.iter().filter(|call| !before.contains_key(&call.new.id)).cloned().collect();
    let stored = insert(&mut *transaction, &fresh, now).await?;
    let stored_now = |call: &&Arc<Acceptance>| stored.contains(call.new.id.as_str());
    let accepted: Vec<_> = fresh.iter().filter(stored_now).map(|call| &**call).collect();
    idempotency::put(&mut transaction, &accepted).await?;
    transaction.commit().await.context("committing a transaction")?;
    Ok(call_writes::accepted(calls, before, &stored))
}

/// Stores calls; the ids of those whose versions are there. The versions are held until the end, so that a
/// deletion of their route sees these calls.
async fn insert(
    db: impl PgExecutor<'_>,
    calls: &[Arc<Acceptance>],
    now: Timestamp,
) -> Result<HashSet<String>, StoreError> {
    let texts = |column: fn(&Acceptance) -> &str| calls.iter().map(|call| column(call)).collect::<Vec<_>>();
    let numbers = |column: fn(&Acceptance) -> i64| calls.iter().map(|call| column(call)).collect::<Vec<_>>();
    let bytes = |column: fn(&Acceptance) -> &[u8]| calls.iter().map(|call| column(call)).collect::<Vec<_>>();
    let stored: Vec<String> = sqlx::query_scalar(
        "WITH new AS ( \
             SELECT * FROM UNNEST($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], \
             $8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::text[], $13::bigint[], $14::text[], \
             $15::bytea[], $16::bytea[]) \
             AS n (id, project_id, app_id, route_id, version_id, trigger_kind, call_type, request_id, \
             not_before, priority, delivery, depth, key_id, envelope, payload)), \
         version AS ( \
             SELECT v.id, v.route_id, v.digest, v.number, r.pattern, a.full_name FROM route_versions v \
             JOIN routes r ON r.id = v.route_id JOIN apps a ON a.id = r.app_id \
             WHERE v.id = ANY ($6) FOR KEY SHARE OF v), \
         accepted AS ( \
             INSERT INTO calls (id, project_id, app_id, route_id, version_id, digest, trigger_kind, \
             call_type, state, request_id, not_before, priority, created_at, queued_at, \
             app_name, route_path, version_number, due_at, delivery, depth) \
             SELECT n.id, n.project_id, n.app_id, v.route_id, v.id, v.digest, n.trigger_kind, n.call_type, \
             'queued', n.request_id, n.not_before, n.priority, $1, $1, v.full_name, v.pattern, v.number, \
             n.not_before, n.delivery, n.depth \
             FROM new n JOIN version v ON v.id = n.version_id AND v.route_id = n.route_id \
             RETURNING id, project_id, not_before, priority), \
         body AS ( \
             INSERT INTO call_bodies (call_id, key_id, envelope, payload) \
             SELECT a.id, n.key_id, n.envelope, n.payload FROM accepted a JOIN new n ON n.id = a.id), \
         entry AS ( \
             INSERT INTO outbox (call_id, project_id, state, not_before, priority, returns_at) \
             SELECT id, project_id, CASE WHEN not_before <= $1 THEN 'waiting' ELSE 'scheduled' END, \
             not_before, priority, CASE WHEN not_before > $1 THEN not_before END FROM accepted) \
         SELECT id FROM accepted",
    )
    .bind(now.0)
    .bind(texts(|call| call.new.id.as_str()))
    .bind(texts(|call| call.new.project_id.as_str()))
    .bind(texts(|call| call.new.app_id.as_str()))
    .bind(texts(|call| call.new.route_id.as_str()))
    .bind(texts(|call| call.new.version_id.as_str()))
    .bind(texts(|call| call.new.trigger.as_str()))
    .bind(texts(|call| call.new.call_type.as_str()))
    .bind(texts(|call| call.new.request_id.as_str()))
    .bind(numbers(|call| call.new.not_before.0))
    .bind(numbers(|call| call.new.priority.into()))
    .bind(texts(|call| &call.delivery))
    .bind(numbers(|call| call.new.depth.into()))
    .bind(texts(|call| &call.body.key_id))
    .bind(bytes(|call| &call.body.envelope))
    .bind(bytes(|call| &call.body.payload))
    .fetch_all(db)
    .await
    .context("accepting calls")?;
    Ok(stored.into_iter().collect())
}

/// The bodies of those that have not succeeded.
pub(super) async fn bodies(
    db: &PgPool,
    claims: &[Arc<Claim>],
) -> Result<HashMap<String, SealedBody>, StoreError> {
    let rows =
        sqlx::query("SELECT call_id, key_id, envelope, payload FROM call_bodies WHERE call_id = ANY ($1)")
            .bind(claims.iter().map(|claim| claim.id.as_str()).collect::<Vec<_>>())
            .fetch_all(db)
            .await
            .context("loading the bodies of calls")?;
    rows.iter().map(|row| Ok((column(row, "call_id")?, SealedBody::read(row)?))).collect()
}

/// The rows of those that were free to take.
pub(super) async fn claim(
    db: &PgPool,
    claims: &[Arc<Claim>],
    now: Timestamp,
) -> Result<Vec<Option<Call>>, StoreError> {
    let rows = sqlx::query(
        "WITH claimed AS ( \
             UPDATE calls SET state = 'running', attempt = attempt + 1, \
             lost_runs = lost_runs + CASE state WHEN 'running' THEN 1 ELSE 0 END, \
             lease_owner = n.owner, node = n.owner, lease_until = n.until, started_at = $4 \
             FROM UNNEST($1::text[], $2::text[], $3::bigint[]) AS n (call_id, owner, until) \
             WHERE id = n.call_id \
             AND ((state = 'queued' AND not_before <= $4) OR (state = 'running' AND lease_until <= $4)) \
             RETURNING calls.*), \
         entry AS (DELETE FROM outbox USING claimed WHERE call_id = claimed.id) \
         SELECT * FROM claimed",
    )
    .bind(claims.iter().map(|claim| claim.id.as_str()).collect::<Vec<_>>())
    .bind(claims.iter().map(|claim| claim.owner.as_str()).collect::<Vec<_>>())
    .bind(claims.iter().map(|claim| claim.lease_until.0).collect::<Vec<_>>())
    .bind(now.0)
    .fetch_all(db)
    .await
    .context("claiming calls")?;
    let mut claimed = HashMap::with_capacity(rows.len());
    for row in &rows {
        let call = call(row)?;
        claimed.insert(call.id.clone(), call);
    }
    Ok(claims.iter().map(|claim| claimed.remove(&claim.id)).collect())
}

/// Which of them were held by who ended them. Most calls have neither deliveries nor objects: then it is one statement,
/// and no round trip more.
pub(super) async fn finish(
    db: &PgPool,
    endings: &[Arc<Ending>],
    now: Timestamp,
) -> Result<Vec<Result<bool, StoreError>>, StoreError> {
    let ended = if endings.iter().all(|ending| ending.deliveries.is_empty() && ending.objects().is_empty()) {
        finish_rows(db, endings, now).await?
    } else {
        let mut transaction = db.begin().await.context("beginning a transaction")?;
        let ended = finish_rows(&mut *transaction, endings, now).await?;
        for ending in endings.iter().filter(|ending| ended.contains(ending.id.as_str())) {
            objects::give_to_call(&mut transaction, &ending.id, ending.objects()).await?;
            deliveries::put(&mut transaction, &ending.id, &ending.deliveries, now).await?;
        }
        transaction.commit().await.context("committing a transaction")?;
        ended
    };
    Ok(endings.iter().map(|ending| Ok(ended.contains(ending.id.as_str()))).collect())
}

async fn finish_rows(
    db: impl PgExecutor<'_>,
    endings: &[Arc<Ending>],
    now: Timestamp,
) -> Result<HashSet<String>, StoreError> {
    let ended: Vec<String> = sqlx::query_scalar(
        "WITH ending AS ( \
             SELECT * FROM UNNEST($2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], \
             $8::bigint[], $9::bool[], $10::text[], $11::bytea[], $12::bytea[], $13::bigint[]) \
             AS n (call_id, owner, to_state, why, code, peak, status, cold, output_key, result, log, output_bytes)), \
         ended AS ( \
             UPDATE calls SET state = n.to_state, failure = n.why, exit_code = n.code, \
             memory_peak_bytes = n.peak, finished_at = $1, http_status = n.status, cold_start = n.cold, \
             output_bytes = n.output_bytes, lease_owner = NULL, lease_until = NULL FROM ending n \
             WHERE id = n.call_id AND state = 'running' AND lease_owner = n.owner RETURNING id, state), \
         body AS ( \
             DELETE FROM call_bodies USING ended WHERE call_id = ended.id AND ended.state = 'succeeded'), \
         output AS ( \
             INSERT INTO call_outputs (call_id, key_id, result, log) \
             SELECT e.id, n.output_key, n.result, n.log FROM ended e JOIN ending n ON n.call_id = e.id \
             WHERE n.output_key IS NOT NULL \
             ON CONFLICT (call_id) DO UPDATE SET key_id = excluded.key_id, result = excluded.result, \
             log = excluded.log), \
         entry AS (DELETE FROM outbox USING ended WHERE call_id = ended.id) \
         SELECT id FROM ended",
    )
    .bind(now.0)
    .bind(endings.iter().map(|ending| ending.id.as_str()).collect::<Vec<_>>())
    .bind(endings.iter().map(|ending| ending.owner.as_str()).collect::<Vec<_>>())
    .bind(endings.iter().map(|ending| ending.outcome.state.as_str()).collect::<Vec<_>>())
    .bind(endings.iter().map(|ending| ending.failure.as_deref()).collect::<Vec<_>>())
    .bind(endings.iter().map(|ending| ending.outcome.exit_code.map(i64::from)).collect::<Vec<_>>())
    .bind(endings.iter().map(|ending| ending.memory_peak_bytes()).collect::<Vec<_>>())
    .bind(endings.iter().map(|ending| ending.outcome.http_status.map(i64::from)).collect::<Vec<_>>())
    .bind(endings.iter().map(|ending| ending.outcome.cold_start).collect::<Vec<_>>())
    .bind(endings.iter().map(|ending| ending.output.as_ref().map(|o| o.key_id.as_str())).collect::<Vec<_>>())
    .bind(endings.iter().map(|ending| ending.output.as_ref().map(|o| o.result.as_slice())).collect::<Vec<_>>())
    .bind(endings.iter().map(|ending| ending.output.as_ref().map(|o| o.log.as_slice())).collect::<Vec<_>>())
    .bind(endings.iter().map(|ending| ending.output_bytes()).collect::<Vec<_>>())
    .fetch_all(db)
    .await
    .context("ending calls")?;
    Ok(ended.into_iter().collect())
}
