//! A call as a server behind a proxy reads it.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};

use crate::formats::context;
use crate::formats::exchange::RequestBody;
use crate::hot::link::LinkFault;
use crate::invocation::Invocation;
use picasso_types::Failure;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The caller's request: its method, the part of its path that is the function's, its headers,
/// and where it came from.
pub(super) fn request(invocation: &Invocation, body: RequestBody) -> Result<Request<RequestBody>, LinkFault> {
    let place = Place::of(&invocation.url);
    let uri = place.target.parse::<Uri>().map_err(|error| {
        tracing::error!(%error, url = invocation.url, "a function's URL has no path of its own");
        LinkFault::Failed(Failure::Internal)
    })?;
    let mut request = Request::new(body);
    *request.method_mut() = invocation.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers(invocation, &place);
    Ok(request)
}

/// Where a function's URL leads, as its server sees it.
struct Place<'a> {
    scheme: &'a str,
    host: &'a str,
    /// Path and query below the app: `/users/7?x=1` of `https://host/f/app/users/7?x=1`.
    target: String,
}

impl<'a> Place<'a> {
    fn of(url: &'a str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (host, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (path, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let below = below_app(path);
        let slash = if below.starts_with('/') { "" } else { "/" };
        Self { scheme, host, target: format!("{slash}{below}{query}") }
    }
}

/// What follows the app in `/f/{app}/…`, `/v1/f/{project}/{app}/…` and their `r` siblings, whatever
/// path a proxy has put in front.
fn below_app(path: &str) -> &str {
    let first = |marker| path.find(marker).map(|at| (at, at + 3));
    let marker = [first("/f/"), first("/r/")].into_iter().flatten().min();
    let Some((at, behind)) = marker else { return path };
    let segments = if path[..at].ends_with("/v1") { 2 } else { 1 };
    let mut rest = &path[behind..];
    for _ in 0..segments {
        let Some(slash) = rest.find('/') else { return "" };
        rest = &rest[slash + 1..];
    }
    // The slash before it is the caller's.
    &path[path.len() - rest.len() - 1..]
}

fn headers(invocation: &Invocation, place: &Place<'_>) -> HeaderMap {
    let mut headers = invocation.headers.clone();
    // Bodies are streamed without being asked for.
    headers.remove(header::EXPECT);
    context::add_ids(&mut headers, invocation);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    set(&mut headers, header::HOST, place.host);
    set(&mut headers, FORWARDED_HOST, place.host);
    set(&mut headers, FORWARDED_PROTO, place.scheme);
    let mut forwarded = format!("host=\"{}\";proto={}", place.host.replace(['"', '\\'], ""), place.scheme);
    if let Some(client) = invocation.client {
        add(&mut headers, FORWARDED_FOR, &client.to_string());
        let node = if client.is_ipv6() { format!("\"[{client}]\"") } else { client.to_string() };
        forwarded = format!("for={node};{forwarded}");
    }
    add(&mut headers, header::FORWARDED, &forwarded);
    headers
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Adds a hop to a list that proxies before us may have begun.
fn add(headers: &mut HeaderMap, name: HeaderName, hop: &str) {
    let before: Vec<&str> = headers.get_all(&name).iter().filter_map(|value| value.to_str().ok()).collect();
    let all = if before.is_empty() { hop.to_owned() } else { format!("{}, {hop}", before.join(", ")) };
    set(headers, name, &all);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_server_sees_the_path_below_its_app() {
        for (url, target) in [
            ("http://h:10002/f/app/users/7?x=1", "/users/7?x=1"),
            ("http://h/f/app", "/"),
            ("http://h/f/app?x=/f/a/b", "/?x=/f/a/b"),
            ("http://h/f/app/", "/"),
            ("http://h/f/app//a/", "//a/"),
            ("http://h/f/app/f/deeper/x", "/f/deeper/x"),
            ("http://h/v1/f/968f/app/a%2Fb", "/a%2Fb"),
            ("http://h/v1/f/968f/app", "/"),
            ("http://h/r/app/run", "/run"),
            ("http://h/v1/r/968f/app/run/it", "/run/it"),
            ("https://h/behind/a/proxy/f/app/x", "/x"),
        ] {
            assert_eq!(Place::of(url).target, target, "{url}");
        }
    }

    async fn sent(invocation: Invocation) -> Request<RequestBody> {
        let mut invocation = invocation;
        let body = std::mem::replace(&mut invocation.body, Box::pin(futures_util::stream::empty()));
        let body = RequestBody::take(&mut invocation.headers, body).await.unwrap();
        request(&invocation, body).ok().unwrap()
    }

    #[tokio::test]
    async fn a_server_learns_who_called_it_and_through_whom() {
        let mut invocation = testing::invocation("/a");
        invocation.url = "https://functions.example.org/f/app/a".to_owned();
        invocation.client = Some("2001:db8::1".parse().unwrap());
        for (name, value) in [
            ("x-forwarded-for", "192.0.2.9"),
            ("x-forwarded-host", "forged"),
            ("x-forwarded-proto", "forged"),
            ("expect", "100-continue"),
            ("x-mine", "1"),
        ] {
            invocation.headers.insert(name, value.parse().unwrap());
        }
        let request = sent(invocation).await;
        let headers = request.headers();
        assert_eq!(headers["host"], "functions.example.org");
        assert_eq!(headers["x-forwarded-host"], "functions.example.org");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-for"], "192.0.2.9, 2001:db8::1");
        let forwarded = "for=\"[2001:db8::1]\";host=\"functions.example.org\";proto=https";
        assert_eq!(headers["forwarded"], forwarded);
        assert_eq!(headers["x-mine"], "1");
        assert!(headers.contains_key("fn-call-id") && headers.contains_key("x-request-id"));
        assert!(!headers.contains_key("expect"));
    }
}
