//! Request bodies as clients send them, and their way into the checked types of the domain.
//!
//! A field that is absent or `null` is not given, but for delivery options that `null` sets back and
//! secrets that it deletes. Unknown fields are refused by name: an old
//! client sends only the listed ones, and a typo is told instead of ignored.

pub(crate) mod alias;
pub(crate) mod app;
pub(crate) mod cors;
pub(crate) mod delivery;
mod flag;
pub(crate) mod identity;
mod nullable;
pub(crate) mod rate_limit;
pub(crate) mod route;
pub(crate) mod secrets;
pub(crate) mod trigger;

pub(crate) use alias::{CreateAlias, RollBack, UpdateAlias};
pub(crate) use app::{CreateApp, UpdateApp};
pub(crate) use route::{CreateRoute, UpdateRoute};
