//! What routes need to know of MariaDB; the statements are in `route_sql/`.

use picasso_types::AppId;
use sqlx::{MySqlConnection as Connection, MySqlExecutor as Executor};

use super::apps::lock_of_route as lock_app_of_route;
use super::{apps, calls, changes, identities, triggers, versions};
use crate::StoreError;
use crate::error::Context as _;
use crate::placeholders::as_written as sql;

#[path = "../route_sql/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;

/// Routes are counted over all apps of the project: another transaction may add to another of them just now.
async fn lock_for_new(db: &mut Connection, app: &AppId) -> Result<(), StoreError> {
    let project = apps::project_of(&mut *db, app).await?;
    sqlx::query("SELECT id FROM apps WHERE project_id = ? ORDER BY short_name FOR UPDATE")
        .bind(project.as_str())
        .fetch_all(&mut *db)
        .await
        .context("locking the apps of a project")?;
    apps::lock(db, app).await
}
