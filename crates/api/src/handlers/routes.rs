//! Routes of an app: `/v1/{project_id}/apps/{app}/routes`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Uri;
use percent_encoding::utf8_percent_encode;
use picasso_identity::policy::defaults as rule;
use picasso_image::{ImageError, Resolution};
use picasso_store::StoreError;
use picasso_types::{
    App, Digest, FieldFault, NetworkMode, ProjectId, Resource, Route, SecretOwner, Secrets, VersionSpec,
};

use super::apps::{app_url, find_app};
use super::grants::complete_grants;
use super::secrets::SecretChange;
use crate::answers::{created, deleted};
use crate::bodies::route::RouteFields;
use crate::bodies::{CreateRoute, UpdateRoute};
use crate::error::{ApiError, ErrorView, from_store};
use crate::microversion::Microversion;
use crate::request::auth::{Allowed, CallerToken};
use crate::request::json::JsonBody;
use crate::request::listing::{Field, Listed, Of};
use crate::request::origin::Origin;
use crate::request::path::{AppPath, RoutePath, SEGMENTS};
use crate::request::preconditions::{Preconditions, tag_of, tagged};
use crate::state::ApiState;
use crate::views::{Done, RouteAnswer, RouteView, RoutesAnswer};

/// Routes in lists.
const ROUTES: Listed<Route> = Listed {
    fields: &[
        Field { name: "id", of: Of::Text(|route| route.id.as_str().into()) },
        Field { name: "path", of: Of::Text(|route| route.pattern.as_str().into()) },
        Field { name: "type", of: Of::Text(|route| route.route_type.as_str().into()) },
        Field { name: "image", of: Of::Text(|route| route.latest.spec.image.to_string().into()) },
        Field { name: "is_public", of: Of::Flag(|route| route.is_public) },
        Field { name: "format", of: Of::Text(|route| route.latest.spec.format.as_str().into()) },
        Field { name: "network", of: Of::Text(|route| route.latest.spec.network.as_str().into()) },
        Field { name: "state", of: Of::Text(|route| route.latest.state.as_str().into()) },
        Field { name: "memory", of: Of::Number(|route| route.latest.spec.memory_mb.into()) },
        Field { name: "timeout", of: Of::Number(|route| route.latest.spec.timeout_s.into()) },
        Field { name: "version", of: Of::Number(|route| route.latest.number.into()) },
        Field { name: "created_at", of: Of::Time(|route| route.created_at) },
        Field { name: "updated_at", of: Of::Time(|route| route.updated_at) },
    ],
    marker: |route| route.id.to_string(),
};

/// List the routes of an app.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/apps/{app}/routes",
    tag = "routes",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("app" = String, Path, description = "The app's name, short or full"),
        ("limit" = Option<u32>, Query, description = "Most entries of the page, 1 to 1000"),
        ("marker" = Option<String>, Query, description = "The id of the last route of the page before"),
        ("sort" = Option<String>, Query, description = "Fields and directions, `created_at:desc,path:asc`"),
        ("path" = Option<String>, Query, description = "Only routes with this path; filters may begin with `in:` `nin:` `eq:` `neq:` `gt:` `gte:` `lt:` or `lte:`"),
        ("id" = Option<String>, Query, description = "Only the route with this id"),
        ("type" = Option<String>, Query, description = "Only `sync` or `async` routes"),
        ("image" = Option<String>, Query, description = "Only routes with this image, as it was written"),
        ("is_public" = Option<bool>, Query, description = "Only public or only private routes"),
        ("format" = Option<String>, Query, description = "Only routes with this format"),
        ("network" = Option<String>, Query, description = "Only routes with this network"),
        ("state" = Option<String>, Query, description = "Only routes in this state"),
        ("memory" = Option<String>, Query, description = "Only routes with this memory limit, MiB"),
        ("timeout" = Option<String>, Query, description = "Only routes with this time limit, seconds"),
        ("version" = Option<String>, Query, description = "Only routes whose newest version is this"),
        ("created_at" = Option<String>, Query, description = "Only routes made at this time"),
        ("updated_at" = Option<String>, Query, description = "Only routes last changed at this time"),
    ),
    responses(
        (status = 200, description = "The routes, ordered by path unless `sort` says otherwise, and where the next page is", body = RoutesAnswer),
        (status = 400, description = "A parameter is refused; the message names it", body = ErrorView),
        (status = 404, description = "The project has no such app", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:route:list"]))
)]
pub(crate) async fn list_routes(
    Allowed(auth, ..): Allowed<rule::ListRoutes>,
    State(state): State<ApiState>,
    AppPath(name): AppPath,
    uri: Uri,
    version: Microversion,
    origin: Origin,
) -> Result<Json<RoutesAnswer>, ApiError> {
    let app = find_app(&state, &auth.project, &name).await?;
    let routes =
        state.store.list_routes(&app.id).await.map_err(from_store(|| ApiError::AppNotFound(name)))?;
    let url = format!("{}/routes", app_url(origin.base(state.settings.api_base.as_deref()), &app));
    let page = ROUTES.page(routes, uri.query(), version, &url)?;
    Ok(Json(RoutesAnswer {
        routes: page.entries.iter().map(RouteView::from).collect(),
        routes_links: page.links,
        message: "Successfully loaded app routes",
    }))
}

