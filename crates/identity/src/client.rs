//! Keystone's HTTP API: a few requests, bounded in time and size, tried again where that helps.

use std::path::Path;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use picasso_types::{FieldFault, TrustId};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use crate::error::{KeystoneError, KeystoneSettingsError};
use crate::request_id::{self, REQUEST_ID};
use crate::settings::KeystoneSettings;
use crate::wire::{self, RefusalDocument, TokenDocument, TrustDocument};

/// A token document without the catalog has about 2 KiB; access rules may make it longer.
const MAX_ANSWER: usize = 256 * 1024;
/// The catalog of a cloud of many services and regions is the longest list.
const MAX_LIST: usize = 4 << 20;

/// Longest reason of a refusal, characters.
const MAX_REASON: usize = 300;

/// The first pause before another attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// What Keystone says of a caller's token.
pub(crate) enum Verdict {
    /// It is good, and this is what it stands for.
    Good(Box<TokenDocument>),
    /// It is garbage, expired, revoked, or its user, role or trust is gone.
    Bad,
    /// It was not looked at: our own token is no longer good.
    OursIsStale,
}

/// What came of a request that Keystone may refuse.
pub(crate) enum Answer<T> {
    /// What was asked for.
    Given(T),
    /// It was refused.
    Refused {
        /// Which.
        status: StatusCode,
        /// Keystone's own words, cut.
        reason: String,
    },
}

/// What is wanted of a look-up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query {
    /// The catalog of whoever the token stands for.
    pub(crate) catalog: bool,
    /// Also a token that has ended, as long ago as Keystone allows it (`allow_expired_window`).
    pub(crate) allow_expired: bool,
}

/// A connection pool to one Keystone.
pub(crate) struct KeystoneClient {
    http: Client,
    tokens: Url,
    retries: u32,
}

impl KeystoneClient {
    pub(crate) fn new(settings: &KeystoneSettings) -> Result<Self, KeystoneSettingsError> {
        let tokens = tokens_url(&settings.auth_url).map_err(KeystoneSettingsError::Field)?;
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.request_timeout)
            .user_agent(concat!("picasso/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &settings.ca_file {
            builder = builder.tls_certs_only(authorities(path)?);
        } else if tokens.scheme() == "http" {
            // A machine without any certificates can still use a Keystone without TLS.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(KeystoneSettingsError::Tls)?;
        Ok(Self { http, tokens, retries: settings.retries })
    }

    /// Gets a token for ourselves.
    pub(crate) async fn authenticate(
        &self,
        credentials: &crate::ServiceCredentials,
    ) -> Result<(SecretString, TokenDocument), KeystoneError> {
        match self.issue(&wire::authentication(credentials)).await? {
            Answer::Given(given) => Ok(given),
            // 404 is the answer for an application credential that was deleted.
            Answer::Refused { status: StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND, .. } => {
                Err(KeystoneError::CredentialsRefused)
            }
            Answer::Refused { status, .. } => Err(unexpected("POST /v3/auth/tokens", status)),
        }
    }

    /// Gets a token for whoever `body` names.
    pub(crate) async fn issue(
        &self,
        body: &Value,
    ) -> Result<Answer<(SecretString, TokenDocument)>, KeystoneError> {
        let answer = self.send(|| self.http.post(self.tokens.clone()).json(body)).await?;
        if answer.status() != StatusCode::CREATED {
            return refused("POST /v3/auth/tokens", answer).await;
        }
        let token = answer
            .headers()
            .get("x-subject-token")
            .and_then(|value| value.to_str().ok())
            .map(SecretString::from)
            .ok_or(KeystoneError::Malformed("a new token came without X-Subject-Token"))?;
        Ok(Answer::Given((token, document(answer, MAX_LIST).await?)))
    }

    /// Makes a trust as the trustor, whose token it is.
    pub(crate) async fn make_trust(
        &self,
        trustor: &SecretString,
        body: &Value,
    ) -> Result<Answer<TrustDocument>, KeystoneError> {
        let trustor = sensitive(trustor)?;
        let url = self.url("OS-TRUST/trusts");
        // Not sent again: a request whose answer was lost may have made one.
        let request = self.http.post(url).header("x-auth-token", trustor).json(body);
        let answer = self.once(request).await?;
        if answer.status() != StatusCode::CREATED {
            return refused("POST /v3/OS-TRUST/trusts", answer).await;
        }
        Ok(Answer::Given(document(answer, MAX_ANSWER).await?))
    }

    /// Deletes a trust as somebody who may; one that is not there is deleted.
    pub(crate) async fn delete_trust(
        &self,
        as_whom: &SecretString,
        trust: &TrustId,
    ) -> Result<Answer<()>, KeystoneError> {
        let token = sensitive(as_whom)?;
        let url = self.url(&format!("OS-TRUST/trusts/{trust}"));
        let answer =
            self.send(|| self.http.delete(url.clone()).header("x-auth-token", token.clone())).await?;
        match answer.status() {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(Answer::Given(())),
            _ => refused("DELETE /v3/OS-TRUST/trusts", answer).await,
        }
    }

    /// Whether there is such a trust, as its trustee is told.
    pub(crate) async fn has_trust(
        &self,
        ours: &SecretString,
        trust: &TrustId,
    ) -> Result<bool, KeystoneError> {
        let token = sensitive(ours)?;
        let url = self.url(&format!("OS-TRUST/trusts/{trust}"));
        let answer = self.send(|| self.http.get(url.clone()).header("x-auth-token", token.clone())).await?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(unexpected("GET /v3/OS-TRUST/trusts", status)),
        }
    }

