//! The headers that tell a caller which call an answer is of: answers of handlers and of errors have them.

use axum::response::Response;
use http::{HeaderName, HeaderValue};
use picasso_types::CallId;

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