/// Make a route.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/apps/{app}/routes",
    tag = "routes",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("app" = String, Path, description = "The app's name, short or full"),
    ),
    request_body = CreateRoute,
    responses(
        (status = 200, description = "The route; `state` says whether its image is here already", body = RouteAnswer),
        (status = 201, description = "The same, from version 1.1 on", body = RouteAnswer, headers(("Location" = String, description = "The route's URL"))),
        (status = 400, description = "A field is refused", body = ErrorView),
        (status = 403, description = "The project has as many routes as it may, or the role is not enough", body = ErrorView),
        (status = 404, description = "The project has no such app", body = ErrorView),
        (status = 409, description = "The app has a route for these paths and methods", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
        (status = 503, description = "A destination is a queue of Zaqar, which does not answer", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:route:create"]))
)]
pub(crate) async fn create_route(
    Allowed(auth, ..): Allowed<rule::CreateRoute>,
    token: CallerToken,
    State(state): State<ApiState>,
    AppPath(name): AppPath,
    version: Microversion,
    origin: Origin,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let app = find_app(&state, &auth.project, &name).await?;
    auth.about(&app);
    let bounds = &state.settings.bounds;
    let mut body = body.parse::<CreateRoute>()?;
    let (secrets, jwt_key) = (body.take_secrets(), body.take_jwt_key());
    let mut new = body.into_new(&auth.caller.user_id, bounds)?;
    let owner = SecretOwner::Route(new.id.clone());
    let sealing = SecretChange { state: &state, owner, token: &token, wrapper: "route." };
    new.spec.secrets = sealing.apply(&Secrets::default(), secrets).await?;
    new.access.jwt_key = sealing.jwt_key(&new.id, None, jwt_key)?;
    let resolved = check_spec(&state, &auth.project, &new.spec, "route.").await?;
    complete_grants(&state, &app, &mut new.delivery, (&auth, &token), "route.").await?;
    let max = state.limits.of(&app.project_id).await.of(Resource::Routes).max_u32();
    let made = state.store.create_route(&app.id, &new, resolved.as_ref(), max).await;
    let route = made.map_err(|error| match error {
        StoreError::RouteExists => ApiError::RouteExists { app: name.clone(), path: new.pattern.to_string() },
        other => from_store(|| ApiError::AppNotFound(name.clone()))(other),
    })?;
    auth.about(&route);
    changed(&state, &auth.project, &app, &route).await;
    let at = route_url(origin.base(state.settings.api_base.as_deref()), &app, &route);
    let answer = RouteAnswer { route: RouteView::from(&route), message: "App route successfully created" };
    Ok(tagged(&tag_of(&answer.route)?, created(version, at, answer)))
}

/// Show a route.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/apps/{app}/routes/{*route}",
    tag = "routes",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("app" = String, Path, description = "The app's name, short or full"),
        ("route" = String, Path, description = "The route's path without its leading slash; may have several segments"),
    ),
    responses(
        (status = 200, description = "The route with its newest version", body = RouteAnswer, headers(("ETag" = String, description = "Of this state of the route, also of its image's"))),
        (status = 304, description = "The route has a tag that If-None-Match lists"),
        (status = 400, description = "A header is refused; the message names it", body = ErrorView),
        (status = 412, description = "The route has no tag that If-Match lists", body = ErrorView),
        (status = 404, description = "The project has no such app, or the app no such route", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:route:get"]))
)]
pub(crate) async fn get_route(
    Allowed(auth, ..): Allowed<rule::GetRoute>,
    State(state): State<ApiState>,
    at: RoutePath,
    preconditions: Preconditions,
) -> Result<Response, ApiError> {
    let (_, route) = find_route(&state, &auth.project, &at).await?;
    let route = RouteView::from(&route);
    let tag = tag_of(&route)?;
    preconditions.show(&tag, RouteAnswer { route, message: "App route successfully loaded" })
}

