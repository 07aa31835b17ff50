//! How a version comes to be, and how its preparation ends.

use picasso_types::{Digest, RouteId, Timestamp, VersionId, VersionSpec};
use sqlx::{query, query_scalar};

use super::{Connection, Executor, changes, identities, lock_app_of_version, sql, storable};
use crate::error::Context as _;
use crate::preparation::{Merged, Preparation, kept_error};
use crate::rows::{self, column, to_json, version_columns};
use crate::{PreparingVersion, StoreError};

#[expect(clippy::too_many_arguments, reason = "a row has these columns; a struct would only rename them")]
pub(crate) async fn insert(
    db: &mut Connection,
    route: &RouteId,
    number: u32,
    spec: &VersionSpec,
    merged: &Merged,
    preparation: &Preparation<'_>,
    created_by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    // By itself: in MariaDB a statement that writes a table cannot look into it beside what it writes.
    let original: Option<String> = match preparation.copy_of {
        Some(copied) => query_scalar(sql("SELECT coalesce(copy_of, id) FROM route_versions WHERE id = ?"))
            .bind(copied.as_str())
            .fetch_optional(&mut *db)
            .await
            .context("loading what a version is a copy of")?,
        None => None,
    };
    query(sql("INSERT INTO route_versions (id, route_id, number, image, format, config, merged_config, \
         memory_mb, timeout_s, max_concurrency, concurrency, idle_timeout_s, min_instances, queue_timeout_s, \
         network, digest, state, error, copy_of, rolled_back_to, created_by, created_at, secrets, merged_secrets) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"))
    .bind(VersionId::generate().as_str().to_owned())
    .bind(route.as_str())
    .bind(i64::from(number))
    .bind(spec.image.to_string())
    .bind(spec.format.as_str())
    .bind(to_json("config", &spec.config)?)
    .bind(to_json("merged_config", &merged.config)?)
    .bind(i64::from(spec.memory_mb))
    .bind(i64::from(spec.timeout_s))
    .bind(spec.max_concurrency.map(i64::from))
    .bind(i64::from(spec.concurrency))
    .bind(i64::from(spec.idle_timeout_s))
    .bind(i64::from(spec.min_instances))
    .bind(i64::from(spec.queue_timeout_s))
    .bind(spec.network.as_str())
    .bind(preparation.digest.map(Digest::as_str))
    .bind(preparation.state.as_str())
    .bind(preparation.error)
    .bind(original)
    .bind(preparation.rolled_back_to.map(i64::from))
    .bind(created_by)
    .bind(now.0)
    .bind(to_json("secrets", &spec.secrets)?)
    .bind(to_json("merged_secrets", &merged.secrets)?)
    .execute(&mut *db)
    .await
    .context("storing a route's version")?;
    identities::suspend(db, route, created_by, &format!("version {number} was made"), now).await
}

pub(crate) async fn list_preparing(db: impl Executor<'_>) -> Result<Vec<PreparingVersion>, StoreError> {
    let rows = query(sql(concat!(
        "SELECT a.project_id, ",
        version_columns!(),
        " FROM route_versions v JOIN routes r ON r.id = v.route_id JOIN apps a ON a.id = r.app_id \
         WHERE v.state = 'preparing' AND v.copy_of IS NULL ORDER BY v.created_at, v.id"
    )))
    .fetch_all(db)
    .await
    .context("listing preparing versions")?;
    rows.iter().map(rows::preparing).collect()
}

pub(crate) async fn set_ready(
    db: &mut Connection,
    id: &VersionId,
    digest: &Digest,
    now: Timestamp,
) -> Result<(), StoreError> {
    let app = lock_app_of_version(db, id).await?;
    let ready = [
        "UPDATE route_versions SET state = 'ready', digest = ? WHERE id = ? AND state = 'preparing'",
        "UPDATE route_versions SET state = 'ready', digest = ? WHERE copy_of = ? AND state = 'preparing'",
    ];
    if decide(db, ready, digest.as_str(), id).await.context("marking a version ready")? == 0 {
        return was_decided(db, id, Some(digest)).await;
    }
    query(sql("UPDATE routes SET active_number = (SELECT max(number) FROM route_versions \
         WHERE route_id = routes.id AND (id = ? OR copy_of = ? OR number = routes.active_number) \
         AND state = 'ready') \
         WHERE id = (SELECT route_id FROM route_versions WHERE id = ?)"))
    .bind(id.as_str())
    .bind(id.as_str())
    .bind(id.as_str())
    .execute(&mut *db)
    .await
    .context("activating a version")?;
    changes::note(db, &app, now).await
}

pub(crate) async fn set_failed(
    db: &mut Connection,
    id: &VersionId,
    error: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let app = lock_app_of_version(db, id).await?;
    let failed = [
        "UPDATE route_versions SET state = 'failed', error = ? WHERE id = ? AND state = 'preparing'",
        "UPDATE route_versions SET state = 'failed', error = ? WHERE copy_of = ? AND state = 'preparing'",
    ];
    let error = storable(kept_error(error));
    if decide(db, failed, &error, id).await.context("marking a version failed")? == 0 {
        return was_decided(db, id, None).await;
    }
    changes::note(db, &app, now).await
}

/// Decides a version, and the copies that share its preparation: one statement each, because with one for
/// both MariaDB would walk over, and hold, every row.
async fn decide(
    db: &mut Connection,
    statements: [&'static str; 2],
    outcome: &str,
    id: &VersionId,
) -> sqlx::Result<u64> {
    let mut decided = 0;
    for statement in statements {
        let one = query(sql(statement)).bind(outcome).bind(id.as_str());
        decided += one.execute(&mut *db).await?.rows_affected();
    }
    Ok(decided)
}

/// Two nodes may prepare one version: the second one's same outcome is no error.
async fn was_decided(db: &mut Connection, id: &VersionId, digest: Option<&Digest>) -> Result<(), StoreError> {
    let row = query(sql("SELECT digest FROM route_versions WHERE id = ?"))
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a version's state")?
        .ok_or(StoreError::NotFound)?;
    let decided: Option<&str> = column(&row, "digest")?;
    if decided == digest.map(Digest::as_str) { Ok(()) } else { Err(StoreError::NotFound) }
}
