//! URLs and methods that no handler takes, in the same form as every other error.

use axum::extract::OriginalUri;
use http::Method;

use crate::error::ApiError;

/// No such URL.
pub(crate) async fn no_url(OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::UrlNotFound(uri.path().to_owned())
}

/// The URL exists, the method does not; the router adds `Allow`.
pub(crate) async fn no_method(method: Method) -> ApiError {
    ApiError::MethodNotAllowed { method: method.to_string(), allowed: Vec::new() }
}