    /// A URL below `/v3/`.
    fn url(&self, path: &str) -> Url {
        let mut url = self.tokens.clone();
        url.set_path(&format!("{}{path}", url.path().trim_end_matches("auth/tokens")));
        url
    }

    /// Asks what `subject` stands for, as the one that `ours` stands for.
    pub(crate) async fn look_up(
        &self,
        ours: &SecretString,
        subject: &SecretString,
        query: Query,
    ) -> Result<Verdict, KeystoneError> {
        let ours = sensitive(ours)?;
        let subject = sensitive(subject)?;
        let mut url = self.tokens.clone();
        url.set_query(match (query.catalog, query.allow_expired) {
            (true, true) => Some("allow_expired=1"),
            (true, false) => None,
            (false, true) => Some("nocatalog&allow_expired=1"),
            (false, false) => Some("nocatalog"),
        });
        let limit = if query.catalog { MAX_LIST } else { MAX_ANSWER };
        let answer = self
            .send(|| {
                self.http
                    .get(url.clone())
                    .header("x-auth-token", ours.clone())
                    .header("x-subject-token", subject.clone())
                    // Without it Keystone hides that a token is restricted behind a 404.
                    .header("openstack-identity-access-rules", "1.0")
            })
            .await?;
        match answer.status() {
            StatusCode::OK => Ok(Verdict::Good(Box::new(document(answer, limit).await?))),
            StatusCode::NOT_FOUND => Ok(Verdict::Bad),
            StatusCode::UNAUTHORIZED => Ok(Verdict::OursIsStale),
            status => Err(unexpected("GET /v3/auth/tokens", status)),
        }
    }

    /// A document below `/v3/`, as whoever `ours` stands for sees it; `None` when `ours` is not good
    /// any more.
    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        ours: &SecretString,
        path: &'static str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, KeystoneError> {
        let ours = sensitive(ours)?;
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query);
        let answer = self.send(|| self.http.get(url.clone()).header("x-auth-token", ours.clone())).await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(document(answer, MAX_LIST).await?)),
            StatusCode::UNAUTHORIZED => Ok(None),
            status => Err(unexpected(path, status)),
        }
    }

    /// Sends a request that must not be repeated.
    async fn once(&self, request: RequestBuilder) -> Result<Response, KeystoneError> {
        with_request_id(request).send().await.map_err(KeystoneError::Unreachable)
    }

    /// Sends a request, again after a failed connection or a timeout; these may be
    /// repeated without harm.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<Response, KeystoneError> {
        let request = || with_request_id(request());
        let mut pause = FIRST_PAUSE;
        for _ in 0..self.retries {
            match request().send().await {
                Ok(answer) => return Ok(answer),
                Err(error) => tracing::debug!(%error, "Keystone did not answer; trying again"),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        request().send().await.map_err(KeystoneError::Unreachable)
    }
}

