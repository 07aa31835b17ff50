//! Immutable versions of routes, and how their preparation ends.

use picasso_types::{
    AppId, Digest, InstanceId, RouteId, RouteVersion, Timestamp, VersionId, VersionSpec, VersionState,
};
use sqlx::{MySqlConnection, MySqlExecutor, MySqlPool, QueryBuilder};

use super::{apps, changes, identities};
use crate::error::Context as _;
use crate::old_versions::UNNEEDED;
use crate::preparation::{Merged, Preparation, kept_error};
use crate::rows::{self, parsed, to_json, version_columns};
use crate::{PreparingVersion, StoreError};

/// A version and the copies that share its preparation: one statement each, because one for both
/// would walk over, and hold, every row.
const PREPARED_WITH: [&str; 2] = [" WHERE id = ", " WHERE copy_of = "];

#[expect(clippy::too_many_arguments, reason = "a row has these columns; a struct would only rename them")]
pub(super) async fn insert(
    db: &mut MySqlConnection,
    route: &RouteId,
    number: u32,
    spec: &VersionSpec,
    merged: &Merged,
    preparation: &Preparation<'_>,
    created_by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    // A statement that writes a table cannot look into it beside what it writes.
    let original: Option<String> = match preparation.copy_of {
        Some(copied) => sqlx::query_scalar("SELECT coalesce(copy_of, id) FROM route_versions WHERE id = ?")
            .bind(copied.as_str())
            .fetch_optional(&mut *db)
            .await
            .context("loading what a version is a copy of")?,
        None => None,
    };
    sqlx::query(
        "INSERT INTO route_versions (id, route_id, number, image, format, config, merged_config, \
         memory_mb, timeout_s, max_concurrency, concurrency, idle_timeout_s, min_instances, queue_timeout_s, \
         network, digest, state, error, copy_of, rolled_back_to, created_by, created_at, secrets, merged_secrets) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
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

pub(super) async fn get(db: &MySqlPool, id: &VersionId) -> Result<RouteVersion, StoreError> {
    let row = sqlx::query(concat!("SELECT ", version_columns!(), " FROM route_versions v WHERE v.id = ?"))
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a version")?;
    rows::version(&row.ok_or(StoreError::NotFound)?)
}

pub(super) async fn get_of_route(
    db: impl MySqlExecutor<'_>,
    route: &RouteId,
    number: u32,
) -> Result<RouteVersion, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        version_columns!(),
        " FROM route_versions v WHERE v.route_id = ? AND v.number = ?"
    ))
    .bind(route.as_str())
    .bind(i64::from(number))
    .fetch_optional(db)
    .await
    .context("loading a route's version")?;
    rows::version(&row.ok_or(StoreError::NotFound)?)
}

/// A version of the route that can run.
pub(super) async fn get_ready(
    db: impl MySqlExecutor<'_>,
    route: &RouteId,
    number: u32,
) -> Result<RouteVersion, StoreError> {
    match get_of_route(db, route, number).await {
        Ok(version) if version.state == VersionState::Ready => Ok(version),
        Ok(_) => Err(StoreError::VersionNotReady(number)),
        Err(StoreError::NotFound) => Err(StoreError::VersionNotFound(number)),
        Err(error) => Err(error),
    }
}

/// Newest first.
pub(super) async fn list(
    db: impl MySqlExecutor<'_>,
    route: &RouteId,
    before: Option<u32>,
    limit: u32,
) -> Result<Vec<RouteVersion>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        version_columns!(),
        " FROM route_versions v WHERE v.route_id = ? AND v.number < ? ORDER BY v.number DESC LIMIT ?"
    ))
    .bind(route.as_str())
    .bind(before.map_or(i64::MAX, i64::from))
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
    .context("listing a route's versions")?;
    rows.iter().map(rows::version).collect()
}

