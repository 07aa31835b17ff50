//! Function URLs: any method, the request as it is, the function's bytes unwrapped.
//!
//! They live on a listener (origin) of their own, so that what a function answers cannot act on
//! the API or the console in a browser.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use picasso_engine::{Lookup, Target};
use picasso_identity::policy::defaults as rule;
use picasso_store::StoreError;
use picasso_types::{FullName, PathParams, RouteType, Selector, Trigger};

use super::calls::Inbound;
use super::function_answer::unwrapped;
use super::selection::draw;
use crate::call_headers::with_call_id;
use crate::error::{ApiError, ErrorView};
use crate::request::auth::Allowed;
use crate::request::body::streamed;
use crate::request::cloud_event::unfolded;
use crate::request::context::RequestContext;
use crate::request::cors::{self, preflight_method};
use crate::request::path::{FunctionPath, Wanted, function_path};
use crate::request::public_access::admit;
use crate::request::webhook::split_token;
use crate::state::ApiState;
use crate::views::AcceptedAnswer;

/// Call a public function. A private route and a missing one answer alike.
#[utoipa::path(
    method(get, head, post, put, patch, delete, options),
    path = "/f/{app}/{*route}",
    tag = "function URLs",
    params(
        ("app" = String, Path, description = "The app's full name, with `@ALIAS` for a public alias of the route"),
        ("route" = String, Path, description = "The path to call, without its leading slash; may have several segments"),
        ("X-Picasso-Invoke" = Option<String>, Header, description = "`sync` or `async`, where the route's `invoke` lists it"),
        ("X-Picasso-Delay" = Option<String>, Header, description = "Of an asynchronous call: seconds, or the time (RFC 3339), before which it does not run"),
        ("X-Picasso-Priority" = Option<u8>, Header, description = "Of an asynchronous call: 0 to 2, higher runs first; with a token only"),
        ("Idempotency-Key" = Option<String>, Header, description = "Of an asynchronous call: the same key within its window answers the same call"),
    ),
    request_body(description = "Anything; it is streamed to the function", content_type = "*/*", content = Vec<u8>),
    responses(
        (status = 200, description = "What the function answered, streamed. Functions of a hot format choose status and headers themselves; others answer 200", content_type = "*/*", body = Vec<u8>),
        (status = 202, description = "The call of an async route was accepted and will run", body = AcceptedAnswer),
        (status = 204, description = "The answer to a preflight, where the app has rules for pages of other origins"),
        (status = 401, description = "The route asks for a JSON Web Token or a webhook's secret", body = ErrorView),
        (status = 403, description = "The route takes no calls from this address", body = ErrorView),
        (status = 408, description = "The signed body did not arrive in time", body = ErrorView),
        (status = 400, description = "Something that claims to be a CloudEvent and is none, or one of the headers is refused", body = ErrorView),
        (status = 404, description = "No public function, or public alias, here", body = ErrorView),
        (status = 405, description = "The route does not take this method", body = ErrorView),
        (status = 413, description = "The body is too large", body = ErrorView),
        (status = 422, description = "The Idempotency-Key stands for another request", body = ErrorView),
        (status = 502, description = "The function failed: exit code, signal, out of memory, too much output, not ready, no valid answer, an error it reports", body = ErrorView),
        (status = 429, description = "The project has as many calls at one time, or queued, as it may, or calls come too often; see Retry-After", body = ErrorView),
        (status = 503, description = "No place to run, not ready yet, or the service's queue is full; see Retry-After", body = ErrorView),
        (status = 504, description = "The function did not finish within its timeout", body = ErrorView),
        (status = 508, description = "Calls cause each other without end", body = ErrorView),
    )
)]
pub(crate) async fn call_public(
    State(state): State<ApiState>,
    at: FunctionPath,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let (token, path) = split_token(&at.path);
    let named = at.written.strip_suffix(&at.path).unwrap_or_default();
    let missing = || ApiError::FunctionNotFound(function_path(named, path));
    let selector = match &at.wanted {
        Wanted::Active => None,
        Wanted::Selected(alias @ Selector::Alias(_)) => Some(alias),
        // Who has no token runs what the owner chose to show, not any version that there is.
        Wanted::Selected(Selector::Number(_)) | Wanted::Nothing => return Err(missing()),
    };
    let app = FullName::parse(&at.app).map_err(|_| missing())?;
    let method = request.method().as_str();
    let internal = |error: StoreError| ApiError::store("looking up a route", error);
    let select = async |method: &str| {
        state.catalog.select_public(&app, selector, path, method).await.map_err(internal)
    };
    if let Some(asked_for) = preflight_method(request.method(), request.headers())
        && let Lookup::Found(selected, _) = select(asked_for).await?
        && selected.is_public()
        && let Some(target) = draw(&selected, request.headers(), false).map(|drawn| drawn.target)
        && let Some(rules) = &target.app.cors
    {
        return Ok(cors::preflight_answer(rules, request.headers()));
    }
    match select(method).await? {
        Lookup::Found(selected, params) if selected.is_public() => {
            let drawn = draw(&selected, request.headers(), true).ok_or_else(missing)?;
            let settings = &state.settings;
            let secure = settings.functions_base.as_ref().is_some_and(|base| base.starts_with("https:"));
            let cookie = drawn.cookie.and_then(|cookie| cookie.header(named, secure));
            let rules = drawn.target.app.cors.clone();
            let asked = rules.as_ref().map(|_| request.headers().clone());
            let mut answer = call_admitted(&state, request, context, token, drawn.target, params).await;
            if let (Ok(response), Some(cookie)) = (&mut answer, cookie) {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            let (Some(rules), Some(asked)) = (rules, asked) else { return answer };
            // Also of an error: a page that may not read it would not learn what is wrong.
            let mut response = answer.into_response();
            cors::note(&rules, &asked, &mut response);
            Ok(response)
        }
        Lookup::MethodNotAllowed(methods) => {
            let public = public_methods(&state, &app, selector, path, &methods).await;
            let allowed = public.map_err(internal)?;
            if allowed.is_empty() {
                return Err(missing());
            }
            Err(ApiError::MethodNotAllowed { method: method.to_owned(), allowed })
        }
        Lookup::Found(..) | Lookup::NoApp | Lookup::NoRoute => Err(missing()),
    }
}

/// A call of a public route by one who shows what the route asks for.
async fn call_admitted(
    state: &ApiState,
    request: Request,
    context: RequestContext,
    token: Option<&str>,
    target: Arc<Target>,
    params: PathParams,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let body = admit(state, &target, token, &mut parts, body).await?;
    call(state, Request::from_parts(parts, body), context, false, target, params).await
}

/// Call a function of the project, private or public.
#[utoipa::path(
    method(get, head, post, put, patch, delete, options),
    path = "/v1/f/{project_id}/{app}/{*route}",
    tag = "function URLs",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("app" = String, Path, description = "The app's name, short or full, with `@ALIAS` or `@NUMBER` for other versions of the route than the active one"),
        ("route" = String, Path, description = "The path to call, without its leading slash; may have several segments"),
        ("X-Picasso-Invoke" = Option<String>, Header, description = "`sync` or `async`, where the route's `invoke` lists it"),
        ("X-Picasso-Delay" = Option<String>, Header, description = "Of an asynchronous call: seconds, or the time (RFC 3339), before which it does not run"),
        ("X-Picasso-Priority" = Option<u8>, Header, description = "Of an asynchronous call: 0 to 2, higher runs first; with a token only"),
        ("Idempotency-Key" = Option<String>, Header, description = "Of an asynchronous call: the same key within its window answers the same call"),
    ),
    request_body(description = "Anything; it is streamed to the function", content_type = "*/*", content = Vec<u8>),
    responses(
        (status = 200, description = "What the function answered, streamed. Functions of a hot format choose status and headers themselves; others answer 200", content_type = "*/*", body = Vec<u8>),
        (status = 202, description = "The call of an async route was accepted and will run", body = AcceptedAnswer),
        (status = 400, description = "Something that claims to be a CloudEvent and is none, or one of the headers is refused", body = ErrorView),
        (status = 404, description = "The project has no such function", body = ErrorView),
        (status = 405, description = "The route does not take this method", body = ErrorView),
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
pub(crate) async fn call_private(
    Allowed(auth, ..): Allowed<rule::InvokeFunction>,
    State(state): State<ApiState>,
    at: FunctionPath,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let missing = || ApiError::FunctionNotFound(at.written.clone());
    let selector = match &at.wanted {
        Wanted::Active => None,
        Wanted::Selected(selector) => Some(selector),
        Wanted::Nothing => return Err(missing()),
    };
    let method = request.method().as_str();
    let lookup = state
        .catalog
        .select(&auth.project, &at.app, selector, &at.path, method)
        .await
        .map_err(|error| ApiError::store("looking up a route", error))?;
    match lookup {
        Lookup::Found(selected, params) => {
            let drawn = draw(&selected, request.headers(), false).ok_or_else(missing)?;
            call(&state, request, context, true, drawn.target, params).await
        }
        Lookup::MethodNotAllowed(allowed) => {
            Err(ApiError::MethodNotAllowed { method: method.to_owned(), allowed })
        }
        Lookup::NoApp | Lookup::NoRoute => Err(missing()),
    }
}

/// Of the methods that a path takes, those whose route is public: the methods of a private route
/// would tell that it exists.
pub(super) async fn public_methods(
    state: &ApiState,
    app: &FullName,
    selector: Option<&Selector>,
    path: &str,
    methods: &[String],
) -> Result<Vec<String>, StoreError> {
    let mut public = Vec::new();
    for method in methods {
        if let Lookup::Found(selected, _) = state.catalog.select_public(app, selector, path, method).await?
            && selected.is_public()
        {
            public.push(method.clone());
        }
    }
    Ok(public)
}

async fn call(
    state: &ApiState,
    request: Request,
    context: RequestContext,
    with_token: bool,
    target: Arc<Target>,
    params: PathParams,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let settings = &state.settings;
    let base = settings.functions_base.clone();
    let mut inbound = Inbound { parts, context, trigger: Trigger::FunctionUrl, with_token, base };
    inbound.check_ready(&target)?;
    inbound.begin(state, &target)?;
    let wishes = inbound.wishes(state, &target)?;
    // A function that sees its request on stdin takes an event as it was sent.
    let body = if target.version.as_ref().is_some_and(|version| version.spec.format.is_hot()) {
        unfolded(&mut inbound.parts.headers, body, settings).await?
    } else {
        streamed(body, settings.max_function_body_bytes, settings.body_timeout)
    };
    let message =
        format!("App {} async route {} execution started", target.app.full_name, target.route.pattern);
    let project = target.app.project_id.clone();
    let invocation = inbound.invocation(target, params, body);
    let call_id = invocation.call_id.clone();
    match wishes.call_type {
        RouteType::Sync => {
            let answer = state
                .engine
                .run(invocation)
                .await
                .map_err(|error| inbound.call_error(call_id.clone(), error))?;
            let response = unwrapped(answer, &inbound.parts.method)
                .await
                .map_err(|failure| inbound.failure(call_id.clone(), failure, &[], None))?;
            Ok(with_call_id(response, &call_id))
        }
        RouteType::Async => {
            let (call_id, view) = inbound.accept(state, invocation, wishes, message).await?;
            let mut response = (StatusCode::ACCEPTED, Json(view)).into_response();
            // The call is a resource of the API's listener, whose name only the operator knows, and
            // of the project, whose id is not for strangers.
            if with_token && let Some(base) = &settings.api_base {
                let at = format!("{}/v1/{project}/calls/{call_id}", base.trim_end_matches('/'));
                if let Ok(at) = HeaderValue::from_str(&at) {
                    response.headers_mut().insert(header::LOCATION, at);
                }
            }
            Ok(with_call_id(response, &call_id))
        }
    }
}
