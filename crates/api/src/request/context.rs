//! What is known of a request from its first line on: its ids and the log span they stand in.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use picasso_types::{CallId, RequestId};
use tracing::Span;

/// The header of request ids, as every OpenStack service writes it.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-openstack-request-id");

/// The header that tells a caller which call its answer is of.
const CALL_ID: HeaderName = HeaderName::from_static("picasso-call-id");
/// The same under Fn's name.
const FN_CALL_ID: HeaderName = HeaderName::from_static("fn-call-id");

/// Adds the headers that name the call.
pub(crate) fn with_call_id(mut response: Response, call_id: &CallId) -> Response {
    if let Ok(value) = HeaderValue::from_str(call_id.as_str()) {
        response.headers_mut().insert(CALL_ID, value.clone());
        response.headers_mut().insert(FN_CALL_ID, value);
    }
    response
}

/// The address at the other end of a request's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The ids of one request.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext {
    /// Ours, new for every request.
    pub(crate) id: RequestId,
    /// The request's span; handlers add what they learn.
    pub(crate) span: Span,
}

impl RequestContext {
    /// A context with a fresh id.
    pub(crate) fn new(span: Span, id: RequestId) -> Self {
        Self { id, span }
    }

    /// Notes what the request is about in its log line. Never bodies, never tokens.
    pub(crate) fn note_target(&self, project: &str, app: &str, route: &str) {
        self.span.record("project", project);
        self.span.record("app", app);
        self.span.record("route", route);
    }

    /// Notes the call that the request became.
    pub(crate) fn note_call(&self, call: &CallId) {
        self.span.record("call_id", call.as_str());
    }
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts
            .extensions
            .get::<Self>()
            .cloned()
            // Only a router without the request layer comes here; its ids stay consistent anyway.
            .unwrap_or_else(|| Self::new(Span::none(), RequestId::generate())))
    }
}

/// The caller's own request id (oslo.middleware's *global* request id), where it is well formed:
/// `req-` and a UUID.
pub(crate) fn global_request_id(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let uuid = text.strip_prefix("req-")?;
    let well_formed = uuid.len() == 36
        && uuid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        });
    well_formed.then_some(text)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn global(text: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(text).unwrap());
        global_request_id(&headers).map(str::to_owned)
    }

    #[test]
    fn only_a_well_formed_id_of_the_caller_is_taken_over() {
        let good = "req-0a1b2c3d-0000-4000-8000-0123456789ab";
        assert_eq!(global(good).as_deref(), Some(good));
        for bad in ["x", "req-", "req-0A1B2C3D-0000-4000-8000-0123456789ab", &format!("{good} evil=1")] {
            assert_eq!(global(bad), None, "{bad}");
        }
    }
}
