//! Immutable versions of routes, and how their preparation ends.

use picasso_types::{
    AppId, Digest, InstanceId, RouteId, RouteVersion, Timestamp, VersionId, VersionSpec, VersionState,
};
use sqlx::{PgConnection, PgExecutor, PgPool, QueryBuilder};

use super::{apps, changes, identities};
use crate::error::Context as _;
use crate::old_versions::UNNEEDED;
use crate::preparation::{Merged, Preparation, kept_error};
use crate::rows::{self, parsed, to_json, version_columns};
use crate::{PreparingVersion, StoreError};

#[expect(clippy::too_many_arguments, reason = "a row has these columns; a struct would only rename them")]
pub(super) async fn insert(
    db: &mut PgConnection,
    route: &RouteId,
    number: u32,
    spec: &VersionSpec,
    merged: &Merged,
    preparation: &Preparation<'_>,
    created_by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO route_versions (id, route_id, number, image, format, config, merged_config, \
         memory_mb, timeout_s, max_concurrency, concurrency, idle_timeout_s, min_instances, queue_timeout_s, \
         network, digest, state, error, copy_of, rolled_back_to, created_by, created_at, secrets, merged_secrets) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
         (SELECT coalesce(copy_of, id) FROM route_versions WHERE id = $19), $20, $21, $22, $23, $24)",
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
    .bind(preparation.copy_of.map(VersionId::as_str))
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

pub(super) async fn get(db: &PgPool, id: &VersionId) -> Result<RouteVersion, StoreError> {
    let row = sqlx::query(concat!("SELECT ", version_columns!(), " FROM route_versions v WHERE v.id = $1"))
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a version")?;
    rows::version(&row.ok_or(StoreError::NotFound)?)
}

pub(super) async fn get_of_route(
    db: impl PgExecutor<'_>,
    route: &RouteId,
    number: u32,
) -> Result<RouteVersion, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        version_columns!(),
        " FROM route_versions v WHERE v.route_id = $1 AND v.number = $2"
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
    db: impl PgExecutor<'_>,
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
    db: impl PgExecutor<'_>,
    route: &RouteId,
    before: Option<u32>,
    limit: u32,
) -> Result<Vec<RouteVersion>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        version_columns!(),
        " FROM route_versions v WHERE v.route_id = $1 AND v.number < $2 ORDER BY v.number DESC LIMIT $3"
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
    db: &PgPool,
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
    db: &mut PgConnection,
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
        let one = sqlx::query("DELETE FROM route_versions WHERE id = $1").bind(id.as_str());
        deleted += one.execute(&mut *db).await.context("deleting an old version")?.rows_affected();
    }
    if deleted > 0 {
        changes::note(db, &app, now).await?;
    }
    Ok(deleted)
}

pub(super) async fn set_ready(
    db: &mut PgConnection,
    id: &VersionId,
    digest: &Digest,
    now: Timestamp,
) -> Result<(), StoreError> {
    let app = apps::lock_of_version(db, id).await?;
    let decided = sqlx::query(
        "UPDATE route_versions SET state = 'ready', digest = $2 \
         WHERE (id = $1 OR copy_of = $1) AND state = 'preparing'",
    )
    .bind(id.as_str())
    .bind(digest.as_str())
    .execute(&mut *db)
    .await
    .context("marking a version ready")?;
    if decided.rows_affected() == 0 {
        return was_decided(db, id, Some(digest)).await;
    }
    sqlx::query(
        "UPDATE routes SET active_number = (SELECT max(number) FROM route_versions \
         WHERE route_id = routes.id AND (id = $1 OR copy_of = $1 OR number = routes.active_number) \
         AND state = 'ready') \
         WHERE id = (SELECT route_id FROM route_versions WHERE id = $1)",
    )
    .bind(id.as_str())
    .execute(&mut *db)
    .await
    .context("activating a version")?;
    changes::note(db, &app, now).await
}

pub(super) async fn set_failed(
    db: &mut PgConnection,
    id: &VersionId,
    error: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let app = apps::lock_of_version(db, id).await?;
    let decided = sqlx::query(
        "UPDATE route_versions SET state = 'failed', error = $2 \
         WHERE (id = $1 OR copy_of = $1) AND state = 'preparing'",
    )
    .bind(id.as_str())
    // A program may have said it: PostgreSQL keeps no NUL in text.
    .bind(kept_error(error).replace('\0', "\u{fffd}"))
    .execute(&mut *db)
    .await
    .context("marking a version failed")?;
    if decided.rows_affected() == 0 {
        return was_decided(db, id, None).await;
    }
    changes::note(db, &app, now).await
}

/// Two nodes may prepare one version: the second one's same outcome is no error.
async fn was_decided(
    db: &mut PgConnection,
    id: &VersionId,
    digest: Option<&Digest>,
) -> Result<(), StoreError> {
    let same: Option<bool> =
        sqlx::query_scalar("SELECT digest IS NOT DISTINCT FROM $2 FROM route_versions WHERE id = $1")
            .bind(id.as_str())
            .bind(digest.map(Digest::as_str))
            .fetch_optional(db)
            .await
            .context("loading a version's state")?;
    if same == Some(true) { Ok(()) } else { Err(StoreError::NotFound) }
}

pub(super) async fn list_preparing(db: &PgPool) -> Result<Vec<PreparingVersion>, StoreError> {
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
    db: impl PgExecutor<'_>,
    id: &VersionId,
    owner: &InstanceId,
    until: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let held = sqlx::query(
        "INSERT INTO preparations (version_id, lease_owner, lease_until) \
         SELECT id, $2, $3 FROM route_versions WHERE id = $1 AND state = 'preparing' \
         ON CONFLICT (version_id) DO UPDATE SET lease_owner = excluded.lease_owner, \
         lease_until = excluded.lease_until \
         WHERE preparations.lease_owner = excluded.lease_owner OR preparations.lease_until <= $4",
    )
    .bind(id.as_str())
    .bind(owner.as_str())
    .bind(until.0)
    .bind(now.0)
    .execute(db)
    .await
    .context("leasing a preparation")?;
    Ok(held.rows_affected() > 0)
}

pub(super) async fn list_kept_warm(db: &PgPool) -> Result<Vec<AppId>, StoreError> {
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

pub(super) async fn list_referenced_digests(db: &PgPool) -> Result<Vec<Digest>, StoreError> {
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
