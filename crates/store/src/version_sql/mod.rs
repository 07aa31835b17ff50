//! The SQL of routes' immutable versions, and of how their preparation ends.
//!
//! Compiled once for each driver (`mod versions` in its folder), as `trigger_sql` is.

mod find;
mod old;
mod prepare;

pub(crate) use find::*;
pub(crate) use old::*;
pub(crate) use prepare::*;

use super::{
    Connection, Executor, changes, identities, lock_app_of_route, lock_app_of_version, sql, storable,
};
