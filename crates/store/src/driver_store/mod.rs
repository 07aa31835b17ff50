//! The parts of [`crate::Store`] that are the same for every driver, over its [`read`], [`write`],
//! [`write_each`] and [`batch`].
//!
//! Compiled once for each driver (`mod driver_store` in its folder), with that driver's `apps`, `routes` and
//! so on: they have functions of the same names. What a write needs is named in its brackets: where there is
//! a writer of its own (SQLite), it gets a copy.

mod alias_store;
mod app_store;
mod identity_store;
mod object_store;
mod route_store;
mod trigger_store;
mod version_store;

use super::{
    DriverStore, aliases, apps, batch, identities, objects, read, routes, triggers, versions, write,
    write_each,
};
