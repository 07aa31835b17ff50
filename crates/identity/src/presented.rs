//! What a request shows of itself: the tokens it came with, and what it asks for.

use http::{HeaderMap, HeaderName, Method};
use secrecy::{ExposeSecret, SecretString};

use crate::AuthError;

const AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
/// Swift's old name for it, which counts where the other is missing.
const STORAGE_TOKEN: HeaderName = HeaderName::from_static("x-storage-token");
const SERVICE_TOKEN: HeaderName = HeaderName::from_static("x-service-token");

/// The tokens of a request, and the method and path that access rules are held against.
#[derive(Debug, Clone)]
pub struct Presented {
    user_token: SecretString,
    service_token: Option<SecretString>,
    method: Method,
    path: String,
}

impl Presented {
    /// Reads the headers of a request for `path` (as it was sent, without the query). A repeated
    /// header is refused: which of its values is meant could be read in two ways.
    pub fn new(headers: &HeaderMap, method: &Method, path: &str) -> Result<Self, AuthError> {
        let user = match token(headers, &AUTH_TOKEN, "the request has more than one X-Auth-Token")? {
            Some(token) => Some(token),
            None => token(headers, &STORAGE_TOKEN, "the request has more than one X-Storage-Token")?,
        };
        let service = token(headers, &SERVICE_TOKEN, "the request has more than one X-Service-Token")?;
        Ok(Self {
            user_token: user.ok_or(AuthError::Unauthorized { reason: "the request has no X-Auth-Token" })?,
            service_token: service.filter(|token| !token.expose_secret().is_empty()),
            method: method.clone(),
            path: path.to_owned(),
        })
    }

    /// The token of whoever calls.
    pub fn user_token(&self) -> &SecretString {
        &self.user_token
    }

    /// The token of the service that passes the request on.
    pub fn service_token(&self) -> Option<&SecretString> {
        self.service_token.as_ref()
    }

    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

fn token(
    headers: &HeaderMap,
    name: &HeaderName,
    repeated: &'static str,
) -> Result<Option<SecretString>, AuthError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(AuthError::Unauthorized { reason: repeated });
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim().to_owned().into())),
        Err(_) => Err(AuthError::Unauthorized { reason: "the token is malformed" }),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(headers: &[(&'static str, &str)]) -> Result<(String, Option<String>), &'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        match Presented::new(&map, &Method::GET, "/v1") {
            Ok(shown) => Ok((
                shown.user_token().expose_secret().to_owned(),
                shown.service_token().map(|token| token.expose_secret().to_owned()),
            )),
            Err(AuthError::Unauthorized { reason }) => Err(reason),
            Err(AuthError::Unavailable { .. }) => panic!("nobody was asked"),
        }
    }

    #[test]
    fn tokens_are_read_under_their_names() {
        let user = || "u".to_owned();
        assert_eq!(read(&[("x-auth-token", "u")]), Ok((user(), None)));
        assert_eq!(read(&[("x-storage-token", "u")]), Ok((user(), None)));
        assert_eq!(read(&[("x-auth-token", "u"), ("x-storage-token", "s")]), Ok((user(), None)));
        let both = [("x-auth-token", "u"), ("x-service-token", "s")];
        assert_eq!(read(&both), Ok((user(), Some("s".to_owned()))));
        assert_eq!(read(&[("x-auth-token", "u"), ("x-service-token", "")]), Ok((user(), None)));
    }

    #[test]
    fn missing_repeated_and_unreadable_tokens_are_refused_by_name() {
        assert!(read(&[]).unwrap_err().contains("no X-Auth-Token"));
        assert!(read(&[("x-service-token", "s")]).unwrap_err().contains("no X-Auth-Token"));
        for name in ["x-auth-token", "x-storage-token"] {
            assert!(read(&[(name, "u"), (name, "u")]).unwrap_err().contains("more than one"));
        }
        let two = [("x-auth-token", "u"), ("x-service-token", "s"), ("x-service-token", "s")];
        assert!(read(&two).unwrap_err().contains("X-Service-Token"));
        assert!(read(&[("x-auth-token", "ü")]).unwrap_err().contains("malformed"));
    }
}
