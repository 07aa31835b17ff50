//! What objects need to know of PostgreSQL; the statements are in `object_sql.rs`.

use sqlx::{PgConnection as Connection, PgExecutor as Executor};

use crate::placeholders::numbered as sql;

/// A sum of whole numbers is a `NUMERIC` here.
macro_rules! sum {
    ($column:literal) => {
        concat!("CAST(SUM(", $column, ") AS BIGINT)")
    };
}

#[path = "../object_sql.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;
