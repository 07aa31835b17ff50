//! Errors as IronFunctions writes them: `{"error":{"message":"…","fields":"…"}}`, mostly without
//! `fields`, and with the call's id beside it where a call failed.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use picasso_store::StoreError;
use picasso_types::{CallId, Failure, RequestId};
use serde_json::json;

use super::answer::answer;
use crate::call_headers::with_call_id;
use crate::error::{ApiError, CallFault, log, retry_after};

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(super) struct IronError {
    status: StatusCode,
    message: String,
    /// Which part of the request it is about, where the message does not tell.
    fields: Option<String>,
    call: Option<CallId>,
    retry_after: Option<Duration>,
}

impl IronError {
    /// A refusal in IronFunctions' words.
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), fields: None, call: None, retry_after: None }
    }

    /// 400.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404.
    pub(super) fn missing(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// The same, with what the message does not tell.
    pub(super) fn fields(self, fields: String) -> Self {
        Self { fields: Some(fields), ..self }
    }

    /// Whether something was not found.
    pub(super) fn is_missing(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// A failed call. What failed is said in IronFunctions' words where it has some; what is told of
    /// the others is no more than what strangers are told elsewhere.
    pub(super) fn call(call_id: CallId, failure: Failure) -> Self {
        let (status, message) = match &failure {
            Failure::Timeout { .. } => (StatusCode::GATEWAY_TIMEOUT, "Timed out".to_owned()),
            Failure::Exit { code } => (StatusCode::INTERNAL_SERVER_ERROR, format!("exit code {code}")),
            Failure::OutOfMemory { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "out of memory error".to_owned())
            }
            Failure::NoCapacity => {
                (StatusCode::INTERNAL_SERVER_ERROR, "Task timed out. No available memory.".to_owned())
            }
            _ => {
                let fault = CallFault { failure, retry_after: None, call_id: call_id.clone(), stderr: None };
                let message = ApiError::Call(Box::new(fault)).message();
                (StatusCode::INTERNAL_SERVER_ERROR, message)
            }
        };
        Self { call: Some(call_id), ..Self::new(status, message) }
    }
}

/// What the two faces have in common is said in the OpenStack face's words.
impl From<&ApiError> for IronError {
    fn from(error: &ApiError) -> Self {
        log(error);
        let status = error.kind().status();
        Self { retry_after: retry_after(error), ..Self::new(status, error.message()) }
    }
}

impl From<ApiError> for IronError {
    fn from(error: ApiError) -> Self {
        Self::from(&error)
    }
}

/// Says what a store's `NotFound` means, and makes the rest ours.
pub(super) fn from_store(missing: &'static str) -> impl FnOnce(StoreError) -> IronError {
    move |error| match error {
        StoreError::NotFound => IronError::missing(missing),
        other => crate::error::from_store(|| ApiError::UrlNotFound(String::new()))(other).into(),
    }
}

/// Errors that come up outside of handlers: panics, heads that contradict themselves.
pub(super) fn render(error: &ApiError, _: &RequestId, _: &str) -> Response {
    IronError::from(error).into_response()
}

impl IntoResponse for IronError {
    fn into_response(self) -> Response {
        let mut error = json!({"message": self.message});
        if let Some(fields) = self.fields {
            error["fields"] = fields.into();
        }
        let Some(call) = &self.call else {
            let mut response = answer(self.status, &json!({"error": error}));
            if self.status == StatusCode::UNAUTHORIZED {
                let challenge = HeaderValue::from_static("Bearer realm=\"\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            }
            if let Some(after) = self.retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
            }
            return response;
        };
        let response = answer(self.status, &json!({"request_id": call.as_str(), "error": error}));
        with_call_id(response, call)
    }
}
