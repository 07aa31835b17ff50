//! Versions of a route: `/v1/{project_id}/routes/{route_id}/versions`, and rolling back to one.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::Uri;
use picasso_identity::policy::defaults as rule;
use picasso_store::StoreError;
use picasso_types::{App, FieldFault, ProjectId, Route, RouteId};

use crate::announce::SourceVersion;
use crate::bodies::RollBack;
use crate::error::{ApiError, ErrorView, from_store};
use crate::link_view::LinkView;
use crate::request::auth::Allowed;
use crate::request::json::JsonBody;
use crate::request::origin::Origin;
use crate::request::path::{RouteIdPath, VersionPath};
use crate::request::preconditions::{Preconditions, tag_of};
use crate::request::query::Query;
use crate::state::ApiState;
use crate::version_views::{RouteVersionAnswer, RouteVersionView, RouteVersionsAnswer};
use crate::views::{RouteAnswer, RouteView};

/// Versions of a page when the client does not say.
const DEFAULT_LIMIT: u32 = 50;
/// Most versions of a page.
const MAX_LIMIT: u32 = 200;

/// The project's route and its app; another project's is as missing as one that never was.
pub(super) async fn find_route_by_id(
    state: &ApiState,
    project: &ProjectId,
    id: &RouteId,
) -> Result<(App, Route), ApiError> {
    let missing = || ApiError::RouteNotFound(id.to_string());
    let route = state.store.get_route_by_id(id).await.map_err(from_store(missing))?;
    let app = state.store.get_app_by_id(&route.app_id).await.map_err(from_store(missing))?;
    if app.project_id == *project { Ok((app, route)) } else { Err(missing()) }
}

/// List the versions of a route, newest first.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/routes/{route_id}/versions",
    tag = "versions",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("route_id" = String, Path, description = "The route's `id`"),
        ("limit" = Option<u32>, Query, description = "Most versions of the page, 1 to 200; 50 without it"),
        ("marker" = Option<u32>, Query, description = "The number of the last version of the page before"),
    ),
    responses(
        (status = 200, description = "A page of versions, and where the next one is", body = RouteVersionsAnswer),
        (status = 400, description = "`limit` or `marker` is refused", body = ErrorView),
        (status = 404, description = "The project has no such route", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:version:list"]))
)]
pub(crate) async fn list_route_versions(
    Allowed(auth, ..): Allowed<rule::ListVersions>,
    State(state): State<ApiState>,
    RouteIdPath(id): RouteIdPath,
    uri: Uri,
    origin: Origin,
) -> Result<Json<RouteVersionsAnswer>, ApiError> {
    let (_, route) = find_route_by_id(&state, &auth.project, &id).await?;
    let query = Query::parse(uri.query(), &["limit", "marker"])?;
    let number = |name: &'static str, max: u32| {
        let text = query.get(name)?;
        let fits = text.parse().ok().filter(|number| (1..=max).contains(number));
        Some(fits.ok_or_else(|| FieldFault::new(name, format!("must be a number from 1 to {max}"))))
    };
    let limit = number("limit", MAX_LIMIT).transpose()?.unwrap_or(DEFAULT_LIMIT);
    let before = number("marker", u32::MAX).transpose()?;
    let listed = |error| ApiError::store("listing versions", error);
    let versions = state.store.list_versions(&id, before, limit).await.map_err(listed)?;
    let aliases = state.store.list_aliases(&id).await.map_err(listed)?;
    let full = versions.len() as u64 == u64::from(limit);
    let next = versions.last().filter(|last| full && last.number > 1).map(|last| {
        let base = origin.base(state.settings.api_base.as_deref());
        let number = last.number;
        let href = format!("{base}/v1/{}/routes/{id}/versions?limit={limit}&marker={number}", auth.project);
        LinkView { rel: "next", href }
    });
    Ok(Json(RouteVersionsAnswer {
        versions: versions.iter().map(|each| RouteVersionView::new(each, &route, &aliases)).collect(),
        versions_links: next.into_iter().collect(),
        message: "Successfully listed route versions",
    }))
}

/// Show a version of a route.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/routes/{route_id}/versions/{version}",
    tag = "versions",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("route_id" = String, Path, description = "The route's `id`"),
        ("version" = String, Path, description = "The version's number"),
    ),
    responses(
        (status = 200, description = "The version", body = RouteVersionAnswer, headers(("ETag" = String, description = "Of this state of the version"))),
        (status = 304, description = "The version has a tag that If-None-Match lists"),
        (status = 400, description = "A header is refused; the message names it", body = ErrorView),
        (status = 412, description = "The version has no tag that If-Match lists", body = ErrorView),
        (status = 404, description = "The project has no such route, or the route no such version (any more)", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:version:get"]))
)]
pub(crate) async fn get_route_version(
    Allowed(auth, ..): Allowed<rule::GetVersion>,
    State(state): State<ApiState>,
    at: VersionPath,
    preconditions: Preconditions,
) -> Result<Response, ApiError> {
    let (_, route) = find_route_by_id(&state, &auth.project, &at.route).await?;
    let missing = || ApiError::VersionNotFound(at.written.clone());
    let number = at.number.ok_or_else(missing)?;
    let version = state.store.get_route_version(&route.id, number).await.map_err(from_store(missing))?;
    let aliases = state.store.list_aliases(&route.id).await.map_err(from_store(missing))?;
    let version = RouteVersionView::new(&version, &route, &aliases);
    let tag = tag_of(&version)?;
    let message = "Route version successfully loaded";
    preconditions.show(&tag, RouteVersionAnswer { version, message })
}

/// Roll a route back: make a new version of what an older one ran, its image by digest, and run that.
/// The app's configuration, and what is of the route itself (methods, type, delivery), stay.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/routes/{route_id}/rollback",
    tag = "versions",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("route_id" = String, Path, description = "The route's `id`"),
    ),
    request_body = RollBack,
    responses(
        (status = 200, description = "The route with its new version, which calls run", body = RouteAnswer),
        (status = 400, description = "A field is refused", body = ErrorView),
        (status = 404, description = "The project has no such route, or the route no such version (any more)", body = ErrorView),
        (status = 409, description = "The version cannot run: it never was ready, or its image is gone", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:version:roll_back"]))
)]
pub(crate) async fn roll_back(
    Allowed(auth, ..): Allowed<rule::RollBack>,
    State(state): State<ApiState>,
    RouteIdPath(id): RouteIdPath,
    body: JsonBody,
) -> Result<Json<RouteAnswer>, ApiError> {
    let (app, route) = find_route_by_id(&state, &auth.project, &id).await?;
    auth.about(&app);
    auth.about(&route);
    let RollBack { version: number } = body.parse()?;
    auth.about(&SourceVersion(number));
    match state.store.get_route_version(&route.id, number).await {
        Ok(version) if version.digest.is_some() => {
            let fetched = state.engine.fetch(&auth.project, &version).await;
            fetched.map_err(|reason| ApiError::VersionNotReady { number, reason: Some(reason) })?;
        }
        // The store says what is wrong with it.
        Ok(_) | Err(StoreError::NotFound) => {}
        Err(error) => return Err(ApiError::store("loading a version", error)),
    }
    let missing = || ApiError::RouteNotFound(id.to_string());
    let rolled_back = state.store.roll_back(&route.id, number, &auth.caller.user_id).await;
    let route = rolled_back.map_err(from_store(missing))?;
    auth.about(&route);
    state.catalog.forget(&app.id).await;
    Ok(Json(RouteAnswer { route: RouteView::from(&route), message: "Route successfully rolled back" }))
}
