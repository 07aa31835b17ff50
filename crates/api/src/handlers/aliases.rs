//! Aliases of a route: `/v1/{project_id}/routes/{route_id}/aliases`.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Uri;
use picasso_identity::policy::defaults as rule;
use picasso_store::StoreError;
use picasso_types::Alias;

use super::route_versions::find_route_by_id;
use crate::answers::{created, deleted};
use crate::bodies::{CreateAlias, UpdateAlias};
use crate::error::{ApiError, ErrorView, from_store};
use crate::microversion::Microversion;
use crate::request::auth::Allowed;
use crate::request::json::JsonBody;
use crate::request::listing::{Field, Listed, Of};
use crate::request::origin::Origin;
use crate::request::path::{AliasPath, RouteIdPath};
use crate::request::preconditions::{Preconditions, tag_of, tagged};
use crate::state::ApiState;
use crate::version_views::{AliasAnswer, AliasView, AliasesAnswer};
use crate::views::Done;

/// Aliases in lists.
const ALIASES: Listed<Alias> = Listed {
    fields: &[
        Field { name: "name", of: Of::Text(|alias| alias.name.as_str().into()) },
        Field { name: "is_public", of: Of::Flag(|alias| alias.spec.is_public) },
        Field { name: "created_by", of: Of::Text(|alias| alias.created_by.as_str().into()) },
        Field { name: "updated_by", of: Of::Text(|alias| alias.updated_by.as_str().into()) },
        Field { name: "created_at", of: Of::Time(|alias| alias.created_at) },
        Field { name: "updated_at", of: Of::Time(|alias| alias.updated_at) },
    ],
    marker: |alias| alias.name.to_string(),
};

/// List the aliases of a route.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/routes/{route_id}/aliases",
    tag = "versions",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("route_id" = String, Path, description = "The route's `id`"),
        ("limit" = Option<u32>, Query, description = "Most entries of the page, 1 to 1000"),
        ("marker" = Option<String>, Query, description = "The name of the last alias of the page before"),
        ("sort" = Option<String>, Query, description = "Fields and directions, `updated_at:desc,name:asc`"),
        ("name" = Option<String>, Query, description = "Only the alias with this name; filters may begin with `in:` `nin:` `eq:` `neq:` `gt:` `gte:` `lt:` or `lte:`"),
        ("is_public" = Option<String>, Query, description = "Only aliases that need no token, or only those that do"),
        ("created_by" = Option<String>, Query, description = "Only aliases that this user made"),
        ("updated_by" = Option<String>, Query, description = "Only aliases that this user changed last"),
        ("created_at" = Option<String>, Query, description = "Only aliases made at this time"),
        ("updated_at" = Option<String>, Query, description = "Only aliases last changed at this time"),
    ),
    responses(
        (status = 200, description = "The aliases, ordered by name unless `sort` says otherwise, and where the next page is", body = AliasesAnswer),
        (status = 400, description = "A parameter is refused; the message names it", body = ErrorView),
        (status = 404, description = "The project has no such route", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:alias:list"]))
)]
pub(crate) async fn list_aliases(
    Allowed(auth, ..): Allowed<rule::ListAliases>,
    State(state): State<ApiState>,
    RouteIdPath(id): RouteIdPath,
    uri: Uri,
    version: Microversion,
    origin: Origin,
) -> Result<Json<AliasesAnswer>, ApiError> {
    let (_, route) = find_route_by_id(&state, &auth.project, &id).await?;
    let listed = state.store.list_aliases(&route.id).await;
    let aliases = listed.map_err(|error| ApiError::store("listing aliases", error))?;
    let base = origin.base(state.settings.api_base.as_deref());
    let url = format!("{base}/v1/{}/routes/{id}/aliases", auth.project);
    let page = ALIASES.page(aliases, uri.query(), version, &url)?;
    Ok(Json(AliasesAnswer {
        aliases: page.entries.iter().map(AliasView::from).collect(),
        aliases_links: page.links,
        message: "Successfully listed aliases",
    }))
}

/// Make an alias.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/routes/{route_id}/aliases",
    tag = "versions",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("route_id" = String, Path, description = "The route's `id`"),
    ),
    request_body = CreateAlias,
    responses(
        (status = 200, description = "The alias", body = AliasAnswer, headers(("ETag" = String, description = "Of this state of the alias"))),
        (status = 201, description = "The same, from version 1.1 on", body = AliasAnswer, headers(("Location" = String, description = "The alias's URL"), ("ETag" = String, description = "Of this state of the alias"))),
        (status = 400, description = "A field is refused", body = ErrorView),
        (status = 403, description = "The route has as many aliases as it may", body = ErrorView),
        (status = 404, description = "The project has no such route, or the route no such version (any more)", body = ErrorView),
        (status = 409, description = "The route has an alias of this name, or a version is not ready", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:alias:create"]))
)]
pub(crate) async fn create_alias(
    Allowed(auth, ..): Allowed<rule::CreateAlias>,
    State(state): State<ApiState>,
    RouteIdPath(id): RouteIdPath,
    version: Microversion,
    origin: Origin,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let (app, route) = find_route_by_id(&state, &auth.project, &id).await?;
    auth.about(&app);
    let (name, spec) = body.parse::<CreateAlias>()?.into_new()?;
    let max = state.settings.bounds.max_aliases_per_route;
    let made = state.store.create_alias(&route.id, &name, &spec, &auth.caller.user_id, max).await;
    let alias = made.map_err(|error| match error {
        StoreError::AliasExists => ApiError::AliasExists(name.to_string()),
        other => from_store(|| ApiError::RouteNotFound(id.to_string()))(other),
    })?;
    auth.about(&alias);
    state.catalog.forget(&app.id).await;
    let base = origin.base(state.settings.api_base.as_deref());
    let url = format!("{base}/v1/{}/routes/{id}/aliases/{name}", auth.project);
    let answer = AliasAnswer { alias: AliasView::from(&alias), message: "Alias successfully created" };
    Ok(tagged(&tag_of(&answer.alias)?, created(version, url, answer)))
}

