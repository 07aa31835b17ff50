//! Calls: `/r/{app}/{route}`, any method. One becomes an invocation like any other face's.

use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use picasso_engine::{AcceptError, AcceptOptions, Answer, Lookup, Target};
use picasso_types::{Format, ProjectId, RouteType, Trigger, VersionState};
use serde_json::json;

use super::IronState;
use super::answer::answer;
use super::answer_headers;
use super::apps::APP_MISSING;
use super::error::{IronError, from_store};
use super::path::RoutePath;
use crate::call_headers::with_call_id;
use crate::error::ApiError;
use crate::handlers::calls::{Inbound, body_error};
use crate::handlers::function_answer::unwrapped;
use crate::request::body::{ready, streamed};
use crate::request::context::RequestContext;
use crate::request::public_access::admit;
use crate::request::query::value;

const ROUTE_MISSING: &str = "Route not found on that application";

/// `/r/app` means `/r/app/`, as gin's router says it.
pub(super) async fn to_root(request: Request) -> Result<Response, IronError> {
    let uri = request.uri();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let to = HeaderValue::try_from(format!("{}/{query}", uri.path()))
        .map_err(|_| IronError::missing(APP_MISSING))?;
    let mut response = Response::default();
    *response.status_mut() = if request.method() == Method::GET {
        StatusCode::MOVED_PERMANENTLY
    } else {
        StatusCode::TEMPORARY_REDIRECT
    };
    response.headers_mut().insert(header::LOCATION, to);
    Ok(response)
}

pub(super) async fn call(
    State(state): State<IronState>,
    at: RoutePath,
    context: RequestContext,
    request: Request,
) -> Result<Response, IronError> {
    let project = ProjectId::ironfunctions();
    let lookup = state.api.catalog.lookup(&project, &at.app, &at.path, request.method().as_str()).await;
    let (target, params) = match lookup.map_err(from_store(APP_MISSING))? {
        // An app is known by its full name, too, which is not one of this face.
        Lookup::Found(target, _) if target.app.short_name.as_str() != at.app => {
            return Err(IronError::missing(APP_MISSING));
        }
        Lookup::Found(target, params) => (target, params),
        Lookup::NoApp => return Err(IronError::missing(APP_MISSING)),
        // Routes of this face take any method.
        Lookup::NoRoute | Lookup::MethodNotAllowed(_) => return Err(IronError::missing(ROUTE_MISSING)),
    };
    check_ready(&target)?;
    let (mut parts, body) = request.into_parts();
    let body = admit(&state.api, &target, None, &mut parts, body).await?;
    let limits = &state.api.settings;
    let body = if parts.method == Method::POST {
        streamed(body, limits.max_function_body_bytes, limits.body_timeout)
    } else {
        let payload = payload(&parts);
        // What the request said is the length of a body that is not passed on.
        parts.headers.remove(header::CONTENT_LENGTH);
        if !payload.is_empty() {
            parts.headers.insert(header::CONTENT_LENGTH, payload.len().into());
        }
        ready(payload)
    };
    let base = state.settings.base.clone();
    let inbound = Inbound { parts, context, trigger: Trigger::IronFunctions, with_token: false, base };
    inbound.begin(&state.api, &target)?;
    let route = target.route.clone();
    let invocation = inbound.invocation(target.clone(), params, body);
    let call_id = invocation.call_id.clone();
    if route.route_type == RouteType::Async {
        let accepted = state.api.engine.accept(invocation, AcceptOptions::default()).await;
        let accepted = accepted.map_err(|error| match error {
            AcceptError::Body(fault) => body_error(fault).into(),
            AcceptError::Refused(failure) => IronError::call(call_id, failure),
            AcceptError::QueueFull(_) => {
                IronError::new(StatusCode::INTERNAL_SERVER_ERROR, "The runner queue is full")
            }
            AcceptError::Store(error) => from_store(ROUTE_MISSING)(error),
            AcceptError::KeyOfOther => ApiError::IdempotencyKeyReused.into(),
        })?;
        let response = answer(StatusCode::ACCEPTED, &json!({"call_id": accepted.id.as_str()}));
        return Ok(with_call_id(response, &accepted.id));
    }
    let ran = state.api.engine.run(invocation).await.map_err(|error| match error.body_error {
        Some(fault) => body_error(fault).into(),
        None => IronError::call(call_id.clone(), error.failure),
    })?;
    let mut response = unwrapped(body_only(ran, &target), &inbound.parts.method)
        .await
        .map_err(|failure| IronError::call(call_id.clone(), failure))?;
    answer_headers::put(&route.delivery.answer_headers, response.headers_mut());
    Ok(with_call_id(response, &call_id))
}

/// Of IronFunctions' hot format only the body is an answer; the formats it does not have choose
/// status and headers themselves.
fn body_only(answer: Answer, target: &Target) -> Answer {
    let is_its_own = target.version.as_ref().is_some_and(|version| version.spec.format == Format::Http);
    if is_its_own { Answer { head: None, ..answer } } else { answer }
}

/// What reaches the function of a request without a body of its own.
fn payload(parts: &Parts) -> Bytes {
    let text = if parts.method == Method::GET { value(&parts.uri, "payload") } else { None };
    Bytes::from(text.unwrap_or_default())
}

fn check_ready(target: &Target) -> Result<(), IronError> {
    if target.version.is_some() {
        return Ok(());
    }
    let latest = &target.route.latest;
    Err(match latest.state {
        VersionState::Failed => IronError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!(
                "Failed to pull image '{}': {}",
                latest.spec.image,
                latest.error.as_deref().unwrap_or("no reason is known")
            ),
        ),
        VersionState::Preparing | VersionState::Ready => {
            ApiError::NotReady { path: target.route.pattern.to_string() }.into()
        }
    })
}
