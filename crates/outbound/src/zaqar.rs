//! Zaqar (Messaging API v2), as far as it is used: leave to post into a queue, asked for with its
//! owner's token and kept as a pre-signed URL, and messages that are posted with it later, without
//! any token.
//!
//! Zaqar signs paths, methods, project and end of the leave with a key of its own; it knows nobody
//! by that signature but the project. Requests go to the messaging endpoint that the operator's
//! catalog names at that moment, and nowhere else, which is why their client may reach addresses
//! that a tenant's URL may not: of the URL a tenant chooses the name of the queue only.
//!
//! Triggers read queues ([`Claim`]), with tokens of the trusts that their owners gave.

mod claims;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use picasso_types::{ProjectId, Timestamp, random};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;
use url::Url;

use crate::client::{GuardedClient, OutboundError, Response};
use crate::endpoint::{EndpointUnknown, ServiceEndpoint};

pub use claims::{Claim, ClaimError, ClaimTimes, Message};

/// Most bytes of an answer of Zaqar's that are looked at.
const MAX_ANSWER: usize = 16 * 1024;
/// How Zaqar writes the end of a grant: UTC without saying so.
const DATE: &str = "%Y-%m-%dT%H:%M:%S";
const POSTED: Method = Method::POST;

/// Leave to post messages into one queue of one project: a pre-signed URL of Zaqar's. Whoever has
/// it may post there until it ends, so it is a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    signature: String,
    expires: String,
    methods: Vec<String>,
    paths: Vec<String>,
    project: String,
}

/// Without the signature.
impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Grant {
    /// When it ends.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let end = jiff::civil::DateTime::strptime(DATE, &self.expires).ok()?;
        let end = end.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some(Timestamp(end.timestamp().as_microsecond()))
    }

    fn headers(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("url-signature", self.signature.clone()),
            ("url-expires", self.expires.clone()),
            ("url-methods", self.methods.join(",")),
            ("url-paths", self.paths.join(",")),
            ("x-project-id", self.project.clone()),
        ] {
            let mut value = HeaderValue::try_from(value).ok()?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        Some(headers)
    }
}

/// Why there is no grant. The texts are for the one who asked for it and complete "the queue …".
#[derive(Debug, Error)]
pub enum GrantError {
    /// The catalog has no such service.
    #[error(
        "cannot be used: this cloud's catalog has no messaging service (Zaqar); name a URL or a route instead"
    )]
    NoService,
    /// Zaqar says no to the token, or has no key to sign with.
    #[error(
        "cannot be used: Zaqar answered with status {status} when it was asked for leave to post; {hint}"
    )]
    Refused {
        /// Its status.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// The catalog cannot be read now.
    #[error(transparent)]
    Catalog(#[from] EndpointUnknown),
    /// Zaqar did not answer as it should; asking again may help.
    #[error("Zaqar {0}")]
    Unavailable(#[source] OutboundError),
    /// Zaqar's answer is of no use.
    #[error("Zaqar's answer is not understood: {0}")]
    NotUnderstood(&'static str),
}

/// Why a message was not taken; `again` where that may pass.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct PostError {
    /// A sentence for the queue's owner.
    pub reason: String,
    /// Whether it may work later.
    pub again: bool,
}

impl PostError {
    fn later(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), again: true }
    }

    fn never(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), again: false }
    }
}

/// A URL of Zaqar's that says that a subscription is wanted, with its signature: a secret.
pub struct SubscriptionUrl {
    /// The URL.
    pub url: String,
    /// `URL-Signature`.
    pub signature: String,
    /// `URL-Methods`.
    pub methods: String,
    /// `URL-Paths`.
    pub paths: String,
    /// `URL-Expires`.
    pub expires: String,
    /// `X-Project-ID`.
    pub project: String,
}

/// This cloud's Zaqar.
#[derive(Debug, Clone)]
pub struct Zaqar {
    http: GuardedClient,
    endpoint: Arc<dyn ServiceEndpoint>,
    /// Zaqar wants each client to name itself by a UUID.
    client_id: String,
}

impl Zaqar {
    /// `http` must be a client for this alone, allowed to reach what the operator's catalog names.
    pub fn new(http: GuardedClient, endpoint: Arc<dyn ServiceEndpoint>) -> Self {
        Self { http, endpoint, client_id: random::uuid() }
    }

