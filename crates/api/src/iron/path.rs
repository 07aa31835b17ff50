//! Names in URLs: the app, and the route's path made clean as Go's `path.Clean` does it.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

use super::error::IronError;

/// The app of a URL.
pub(super) struct AppPath(pub(super) String);

/// The app and the route of a URL.
pub(super) struct RoutePath {
    /// The app's name.
    pub(super) app: String,
    /// The route's path: decoded, with its leading slash, clean.
    pub(super) path: String,
}

impl<S: Sync + Send> FromRequestParts<S> for AppPath {
    type Rejection = IronError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, IronError> {
        Ok(Self(params(parts).await?.0))
    }
}

impl<S: Sync + Send> FromRequestParts<S> for RoutePath {
    type Rejection = IronError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, IronError> {
        let (app, rest) = params(parts).await?;
        Ok(Self { app, path: clean(&rest) })
    }
}

async fn params(parts: &mut Parts) -> Result<(String, String), IronError> {
    let params = RawPathParams::from_request_parts(parts, &())
        .await
        .map_err(|_| IronError::missing("App not found"))?;
    let find =
        |name: &str| params.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value).to_owned();
    Ok((find("app"), find("route")))
}

/// `/` and what is left of `path` without empty segments, `.` and `..`.
pub(super) fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn a_path_is_clean_as_gos_is() {
        for (dirty, tidy) in [
            ("", "/"),
            ("/", "/"),
            ("hello", "/hello"),
            ("/hello/", "/hello"),
            ("//a///b", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../../a", "/a"),
        ] {
            assert_eq!(clean(dirty), tidy, "{dirty}");
        }
    }
}
