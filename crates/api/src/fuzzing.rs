//! Ways in for fuzz targets: parsers of what strangers send that nothing outside this crate calls.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use picasso_types::{CorsRules, Timestamp};

pub use crate::request::fuzzing::api_headers;
use crate::request::origin::Origin;
use crate::request::{cors, jwt, webhook};

/// Whether a JSON Web Token is good for a key.
pub fn is_good_token(token: &str, key: &[u8]) -> bool {
    jwt::verify(token, key, Timestamp(0)).is_ok()
}

/// The headers of a request to a function URL, as lines of `name: value`: where it comes from, what
/// its webhook signed, which page sends it.
pub fn request_headers(bytes: &[u8], rules: &CorsRules) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(line[at + 1..].trim_ascii()))
        {
            headers.append(name, value);
        }
    }
    let uri = Uri::from_static("/f/app/x");
    let origin = Origin::of(None, false, &uri, &headers, &[]);
    let base = origin.base(None);
    assert!(base.is_empty() || base.starts_with("http://") || base.starts_with("https://"), "{base}");
    assert!(!base.bytes().any(|byte| byte.is_ascii_control() || byte == b' '), "{base:?}");
    let peer = "198.51.100.7".parse().ok();
    let stranger = Origin::of(peer, false, &uri, &headers, &[]);
    assert_eq!(stranger.client_address(), peer, "a stranger said who it is");

    assert!(!webhook::is_signed(&headers, b"a key that nobody has", bytes), "signed without the key");
    let _ = cors::preflight_method(&Method::OPTIONS, &headers);
    let mut answer = cors::preflight_answer(rules, &headers);
    cors::apply(answer.extensions_mut().remove(), &mut headers);
    let allowed = headers.get(http::header::ACCESS_CONTROL_ALLOW_ORIGIN);
    let listed = |value: &HeaderValue| rules.allow_origins.iter().any(|origin| origin.as_bytes() == value);
    assert!(allowed.is_none_or(listed), "{allowed:?}");
}

/// A URL's path, as logs and functions get it: without tokens, whoever writes them however.
pub fn path_without_token(path: &str) {
    let shown = webhook::without_token(path);
    assert_eq!(webhook::without_token(&shown), shown);
    assert_eq!(webhook::split_token(&shown).0, None, "{shown}");
    let (token, rest) = webhook::split_token(path);
    assert!(token.is_none() || rest.starts_with('/'), "{rest}");
}
