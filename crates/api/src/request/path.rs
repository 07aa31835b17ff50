//! What the parameters of a URL's path name: an app, a route, an image, a call.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use picasso_types::{AliasName, CallId, RouteId, Selector};

use crate::error::ApiError;

/// What is encoded when a resource's path is written into a URL: all but what RFC 3986 lets stand
/// in segments and the slashes between them.
pub(crate) const SEGMENTS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'@')
    .remove(b'*');

/// The app of a URL, by its short or full name.
pub(crate) struct AppPath(pub(crate) String);

/// The app and the route path (with its leading slash) of a URL.
pub(crate) struct RoutePath {
    /// The app's short or full name.
    pub(crate) app: String,
    /// The rest of the path, percent-decoded, with its leading slash.
    pub(crate) path: String,
}

/// The function of a function URL: an app, which of its versions, and a path.
pub(crate) struct FunctionPath {
    /// The app's short or full name.
    pub(crate) app: String,
    /// What stands behind the `@`.
    pub(crate) wanted: Wanted,
    /// The rest of the path, percent-decoded, with its leading slash.
    pub(crate) path: String,
    /// App, version and path as they were written.
    pub(crate) written: String,
}

/// Which version of a function a URL asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The one that the route runs.
    Active,
    /// This one, or one of this alias.
    Selected(Selector),
    /// What cannot be a version or an alias.
    Nothing,
}

impl Wanted {
    /// Splits `app@version`.
    fn split(name: &str) -> (&str, Self) {
        match name.split_once('@') {
            None => (name, Self::Active),
            Some((app, wanted)) => (app, Selector::parse(wanted).map_or(Self::Nothing, Self::Selected)),
        }
    }
}

/// The route of a URL, by its id.
pub(crate) struct RouteIdPath(pub(crate) RouteId);

/// A route and one of its versions.
pub(crate) struct VersionPath {
    pub(crate) route: RouteId,
    /// `None` for what cannot be a number of a version.
    pub(crate) number: Option<u32>,
    pub(crate) written: String,
}

/// A route and one of its aliases.
pub(crate) struct AliasPath {
    pub(crate) route: RouteId,
    /// `None` for what cannot be the name of an alias.
    pub(crate) name: Option<AliasName>,
    pub(crate) written: String,
}

impl AliasPath {
    /// The route has no such alias.
    pub(crate) fn missing(&self) -> ApiError {
        ApiError::AliasNotFound(self.written.clone())
    }
}

/// The webhook secret of a URL: its route and its kind.
pub(crate) struct WebhookSecretPath {
    pub(crate) route: RouteId,
    /// The kind, as it was written.
    pub(crate) kind: String,
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

impl<S: Sync + Send> FromRequestParts<S> for FunctionPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let RoutePath { app, path } = RoutePath::from_request_parts(parts, state).await?;
        let (name, wanted) = Wanted::split(&app);
        Ok(Self { app: name.to_owned(), wanted, written: function_path(&app, &path), path })
    }
}

impl<S: Sync + Send> FromRequestParts<S> for RouteIdPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        route_id(&params(parts).await?).map(Self)
    }
}

impl<S: Sync + Send> FromRequestParts<S> for VersionPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let params = params(parts).await?;
        let written = param(&params, "version").to_owned();
        let number = match Selector::parse(&written) {
            Some(Selector::Number(number)) => Some(number),
            _ => None,
        };
        Ok(Self { route: route_id(&params)?, number, written })
    }
}

impl<S: Sync + Send> FromRequestParts<S> for AliasPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let params = params(parts).await?;
        let written = param(&params, "alias").to_owned();
        Ok(Self { route: route_id(&params)?, name: AliasName::parse(&written).ok(), written })
    }
}

impl<S: Sync + Send> FromRequestParts<S> for WebhookSecretPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let params = params(parts).await?;
        Ok(Self { route: route_id(&params)?, kind: param(&params, "kind").to_owned() })
    }
}

/// The name or id of a trigger.
pub(crate) struct TriggerPath(pub(crate) String);

impl<S: Sync + Send> FromRequestParts<S> for TriggerPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let params = params(parts).await?;
        Ok(Self(param(&params, "trigger").to_owned()))
    }
}

/// What cannot be an id names no route.
fn route_id(params: &RawPathParams) -> Result<RouteId, ApiError> {
    let text = param(params, "route_id");
    RouteId::parse(text).map_err(|_| ApiError::RouteNotFound(text.to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_behind_the_at_is_a_version_an_alias_or_nothing() {
        assert_eq!(Wanted::split("hello"), ("hello", Wanted::Active));
        assert_eq!(Wanted::split("hello@3"), ("hello", Wanted::Selected(Selector::Number(3))));
        let live = Selector::Alias(AliasName::parse("live").unwrap());
        assert_eq!(Wanted::split("hello@live"), ("hello", Wanted::Selected(live)));
        for bad in ["hello@", "hello@0", "hello@03", "hello@Live", "hello@a@b", "hello@3@4", "@"] {
            assert_eq!(Wanted::split(bad).1, Wanted::Nothing, "{bad}");
        }
    }
}
