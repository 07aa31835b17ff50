//! The HTTP faces of Picasso, on axum: the OpenStack API, function URLs, and the admin listeners.
//!
//! Handlers are thin: they unpack a request, ask the domain (store, catalog, engine, images) and
//! wrap its answer. What is the same for all requests - identity, sizes, ids, errors, logs - is in
//! [`request`]; how connections are taken and ended is in [`serve`].

mod announce;
mod answers;
mod bodies;
mod call_headers;
mod call_views;
mod endpoints;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handlers;
mod identity_views;
mod iron;
mod link_view;
mod microversion;
mod openapi;
mod request;
mod revocations;
mod routers;
mod serve;
mod settings;
mod state;
mod trigger_views;
mod version_views;
mod views;

pub use announce::{AnnounceSettings, Announcer, AuditSettings};
pub use endpoints::{Endpoint, EndpointFace, endpoints};
pub use error::{ApiError, Kind};
pub use handlers::admin::MetricsText;
pub use iron::{IronSettings, iron_router};
pub use request::request_metrics::describe_metrics;
pub use revocations::revoke_due;
pub use routers::{admin_router, admin_socket_router, api_router, functions_router};
pub use serve::{
    FaceListener, ServeLimits, ServerTls, Socket, TlsFault, UnixPeers, serve_face, serve_tcp, serve_unix,
};
pub use settings::ApiSettings;
pub use state::ApiState;
