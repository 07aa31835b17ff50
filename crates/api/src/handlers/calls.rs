//! What runs and function URLs share: from a request to an [`Invocation`], and from what became
//! of it to an error of the edge.

use std::sync::Arc;

use http::request::Parts;
use picasso_engine::{
    AcceptError, AcceptOptions, AcceptedCall, Body, BodyError, CallError, Invocation, Target, depth,
};
use picasso_types::{CallId, CallState, Failure, PathParams, Trigger, VersionState};

use crate::error::{ApiError, CallFault, from_store};
use crate::request::context::RequestContext;
use crate::request::headers::{Credentials, cleaned};
use crate::request::origin::Origin;
use crate::request::trace::{bound_request_id, carry_trace};
use crate::request::webhook::without_token;
use crate::request::wishes::CallWishes;
use crate::state::ApiState;
use crate::views::AcceptedAnswer;

/// A request on its way to a function: everything but which function.
pub(crate) struct Inbound {
    pub(crate) parts: Parts,
    pub(crate) context: RequestContext,
    pub(crate) trigger: Trigger,
    /// Whether the caller showed a token: it sees more of a failure, and `Authorization` is ours.
    pub(crate) with_token: bool,
    /// The listener's base URL as clients see it, where it is configured.
    pub(crate) base: Option<String>,
}

impl Inbound {
    /// What a webhook's sender posted; it has no token of ours to see more by.
    pub(crate) const fn of_webhook(parts: Parts, context: RequestContext) -> Self {
        Self { parts, context, trigger: Trigger::Webhook, with_token: false, base: None }
    }

    /// The call of `target` that this request means.
    pub(crate) fn invocation(&self, target: Arc<Target>, params: PathParams, body: Body) -> Invocation {
        let call_id = CallId::generate();
        self.context.note_call(&call_id, &target);
        let credentials = if self.with_token { Credentials::Ours } else { Credentials::Functions };
        let mut headers = cleaned(&self.parts.headers, credentials);
        carry_trace(&mut headers);
        bound_request_id(&mut headers);
        Invocation {
            call_id,
            request_id: self.context.id.clone(),
            trigger: self.trigger,
            client: self.context.client,
            target,
            method: self.parts.method.clone(),
            url: self.url(),
            headers,
            params,
            depth: depth::of_request(&self.parts.headers),
            body,
            kept: None,
        }
    }

    /// What the caller asks of the call; a fault names the header.
    pub(crate) fn wishes(&self, state: &ApiState, target: &Target) -> Result<CallWishes, ApiError> {
        let bounds = &state.settings.bounds;
        let now = state.engine.now();
        Ok(CallWishes::read(&self.parts.headers, &target.route, self.with_token, bounds, now)?)
    }

    /// Accepts an asynchronous call; `message` says what was done when it is new.
    pub(crate) async fn accept(
        &self,
        state: &ApiState,
        invocation: Invocation,
        wishes: CallWishes,
        message: String,
    ) -> Result<(CallId, AcceptedAnswer), ApiError> {
        if let Some(url) = &wishes.callback_url {
            let refused = |fault: picasso_outbound::TargetFault| {
                picasso_types::FieldFault::new("X-Callback-Url", fault.to_string())
            };
            state.engine.check_target(url).map_err(refused)?;
        }
        let call_id = invocation.call_id.clone();
        let options = AcceptOptions {
            not_before: wishes.not_before,
            priority: wishes.priority,
            idempotency_key: wishes.idempotency_key,
            callback_url: wishes.callback_url,
        };
        let accepted = state.engine.accept(invocation, options).await;
        let AcceptedCall { id, is_new } = accepted.map_err(|error| accept_error(self, call_id, error))?;
        let (status, message) = if is_new {
            (CallState::Queued, message)
        } else {
            let missing = || ApiError::CallNotFound(id.to_string());
            let before = state.store.get_call(&id).await.map_err(from_store(missing))?;
            (before.state, "The call of this Idempotency-Key was accepted before".to_owned())
        };
        let view = AcceptedAnswer { call_id: id.to_string(), status: status.as_str(), message };
        Ok((id, view))
    }

    /// The absolute URL as the caller wrote it.
    fn url(&self) -> String {
        let uri = &self.parts.uri;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        // A token in it was for us.
        let path = without_token(path);
        let path = query.map_or_else(|| path.to_string(), |query| format!("{path}?{query}"));
        // HTTP/1.0 and broken clients may send no usable Host.
        let origin = self.parts.extensions.get::<Origin>();
        let base = origin.map_or("", |origin| origin.base(self.base.as_deref()));
        format!("{}{path}", if base.is_empty() { "http://localhost" } else { base })
    }

    /// Refuses a target that has no version to run, with the reason for those who may know it.
    pub(crate) fn check_ready(&self, target: &Target) -> Result<(), ApiError> {
        if target.version.is_some() {
            return Ok(());
        }
        let path = target.route.pattern.to_string();
        let latest = &target.route.latest;
        Err(match latest.state {
            VersionState::Failed => {
                ApiError::ImageFailed { path, reason: latest.error.clone().filter(|_| self.with_token) }
            }
            VersionState::Preparing | VersionState::Ready => ApiError::NotReady { path },
        })
    }

    /// Counts a call that begins; refuses it where calls come too often.
    pub(crate) fn begin(&self, state: &ApiState, target: &Target) -> Result<(), ApiError> {
        let with_token = self.with_token;
        let begun = state.engine.begin_call(target, with_token);
        begun.map_err(|limited| ApiError::RateLimited { limited, with_token })
    }

    /// What the caller of a failed call sees.
    pub(crate) fn call_error(&self, call_id: CallId, error: CallError) -> ApiError {
        if let Some(body) = error.body_error {
            return body_error(body);
        }
        self.failure(call_id, error.failure, &error.stderr_tail, error.retry_after)
    }

    /// What the caller sees of a failure.
    pub(crate) fn failure(
        &self,
        call_id: CallId,
        failure: Failure,
        stderr: &[u8],
        retry_after: Option<std::time::Duration>,
    ) -> ApiError {
        let stderr = self.with_token.then(|| String::from_utf8_lossy(stderr).into_owned());
        ApiError::Call(Box::new(CallFault { failure, retry_after, call_id, stderr }))
    }
}

/// What the caller of an asynchronous call that was not accepted sees.
fn accept_error(inbound: &Inbound, call_id: CallId, error: AcceptError) -> ApiError {
    match error {
        AcceptError::Body(body) => body_error(body),
        AcceptError::Refused(failure) => inbound.failure(call_id, failure, &[], None),
        AcceptError::KeyOfOther => ApiError::IdempotencyKeyReused,
        AcceptError::QueueFull(full) => full.into(),
        AcceptError::Store(error) => {
            // The route or app can go between look-up and acceptance.
            let path = inbound.parts.uri.path().to_owned();
            from_store(|| ApiError::UrlNotFound(path))(error)
        }
    }
}

pub(crate) fn body_error(error: BodyError) -> ApiError {
    match error {
        BodyError::TooLarge(limit) => ApiError::BodyTooLarge(limit),
        BodyError::Aborted => ApiError::BodyAborted,
    }
}
