//! The conformance suite over PostgreSQL.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap in a test is the failed test")]

mod conformance;
mod postgres_support;

store_conformance!(postgres_support::fresh);
