//! What happens to every request before and after its handler: identity, size, id, log, metrics.

pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod cloud_event;
pub(crate) mod context;
pub(crate) mod cors;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub(crate) mod headers;
pub(crate) mod json;
mod json_objects;
pub(crate) mod jwt;
pub(crate) mod layer;
pub(crate) mod listing;
pub(crate) mod microversion;
pub(crate) mod origin;
pub(crate) mod path;
pub(crate) mod preconditions;
pub(crate) mod public_access;
pub(crate) mod query;
pub(crate) mod request_metrics;
pub(crate) mod trace;
pub(crate) mod upload;
pub(crate) mod webhook;
pub(crate) mod wishes;
