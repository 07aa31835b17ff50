//! What versions need to know of PostgreSQL; the statements are in `version_sql/`.

use sqlx::{PgConnection as Connection, PgExecutor as Executor};

use super::apps::{lock_of_route as lock_app_of_route, lock_of_version as lock_app_of_version};
use super::{changes, identities};
use crate::placeholders::numbered as sql;

#[path = "../version_sql/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;

#[path = "../preparation_lease.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for SQLite and PostgreSQL")]
mod lease;
pub(super) use lease::lease_preparation;

/// A program may have said it: PostgreSQL keeps no NUL in text.
fn storable(error: &str) -> String {
    error.replace('\0', "\u{fffd}")
}
