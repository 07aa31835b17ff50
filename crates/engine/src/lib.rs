//! The engine: turns an [`Invocation`] into a running sandbox and its answer.
//!
//! Every way in (v1 runs, function URLs, the queue) becomes one `Invocation`; admission, the
//! sandbox, deadlines and outcomes are the same for all of them. No HTTP status lives here: a
//! [`CallError`] says what happened, the edge says it in HTTP.

pub mod catalog;
pub mod invocation;

pub use catalog::{Catalog, Lookup, Target};
pub use invocation::{Answer, Body, BodyError, CallError, Invocation, Output};
