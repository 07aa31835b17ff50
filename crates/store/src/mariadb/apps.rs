//! Apps and their names, and the lock of an app.

use picasso_types::{
    App, AppChange, AppId, AppName, FullName, NewApp, OverLimit, ProjectId, Resource, RouteId, Timestamp,
    VersionId,
};
use sqlx::{MySqlConnection, MySqlExecutor};

use super::{changes, routes};
use crate::StoreError;
use crate::error::{Context as _, expect};
use crate::rows::{self, parsed, to_json};

/// Holds an app for the transaction: its routes and versions are changed by nobody else.
pub(super) async fn lock(db: &mut MySqlConnection, id: &AppId) -> Result<(), StoreError> {
    sqlx::query("SELECT 1 FROM apps WHERE id = ? FOR UPDATE")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("locking an app")?
        .map(drop)
        .ok_or(StoreError::NotFound)
}

/// The project of an app; it never changes.
pub(super) async fn project_of(db: impl MySqlExecutor<'_>, id: &AppId) -> Result<ProjectId, StoreError> {
    let found = sqlx::query("SELECT project_id FROM apps WHERE id = ?")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("looking for an app's project")?;
    parsed(&found.ok_or(StoreError::NotFound)?, "project_id", ProjectId::stored)
}

/// Holds the app of a route, and says which it is.
pub(super) async fn lock_of_route(db: &mut MySqlConnection, id: &RouteId) -> Result<AppId, StoreError> {
    let found =
        sqlx::query("SELECT id FROM apps WHERE id = (SELECT app_id FROM routes WHERE id = ?) FOR UPDATE")
            .bind(id.as_str())
            .fetch_optional(db)
            .await
            .context("locking a route's app")?;
    parsed(&found.ok_or(StoreError::NotFound)?, "id", AppId::parse)
}

/// Holds the app of a version, and says which it is.
pub(super) async fn lock_of_version(db: &mut MySqlConnection, id: &VersionId) -> Result<AppId, StoreError> {
    let found = sqlx::query(
        "SELECT id FROM apps WHERE id = (SELECT r.app_id FROM routes r \
         JOIN route_versions v ON v.route_id = r.id WHERE v.id = ?) FOR UPDATE",
    )
    .bind(id.as_str())
    .fetch_optional(db)
    .await
    .context("locking a version's app")?;
    parsed(&found.ok_or(StoreError::NotFound)?, "id", AppId::parse)
}

pub(super) async fn create(
    db: &mut MySqlConnection,
    new: &NewApp,
    max_apps: u32,
    now: Timestamp,
) -> Result<App, StoreError> {
    // Names are looked for among apps that another transaction may be making just now.
    sqlx::query("SELECT 1 FROM store_locks WHERE name = 'names of apps' FOR UPDATE")
        .fetch_one(&mut *db)
        .await
        .context("locking the names of apps")?;
    let project = &new.project_id;
    if is_taken_in_project(db, project, new.short_name.as_str()).await? {
        return Err(StoreError::AppExists);
    }
    let apps = count(&mut *db, project).await?;
    OverLimit::check(project, Resource::Apps, max_apps.into(), apps, 1)?;
    let app = App {
        id: new.id.clone(),
        project_id: project.clone(),
        short_name: new.short_name.clone(),
        full_name: free_full_name(db, &new.short_name, project).await?,
        description: new.description.clone(),
        config: new.config.clone(),
        secrets: new.secrets.clone(),
        cors: new.cors.clone(),
        created_at: now,
        updated_at: now,
    };
    sqlx::query(
        "INSERT INTO apps (id, project_id, short_name, full_name, description, config, created_at, updated_at, \
         secrets, cors) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(app.id.as_str())
    .bind(app.project_id.as_str())
    .bind(app.short_name.as_str())
    .bind(app.full_name.as_str())
    .bind(&app.description)
    .bind(to_json("config", &app.config)?)
    .bind(now.0)
    .bind(now.0)
    .bind(to_json("secrets", &app.secrets)?)
    .bind(to_json("cors", &app.cors)?)
    .execute(&mut *db)
    .await
    .context("storing an app")?;
    changes::note(db, &app.id, now).await?;
    Ok(app)
}

/// How many apps a project has.
pub(super) async fn count(db: impl MySqlExecutor<'_>, project: &ProjectId) -> Result<u64, StoreError> {
    let apps: i64 = sqlx::query_scalar("SELECT count(*) FROM apps WHERE project_id = ?")
        .bind(project.as_str())
        .fetch_one(db)
        .await
        .context("counting apps")?;
    Ok(apps.unsigned_abs())
}

/// The first candidate that no app has as full name and none of the project as short name.
async fn free_full_name(
    db: &mut MySqlConnection,
    name: &AppName,
    project: &ProjectId,
) -> Result<FullName, StoreError> {
    for candidate in FullName::candidates(name, project) {
        let taken: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM apps WHERE full_name = ?) \
             OR EXISTS (SELECT 1 FROM apps WHERE project_id = ? AND short_name = ?)",
        )
        .bind(candidate.as_str())
        .bind(project.as_str())
        .bind(candidate.as_str())
        .fetch_one(&mut *db)
        .await
        .context("looking for a free name")?;
        if !taken {
            return Ok(candidate);
        }
    }
    Err(StoreError::AppExists)
}

