//! The SQL of routes: where functions answer and which of their versions calls run.
//!
//! Compiled once for each driver (`mod routes` in its folder), as `trigger_sql` is.

mod advance;
mod change;
mod find;

pub(crate) use advance::*;
pub(crate) use change::*;
pub(crate) use find::*;

use super::{
    Connection, Executor, apps, calls, changes, identities, lock_app_of_route, lock_for_new, sql, triggers,
    versions,
};
