//! The conformance suites over MariaDB.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap in a test is the failed test")]

mod conformance;
mod mariadb_support;
mod server_conformance;

store_conformance!(mariadb_support::fresh);
server_conformance!(mariadb_support);