async fn is_taken_in_project(
    db: &mut MySqlConnection,
    project: &ProjectId,
    name: &str,
) -> Result<bool, StoreError> {
    let taken: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM apps WHERE project_id = ? AND (short_name = ? OR full_name = ?))",
    )
    .bind(project.as_str())
    .bind(name)
    .bind(name)
    .fetch_one(db)
    .await
    .context("looking for an app's name")?;
    Ok(taken)
}

pub(super) async fn get(
    db: impl MySqlExecutor<'_>,
    project: &ProjectId,
    name: &str,
) -> Result<App, StoreError> {
    let row = sqlx::query("SELECT * FROM apps WHERE project_id = ? AND (short_name = ? OR full_name = ?)")
        .bind(project.as_str())
        .bind(name)
        .bind(name)
        .fetch_optional(db)
        .await
        .context("loading an app")?;
    rows::app(&row.ok_or(StoreError::NotFound)?)
}

pub(super) async fn get_by_full_name(db: impl MySqlExecutor<'_>, name: &FullName) -> Result<App, StoreError> {
    let row = sqlx::query("SELECT * FROM apps WHERE full_name = ?")
        .bind(name.as_str())
        .fetch_optional(db)
        .await
        .context("loading an app")?;
    rows::app(&row.ok_or(StoreError::NotFound)?)
}

pub(super) async fn list(db: impl MySqlExecutor<'_>, project: &ProjectId) -> Result<Vec<App>, StoreError> {
    let rows = sqlx::query("SELECT * FROM apps WHERE project_id = ? ORDER BY full_name")
        .bind(project.as_str())
        .fetch_all(db)
        .await
        .context("listing apps")?;
    rows.iter().map(rows::app).collect()
}

pub(super) async fn update(
    db: &mut MySqlConnection,
    id: &AppId,
    change: &AppChange,
    changed_by: &str,
    now: Timestamp,
) -> Result<App, StoreError> {
    lock(db, id).await?;
    let before = load(&mut *db, id).await?;
    expect(&before, change.expected.as_deref())?;
    sqlx::query(
        "UPDATE apps SET config = ?, description = ?, updated_at = ?, secrets = ?, cors = ? WHERE id = ?",
    )
    .bind(to_json("config", &change.config)?)
    .bind(&change.description)
    .bind(now.0)
    .bind(to_json("secrets", &change.secrets)?)
    .bind(to_json("cors", &change.cors)?)
    .bind(id.as_str())
    .execute(&mut *db)
    .await
    .context("changing an app")?;
    if before.config != change.config || before.secrets != change.secrets {
        routes::apply_app_config(db, id, change, changed_by, now).await?;
    }
    changes::note(db, id, now).await?;
    Ok(App {
        config: change.config.clone(),
        secrets: change.secrets.clone(),
        cors: change.cors.clone(),
        description: change.description.clone(),
        updated_at: now,
        ..before
    })
}

pub(super) async fn load(db: impl MySqlExecutor<'_>, id: &AppId) -> Result<App, StoreError> {
    let row = sqlx::query("SELECT * FROM apps WHERE id = ?")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading an app")?;
    rows::app(&row.ok_or(StoreError::NotFound)?)
}

pub(super) async fn delete(db: &mut MySqlConnection, id: &AppId, now: Timestamp) -> Result<(), StoreError> {
    lock(db, id).await?;
    let routes: i64 = sqlx::query_scalar("SELECT count(*) FROM routes WHERE app_id = ?")
        .bind(id.as_str())
        .fetch_one(&mut *db)
        .await
        .context("counting routes")?;
    if routes > 0 {
        return Err(StoreError::AppHasRoutes);
    }
    let deleted = sqlx::query("DELETE FROM apps WHERE id = ?")
        .bind(id.as_str())
        .execute(&mut *db)
        .await
        .context("deleting an app")?;
    if deleted.rows_affected() == 0 {
        return Err(StoreError::NotFound);
    }
    changes::note(db, id, now).await
}
