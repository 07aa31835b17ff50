//! Wrapped runs, as the old service had them: a JSON object in, the printed text in JSON out.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::StatusCode;
use picasso_engine::{Answer, Lookup, Target};
use picasso_identity::policy::defaults as rule;
use picasso_store::StoreError;
use picasso_types::{Failure, FullName, PathParams, RouteType, Trigger};

use super::call_records::call_url;
use super::calls::Inbound;
use super::function_answer::check_status;
use super::function_urls::public_methods;
use crate::answers::accepted;
use crate::call_headers::with_call_id;
use crate::error::{ApiError, ErrorView};
use crate::microversion::Microversion;
use crate::request::auth::Allowed;
use crate::request::body::{read_all, ready};
use crate::request::context::RequestContext;
use crate::request::json::check_content_type;
use crate::request::origin::Origin;
use crate::request::path::RoutePath;
use crate::request::public_access::admit;
use crate::request::webhook::split_token;
use crate::state::ApiState;
use crate::views::{AcceptedAnswer, RunAnswer};

/// Run a function of the project, private or public. The body reaches its stdin byte for byte.
#[utoipa::path(
    post,
    path = "/v1/r/{project_id}/{app}/{*route}",
    tag = "runs",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("app" = String, Path, description = "The app's name, short or full"),
        ("route" = String, Path, description = "The path to run, without its leading slash; may have several segments"),
        ("X-Picasso-Invoke" = Option<String>, Header, description = "`sync` or `async`, where the route's `invoke` lists it"),
        ("X-Picasso-Delay" = Option<String>, Header, description = "Of an asynchronous call: seconds, or the time (RFC 3339), before which it does not run"),
        ("X-Picasso-Priority" = Option<u8>, Header, description = "Of an asynchronous call: 0 to 2, higher runs first; with a token only"),
        ("Idempotency-Key" = Option<String>, Header, description = "Of an asynchronous call: the same key within its window answers the same call"),
    ),
    request_body(description = "A JSON object, or nothing", content = Option<Object>),
    responses(
        (status = 200, description = "What a sync route's function answered; for an async route the id of the accepted call", body = RunOrAccepted),
        (status = 202, description = "The call of an async route was accepted and will run, from version 1.1 on", body = AcceptedAnswer, headers(("Location" = String, description = "The call's URL; with a token only"))),
        (status = 400, description = "The body is not a JSON object, or one of the headers is refused", body = ErrorView),
        (status = 404, description = "The project has no such app, or the app no such route", body = ErrorView),
        (status = 405, description = "The route does not take POST", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
        (status = 422, description = "The Idempotency-Key stands for another request", body = ErrorView),
        (status = 502, description = "The function failed: exit code, signal, out of memory, too much output, not ready, no valid answer, an error it reports", body = ErrorView),
        (status = 429, description = "The project has as many calls at one time, or queued, as it may, or calls come too often; see Retry-After", body = ErrorView),
        (status = 503, description = "No place to run, not ready yet, the service's queue is full, or Keystone does not answer; see Retry-After", body = ErrorView),
        (status = 504, description = "The function did not finish within its timeout", body = ErrorView),
        (status = 508, description = "Calls cause each other without end", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:function:invoke"]))
)]
pub(crate) async fn run_private(
    Allowed(auth, ..): Allowed<rule::InvokeFunction>,
    State(state): State<ApiState>,
    at: RoutePath,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let lookup = state
        .catalog
        .lookup(&auth.project, &at.app, &at.path, "POST")
        .await
        .map_err(|error| ApiError::store("looking up a route", error))?;
    let (target, params) = found(lookup, &at)?;
    run(&state, request, context, true, &at, target, params).await
}

/// Run a public function; the app by its full name. The body reaches its stdin byte for byte.
#[utoipa::path(
    post,
    path = "/r/{app}/{*route}",
    tag = "runs",
    params(
        ("app" = String, Path, description = "The app's full name"),
        ("route" = String, Path, description = "The path to run, without its leading slash; may have several segments"),
        ("X-Picasso-Invoke" = Option<String>, Header, description = "`sync` or `async`, where the route's `invoke` lists it"),
        ("X-Picasso-Delay" = Option<String>, Header, description = "Of an asynchronous call: seconds, or the time (RFC 3339), before which it does not run"),
        ("X-Picasso-Priority" = Option<u8>, Header, description = "Of an asynchronous call: 0 to 2, higher runs first; with a token only"),
        ("Idempotency-Key" = Option<String>, Header, description = "Of an asynchronous call: the same key within its window answers the same call"),
    ),
    request_body(description = "A JSON object, or nothing", content = Option<Object>),
    responses(
        (status = 200, description = "What a sync route's function answered; for an async route the id of the accepted call", body = RunOrAccepted),
        (status = 202, description = "The call of an async route was accepted and will run, from version 1.1 on", body = AcceptedAnswer, headers(("Location" = String, description = "The call's URL; with a token only"))),
        (status = 400, description = "The body is not a JSON object, or one of the headers is refused", body = ErrorView),
        (status = 401, description = "The route asks for a JSON Web Token or a webhook's secret", body = ErrorView),
        (status = 403, description = "The route is private (404 where the operator hides private routes), or takes no calls from this address", body = ErrorView),
        (status = 404, description = "No such app or route", body = ErrorView),
        (status = 405, description = "The route does not take POST", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
        (status = 422, description = "The Idempotency-Key stands for another request", body = ErrorView),
        (status = 502, description = "The function failed: exit code, signal, out of memory, too much output, not ready, no valid answer, an error it reports", body = ErrorView),
        (status = 429, description = "The project has as many calls at one time, or queued, as it may, or calls come too often; see Retry-After", body = ErrorView),
        (status = 503, description = "No place to run, not ready yet, or the service's queue is full; see Retry-After", body = ErrorView),
        (status = 504, description = "The function did not finish within its timeout", body = ErrorView),
        (status = 508, description = "Calls cause each other without end", body = ErrorView),
    )
)]
pub(crate) async fn run_public(
    State(state): State<ApiState>,
    at: RoutePath,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let Ok(app) = FullName::parse(&at.app) else {
        return Err(ApiError::AppNotFound(at.app));
    };
    let (token, path) = split_token(&at.path);
    let token = token.map(str::to_owned);
    let at = RoutePath { app: at.app.clone(), path: path.to_owned() };
    let internal = |error: StoreError| ApiError::store("looking up a route", error);
    let lookup = state.catalog.lookup_public(&app, &at.path, "POST").await.map_err(internal)?;
    if let Lookup::MethodNotAllowed(methods) = &lookup
        && state.settings.hide_private_routes
        && public_methods(&state, &app, None, &at.path, methods).await.map_err(internal)?.is_empty()
    {
        return Err(ApiError::RouteNotFound(at.path));
    }
    let (target, params) = found(lookup, &at)?;
    if !target.route.is_public {
        return Err(if state.settings.hide_private_routes {
            ApiError::RouteNotFound(at.path)
        } else {
            ApiError::PrivateRoute(at.path)
        });
    }
    let (mut parts, body) = request.into_parts();
    let body = admit(&state, &target, token.as_deref(), &mut parts, body).await?;
    run(&state, Request::from_parts(parts, body), context, false, &at, target, params).await
}

