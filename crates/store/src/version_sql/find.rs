//! Versions that somebody asks for, and what they need of the machine.

use picasso_types::{AppId, Digest, RouteId, RouteVersion, VersionId, VersionState};
use sqlx::query;

use super::{Executor, sql};
use crate::StoreError;
use crate::error::Context as _;
use crate::rows::{self, parsed, version_columns};

pub(crate) async fn get(db: impl Executor<'_>, id: &VersionId) -> Result<RouteVersion, StoreError> {
    let row = query(sql(concat!("SELECT ", version_columns!(), " FROM route_versions v WHERE v.id = ?")))
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a version")?;
    rows::version(&row.ok_or(StoreError::NotFound)?)
}

pub(crate) async fn get_of_route(
    db: impl Executor<'_>,
    route: &RouteId,
    number: u32,
) -> Result<RouteVersion, StoreError> {
    let row = query(sql(concat!(
        "SELECT ",
        version_columns!(),
        " FROM route_versions v WHERE v.route_id = ? AND v.number = ?"
    )))
    .bind(route.as_str())
    .bind(i64::from(number))
    .fetch_optional(db)
    .await
    .context("loading a route's version")?;
    rows::version(&row.ok_or(StoreError::NotFound)?)
}

/// A version of the route that can run.
pub(crate) async fn get_ready(
    db: impl Executor<'_>,
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
pub(crate) async fn list(
    db: impl Executor<'_>,
    route: &RouteId,
    before: Option<u32>,
    limit: u32,
) -> Result<Vec<RouteVersion>, StoreError> {
    let rows = query(sql(concat!(
        "SELECT ",
        version_columns!(),
        " FROM route_versions v WHERE v.route_id = ? AND v.number < ? ORDER BY v.number DESC LIMIT ?"
    )))
    .bind(route.as_str())
    .bind(before.map_or(i64::MAX, i64::from))
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
    .context("listing a route's versions")?;
    rows.iter().map(rows::version).collect()
}

pub(crate) async fn list_kept_warm(db: impl Executor<'_>) -> Result<Vec<AppId>, StoreError> {
    let rows = query(sql("SELECT DISTINCT r.app_id FROM route_versions v \
         JOIN routes r ON r.id = v.route_id \
         WHERE v.min_instances > 0 AND (r.active_number = v.number OR EXISTS (SELECT 1 FROM alias_shares s \
         WHERE s.route_id = v.route_id AND s.number = v.number)) ORDER BY 1"))
    .fetch_all(db)
    .await
    .context("listing apps that are kept warm")?;
    rows.iter().map(|row| parsed(row, "app_id", AppId::parse)).collect()
}

pub(crate) async fn list_referenced_digests(db: impl Executor<'_>) -> Result<Vec<Digest>, StoreError> {
    let rows = query(sql("SELECT digest FROM route_versions WHERE digest IS NOT NULL \
         UNION SELECT digest FROM calls WHERE state = 'queued' AND digest IS NOT NULL \
         UNION SELECT digest FROM calls WHERE state = 'running' AND digest IS NOT NULL ORDER BY 1"))
    .fetch_all(db)
    .await
    .context("listing referenced images")?;
    rows.iter().map(rows::digest).collect()
}
