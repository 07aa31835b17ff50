//! What identities need to know of SQLite; the statements are in `identity_sql.rs`.

use sqlx::{SqliteConnection as Connection, SqliteExecutor as Executor};

// There is one writer at a time: whoever writes holds the app already.
use super::changes::{self, app_of_route as lock_app_of_route};
use crate::placeholders::as_written as sql;

#[path = "../identity_sql.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;

/// Notes a trust, unless it is noted already.
const ADD_REVOCATION: &str = "INSERT INTO identity_revocations (trust_id, attempts, not_before) \
     VALUES (?, 0, ?) ON CONFLICT (trust_id) DO NOTHING";
