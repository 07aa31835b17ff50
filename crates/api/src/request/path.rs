//! What the parameters of a URL's path name: an app, a route, an image, a call.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use picasso_types::CallId;

use crate::error::ApiError;

/// The app of a URL, by its short or full name.
pub(crate) struct AppPath(pub(crate) String);

/// The app and the route path (with its leading slash) of a URL.
pub(crate) struct RoutePath {
    /// The app's short or full name.
    pub(crate) app: String,
    /// The rest of the path, percent-decoded, with its leading slash.
    pub(crate) path: String,
}

/// The image name of a URL.
pub(crate) struct ImagePath(pub(crate) String);

/// The call of a URL, by its id.
pub(crate) struct CallPath(pub(crate) CallId);

impl<S: Sync + Send> FromRequestParts<S> for AppPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let params = params(parts).await?;
        Ok(Self(param(&params, "app").to_owned()))
    }
}

impl<S: Sync + Send> FromRequestParts<S> for RoutePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let params = params(parts).await?;
        // A URL without `{route}` (`/r/{app}`, `/r/{app}/`) means the route `/`.
        Ok(Self { app: param(&params, "app").to_owned(), path: with_slash(param(&params, "route")) })
    }
}

impl<S: Sync + Send> FromRequestParts<S> for ImagePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let params = params(parts).await?;
        Ok(Self(param(&params, "name").to_owned()))
    }
}

impl<S: Sync + Send> FromRequestParts<S> for CallPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let params = params(parts).await?;
        let text = param(&params, "call_id");
        // What cannot be an id names no call.
        CallId::parse(text).map(Self).map_err(|_| ApiError::CallNotFound(text.to_owned()))
    }
}

/// A path whose bytes are not UTF-8 once decoded names nothing here.
async fn params(parts: &mut Parts) -> Result<RawPathParams, ApiError> {
    RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| ApiError::UrlNotFound(parts.uri.path().to_owned()))
}

fn param<'a>(params: &'a RawPathParams, name: &str) -> &'a str {
    params.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
}

/// A route path from the part of a URL behind the slash.
pub(crate) fn with_slash(rest: &str) -> String {
    format!("/{rest}")
}

/// How an answer names a function URL: without listener and project, which differ between the
/// public and the token URL.
pub(crate) fn function_path(app: &str, path: &str) -> String {
    format!("{app}{path}")
}
