//! The URLs of webhooks, `/t/{token}` of the functions face: who has the URL may post to it.
//!
//! The sender is answered when the call is durable (202), or with the function's answer where the
//! trigger says `wait`. Zaqar never gets 429, which it takes for an end.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use picasso_identity::Presented;
use picasso_outbound::SubscriptionUrl;
use picasso_store::StoreError;
use picasso_trigger::webhook::{Confirmation, Posted, PostedFault, read};
use picasso_trigger::{Event, FireError, FireOptions, Fired};
use picasso_types::trigger::webhook::{Sender, Signature, WebhookOptions};
use picasso_types::trigger::{FiringOutcome, Trigger, TriggerKind, TriggerState};
use picasso_types::{CallId, SealedFor};

use super::calls::{Inbound, body_error};
use super::function_answer::unwrapped;
use crate::call_headers::with_call_id;
use crate::error::{ApiError, CallFault, ErrorView};
use crate::request::body::read_all;
use crate::request::context::RequestContext;
use crate::request::path::HookPath;
use crate::request::webhook::{is_signed, token_hash};
use crate::state::ApiState;
use crate::trigger_views::PostedAnswer;

/// Who asks in the handshake of `CloudEvents` webhooks, and who is told that it may.
const ORIGIN: &str = "webhook-request-origin";
const ALLOWED_ORIGIN: &str = "webhook-allowed-origin";
const ALLOWED_RATE: &str = "webhook-allowed-rate";

/// Post an event to a webhook.
#[utoipa::path(
    post,
    path = "/t/{hook}",
    tag = "webhooks",
    params(
        ("hook" = String, Path, description = "The secret of the trigger's URL, `~whp_` and 64 digits"),
        ("X-Hub-Signature-256" = Option<String>, Header, description = "`sha256=` and the HMAC-SHA256 of the body in hex, where the trigger asks for it"),
        ("X-Auth-Token" = Option<String>, Header, description = "A token of the trigger's project, where the trigger asks for it"),
        ("Idempotency-Key" = Option<String>, Header, description = "The event's id; the same one makes one call"),
    ),
    request_body(description = "What the trigger's sender sends: any data, a CloudEvent, an alarm of Aodh, a message of Zaqar", content_type = "*/*", content = Vec<u8>),
    responses(
        (status = 200, description = "Where the trigger says `wait`: what the function answered", content_type = "*/*", body = Vec<u8>),
        (status = 202, description = "The event's call is durable and will run, or the trigger passes the event over", body = PostedAnswer),
        (status = 400, description = "The body is not what the trigger's sender sends", body = ErrorView),
        (status = 401, description = "The signature or token that the trigger asks for is missing or wrong", body = ErrorView),
        (status = 404, description = "There is no such URL (any more)", body = ErrorView),
        (status = 409, description = "The call is refused: the route's version is gone, for one", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
        (status = 429, description = "Events come too often; see Retry-After", body = ErrorView),
        (status = 502, description = "Where the trigger says `wait`: the function failed", body = ErrorView),
        (status = 503, description = "The call cannot be accepted now; send the event again", body = ErrorView),
        (status = 504, description = "Where the trigger says `wait`: the function did not finish in time", body = ErrorView),
    )
)]
pub(crate) async fn receive_event(
    State(state): State<ApiState>,
    at: HookPath,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let (trigger, options) = find(&state, &at).await?;
    let (parts, body) = request.into_parts();
    if options.require_token {
        check_token(&state, &trigger, &parts).await?;
    }
    let settings = &state.settings;
    let body = read_all(body, settings.max_run_body_bytes, settings.body_timeout).await?;
    if options.signature == Signature::Github {
        check_signature(&state, &trigger, &parts.headers, &body)?;
    }
    let posted = read(&trigger.id, options.sender, &parts.headers, body).map_err(|fault| match fault {
        PostedFault::Event(fault) => ApiError::InvalidEvent(fault),
        PostedFault::Body(sentence) => ApiError::InvalidPosting(sentence),
    })?;
    let events = match posted {
        Posted::Confirmation(asked) => return confirm(&state, &trigger, asked).await,
        Posted::Events(events) => events,
    };
    if trigger.state != TriggerState::Active {
        let reason = format!("the trigger is {}", trigger.state);
        for event in &events {
            state.firer.note(&trigger, event, FiringOutcome::Skipped, Some(reason.clone()), None);
        }
        return Ok((StatusCode::ACCEPTED, Json(PostedAnswer::skipped(events.len(), &reason))).into_response());
    }
    let target = state.firer.target(&trigger).await?;
    let begun = state.engine.begin_call(&target, options.require_token);
    begun.map_err(|limited| match options.sender {
        Sender::Zaqar => ApiError::TriggerBusy("events come too often".to_owned()),
        _ => ApiError::RateLimited { limited, with_token: options.require_token },
    })?;
    let fire = FireOptions {
        request_id: Some(context.id.clone()),
        depth: picasso_engine::depth::of_request(&parts.headers),
        ..FireOptions::default()
    };
    match events.as_slice() {
        [event] if options.wait => {
            wait(&state, &trigger, event, fire, Inbound::of_webhook(parts, context)).await
        }
        events => accept(&state, &trigger, events, &fire).await,
    }
}

