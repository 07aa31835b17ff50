//! The outermost layer of every face: ids, span, log line, metrics, and the form of errors.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use ipnet::IpNet;
use picasso_identity::request_id;
use picasso_types::RequestId;
use tracing::{Instrument, Span};

use super::context::{REQUEST_ID, RequestContext, global_request_id};
use super::cors::{self, CorsHeaders};
use super::origin::{Encrypted, Origin, Peer};
use super::request_metrics::{Ended, RequestMetrics};
use super::webhook::without_token;
use crate::announce::{Announcement, Announcer, End};
use crate::error::{ApiError, Kind, render};
use crate::microversion::Microversion;
use crate::state::ApiState;

/// What the layer needs to know of the face it stands before.
#[derive(Debug, Clone)]
pub(crate) struct Face {
    /// `api`, `functions` or `admin`, for metrics and logs.
    name: &'static str,
    /// Where users authenticate, for 401 answers.
    auth_uri: Arc<str>,
    /// Whose word on clients is taken.
    trusted_proxies: Arc<[IpNet]>,
    /// Whether the requests have a version of the API.
    versioned: bool,
    metrics: Arc<RequestMetrics>,
    /// How it writes an error.
    render: Render,
    announced: Option<(Arc<Announcer>, Announce)>,
}

/// Writes an error: its request's id and where users authenticate are told.
type Render = fn(&ApiError, &RequestId, &str) -> Response;

/// What is told of a request with this method and this template.
type Announce = fn(&Arc<Announcer>, &str, &str, &Request, Option<IpAddr>) -> Option<Announcement>;

impl Face {
    pub(crate) fn new(name: &'static str, state: &ApiState) -> Self {
        Self {
            name,
            auth_uri: state.tokens.auth_uri().into(),
            trusted_proxies: state.settings.trusted_proxies.as_slice().into(),
            versioned: false,
            metrics: Arc::new(RequestMetrics::new(name)),
            render,
            announced: None,
        }
    }

    /// A face whose requests have a version of the API.
    pub(crate) fn versioned(self) -> Self {
        Self { versioned: true, ..self }
    }

    /// A face whose errors have another form than OpenStack's.
    pub(crate) fn with_errors(self, render: Render) -> Self {
        Self { render, ..self }
    }

    /// The same, with requests of this face told of on OpenStack's bus.
    pub(crate) fn announced_by(self, announcer: Arc<Announcer>, announce: Announce) -> Self {
        Self { announced: Some((announcer, announce)), ..self }
    }

    fn announcement(&self, request: &Request, client: Option<IpAddr>) -> Option<Announcement> {
        let (announcer, announce) = self.announced.as_ref()?;
        let template = request.extensions().get::<MatchedPath>()?;
        announce(announcer, known(request.method()), template.as_str(), request, client)
    }

    fn origin(&self, request: &Request) -> Origin {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        let encrypted = request.extensions().get::<Encrypted>().is_some();
        Origin::of(peer, encrypted, request.uri(), request.headers(), &self.trusted_proxies)
    }

    /// The version that a request asks for; `None` where requests have none.
    fn version(&self, request: &Request) -> Option<Result<Microversion, ApiError>> {
        let applies = self.versioned && Microversion::applies_to(request.uri().path());
        applies.then(|| Microversion::asked(request.headers()))
    }
}

/// Marks a request whose head says twice where the request ends; the connection sees it, the
/// parsed request no longer shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AmbiguousHead;

