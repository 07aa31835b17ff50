//! What objects need to know of MariaDB; the statements are in `object_sql.rs`.

use sqlx::{MySqlConnection as Connection, MySqlExecutor as Executor};

use crate::placeholders::as_written as sql;

/// A sum of whole numbers is a `DECIMAL` here.
macro_rules! sum {
    ($column:literal) => {
        concat!("CAST(SUM(", $column, ") AS SIGNED)")
    };
}

#[path = "../object_sql.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;
