//! The HTTP form of an error: body, headers, and what the log gets.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use picasso_engine::{RateLimited, RateOf};
use picasso_types::{RateLimit, RequestId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, Kind};
use crate::call_headers::with_call_id;
use crate::microversion::Microversion;

/// The header that names the kind of an error; functions cannot set it.
pub(crate) const ERROR_KIND: HeaderName = HeaderName::from_static("picasso-error-kind");

const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Every error: a superset of what the old service and keystonemiddleware answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorView {
    /// What went wrong.
    error: ErrorBody,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// The HTTP status again.
    #[schema(example = 404)]
    code: u16,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: &'static str,
    /// What happened, to what, and what to do.
    #[schema(example = "App hello not found")]
    message: String,
    /// A stable name to test for; `docs/errors.md` has a section for each.
    #[schema(example = "app_not_found")]
    kind: &'static str,
    /// The request, as in `X-Openstack-Request-Id`.
    request_id: String,
    /// The oldest version of the API; where the one that was asked for is not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "1.0")]
    min_version: Option<String>,
    /// The newest one, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "1.1")]
    max_version: Option<String>,
    /// The failed call; callers with a token only.
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    /// The end of the failed function's stderr, up to 4 KiB; callers with a token only.
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<String>,
}

/// Writes the answer of `error`. `auth_uri` is where users get tokens, for a 401.
pub(crate) fn render(error: &ApiError, request_id: &RequestId, auth_uri: &str) -> Response {
    let kind = error.kind();
    let status = kind.status();
    log(error);
    let call = match error {
        ApiError::Call(fault) => Some(&**fault),
        _ => None,
    };
    let versions = (kind == Kind::VersionNotSupported).then_some((Microversion::MIN, Microversion::MAX));
    let stderr = call.and_then(|fault| fault.stderr.clone());
    let view = ErrorView {
        error: ErrorBody {
            code: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Error"),
            message: error.message(),
            kind: kind.as_str(),
            request_id: request_id.to_string(),
            min_version: versions.map(|(min, _)| min.to_string()),
            max_version: versions.map(|(_, max)| max.to_string()),
            call_id: call.filter(|_| stderr.is_some()).map(|fault| fault.call_id.to_string()),
            stderr,
        },
    };
    let mut response = (status, Json(view)).into_response();
    if let Some(fault) = call {
        response = with_call_id(response, &fault.call_id);
    }
    let headers = response.headers_mut();
    headers.insert(ERROR_KIND, HeaderValue::from_static(kind.as_str()));
    if kind == Kind::Unauthorized
        && let Ok(value) = HeaderValue::try_from(format!("Keystone uri=\"{auth_uri}\""))
    {
        headers.insert(header::WWW_AUTHENTICATE, value);
    }
    // Every 401 names a way to do better (RFC 9110, section 15.5.2).
    let challenge = match kind {
        Kind::JwtRefused => Some("Bearer realm=\"\""),
        Kind::WebhookRefused => Some("Webhook realm=\"\""),
        _ => None,
    };
    if let Some(challenge) = challenge {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    if let Some(after) = retry_after(error) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
    }
    if let ApiError::RateLimited { limited, with_token } = error {
        tell_rate(headers, limited, *with_token);
    }
    if let ApiError::MethodNotAllowed { allowed, .. } = error
        && !allowed.is_empty()
        && let Ok(value) = HeaderValue::try_from(allowed.join(", "))
    {
        headers.insert(header::ALLOW, value);
    }
    response
}

/// Rounded up: who comes back then is not too early.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// The headers of draft-ietf-httpapi-ratelimit-headers-10, where the caller may know the limit.
fn tell_rate(headers: &mut HeaderMap, limited: &RateLimited, with_token: bool) {
    let name = match limited.of {
        RateOf::Route => "route",
        RateOf::Project if with_token => "project",
        RateOf::Project => return,
    };
    let RateLimit { calls, seconds, .. } = limited.limit;
    let left = whole_seconds(limited.retry_after);
    for (header, value) in [
        (RATE_LIMIT_POLICY, format!("\"{name}\";q={calls};w={seconds}")),
        (RATE_LIMIT, format!("\"{name}\";r=0;t={left}")),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(header, value);
        }
    }
}

pub(crate) fn retry_after(error: &ApiError) -> Option<Duration> {
    match error {
        ApiError::IdentityUnavailable { retry_after } => Some(*retry_after),
        ApiError::RateLimited { limited, .. } => Some(limited.retry_after),
        ApiError::NotReady { .. } => Some(Duration::from_secs(2)),
        ApiError::ProjectQueueFull(_)
        | ApiError::ServiceQueueFull
        | ApiError::OutputsUnavailable(_)
        | ApiError::DatabaseUnavailable(_)
        | ApiError::MessagingUnavailable(_)
        | ApiError::KeyManagerUnavailable(_)
        | ApiError::PolicyUnavailable(_)
        | ApiError::TriggerBusy(_) => Some(Duration::from_secs(5)),
        ApiError::Call(fault) => {
            let wanted = fault.failure_is_temporary().then_some(Duration::from_secs(1));
            fault.retry_after.or(wanted)
        }
        _ => None,
    }
}

impl super::CallFault {
    /// Whether the same call may work a little later.
    fn failure_is_temporary(&self) -> bool {
        use picasso_types::Failure;
        matches!(self.failure, Failure::NoCapacity | Failure::OverLimit { .. } | Failure::NotReady { .. })
    }
}

/// What the log gets beside the line of the request: only faults of ours have more to say.
pub(crate) fn log(error: &ApiError) {
    if let ApiError::Internal(fault)
    | ApiError::DatabaseUnavailable(fault)
    | ApiError::OutputsUnavailable(fault)
    | ApiError::MessagingUnavailable(fault)
    | ApiError::KeyManagerUnavailable(fault)
    | ApiError::PolicyUnavailable(fault) = error
    {
        tracing::error!(error = fault.chain(), "the request failed");
    }
}

#[cfg(test)]
mod tests {
    use picasso_types::{CallId, Failure};

    use super::*;
    use crate::error::CallFault;

    #[test]
    fn an_event_that_cannot_be_taken_now_is_told_when_to_come_back() {
        let busy = ApiError::TriggerBusy("the queue is full".to_owned());
        let answer = render(&busy, &RequestId::generate(), "");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()[header::RETRY_AFTER]),
            (503, &HeaderValue::from(5))
        );
    }

    #[test]
    fn a_call_without_its_identity_is_told_when_to_come_back() {
        let failure = Failure::IdentityUnavailable { reason: "Keystone does not answer".to_owned() };
        let retry_after = Some(Duration::from_secs(5));
        let fault = CallFault { failure, retry_after, call_id: CallId::generate(), stderr: None };
        let answer = render(&ApiError::Call(Box::new(fault)), &RequestId::generate(), "");
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()[ERROR_KIND], "function_identity_unavailable");
        assert_eq!(answer.headers()[header::RETRY_AFTER], "5");
    }
}
