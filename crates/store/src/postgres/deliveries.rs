//! Deliveries: made with the end of a call, taken by whoever sends, ended or put back.

use picasso_types::outgoing::{Delivery, DeliveryRoom, DeliveryState};
use picasso_types::{AppId, CallId, DeliveryId, InstanceId, ProjectId, Timestamp};
use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::error::Context as _;
use crate::rows::parsed;
use crate::sealed_delivery::{self, SealedDelivery, short};
use crate::{SecretKey, StoreError, TakenDelivery};

/// Projects that one look serves.
const PROJECTS: i64 = 1000;

pub(super) async fn put(
    db: &mut PgConnection,
    call: &CallId,
    deliveries: &[SealedDelivery],
    now: Timestamp,
) -> Result<(), StoreError> {
    for delivery in deliveries {
        sqlx::query(
            "INSERT INTO deliveries (id, call_id, project_id, app_id, kind, target, not_before, created_at, \
             key_id, content) \
             SELECT $1, id, project_id, app_id, $3, $4, $5, $5, $6, $7 FROM calls WHERE id = $2",
        )
        .bind(delivery.id.as_str())
        .bind(call.as_str())
        .bind(delivery.kind.as_str())
        .bind(&delivery.target)
        .bind(now.0)
        .bind(&delivery.key_id)
        .bind(&delivery.content)
        .execute(&mut *db)
        .await
        .context("writing a delivery")?;
    }
    Ok(())
}

pub(super) async fn list(db: &PgPool, call: &CallId) -> Result<Vec<Delivery>, StoreError> {
    let rows = sqlx::query("SELECT * FROM deliveries WHERE call_id = $1 ORDER BY id")
        .bind(call.as_str())
        .fetch_all(db)
        .await
        .context("listing deliveries")?;
    rows.iter().map(sealed_delivery::delivery).collect()
}

/// The projects with due deliveries, the longest due first. Steps from project to project in the
/// index, so that a long queue of one costs as little as a short one.
pub(super) async fn due_projects(db: &PgPool, now: Timestamp) -> Result<Vec<ProjectId>, StoreError> {
    let rows = sqlx::query(
        "WITH RECURSIVE projects (project) AS ( \
             SELECT min(project_id) FROM deliveries WHERE state = 'waiting' \
             UNION ALL \
             SELECT (SELECT min(project_id) FROM deliveries WHERE state = 'waiting' AND project_id > projects.project) \
             FROM projects WHERE project IS NOT NULL), \
         due AS ( \
             SELECT project, (SELECT min(not_before) FROM deliveries WHERE state = 'waiting' AND project_id = projects.project) \
             AS since FROM projects WHERE project IS NOT NULL) \
         SELECT project FROM due WHERE since <= $1 ORDER BY since LIMIT $2",
    )
    .bind(now.0)
    .bind(PROJECTS)
    .fetch_all(db)
    .await
    .context("looking for due deliveries")?;
    rows.iter().map(|row| parsed(row, "project", ProjectId::stored)).collect()
}

/// Deliveries that another process is taking just now are left to it.
pub(super) async fn take(
    db: impl PgExecutor<'_>,
    key: &SecretKey,
    (due, room): (&[ProjectId], &DeliveryRoom),
    owner: &InstanceId,
    lease_until: Timestamp,
    now: Timestamp,
) -> Result<Vec<TakenDelivery>, StoreError> {
    let (projects, shares): (Vec<String>, Vec<i64>) =
        room.shares(due).into_iter().map(|(id, share)| (id.to_string(), i64::from(share))).unzip();
    let rows = sqlx::query(
        "WITH picked AS ( \
             SELECT d.id FROM unnest($1::text[], $2::bigint[]) AS p (project_id, share) \
             CROSS JOIN LATERAL ( \
                 SELECT id FROM deliveries WHERE state = 'waiting' AND project_id = p.project_id \
                 AND not_before <= $5 ORDER BY not_before LIMIT p.share FOR UPDATE SKIP LOCKED) d) \
         UPDATE deliveries SET attempts = attempts + 1, lease_owner = $3, not_before = $4 \
         FROM picked WHERE deliveries.id = picked.id RETURNING deliveries.*",
    )
    .bind(projects)
    .bind(shares)
    .bind(owner.as_str())
    .bind(lease_until.0)
    .bind(now.0)
    .fetch_all(db)
    .await
    .context("taking deliveries")?;
    rows.iter().map(|row| sealed_delivery::taken(row, key)).collect()
}