/// Either answer of a wrapped run.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub(crate) enum RunOrAccepted {
    /// Of a sync route.
    Run(RunAnswer),
    /// Of an async route.
    Accepted(AcceptedAnswer),
}

fn found(lookup: Lookup, at: &RoutePath) -> Result<(Arc<Target>, PathParams), ApiError> {
    match lookup {
        Lookup::Found(target, params) => Ok((target, params)),
        Lookup::NoApp => Err(ApiError::AppNotFound(at.app.clone())),
        Lookup::NoRoute => Err(ApiError::RouteNotFound(at.path.clone())),
        Lookup::MethodNotAllowed(allowed) => {
            Err(ApiError::MethodNotAllowed { method: "POST".to_owned(), allowed })
        }
    }
}

async fn run(
    state: &ApiState,
    request: Request,
    context: RequestContext,
    with_token: bool,
    at: &RoutePath,
    target: Arc<Target>,
    params: PathParams,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let Ok(version) = Microversion::from_request_parts(&mut parts, state).await;
    let Ok(origin) = Origin::from_request_parts(&mut parts, state).await;
    let settings = &state.settings;
    let base = settings.api_base.clone();
    let inbound = Inbound { parts, context, trigger: Trigger::Run, with_token, base };
    inbound.check_ready(&target)?;
    inbound.begin(state, &target)?;
    let wishes = inbound.wishes(state, &target)?;
    let body = read_all(body, settings.max_run_body_bytes, settings.body_timeout).await?;
    check_content_type(&inbound.parts.headers, &body)?;
    check_object(&body)?;

    let (app, project) = (target.app.full_name.clone(), target.app.project_id.clone());
    let invocation = inbound.invocation(target, params, ready(body));
    let call_id = invocation.call_id.clone();
    match wishes.call_type {
        RouteType::Sync => {
            let answer = state
                .engine
                .run(invocation)
                .await
                .map_err(|error| inbound.call_error(call_id.clone(), error))?;
            let (status, output) = collect(answer, settings.max_result_bytes)
                .await
                .map_err(|failure| inbound.failure(call_id.clone(), failure, &[], None))?;
            let message = format!("App {app} sync route {} execution finished", at.path);
            let view = RunOrAccepted::Run(run_answer(status, output, message));
            Ok(with_call_id(Json(view).into_response(), &call_id))
        }
        RouteType::Async => {
            let message = format!("App {app} async route {} execution started", at.path);
            let (call_id, view) = inbound.accept(state, invocation, wishes, message).await?;
            // The project's id is not for strangers.
            let at = with_token.then(|| call_url(state, &origin, &project, &call_id));
            Ok(with_call_id(accepted(version, at, RunOrAccepted::Accepted(view)), &call_id))
        }
    }
}

