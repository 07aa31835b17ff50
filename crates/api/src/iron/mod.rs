//! The IronFunctions face: the HTTP API that clients of IronFunctions know, in front of the same
//! store, catalog and engine as the OpenStack face.
//!
//! Its apps are a namespace of their own ([`ProjectId::ironfunctions`]) that no token gets into.
//! `docs/ironfunctions.md` says what is meant to differ from IronFunctions.
//!
//! [`ProjectId::ironfunctions`]: picasso_types::ProjectId::ironfunctions

mod answer;
mod answer_headers;
mod app_body;
mod apps;
mod calls;
mod error;
mod guard;
mod json;
mod path;
mod route_body;
mod route_check;
mod routes;
mod service;
mod service_token;
mod stored_route;
mod tasks;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get};
use secrecy::SecretString;

use crate::request::layer::Face;
use crate::routers::layered;
use crate::state::ApiState;

/// What the face is told by the composition root.
#[derive(Debug)]
pub struct IronSettings {
    /// The hosts that requests may name, each with or without a port (`localhost:8080`).
    pub allowed_hosts: Vec<String>,
    /// The key of the tokens that `/v1` and `/tasks` ask for.
    pub service_key: Option<SecretString>,
    /// The face's base URL as clients see it, where it is configured.
    pub base: Option<String>,
}

/// What its handlers work with.
#[derive(Clone)]
struct IronState {
    api: ApiState,
    settings: Arc<IronSettings>,
}

/// The IronFunctions face (port 8080).
pub fn iron_router(state: ApiState, settings: IronSettings) -> Router {
    let face = Face::new("iron", &state).with_errors(error::render);
    let state = IronState { api: state, settings: Arc::new(settings) };
    let tokens = from_fn_with_state(state.clone(), guard::service_token);
    let managed = Router::new()
        .route("/v1/apps", get(apps::list_apps).post(apps::create_app))
        .route("/v1/apps/{app}", get(apps::get_app).patch(apps::update_app).delete(apps::delete_app))
        .route("/v1/routes", get(routes::list_all_routes))
        .route("/v1/apps/{app}/routes", get(routes::list_routes).post(routes::create_route))
        .route("/v1/apps/{app}/routes/", one_route())
        .route("/v1/apps/{app}/routes/{*route}", one_route())
        .route("/tasks", get(tasks::reserve_task).delete(tasks::complete_task))
        .route_layer(tokens);
    let router = Router::new()
        .merge(managed)
        .route("/", get(service::hello))
        .route("/version", get(service::version))
        .route("/stats", get(service::stats))
        .route("/r/{app}", any(calls::to_root))
        .route("/r/{app}/", any(calls::call))
        .route("/r/{app}/{*route}", any(calls::call))
        .fallback(service::not_found)
        .method_not_allowed_fallback(service::not_found)
        .layer(from_fn_with_state(state.clone(), guard::known_host))
        .with_state(state);
    layered(router, face)
}

fn one_route() -> axum::routing::MethodRouter<IronState> {
    get(routes::get_route).patch(routes::update_route).delete(routes::delete_route)
}
