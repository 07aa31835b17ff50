//! Many calls accepted, claimed or ended by a few statements over many rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use picasso_types::{Accepted, Call, CallId, CallState, Clock, Timestamp};
use sqlx::{QueryBuilder, SqliteConnection, SqlitePool};

use super::writer::Writer;
use super::{deliveries, idempotency, objects, outbox, triggers};
use crate::batches::{Batches, chunks};
use crate::call_writes::{self, Acceptance, CallWrites, Claim, Ending, Planning};
use crate::error::Context as _;
use crate::rows::{call, column, to_json};
use crate::sealed_body::SealedBody;
use crate::{SecretKey, StoreError};

/// Batches of a kind that are on their way at one time. There is one writer: a second batch would only
/// make both smaller, and what a batch costs are the pages that it touches, however many its rows.
const AT_ONCE: usize = 1;

/// Starts gathering what is written of calls.
pub(super) fn start(
    writer: &Arc<Writer>,
    readers: &SqlitePool,
    key: &Arc<SecretKey>,
    clock: &Arc<dyn Clock>,
) -> CallWrites {
    let (to, at) = (Arc::clone(writer), Arc::clone(clock));
    let accepting = Batches::start(AT_ONCE, move |calls: Vec<Arc<Acceptance>>| {
        let (writer, clock) = (Arc::clone(&to), Arc::clone(&at));
        async move { writer.run(move |db| Box::pin(async move { accept(db, &calls, clock.now()).await })).await }
    });
    let (to, at) = (Arc::clone(writer), Arc::clone(clock));
    let (readers, key) = (readers.clone(), Arc::clone(key));
    let claiming = Batches::start(AT_ONCE, move |claims: Vec<Arc<Claim>>| {
        let (writer, clock) = (Arc::clone(&to), Arc::clone(&at));
        let (readers, key) = (readers.clone(), Arc::clone(&key));
        async move {
            let bodies = bodies(&readers, &claims).await?;
            let write = |claims: Vec<Arc<Claim>>| {
                writer.run(move |db| Box::pin(async move { claim(db, &claims, clock.now()).await }))
            };
            let exists = async |id| super::calls::get(&readers, &id).await;
            call_writes::claim(&key, claims, bodies, write, exists).await
        }
    });
    let (to, at) = (Arc::clone(writer), Arc::clone(clock));
    let ending = Batches::start(AT_ONCE, move |endings: Vec<Arc<Ending>>| {
        let (writer, clock) = (Arc::clone(&to), Arc::clone(&at));
        async move { writer.run(move |db| Box::pin(async move { finish(db, &endings, clock.now()).await })).await }
    });
    let (to, at) = (Arc::clone(writer), Arc::clone(clock));
    let planning = Batches::start(AT_ONCE, move |plans: Vec<Arc<Planning>>| {
        let (writer, clock) = (Arc::clone(&to), Arc::clone(&at));
        async move {
            writer
                .run(move |db| Box::pin(async move { triggers::plan_all(db, &plans, clock.now()).await }))
                .await
        }
    });
    CallWrites { accepting, claiming, ending, planning }
}

/// `NotFound` for a call whose version is gone: its route was deleted meanwhile. A call whose name stands
/// for another one already is not stored.
pub(super) async fn accept(
    db: &mut SqliteConnection,
    calls: &[Arc<Acceptance>],
    now: Timestamp,
) -> Result<Vec<Result<Accepted, StoreError>>, StoreError> {
    let before = idempotency::find(&mut *db, calls, now).await?;
    let fresh: Vec<_> = calls.iter().filter(|call| !before.contains_key(&call.new.id)).cloned().collect();
    let mut stored = HashSet::with_capacity(fresh.len());
    for some in chunks(&fresh) {
        stored.extend(insert_rows(&mut *db, some, now).await?);
    }
    let is_stored = |call: &&Arc<Acceptance>| stored.contains(call.new.id.as_str());
    let accepted: Vec<_> = fresh.iter().filter(is_stored).map(|call| &**call).collect();
    for some in chunks(&accepted) {
        let mut query = QueryBuilder::new("INSERT INTO call_bodies (call_id, key_id, envelope, payload) ");
        query.push_values(some, |mut row, Acceptance { new, body, .. }| {
            row.push_bind(new.id.as_str())
                .push_bind(body.key_id.as_str())
                .push_bind(body.envelope.as_slice())
                .push_bind(body.payload.as_slice());
        });
        query.build().execute(&mut *db).await.context("storing the bodies of calls")?;
        let entries: Vec<_> = some.iter().map(|call| outbox::Entry::of(&call.new)).collect();
        outbox::put(&mut *db, &entries, now).await?;
    }
    idempotency::put(db, &accepted).await?;
    Ok(call_writes::accepted(calls, before, &stored))
}

