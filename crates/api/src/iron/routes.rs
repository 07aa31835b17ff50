//! Routes: `/v1/apps/{app}/routes`, and `/v1/routes` for those of all apps.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use picasso_store::StoreError;
use picasso_types::{App, Digest, NetworkMode, ProjectId, Resource, Route, RouteId, Sealed, VersionSpec};

use super::IronState;
use super::answer::ok;
use super::app_body::new_app;
use super::apps::{APP_MISSING, MAX_TRIES, find_app, store_app};
use super::error::{IronError, from_store};
use super::json::JsonBody;
use super::path::{AppPath, RoutePath};
use super::route_body::RouteWrapper;
use super::stored_route::{change_of, new_route, refused};
use super::views::{Done, RouteAnswer, RouteView, RoutesAnswer};
use crate::bodies::secrets::SecretText;
use crate::error::ApiError;
use crate::handlers::routes::{changed, check_spec};
use crate::handlers::secrets::sealed_jwt_key;
use crate::request::query::value;

const ROUTE_MISSING: &str = "Route not found";

pub(super) async fn list_all_routes(State(state): State<IronState>, uri: Uri) -> Result<Response, IronError> {
    let apps = state.api.store.list_apps(&ProjectId::ironfunctions()).await;
    let mut views = Vec::new();
    for app in apps.map_err(from_store(APP_MISSING))? {
        views.extend(views_of(&state, &app, &uri).await?);
    }
    Ok(listed(views))
}

pub(super) async fn list_routes(
    State(state): State<IronState>,
    AppPath(name): AppPath,
    uri: Uri,
) -> Result<Response, IronError> {
    let app = find_app(&state, &name).await?;
    Ok(listed(views_of(&state, &app, &uri).await?))
}

/// Makes a route, and its app where there is none.
pub(super) async fn create_route(
    State(state): State<IronState>,
    AppPath(name): AppPath,
    body: JsonBody,
) -> Result<Response, IronError> {
    let mut body = body.parse::<RouteWrapper>()?.route()?;
    let jwt_key = body.jwt_key.take();
    let bounds = &state.api.settings.bounds;
    let network = if state.api.engine.features().egress { NetworkMode::Egress } else { NetworkMode::None };
    let mut new = new_route(&body, network, bounds)?;
    new.access.jwt_key = sealed_key(&state, &new.id, jwt_key.as_ref())?;
    let digest = resolved(&state, &new.spec).await?;
    let app = match find_app(&state, &name).await {
        Ok(app) => app,
        Err(error) if error.is_missing() => {
            store_app(&state, &new_app(&name, BTreeMap::new(), bounds)?).await?
        }
        Err(error) => return Err(error),
    };
    let max = state.api.limits.of(&app.project_id).await.of(Resource::Routes).max_u32();
    let route = state.api.store.create_route(&app.id, &new, digest.as_ref(), max).await;
    let route = route.map_err(|error| match error {
        StoreError::RouteExists => IronError::new(StatusCode::CONFLICT, "Route already exists"),
        other => from_store(APP_MISSING)(other),
    })?;
    changed(&state.api, &ProjectId::ironfunctions(), &app, &route).await;
    Ok(ok(&RouteAnswer { message: "Route successfully created", route: RouteView::new(&app, &route) }))
}

pub(super) async fn get_route(State(state): State<IronState>, at: RoutePath) -> Result<Response, IronError> {
    let (app, route) = find_route(&state, &at).await?;
    Ok(ok(&RouteAnswer { message: "Successfully loaded route", route: RouteView::new(&app, &route) }))
}

pub(super) async fn update_route(
    State(state): State<IronState>,
    at: RoutePath,
    body: JsonBody,
) -> Result<Response, IronError> {
    let body = body.parse::<RouteWrapper>()?.route()?;
    if body.path.as_ref().is_some_and(|path| !path.is_empty()) {
        return Err(IronError::bad("Could not update route - path is immutable"));
    }
    let mut tries = 1;
    let (app, route) = loop {
        let (app, route) = find_route(&state, &at).await?;
        let mut change = change_of(&body, &route, &state.api.settings.bounds)?;
        if let Some(key) = sealed_key(&state, &route.id, body.jwt_key.as_ref())? {
            change.access.jwt_key = Some(key);
        }
        let digest = resolved(&state, &change.spec).await?;
        match state.api.store.update_route(&route.id, &change, digest.as_ref()).await {
            Err(StoreError::Changed) if tries < MAX_TRIES => tries += 1,
            route => break (app, route.map_err(from_store(ROUTE_MISSING))?),
        }
    };
    changed(&state.api, &ProjectId::ironfunctions(), &app, &route).await;
    Ok(ok(&RouteAnswer { message: "Route successfully updated", route: RouteView::new(&app, &route) }))
}

pub(super) async fn delete_route(
    State(state): State<IronState>,
    at: RoutePath,
) -> Result<Response, IronError> {
    let (app, route) = find_route(&state, &at).await?;
    state.api.store.delete_route(&route.id).await.map_err(from_store(ROUTE_MISSING))?;
    state.api.catalog.forget(&app.id).await;
    Ok(ok(&Done { message: "Route deleted" }))
}

async fn find_route(state: &IronState, at: &RoutePath) -> Result<(App, Route), IronError> {
    let missing = |error: IronError| {
        if error.is_missing() { IronError::missing(ROUTE_MISSING) } else { error }
    };
    let app = find_app(state, &at.app).await.map_err(missing)?;
    let route = state.api.store.get_route(&app.id, &at.path).await.map_err(from_store(ROUTE_MISSING))?;
    Ok((app, route))
}

/// The digest of an image that is here already; a fault names the field.
async fn resolved(state: &IronState, spec: &VersionSpec) -> Result<Option<Digest>, IronError> {
    check_spec(&state.api, &ProjectId::ironfunctions(), spec, "").await.map_err(field_refused)
}

/// What is kept of a `jwt_key`; as every empty field, an empty one is none.
fn sealed_key(
    state: &IronState,
    route: &RouteId,
    key: Option<&SecretText>,
) -> Result<Option<Sealed>, IronError> {
    let Some(SecretText(key)) = key.filter(|key| !key.0.is_empty()) else { return Ok(None) };
    sealed_jwt_key(&state.api, route, key).map(Some).map_err(field_refused)
}

fn field_refused(error: ApiError) -> IronError {
    match error {
        ApiError::InvalidField(fault) => refused(&[fault.to_string()]),
        other => other.into(),
    }
}

/// The routes of an app, of one image where `?image=` asks for it.
async fn views_of(state: &IronState, app: &App, uri: &Uri) -> Result<Vec<RouteView>, IronError> {
    let wanted = value(uri, "image").filter(|image| !image.is_empty());
    let routes = state.api.store.list_routes(&app.id).await.map_err(from_store(APP_MISSING))?;
    let fits =
        |route: &&Route| wanted.as_ref().is_none_or(|image| route.latest.spec.image.to_string() == *image);
    Ok(routes.iter().filter(fits).map(|route| RouteView::new(app, route)).collect())
}

/// The spelling is IronFunctions'.
fn listed(routes: Vec<RouteView>) -> Response {
    ok(&RoutesAnswer { message: "Sucessfully listed routes", routes })
}
