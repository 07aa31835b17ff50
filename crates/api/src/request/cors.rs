//! Cross-origin resource sharing of function URLs (Fetch standard): answers to preflights, and what
//! answers say to pages of other origins, by the rules of the function's app.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use picasso_types::CorsRules;

/// Headers that answers to pages of other origins get; they travel in the answer's extensions, as the
/// bodies and headers of errors are written last.
#[derive(Debug, Clone, Default)]
pub(crate) struct CorsHeaders(HeaderMap);

/// The method that a preflight asks for; `None` for any other request.
pub(crate) fn preflight_method<'a>(method: &Method, headers: &'a HeaderMap) -> Option<&'a str> {
    if *method != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.to_str().ok()
}

/// The answer to a preflight; what is not allowed is not in it, and the browser refuses by itself.
pub(crate) fn preflight_answer(rules: &CorsRules, request: &HeaderMap) -> Response {
    let mut headers = HeaderMap::new();
    let depends_on = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    headers.insert(header::VARY, HeaderValue::from_static(depends_on));
    if say_origin(rules, request, &mut headers) {
        say_list(&rules.allow_methods, &header::ACCESS_CONTROL_ALLOW_METHODS, &mut headers);
        say_list(&rules.allow_headers, &header::ACCESS_CONTROL_ALLOW_HEADERS, &mut headers);
        if let Some(age) = rules.max_age_s {
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(age));
        }
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.extensions_mut().insert(CorsHeaders(headers));
    response
}

/// Notes what the answer of a function, or an error in its place, says to the page that asked.
pub(crate) fn note(rules: &CorsRules, request: &HeaderMap, response: &mut Response) {
    let mut headers = HeaderMap::new();
    if !rules.any_origin() {
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    if say_origin(rules, request, &mut headers) {
        say_list(&rules.expose_headers, &header::ACCESS_CONTROL_EXPOSE_HEADERS, &mut headers);
    }
    response.extensions_mut().insert(CorsHeaders(headers));
}

/// Puts into an answer what was noted for it. Rules of the app take the place of everything that the
/// function itself says about other origins: two would contradict each other.
pub(crate) fn apply(noted: Option<CorsHeaders>, headers: &mut HeaderMap) {
    let Some(CorsHeaders(noted)) = noted else { return };
    let own: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in own {
        headers.remove(name);
    }
    for (name, value) in noted {
        if let Some(name) = name {
            // A function may say that its answer depends on more.
            headers.append(name, value);
        }
    }
}

/// Whether the origin is allowed; the answer says so then.
fn say_origin(rules: &CorsRules, request: &HeaderMap, headers: &mut HeaderMap) -> bool {
    let origin = request.get(header::ORIGIN).and_then(|value| value.to_str().ok());
    let Some(allowed) = origin.and_then(|origin| rules.origin_for(origin)) else { return false };
    let Ok(value) = HeaderValue::from_str(allowed) else { return false };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
    if rules.allow_credentials {
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    true
}

fn say_list(list: &[String], name: &HeaderName, headers: &mut HeaderMap) {
    if !list.is_empty()
        && let Ok(value) = HeaderValue::from_str(&list.join(", "))
    {
        headers.insert(name.clone(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_take_the_place_of_what_the_function_says_and_leave_its_vary() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert("access-control-allow-private-network", HeaderValue::from_static("true"));
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        let mut without = headers.clone();
        apply(None, &mut without);
        assert_eq!(without, headers, "an app without rules leaves that to its functions");
        let mut noted = HeaderMap::new();
        noted.insert(header::VARY, HeaderValue::from_static("Origin"));
        apply(Some(CorsHeaders(noted)), &mut headers);
        let vary: Vec<_> = headers.get_all(header::VARY).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!((headers.len(), vary), (2, vec![&b"Accept"[..], &b"Origin"[..]]));
    }

    #[test]
    fn only_an_options_request_with_origin_and_method_is_a_preflight() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT"));
        assert_eq!(preflight_method(&Method::OPTIONS, &headers), None);
        headers.insert(header::ORIGIN, HeaderValue::from_static("https://a.example"));
        assert_eq!(preflight_method(&Method::OPTIONS, &headers), Some("PUT"));
        assert_eq!(preflight_method(&Method::GET, &headers), None);
    }
}