/// What Keystone says where it refuses; any other status is none of its own.
async fn refused<T>(request: &'static str, answer: Response) -> Result<Answer<T>, KeystoneError> {
    let status = answer.status();
    let is_refusal = matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::CONFLICT
    );
    if !is_refusal {
        return Err(unexpected(request, status));
    }
    let reason = match document::<RefusalDocument>(answer, MAX_ANSWER).await {
        Ok(refusal) => refusal.error.message.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect(),
        Err(_) => format!("Keystone answered with status {}", status.as_u16()),
    };
    Ok(Answer::Refused { status, reason })
}

fn with_request_id(request: RequestBuilder) -> RequestBuilder {
    match request_id::current() {
        Some(id) => request.header(REQUEST_ID, id),
        None => request,
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, KeystoneSettingsError> {
    let shown = || path.display().to_string();
    let pem =
        std::fs::read(path).map_err(|source| KeystoneSettingsError::CaFile { path: shown(), source })?;
    let authorities = Certificate::from_pem_bundle(&pem).map_err(KeystoneSettingsError::Tls)?;
    if authorities.is_empty() {
        return Err(KeystoneSettingsError::NoCertificates { path: shown() });
    }
    Ok(authorities)
}

fn sensitive(token: &SecretString) -> Result<HeaderValue, KeystoneError> {
    let mut value = HeaderValue::from_str(token.expose_secret())
        .map_err(|_| KeystoneError::Malformed("a token cannot be a header value"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unexpected(request: &'static str, status: StatusCode) -> KeystoneError {
    let hint = match status {
        StatusCode::FORBIDDEN => "; this service's own user needs the role \"service\" (or \"admin\")",
        status if status.is_redirection() => {
            "; redirects are not followed, auth_url must be the final address"
        }
        StatusCode::METHOD_NOT_ALLOWED => "; is auth_url the address of Keystone?",
        _ => "",
    };
    KeystoneError::Status { request, status: status.as_u16(), hint }
}

async fn document<T: DeserializeOwned>(mut answer: Response, limit: usize) -> Result<T, KeystoneError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(KeystoneError::Unreachable)? {
        if body.len() + chunk.len() > limit {
            return Err(KeystoneError::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(KeystoneError::NotUnderstood)
}

/// `…/v3/auth/tokens` below Keystone's root or its `/v3`.
fn tokens_url(auth_url: &str) -> Result<Url, FieldFault> {
    let fault = |message: &str| FieldFault::new("auth_url", message);
    let mut url = Url::parse(auth_url.trim())
        .map_err(|_| fault("must be a URL such as \"https://keystone.example.org:5000/v3\""))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(fault("must begin with \"http://\" or \"https://\" and a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fault("must not hold a user name or password; those have settings of their own"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(fault("must not have a query or a fragment"));
    }
    let root = url.path().trim_end_matches('/').trim_end_matches("/v3").to_owned();
    url.set_path(&format!("{root}/v3/auth/tokens"));
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_and_its_v3_lead_to_the_same_resource() {
        for (auth_url, wanted) in [
            ("http://k:5000", "http://k:5000/v3/auth/tokens"),
            ("http://k:5000/", "http://k:5000/v3/auth/tokens"),
            ("http://k:5000/v3", "http://k:5000/v3/auth/tokens"),
            ("https://k/identity/v3/", "https://k/identity/v3/auth/tokens"),
        ] {
            assert_eq!(tokens_url(auth_url).unwrap().as_str(), wanted);
        }
    }

    #[test]
    fn an_auth_url_that_cannot_be_right_is_refused_by_name() {
        for bad in ["", "keystone:5000", "ftp://k/v3", "http://u:p@k/v3", "http://k/v3?x=1", "http://k/v3#x"]
        {
            assert_eq!(tokens_url(bad).unwrap_err().field, "auth_url", "{bad}");
        }
    }
}