    /// Asks, with a token of the project, for leave to post into its queue until `until`. The queue
    /// need not exist: Zaqar makes it with the first message.
    pub async fn grant(
        &self,
        token: &SecretString,
        project: &ProjectId,
        queue: &str,
        until: Timestamp,
    ) -> Result<Grant, GrantError> {
        let endpoint = self.endpoint.endpoint().await?.ok_or(GrantError::NoService)?;
        let url = queue_url(&endpoint, queue, "share").ok_or(GrantError::NotUnderstood("its URL"))?;
        let mut headers = self.headers();
        let mut token = HeaderValue::try_from(token.expose_secret())
            .map_err(|_| GrantError::NotUnderstood("the token"))?;
        token.set_sensitive(true);
        headers.insert("x-auth-token", token);
        let expires = jiff::Timestamp::from_microsecond(until.0)
            .map_err(|_| GrantError::NotUnderstood("the end of the grant"))?
            .strftime(DATE)
            .to_string();
        let wanted = json!({"paths": ["messages"], "methods": [POSTED.as_str()], "expires": expires});
        let answer = self.http.send(Method::POST, &url, headers, Bytes::from(wanted.to_string())).await;
        let grant: Grant = read_grant(answer.map_err(GrantError::Unavailable)?).await?;
        // What it signed must be what was asked for, and for the project that asked.
        let path = format!("/v2/queues/{queue}/messages");
        if grant.project != project.as_str() {
            return Err(GrantError::NotUnderstood("it is for another project"));
        }
        if grant.methods != [POSTED.as_str()] || grant.paths != [path] || grant.headers().is_none() {
            return Err(GrantError::NotUnderstood("it is for something else than posting messages"));
        }
        grant.expires_at().map(|_| ()).ok_or(GrantError::NotUnderstood("it has no end"))?;
        Ok(grant)
    }

