//! What routes need to know of SQLite; the statements are in `route_sql/`.

use picasso_types::AppId;
use sqlx::{SqliteConnection as Connection, SqliteExecutor as Executor};

// There is one writer at a time: whoever writes holds the app already.
use super::changes::{self, app_of_route as lock_app_of_route};
use super::{apps, calls, identities, triggers, versions};
use crate::StoreError;
use crate::placeholders::as_written as sql;

#[path = "../route_sql/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;

/// There is one writer at a time.
async fn lock_for_new(_: &mut Connection, _: &AppId) -> Result<(), StoreError> {
    Ok(())
}
