//! Hot sandboxes: started once, kept for further calls of the same version of a route.
//!
//! `call` takes one call through a pool; `pool` gives out sandboxes, with its book in `roster` and
//! its arithmetic in `demand`; `keeper` is the task that owns a sandbox, `instance` what calls see
//! of it; `janitor` freezes and ends idle ones; `pools` is what concerns several pools, `reconcile`
//! follows changes of routes. `link` says what the pool asks of a function's format, `lease` is
//! the right to give one call to one sandbox.

pub(crate) mod call;
pub(crate) mod conduct;
mod demand;
mod instance;
pub(crate) mod janitor;
mod keeper;
pub(crate) mod lease;
pub(crate) mod link;
mod metrics;
pub(crate) mod pool;
pub(crate) mod pools;
pub(crate) mod reconcile;
mod roster;
mod running;
mod streaming;

#[cfg(test)]
pub(crate) mod tests;