/// The ids of the rows that were stored.
async fn insert_rows(
    db: &mut SqliteConnection,
    calls: &[Arc<Acceptance>],
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let mut query = QueryBuilder::new(
        "INSERT INTO calls (id, project_id, app_id, route_id, version_id, digest, trigger_kind, \
         call_type, state, request_id, not_before, priority, created_at, queued_at, \
         app_name, route_path, version_number, due_at, delivery, depth) \
         SELECT n.column1, n.column2, n.column3, v.route_id, v.id, v.digest, n.column6, \
         n.column7, 'queued', n.column8, n.column9, n.column10, n.column11, n.column11, \
         a.full_name, r.pattern, v.number, n.column9, n.column12, n.column13 FROM (",
    );
    query.push_values(calls, |mut row, call| {
        let new = &call.new;
        row.push_bind(new.id.as_str())
            .push_bind(new.project_id.as_str())
            .push_bind(new.app_id.as_str())
            .push_bind(new.route_id.as_str())
            .push_bind(new.version_id.as_str())
            .push_bind(new.trigger.as_str())
            .push_bind(new.call_type.as_str())
            .push_bind(new.request_id.as_str())
            .push_bind(new.not_before.0)
            .push_bind(new.priority)
            .push_bind(now.0)
            .push_bind(call.delivery.as_str())
            .push_bind(new.depth);
    });
    // CROSS JOIN keeps this order: a step in each index for each new row.
    query.push(
        ") AS n CROSS JOIN route_versions v ON v.id = n.column5 AND v.route_id = n.column4 \
         CROSS JOIN routes r ON r.id = v.route_id CROSS JOIN apps a ON a.id = r.app_id RETURNING id",
    );
    query.build_query_scalar().fetch_all(db).await.context("accepting calls")
}

/// The bodies of those that have not succeeded.
pub(super) async fn bodies(
    db: &SqlitePool,
    claims: &[Arc<Claim>],
) -> Result<HashMap<String, SealedBody>, StoreError> {
    let rows = sqlx::query(
        "SELECT call_id, key_id, envelope, payload FROM call_bodies \
         WHERE call_id IN (SELECT value FROM json_each(?1))",
    )
    .bind(json_ids(claims.iter().map(|claim| claim.id.as_str()))?)
    .fetch_all(db)
    .await
    .context("loading the bodies of calls")?;
    rows.iter().map(|row| Ok((column(row, "call_id")?, SealedBody::read(row)?))).collect()
}

/// The rows of those that were free to take.
pub(super) async fn claim(
    db: &mut SqliteConnection,
    claims: &[Arc<Claim>],
    now: Timestamp,
) -> Result<Vec<Option<Call>>, StoreError> {
    let mut claimed = HashMap::with_capacity(claims.len());
    for some in chunks(claims) {
        let mut query = QueryBuilder::new(
            "UPDATE calls SET state = 'running', attempt = attempt + 1, \
             lost_runs = lost_runs + (state = 'running'), \
             lease_owner = n.column2, node = n.column2, lease_until = n.column3, started_at = n.column4 FROM (",
        );
        query.push_values(some, |mut row, claim| {
            row.push_bind(claim.id.as_str())
                .push_bind(claim.owner.as_str())
                .push_bind(claim.lease_until.0)
                .push_bind(now.0);
        });
        query.push(
            ") AS n WHERE calls.id = n.column1 AND ((state = 'queued' AND not_before <= n.column4) \
             OR (state = 'running' AND lease_until <= n.column4)) RETURNING *",
        );
        let rows = query.build().fetch_all(&mut *db).await.context("claiming calls")?;
        for row in &rows {
            let call = call(row)?;
            claimed.insert(call.id.clone(), call);
        }
    }
    outbox::remove(db, &json_ids(claimed.keys().map(CallId::as_str))?).await?;
    Ok(claims.iter().map(|claim| claimed.remove(&claim.id)).collect())
}

