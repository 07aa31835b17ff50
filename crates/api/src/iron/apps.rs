//! Apps: `/v1/apps`.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use picasso_store::StoreError;
use picasso_types::{App, AppChange, NewApp, ProjectId, Resource};

use super::IronState;
use super::answer::ok;
use super::app_body::{AppWrapper, new_app};
use super::error::{IronError, from_store};
use super::json::JsonBody;
use super::path::AppPath;
use super::views::{AppAnswer, AppView, AppsAnswer, Done};

pub(super) const APP_MISSING: &str = "App not found";
/// In whose name versions are made: there are no users here.
pub(super) const MADE_BY: &str = "ironfunctions";

/// How often a merge is begun again because another one came between.
pub(super) const MAX_TRIES: u32 = 32;

/// The app of this name.
pub(super) async fn find_app(state: &IronState, name: &str) -> Result<App, IronError> {
    let app = state.api.store.get_app(&ProjectId::ironfunctions(), name).await;
    let app = app.map_err(from_store(APP_MISSING))?;
    // The store knows it by its full name, too; nobody is told that one here.
    if app.short_name.as_str() == name { Ok(app) } else { Err(IronError::missing(APP_MISSING)) }
}

/// Stores an app.
pub(super) async fn store_app(state: &IronState, new: &NewApp) -> Result<App, IronError> {
    let max = state.api.limits.of(&new.project_id).await.of(Resource::Apps).max_u32();
    state.api.store.create_app(new, max).await.map_err(|error| match error {
        StoreError::AppExists => IronError::new(StatusCode::CONFLICT, "App already exists"),
        other => from_store(APP_MISSING)(other),
    })
}

pub(super) async fn list_apps(State(state): State<IronState>) -> Result<Response, IronError> {
    let apps = state.api.store.list_apps(&ProjectId::ironfunctions()).await;
    let apps = apps.map_err(from_store(APP_MISSING))?;
    Ok(ok(&AppsAnswer {
        message: "Successfully listed applications",
        apps: apps.iter().map(AppView::from).collect(),
    }))
}

pub(super) async fn create_app(
    State(state): State<IronState>,
    body: JsonBody,
) -> Result<Response, IronError> {
    let body = body.parse::<AppWrapper>()?.app()?;
    let name = body.name.unwrap_or_default();
    let new = new_app(&name, body.config.unwrap_or_default(), &state.api.settings.bounds)?;
    let app = store_app(&state, &new).await?;
    Ok(ok(&AppAnswer { message: "App successfully created", app: AppView::from(&app) }))
}

pub(super) async fn get_app(
    State(state): State<IronState>,
    AppPath(name): AppPath,
) -> Result<Response, IronError> {
    let app = find_app(&state, &name).await?;
    Ok(ok(&AppAnswer { message: "Successfully loaded app", app: AppView::from(&app) }))
}

/// Its configuration merges; the value `""` deletes a key.
pub(super) async fn update_app(
    State(state): State<IronState>,
    AppPath(name): AppPath,
    body: JsonBody,
) -> Result<Response, IronError> {
    let body = body.parse::<AppWrapper>()?.app()?;
    if body.name.is_some_and(|name| !name.is_empty()) {
        return Err(IronError::bad("Could not update app - name is immutable"));
    }
    let mut tries = 1;
    let changed = loop {
        let app = find_app(&state, &name).await?;
        let mut change = AppChange::of(&app, body.config.as_ref(), None, &state.api.settings.bounds)
            .map_err(|fault| IronError::bad(format!("validation failure list:\n{fault}")))?;
        let id = app.id.clone();
        change.expected = Some(Box::new(app));
        match state.api.store.update_app(&id, &change, MADE_BY).await {
            Err(StoreError::Changed) if tries < MAX_TRIES => tries += 1,
            changed => break changed.map_err(from_store(APP_MISSING))?,
        }
    };
    state.api.catalog.forget(&changed.id).await;
    Ok(ok(&AppAnswer { message: "App successfully updated", app: AppView::from(&changed) }))
}

pub(super) async fn delete_app(
    State(state): State<IronState>,
    AppPath(name): AppPath,
) -> Result<Response, IronError> {
    let app = find_app(&state, &name).await?;
    state.api.store.delete_app(&app.id).await.map_err(|error| match error {
        StoreError::AppHasRoutes => IronError::bad("Cannot remove apps with routes"),
        other => from_store(APP_MISSING)(other),
    })?;
    state.api.catalog.forget(&app.id).await;
    Ok(ok(&Done { message: "App deleted" }))
}
