//! Microversions in requests and answers: which form of the API a client asks for, and which one it got.
//!
//! Contract: the API-SIG's microversion specification. The header is
//! `OpenStack-API-Version: functions 1.N`, also in a list with other services'; without it the
//! answer is that of 1.0, exactly as the old service gave it. Every answer names its version.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use picasso_types::FieldFault;

use crate::error::ApiError;
use crate::microversion::Microversion;

/// The service type in the catalog and in the header.
pub(crate) const SERVICE_TYPE: &str = "functions";
/// The header of requests and answers.
const VERSION_HEADER: HeaderName = HeaderName::from_static("openstack-api-version");
/// The header as people write it.
pub(crate) const VERSION_HEADER_NAME: &str = "OpenStack-API-Version";

impl Microversion {
    /// What the headers of a request ask for.
    ///
    /// # Errors
    /// 400 for a header that is none, 406 for a version that is not here.
    pub(crate) fn asked(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut asked = None;
        for value in headers.get_all(VERSION_HEADER) {
            let text = value.to_str().map_err(|_| malformed("must be ASCII"))?;
            for entry in text.split(',') {
                let mut words = entry.split_ascii_whitespace();
                let (Some(service), Some(version), None) = (words.next(), words.next(), words.next()) else {
                    return Err(malformed("must be like \"functions 1.1\" or \"functions latest\""));
                };
                if service != SERVICE_TYPE {
                    continue;
                }
                if asked.replace(Self::parse(version)?).is_some() {
                    return Err(malformed("names the version of \"functions\" twice"));
                }
            }
        }
        Ok(asked.unwrap_or(Self::MIN))
    }

    fn parse(text: &str) -> Result<Self, ApiError> {
        if text == "latest" {
            return Ok(Self::MAX);
        }
        let (major, minor) = text
            .split_once('.')
            .filter(|(major, minor)| is_number(major) && *major != "0" && is_number(minor))
            .ok_or_else(|| malformed("must have a version like 1.1, or \"latest\""))?;
        let known = minor.parse().ok().filter(|_| major == "1").and_then(Self::known);
        known.ok_or_else(|| ApiError::VersionNotSupported(text.chars().take(32).collect()))
    }

    /// Writes the version into the headers of its answer.
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(format!("{SERVICE_TYPE} {self}")) {
            headers.insert(VERSION_HEADER, value);
        }
        headers.append(header::VARY, HeaderValue::from_static(VERSION_HEADER_NAME));
    }

    /// Whether requests for this path have a version: not those that find out which there are, or
    /// whether the service lives.
    pub(crate) fn applies_to(path: &str) -> bool {
        path == "/v1" || path.starts_with("/v1/") || path.starts_with("/r/")
    }
}

/// A decimal number without needless zeros.
fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
}

fn malformed(message: &str) -> ApiError {
    FieldFault::new(VERSION_HEADER_NAME, message).into()
}

impl<S: Sync> FromRequestParts<S> for Microversion {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // The layer that has put it there answers a bad header itself.
        Ok(parts.extensions.get::<Self>().copied().unwrap_or(Self::MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(values: &[&str]) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(VERSION_HEADER, HeaderValue::from_str(value).unwrap());
        }
        match Microversion::asked(&headers) {
            Ok(version) => Ok(version.to_string()),
            Err(error) => Err(error.kind().as_str()),
        }
    }

    #[test]
    fn a_request_that_does_not_ask_for_us_gets_the_oldest_version() {
        for values in [&[][..], &["compute 2.90"], &["compute 2.90, identity latest"], &["compute new"]] {
            assert_eq!(asked(values), Ok("1.0".to_owned()), "{values:?}");
        }
    }

    #[test]
    fn our_entry_is_found_in_a_list_and_in_repeated_headers() {
        for values in [
            &["functions 1.1"][..],
            &["functions latest"],
            &["  functions   1.1 "],
            &["compute 2.90,functions 1.1"],
            &["compute 2.90", "functions 1.1"],
        ] {
            assert_eq!(asked(values), Ok("1.1".to_owned()), "{values:?}");
        }
        assert_eq!(asked(&["functions 1.0"]), Ok("1.0".to_owned()));
    }

    #[test]
    fn a_version_that_is_none_is_refused_as_such() {
        for bad in [
            "",
            "functions",
            "1.1",
            "functions 1",
            "functions 1.",
            "functions .1",
            "functions 01.1",
            "functions 1.01",
            "functions 0.1",
            "functions -1.0",
            "functions 1.1.1",
            "functions 1.1 x",
            "functions Latest",
            "functions 1.1,",
            "functions 1.1,functions 1.1",
            "functions +1.1",
        ] {
            assert_eq!(asked(&[bad]), Err("invalid_field"), "{bad:?}");
        }
    }

    #[test]
    fn a_version_that_is_not_here_is_told_apart() {
        for far in ["functions 1.2", "functions 2.0", "functions 1.99999999999999999999", "functions 10.1"] {
            assert_eq!(asked(&[far]), Err("version_not_supported"), "{far}");
        }
    }
}