    /// Posts `message`, a JSON document, into the queue. How long it lives is for the queue to say
    /// (`_default_message_ttl`), or for Zaqar.
    pub async fn post(&self, queue: &str, grant: &Grant, message: &[u8]) -> Result<(), PostError> {
        let endpoint = self.endpoint.endpoint().await.map_err(|error| PostError::later(error.to_string()))?;
        let endpoint = endpoint.ok_or_else(|| PostError::later("this cloud has no messaging service now"))?;
        let url = queue_url(&endpoint, queue, "messages")
            .ok_or_else(|| PostError::never("the messaging service's URL cannot be used"))?;
        let mut headers = self.headers();
        headers.extend(grant.headers().ok_or_else(|| PostError::never("its grant cannot be read"))?);
        let body = [br#"{"messages":[{"body":"#, message, b"}]}"].concat();
        let answer = self.http.send(POSTED, &url, headers, Bytes::from(body)).await;
        let answer = answer.map_err(|error| PostError {
            again: !matches!(error, OutboundError::Refused(_)),
            reason: format!("Zaqar {error}"),
        })?;
        let outcome = meaning(answer.status);
        answer.discard(MAX_ANSWER).await;
        outcome
    }

    /// Says that a subscription's messages are wanted, at the URL that Zaqar signed for it, if that is
    /// one of the messaging endpoint's own.
    pub async fn confirm(&self, asked: &SubscriptionUrl, body: Vec<u8>) -> Result<(), PostError> {
        let endpoint = self.endpoint.endpoint().await.map_err(|error| PostError::later(error.to_string()))?;
        let endpoint = endpoint.ok_or_else(|| PostError::never("this cloud has no messaging service"))?;
        let url = Url::parse(&asked.url).map_err(|_| PostError::never("the URL to confirm at is none"))?;
        if url.origin() != endpoint.origin() {
            let told = "the URL to confirm at is not one of the messaging service in this cloud's catalog";
            return Err(PostError::never(told));
        }
        let mut headers = self.headers();
        for (name, value) in [
            ("url-signature", &asked.signature),
            ("url-methods", &asked.methods),
            ("url-paths", &asked.paths),
            ("url-expires", &asked.expires),
            ("x-project-id", &asked.project),
        ] {
            let value = HeaderValue::try_from(value);
            let mut value = value.map_err(|_| PostError::never("the signature to confirm with is none"))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        let answer = self.http.send(Method::PUT, &url, headers, Bytes::from(body)).await;
        let answer = answer.map_err(|error| PostError {
            again: !matches!(error, OutboundError::Refused(_)),
            reason: format!("Zaqar {error}"),
        })?;
        let outcome = meaning(answer.status);
        answer.discard(MAX_ANSWER).await;
        outcome
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Ok(id) = HeaderValue::try_from(&self.client_id) {
            headers.insert("client-id", id);
        }
        headers
    }
}

/// The catalog's URL may or may not end with the version.
fn queue_url(endpoint: &Url, queue: &str, what: &str) -> Option<Url> {
    let mut url = endpoint.clone();
    url.set_query(None);
    url.set_fragment(None);
    let mut segments = url.path_segments_mut().ok()?;
    segments.pop_if_empty();
    let versioned = endpoint.path().trim_end_matches('/').ends_with("/v2");
    if !versioned {
        segments.push("v2");
    }
    segments.extend(["queues", queue, what]);
    drop(segments);
    Some(url)
}

async fn read_grant(answer: Response) -> Result<Grant, GrantError> {
    let status = answer.status;
    if status.is_success() {
        let body = answer.whole(MAX_ANSWER).await.map_err(GrantError::Unavailable)?;
        let body = body.ok_or(GrantError::NotUnderstood("it is too long"))?;
        return serde_json::from_slice(&body)
            .map_err(|_| GrantError::NotUnderstood("it is no pre-signed URL"));
    }
    answer.discard(MAX_ANSWER).await;
    let hint = match status {
        StatusCode::UNAUTHORIZED => "is the token good for this project?",
        StatusCode::FORBIDDEN => "its policy does not let the token's roles share a queue; ask the operator",
        StatusCode::NOT_FOUND => "is the catalog's endpoint that of a Zaqar with API version 2?",
        StatusCode::BAD_REQUEST => {
            "it does not take this queue, or the operator has not set signed_url/secret_key in it"
        }
        status if status.is_client_error() => "ask the operator",
        _ => return Err(GrantError::NotUnderstood("it says that it is at fault")),
    };
    Err(GrantError::Refused { status: status.as_u16(), hint })
}

/// With a signature that is not good, Zaqar answers 404 whatever the reason.
fn meaning(status: StatusCode) -> Result<(), PostError> {
    let said = format!("Zaqar answered with status {}", status.as_u16());
    match status.as_u16() {
        200..300 => Ok(()),
        401 | 403 | 404 => Err(PostError::never(format!(
            "{said}: the grant to post into the queue has ended or was revoked; save the route with this \
             destination again to renew it"
        ))),
        408 | 425 | 429 | 500.. => Err(PostError::later(said)),
        _ => Err(PostError::never(said)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queues_url_lies_below_the_endpoint_with_or_without_its_version() {
        for (endpoint, wanted) in [
            ("http://z:8888", "http://z:8888/v2/queues/q/messages"),
            ("http://z:8888/", "http://z:8888/v2/queues/q/messages"),
            ("https://z/messaging/v2/", "https://z/messaging/v2/queues/q/messages"),
            ("https://z/messaging?x=1", "https://z/messaging/v2/queues/q/messages"),
        ] {
            let url = queue_url(&Url::parse(endpoint).unwrap(), "q", "messages").unwrap();
            assert_eq!(url.as_str(), wanted);
        }
        let odd = queue_url(&Url::parse("http://z").unwrap(), "../../v1?x", "messages").unwrap();
        assert_eq!(odd.as_str(), "http://z/v2/queues/..%2F..%2Fv1%3Fx/messages");
    }

    #[test]
    fn each_status_says_whether_it_passes_and_a_refused_grant_what_to_do() {
        assert_eq!(meaning(StatusCode::CREATED), Ok(()));
        for status in [408, 429, 500, 503] {
            assert!(meaning(StatusCode::from_u16(status).unwrap()).unwrap_err().again, "{status}");
        }
        for status in [301, 400, 401, 403, 404, 413] {
            assert!(!meaning(StatusCode::from_u16(status).unwrap()).unwrap_err().again, "{status}");
        }
        assert!(meaning(StatusCode::NOT_FOUND).unwrap_err().reason.contains("save the route"));
    }

    #[test]
    fn a_grant_tells_its_end_and_never_its_signature() {
        let grant = Grant {
            signature: "93a9ec8a".to_owned(),
            expires: "2027-01-01T00:00:00".to_owned(),
            methods: vec!["POST".to_owned()],
            paths: vec!["/v2/queues/q/messages".to_owned()],
            project: "p".to_owned(),
        };
        assert_eq!(grant.expires_at(), Some(Timestamp(1_798_761_600_000_000)));
        assert!(!format!("{grant:?}").contains("93a9ec8a"));
        assert!(Grant { paths: vec!["a\r\nb".to_owned()], ..grant }.headers().is_none());
    }
}
