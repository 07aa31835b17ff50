//! What each error is called and what its caller reads: what happened, to what, what to do.
//!
//! The texts of the first group are those of the old service (`{app} not found` …): clients and
//! scripts compare them.

use picasso_engine::{RateLimited, RateOf};
use picasso_types::{Failure, RateLimit, Resource};

use super::{ApiError, Kind};
use crate::microversion::Microversion;

impl ApiError {
    /// The stable name of this error.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unauthorized(_) => Kind::Unauthorized,
            Self::IdentityUnavailable { .. } => Kind::IdentityUnavailable,
            Self::Forbidden { .. } => Kind::Forbidden,
            Self::ProjectNotFound(_) => Kind::ProjectNotFound,
            Self::AppNotFound(_) => Kind::AppNotFound,
            Self::RouteNotFound(_) => Kind::RouteNotFound,
            Self::VersionNotFound(_) => Kind::VersionNotFound,
            Self::AliasNotFound(_) => Kind::AliasNotFound,
            Self::ImageNotFound(_) => Kind::ImageNotFound,
            Self::CallNotFound(_) => Kind::CallNotFound,
            Self::ResultNotKept(_) => Kind::ResultNotKept,
            Self::CallFinished(_) => Kind::CallFinished,
            Self::CallNotFinished(_) => Kind::CallNotFinished,
            Self::CallBodyGone => Kind::CallBodyGone,
            Self::IdempotencyKeyReused => Kind::IdempotencyKeyReused,
            Self::FunctionNotFound(_) => Kind::FunctionNotFound,
            Self::UrlNotFound(_) => Kind::UrlNotFound,
            Self::VersionNotSupported(_) => Kind::VersionNotSupported,
            Self::MethodNotAllowed { .. } => Kind::MethodNotAllowed,
            Self::AppExists(_) => Kind::AppExists,
            Self::RouteExists { .. } => Kind::RouteExists,
            Self::AliasExists(_) => Kind::AliasExists,
            Self::TriggerNotFound(_) => Kind::TriggerNotFound,
            Self::TriggerExists(_) => Kind::TriggerExists,
            Self::TriggerRefused(_) => Kind::TriggerRefused,
            Self::TriggerBusy(_) => Kind::TriggerBusy,
            Self::IdentityNotFound(_) => Kind::IdentityNotFound,
            Self::NotTheGrantor => Kind::NotTheGrantor,
            Self::VersionNotReady { .. } => Kind::VersionNotReady,
            Self::AppHasRoutes(_) => Kind::AppHasRoutes,
            Self::PrivateRoute(_) => Kind::PrivateRoute,
            Self::PreconditionFailed => Kind::PreconditionFailed,
            Self::OverLimit(_) | Self::TooManyAliases(_) => Kind::LimitReached,
            Self::SourceNotAllowed => Kind::SourceNotAllowed,
            Self::JwtRefused(_) => Kind::JwtRefused,
            Self::WebhookRefused(_) | Self::HookRefused(_) => Kind::WebhookRefused,
            Self::ProjectQueueFull(_) => Kind::ProjectQueueFull,
            Self::ServiceQueueFull => Kind::ServiceQueueFull,
            Self::InvalidContentType => Kind::InvalidContentType,
            Self::InvalidBody(_) | Self::InvalidPosting(_) => Kind::InvalidBody,
            Self::InvalidField(_) => Kind::InvalidField,
            Self::InvalidEvent(_) => Kind::InvalidEvent,
            Self::AmbiguousLength => Kind::AmbiguousLength,
            Self::InvalidImage(_) => Kind::InvalidImage,
            Self::ImageTooLarge(_) => Kind::ImageTooLarge,
            Self::BodyTooLarge(_) => Kind::BodyTooLarge,
            Self::BodyAborted => Kind::BodyAborted,
            Self::BodyTimeout => Kind::BodyTimeout,
            Self::RateLimited { .. } => Kind::RateLimited,
            Self::Call(fault) => failure_kind(&fault.failure),
            Self::NotReady { .. } => Kind::FunctionNotReady,
            Self::ImageFailed { .. } => Kind::FunctionImageFailed,
            Self::DatabaseUnavailable(_) => Kind::DatabaseUnavailable,
            Self::MessagingUnavailable(_) => Kind::MessagingUnavailable,
            Self::KeyManagerUnavailable(_) => Kind::KeyManagerUnavailable,
            Self::PolicyUnavailable(_) => Kind::PolicyUnavailable,
            Self::OutputsUnavailable(_) => Kind::OutputsUnavailable,
            Self::Internal(_) => Kind::Internal,
        }
    }

    /// The sentence for the caller.
    #[expect(clippy::too_many_lines, reason = "one sentence for each error, in one place")]
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Unauthorized(reason) => format!("Not authorized. Reason: {reason}"),
            Self::AppNotFound(app) => format!("App {app} not found"),
            Self::RouteNotFound(path) => format!("Route {path} not found"),
            Self::IdempotencyKeyReused => {
                "The Idempotency-Key stands for another request of this route; use a key of its own for \
                 each request"
                    .into()
            }
            Self::AppExists(app) => format!("App {app} already exists"),
            Self::RouteExists { app, path } => format!("App {app} route {path} already exist"),
            Self::AppHasRoutes(app) => format!("Unable to delete app {app} with routes"),
            Self::PrivateRoute(path) => format!("Unable to execute private route {path}"),
            Self::SourceNotAllowed => "The route takes no calls from this address".into(),
            Self::JwtRefused(reason) => format!("The route asks for a JSON Web Token: {reason}"),
            Self::WebhookRefused(reason) => format!("The route asks for a webhook's secret: {reason}"),
            Self::InvalidContentType => {
                "Invalid content type: a body is sent as \"Content-Type: application/json\"".into()
            }

            Self::IdentityUnavailable { .. } => "The Keystone service is temporarily unavailable.".into(),
            Self::Forbidden { rule, needs: Some(role) } => {
                format!("{rule} is disallowed by policy; it needs the role {role} in the project")
            }
            Self::Forbidden { rule, needs: None } => {
                format!("{rule} is disallowed by policy; the operator has made a rule of their own for it")
            }
            Self::ProjectNotFound(project) => format!("Project {project} not found"),
            Self::VersionNotFound(number) => format!("Version {number} not found"),
            Self::AliasNotFound(name) => format!("Alias {name} not found"),
            Self::AliasExists(name) => format!("The route has an alias {name} already"),
            Self::TriggerNotFound(name) => format!("Trigger {name} not found"),
            Self::TriggerExists(name) => format!("The project has a trigger {name} already"),
            Self::TriggerRefused(reason) => format!("The trigger cannot fire: {reason}"),
            Self::HookRefused(reason) => format!("The webhook takes only what is signed: {reason}"),
            Self::TriggerBusy(reason) => format!("The trigger cannot fire now: {reason}; try again later"),
            Self::VersionNotReady { number, reason: None } => {
                format!("Version {number} cannot run: its image is being prepared, or could not be had")
            }
            Self::VersionNotReady { number, reason: Some(reason) } => {
                format!("Version {number} cannot run: {reason}")
            }
            Self::ImageNotFound(name) => format!("Image {name} not found"),
            Self::IdentityNotFound(route) => format!("Route {route} has no identity"),
            Self::NotTheGrantor => {
                "Only the user who granted the identity can consent, with a token of their own (not one of a \
                 trust or a restricted application credential)"
                    .into()
            }
            Self::CallNotFound(id) => format!("Call {id} not found"),
            Self::ResultNotKept(id) => {
                format!("No result of call {id} is kept; only those of asynchronous calls are")
            }
            Self::CallFinished(state) => format!("The call has ended already: it is {state}"),
            Self::CallNotFinished(state) => format!("The call has not ended yet: it is {state}"),
            Self::CallBodyGone => {
                "The call cannot run again: what its caller sent is not kept; only asynchronous calls keep it"
                    .into()
            }
            Self::FunctionNotFound(path) => format!("Function {path} not found"),
            Self::UrlNotFound(path) => format!("Resource {path} not found; /api lists all URLs"),
            Self::VersionNotSupported(asked) => format!(
                "Version {asked} of the API is not supported; there are {} to {}",
                Microversion::MIN,
                Microversion::MAX
            ),
            Self::MethodNotAllowed { method, allowed } if allowed.is_empty() => {
                format!("The method {method} is not allowed here; see the header Allow")
            }
            Self::MethodNotAllowed { method, allowed } => {
                format!("The method {method} is not allowed here; allowed: {}", allowed.join(", "))
            }
            Self::PreconditionFailed => {
                "The resource is not (any more) what If-Match names; read it again, then change that".into()
            }
            Self::OverLimit(over) => over.to_string(),
            Self::TooManyAliases(limit) => {
                format!(
                    "A route has at most {limit} aliases (bounds.max_aliases_per_route); delete some first"
                )
            }
            Self::ProjectQueueFull(limit) => format!(
                "The project has {limit} queued calls, which is its limit (functions_queued_calls); try again \
                 when some of them have run"
            ),
            Self::ServiceQueueFull => {
                "The service has as many queued calls as it takes (queue.max_calls); try again later".into()
            }
            Self::InvalidPosting(sentence)
            | Self::InvalidBody(sentence)
            | Self::InvalidImage(sentence)
            | Self::ImageTooLarge(sentence) => sentence.clone(),
            Self::InvalidField(fault) => fault.to_string(),
            Self::InvalidEvent(fault) => fault.to_string(),
            Self::AmbiguousLength => {
                "A request must not carry both Content-Length and Transfer-Encoding".into()
            }
            Self::BodyTooLarge(limit) => format!("The request body is larger than {limit} bytes"),
            Self::BodyAborted => "The request body ended before its announced end".into(),
            Self::BodyTimeout => "The request body did not arrive in time".into(),
            Self::RateLimited { limited, with_token } => rate_limited(limited, *with_token),
            Self::Call(fault) if fault.stderr.is_some() => fault.failure.to_string(),
            Self::Call(fault) => for_strangers(&fault.failure),
            Self::NotReady { path } => {
                format!("Route {path} is not ready: its image is being prepared; try again")
            }
            Self::ImageFailed { path, reason: Some(reason) } => {
                format!("Route {path} cannot run: {reason}")
            }
            Self::ImageFailed { path, reason: None } => {
                format!("Route {path} cannot run: its image could not be prepared")
            }
            Self::DatabaseUnavailable(_) => "The database is temporarily unavailable.".into(),
            Self::MessagingUnavailable(_) => {
                "The messaging service (Zaqar) is temporarily unavailable.".into()
            }
            Self::KeyManagerUnavailable(_) => "The key manager (Barbican) is temporarily unavailable.".into(),
            Self::PolicyUnavailable(_) => {
                "A server that decides about permissions is temporarily unavailable.".into()
            }
            Self::OutputsUnavailable(_) => {
                "The store of large results and logs is temporarily unavailable.".into()
            }
            Self::Internal(_) => {
                "The service failed; the operator finds the reason in the log under the request id".into()
            }
        }
    }
}

