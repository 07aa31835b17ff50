//! Apps: `/v1/{project_id}/apps`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Uri;
use picasso_identity::policy::defaults as rule;
use picasso_store::StoreError;
use picasso_types::{App, ProjectId, Resource, SecretOwner, Secrets};

use super::secrets::SecretChange;
use crate::answers::{created, deleted};
use crate::bodies::{CreateApp, UpdateApp};
use crate::error::{ApiError, ErrorView, from_store};
use crate::microversion::Microversion;
use crate::request::auth::{Allowed, CallerToken};
use crate::request::json::JsonBody;
use crate::request::listing::{Field, Listed, Of};
use crate::request::origin::Origin;
use crate::request::path::AppPath;
use crate::request::preconditions::{Preconditions, tag_of, tagged};
use crate::state::ApiState;
use crate::views::{AppAnswer, AppView, AppsAnswer, Done, SigningKeyAnswer};

/// Apps in lists.
const APPS: Listed<App> = Listed {
    fields: &[
        Field { name: "id", of: Of::Text(|app| app.id.as_str().into()) },
        Field { name: "name", of: Of::Text(|app| app.full_name.as_str().into()) },
        Field { name: "short_name", of: Of::Text(|app| app.short_name.as_str().into()) },
        Field { name: "description", of: Of::Text(|app| app.description.as_str().into()) },
        Field { name: "created_at", of: Of::Time(|app| app.created_at) },
        Field { name: "updated_at", of: Of::Time(|app| app.updated_at) },
    ],
    marker: |app| app.id.to_string(),
};

/// The project's app with this short or full name.
pub(crate) async fn find_app(state: &ApiState, project: &ProjectId, name: &str) -> Result<App, ApiError> {
    state.store.get_app(project, name).await.map_err(from_store(|| ApiError::AppNotFound(name.to_owned())))
}

/// Where an app is; `base` is the start of the API's links.
pub(crate) fn app_url(base: &str, app: &App) -> String {
    format!("{base}/v1/{}/apps/{}", app.project_id, app.full_name)
}

