//! Apps and their names.

use picasso_types::{
    App, AppChange, AppId, AppName, FullName, NewApp, OverLimit, ProjectId, Resource, Timestamp,
};
use sqlx::{SqliteConnection, SqliteExecutor};

use super::{changes, routes};
use crate::StoreError;
use crate::error::{Context as _, expect};
use crate::rows::{self, to_json};

pub(super) async fn create(
    db: &mut SqliteConnection,
    new: &NewApp,
    max_apps: u32,
    now: Timestamp,
) -> Result<App, StoreError> {
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
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9)",
    )
    .bind(app.id.as_str())
    .bind(app.project_id.as_str())
    .bind(app.short_name.as_str())
    .bind(app.full_name.as_str())
    .bind(&app.description)
    .bind(to_json("config", &app.config)?)
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
pub(super) async fn count(db: impl SqliteExecutor<'_>, project: &ProjectId) -> Result<u64, StoreError> {
    let apps: i64 = sqlx::query_scalar("SELECT count(*) FROM apps WHERE project_id = ?1")
        .bind(project.as_str())
        .fetch_one(db)
        .await
        .context("counting apps")?;
    Ok(apps.unsigned_abs())
}

/// The first candidate that no app has as full name and none of the project as short name.
async fn free_full_name(
    db: &mut SqliteConnection,
    name: &AppName,
    project: &ProjectId,
) -> Result<FullName, StoreError> {
    for candidate in FullName::candidates(name, project) {
        let taken: i64 = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM apps WHERE full_name = ?1) \
             OR EXISTS (SELECT 1 FROM apps WHERE project_id = ?2 AND short_name = ?1)",
        )
        .bind(candidate.as_str())
        .bind(project.as_str())
        .fetch_one(&mut *db)
        .await
        .context("looking for a free name")?;
        if taken == 0 {
            return Ok(candidate);
        }
    }
    Err(StoreError::AppExists)
}

async fn is_taken_in_project(
    db: &mut SqliteConnection,
    project: &ProjectId,
    name: &str,
) -> Result<bool, StoreError> {
    let taken: i64 = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM apps WHERE project_id = ?1 AND (short_name = ?2 OR full_name = ?2))",
    )
    .bind(project.as_str())
    .bind(name)
    .fetch_one(db)
    .await
    .context("looking for an app's name")?;
    Ok(taken != 0)
}

pub(super) async fn get(
    db: impl SqliteExecutor<'_>,
    project: &ProjectId,
    name: &str,
) -> Result<App, StoreError> {
    let row = sqlx::query("SELECT * FROM apps WHERE project_id = ?1 AND (short_name = ?2 OR full_name = ?2)")
        .bind(project.as_str())
        .bind(name)
        .fetch_optional(db)
        .await
        .context("loading an app")?;
    rows::app(&row.ok_or(StoreError::NotFound)?)
}

pub(super) async fn get_by_full_name(
    db: impl SqliteExecutor<'_>,
    name: &FullName,
) -> Result<App, StoreError> {
    let row = sqlx::query("SELECT * FROM apps WHERE full_name = ?1")
        .bind(name.as_str())
        .fetch_optional(db)
        .await
        .context("loading an app")?;
    rows::app(&row.ok_or(StoreError::NotFound)?)
}

pub(super) async fn list(db: impl SqliteExecutor<'_>, project: &ProjectId) -> Result<Vec<App>, StoreError> {
    let rows = sqlx::query("SELECT * FROM apps WHERE project_id = ?1 ORDER BY full_name")
        .bind(project.as_str())
        .fetch_all(db)
        .await
        .context("listing apps")?;
    rows.iter().map(rows::app).collect()
}

pub(super) async fn update(
    db: &mut SqliteConnection,
    id: &AppId,
    change: &AppChange,
    changed_by: &str,
    now: Timestamp,
) -> Result<App, StoreError> {
    let before = load(&mut *db, id).await?;
    expect(&before, change.expected.as_deref())?;
    sqlx::query("UPDATE apps SET config = ?2, description = ?3, updated_at = ?4, secrets = ?5, cors = ?6 WHERE id = ?1")
        .bind(id.as_str())
        .bind(to_json("config", &change.config)?)
        .bind(&change.description)
        .bind(now.0)
        .bind(to_json("secrets", &change.secrets)?)
        .bind(to_json("cors", &change.cors)?)
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

pub(super) async fn load(db: impl SqliteExecutor<'_>, id: &AppId) -> Result<App, StoreError> {
    let row = sqlx::query("SELECT * FROM apps WHERE id = ?1")
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading an app")?;
    rows::app(&row.ok_or(StoreError::NotFound)?)
}

pub(super) async fn delete(db: &mut SqliteConnection, id: &AppId, now: Timestamp) -> Result<(), StoreError> {
    let routes: i64 = sqlx::query_scalar("SELECT count(*) FROM routes WHERE app_id = ?1")
        .bind(id.as_str())
        .fetch_one(&mut *db)
        .await
        .context("counting routes")?;
    if routes > 0 {
        return Err(StoreError::AppHasRoutes);
    }
    let deleted = sqlx::query("DELETE FROM apps WHERE id = ?1")
        .bind(id.as_str())
        .execute(&mut *db)
        .await
        .context("deleting an app")?;
    if deleted.rows_affected() == 0 {
        return Err(StoreError::NotFound);
    }
    changes::note(db, id, now).await
}