/// The limits of a project are not for strangers, those of a route are.
fn rate_limited(limited: &RateLimited, with_token: bool) -> String {
    let RateLimit { calls, seconds, .. } = limited.limit;
    match limited.of {
        RateOf::Route => format!("The function may be called {calls} times in {seconds} s; try again later"),
        RateOf::Project if with_token => format!(
            "The project may make {calls} calls each second ({}); try again later",
            Resource::CallRate.name()
        ),
        RateOf::Project => "The function is called too often; try again later".into(),
    }
}

/// Reasons hold names of the project's images and programs, and words of its functions.
fn for_strangers(failure: &Failure) -> String {
    match failure {
        Failure::CannotStart { .. } => "The function could not be started: its image cannot be run".into(),
        Failure::NotReady { .. } => "The function is not ready: its image is not ready".into(),
        Failure::InitFailed { .. } => "The function did not become ready".into(),
        Failure::BadAnswer { .. } => "The function gave no valid answer".into(),
        Failure::FunctionError { .. } => "The function reported an error".into(),
        Failure::IdentitySuspended | Failure::IdentityUnavailable { .. } => {
            "The function cannot be run now: it has no identity".into()
        }
        Failure::OverLimit { .. } => "The function is called too much at one time; try again later".into(),
        Failure::Timeout { .. }
        | Failure::Exit { .. }
        | Failure::Signal { .. }
        | Failure::OutOfMemory { .. }
        | Failure::OutputTooLarge { .. }
        | Failure::NoCapacity
        | Failure::HungUp
        | Failure::Status { .. }
        | Failure::Lost { .. }
        | Failure::Expired { .. }
        | Failure::TooDeep { .. }
        | Failure::Internal => failure.to_string(),
    }
}

