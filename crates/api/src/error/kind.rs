//! The stable names of everything that can go wrong, each with its one HTTP status.
//!
//! A kind is what programs may test for (`error.kind` and the header `Picasso-Error-Kind`);
//! `docs/errors.md` has a section for each of them and a test demands it.

use http::StatusCode;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident;)+) => {
        /// A stable name for what went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$doc])* $name),+
        }

        impl Kind {
            /// All kinds, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name as clients see it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),+
                }
            }

            /// The status of every answer of this kind.
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => StatusCode::$status),+
                }
            }
        }
    };
}

kinds! {
    /// No token, or one that is not accepted.
    Unauthorized = "unauthorized", UNAUTHORIZED;
    /// Keystone does not answer.
    IdentityUnavailable = "identity_unavailable", SERVICE_UNAVAILABLE;
    /// No policy rule allows it to the token.
    Forbidden = "forbidden", FORBIDDEN;
    /// The project of the URL is not the token's.
    ProjectNotFound = "project_not_found", NOT_FOUND;
    /// No such app in the project.
    AppNotFound = "app_not_found", NOT_FOUND;
    /// No such route in the app.
    RouteNotFound = "route_not_found", NOT_FOUND;
    /// The route has no such version.
    VersionNotFound = "version_not_found", NOT_FOUND;
    /// The route has no such alias.
    AliasNotFound = "alias_not_found", NOT_FOUND;
    /// No such trigger in the project.
    TriggerNotFound = "trigger_not_found", NOT_FOUND;
    /// No such image in the project.
    ImageNotFound = "image_not_found", NOT_FOUND;
    /// No such call in the project.
    CallNotFound = "call_not_found", NOT_FOUND;
    /// No result of the call is kept.
    ResultNotKept = "result_not_kept", NOT_FOUND;
    /// No public function answers this function URL.
    FunctionNotFound = "function_not_found", NOT_FOUND;
    /// The service has no such URL.
    UrlNotFound = "url_not_found", NOT_FOUND;
    /// The version of the API that is asked for is not here.
    VersionNotSupported = "version_not_supported", NOT_ACCEPTABLE;
    /// The URL exists, the method does not.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// The route has no identity.
    IdentityNotFound = "identity_not_found", NOT_FOUND;
    /// Only who granted the identity may do this.
    NotTheGrantor = "not_the_grantor", FORBIDDEN;
    /// The project has an app of this name.
    AppExists = "app_exists", CONFLICT;
    /// The app has a route for these paths and methods.
    RouteExists = "route_exists", CONFLICT;
    /// The route has an alias of this name.
    AliasExists = "alias_exists", CONFLICT;
    /// The project has a trigger of this name.
    TriggerExists = "trigger_exists", CONFLICT;
    /// The trigger's call is refused, and will be.
    TriggerRefused = "trigger_refused", CONFLICT;
    /// The trigger's call is refused now.
    TriggerBusy = "trigger_busy", SERVICE_UNAVAILABLE;
    /// The version cannot run.
    VersionNotReady = "version_not_ready", CONFLICT;
    /// The call has ended.
    CallFinished = "call_finished", CONFLICT;
    /// The call has not ended.
    CallNotFinished = "call_not_finished", CONFLICT;
    /// What the call's caller sent is not kept.
    CallBodyGone = "call_body_gone", CONFLICT;
    /// The idempotency key stands for another request.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY;
    /// Calls cause each other without end.
    CallLoop = "call_loop", LOOP_DETECTED;
    /// The app still has routes.
    AppHasRoutes = "app_has_routes", FORBIDDEN;
    /// A public run of a private route.
    PrivateRoute = "private_route", FORBIDDEN;
    /// The resource is not what `If-Match` expects.
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED;
    /// The route takes no public calls from this address.
    SourceNotAllowed = "source_not_allowed", FORBIDDEN;
    /// The route asks public callers for a JSON Web Token.
    JwtRefused = "jwt_refused", UNAUTHORIZED;
    /// The route asks public callers for a webhook's secret.
    WebhookRefused = "webhook_refused", UNAUTHORIZED;
    /// A count limit is reached.
    LimitReached = "limit_reached", FORBIDDEN;
    /// The body is not sent as JSON.
    InvalidContentType = "invalid_content_type", BAD_REQUEST;
    /// The body is not what the endpoint takes.
    InvalidBody = "invalid_body", BAD_REQUEST;
    /// One field of the request is refused.
    InvalidField = "invalid_field", BAD_REQUEST;
    /// The request claims to carry a CloudEvent and does not.
    InvalidEvent = "invalid_event", BAD_REQUEST;
    /// The request contradicts itself in where it ends.
    AmbiguousLength = "ambiguous_length", BAD_REQUEST;
    /// The image that was sent is refused.
    InvalidImage = "invalid_image", BAD_REQUEST;
    /// The image that was sent passes a bound of the store.
    ImageTooLarge = "image_too_large", PAYLOAD_TOO_LARGE;
    /// The request body is larger than the limit.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE;
    /// The request body ended before its end.
    BodyAborted = "body_aborted", BAD_REQUEST;
    /// The request body did not arrive in time.
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT;
    /// The function did not finish within its timeout.
    FunctionTimeout = "function_timeout", GATEWAY_TIMEOUT;
    /// The function exited with a code that is not 0.
    FunctionExited = "function_exited", BAD_GATEWAY;
    /// The function was ended by a signal.
    FunctionSignaled = "function_signaled", BAD_GATEWAY;
    /// The function ran out of memory.
    FunctionOutOfMemory = "function_out_of_memory", BAD_GATEWAY;
    /// The function wrote more than the limit.
    FunctionOutputTooLarge = "function_output_too_large", BAD_GATEWAY;
    /// The function's image is not ready yet.
    FunctionNotReady = "function_not_ready", SERVICE_UNAVAILABLE;
    /// The function's image could not be had.
    FunctionImageFailed = "function_image_failed", BAD_GATEWAY;
    /// The function's program could not be started.
    FunctionCannotStart = "function_cannot_start", BAD_GATEWAY;
    /// A hot sandbox of the function did not become ready.
    FunctionInitFailed = "function_init_failed", BAD_GATEWAY;
    /// The function's answer broke the contract of its format.
    FunctionBadAnswer = "function_bad_answer", BAD_GATEWAY;
    /// The function reported an error instead of an answer.
    FunctionError = "function_error", BAD_GATEWAY;
    /// The function's identity waits for the consent of who granted it.
    IdentitySuspended = "identity_suspended", CONFLICT;
    /// The function's identity could not be had.
    FunctionIdentityUnavailable = "function_identity_unavailable", SERVICE_UNAVAILABLE;
    /// No place to run the function became free in time.
    NoCapacity = "no_capacity", SERVICE_UNAVAILABLE;
    /// The project has as many calls, or as much memory, at one time as it may.
    TooManyCalls = "too_many_calls", TOO_MANY_REQUESTS;
    /// The project, or callers without a token, call too often.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS;
    /// The project has as many queued calls as it may.
    ProjectQueueFull = "project_queue_full", TOO_MANY_REQUESTS;
    /// The service has as many queued calls as it takes.
    ServiceQueueFull = "service_queue_full", SERVICE_UNAVAILABLE;
    /// The caller went away before the answer; nobody sees this but logs and metrics.
    CallerGone = "caller_gone", BAD_REQUEST;
    /// A part of the service does not answer.
    Unhealthy = "unhealthy", SERVICE_UNAVAILABLE;
    /// The database does not answer.
    DatabaseUnavailable = "database_unavailable", SERVICE_UNAVAILABLE;
    /// Zaqar, or the catalog that names it, does not answer.
    MessagingUnavailable = "messaging_unavailable", SERVICE_UNAVAILABLE;
    /// Barbican, or the catalog that names it, does not answer.
    KeyManagerUnavailable = "key_manager_unavailable", SERVICE_UNAVAILABLE;
    /// A policy server, which a rule asks, does not answer.
    PolicyUnavailable = "policy_unavailable", SERVICE_UNAVAILABLE;
    /// The store of large results and logs does not answer.
    OutputsUnavailable = "outputs_unavailable", SERVICE_UNAVAILABLE;
    /// A fault of the service.
    Internal = "internal", INTERNAL_SERVER_ERROR;
}
