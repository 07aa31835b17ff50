//! The conformance suite over SQLite.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

mod conformance;
mod sqlite_support;

queue_conformance!(sqlite_support::fresh);