fn failure_kind(failure: &Failure) -> Kind {
    match failure {
        Failure::Timeout { .. } => Kind::FunctionTimeout,
        Failure::Exit { .. } => Kind::FunctionExited,
        Failure::Signal { .. } => Kind::FunctionSignaled,
        Failure::OutOfMemory { .. } => Kind::FunctionOutOfMemory,
        Failure::OutputTooLarge { .. } => Kind::FunctionOutputTooLarge,
        Failure::NoCapacity => Kind::NoCapacity,
        Failure::OverLimit { .. } => Kind::TooManyCalls,
        Failure::HungUp => Kind::CallerGone,
        Failure::NotReady { .. } => Kind::FunctionNotReady,
        Failure::CannotStart { .. } => Kind::FunctionCannotStart,
        Failure::InitFailed { .. } => Kind::FunctionInitFailed,
        Failure::BadAnswer { .. } => Kind::FunctionBadAnswer,
        Failure::FunctionError { .. } | Failure::Status { .. } => Kind::FunctionError,
        Failure::TooDeep { .. } => Kind::CallLoop,
        Failure::IdentitySuspended => Kind::IdentitySuspended,
        Failure::IdentityUnavailable { .. } => Kind::FunctionIdentityUnavailable,
        Failure::Lost { .. } | Failure::Expired { .. } | Failure::Internal => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use picasso_types::CallId;

    use super::*;
    use crate::error::CallFault;

    fn message(failure: Failure, with_token: bool) -> String {
        let stderr = with_token.then(String::new);
        let call_id = CallId::generate();
        ApiError::Call(Box::new(CallFault { failure, retry_after: None, call_id, stderr })).message()
    }

    #[test]
    fn reasons_are_for_callers_with_a_token() {
        let secret = || "secret".to_owned();
        let failures = [
            Failure::CannotStart { reason: secret() },
            Failure::NotReady { reason: secret() },
            Failure::InitFailed { reason: secret() },
            Failure::BadAnswer { reason: secret() },
            Failure::FunctionError { error_type: secret(), message: secret() },
            Failure::IdentityUnavailable { reason: secret() },
        ];
        for failure in failures {
            assert!(message(failure.clone(), true).contains("secret"), "{failure:?}");
            assert!(!message(failure.clone(), false).contains("secret"), "{failure:?}");
        }
    }
}
