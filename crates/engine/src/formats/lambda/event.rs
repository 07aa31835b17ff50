//! What a function is told of a call: the event, in the form of function URLs (Lambda developer
//! guide, "Invoking Lambda function URLs", request payload 2.0).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use percent_encoding::percent_decode_str;
use picasso_types::{App, Timestamp, Trigger};
use serde::Serialize;

use crate::formats::context;
use crate::invocation::Invocation;

/// The event of a call whose body is `body`: of a wrapped run the body itself, of a function URL
/// a description of the request.
pub(super) fn of_call(
    invocation: &Invocation,
    body: &Bytes,
    now: Timestamp,
) -> Result<Bytes, serde_json::Error> {
    if invocation.trigger == Trigger::Run {
        // Lambda's own Invoke makes an empty payload an empty object as well.
        return Ok(if body.is_empty() { Bytes::from_static(b"{}") } else { body.clone() });
    }
    let mut headers = invocation.headers.clone();
    context::add_ids(&mut headers, invocation);
    let source = Source {
        app: &invocation.target.app,
        request_id: invocation.request_id.as_str(),
        client: invocation.client,
        method: &invocation.method,
        url: &invocation.url,
        headers: &headers,
    };
    Ok(Bytes::from(serde_json::to_vec(&source.event(body, now))?))
}

/// What an event is made from.
struct Source<'a> {
    app: &'a App,
    request_id: &'a str,
    client: Option<IpAddr>,
    method: &'a Method,
    url: &'a str,
    headers: &'a HeaderMap,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: &'static str,
    route_key: &'static str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    headers: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_string_parameters: BTreeMap<String, String>,
    request_context: Context<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    is_base64_encoded: bool,
    path_parameters: Option<()>,
    stage_variables: Option<()>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    account_id: &'a str,
    api_id: &'a str,
    authentication: Option<()>,
    domain_name: &'a str,
    domain_prefix: &'a str,
    http: Http<'a>,
    request_id: &'a str,
    route_key: &'static str,
    stage: &'static str,
    time: String,
    time_epoch: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'static str,
    source_ip: IpAddr,
    user_agent: String,
}

impl<'a> Source<'a> {
    fn event(&self, body: &'a [u8], now: Timestamp) -> Event<'a> {
        let (host, path, query) = parts(self.url);
        let path = below_app(path, self.app);
        let text = text_of(body, self.headers);
        let time = jiff::Timestamp::from_microsecond(now.0).unwrap_or_default();
        Event {
            version: "2.0",
            route_key: "$default",
            raw_path: path,
            raw_query_string: query,
            cookies: cookies(self.headers),
            headers: joined(self.headers),
            query_string_parameters: parameters(query),
            request_context: Context {
                account_id: self.app.project_id.as_str(),
                api_id: self.app.full_name.as_str(),
                authentication: None,
                domain_name: host,
                domain_prefix: host.split('.').next().unwrap_or_default(),
                http: Http {
                    method: self.method.as_str(),
                    path,
                    protocol: "HTTP/1.1",
                    source_ip: self.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                    user_agent: joined_values(self.headers, &header::USER_AGENT, ","),
                },
                request_id: self.request_id,
                route_key: "$default",
                stage: "$default",
                time: time.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
                time_epoch: time.as_millisecond(),
            },
            is_base64_encoded: text.is_none(),
            body: (!body.is_empty())
                .then(|| text.map_or_else(|| Cow::Owned(STANDARD.encode(body)), Cow::Borrowed)),
            path_parameters: None,
            stage_variables: None,
        }
    }
}

/// Host without port, path and query of an absolute URL.
fn parts(url: &str) -> (&str, &str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (host, if path.is_empty() { "/" } else { path }, query)
}

/// The part of a function URL's path behind the app: `/f/{app}/…`, `/v1/f/{project}/{app}/…`.
fn below_app<'a>(path: &'a str, app: &App) -> &'a str {
    let is_app = |segment: &str| {
        let name = percent_decode_str(segment).decode_utf8_lossy();
        name == app.full_name.as_str() || name == app.short_name.as_str()
    };
    for (at, found) in path.match_indices("/f/") {
        let (first, rest) = segment(&path[at + found.len()..]);
        if is_app(first) {
            return rest;
        }
        let (second, rest) = segment(rest.trim_start_matches('/'));
        if path[..at].ends_with("/v1") && is_app(second) {
            return rest;
        }
    }
    path
}

/// The first segment, and what follows it with its slash.
fn segment(path: &str) -> (&str, &str) {
    let (first, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    (first, if rest.is_empty() { "/" } else { rest })
}

/// The body as text, where it is some: UTF-8 of a text-like type, without control characters
/// (which no text has, and which would make the event six times as long). No body is text.
fn text_of<'a>(body: &'a [u8], headers: &HeaderMap) -> Option<&'a str> {
    if body.is_empty() {
        return Some("");
    }
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("-"));
    if !content_type.is_none_or(is_text_type) {
        return None;
    }
    let control = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    std::str::from_utf8(body).ok().filter(|_| !body.iter().any(control))
}

/// `text/*`, JSON, XML and JavaScript are text. A form is not, as in Lambda.
fn is_text_type(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(essence.as_str(), "application/json" | "application/xml" | "application/javascript")
}

/// All but cookies, by name, repeated ones joined by a comma.
fn joined(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let names = headers.keys().filter(|name| **name != header::COOKIE);
    names.map(|name| (name.as_str(), joined_values(headers, name, ","))).collect()
}

fn joined_values(headers: &HeaderMap, name: &header::HeaderName, separator: &str) -> String {
    let values: Vec<_> =
        headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    values.join(separator)
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let all = joined_values(headers, &header::COOKIE, ";");
    all.split(';').map(str::trim).filter(|cookie| !cookie.is_empty()).map(str::to_owned).collect()
}