/// Routes that have versions which nothing needs any more.
pub(super) async fn list_routes_with_old(
    db: &MySqlPool,
    keep: u32,
    limit: u32,
) -> Result<Vec<RouteId>, StoreError> {
    let mut select = QueryBuilder::new(
        "SELECT DISTINCT v.route_id FROM routes r JOIN route_versions v ON v.route_id = r.id \
         AND v.number <= r.latest_number - ",
    );
    select.push_bind(i64::from(keep)).push(UNNEEDED).push(" LIMIT ").push_bind(i64::from(limit));
    let rows = select.build().fetch_all(db).await.context("looking for old versions")?;
    rows.iter().map(|row| parsed(row, "route_id", RouteId::parse)).collect()
}

/// Deletes what [`list_routes_with_old`] found of one route; how many.
pub(super) async fn delete_old(
    db: &mut MySqlConnection,
    route: &RouteId,
    keep: u32,
    now: Timestamp,
) -> Result<u64, StoreError> {
    // Nobody gives one of them to an alias meanwhile.
    let app = match apps::lock_of_route(db, route).await {
        Err(StoreError::NotFound) => return Ok(0),
        app => app?,
    };
    let mut select = QueryBuilder::new(
        "SELECT v.id FROM routes r JOIN route_versions v ON v.route_id = r.id \
         AND v.number <= r.latest_number - ",
    );
    select.push_bind(i64::from(keep)).push(UNNEEDED).push(" AND r.id = ").push_bind(route.as_str());
    let rows = select.build().fetch_all(&mut *db).await.context("listing old versions")?;
    let mut deleted = 0;
    for row in &rows {
        let id = parsed(row, "id", VersionId::parse)?;
        let one = sqlx::query("DELETE FROM route_versions WHERE id = ?").bind(id.as_str());
        deleted += one.execute(&mut *db).await.context("deleting an old version")?.rows_affected();
    }
    if deleted > 0 {
        changes::note(db, &app, now).await?;
    }
    Ok(deleted)
}

pub(super) async fn set_ready(
    db: &mut MySqlConnection,
    id: &VersionId,
    digest: &Digest,
    now: Timestamp,
) -> Result<(), StoreError> {
    let app = apps::lock_of_version(db, id).await?;
    let mut decided = 0;
    for which in PREPARED_WITH {
        let mut update = QueryBuilder::new("UPDATE route_versions SET state = 'ready', digest = ");
        update.push_bind(digest.as_str()).push(which).push_bind(id.as_str()).push(" AND state = 'preparing'");
        let updated = update.build().execute(&mut *db).await.context("marking a version ready")?;
        decided += updated.rows_affected();
    }
    if decided == 0 {
        return was_decided(db, id, Some(digest)).await;
    }
    sqlx::query(
        "UPDATE routes SET active_number = (SELECT max(number) FROM route_versions \
         WHERE route_id = routes.id AND (id = ? OR copy_of = ? OR number = routes.active_number) \
         AND state = 'ready') \
         WHERE id = (SELECT route_id FROM route_versions WHERE id = ?)",
    )
    .bind(id.as_str())
    .bind(id.as_str())
    .bind(id.as_str())
    .execute(&mut *db)
    .await
    .context("activating a version")?;
    changes::note(db, &app, now).await
}

pub(super) async fn set_failed(
    db: &mut MySqlConnection,
    id: &VersionId,
    error: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let app = apps::lock_of_version(db, id).await?;
    let mut decided = 0;
    for which in PREPARED_WITH {
        let mut update = QueryBuilder::new("UPDATE route_versions SET state = 'failed', error = ");
        update
            .push_bind(kept_error(error))
            .push(which)
            .push_bind(id.as_str())
            .push(" AND state = 'preparing'");
        let updated = update.build().execute(&mut *db).await.context("marking a version failed")?;
        decided += updated.rows_affected();
    }
    if decided == 0 {
        return was_decided(db, id, None).await;
    }
    changes::note(db, &app, now).await
}

