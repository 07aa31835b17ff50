//! The HTTP side of one pull: one registry, one repository, one project's credentials.
//!
//! Not `oci-client`: version 0.18 builds its own HTTP client that follows every redirect, asks
//! whatever token service the registry names, reads manifests without a bound and takes no
//! resolver, and tenants choose what is pulled here. Contract: OCI distribution-spec 1.1, pull.

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use picasso_outbound::{ClientSettings, GuardedClient, OutboundError, Response, TargetFault};
use picasso_types::{Digest, ProjectId};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::challenge::{self, Challenge};
use crate::documents::{DOCKER_INDEX, DOCKER_MANIFEST, MAX_DOCUMENT, OCI_INDEX, OCI_MANIFEST};
use crate::{ImageError, ImageSettings, RegistryCredential, RegistrySettings};

const MAX_REDIRECTS: u32 = 5;
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// See the module.
pub(super) struct RegistryClient<'s> {
    http: GuardedClient,
    registry: &'s RegistrySettings,
    credential: Option<&'s RegistryCredential>,
    base: Url,
    repository: String,
    /// What the registry accepted last.
    authorization: Option<HeaderValue>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<SecretString>,
    access_token: Option<SecretString>,
}

impl<'s> RegistryClient<'s> {
    pub fn new(
        settings: &'s ImageSettings,
        registry: &'s RegistrySettings,
        project: &ProjectId,
        repository: &str,
    ) -> Result<Self, ImageError> {
        let wrong = |what: &str| {
            let host = &registry.host;
            ImageError::failed(format!("using registry \"{host}\""))(std::io::Error::other(what.to_owned()))
        };
        let guard = &settings.guard;
        let http = GuardedClient::new(&ClientSettings {
            guard: if registry.allow_private { guard.allowing_private() } else { guard.clone() },
            resolver: settings.resolver.clone(),
            connect_timeout: CONNECT_TIMEOUT,
            head_timeout: settings.idle_timeout,
            read_timeout: settings.idle_timeout,
            ca_pem: registry.ca_pem.clone(),
        });
        let scheme = if registry.insecure { "http" } else { "https" };
        Ok(Self {
            http: http.map_err(|error| wrong(&error.to_string()))?,
            registry,
            credential: credential_for(registry, project),
            base: Url::parse(&format!("{scheme}://{}/v2/", registry.host))
                .map_err(|_| wrong("its host is not one"))?,
            repository: repository.to_owned(),
            authorization: None,
        })
    }

