//! Apps: `/v1/{project_id}/apps`.

use axum::Json;
use axum::extract::State;
use picasso_identity::policy::defaults as rule;
use picasso_store::StoreError;
use picasso_types::{App, ProjectId, Resource};

use crate::bodies::{CreateApp, UpdateApp};
use crate::error::{ApiError, ErrorView, from_store};
use crate::request::auth::Allowed;
use crate::request::json::JsonBody;
use crate::request::path::AppPath;
use crate::state::ApiState;
use crate::views::{AppAnswer, AppView, AppsAnswer, Done, SigningKeyAnswer};

/// The project's app with this short or full name.
pub(crate) async fn find_app(state: &ApiState, project: &ProjectId, name: &str) -> Result<App, ApiError> {
    state.store.get_app(project, name).await.map_err(from_store(|| ApiError::AppNotFound(name.to_owned())))
}

/// List the apps of a project.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/apps",
    tag = "apps",
    params(("project_id" = String, Path, description = "The project of the token")),
    responses((status = 200, description = "All apps, ordered by name", body = AppsAnswer)),
    security(("keystone_token" = ["functions:app:list"]))
)]
pub(crate) async fn list_apps(
    Allowed(auth, ..): Allowed<rule::ListApps>,
    State(state): State<ApiState>,
) -> Result<Json<AppsAnswer>, ApiError> {
    let apps =
        state.store.list_apps(&auth.project).await.map_err(|error| ApiError::store("listing apps", error))?;
    Ok(Json(AppsAnswer {
        apps: apps.iter().map(AppView::from).collect(),
        message: "Successfully listed applications",
    }))
}

/// Make an app.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/apps",
    tag = "apps",
    params(("project_id" = String, Path, description = "The project of the token")),
    request_body = CreateApp,
    responses(
        (status = 200, description = "The app; use the name of the answer from now on", body = AppAnswer),
        (status = 400, description = "A field is refused", body = ErrorView),
        (status = 403, description = "The project has as many apps as it may, or the role is not enough", body = ErrorView),
        (status = 409, description = "The project has an app of this name", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:app:create"]))
)]
pub(crate) async fn create_app(
    Allowed(auth, ..): Allowed<rule::CreateApp>,
    State(state): State<ApiState>,
    body: JsonBody,
) -> Result<Json<AppAnswer>, ApiError> {
    let new = body.parse::<CreateApp>()?.into_new(auth.project, &state.settings.bounds)?;
    let max = state.limits.of(&new.project_id).await.of(Resource::Apps).max_u32();
    let app = state.store.create_app(&new, max).await.map_err(|error| match error {
        StoreError::AppExists => ApiError::AppExists(new.short_name.to_string()),
        other => from_store(|| ApiError::ProjectNotFound(new.project_id.to_string()))(other),
    })?;
    Ok(Json(AppAnswer { app: AppView::from(&app), message: "App successfully created" }))
}

/// Show an app.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/apps/{app}",
    tag = "apps",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("app" = String, Path, description = "The app's name, short or full"),
    ),
    responses(
        (status = 200, description = "The app", body = AppAnswer),
        (status = 404, description = "The project has no such app", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:app:get"]))
)]
pub(crate) async fn get_app(
    Allowed(auth, ..): Allowed<rule::GetApp>,
    State(state): State<ApiState>,
    AppPath(name): AppPath,
) -> Result<Json<AppAnswer>, ApiError> {
    let app = find_app(&state, &auth.project, &name).await?;
    Ok(Json(AppAnswer { app: AppView::from(&app), message: "Successfully loaded app" }))
}

/// Change an app: its configuration merges, `""` deletes a key.
#[utoipa::path(
    put,
    path = "/v1/{project_id}/apps/{app}",
    tag = "apps",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("app" = String, Path, description = "The app's name, short or full"),
    ),
    request_body = UpdateApp,
    responses(
        (status = 200, description = "The app after the change; its routes have new versions", body = AppAnswer),
        (status = 400, description = "A field is refused", body = ErrorView),
        (status = 404, description = "The project has no such app", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:app:update"]))
)]
pub(crate) async fn update_app(
    Allowed(auth, ..): Allowed<rule::UpdateApp>,
    State(state): State<ApiState>,
    AppPath(name): AppPath,
    body: JsonBody,
) -> Result<Json<AppAnswer>, ApiError> {
    let app = find_app(&state, &auth.project, &name).await?;
    let change = body.parse::<UpdateApp>()?.into_change(&app, &state.settings.bounds)?;
    let changed = state
        .store
        .update_app(&app.id, &change, &auth.caller.user_id)
        .await
        .map_err(from_store(|| ApiError::AppNotFound(name)))?;
    state.catalog.forget(&app.id).await;
    Ok(Json(AppAnswer { app: AppView::from(&changed), message: "App successfully updated" }))
}

/// Delete an app that has no routes.
#[utoipa::path(
    delete,
    path = "/v1/{project_id}/apps/{app}",
    tag = "apps",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("app" = String, Path, description = "The app's name, short or full"),
    ),
    responses(
        (status = 200, description = "The app is gone", body = Done),
        (status = 403, description = "The app has routes, or the role is not enough", body = ErrorView),
        (status = 404, description = "The project has no such app", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:app:delete"]))
)]
pub(crate) async fn delete_app(
    Allowed(auth, ..): Allowed<rule::DeleteApp>,
    State(state): State<ApiState>,
    AppPath(name): AppPath,
) -> Result<Json<Done>, ApiError> {
    let app = find_app(&state, &auth.project, &name).await?;
    state.store.delete_app(&app.id).await.map_err(|error| match error {
        StoreError::AppHasRoutes => ApiError::AppHasRoutes(name.clone()),
        other => from_store(|| ApiError::AppNotFound(name.clone()))(other),
    })?;
    state.catalog.forget(&app.id).await;
    Ok(Json(Done { message: "App successfully deleted" }))
}

/// Give an app a new key that signs what its calls send.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/apps/{app}/signing-key",
    tag = "apps",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("app" = String, Path, description = "The app's short or full name"),
    ),
    responses(
        (status = 200, description = "The key, shown this once; an old one still signs beside it for a while", body = SigningKeyAnswer),
        (status = 404, description = "The project has no such app", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:app:rotate_signing_key"]))
)]
pub(crate) async fn rotate_signing_key(
    Allowed(auth, ..): Allowed<rule::RotateSigningKey>,
    State(state): State<ApiState>,
    AppPath(name): AppPath,
) -> Result<Json<SigningKeyAnswer>, ApiError> {
    let app = find_app(&state, &auth.project, &name).await?;
    let key = state.engine.rotate_signing_key(&app.id).await;
    let key = key.map_err(from_store(|| ApiError::AppNotFound(name.clone())))?;
    let signing_key =
        key.ok_or_else(|| ApiError::internal("making a key", "the system has no randomness"))?;
    Ok(Json(SigningKeyAnswer { signing_key, message: "Keep this key; it is not shown again" }))
}