/// Answer the handshake of a sender of CloudEvents, which asks whether it may post.
#[utoipa::path(
    options,
    path = "/t/{hook}",
    tag = "webhooks",
    params(
        ("hook" = String, Path, description = "The secret of the trigger's URL, `~whp_` and 64 digits"),
        ("WebHook-Request-Origin" = Option<String>, Header, description = "Who asks, a host name"),
    ),
    responses(
        (status = 200, description = "It may, where `WebHook-Allowed-Origin` says so", headers(("Allow" = String, description = "POST"), ("WebHook-Allowed-Origin" = Option<String>, description = "Who may"), ("WebHook-Allowed-Rate" = Option<String>, description = "How many requests in a minute, `*`: any"))),
        (status = 404, description = "There is no such URL (any more)", body = ErrorView),
    )
)]
pub(crate) async fn answer_handshake(
    State(state): State<ApiState>,
    at: HookPath,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (_, options) = find(&state, &at).await?;
    let mut response = StatusCode::OK.into_response();
    response.headers_mut().insert("allow", HeaderValue::from_static("POST"));
    let asked = headers.get(ORIGIN).and_then(|value| value.to_str().ok());
    let is_allowed = |origin: &&str| {
        let allowed = &options.allowed_origins;
        allowed.is_empty() || allowed.iter().any(|one| one.eq_ignore_ascii_case(origin))
    };
    if let Some(origin) = asked.filter(is_allowed)
        && let Ok(origin) = HeaderValue::try_from(origin)
    {
        response.headers_mut().insert(ALLOWED_ORIGIN, origin);
        response.headers_mut().insert(ALLOWED_RATE, HeaderValue::from_static("*"));
    }
    Ok(response)
}

async fn find(state: &ApiState, at: &HookPath) -> Result<(Trigger, WebhookOptions), ApiError> {
    // Without the token: the answer is for whoever guessed.
    let missing = || ApiError::UrlNotFound("/t/…".to_owned());
    let token = at.0.as_deref().ok_or_else(missing)?;
    let trigger = match state.store.get_trigger_by_hook(&token_hash(token)).await {
        Ok(trigger) => trigger,
        Err(StoreError::NotFound) => return Err(missing()),
        Err(error) => return Err(ApiError::store("looking up a webhook", error)),
    };
    match &trigger.spec.kind {
        TriggerKind::Webhook(options) => {
            let options = options.clone();
            Ok((trigger, options))
        }
        _ => Err(missing()),
    }
}

/// The sender has a token of the trigger's project: Aodh's, by the trust of the alarm's owner.
async fn check_token(
    state: &ApiState,
    trigger: &Trigger,
    parts: &http::request::Parts,
) -> Result<(), ApiError> {
    let presented = Presented::new(&parts.headers, &parts.method, parts.uri.path())?;
    let caller = state.tokens.validate(&presented).await?;
    if caller.project_id() == Some(&trigger.project_id) {
        return Ok(());
    }
    Err(ApiError::HookRefused("the token is of another project"))
}