pub(super) async fn end(
    db: impl PgExecutor<'_>,
    id: &DeliveryId,
    owner: &InstanceId,
    state: DeliveryState,
    error: Option<&str>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let ended = sqlx::query(
        "UPDATE deliveries SET state = $3, last_error = $4, finished_at = $5, lease_owner = NULL, \
         key_id = NULL, content = NULL WHERE id = $1 AND state = 'waiting' AND lease_owner = $2",
    )
    .bind(id.as_str())
    .bind(owner.as_str())
    .bind(state.as_str())
    .bind(error.map(short))
    .bind(now.0)
    .execute(db)
    .await
    .context("ending a delivery")?;
    Ok(ended.rows_affected() > 0)
}

pub(super) async fn put_back(
    db: impl PgExecutor<'_>,
    id: &DeliveryId,
    owner: &InstanceId,
    not_before: Timestamp,
    error: &str,
) -> Result<bool, StoreError> {
    let back = sqlx::query(
        "UPDATE deliveries SET not_before = $3, last_error = $4, lease_owner = NULL \
         WHERE id = $1 AND state = 'waiting' AND lease_owner = $2",
    )
    .bind(id.as_str())
    .bind(owner.as_str())
    .bind(not_before.0)
    .bind(short(error))
    .execute(db)
    .await
    .context("putting a delivery back")?;
    Ok(back.rows_affected() > 0)
}

pub(super) async fn postpone(
    db: impl PgExecutor<'_>,
    ids: &[DeliveryId],
    owner: &InstanceId,
    not_before: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE deliveries SET not_before = $3, attempts = attempts - 1, lease_owner = NULL \
         WHERE id = ANY($1) AND state = 'waiting' AND lease_owner = $2",
    )
    .bind(ids.iter().map(DeliveryId::as_str).collect::<Vec<_>>())
    .bind(owner.as_str())
    .bind(not_before.0)
    .execute(db)
    .await
    .context("postponing deliveries")?;
    Ok(())
}

pub(super) async fn abandon(
    db: impl PgExecutor<'_>,
    owner: &InstanceId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE deliveries SET not_before = $2, lease_owner = NULL WHERE state = 'waiting' AND lease_owner = $1",
    )
    .bind(owner.as_str())
    .bind(now.0)
    .execute(db)
    .await
    .context("ending abandoned deliveries")?;
    Ok(())
}

pub(super) async fn rotate_signing_key(
    db: impl PgExecutor<'_>,
    app: &AppId,
    (key_id, sealed): (&str, &[u8]),
    previous_until: Timestamp,
) -> Result<(), StoreError> {
    let made = sqlx::query(
        "INSERT INTO signing_keys (app_id, newest, newest_key_id) SELECT id, $2, $3 FROM apps WHERE id = $1 \
         ON CONFLICT (app_id) DO UPDATE SET previous = signing_keys.newest, previous_key_id = signing_keys.newest_key_id, \
         previous_until = $4, newest = excluded.newest, newest_key_id = excluded.newest_key_id",
    )
    .bind(app.as_str())
    .bind(sealed)
    .bind(key_id)
    .bind(previous_until.0)
    .execute(db)
    .await
    .context("writing a signing key")?;
    if made.rows_affected() == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

pub(super) async fn add_signing_key(
    db: impl PgExecutor<'_>,
    app: &AppId,
    (key_id, sealed): (&str, &[u8]),
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO signing_keys (app_id, newest, newest_key_id) SELECT id, $2, $3 FROM apps WHERE id = $1 \
         ON CONFLICT (app_id) DO NOTHING",
    )
    .bind(app.as_str())
    .bind(sealed)
    .bind(key_id)
    .execute(db)
    .await
    .context("writing a first signing key")?;
    Ok(())
}

pub(super) async fn signing_keys(
    db: &PgPool,
    key: &SecretKey,
    app: &AppId,
    now: Timestamp,
) -> Result<Option<picasso_types::outgoing::SigningKeys>, StoreError> {
    let row = sqlx::query("SELECT * FROM signing_keys WHERE app_id = $1")
        .bind(app.as_str())
        .fetch_optional(db)
        .await
        .context("loading a signing key")?;
    row.map(|row| sealed_delivery::signing_keys(&row, key, app, now)).transpose()
}