/// Which of them were held by who ended them.
pub(super) async fn finish(
    db: &mut SqliteConnection,
    endings: &[Arc<Ending>],
    now: Timestamp,
) -> Result<Vec<Result<bool, StoreError>>, StoreError> {
    let mut ended = HashSet::with_capacity(endings.len());
    for some in chunks(endings) {
        let mut query = QueryBuilder::new(
            "UPDATE calls SET state = n.column3, failure = n.column4, exit_code = n.column5, \
             memory_peak_bytes = n.column6, finished_at = n.column7, http_status = n.column8, \
             cold_start = n.column9, output_bytes = n.column10, lease_owner = NULL, lease_until = NULL FROM (",
        );
        query.push_values(some, |mut row, ending| {
            row.push_bind(ending.id.as_str())
                .push_bind(ending.owner.as_str())
                .push_bind(ending.outcome.state.as_str())
                .push_bind(ending.failure.as_deref())
                .push_bind(ending.outcome.exit_code)
                .push_bind(ending.memory_peak_bytes())
                .push_bind(now.0)
                .push_bind(ending.outcome.http_status)
                .push_bind(ending.outcome.cold_start)
                .push_bind(ending.output_bytes());
        });
        query.push(
            ") AS n WHERE calls.id = n.column1 AND state = 'running' AND lease_owner = n.column2 \
             RETURNING id",
        );
        let ids: Vec<String> =
            query.build_query_scalar().fetch_all(&mut *db).await.context("ending calls")?;
        ended.extend(ids);
    }
    let held: Vec<_> =
        endings.iter().filter(|ending| ended.contains(ending.id.as_str())).map(|ending| &**ending).collect();
    leave_no_more_than_needed(db, &held).await?;
    for ending in held {
        objects::give_to_call(&mut *db, &ending.id, ending.objects()).await?;
        deliveries::put(&mut *db, &ending.id, &ending.deliveries, now).await?;
    }
    Ok(endings.iter().map(|ending| Ok(ended.contains(ending.id.as_str()))).collect())
}

/// Bodies are for calls that may run again, outputs for those that left any.
async fn leave_no_more_than_needed(db: &mut SqliteConnection, held: &[&Ending]) -> Result<(), StoreError> {
    let succeeded = held.iter().filter(|ending| ending.outcome.state == CallState::Succeeded);
    sqlx::query("DELETE FROM call_bodies WHERE call_id IN (SELECT value FROM json_each(?1))")
        .bind(json_ids(succeeded.map(|ending| ending.id.as_str()))?)
        .execute(&mut *db)
        .await
        .context("deleting the bodies of calls")?;
    let outputs: Vec<_> =
        held.iter().filter_map(|ending| Some((&ending.id, ending.output.as_ref()?))).collect();
    for some in chunks(&outputs) {
        let mut query =
            QueryBuilder::new("INSERT OR REPLACE INTO call_outputs (call_id, key_id, result, log) ");
        query.push_values(some, |mut row, (id, output)| {
            row.push_bind(id.as_str())
                .push_bind(output.key_id.as_str())
                .push_bind(output.result.as_slice())
                .push_bind(output.log.as_slice());
        });
        query.build().execute(&mut *db).await.context("storing the outputs of calls")?;
    }
    outbox::remove(db, &json_ids(held.iter().map(|ending| ending.id.as_str()))?).await
}

fn json_ids<'a>(ids: impl Iterator<Item = &'a str>) -> Result<String, StoreError> {
    to_json("list of ids", &ids.collect::<Vec<_>>())
}