/// Change a route: makes its next version. Absent fields stay; `config` and `secrets` merge.
#[utoipa::path(
    put,
    path = "/v1/{project_id}/apps/{app}/routes/{*route}",
    tag = "routes",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("app" = String, Path, description = "The app's name, short or full"),
        ("route" = String, Path, description = "The route's path without its leading slash; may have several segments"),
    ),
    request_body = RouteFields,
    responses(
        (status = 200, description = "The route; calls run the version before until this one is ready", body = RouteAnswer, headers(("ETag" = String, description = "Of the new state"))),
        (status = 412, description = "The route has no tag that If-Match lists; nothing is changed", body = ErrorView),
        (status = 400, description = "A field is refused", body = ErrorView),
        (status = 404, description = "The project has no such app, or the app no such route", body = ErrorView),
        (status = 409, description = "Another route of the app takes these paths and methods", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
        (status = 503, description = "A destination is a queue of Zaqar, which does not answer", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:route:update"]))
)]
pub(crate) async fn update_route(
    Allowed(auth, ..): Allowed<rule::UpdateRoute>,
    token: CallerToken,
    State(state): State<ApiState>,
    at: RoutePath,
    preconditions: Preconditions,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let (app, route) = find_route(&state, &auth.project, &at).await?;
    auth.about(&app);
    auth.about(&route);
    let for_this_state = preconditions.allow_change(&tag_of(&RouteView::from(&route))?)?;
    let mut body = body.parse::<UpdateRoute>()?;
    let (secrets, jwt_key) = (body.take_secrets(), body.take_jwt_key());
    let mut change = body.into_change(&route, &auth.caller.user_id, &state.settings.bounds)?;
    let owner = SecretOwner::Route(route.id.clone());
    let sealing = SecretChange { state: &state, owner, token: &token, wrapper: "" };
    change.spec.secrets = sealing.apply(&route.latest.spec.secrets, secrets).await?;
    change.access.jwt_key = sealing.jwt_key(&route.id, route.access.jwt_key.as_ref(), jwt_key)?;
    change.expected = for_this_state.then(|| Box::new(route.clone()));
    let resolved = check_spec(&state, &auth.project, &change.spec, "").await?;
    complete_grants(&state, &app, &mut change.delivery, (&auth, &token), "").await?;
    let route =
        state.store.update_route(&route.id, &change, resolved.as_ref()).await.map_err(
            |error| match error {
                StoreError::RouteExists => {
                    ApiError::RouteExists { app: at.app.clone(), path: at.path.clone() }
                }
                other => from_store(|| ApiError::RouteNotFound(at.path.clone()))(other),
            },
        )?;
    auth.about(&route);
    changed(&state, &auth.project, &app, &route).await;
    let answer = RouteAnswer { route: RouteView::from(&route), message: "Route successfully updated" };
    Ok(tagged(&tag_of(&answer.route)?, Json(answer).into_response()))
}

/// Delete a route with its versions.
#[utoipa::path(
    delete,
    path = "/v1/{project_id}/apps/{app}/routes/{*route}",
    tag = "routes",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("app" = String, Path, description = "The app's name, short or full"),
        ("route" = String, Path, description = "The route's path without its leading slash; may have several segments"),
    ),
    responses(
        (status = 200, description = "The route is gone; its queued calls are cancelled", body = Done),
        (status = 204, description = "The same, from version 1.1 on"),
        (status = 400, description = "A header is refused; the message names it", body = ErrorView),
        (status = 412, description = "The route has no tag that If-Match lists", body = ErrorView),
        (status = 404, description = "The project has no such app, or the app no such route", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:route:delete"]))
)]
pub(crate) async fn delete_route(
    Allowed(auth, ..): Allowed<rule::DeleteRoute>,
    State(state): State<ApiState>,
    at: RoutePath,
    version: Microversion,
    preconditions: Preconditions,
) -> Result<Response, ApiError> {
    let (app, route) = find_route(&state, &auth.project, &at).await?;
    auth.about(&app);
    auth.about(&route);
    preconditions.allow_change(&tag_of(&RouteView::from(&route))?)?;
    state
        .store
        .delete_route(&route.id)
        .await
        .map_err(from_store(|| ApiError::RouteNotFound(at.path.clone())))?;
    state.catalog.forget(&app.id).await;
    super::identities::route_deleted(&state, &route);
    Ok(deleted(version, Done { message: "Route successfully deleted" }))
}

