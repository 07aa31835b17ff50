//! Routes that somebody asks for, and how many a project has.

use picasso_types::{AppId, ProjectId, Route, RouteId};
use sqlx::{query, query_scalar};

use super::{Executor, sql};
use crate::StoreError;
use crate::error::Context as _;
use crate::rows::{self, route_columns, version_columns};

/// Each route once or twice: with its latest and, where that is another one, its active version.
macro_rules! select {
    ($rest:literal) => {
        sql(concat!(
            "SELECT ",
            route_columns!(),
            ", ",
            version_columns!(),
            " FROM routes r JOIN route_versions v \
             ON v.route_id = r.id AND v.number IN (r.latest_number, r.active_number) ",
            $rest
        ))
    };
}

/// How many routes all apps of a project have.
pub(crate) async fn count(db: impl Executor<'_>, project: &ProjectId) -> Result<u64, StoreError> {
    let routes: i64 = query_scalar(sql(
        "SELECT count(*) FROM apps a JOIN routes r ON r.app_id = a.id WHERE a.project_id = ?",
    ))
    .bind(project.as_str())
    .fetch_one(db)
    .await
    .context("counting routes")?;
    Ok(routes.unsigned_abs())
}

pub(crate) async fn get(db: impl Executor<'_>, app: &AppId, pattern: &str) -> Result<Route, StoreError> {
    // PostgreSQL refuses to look for what it cannot hold.
    if pattern.contains('\0') {
        return Err(StoreError::NotFound);
    }
    let rows = query(select!("WHERE r.app_id = ? AND r.pattern = ? ORDER BY r.pattern, r.created_at, r.id"))
        .bind(app.as_str())
        .bind(pattern)
        .fetch_all(db)
        .await
        .context("loading a route")?;
    rows::routes(&rows)?.into_iter().next().ok_or(StoreError::NotFound)
}

/// Those with one pattern by age.
pub(crate) async fn list(db: impl Executor<'_>, app: &AppId) -> Result<Vec<Route>, StoreError> {
    let rows = query(select!("WHERE r.app_id = ? ORDER BY r.pattern, r.created_at, r.id"))
        .bind(app.as_str())
        .fetch_all(db)
        .await
        .context("listing routes")?;
    rows::routes(&rows)
}

pub(crate) async fn load(db: impl Executor<'_>, id: &RouteId) -> Result<Route, StoreError> {
    let rows =
        query(select!("WHERE r.id = ?")).bind(id.as_str()).fetch_all(db).await.context("loading a route")?;
    rows::route(&rows)
}
