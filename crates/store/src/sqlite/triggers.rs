//! What triggers need to know of SQLite; the statements are in `trigger_sql/`.

use picasso_types::ProjectId;
use sqlx::SqliteConnection as Connection;

use super::{changes, identities};
use crate::StoreError;
use crate::placeholders::as_written as sql;

#[path = "../trigger_sql/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;

/// There is one writer at a time.
async fn lock_project(_: &mut Connection, _: &ProjectId) -> Result<(), StoreError> {
    Ok(())
}
