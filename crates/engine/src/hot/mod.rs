//! Hot sandboxes: started once, kept for further calls of the same version of a route.
//!
//! `link` says what the pool asks of a function's format; `lease` is the right to give one call to
//! one sandbox.

pub(crate) mod lease;
pub(crate) mod link;
