//! A call as an FDK reads it.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::depth::DEPTH;
use crate::formats::context::{self, REQUEST_ID};
use crate::formats::exchange::RequestBody;
use crate::invocation::Invocation;

/// What the caller's headers are called for the function.
pub(super) const PREFIX: &str = "fn-http-h-";

const DEADLINE: HeaderName = HeaderName::from_static("fn-deadline");
const INTENT: HeaderName = HeaderName::from_static("fn-intent");
const METHOD: HeaderName = HeaderName::from_static("fn-http-method");
const URL: HeaderName = HeaderName::from_static("fn-http-request-url");

/// `POST /call` with the caller's request in its headers.
pub(super) fn request(invocation: &Invocation, body: RequestBody, deadline: Instant) -> Request<RequestBody> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static("/call");
    *request.headers_mut() = headers(invocation, deadline);
    request
}

fn headers(invocation: &Invocation, deadline: Instant) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(2 * invocation.headers.len() + 10);
    for (name, value) in &invocation.headers {
        if name == header::TRANSFER_ENCODING {
            // Of the exchange with the function, where the body streams.
            headers.insert(name, value.clone());
            continue;
        }
        if is_plain(name) {
            headers.append(name, value.clone());
        }
        if let Ok(prefixed) = HeaderName::try_from(format!("{PREFIX}{name}")) {
            headers.append(prefixed, value.clone());
        }
    }
    context::add_ids(&mut headers, invocation);
    headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    headers.insert(INTENT, HeaderValue::from_static("httprequest"));
    for (name, text) in [
        (DEADLINE, rfc3339(deadline)),
        (METHOD, invocation.method.to_string()),
        (URL, invocation.url.clone()),
    ] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
    headers
}

/// Headers that are for the FDK or for libraries that know nothing of Fn's prefix.
fn is_plain(name: &HeaderName) -> bool {
    const PLAIN: [HeaderName; 5] = [
        header::CONTENT_TYPE,
        REQUEST_ID,
        HeaderName::from_static("traceparent"),
        HeaderName::from_static("tracestate"),
        DEPTH,
    ];
    PLAIN.contains(name) || name.as_str().starts_with("ce-")
}

fn rfc3339(deadline: Instant) -> String {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = SignedDuration::try_from(left).unwrap_or(SignedDuration::MAX);
    let at = Timestamp::now().checked_add(left).unwrap_or(Timestamp::MAX);
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn an_fdk_finds_the_callers_request_in_its_headers() {
        let mut invocation = testing::invocation("/a");
        invocation.method = Method::PUT;
        invocation.url = "http://functions:10002/f/app/a?x=1".to_owned();
        for (name, value) in [
            ("host", "functions:10002"),
            ("content-type", "text/plain"),
            ("ce-type", "com.example"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("x-two", "a"),
            ("x-two", "b"),
            ("fn-http-method", "FORGED"),
        ] {
            invocation.headers.append(name, value.parse().unwrap());
        }
        let body = RequestBody::take(&mut invocation.headers, Box::pin(futures_util::stream::empty()));
        let body = body.await.unwrap();
        let before = Timestamp::now();
        let deadline = Instant::now() + Duration::from_secs(30);
        let request = request(&invocation, body, deadline);
        let headers = request.headers();
        assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::POST, "/call"));
        assert_eq!(headers["fn-call-id"], invocation.call_id.as_str());
        assert_eq!(headers["x-request-id"], invocation.request_id.as_str());
        assert_eq!(headers["fn-intent"], "httprequest");
        assert_eq!(headers["fn-http-method"], "PUT");
        assert_eq!(headers["fn-http-request-url"], "http://functions:10002/f/app/a?x=1");
        assert_eq!(headers["fn-http-h-host"], "functions:10002");
        assert_eq!(headers["fn-http-h-content-type"], "text/plain");
        assert_eq!(headers["content-type"], "text/plain");
        assert_eq!(headers["ce-type"], "com.example");
        assert!(headers.contains_key("traceparent"));
        assert_eq!(headers.get_all("fn-http-h-x-two").iter().count(), 2);
        assert!(!headers.contains_key("x-two"), "only the prefixed form");
        assert_eq!(headers["fn-http-h-fn-http-method"], "FORGED");
        let deadline: Timestamp = headers["fn-deadline"].to_str().unwrap().parse().unwrap();
        let left = deadline.duration_since(before).as_secs();
        assert!((29..=31).contains(&left), "{left} s");
    }
}
