//! One file per resource; a handler unpacks the request, asks the domain, wraps the answer.

pub(crate) mod admin;
pub(crate) mod aliases;
pub(crate) mod apps;
pub(crate) mod call_log;
pub(crate) mod call_records;
pub(crate) mod call_result;
pub(crate) mod calls;
pub(crate) mod fallback;
pub(crate) mod function_answer;
pub(crate) mod function_urls;
mod grants;
pub(crate) mod health;
pub(crate) mod identities;
pub(crate) mod images;
pub(crate) mod limits;
pub(crate) mod route_versions;
pub(crate) mod routes;
pub(crate) mod runs;
pub(crate) mod secrets;
mod selection;
pub(crate) mod triggers;
pub(crate) mod versions;
pub(crate) mod webhook_secrets;
