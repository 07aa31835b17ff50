//! The client: one request, one answer, both bounded.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use url::Url;

use crate::connector::GuardedConnector;
use crate::guard::{BlockedAddress, Guard};
use crate::resolver::{Resolver, SystemResolver};
use crate::target::{TargetFault, check_target};

/// Connections that are kept for the next request to the same host.
const IDLE_PER_HOST: usize = 4;
const IDLE_TIME: Duration = Duration::from_secs(30);
/// The head of an answer may have this many bytes.
const MAX_HEAD: usize = 64 * 1024;

/// How a [`GuardedClient`] behaves.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// What it may reach.
    pub guard: Guard,
    /// Who knows names.
    pub resolver: Arc<dyn Resolver>,
    /// Time for resolving a name, and for each connection.
    pub connect_timeout: Duration,
    /// Time until the head of an answer is there, with the connection.
    pub head_timeout: Duration,
    /// How long the other side may stay silent within an answer.
    pub read_timeout: Duration,
    /// Certificates (PEM) to trust beside the system's.
    pub ca_pem: Option<Vec<u8>>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            guard: Guard::default(),
            resolver: Arc::new(SystemResolver),
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(30),
            ca_pem: None,
        }
    }
}

/// A client that cannot be made: its certificates are at fault.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The PEM text holds none, or a damaged one.
    #[error("its certificate file cannot be read")]
    Certificates,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// Why there is no answer. None of the texts holds the URL: its query may be a secret.
#[derive(Debug, Error)]
pub enum OutboundError {
    /// The target may not be reached; asking again will not help.
    #[error("the target is refused: it {0}")]
    Refused(#[from] TargetFault),
    /// Not reached, or broken off.
    #[error("could not be reached, or broke off")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// Not in time.
    #[error("did not answer in time")]
    TooSlow,
}

impl OutboundError {
    fn of(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = error.into();
        let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
        while let Some(inner) = cause {
            if let Some(blocked) = inner.downcast_ref::<BlockedAddress>() {
                return Self::Refused(blocked.clone().into());
            }
            cause = inner.source();
        }
        Self::Unreachable(error)
    }
}

/// See the crate.
#[derive(Clone)]
pub struct GuardedClient {
    http: Client<HttpsConnector<GuardedConnector>, Full<Bytes>>,
    guard: Arc<Guard>,
    head_timeout: Duration,
    read_timeout: Duration,
}

impl std::fmt::Debug for GuardedClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardedClient").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl GuardedClient {
    /// A client with a pool of connections of its own. Reads the system's certificates.
    pub fn new(settings: &ClientSettings) -> Result<Self, ClientError> {
        let guard = Arc::new(settings.guard.clone());
        let connector = GuardedConnector {
            guard: guard.clone(),
            resolver: settings.resolver.clone(),
            timeout: settings.connect_timeout,
        };
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls(settings.ca_pem.as_deref())?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http1_max_buf_size(MAX_HEAD)
            .build(https);
        Ok(Self { http, guard, head_timeout: settings.head_timeout, read_timeout: settings.read_timeout })
    }

    /// What this client may reach.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Sends one request and gives the head of its answer, whatever its status; redirects, too.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response, OutboundError> {
        check_target(&self.guard, url)?;
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("picasso/", env!("CARGO_PKG_VERSION"))));
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse().map_err(|_| TargetFault::NotAUrl)?;
        *request.headers_mut() = headers;
        let answer = tokio::time::timeout(self.head_timeout, self.http.request(request)).await;
        let answer = answer.map_err(|_| OutboundError::TooSlow)?.map_err(OutboundError::of)?;
        let (head, body) = answer.into_parts();
        Ok(Response { status: head.status, headers: head.headers, body, read_timeout: self.read_timeout })
    }
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, at most 100 in 64 KiB.
    pub headers: HeaderMap,
    body: Incoming,
    read_timeout: Duration,
}

impl Response {
    /// The next bytes of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, OutboundError> {
        loop {
            let frame = tokio::time::timeout(self.read_timeout, self.body.frame()).await;
            match frame.map_err(|_| OutboundError::TooSlow)? {
                None => return Ok(None),
                Some(Err(error)) => return Err(OutboundError::of(error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// The whole body; `None` when it is longer than `max_bytes`.
    pub(crate) async fn whole(mut self, max_bytes: usize) -> Result<Option<Vec<u8>>, OutboundError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > max_bytes {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }

    /// Reads the body and throws it away, so that its connection can be used again; after
    /// `max_bytes` the connection is closed instead.
    pub async fn discard(mut self, max_bytes: usize) {
        let mut left = max_bytes;
        while let Ok(Some(chunk)) = self.chunk().await {
            let Some(rest) = left.checked_sub(chunk.len()) else { return };
            left = rest;
        }
    }
}

fn tls(ca_pem: Option<&[u8]>) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    // A machine without certificates can still use what needs none.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = ca_pem {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|_| ClientError::Certificates)?;
        if certificates.is_empty() {
            return Err(ClientError::Certificates);
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|_| ClientError::Certificates)?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
