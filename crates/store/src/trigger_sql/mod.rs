//! The SQL of triggers and their firings.
//!
//! Compiled once for each driver (`mod triggers` in its folder), which says how its database writes
//! placeholders ([`super::sql`]), what it locks, and what its connections are called: the statements
//! are the same everywhere.

mod change;
mod due;
mod find;
mod firings;
mod rows;

pub(crate) use change::*;
pub(crate) use due::*;
pub(crate) use find::*;
pub(crate) use firings::*;

use super::{Connection, changes, identities, lock_project, sql};
