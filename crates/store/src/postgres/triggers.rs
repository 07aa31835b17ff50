//! What triggers need to know of PostgreSQL; the statements are in `trigger_sql/`.

use picasso_types::ProjectId;
use sqlx::PgConnection as Connection;

use super::{changes, identities};
use crate::StoreError;
use crate::error::Context as _;
use crate::placeholders::numbered as sql;

#[path = "../trigger_sql/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;

/// Whoever makes or renames a trigger holds this advisory lock of its project ("trig" in ASCII).
const TRIGGERS_LOCK: i32 = 0x74_72_69_67;

async fn lock_project(db: &mut Connection, project: &ProjectId) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
        .bind(TRIGGERS_LOCK)
        .bind(project.as_str())
        .execute(db)
        .await
        .context("locking the triggers of a project")?;
    Ok(())
}
