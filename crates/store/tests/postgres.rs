//! The conformance suites over PostgreSQL.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap in a test is the failed test")]

mod conformance;
mod postgres_support;
mod server_conformance;

store_conformance!(postgres_support::fresh);
server_conformance!(postgres_support);
