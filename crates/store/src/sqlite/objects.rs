//! What objects need to know of SQLite; the statements are in `object_sql.rs`.

use sqlx::{SqliteConnection as Connection, SqliteExecutor as Executor};

use crate::placeholders::as_written as sql;

/// A sum of whole numbers is one here.
macro_rules! sum {
    ($column:literal) => {
        concat!("SUM(", $column, ")")
    };
}

#[path = "../object_sql.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;
