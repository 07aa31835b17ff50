//! Deliveries: made with the end of a call, taken by whoever sends, ended or put back.

use picasso_types::outgoing::{Delivery, DeliveryRoom, DeliveryState};
use picasso_types::{AppId, CallId, DeliveryId, InstanceId, ProjectId, Timestamp};
use sqlx::{MySql, MySqlConnection, MySqlPool, QueryBuilder};

use crate::error::Context as _;
use crate::rows::{column, parsed};
use crate::sealed_delivery::{self, SealedDelivery, short};
use crate::{SecretKey, StoreError, TakenDelivery};

/// Projects that one look serves.
const PROJECTS: i64 = 1000;

pub(super) async fn put(
    db: &mut MySqlConnection,
    call: &CallId,
    deliveries: &[SealedDelivery],
    now: Timestamp,
) -> Result<(), StoreError> {
    for delivery in deliveries {
        sqlx::query(
            "INSERT INTO deliveries (id, call_id, project_id, app_id, kind, target, not_before, created_at, \
             key_id, content) SELECT ?, id, project_id, app_id, ?, ?, ?, ?, ?, ? FROM calls WHERE id = ?",
        )
        .bind(delivery.id.as_str())
        .bind(delivery.kind.as_str())
        .bind(&delivery.target)
        .bind(now.0)
        .bind(now.0)
        .bind(&delivery.key_id)
        .bind(&delivery.content)
        .bind(call.as_str())
        .execute(&mut *db)
        .await
        .context("writing a delivery")?;
    }
    Ok(())
}

pub(super) async fn list(db: &MySqlPool, call: &CallId) -> Result<Vec<Delivery>, StoreError> {
    let rows = sqlx::query("SELECT * FROM deliveries WHERE call_id = ? ORDER BY id")
        .bind(call.as_str())
        .fetch_all(db)
        .await
        .context("listing deliveries")?;
    rows.iter().map(sealed_delivery::delivery).collect()
}

/// The projects with due deliveries, the longest due first. Steps from project to project in the
/// index, so that a long queue of one costs as little as a short one.
pub(super) async fn due_projects(db: &MySqlPool, now: Timestamp) -> Result<Vec<ProjectId>, StoreError> {
    let rows = sqlx::query(
        "WITH RECURSIVE projects (project) AS ( \
             SELECT min(project_id) FROM deliveries WHERE state = 'waiting' \
             UNION ALL \
             SELECT (SELECT min(project_id) FROM deliveries WHERE state = 'waiting' AND project_id > projects.project) \
             FROM projects WHERE project IS NOT NULL), \
         due AS ( \
             SELECT project, (SELECT min(not_before) FROM deliveries WHERE state = 'waiting' AND project_id = projects.project) \
             AS since FROM projects WHERE project IS NOT NULL) \
         SELECT project FROM due WHERE since <= ? ORDER BY since LIMIT ?",
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
    db: &MySqlPool,
    key: &SecretKey,
    (due, room): (&[ProjectId], &DeliveryRoom),
    owner: &InstanceId,
    lease_until: Timestamp,
    now: Timestamp,
) -> Result<Vec<TakenDelivery>, StoreError> {
    let mut transaction = db.begin().await.context("beginning a transaction")?;
    let mut ids: Vec<String> = Vec::new();
    for (project, share) in room.shares(due) {
        let rows = sqlx::query(
            "SELECT id FROM deliveries WHERE state = 'waiting' AND project_id = ? AND not_before <= ? \
             ORDER BY not_before LIMIT ? FOR UPDATE SKIP LOCKED",
        )
        .bind(project.as_str())
        .bind(now.0)
        .bind(share)
        .fetch_all(&mut *transaction)
        .await
        .context("taking deliveries")?;
        for row in &rows {
            ids.push(column(row, "id")?);
        }
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut update = QueryBuilder::new("UPDATE deliveries SET attempts = attempts + 1, lease_owner = ");
    update.push_bind(owner.as_str()).push(", not_before = ").push_bind(lease_until.0);
    push_ids(update.push(" WHERE id IN"), &ids);
    update.build().persistent(false).execute(&mut *transaction).await.context("taking deliveries")?;
    let mut select = QueryBuilder::new("SELECT * FROM deliveries WHERE id IN");
    push_ids(&mut select, &ids);
    let rows = select.build().persistent(false).fetch_all(&mut *transaction).await;
    let rows = rows.context("loading taken deliveries")?;
    transaction.commit().await.context("committing a transaction")?;
    rows.iter().map(|row| sealed_delivery::taken(row, key)).collect()
}

fn push_ids(query: &mut QueryBuilder<MySql>, ids: &[impl AsRef<str>]) {
    query.push(" (");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id.as_ref().to_owned());
    }
    query.push(")");
}