/// The old service took a JSON object or nothing.
fn check_object(body: &Bytes) -> Result<(), ApiError> {
    if body.is_empty() || serde_json::from_slice::<AnyObject>(body).is_ok() {
        return Ok(());
    }
    Err(ApiError::InvalidBody(
        "The request body is not a JSON object; send one or nothing, or use the function URL for other bodies"
            .to_owned(),
    ))
}

/// Accepts any JSON object without building it.
struct AnyObject;

impl<'de> serde::Deserialize<'de> for AnyObject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> serde::de::Visitor<'de> for Object {
            type Value = AnyObject;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<AnyObject, A::Error> {
                while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {}
                Ok(AnyObject)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The function's status, where its format has one, and its whole output in memory: a wrapped
/// answer begins only when the function has ended well.
async fn collect(answer: Answer, limit: u64) -> Result<(Option<StatusCode>, Bytes), Failure> {
    let Answer { head, first, rest } = answer;
    let status = head.map(|head| head.status);
    status.map_or(Ok(()), check_status)?;
    let mut output = BytesMut::from(first);
    if let Some(mut rest) = rest {
        while let Some(piece) = rest.next().await {
            output.extend_from_slice(&piece?);
            if output.len() as u64 > limit {
                break;
            }
        }
    }
    if output.len() as u64 > limit {
        return Err(Failure::OutputTooLarge { limit_bytes: limit });
    }
    Ok((status, output.freeze()))
}

fn run_answer(status: Option<StatusCode>, output: Bytes, message: String) -> RunAnswer {
    let (result, encoding) = match String::from_utf8(output.into()) {
        Ok(text) => (text, None),
        Err(binary) => (STANDARD.encode(binary.as_bytes()), Some("base64")),
    };
    let status = status.map(|status| status.as_u16()).filter(|status| *status >= 400);
    RunAnswer { result, encoding, status, message }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http::HeaderMap;
    use picasso_engine::AnswerHead;

    use super::*;

    #[test]
    fn only_an_object_or_nothing_is_a_body() {
        for good in ["", "{}", r#"{"a":[1,{"b":null}]}"#, " {} "] {
            assert!(check_object(&Bytes::from(good)).is_ok(), "{good:?}");
        }
        for bad in ["[]", "1", "null", "\"x\"", "{", "{}{}", "{\"a\"}", " "] {
            assert!(check_object(&Bytes::from(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn text_stays_text_and_other_bytes_become_base64() {
        let text = run_answer(None, Bytes::from("grüß"), String::new());
        assert_eq!((text.result.as_str(), text.encoding), ("grüß", None));
        let binary = run_answer(None, Bytes::from_static(&[0xff, 0x00]), String::new());
        assert_eq!((binary.result.as_str(), binary.encoding), ("/wA=", Some("base64")));
    }

    #[tokio::test]
    async fn a_functions_bad_status_stands_beside_its_result() {
        for (status, shown) in [(200, None), (302, None), (400, Some(400)), (599, Some(599))] {
            let status = StatusCode::from_u16(status).unwrap();
            let head = Some(AnswerHead { status, headers: HeaderMap::new() });
            let answer = Answer { head, first: Bytes::from("x"), rest: None };
            let (status, output) = collect(answer, 10).await.unwrap();
            let view = serde_json::to_value(run_answer(status, output, String::new())).unwrap();
            assert_eq!(view.get("status").and_then(serde_json::Value::as_u64), shown);
            assert_eq!(view["result"], "x");
        }
    }

    #[tokio::test]
    async fn a_failure_after_the_head_fails_the_whole_wrapped_run() {
        let rest = stream::iter([Ok(Bytes::from("b")), Err(Failure::Exit { code: 3 })]);
        let answer = Answer { head: None, first: Bytes::from("a"), rest: Some(Box::pin(rest)) };
        assert_eq!(collect(answer, 10).await, Err(Failure::Exit { code: 3 }));
    }

    #[tokio::test]
    async fn an_answer_over_the_limit_is_not_held_in_memory() {
        let rest = stream::repeat_with(|| Ok(Bytes::from("0123456789")));
        let answer = Answer { head: None, first: Bytes::new(), rest: Some(Box::pin(rest)) };
        assert_eq!(collect(answer, 100).await, Err(Failure::OutputTooLarge { limit_bytes: 100 }));
    }
}
