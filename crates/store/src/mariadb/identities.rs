//! What identities need to know of MariaDB; the statements are in `identity_sql.rs`.

use sqlx::{MySqlConnection as Connection, MySqlExecutor as Executor};

use super::apps::lock_of_route as lock_app_of_route;
use super::changes;
use crate::placeholders::as_written as sql;

#[path = "../identity_sql.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;

/// Notes a trust, unless it is noted already.
const ADD_REVOCATION: &str = "INSERT IGNORE INTO identity_revocations (trust_id, attempts, not_before) \
     VALUES (?, 0, ?)";