pub(super) async fn end(
    db: &MySqlPool,
    id: &DeliveryId,
    owner: &InstanceId,
    state: DeliveryState,
    error: Option<&str>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let ended = sqlx::query(
        "UPDATE deliveries SET state = ?, last_error = ?, finished_at = ?, lease_owner = NULL, \
         key_id = NULL, content = NULL WHERE id = ? AND state = 'waiting' AND lease_owner = ?",
    )
    .bind(state.as_str())
    .bind(error.map(short))
    .bind(now.0)
    .bind(id.as_str())
    .bind(owner.as_str())
    .execute(db)
    .await
    .context("ending a delivery")?;
    Ok(ended.rows_affected() > 0)
}

pub(super) async fn put_back(
    db: &MySqlPool,
    id: &DeliveryId,
    owner: &InstanceId,
    not_before: Timestamp,
    error: &str,
) -> Result<bool, StoreError> {
    let back = sqlx::query(
        "UPDATE deliveries SET not_before = ?, last_error = ?, lease_owner = NULL \
         WHERE id = ? AND state = 'waiting' AND lease_owner = ?",
    )
    .bind(not_before.0)
    .bind(short(error))
    .bind(id.as_str())
    .bind(owner.as_str())
    .execute(db)
    .await
    .context("putting a delivery back")?;
    Ok(back.rows_affected() > 0)
}

pub(super) async fn postpone(
    db: &MySqlPool,
    ids: &[DeliveryId],
    owner: &InstanceId,
    not_before: Timestamp,
) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = ids.iter().map(DeliveryId::as_str).collect();
    let mut query =
        QueryBuilder::new("UPDATE deliveries SET attempts = attempts - 1, lease_owner = NULL, not_before = ");
    query.push_bind(not_before.0);
    push_ids(query.push(" WHERE state = 'waiting' AND id IN"), &ids);
    query.push(" AND lease_owner = ").push_bind(owner.as_str());
    query.build().persistent(false).execute(db).await.context("postponing deliveries")?;
    Ok(())
}

pub(super) async fn abandon(db: &MySqlPool, owner: &InstanceId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE deliveries SET not_before = ?, lease_owner = NULL WHERE state = 'waiting' AND lease_owner = ?",
    )
    .bind(now.0)
    .bind(owner.as_str())
    .execute(db)
    .await
    .context("ending abandoned deliveries")?;
    Ok(())
}

pub(super) async fn rotate_signing_key(
    db: &MySqlPool,
    app: &AppId,
    (key_id, sealed): (&str, &[u8]),
    previous_until: Timestamp,
) -> Result<(), StoreError> {
    // Assignments see the ones before them.
    let made = sqlx::query(
        "INSERT INTO signing_keys (app_id, newest, newest_key_id) SELECT id, ?, ? FROM apps WHERE id = ? \
         ON DUPLICATE KEY UPDATE previous = signing_keys.newest, \
         previous_key_id = signing_keys.newest_key_id, previous_until = ?, newest = VALUES(newest), \
         newest_key_id = VALUES(newest_key_id)",
    )
    .bind(sealed)
    .bind(key_id)
    .bind(app.as_str())
    .bind(previous_until.0)
    .execute(db)
    .await
    .context("writing a signing key")?;
    if made.rows_affected() == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

pub(super) async fn add_signing_key(
    db: &MySqlPool,
    app: &AppId,
    (key_id, sealed): (&str, &[u8]),
) -> Result<(), StoreError> {
    // Not INSERT IGNORE: that would make warnings of other errors, too.
    sqlx::query(
        "INSERT INTO signing_keys (app_id, newest, newest_key_id) SELECT id, ?, ? FROM apps WHERE id = ? \
         ON DUPLICATE KEY UPDATE app_id = signing_keys.app_id",
    )
    .bind(sealed)
    .bind(key_id)
    .bind(app.as_str())
    .execute(db)
    .await
    .context("writing a first signing key")?;
    Ok(())
}

pub(super) async fn signing_keys(
    db: &MySqlPool,
    key: &SecretKey,
    app: &AppId,
    now: Timestamp,
) -> Result<Option<picasso_types::outgoing::SigningKeys>, StoreError> {
    let row = sqlx::query("SELECT * FROM signing_keys WHERE app_id = ?")
        .bind(app.as_str())
        .fetch_optional(db)
        .await
        .context("loading a signing key")?;
    row.map(|row| sealed_delivery::signing_keys(&row, key, app, now)).transpose()
}
