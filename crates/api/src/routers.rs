//! Which URLs each listener has. The OpenAPI document and the table of endpoints come from here.

use std::sync::LazyLock;

use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post, put};
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use crate::announce::Announcement;
use crate::handlers::admin::{self, MetricsText};
use crate::handlers::{
    aliases, apps, call_log, call_records, call_result, fallback, function_urls, health, hooks, identities,
    images, limits, object_events, route_versions, routes, runs, triggers, versions, webhook_secrets,
};
use crate::openapi::document;
use crate::openapi::pages::{self, LentPages, Pages};
use crate::request::layer::{Face, panic_answer, request_layer};
use crate::state::ApiState;

/// What is shown of all documented URLs; made when it is first asked for.
static PAGES: LazyLock<Pages> =
    LazyLock::new(|| Pages::of(&document(api_routes().into_openapi(), function_routes().into_openapi())));

/// The OpenStack face (port 10001): resources, wrapped runs, discovery, health, documentation.
pub fn api_router(state: ApiState) -> Router {
    let face = Face::new("api", &state).versioned().announced_by(state.announcer.clone(), Announcement::of);
    let (router, _) = api_routes().split_for_parts();
    finished(root_route_forms(router).with_state(state), face)
}

/// The functions face (port 10002): function URLs and nothing else.
pub fn functions_router(state: ApiState) -> Router {
    let face = Face::new("functions", &state);
    let (router, _) = function_routes().split_for_parts();
    let router = router
        .route("/f/{app}", any_method(function_urls::call_public))
        .route("/f/{app}/", any_method(function_urls::call_public))
        .route("/v1/f/{project_id}/{app}", any_method(function_urls::call_private))
        .route("/v1/f/{project_id}/{app}/", any_method(function_urls::call_private));
    finished(router.with_state(state), face)
}

/// The admin listener (TCP): metrics and health; changes nothing.
pub fn admin_router(state: ApiState, metrics: MetricsText) -> Router {
    let face = Face::new("admin", &state);
    let router = Router::new().route("/healthcheck", get(health::healthcheck)).with_state(state);
    let metrics = Router::new().route("/metrics", get(admin::get_metrics)).with_state(metrics);
    finished(router.merge(metrics), face)
}

/// The admin socket (Unix): what the command line asks of a running server.
pub fn admin_socket_router(state: ApiState) -> Router {
    let face =
        Face::new("admin_socket", &state).announced_by(state.announcer.clone(), Announcement::of_admin);
    let router = Router::new()
        .route("/healthcheck", get(health::healthcheck))
        .route("/images", get(admin::list_shared_images))
        .route("/images/{*name}", put(admin::load_shared_image).delete(admin::delete_shared_image))
        .with_state(state);
    finished(router, face)
}

/// The documented URLs of the OpenStack face.
pub(crate) fn api_routes() -> OpenApiRouter<ApiState> {
    let lent: LentPages = Extension(&PAGES);
    OpenApiRouter::new()
        .routes(routes!(apps::list_apps, apps::create_app))
        .routes(routes!(apps::get_app, apps::update_app, apps::delete_app))
        .routes(routes!(apps::rotate_signing_key))
        .routes(routes!(routes::list_routes, routes::create_route))
        .routes(routes!(routes::get_route, routes::update_route, routes::delete_route))
        .routes(routes!(route_versions::list_route_versions))
        .routes(routes!(route_versions::get_route_version))
        .routes(routes!(route_versions::roll_back))
        .routes(routes!(aliases::list_aliases, aliases::create_alias))
        .routes(routes!(aliases::get_alias, aliases::update_alias, aliases::delete_alias))
        .routes(routes!(identities::get_identity, identities::set_identity, identities::delete_identity))
        .routes(routes!(identities::consent_to_identity))
        .routes(routes!(webhook_secrets::rotate_webhook_secret, webhook_secrets::delete_webhook_secret))
        .routes(routes!(triggers::list_triggers, triggers::create_trigger))
        .routes(routes!(triggers::get_trigger, triggers::update_trigger, triggers::delete_trigger))
        .routes(routes!(triggers::pause_trigger))
        .routes(routes!(triggers::resume_trigger))
        .routes(routes!(triggers::fire_trigger))
        .routes(routes!(triggers::list_firings))
        .routes(routes!(triggers::rotate_trigger_secret))
        .routes(routes!(object_events::create_object_events))
        .routes(routes!(runs::run_private))
        .routes(routes!(runs::run_public))
        .routes(routes!(call_records::list_calls))
        .routes(routes!(call_records::get_call))
        .routes(routes!(call_result::get_result))
        .routes(routes!(call_records::cancel_call))
        .routes(routes!(call_records::retry_call))
        .routes(routes!(call_records::retry_calls))
        .routes(routes!(call_log::get_log))
        .routes(routes!(images::list_images))
        .routes(routes!(images::load_image, images::delete_image))
        .routes(routes!(limits::get_limits))
        .routes(routes!(versions::list_versions))
        .routes(routes!(versions::get_version))
        .routes(routes!(health::healthcheck))
        .routes(routes!(pages::get_page).layer(lent))
        .routes(routes!(pages::get_document).layer(lent))
}

/// The documented URLs of the functions face.
pub(crate) fn function_routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(function_urls::call_public))
        .routes(routes!(function_urls::call_private))
        .routes(routes!(hooks::receive_event, hooks::answer_handshake))
}

/// Forms of documented URLs whose route is `/`: a wildcard does not match nothing.
fn root_route_forms(router: Router<ApiState>) -> Router<ApiState> {
    router
        .route(
            "/v1/{project_id}/apps/{app}/routes/",
            get(routes::get_route).put(routes::update_route).merge(delete(routes::delete_route)),
        )
        .route("/v1/r/{project_id}/{app}", post(runs::run_private))
        .route("/v1/r/{project_id}/{app}/", post(runs::run_private))
        .route("/r/{app}", post(runs::run_public))
        .route("/r/{app}/", post(runs::run_public))
        .route("/v1/", get(versions::get_version))
}

fn any_method<H, T>(handler: H) -> axum::routing::MethodRouter<ApiState>
where
    H: axum::handler::Handler<T, ApiState>,
    T: 'static,
{
    use axum::routing::MethodFilter as Is;
    let all = Is::GET.or(Is::HEAD).or(Is::POST).or(Is::PUT).or(Is::PATCH).or(Is::DELETE).or(Is::OPTIONS);
    axum::routing::on(all, handler)
}

fn finished(router: Router, face: Face) -> Router {
    layered(router.fallback(fallback::no_url).method_not_allowed_fallback(fallback::no_method), face)
}

/// What stands before the URLs of every face.
pub(crate) fn layered(router: Router, face: Face) -> Router {
    router.layer(CatchPanicLayer::custom(panic_answer)).layer(from_fn_with_state(face, request_layer))
}
