//! What versions need to know of SQLite; the statements are in `version_sql/`.

use std::borrow::Cow::Borrowed as storable;

use sqlx::{SqliteConnection as Connection, SqliteExecutor as Executor};

// There is one writer at a time: whoever writes holds the app already.
use super::changes::{self, app_of_route as lock_app_of_route, app_of_version as lock_app_of_version};
use super::identities;
use crate::placeholders::as_written as sql;

#[path = "../version_sql/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;

#[path = "../preparation_lease.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for SQLite and PostgreSQL")]
mod lease;
pub(super) use lease::lease_preparation;