    /// A manifest or index by tag or digest, at most 4 MiB.
    pub async fn manifest(&mut self, reference: &str) -> Result<Bytes, ImageError> {
        let mut response = self.get(&format!("manifests/{reference}"), true).await?;
        let stated = response
            .headers
            .get("docker-content-digest")
            .and_then(|value| Digest::parse(value.to_str().ok()?).ok());
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(&e))? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > MAX_DOCUMENT {
                return Err(ImageError::TooLarge("the image's manifest is larger than 4 MiB".to_owned()));
            }
        }
        let actual = Digest::of(&body);
        if stated.is_some_and(|stated| stated != actual) {
            return Err(self.error("sent a manifest that does not have the digest it says", false));
        }
        Ok(body.freeze())
    }

    /// A blob's content, still unchecked.
    pub async fn blob(&mut self, digest: &Digest) -> Result<Response, ImageError> {
        self.get(&format!("blobs/{digest}"), false).await
    }

    async fn get(&mut self, path: &str, is_manifest: bool) -> Result<Response, ImageError> {
        let url = self
            .base
            .join(&format!("{}/{path}", self.repository))
            .map_err(|_| self.error("has no such address", false))?;
        let response = self.follow(url.clone(), is_manifest).await?;
        if response.status != StatusCode::UNAUTHORIZED {
            return self.check(response);
        }
        self.authenticate(&response).await?;
        let response = self.follow(url, is_manifest).await?;
        self.check(response)
    }

    /// Sends a request and follows redirects, to hosts that the operator listed only. The
    /// credential never leaves the registry's own host.
    async fn follow(&self, mut url: Url, is_manifest: bool) -> Result<Response, ImageError> {
        for _ in 0..=MAX_REDIRECTS {
            self.check_target(&url)?;
            let mut headers = HeaderMap::new();
            if is_manifest {
                for media_type in [OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_INDEX] {
                    headers.append(ACCEPT, HeaderValue::from_static(media_type));
                }
            }
            if let Some(authorization) = self.authorization.as_ref().filter(|_| same_origin(&url, &self.base))
            {
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            let response = self.ask(&url, headers).await?;
            if !response.status.is_redirection() {
                return Ok(response);
            }
            let target = response.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            url = target
                .and_then(|target| url.join(target).ok())
                .ok_or_else(|| self.error("redirects to nowhere", false))?;
        }
        Err(self.error("redirects too often", false))
    }

    fn check_target(&self, url: &Url) -> Result<(), ImageError> {
        let scheme_ok = url.scheme() == "https" || (url.scheme() == "http" && self.registry.insecure);
        let listed = self.registry.also_hosts.iter().any(|host| is_host(url, host));
        if !scheme_ok || !(listed || same_origin(url, &self.base)) {
            let target = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
            return Err(self.error(
                &format!("sends us on to {target}, which the operator has not listed for it"),
                false,
            ));
        }
        Ok(())
    }

    async fn authenticate(&mut self, response: &Response) -> Result<(), ImageError> {
        let challenges = response.headers.get_all(WWW_AUTHENTICATE);
        let challenge = challenges.iter().filter_map(|value| value.to_str().ok()).find_map(challenge::parse);
        let denied = || self.error("does not let this project read the image; check its credentials", false);
        let value = match challenge {
            Some(Challenge::Basic) => basic(self.credential.ok_or_else(denied)?),
            Some(Challenge::Bearer { realm, service }) => {
                let token = self.token(&realm, service.as_deref()).await?;
                format!("Bearer {}", token.expose_secret())
            }
            None => return Err(denied()),
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| denied())?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(())
    }

    async fn token(&self, realm: &str, service: Option<&str>) -> Result<SecretString, ImageError> {
        let mut url =
            Url::parse(realm).map_err(|_| self.error("names a token service that is no URL", false))?;
        self.check_target(&url)?;
        let scope = format!("repository:{}:pull", self.repository);
        url.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = service {
            url.query_pairs_mut().append_pair("service", service);
        }
        let mut headers = HeaderMap::new();
        if let Some(credential) = self.credential
            && let Ok(mut value) = HeaderValue::try_from(basic(credential))
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut response = self.check(self.ask(&url, headers).await?)?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(&e))? {
            body.extend_from_slice(&chunk);
            if body.len() > 256 * 1024 {
                return Err(self.error("its token service sends too much", false));
            }
        }
        let answer: Option<TokenAnswer> = serde_json::from_slice(&body).ok();
        answer
            .and_then(|answer| answer.token.or(answer.access_token))
            .ok_or_else(|| self.error("its token service sends no token", false))
    }

    fn check(&self, response: Response) -> Result<Response, ImageError> {
        let (reason, temporary) = match response.status.as_u16() {
            200 => return Ok(response),
            401 | 403 => {
                ("does not let this project read the image; check its credentials".to_owned(), false)
            }
            404 => (format!("does not have the image \"{}\" or a part of it", self.repository), false),
            429 => ("says that we ask too often; try again later".to_owned(), true),
            code @ 500.. => (format!("is in trouble (status {code}); try again later"), true),
            code => (format!("gave an answer that makes no sense here (status {code})"), false),
        };
        Err(self.error(&reason, temporary))
    }

    async fn ask(&self, url: &Url, headers: HeaderMap) -> Result<Response, ImageError> {
        self.http.send(Method::GET, url, headers, Bytes::new()).await.map_err(|e| self.unreachable(&e))
    }

    pub fn unreachable(&self, error: &OutboundError) -> ImageError {
        if let OutboundError::Refused(TargetFault::Blocked(blocked)) = error {
            return self.error(&format!("{blocked} for the registry"), false);
        }
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(registry = self.registry.host, %error, cause, "a registry was not reached");
        self.error("could not be reached, or broke off; try again later", true)
    }

    pub fn error(&self, reason: &str, temporary: bool) -> ImageError {
        ImageError::Registry { registry: self.registry.host.clone(), reason: reason.to_owned(), temporary }
    }
}

fn credential_for<'s>(registry: &'s RegistrySettings, project: &ProjectId) -> Option<&'s RegistryCredential> {
    let own = registry.credentials.iter().find(|credential| credential.project.as_ref() == Some(project));
    own.or_else(|| registry.credentials.iter().find(|credential| credential.project.is_none()))
}

fn basic(credential: &RegistryCredential) -> String {
    use base64::Engine as _;
    let pair = format!("{}:{}", credential.username, credential.password.expose_secret());
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// Whether `url` is on `host` (`host` or `host:port`; without a port the scheme's own).
fn is_host(url: &Url, host: &str) -> bool {
    Url::parse(&format!("{}://{host}/", url.scheme())).is_ok_and(|listed| same_origin(url, &listed))
}