fn route_url(base: &str, app: &App, route: &Route) -> String {
    let path = utf8_percent_encode(route.pattern.as_str(), SEGMENTS);
    format!("{}/routes{path}", app_url(base, app))
}

async fn find_route(state: &ApiState, project: &ProjectId, at: &RoutePath) -> Result<(App, Route), ApiError> {
    let app = find_app(state, project, &at.app).await?;
    let route = state
        .store
        .get_route(&app.id, &at.path)
        .await
        .map_err(from_store(|| ApiError::RouteNotFound(at.path.clone())))?;
    Ok((app, route))
}

/// What only this machine can say of a version: its driver's features, and where its image is.
/// The digest of an image that is here already; `None` when it has to be pulled first.
pub(crate) async fn check_spec(
    state: &ApiState,
    project: &ProjectId,
    spec: &VersionSpec,
    wrapper: &str,
) -> Result<Option<Digest>, ApiError> {
    let fault = |field: &str, message: String| {
        ApiError::InvalidField(FieldFault { field: format!("{wrapper}{field}"), message })
    };
    if spec.network == NetworkMode::Egress && !state.engine.features().egress {
        let message = "\"egress\" is not offered by this cloud; use \"none\"";
        return Err(fault("network", message.to_owned()));
    }
    state.engine.carries(spec.format).map_err(|refused| fault("format", refused.to_string()))?;
    match state.images.resolve(project, &spec.image).await {
        Ok(Resolution::Local(digest)) => Ok(Some(digest)),
        Ok(Resolution::Remote) => Ok(None),
        Err(
            error @ (ImageError::NotFound(_)
            | ImageError::RegistryNotAllowed { .. }
            | ImageError::Invalid(_)
            | ImageError::TooLarge(_)
            | ImageError::OverLimit(_)
            | ImageError::Registry { .. }),
        ) => Err(fault("image", error.to_string())),
        Err(error @ (ImageError::Failed { .. } | ImageError::Unavailable(_))) => {
            Err(ApiError::internal("resolving an image", error))
        }
    }
}

/// After a new version was stored: calls see it, and its image is made ready in the background.
pub(crate) async fn changed(state: &ApiState, project: &ProjectId, app: &App, route: &Route) {
    state.catalog.forget(&app.id).await;
    state.engine.prepare(project, &route.latest);
}
