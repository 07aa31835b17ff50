//! Token validation against a real Keystone, and against one that misbehaves.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a fault of the tests' own tools fails the test")]

mod auth_token;
mod conformance;
mod faults;
mod granted;
mod limits;
mod rules;
mod services;
mod sharing;
mod support;
mod tls;
mod tokens;
mod traffic;
mod trusts;
