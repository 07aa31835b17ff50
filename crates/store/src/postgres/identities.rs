//! What identities need to know of PostgreSQL; the statements are in `identity_sql.rs`.

use sqlx::{PgConnection as Connection, PgExecutor as Executor};

use super::apps::lock_of_route as lock_app_of_route;
use super::changes;
use crate::placeholders::numbered as sql;

#[path = "../identity_sql.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;

/// Notes a trust, unless it is noted already.
const ADD_REVOCATION: &str = "INSERT INTO identity_revocations (trust_id, attempts, not_before) \
     VALUES (?, 0, ?) ON CONFLICT (trust_id) DO NOTHING";