/// Decoded names and values, repeated ones joined by a comma.
fn parameters(query: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value);
        parameters
            .entry(decoded(name))
            .and_modify(|all| {
                all.push(',');
                all.push_str(&value);
            })
            .or_insert(value);
    }
    parameters
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing;

    /// 2020-03-12T19:03:58.390Z, the guide's own example.
    const NOW: Timestamp = Timestamp(1_584_039_838_390_000);

    fn invocation(url: &str) -> Invocation {
        let mut invocation = testing::invocation("/a");
        invocation.url = url.to_owned();
        invocation.client = Some("192.0.2.7".parse().unwrap());
        invocation
    }

    fn event(invocation: &Invocation, body: &[u8]) -> Value {
        serde_json::from_slice(&of_call(invocation, &Bytes::copy_from_slice(body), NOW).unwrap()).unwrap()
    }

    #[test]
    fn an_event_has_every_field_of_payload_2() {
        let mut invocation =
            invocation("https://fn.example.org:10002/f/app/users/%C3%A4?a=1&b=x+%26&a=2&flag");
        for (name, value) in [
            ("x-two", "a"),
            ("x-two", "b"),
            ("cookie", "k=v; l=w"),
            ("user-agent", "curl/8"),
            ("content-type", "application/json; charset=utf-8"),
        ] {
            invocation.headers.append(name, value.parse().unwrap());
        }
        let event = event(&invocation, br#"{"n":1}"#);
        assert_eq!(
            event,
            json!({
                "version": "2.0",
                "routeKey": "$default",
                "rawPath": "/users/%C3%A4",
                "rawQueryString": "a=1&b=x+%26&a=2&flag",
                "cookies": ["k=v", "l=w"],
                "headers": {
                    "content-type": "application/json; charset=utf-8",
                    "fn-call-id": invocation.call_id.as_str(),
                    "user-agent": "curl/8",
                    "x-request-id": invocation.request_id.as_str(),
                    "x-two": "a,b",
                },
                "queryStringParameters": {"a": "1,2", "b": "x &", "flag": ""},
                "requestContext": {
                    "accountId": "968f523b6fec4a7694aaa27b300bb879",
                    "apiId": "app-968f523b6fec4a7694aaa27b30",
                    "authentication": null,
                    "domainName": "fn.example.org",
                    "domainPrefix": "fn",
                    "http": {
                        "method": "POST",
                        "path": "/users/%C3%A4",
                        "protocol": "HTTP/1.1",
                        "sourceIp": "192.0.2.7",
                        "userAgent": "curl/8",
                    },
                    "requestId": invocation.request_id.as_str(),
                    "routeKey": "$default",
                    "stage": "$default",
                    "time": "12/Mar/2020:19:03:58 +0000",
                    "timeEpoch": 1_584_039_838_390_i64,
                },
                "body": r#"{"n":1}"#,
                "isBase64Encoded": false,
                "pathParameters": null,
                "stageVariables": null,
            })
        );
    }

    #[test]
    fn what_a_request_does_not_have_is_absent() {
        let event = event(&invocation("http://[::1]:10002/f/app"), b"");
        for field in ["cookies", "queryStringParameters", "body"] {
            assert!(event.get(field).is_none(), "{field}");
        }
        assert_eq!((&event["rawPath"], &event["rawQueryString"]), (&json!("/"), &json!("")));
        assert_eq!(event["requestContext"]["domainName"], "[::1]");
        assert_eq!(event["isBase64Encoded"], false);
    }

    #[test]
    fn the_path_begins_behind_the_app() {
        let app = testing::target("/a").app;
        for (path, below) in [
            ("/f/app-968f523b6fec4a7694aaa27b30/x/y", "/x/y"),
            ("/f/app/", "/"),
            ("/f/app", "/"),
            ("/f/app//x", "//x"),
            ("/f/%61pp/x", "/x"),
            ("/v1/f/968f523b6fec4a7694aaa27b300bb879/app/x", "/x"),
            ("/prefix/f/app/f/app/x", "/f/app/x"),
            ("/elsewhere", "/elsewhere"),
        ] {
            assert_eq!(below_app(path, &app), below, "{path}");
        }
    }

    #[test]
    fn bodies_that_are_no_text_are_base64() {
        let encoded = |content_type: Option<&str>, body: &[u8]| {
            let mut invocation = invocation("http://h/f/app/a");
            if let Some(content_type) = content_type {
                invocation.headers.insert("content-type", content_type.parse().unwrap());
            }
            let event = event(&invocation, body);
            (event["isBase64Encoded"].as_bool().unwrap(), event["body"].as_str().unwrap().to_owned())
        };
        assert_eq!(encoded(None, "grüß\n".as_bytes()), (false, "grüß\n".to_owned()));
        assert!(!encoded(Some("Application/Problem+JSON"), b"{}").0);
        assert_eq!(encoded(Some("text/plain"), b"a\0b"), (true, "YQBi".to_owned()));
        assert_eq!(encoded(Some("text/plain"), b"\xff"), (true, "/w==".to_owned()));
        assert_eq!(encoded(Some("image/png"), b"hi"), (true, "aGk=".to_owned()));
        assert!(encoded(Some("application/x-www-form-urlencoded"), b"a=b").0);
    }

    #[test]
    fn the_body_of_a_wrapped_run_is_the_event() {
        let mut invocation = invocation("http://h/v1/r/p/app/a");
        invocation.trigger = Trigger::Run;
        assert_eq!(event(&invocation, br#"{"x":[1]}"#), json!({"x": [1]}));
        assert_eq!(event(&invocation, b""), json!({}));
    }
}
