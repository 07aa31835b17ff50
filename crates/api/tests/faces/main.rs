//! The faces over real listeners: what old clients and strangers send, and what they get.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap in a test is the failed test")]

mod access;
mod admin;
mod announced;
mod back_pressure;
mod bad_input;
mod call_records;
mod delivery;
mod discovery;
mod function_urls;
mod hooks;
mod identities;
mod images;
mod iron;
mod iron_bad_input;
mod iron_calls;
mod isolation;
mod limits;
mod lists;
mod microversions;
mod object_events;
mod observed;
mod outputs;
mod policy;
mod proxies;
mod requests;
mod resources;
mod runs;
mod schemathesis;
mod support;
mod tenant_matrix;
mod tenants;
mod triggers;
mod versions;
mod wire;
