//! Many calls accepted, claimed or ended: their statements share a transaction, and its sync.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use picasso_types::{Accepted, Call, CallState, Timestamp};
use sqlx::{MySql, MySqlConnection, MySqlPool, QueryBuilder};

use super::{deliveries, idempotency, objects, outbox};
use crate::StoreError;
use crate::batches::{Batched as _, chunks};
use crate::call_writes::{self, Acceptance, Claim, Ending};
use crate::error::Context as _;
use crate::rows::{call, column};
use crate::sealed_body::SealedBody;

/// Bytes of several bodies that every server takes in one packet; what a single one needs is looked at when
/// Picasso starts.
const MOST_OF_A_PACKET: usize = 1 << 20;

/// `NotFound` for a call whose version is gone: its route was deleted meanwhile. A call whose name stands
/// for another one already is not stored.
pub(super) async fn accept(
    db: &MySqlPool,
    calls: &[Arc<Acceptance>],
    now: Timestamp,
) -> Result<Vec<Result<Accepted, StoreError>>, StoreError> {
    let mut transaction = db.begin().await.context("beginning a transaction")?;
    let before = idempotency::find(&mut transaction, calls, now).await?;
    let fresh: Vec<_> =
        calls.iter().map(|call| &**call).filter(|call| !before.contains_key(&call.new.id)).collect();
    let versions = held_versions(&mut transaction, &fresh).await?;
    let has_version = |call: &&Acceptance| {
        versions.get(call.new.version_id.as_str()).is_some_and(|version| version.is_of(call))
    };
    let accepted: Vec<_> = fresh.into_iter().filter(has_version).collect();
    for some in chunks(&accepted) {
        insert(&mut transaction, some, &versions, now).await?;
    }
    idempotency::put(&mut transaction, &accepted).await?;
    transaction.commit().await.context("committing a transaction")?;
    let stored = accepted.iter().map(|call| call.new.id.to_string()).collect();
    Ok(call_writes::accepted(calls, before, &stored))
}

/// What a call's row says of its version.
struct Version {
    route_id: String,
    digest: Option<String>,
    number: i64,
    pattern: String,
    app_name: String,
}

impl Version {
    fn is_of(&self, call: &Acceptance) -> bool {
        self.route_id == call.new.route_id.as_str()
    }
}

/// The versions that are there, by their ids. They are held until the end, so that a deletion of their
/// route sees these calls.
async fn held_versions(
    db: &mut MySqlConnection,
    calls: &[&Acceptance],
) -> Result<HashMap<String, Version>, StoreError> {
    let ids: Vec<_> =
        calls.iter().map(|call| call.new.version_id.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    let mut versions = HashMap::with_capacity(ids.len());
    for some in chunks(&ids) {
        let mut query = of_ids("SELECT id FROM route_versions WHERE id IN (", some);
        query.push(" LOCK IN SHARE MODE");
        query.build().fetch_all(&mut *db).await.context("holding versions of calls")?;
        let mut query = of_ids(
            "SELECT v.id, v.route_id, v.digest, v.number, r.pattern, a.full_name FROM route_versions v \
             JOIN routes r ON r.id = v.route_id JOIN apps a ON a.id = r.app_id WHERE v.id IN (",
            some,
        );
        let found = query.build().fetch_all(&mut *db).await.context("loading versions of calls")?;
        for row in &found {
            let version = Version {
                route_id: column(row, "route_id")?,
                digest: column(row, "digest")?,
                number: column(row, "number")?,
                pattern: column(row, "pattern")?,
                app_name: column(row, "full_name")?,
            };
            versions.insert(column(row, "id")?, version);
        }
    }
    Ok(versions)
}

/// A statement that ends with a list of ids.
fn of_ids(start: &'static str, ids: &[&str]) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new(start);
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(*id);
    }
    query.push(")");
    query
}

/// Stores calls whose versions are there.
async fn insert(
    db: &mut MySqlConnection,
    calls: &[&Acceptance],
    versions: &HashMap<String, Version>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut query = QueryBuilder::new(
        "INSERT INTO calls (id, project_id, app_id, route_id, version_id, digest, trigger_kind, \
         call_type, state, request_id, not_before, priority, created_at, queued_at, \
         app_name, route_path, version_number, due_at, delivery, depth) ",
    );
    let with_versions =
        calls.iter().filter_map(|call| Some((call, versions.get(call.new.version_id.as_str())?)));
    query.push_values(with_versions, |mut row, (Acceptance { new, delivery, .. }, version)| {
        row.push_bind(new.id.as_str())
            .push_bind(new.project_id.as_str())
            .push_bind(new.app_id.as_str())
            .push_bind(new.route_id.as_str())
            .push_bind(new.version_id.as_str())
            .push_bind(version.digest.as_deref())
            .push_bind(new.trigger.as_str())
            .push_bind(new.call_type.as_str())
            .push("'queued'")
            .push_bind(new.request_id.as_str())
            .push_bind(new.not_before.0)
            .push_bind(i64::from(new.priority))
            .push_bind(now.0)
            .push_bind(now.0)
            .push_bind(version.app_name.as_str())
            .push_bind(version.pattern.as_str())
            .push_bind(version.number)
            .push_bind(new.not_before.0)
            .push_bind(delivery)
            .push_bind(i64::from(new.depth));
    });
    query.build().execute(&mut *db).await.context("accepting calls")?;
    let is_large = calls.iter().map(|call| call.bytes()).sum::<usize>() > MOST_OF_A_PACKET;
    for some in calls.chunks(if is_large { 1 } else { calls.len() }) {
        let mut query = QueryBuilder::new("INSERT INTO call_bodies (call_id, key_id, envelope, payload) ");
        query.push_values(some, |mut row, Acceptance { new, body, .. }| {
            row.push_bind(new.id.as_str())
                .push_bind(&body.key_id)
                .push_bind(&body.envelope)
                .push_bind(&body.payload);
        });
        query.build().execute(&mut *db).await.context("storing the bodies of calls")?;
    }
    outbox::put_new(db, calls, now).await
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