/// Two nodes may prepare one version: the second one's same outcome is no error.
async fn was_decided(
    db: &mut MySqlConnection,
    id: &VersionId,
    digest: Option<&Digest>,
) -> Result<(), StoreError> {
    let same: Option<bool> = sqlx::query_scalar("SELECT digest <=> ? FROM route_versions WHERE id = ?")
        .bind(digest.map(Digest::as_str))
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a version's state")?;
    if same == Some(true) { Ok(()) } else { Err(StoreError::NotFound) }
}

pub(super) async fn list_preparing(db: &MySqlPool) -> Result<Vec<PreparingVersion>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT a.project_id, ",
        version_columns!(),
        " FROM route_versions v JOIN routes r ON r.id = v.route_id JOIN apps a ON a.id = r.app_id \
         WHERE v.state = 'preparing' AND v.copy_of IS NULL ORDER BY v.created_at, v.id"
    ))
    .fetch_all(db)
    .await
    .context("listing preparing versions")?;
    rows.iter().map(rows::preparing).collect()
}

/// Takes or extends the lease of a version's preparation; `false` when another holds it, or there is
/// nothing to prepare any more.
pub(super) async fn lease_preparation(
    db: &MySqlPool,
    id: &VersionId,
    owner: &InstanceId,
    until: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    // What was matched is counted, not what was different.
    let held = sqlx::query(
        "UPDATE preparations p JOIN route_versions v ON v.id = p.version_id AND v.state = 'preparing' \
         SET p.lease_owner = ?, p.lease_until = ? \
         WHERE p.version_id = ? AND (p.lease_owner = ? OR p.lease_until <= ?)",
    )
    .bind(owner.as_str())
    .bind(until.0)
    .bind(id.as_str())
    .bind(owner.as_str())
    .bind(now.0)
    .execute(db)
    .await
    .context("extending the lease of a preparation")?;
    if held.rows_affected() > 0 {
        return Ok(true);
    }
    let taken = sqlx::query(
        "INSERT INTO preparations (version_id, lease_owner, lease_until) \
         SELECT v.id, ?, ? FROM route_versions v WHERE v.id = ? AND v.state = 'preparing' \
         AND NOT EXISTS (SELECT 1 FROM preparations p WHERE p.version_id = v.id)",
    )
    .bind(owner.as_str())
    .bind(until.0)
    .bind(id.as_str())
    .execute(db)
    .await;
    match taken {
        Ok(taken) => Ok(taken.rows_affected() > 0),
        // Another was first.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
        Err(error) => Err(error).context("leasing a preparation"),
    }
}

pub(super) async fn list_kept_warm(db: &MySqlPool) -> Result<Vec<AppId>, StoreError> {
    let rows = sqlx::query(
        "SELECT DISTINCT r.app_id FROM route_versions v \
         JOIN routes r ON r.id = v.route_id \
         WHERE v.min_instances > 0 AND (r.active_number = v.number OR EXISTS (SELECT 1 FROM alias_shares s \
         WHERE s.route_id = v.route_id AND s.number = v.number)) ORDER BY 1",
    )
    .fetch_all(db)
    .await
    .context("listing apps that are kept warm")?;
    rows.iter().map(|row| parsed(row, "app_id", AppId::parse)).collect()
}

pub(super) async fn list_referenced_digests(db: &MySqlPool) -> Result<Vec<Digest>, StoreError> {
    let rows = sqlx::query(
        "SELECT digest FROM route_versions WHERE digest IS NOT NULL \
         UNION SELECT digest FROM calls WHERE state = 'queued' AND digest IS NOT NULL \
         UNION SELECT digest FROM calls WHERE state = 'running' AND digest IS NOT NULL ORDER BY 1",
    )
    .fetch_all(db)
    .await
    .context("listing referenced images")?;
    rows.iter().map(rows::digest).collect()
}
