//! Barbican (Key Manager API v1), as far as it is used: the payload of one secret, read with the token
//! of whoever names it.
//!
//! Requests go to the key-manager endpoint that the operator's catalog names at that moment, and
//! nowhere else, which is why their client may reach addresses that a tenant's URL may not: a tenant
//! chooses the secret's id only, not the host in front of it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::Deserialize;
use thiserror::Error;
use url::Url;

use crate::client::{GuardedClient, OutboundError, Response};
use crate::endpoint::{EndpointUnknown, ServiceEndpoint};

/// Most bytes of a secret's description that are read.
const MAX_DESCRIPTION: usize = 64 * 1024;

/// Why a secret's payload is not there. The texts are for the one who named it and complete
/// "barbican:… ".
#[derive(Debug, Error)]
pub enum SecretError {
    /// The catalog has no such service.
    #[error("cannot be read: this cloud's catalog has no key manager (Barbican)")]
    NoService,
    /// Barbican says no to the token, or has no such secret.
    #[error("cannot be read: Barbican answered with status {status}; {hint}")]
    Refused {
        /// Its status.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// It has no value.
    #[error("has no payload")]
    Empty,
    /// It is larger than a secret may be.
    #[error("is larger than {0} bytes")]
    TooLarge(usize),
    /// The catalog cannot be read now.
    #[error(transparent)]
    Catalog(#[from] EndpointUnknown),
    /// Barbican did not answer as it should; asking again may help.
    #[error("Barbican {0}")]
    Unavailable(#[source] OutboundError),
    /// Barbican's answer is of no use.
    #[error("Barbican's answer is not understood: {0}")]
    NotUnderstood(&'static str),
}

/// This cloud's Barbican.
#[derive(Debug, Clone)]
pub struct Barbican {
    http: GuardedClient,
    endpoint: Arc<dyn ServiceEndpoint>,
}

/// What a secret is, without its value.
#[derive(Deserialize)]
struct Description {
    #[serde(default)]
    content_types: Option<ContentTypes>,
}

#[derive(Deserialize)]
struct ContentTypes {
    default: Option<String>,
}

impl Barbican {
    /// `http` must be a client for this alone, allowed to reach what the operator's catalog names.
    pub fn new(http: GuardedClient, endpoint: Arc<dyn ServiceEndpoint>) -> Self {
        Self { http, endpoint }
    }

    /// The payload of the secret with this id, a UUID, as far as `token` may read it; at most `limit`
    /// bytes.
    pub async fn payload(
        &self,
        token: &SecretString,
        id: &str,
        limit: usize,
    ) -> Result<SecretSlice<u8>, SecretError> {
        let endpoint = self.endpoint.endpoint().await?.ok_or(SecretError::NoService)?;
        let described = self.get(token, &endpoint, &[id], "application/json").await?;
        let body = described.whole(MAX_DESCRIPTION).await.map_err(SecretError::Unavailable)?;
        let description: Description = body
            .and_then(|body| serde_json::from_slice(&body).ok())
            .ok_or(SecretError::NotUnderstood("it is no description of a secret"))?;
        let kind = description.content_types.and_then(|types| types.default).ok_or(SecretError::Empty)?;
        // A payload is given out as the type that it was stored as only.
        let answer = self.get(token, &endpoint, &[id, "payload"], &kind).await?;
        let body = answer.whole(limit).await.map_err(SecretError::Unavailable)?;
        let body = body.ok_or(SecretError::TooLarge(limit))?;
        if body.is_empty() { Err(SecretError::Empty) } else { Ok(SecretSlice::from(Vec::clone(&body))) }
    }

    async fn get(
        &self,
        token: &SecretString,
        endpoint: &Url,
        path: &[&str],
        accept: &str,
    ) -> Result<Response, SecretError> {
        let url = secrets_url(endpoint, path).ok_or(SecretError::NotUnderstood("its URL"))?;
        let mut token = HeaderValue::try_from(token.expose_secret())
            .map_err(|_| SecretError::NotUnderstood("the token"))?;
        token.set_sensitive(true);
        let accept = HeaderValue::try_from(accept)
            .map_err(|_| SecretError::NotUnderstood("the type of the payload"))?;
        let mut headers = HeaderMap::new();
        headers.insert("x-auth-token", token);
        headers.insert(header::ACCEPT, accept);
        let answer = self.http.send(Method::GET, &url, headers, Bytes::new()).await;
        let answer = answer.map_err(SecretError::Unavailable)?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let refused = refusal(answer.status);
        answer.discard(MAX_DESCRIPTION).await;
        Err(refused)
    }
}

/// The catalog's URL may or may not end with the version.
fn secrets_url(endpoint: &Url, path: &[&str]) -> Option<Url> {
    let mut url = endpoint.clone();
    url.set_query(None);
    url.set_fragment(None);
    let mut segments = url.path_segments_mut().ok()?;
    segments.pop_if_empty();
    if !endpoint.path().trim_end_matches('/').ends_with("/v1") {
        segments.push("v1");
    }
    segments.push("secrets").extend(path);
    drop(segments);
    Some(url)
}

fn refusal(status: StatusCode) -> SecretError {
    let hint = match status {
        StatusCode::UNAUTHORIZED => "is the token good for the secret's project?",
        StatusCode::FORBIDDEN => "the token's roles and the secret's access list do not let it be read",
        StatusCode::NOT_FOUND => "there is no such secret, or the token's project does not see it",
        StatusCode::NOT_ACCEPTABLE => "its payload cannot be read in the form it was stored in",
        status if status.is_client_error() => "ask the operator",
        _ => return SecretError::NotUnderstood("it says that it is at fault"),
    };
    SecretError::Refused { status: status.as_u16(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secrets_url_lies_below_the_endpoint_with_or_without_its_version() {
        for (endpoint, wanted) in [
            ("http://b:9311", "http://b:9311/v1/secrets/1/payload"),
            ("http://b:9311/", "http://b:9311/v1/secrets/1/payload"),
            ("https://b/key-manager/v1/", "https://b/key-manager/v1/secrets/1/payload"),
            ("https://b/key-manager?x=1", "https://b/key-manager/v1/secrets/1/payload"),
        ] {
            let url = secrets_url(&Url::parse(endpoint).unwrap(), &["1", "payload"]).unwrap();
            assert_eq!(url.as_str(), wanted);
        }
        let odd = secrets_url(&Url::parse("http://b").unwrap(), &["../x?y"]).unwrap();
        assert_eq!(odd.as_str(), "http://b/v1/secrets/..%2Fx%3Fy");
    }

    #[test]
    fn a_refusal_is_the_tenants_to_mend_and_a_fault_is_not() {
        for status in [401, 403, 404, 406, 410] {
            let refused = refusal(StatusCode::from_u16(status).unwrap());
            assert!(matches!(refused, SecretError::Refused { status: told, .. } if told == status));
        }
        assert!(matches!(refusal(StatusCode::BAD_GATEWAY), SecretError::NotUnderstood(_)));
    }
}