/// Runs one request.
pub(crate) async fn request_layer(State(face): State<Face>, mut request: Request, next: Next) -> Response {
    let global = global_request_id(request.headers()).map(str::to_owned);
    let origin = face.origin(&request);
    let client = origin.client_address();
    let context = RequestContext::new(global, client, face.announcement(&request, client));
    let (version, refused) = match face.version(&request) {
        None => (None, None),
        Some(Ok(version)) => (Some(version), None),
        Some(Err(error)) => (Some(Microversion::MIN), Some(error)),
    };
    let span = tracing::info_span!("request", request_id = %context.id);
    let mut finish = Finish::new(context.clone(), span.clone(), face.clone(), &request);
    request.extensions_mut().insert(context.clone());
    request.extensions_mut().insert(origin);
    if let Some(version) = version {
        request.extensions_mut().insert(version);
    }

    let (mut response, failed) = async {
        let ambiguous = request.extensions().get::<AmbiguousHead>().is_some();
        let refused = if ambiguous { Some(ApiError::AmbiguousLength) } else { refused };
        let mut response = match refused {
            Some(error) => error.into_response(),
            None => {
                let id = context.global_id.clone().unwrap_or_else(|| context.id.to_string());
                request_id::for_request(id, next.run(request)).await
            }
        };
        let Some(error) = response.extensions_mut().remove::<Arc<ApiError>>() else {
            return (response, None);
        };
        let mut rendered = (face.render)(&error, &context.id, &face.auth_uri);
        if let Some(noted) = response.extensions_mut().remove::<CorsHeaders>() {
            rendered.extensions_mut().insert(noted);
        }
        // The router puts Allow into its own 405.
        if let Some(allow) = response.headers().get(header::ALLOW) {
            rendered.headers_mut().entry(header::ALLOW).or_insert(allow.clone());
        }
        if ambiguous {
            rendered.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        (rendered, Some(error.kind()))
    }
    .instrument(span)
    .await;

    cors::apply(response.extensions_mut().remove::<CorsHeaders>(), response.headers_mut());
    if let Ok(value) = HeaderValue::from_str(context.id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    if let Some(version) = version {
        version.tell(response.headers_mut());
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    finish.answered(response.status(), failed);
    response
}

/// Turns a panic of a handler into the answer of any other fault of ours.
#[expect(clippy::needless_pass_by_value, reason = "tower-http's signature")]
pub(crate) fn panic_answer(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned());
    ApiError::internal("a handler panicked", text).into_response()
}

/// Writes the log line and the metrics of a request, also of one whose caller hung up: then the
/// future is dropped and nobody else would.
struct Finish {
    context: RequestContext,
    span: Span,
    face: Face,
    method: &'static str,
    route: Option<MatchedPath>,
    uri: Uri,
    began: Instant,
    done: bool,
}

impl Finish {
    fn new(context: RequestContext, span: Span, face: Face, request: &Request) -> Self {
        Self {
            context,
            span,
            face,
            method: known(request.method()),
            route: request.extensions().get::<MatchedPath>().cloned(),
            uri: request.uri().clone(),
            began: Instant::now(),
            done: false,
        }
    }

    fn answered(&mut self, status: StatusCode, failed: Option<Kind>) {
        self.done = true;
        self.context.note_end(End::Answered(status.as_u16(), failed));
        self.record(Some(status.as_u16()), failed.is_some());
    }

    fn record(&self, ended: Ended, failed: bool) {
        let took = self.began.elapsed();
        let route = self.route.as_ref().map_or("unmatched", MatchedPath::as_str);
        self.face.metrics.record(route, self.method, ended, took);
        let notes = &self.context;
        // The engine's line of a call that was answered says what there is to know.
        let said = notes.call.get().is_some() && !failed;
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    parent: &self.span,
                    global_request_id = notes.global_id,
                    face = self.face.name,
                    client = notes.client.map(tracing::field::display),
                    method = self.method,
                    path = &*without_token(self.uri.path()),
                    user = notes.caller.get().map(|caller| caller.user_id.as_str()),
                    project = notes.project(),
                    app = notes.target.get().map(|target| target.app.full_name.as_str()),
                    route = notes.target.get().map(|target| target.route.pattern.as_str()),
                    call_id = notes.call.get().map(picasso_types::CallId::as_str),
                    status = ended,
                    hung_up = ended.is_none().then_some(true),
                    duration_ms = took.as_secs_f64() * 1000.0,
                    "request"
                )
            };
        }
        if said { line!(debug) } else { line!(info) }
    }
}

/// Any token is a method to HTTP; metrics must not grow with what strangers send.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

impl Drop for Finish {
    fn drop(&mut self) {
        if !self.done {
            self.context.note_end(End::HungUp);
            self.record(None, true);
        }
    }
}
