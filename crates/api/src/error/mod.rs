//! The one error of the edge: what happened, in words for the caller, with its HTTP form.
//!
//! Domain errors know no HTTP; they become an [`ApiError`] in a handler. Its body and headers are
//! written in one place ([`render`]), by the request layer that knows the request id.

mod kind;
mod message;
mod render;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use picasso_engine::{QueueFull, RateLimited};
use picasso_identity::AuthError;
use picasso_identity::policy::RemoteFault;
use picasso_store::StoreError;
use picasso_trigger::FireError;
use picasso_types::cloud_event::EventFault;
use picasso_types::{CallId, CallState, Failure, FieldFault, OverLimit};

pub use kind::Kind;
pub(crate) use render::{ERROR_KIND, ErrorView, log, render, retry_after};

/// Why a request was not answered as asked.
#[derive(Debug)]
pub enum ApiError {
    /// No token, or one that Keystone does not accept; the reason is safe to show.
    Unauthorized(&'static str),
    /// Keystone does not answer.
    IdentityUnavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// A policy rule does not allow it to this token in any project.
    Forbidden {
        /// The rule.
        rule: &'static str,
        /// The least role that the rule asks for, where it is the default.
        needs: Option<&'static str>,
    },
    /// A policy server, which a rule asks, gave no usable answer; the log has the reason.
    PolicyUnavailable(InternalFault),
    /// The project of the URL is not the token's, or does not exist.
    ProjectNotFound(String),
    /// No such app in the project.
    AppNotFound(String),
    /// No such route in the app; holds its path with the leading slash.
    RouteNotFound(String),
    /// The route has no version of this number, or not any more.
    VersionNotFound(String),
    /// The route has no such alias.
    AliasNotFound(String),
    /// The route has no identity; holds its id.
    IdentityNotFound(String),
    /// Who asks is not who granted the identity, or asks with a token that cannot grant anything.
    NotTheGrantor,
    /// No such image in the project.
    ImageNotFound(String),
    /// No such call in the project.
    CallNotFound(String),
    /// No result of the call is kept.
    ResultNotKept(String),
    /// The call has ended, in this state.
    CallFinished(CallState),
    /// The call has not ended.
    CallNotFinished(CallState),
    /// What the call's caller sent is not kept.
    CallBodyGone,
    /// The idempotency key stands for another request.
    IdempotencyKeyReused,
    /// No function answers this function URL.
    FunctionNotFound(String),
    /// The service has no such URL.
    UrlNotFound(String),
    /// The version of the API that is asked for is not here.
    VersionNotSupported(String),
    /// The URL exists, the method does not. `Allow` is set where the methods are known here.
    MethodNotAllowed {
        /// The method that was used.
        method: String,
        /// The methods that work; empty where the router fills `Allow` in itself.
        allowed: Vec<String>,
    },
    /// The project has an app of this name.
    AppExists(String),
    /// The app has a route for these paths and methods.
    RouteExists {
        /// The app.
        app: String,
        /// The route's path.
        path: String,
    },
    /// The route has an alias of this name.
    AliasExists(String),
    /// The project has no trigger of this name or id.
    TriggerNotFound(String),
    /// The project has a trigger of this name.
    TriggerExists(String),
    /// The trigger's call is refused, and will be; a sentence.
    TriggerRefused(String),
    /// The trigger's call is refused now; a sentence.
    TriggerBusy(String),
    /// The route's version cannot run.
    VersionNotReady {
        /// Its number.
        number: u32,
        /// Why, where more is known than its state.
        reason: Option<String>,
    },
    /// The app still has routes.
    AppHasRoutes(String),
    /// A public run of a private route.
    PrivateRoute(String),
    /// The resource is not what `If-Match` expects.
    PreconditionFailed,
    /// The project would pass a limit.
    OverLimit(OverLimit),
    /// The route has as many aliases as this, its limit.
    TooManyAliases(u32),
    /// A public call from an address that the route does not list.
    SourceNotAllowed,
    /// A public call without a JSON Web Token that the route takes; the reason is safe to show.
    JwtRefused(&'static str),
    /// A public call without a webhook secret that the route takes; the reason is safe to show.
    WebhookRefused(&'static str),
    /// The project has as many queued calls as this, its limit.
    ProjectQueueFull(u64),
    /// The service has as many queued calls as it takes.
    ServiceQueueFull,
    /// A body that is not declared as JSON.
    InvalidContentType,
    /// The body is not what the endpoint takes; a sentence.
    InvalidBody(String),
    /// One field is refused.
    InvalidField(FieldFault),
    /// Something that claims to be a CloudEvent and is none.
    InvalidEvent(EventFault),
    /// Both `Content-Length` and `Transfer-Encoding`.
    AmbiguousLength,
    /// The uploaded image is refused; a sentence.
    InvalidImage(String),
    /// The uploaded image passes a bound; a sentence.
    ImageTooLarge(String),
    /// Larger than the limit, bytes.
    BodyTooLarge(u64),
    /// The body ended early.
    BodyAborted,
    /// The body did not arrive in time.
    BodyTimeout,
    /// Too many calls in too short a time.
    RateLimited {
        /// Whose rate it is, and how high.
        limited: RateLimited,
        /// Whether the caller has a token: others do not read the limits of a project.
        with_token: bool,
    },
    /// A call failed before its answer began.
    Call(Box<CallFault>),
    /// The route's first version is still being made ready.
    NotReady {
        /// The route's path.
        path: String,
    },
    /// The image of the route could not be had; the reason is for its project only.
    ImageFailed {
        /// The route's path.
        path: String,
        /// Why, for callers with a token.
        reason: Option<String>,
    },
    /// The database does not answer; the log has the reason.
    DatabaseUnavailable(InternalFault),
    /// Zaqar, or the catalog that names it, does not answer; the log has the reason.
    MessagingUnavailable(InternalFault),
    /// Barbican, or the catalog that names it, does not answer; the log has the reason.
    KeyManagerUnavailable(InternalFault),
    /// The store of large results and logs does not answer; the log has the reason.
    OutputsUnavailable(InternalFault),
    /// A fault of the service. The caller sees a fixed sentence, the log the whole chain.
    Internal(InternalFault),
}

/// A failed call, with what its caller may see of it.
#[derive(Debug)]
pub struct CallFault {
    /// What happened.
    pub failure: Failure,
    /// When to try again, where that helps.
    pub retry_after: Option<Duration>,
    /// The call.
    pub call_id: CallId,
    /// The last up to 4 KiB of stderr, as text; `None` for a caller without a token, who sees no
    /// more than what kind of failure it was.
    pub stderr: Option<String>,
}

/// The internal half of an error: it can be logged but has no `Display`, so it cannot end up in
/// an answer by accident.
#[derive(Debug)]
pub struct InternalFault {
    context: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

impl InternalFault {
    /// What was being done and every cause below it, in one line for the log.
    pub(crate) fn chain(&self) -> String {
        let mut text = format!("{}: {}", self.context, self.source);
        let mut cause = self.source.source();
        while let Some(next) = cause {
            text.push_str(": ");
            text.push_str(&next.to_string());
            cause = next.source();
        }
        text
    }
}

impl ApiError {
    /// A fault of ours while doing `context`.
    pub(crate) fn internal(context: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Internal(InternalFault { context, source: source.into() })
    }

    /// A store that failed while doing `context`: ours, or a database that will answer again.
    pub(crate) fn store(context: &'static str, error: StoreError) -> Self {
        match error {
            error @ StoreError::Unavailable { .. } => {
                Self::DatabaseUnavailable(InternalFault { context, source: error.into() })
            }
            error => Self::internal(context, error),
        }
    }

    /// Zaqar, or the catalog that names it, did not answer as it should.
    pub(crate) fn messaging(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let context = "asking for leave to post into a queue of Zaqar";
        Self::MessagingUnavailable(InternalFault { context, source: source.into() })
    }

    /// Barbican, or the catalog that names it, did not answer as it should.
    pub(crate) fn key_manager(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let context = "reading a secret of Barbican";
        Self::KeyManagerUnavailable(InternalFault { context, source: source.into() })
    }

    /// The store of large outputs failed while doing `context`.
    pub(crate) fn outputs_unavailable(
        context: &'static str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::OutputsUnavailable(InternalFault { context, source: source.into() })
    }

    /// A fault of a field inside the wrapper object `parent` (`route`, `app`).
    pub(crate) fn field_of(parent: &str, fault: FieldFault) -> Self {
        Self::InvalidField(FieldFault { field: format!("{parent}.{}", fault.field), ..fault })
    }
}

impl From<FieldFault> for ApiError {
    fn from(fault: FieldFault) -> Self {
        Self::InvalidField(fault)
    }
}

impl From<QueueFull> for ApiError {
    fn from(full: QueueFull) -> Self {
        match full {
            QueueFull::Project(limit) => Self::ProjectQueueFull(limit),
            QueueFull::Service(_) => Self::ServiceQueueFull,
        }
    }
}

impl From<FireError> for ApiError {
    fn from(error: FireError) -> Self {
        match error {
            FireError::Never(reason) => Self::TriggerRefused(reason),
            FireError::Later(reason) => Self::TriggerBusy(reason),
        }
    }
}

impl From<RemoteFault> for ApiError {
    fn from(fault: RemoteFault) -> Self {
        Self::PolicyUnavailable(InternalFault { context: "asking a policy server", source: fault.into() })
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unauthorized { reason } => Self::Unauthorized(reason),
            AuthError::Unavailable { retry_after } => Self::IdentityUnavailable { retry_after },
        }
    }
}

/// Says which resource a store's `NotFound` is about, and makes the rest ours or the caller's.
pub(crate) fn from_store(missing: impl FnOnce() -> ApiError) -> impl FnOnce(StoreError) -> ApiError {
    move |error| match error {
        StoreError::NotFound => missing(),
        StoreError::OverLimit(over) => ApiError::OverLimit(over),
        StoreError::TooManyAliases(limit) => ApiError::TooManyAliases(limit),
        StoreError::VersionNotFound(number) => ApiError::VersionNotFound(number.to_string()),
        StoreError::VersionNotReady(number) => ApiError::VersionNotReady { number, reason: None },
        StoreError::Changed => ApiError::PreconditionFailed,
        error @ (StoreError::AppExists
        | StoreError::AliasExists
        | StoreError::TriggerExists
        | StoreError::AppHasRoutes
        | StoreError::RouteExists
        | StoreError::SchemaMismatch { .. }
        | StoreError::Damaged { .. }
        | StoreError::Unavailable { .. }
        | StoreError::Database { .. }) => ApiError::store("using the store", error),
    }
}

/// The error travels to the request layer in the answer's extensions; only that layer knows the
/// request id and writes body and headers.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.kind().status().into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}
