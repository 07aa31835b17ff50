//! The changes that other processes follow; see [`crate::changes`].
//!
//! SQLite has one writer at a time, so its own numbers are in the order of the commits, and what is
//! undone gives its number back.

use picasso_types::{AppId, CallId, RouteId, Timestamp, VersionId};
use sqlx::{SqliteConnection, SqlitePool};

use crate::StoreError;
use crate::changes::{self, BATCH, ChangeMark, Changes};
use crate::error::Context as _;
use crate::rows::parsed;

/// Notes that an app, or a route or version of it, is changed by this transaction.
pub(super) async fn note(db: &mut SqliteConnection, app: &AppId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO changes (app_id, changed_at) VALUES (?1, ?2)")
        .bind(app.as_str())
        .bind(now.0)
        .execute(db)
        .await
        .context("noting a change")?;
    Ok(())
}

/// Notes that a running call is to end.
pub(super) async fn note_cancelled(
    db: &mut SqliteConnection,
    call: &CallId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO changes (app_id, changed_at, cancelled_call) SELECT app_id, ?2, id FROM calls WHERE id = ?1",
    )
    .bind(call.as_str())
    .bind(now.0)
    .execute(db)
    .await
    .context("noting a cancelled call")?;
    Ok(())
}

/// The app of a route.
pub(super) async fn app_of_route(db: &mut SqliteConnection, id: &RouteId) -> Result<AppId, StoreError> {
    let row = sqlx::query("SELECT app_id FROM routes WHERE id = ?1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("looking for a route's app")?;
    parsed(&row.ok_or(StoreError::NotFound)?, "app_id", AppId::parse)
}

/// The app of a version.
pub(super) async fn app_of_version(db: &mut SqliteConnection, id: &VersionId) -> Result<AppId, StoreError> {
    let row = sqlx::query(
        "SELECT r.app_id FROM routes r JOIN route_versions v ON v.route_id = r.id WHERE v.id = ?1",
    )
    .bind(id.as_str())
    .fetch_optional(db)
    .await
    .context("looking for a version's app")?;
    parsed(&row.ok_or(StoreError::NotFound)?, "app_id", AppId::parse)
}

pub(super) async fn list(db: &SqlitePool, after: Option<ChangeMark>) -> Result<Changes, StoreError> {
    if let Some(after) = after {
        let rows = sqlx::query(
            "SELECT number, app_id, cancelled_call FROM changes WHERE number >= ?1 ORDER BY number LIMIT ?2",
        )
        .bind(after.0)
        .bind(BATCH)
        .fetch_all(db)
        .await
        .context("reading the changes")?;
        if let Some(changes) = changes::since(after, &rows)? {
            return Ok(changes);
        }
    }
    let newest = sqlx::query_scalar("SELECT max(number) FROM changes")
        .fetch_one(db)
        .await
        .context("reading the newest change")?;
    Ok(changes::from_newest(newest))
}

pub(super) async fn delete(db: &mut SqliteConnection, before: Timestamp) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM changes WHERE changed_at < ?1 AND number < (SELECT max(number) FROM changes)")
        .bind(before.0)
        .execute(db)
        .await
        .context("deleting old changes")?;
    Ok(())
}
