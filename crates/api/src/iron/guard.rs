//! Who may speak to this face, before anything else is looked at.
//!
//! The face has no users and listens on loopback, where every web page in a browser of this machine
//! can send requests. A page whose own name is pointed at 127.0.0.1 (DNS rebinding) names that name
//! in `Host`; one that posts across origins names its own in `Origin`. Both are refused.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use serde_json::json;

use super::IronState;
use super::answer::answer;
use super::error::IronError;
use super::service_token;

/// Refuses hosts that are not this face's, and what web pages of other origins send to anything but
/// a function.
pub(super) async fn known_host(State(state): State<IronState>, request: Request, next: Next) -> Response {
    let allowed = &state.settings.allowed_hosts;
    if !host_is_known(request.uri(), request.headers(), allowed) {
        let text =
            "The Host of the request is not one of this service; listeners.iron.allowed_hosts lists them";
        return IronError::new(StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    if !request.uri().path().starts_with("/r/") && !origin_is_known(request.headers(), allowed) {
        let text = "Web pages of other origins are not answered here";
        return IronError::new(StatusCode::FORBIDDEN, text).into_response();
    }
    next.run(request).await
}

/// Asks for the service's token: on `/v1` where a key is set, on `/tasks` always, which hands out what
/// callers have sent.
pub(super) async fn service_token(State(state): State<IronState>, request: Request, next: Next) -> Response {
    let is_open = match &state.settings.service_key {
        None => !request.uri().path().starts_with("/tasks"),
        Some(key) => service_token::is_good(request.headers(), key, state.api.engine.now()),
    };
    if is_open {
        return next.run(request).await;
    }
    // Not the form of the other errors; clients know it so.
    answer(StatusCode::UNAUTHORIZED, &json!({"error": "Invalid API Authorization token."}))
}

fn host_is_known(uri: &Uri, headers: &HeaderMap, allowed: &[String]) -> bool {
    // A request may name its host in its target as well; neither may be another one.
    let target = uri.authority().is_none_or(|authority| is_allowed(authority.as_str(), allowed));
    let named = match one(headers, &header::HOST) {
        Ok(Some(host)) => is_allowed(host, allowed),
        Ok(None) => uri.authority().is_some(),
        Err(()) => false,
    };
    target && named
}

fn origin_is_known(headers: &HeaderMap, allowed: &[String]) -> bool {
    match one(headers, &header::ORIGIN) {
        Ok(None) => true,
        Ok(Some(origin)) => origin.split_once("://").is_some_and(|(_, host)| is_allowed(host, allowed)),
        Err(()) => false,
    }
}

/// The header's one value; an error where it is there twice or no text.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() { Err(()) } else { value.to_str().map(Some).map_err(|_| ()) }
}

/// Whether the list has the host with its port, or without any.
fn is_allowed(host: &str, allowed: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        // The colons of an IPv6 address are inside its brackets.
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    allowed.iter().any(|known| known.eq_ignore_ascii_case(host) || known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn known(target: &str, hosts: &[&'static str]) -> bool {
        let allowed = ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "fn.example.org"].map(str::to_owned);
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_static(host));
        }
        host_is_known(&target.parse().unwrap(), &headers, &allowed)
    }

    #[test]
    fn only_hosts_of_this_face_are_known() {
        for good in [
            "localhost:8080",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "fn.example.org",
            "fn.example.org:443",
        ] {
            assert!(known("/v1/apps", &[good]), "{good}");
        }
        for bad in [
            "evil.example:8080",
            "localhost",
            "localhost:81",
            "127.0.0.1",
            "[::1]",
            "",
            "localhost:8080.evil.example",
            "fn.example.org.evil:8080",
        ] {
            assert!(!known("/v1/apps", &[bad]), "{bad}");
        }
    }

    #[test]
    fn a_request_without_a_host_or_with_two_is_refused() {
        assert!(!known("/", &[]));
        assert!(!known("/", &["localhost:8080", "localhost:8080"]));
        assert!(!known("http://evil.example:8080/", &["localhost:8080"]));
        assert!(known("http://localhost:8080/", &["localhost:8080"]));
    }
}