/// Show an alias.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/routes/{route_id}/aliases/{alias}",
    tag = "versions",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("route_id" = String, Path, description = "The route's `id`"),
        ("alias" = String, Path, description = "The alias's name"),
    ),
    responses(
        (status = 200, description = "The alias", body = AliasAnswer, headers(("ETag" = String, description = "Of this state of the alias"))),
        (status = 304, description = "The alias has a tag that If-None-Match lists"),
        (status = 400, description = "A header is refused; the message names it", body = ErrorView),
        (status = 412, description = "The alias has no tag that If-Match lists", body = ErrorView),
        (status = 404, description = "The project has no such route, or the route no such alias", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:alias:get"]))
)]
pub(crate) async fn get_alias(
    Allowed(auth, ..): Allowed<rule::GetAlias>,
    State(state): State<ApiState>,
    at: AliasPath,
    preconditions: Preconditions,
) -> Result<Response, ApiError> {
    let (_, route) = find_route_by_id(&state, &auth.project, &at.route).await?;
    let name = at.name.as_ref().ok_or_else(|| at.missing())?;
    let alias = state.store.get_alias(&route.id, name).await.map_err(from_store(|| at.missing()))?;
    let alias = AliasView::from(&alias);
    let tag = tag_of(&alias)?;
    preconditions.show(&tag, AliasAnswer { alias, message: "Alias successfully loaded" })
}

/// Change an alias: its versions and weights, who may call it, what tells clients apart. Absent fields
/// stay.
#[utoipa::path(
    put,
    path = "/v1/{project_id}/routes/{route_id}/aliases/{alias}",
    tag = "versions",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("route_id" = String, Path, description = "The route's `id`"),
        ("alias" = String, Path, description = "The alias's name"),
    ),
    request_body = UpdateAlias,
    responses(
        (status = 200, description = "The alias", body = AliasAnswer, headers(("ETag" = String, description = "Of the new state"))),
        (status = 400, description = "A field is refused", body = ErrorView),
        (status = 412, description = "The alias has no tag that If-Match lists; nothing is changed", body = ErrorView),
        (status = 404, description = "The project has no such route, or the route no such alias or version (any more)", body = ErrorView),
        (status = 409, description = "A version is not ready", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:alias:update"]))
)]
pub(crate) async fn update_alias(
    Allowed(auth, ..): Allowed<rule::UpdateAlias>,
    State(state): State<ApiState>,
    at: AliasPath,
    preconditions: Preconditions,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let (app, route) = find_route_by_id(&state, &auth.project, &at.route).await?;
    auth.about(&app);
    let name = at.name.as_ref().ok_or_else(|| at.missing())?;
    let before = state.store.get_alias(&route.id, name).await.map_err(from_store(|| at.missing()))?;
    let for_this_state = preconditions.allow_change(&tag_of(&AliasView::from(&before))?)?;
    let spec = body.parse::<UpdateAlias>()?.into_spec(&before)?;
    let expected = for_this_state.then_some(&before);
    let changed = state.store.update_alias(&route.id, name, &spec, expected, &auth.caller.user_id).await;
    let alias = changed.map_err(from_store(|| at.missing()))?;
    auth.about(&alias);
    state.catalog.forget(&app.id).await;
    let answer = AliasAnswer { alias: AliasView::from(&alias), message: "Alias successfully updated" };
    Ok(tagged(&tag_of(&answer.alias)?, Json(answer).into_response()))
}

/// Delete an alias.
#[utoipa::path(
    delete,
    path = "/v1/{project_id}/routes/{route_id}/aliases/{alias}",
    tag = "versions",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("route_id" = String, Path, description = "The route's `id`"),
        ("alias" = String, Path, description = "The alias's name"),
    ),
    responses(
        (status = 200, description = "The alias is gone; its versions stay as long as they would without it", body = Done),
        (status = 204, description = "The same, from version 1.1 on"),
        (status = 400, description = "A header is refused; the message names it", body = ErrorView),
        (status = 412, description = "The alias has no tag that If-Match lists", body = ErrorView),
        (status = 404, description = "The project has no such route, or the route no such alias", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:alias:delete"]))
)]
pub(crate) async fn delete_alias(
    Allowed(auth, ..): Allowed<rule::DeleteAlias>,
    State(state): State<ApiState>,
    at: AliasPath,
    version: Microversion,
    preconditions: Preconditions,
) -> Result<Response, ApiError> {
    let (app, route) = find_route_by_id(&state, &auth.project, &at.route).await?;
    auth.about(&app);
    let name = at.name.as_ref().ok_or_else(|| at.missing())?;
    let alias = state.store.get_alias(&route.id, name).await.map_err(from_store(|| at.missing()))?;
    preconditions.allow_change(&tag_of(&AliasView::from(&alias))?)?;
    state.store.delete_alias(&route.id, name).await.map_err(from_store(|| at.missing()))?;
    state.catalog.forget(&app.id).await;
    Ok(deleted(version, Done { message: "Alias successfully deleted" }))
}
