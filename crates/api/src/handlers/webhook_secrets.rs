//! Secrets of a route's webhooks: `/v1/{project_id}/routes/{route_id}/webhook-secrets/{kind}`.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use picasso_identity::policy::defaults as rule;
use picasso_types::{App, FieldFault, Route, SealedFor, WebhookChange};

use super::route_versions::find_route_by_id;
use crate::answers::deleted;
use crate::error::{ApiError, ErrorView, from_store};
use crate::microversion::Microversion;
use crate::request::auth::Allowed;
use crate::request::path::WebhookSecretPath;
use crate::request::webhook;
use crate::state::ApiState;
use crate::views::{Done, WebhookSecretAnswer};

enum Kind {
    Signature,
    Path,
}

impl Kind {
    fn of(at: &WebhookSecretPath) -> Result<Self, ApiError> {
        match at.kind.as_str() {
            "signature" => Ok(Self::Signature),
            "path" => Ok(Self::Path),
            _ => Err(FieldFault::new("kind", "must be one of: \"signature\" \"path\"").into()),
        }
    }
}

/// Give a route a new webhook secret, which public calls have to show from now on.
#[utoipa::path(
    post,
    path = "/v1/{project_id}/routes/{route_id}/webhook-secrets/{kind}",
    tag = "routes",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("route_id" = String, Path, description = "The route's id"),
        ("kind" = String, Path, description = "`signature`: a key that bodies are signed with (`X-Hub-Signature-256`); `path`: a token in the function's URL"),
    ),
    responses(
        (status = 200, description = "The secret, shown this once; the one before it stays good for a while", body = WebhookSecretAnswer),
        (status = 400, description = "There is no such kind", body = ErrorView),
        (status = 404, description = "The project has no such route", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:webhook_secret:rotate"]))
)]
pub(crate) async fn rotate_webhook_secret(
    Allowed(auth, ..): Allowed<rule::RotateWebhookSecret>,
    State(state): State<ApiState>,
    at: WebhookSecretPath,
) -> Result<Json<WebhookSecretAnswer>, ApiError> {
    let (app, route) = find_route_by_id(&state, &auth.project, &at.route).await?;
    auth.about(&app);
    auth.about(&route);
    let kind = Kind::of(&at)?;
    let secret = webhook::new_secret()
        .ok_or_else(|| ApiError::internal("making a secret", "the system has no randomness"))?;
    let (change, url_path) = match kind {
        Kind::Signature => {
            let sealed = state.store.seal(SealedFor::WebhookKey(&route.id), secret.as_bytes());
            let sealed = sealed.map_err(|error| ApiError::store("sealing a secret", error))?;
            (WebhookChange::SetSignature(sealed), None)
        }
        Kind::Path => {
            let path = format!("/f/{}/{}{}", app.full_name, webhook::segment(&secret), route.pattern);
            (WebhookChange::SetPath(webhook::token_hash(&secret)), Some(path))
        }
    };
    apply(&state, &app, &route, &change).await?;
    let message = "Keep this secret; it is not shown again";
    Ok(Json(WebhookSecretAnswer { webhook_secret: secret, url_path, message }))
}

/// Take a webhook secret away, the one before it as well.
#[utoipa::path(
    delete,
    path = "/v1/{project_id}/routes/{route_id}/webhook-secrets/{kind}",
    tag = "routes",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("route_id" = String, Path, description = "The route's id"),
        ("kind" = String, Path, description = "`signature` or `path`"),
    ),
    responses(
        (status = 200, description = "No secret of this kind lets calls in any more; without any secret the route asks for none", body = Done),
        (status = 204, description = "The same, from version 1.1 on"),
        (status = 400, description = "There is no such kind", body = ErrorView),
        (status = 404, description = "The project has no such route", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:webhook_secret:delete"]))
)]
pub(crate) async fn delete_webhook_secret(
    Allowed(auth, ..): Allowed<rule::DeleteWebhookSecret>,
    State(state): State<ApiState>,
    version: Microversion,
    at: WebhookSecretPath,
) -> Result<Response, ApiError> {
    let (app, route) = find_route_by_id(&state, &auth.project, &at.route).await?;
    auth.about(&app);
    auth.about(&route);
    let change = match Kind::of(&at)? {
        Kind::Signature => WebhookChange::DeleteSignature,
        Kind::Path => WebhookChange::DeletePath,
    };
    apply(&state, &app, &route, &change).await?;
    Ok(deleted(version, Done { message: "Webhook secret successfully deleted" }))
}

async fn apply(state: &ApiState, app: &App, route: &Route, change: &WebhookChange) -> Result<(), ApiError> {
    let changed = state.engine.change_webhook(&route.id, change).await;
    changed.map_err(from_store(|| ApiError::RouteNotFound(route.id.to_string())))?;
    state.catalog.forget(&app.id).await;
    Ok(())
}
