//! What triggers need to know of PostgreSQL; the statements are in `trigger_sql.rs`.

use std::fmt::Write as _;

use picasso_types::ProjectId;
use sqlx::{AssertSqlSafe, PgConnection as Connection};

use super::{changes, identities};
use crate::StoreError;
use crate::error::Context as _;

#[path = "../trigger_sql.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;

/// Whoever makes or renames a trigger holds this advisory lock of its project ("trig" in ASCII).
const TRIGGERS_LOCK: i32 = 0x74_72_69_67;

/// Placeholders are numbered here. The text stays one of ours: nothing of a request is in it.
fn sql(text: &'static str) -> AssertSqlSafe<String> {
    let mut numbered = String::with_capacity(text.len() + 32);
    for (number, piece) in text.split('?').enumerate() {
        if number > 0 {
            // Writing into a text cannot fail.
            let _ = write!(numbered, "${number}");
        }
        numbered.push_str(piece);
    }
    AssertSqlSafe(numbered)
}

async fn lock_project(db: &mut Connection, project: &ProjectId) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
        .bind(TRIGGERS_LOCK)
        .bind(project.as_str())
        .execute(db)
        .await
        .context("locking the triggers of a project")?;
    Ok(())
}