/// List the apps of a project.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/apps",
    tag = "apps",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("limit" = Option<u32>, Query, description = "Most entries of the page, 1 to 1000"),
        ("marker" = Option<String>, Query, description = "The id of the last app of the page before"),
        ("sort" = Option<String>, Query, description = "Fields and directions, `created_at:desc,name:asc`"),
        ("name" = Option<String>, Query, description = "Only apps with this full name; filters may begin with `in:` `nin:` `eq:` `neq:` `gt:` `gte:` `lt:` or `lte:`"),
        ("short_name" = Option<String>, Query, description = "Only apps with this short name"),
        ("description" = Option<String>, Query, description = "Only apps with this description"),
        ("id" = Option<String>, Query, description = "Only the app with this id"),
        ("created_at" = Option<String>, Query, description = "Only apps made at this time"),
        ("updated_at" = Option<String>, Query, description = "Only apps last changed at this time"),
    ),
    responses(
        (status = 200, description = "The apps, ordered by name unless `sort` says otherwise, and where the next page is", body = AppsAnswer),
        (status = 400, description = "A parameter is refused; the message names it", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:app:list"]))
)]
pub(crate) async fn list_apps(
    Allowed(auth, ..): Allowed<rule::ListApps>,
    State(state): State<ApiState>,
    uri: Uri,
    version: Microversion,
    origin: Origin,
) -> Result<Json<AppsAnswer>, ApiError> {
    let apps =
        state.store.list_apps(&auth.project).await.map_err(|error| ApiError::store("listing apps", error))?;
    let url = format!("{}/v1/{}/apps", origin.base(state.settings.api_base.as_deref()), auth.project);
    let page = APPS.page(apps, uri.query(), version, &url)?;
    Ok(Json(AppsAnswer {
        apps: page.entries.iter().map(AppView::from).collect(),
        apps_links: page.links,
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
        (status = 201, description = "The same, from version 1.1 on", body = AppAnswer, headers(("Location" = String, description = "The app's URL"))),
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
    version: Microversion,
    origin: Origin,
    token: CallerToken,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let mut body = body.parse::<CreateApp>()?;
    let secrets = body.take_secrets();
    let mut new = body.into_new(auth.project.clone(), &state.settings.bounds)?;
    let owner = SecretOwner::App(new.id.clone());
    let sealing = SecretChange { state: &state, owner, token: &token, wrapper: "app." };
    new.secrets = sealing.apply(&Secrets::default(), secrets).await?;
    let max = state.limits.of(&new.project_id).await.of(Resource::Apps).max_u32();
    let app = state.store.create_app(&new, max).await.map_err(|error| match error {
        StoreError::AppExists => ApiError::AppExists(new.short_name.to_string()),
        other => from_store(|| ApiError::ProjectNotFound(new.project_id.to_string()))(other),
    })?;
    auth.about(&app);
    let at = app_url(origin.base(state.settings.api_base.as_deref()), &app);
    let answer = AppAnswer { app: AppView::from(&app), message: "App successfully created" };
    Ok(tagged(&tag_of(&answer.app)?, created(version, at, answer)))
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
        (status = 200, description = "The app", body = AppAnswer, headers(("ETag" = String, description = "Of this state of the app"))),
        (status = 304, description = "The app has a tag that If-None-Match lists"),
        (status = 400, description = "A header is refused; the message names it", body = ErrorView),
        (status = 412, description = "The app has no tag that If-Match lists", body = ErrorView),
        (status = 404, description = "The project has no such app", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:app:get"]))
)]
pub(crate) async fn get_app(
    Allowed(auth, ..): Allowed<rule::GetApp>,
    State(state): State<ApiState>,
    AppPath(name): AppPath,
    preconditions: Preconditions,
) -> Result<Response, ApiError> {
    let app = AppView::from(&find_app(&state, &auth.project, &name).await?);
    let tag = tag_of(&app)?;
    preconditions.show(&tag, AppAnswer { app, message: "Successfully loaded app" })
}

/// Change an app: configuration and secrets merge, `""` deletes a key.
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
        (status = 200, description = "The app after the change; its routes have new versions", body = AppAnswer, headers(("ETag" = String, description = "Of the new state"))),
        (status = 412, description = "The app has no tag that If-Match lists; nothing is changed", body = ErrorView),
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
    preconditions: Preconditions,
    token: CallerToken,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let app = find_app(&state, &auth.project, &name).await?;
    auth.about(&app);
    let for_this_state = preconditions.allow_change(&tag_of(&AppView::from(&app))?)?;
    let mut body = body.parse::<UpdateApp>()?;
    let secrets = body.take_secrets();
    let mut change = body.into_change(&app, &state.settings.bounds)?;
    let owner = SecretOwner::App(app.id.clone());
    let sealing = SecretChange { state: &state, owner, token: &token, wrapper: "" };
    change.secrets = sealing.apply(&app.secrets, secrets).await?;
    change.expected = for_this_state.then(|| Box::new(app.clone()));
    let changed = state
        .store
        .update_app(&app.id, &change, &auth.caller.user_id)
        .await
        .map_err(from_store(|| ApiError::AppNotFound(name)))?;
    state.catalog.forget(&app.id).await;
    let answer = AppAnswer { app: AppView::from(&changed), message: "App successfully updated" };
    Ok(tagged(&tag_of(&answer.app)?, Json(answer).into_response()))
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
        (status = 204, description = "The same, from version 1.1 on"),
        (status = 400, description = "A header is refused; the message names it", body = ErrorView),
        (status = 412, description = "The app has no tag that If-Match lists", body = ErrorView),
        (status = 403, description = "The app has routes, or the role is not enough", body = ErrorView),
        (status = 404, description = "The project has no such app", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:app:delete"]))
)]
pub(crate) async fn delete_app(
    Allowed(auth, ..): Allowed<rule::DeleteApp>,
    State(state): State<ApiState>,
    AppPath(name): AppPath,
    version: Microversion,
    preconditions: Preconditions,
) -> Result<Response, ApiError> {
    let app = find_app(&state, &auth.project, &name).await?;
    auth.about(&app);
    preconditions.allow_change(&tag_of(&AppView::from(&app))?)?;
    state.store.delete_app(&app.id).await.map_err(|error| match error {
        StoreError::AppHasRoutes => ApiError::AppHasRoutes(name.clone()),
        other => from_store(|| ApiError::AppNotFound(name.clone()))(other),
    })?;
    state.catalog.forget(&app.id).await;
    Ok(deleted(version, Done { message: "App successfully deleted" }))
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
    auth.about(&app);
    let key = state.engine.rotate_signing_key(&app.id).await;
    let key = key.map_err(from_store(|| ApiError::AppNotFound(name.clone())))?;
    let signing_key =
        key.ok_or_else(|| ApiError::internal("making a key", "the system has no randomness"))?;
    Ok(Json(SigningKeyAnswer { signing_key, message: "Keep this key; it is not shown again" }))
}
