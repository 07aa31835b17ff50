//! What routes need to know of PostgreSQL; the statements are in `route_sql/`.

use picasso_types::AppId;
use sqlx::{PgConnection as Connection, PgExecutor as Executor};

use super::apps::lock_of_route as lock_app_of_route;
use super::{apps, calls, changes, identities, triggers, versions};
use crate::StoreError;
use crate::error::Context as _;
use crate::placeholders::numbered as sql;

#[path = "../route_sql/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;

/// Whoever makes a route holds this advisory lock of its project ("rout" in ASCII).
const ROUTES_LOCK: i32 = 0x72_6f_75_74;

/// Routes are counted over all apps of the project: another transaction may add to another of them just now.
async fn lock_for_new(db: &mut Connection, app: &AppId) -> Result<(), StoreError> {
    let project = apps::project_of(&mut *db, app).await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
        .bind(ROUTES_LOCK)
        .bind(project.as_str())
        .execute(&mut *db)
        .await
        .context("locking the routes of a project")?;
    apps::lock(db, app).await
}
