//! The outermost layer of every face: ids, span, log line, metrics, and the form of errors.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use picasso_types::RequestId;
use tracing::{Instrument, Span};

use super::context::{REQUEST_ID, RequestContext, global_request_id};
use crate::error::{ApiError, render};

/// What the layer needs to know of the face it stands before.
#[derive(Debug, Clone)]
pub(crate) struct Face {
    /// `api`, `functions` or `admin`, for metrics and logs.
    pub(crate) name: &'static str,
    /// Where users authenticate, for 401 answers.
    pub(crate) auth_uri: Arc<str>,
}

/// Marks a request whose head says twice where the request ends; the connection sees it, the
/// parsed request no longer shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AmbiguousHead;

/// Runs one request.
pub(crate) async fn request_layer(State(face): State<Face>, mut request: Request, next: Next) -> Response {
    let id = RequestId::generate();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!(
        "request",
        request_id = %id,
        global_request_id = global_request_id(request.headers()),
        face = face.name,
        method = %request.method(),
        path = request.uri().path(),
        user = tracing::field::Empty,
        project = tracing::field::Empty,
        app = tracing::field::Empty,
        route = tracing::field::Empty,
        call_id = tracing::field::Empty,
    );
    let mut finish = Finish::new(span.clone(), face.name, request.method().to_string(), route);
    request.extensions_mut().insert(RequestContext::new(span.clone(), id.clone()));

    let response = async {
        let ambiguous = request.extensions().get::<AmbiguousHead>().is_some();
        let mut response =
            if ambiguous { ApiError::AmbiguousLength.into_response() } else { next.run(request).await };
        if let Some(error) = response.extensions_mut().remove::<Arc<ApiError>>() {
            let mut rendered = render(&error, &id, &face.auth_uri);
            // The router puts Allow into its own 405.
            if let Some(allow) = response.headers().get(header::ALLOW) {
                rendered.headers_mut().entry(header::ALLOW).or_insert(allow.clone());
            }
            if ambiguous {
                rendered.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response = rendered;
        }
        response
    }
    .instrument(span)
    .await;

    let mut response = response;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    finish.answered(response.status());
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
    span: Span,
    face: &'static str,
    method: String,
    route: String,
    began: Instant,
    done: bool,
}

impl Finish {
    fn new(span: Span, face: &'static str, method: String, route: String) -> Self {
        // Any token is a method to HTTP; metrics must not grow with what strangers send.
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = if known.contains(&method.as_str()) { method } else { "other".to_owned() };
        Self { span, face, method, route, began: Instant::now(), done: false }
    }

    fn answered(&mut self, status: StatusCode) {
        self.done = true;
        self.record(status.as_str());
    }

    fn record(&self, status: &str) {
        let seconds = self.began.elapsed().as_secs_f64();
        let labels = [
            ("face", self.face.to_owned()),
            ("method", self.method.clone()),
            ("route", self.route.clone()),
            ("status", status.to_owned()),
        ];
        metrics::counter!("picasso_http_requests_total", &labels).increment(1);
        metrics::histogram!("picasso_http_request_duration_seconds", &labels[..3]).record(seconds);
        tracing::info!(parent: &self.span, status, duration_ms = seconds * 1000.0, "request");
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        if !self.done {
            self.record("hung_up");
        }
    }
}

/// Names the metrics of this crate to the recorder, with what they count.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "picasso_http_requests_total",
        "HTTP requests by face, method, route template and status (hung_up: the caller went away first)"
    );
    metrics::describe_histogram!(
        "picasso_http_request_duration_seconds",
        metrics::Unit::Seconds,
        "Time from a request's head to its answer's head by face, method and route template"
    );
    metrics::describe_gauge!("picasso_http_connections", "Open connections by face");
    metrics::describe_counter!(
        "picasso_http_connections_refused_total",
        "Connections closed at once because the face had its maximum, by face"
    );
}
