//! Versions that nothing needs any more.

use picasso_types::{RouteId, Timestamp, VersionId};
use sqlx::{QueryBuilder, query};

use super::{Connection, Executor, changes, lock_app_of_route, sql};
use crate::StoreError;
use crate::error::Context as _;
use crate::old_versions::UNNEEDED;
use crate::rows::parsed;

/// Routes that have versions which nothing needs any more.
pub(crate) async fn list_routes_with_old(
    db: impl Executor<'_>,
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
pub(crate) async fn delete_old(
    db: &mut Connection,
    route: &RouteId,
    keep: u32,
    now: Timestamp,
) -> Result<u64, StoreError> {
    // Nobody gives one of them to an alias meanwhile.
    let app = match lock_app_of_route(db, route).await {
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
        let one = query(sql("DELETE FROM route_versions WHERE id = ?")).bind(id.as_str());
        deleted += one.execute(&mut *db).await.context("deleting an old version")?.rows_affected();
    }
    if deleted > 0 {
        changes::note(db, &app, now).await?;
    }
    Ok(deleted)
}
