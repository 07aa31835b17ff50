//! What the Runtime API answers when it refuses a request, in AWS's own words where a client might
//! look for them.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;

/// A refused request of the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The request is not allowed now.
    InvalidStateTransition {
        /// The runtime's state.
        from: &'static str,
        /// The state the request would lead to.
        to: &'static str,
    },
    /// The id is not that of the call the runtime holds, or that call is answered already.
    InvalidRequestId,
    /// The answer is larger than this many bytes.
    RequestEntityTooLarge(usize),
    /// The answer's body broke off.
    TruncatedRequest,
    /// The response mode is not one that is known.
    InvalidResponseMode,
    /// No such path, or another version of the API.
    NotFound,
    /// The path takes this method only.
    MethodNotAllowed(&'static str),
}

impl Fault {
    /// The answer to the runtime.
    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let (status, kind, message) = match self {
            Self::InvalidStateTransition { from, to } => (
                StatusCode::FORBIDDEN,
                "InvalidStateTransition",
                format!(
                    "State transition from {from} to {to} failed for runtime. Error: State transition is not allowed"
                ),
            ),
            Self::InvalidRequestId => {
                (StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID".to_owned())
            }
            Self::RequestEntityTooLarge(limit) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                format!("Exceeded maximum allowed payload size ({limit} bytes)."),
            ),
            Self::TruncatedRequest => (
                StatusCode::BAD_REQUEST,
                "TruncatedHTTPRequest",
                "HTTP request detected as truncated".to_owned(),
            ),
            Self::InvalidResponseMode => (
                StatusCode::BAD_REQUEST,
                "InvalidFunctionResponseMode",
                "Invalid function response mode".to_owned(),
            ),
            Self::NotFound => {
                (StatusCode::NOT_FOUND, "NotFound", "The Runtime API 2018-06-01 has no such path".to_owned())
            }
            Self::MethodNotAllowed(allowed) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                format!("This path takes {allowed} only"),
            ),
        };
        let mut response = json_response(status, &json!({"errorMessage": message, "errorType": kind}));
        if let Self::MethodNotAllowed(allowed) = self {
            response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allowed));
        }
        response
    }
}

/// `202 {"status":"OK"}`: what the runtime posted was taken.
pub(super) fn accepted() -> Response<Full<Bytes>> {
    json_response(StatusCode::ACCEPTED, &json!({"status": "OK"}))
}

fn json_response(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
