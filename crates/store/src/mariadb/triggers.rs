//! What triggers need to know of MariaDB; the statements are in `trigger_sql/`.

use picasso_types::ProjectId;
use sqlx::MySqlConnection as Connection;

use super::{changes, identities};
use crate::StoreError;
use crate::error::Context as _;
use crate::placeholders::as_written as sql;

#[path = "../trigger_sql/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;

/// A project with triggers has an app: its apps' rows are what is locked.
async fn lock_project(db: &mut Connection, project: &ProjectId) -> Result<(), StoreError> {
    sqlx::query("SELECT id FROM apps WHERE project_id = ? ORDER BY id FOR UPDATE")
        .bind(project.as_str())
        .fetch_all(db)
        .await
        .context("locking the apps of a project")?;
    Ok(())
}