fn check_signature(
    state: &ApiState,
    trigger: &Trigger,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<(), ApiError> {
    let damaged = |error| ApiError::store("opening a webhook's key", error);
    let key = trigger.hook_key.as_ref();
    let key = key.ok_or_else(|| ApiError::internal("checking a signature", "the webhook has no key"))?;
    let key = state.store.open(SealedFor::TriggerKey(&trigger.id), key).map_err(damaged)?;
    if is_signed(headers, &key, body) {
        return Ok(());
    }
    Err(ApiError::HookRefused("X-Hub-Signature-256 is missing or wrong"))
}

/// Says yes to Zaqar, for a queue of the trigger's own project and at Zaqar's own URL.
async fn confirm(state: &ApiState, trigger: &Trigger, asked: Confirmation) -> Result<Response, ApiError> {
    let refused =
        |told: String| ApiError::InvalidPosting(format!("The subscription is not confirmed: {told}"));
    if asked.project != trigger.project_id.as_str() {
        return Err(refused("the queue is of another project".to_owned()));
    }
    let Some(zaqar) = &state.messaging else {
        return Err(refused("this service does not use Zaqar (messaging.enabled)".to_owned()));
    };
    let url = SubscriptionUrl {
        url: asked.url,
        signature: asked.signature,
        methods: asked.methods,
        paths: asked.paths,
        expires: asked.expires,
        project: asked.project,
    };
    let body = asked.body.to_string().into_bytes();
    zaqar.confirm(&url, body).await.map_err(|error| {
        if error.again { ApiError::TriggerBusy(error.reason) } else { refused(error.reason) }
    })?;
    tracing::info!(trigger = %trigger.id, project = %trigger.project_id, "a subscription of Zaqar is confirmed");
    Ok((StatusCode::ACCEPTED, Json(PostedAnswer::confirmed())).into_response())
}

/// Accepts the calls of all events. One that may work later makes the whole request one to repeat:
/// those that were accepted are then known by their ids.
async fn accept(
    state: &ApiState,
    trigger: &Trigger,
    events: &[Event],
    options: &FireOptions,
) -> Result<Response, ApiError> {
    let mut calls: Vec<CallId> = Vec::new();
    let (mut passed_over, mut refused) = (0, None);
    for event in events {
        match state.firer.fire(trigger, event, options.clone()).await {
            Ok(Fired::Accepted(call) | Fired::Duplicate(call)) => calls.push(call),
            Ok(Fired::Filtered) => passed_over += 1,
            Err(error @ FireError::Later(_)) => return Err(error.into()),
            Err(error @ FireError::Never(_)) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if calls.is_empty() && passed_over == 0 => Err(error.into()),
        _ => {
            let answer = Json(PostedAnswer::accepted(&calls, events.len()));
            let response = (StatusCode::ACCEPTED, answer).into_response();
            Ok(match calls.as_slice() {
                [call] => with_call_id(response, call),
                _ => response,
            })
        }
    }
}

/// Runs the function while the sender waits.
async fn wait(
    state: &ApiState,
    trigger: &Trigger,
    event: &Event,
    options: FireOptions,
    inbound: Inbound,
) -> Result<Response, ApiError> {
    if !picasso_trigger::is_taken(&trigger.spec.filter, event) {
        let answer = PostedAnswer::skipped(1, "the trigger's filter does not let it through");
        return Ok((StatusCode::ACCEPTED, Json(answer)).into_response());
    }
    let invocation = state.firer.invocation(trigger, event, &options).await?;
    let call_id = invocation.call_id.clone();
    state.firer.note(trigger, event, FiringOutcome::Accepted, None, Some(call_id.clone()));
    let answer = state.engine.run(invocation).await.map_err(|error| match error.body_error {
        Some(body) => body_error(body),
        None => ApiError::Call(Box::new(CallFault {
            failure: error.failure,
            retry_after: error.retry_after,
            call_id: call_id.clone(),
            stderr: None,
        })),
    })?;
    let response = unwrapped(answer, &inbound.parts.method).await;
    let response = response.map_err(|failure| inbound.failure(call_id.clone(), failure, &[], None))?;
    Ok(with_call_id(response, &call_id))
}
