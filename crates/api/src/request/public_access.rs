//! What a public route asks of callers without a token of Keystone, in this order: an address that it
//! lists, a webhook's secret, a JSON Web Token.

use axum::body::Body as HttpBody;
use http::header::AUTHORIZATION;
use http::request::Parts;
use picasso_engine::Target;
use picasso_types::{Sealed, SealedFor};

use super::body::read_all;
use super::origin::Origin;
use super::{jwt, webhook};
use crate::error::ApiError;
use crate::state::ApiState;

/// Lets a call in, or says why not. `token` is the one that its URL shows. A signed body is read as a
/// whole; it is given back. Credentials that were for us are taken out of the head.
pub(crate) async fn admit(
    state: &ApiState,
    target: &Target,
    token: Option<&str>,
    parts: &mut Parts,
    body: HttpBody,
) -> Result<HttpBody, ApiError> {
    let access = &target.route.access;
    let client = parts.extensions.get::<Origin>().and_then(Origin::client_address);
    if !access.allows(client) {
        return Err(ApiError::SourceNotAllowed);
    }
    let body = check_webhook(state, target, token, parts, body).await?;
    if let Some(key) = &access.jwt_key {
        let key = open(state, SealedFor::JwtKey(&target.route.id), key)?;
        jwt::check(&parts.headers, &key, state.engine.now()).map_err(ApiError::JwtRefused)?;
        parts.headers.remove(AUTHORIZATION);
    }
    Ok(body)
}

/// Either secret lets a call in; a route that has none asks for none.
async fn check_webhook(
    state: &ApiState,
    target: &Target,
    token: Option<&str>,
    parts: &Parts,
    body: HttpBody,
) -> Result<HttpBody, ApiError> {
    let secrets = &target.route.access.webhook;
    let now = state.engine.now();
    if let Some(token) = token {
        let mut hashes = secrets.path.iter().flat_map(|path| path.good_at(now));
        return if hashes.any(|hash| webhook::is_token(token, hash)) {
            Ok(body)
        } else {
            Err(ApiError::WebhookRefused("the token in the URL is not good"))
        };
    }
    if secrets.is_empty() {
        return Ok(body);
    }
    let Some(signature) = &secrets.signature else {
        return Err(ApiError::WebhookRefused("the URL shows no token"));
    };
    // Before the body, which nobody reads for one who shows nothing.
    if !parts.headers.contains_key(webhook::SIGNATURE) {
        return Err(ApiError::WebhookRefused("the request has no X-Hub-Signature-256"));
    }
    let settings = &state.settings;
    let body = read_all(body, settings.max_run_body_bytes, settings.body_timeout).await?;
    for key in signature.good_at(now) {
        let key = open(state, SealedFor::WebhookKey(&target.route.id), key)?;
        if webhook::is_signed(&parts.headers, &key, &body) {
            return Ok(HttpBody::from(body));
        }
    }
    Err(ApiError::WebhookRefused("the X-Hub-Signature-256 is wrong"))
}

fn open(state: &ApiState, what: SealedFor<'_>, sealed: &Sealed) -> Result<Vec<u8>, ApiError> {
    state.store.open(what, sealed).map_err(|error| ApiError::store("opening a route's key", error))
}
