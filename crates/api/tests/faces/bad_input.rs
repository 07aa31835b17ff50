//! What clients send that nobody should: each gets a 4xx that says what is wrong with it, and
//! nothing of it is stored.

use picasso_testkit::process::wait_until;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PROJECT, Server};

/// A request and what it must meet: the status, and a part of the message.
struct Case {
    method: &'static str,
    /// Behind `/v1/{project}`, or a whole path of another face.
    url: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    status: u16,
    told: String,
}

fn case(method: &'static str, url: &str, body: impl Into<Vec<u8>>, status: u16, told: &str) -> Case {
    let headers = vec![("content-type", "application/json".to_owned())];
    Case { method, url: url.to_owned(), headers, body: body.into(), status, told: told.to_owned() }
}

/// A body for which there is an app that would be made of it.
fn app(body: impl Into<Vec<u8>>, told: &str) -> Case {
    case("POST", "/apps", body, 400, told)
}

fn app_named(name: &Value, told: &str) -> Case {
    app(json!({"app": {"name": name}}).to_string(), told)
}

fn app_with(config: &Value, told: &str) -> Case {
    app(json!({"app": {"name": "new", "config": config}}).to_string(), told)
}

/// A field of a route that would be made but for it.
fn route_with(field: &str, value: &Value, told: &str) -> Case {
    let mut route = json!({"path": "/new", "image": "good:1"});
    route[field] = value.clone();
    case("POST", "/apps/hello/routes", json!({ "route": route }).to_string(), 400, told)
}

/// A change of the route that is there.
fn change_with(field: &str, value: &Value, told: &str) -> Case {
    case("PUT", "/apps/hello/routes/a", json!({ field: value }).to_string(), 400, told)
}

fn call_with(name: &'static str, value: &str, told: &str) -> Case {
    let mut case = case("POST", "/v1/f/{project}/hello/later", "x", 400, told);
    case.headers.push((name, value.to_owned()));
    case
}

fn event(headers: &[(&'static str, &str)], content_type: &str, body: &str, told: &str) -> Case {
    let mut case = case("POST", "/v1/f/{project}/hello/event", body, 400, told);
    case.headers = vec![("content-type", content_type.to_owned())];
    case.headers.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
    case
}

fn bodies() -> Vec<Case> {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let deep_object = format!("{}1{}", "{\"app\":".repeat(3000), "}".repeat(3000));
    let mut cases = vec![
        app("", "not valid JSON"),
        app(" ", "not valid JSON"),
        app("{", "not valid JSON"),
        app("[]", "sequence"),
        app("null", "null"),
        app("1", "integer"),
        app("\"app\"", "string"),
        app("{}", "missing field `app`"),
        app("{\"app\":{}}", "missing field `name`"),
        app("{\"app\":null}", "app"),
        app("{\"app\":[]}", "app"),
        app("{\"app\":[\"new\",null,null]}", "sequence"),
        app("{\"app\":\"hello\"}", "app"),
        app("{\"app\":{\"name\":\"new\"}}x", "not valid JSON"),
        app("{\"app\":{\"name\":\"new\"}}{}", "not valid JSON"),
        app("{\"app\":{\"name\":\"new\",}}", "not valid JSON"),
        app("{'app':{'name':'new'}}", "not valid JSON"),
        app("{\"app\":{\"name\":new}}", "not valid JSON"),
        app("{\"app\":{\"name\":\"new\"},\"more\":1}", "more"),
        app("{\"app\":{\"name\":\"new\",\"id\":\"x\"}}", "id"),
        app("{\"app\":{\"name\":\"new\",\"project_id\":\"x\"}}", "project_id"),
        app("{\"app\":{\"name\":\"new\",\"Config\":{}}}", "Config"),
        app("\u{feff}{\"app\":{\"name\":\"new\"}}", "not valid JSON"),
        app(b"{\"app\":{\"name\":\"\xff\"}}".to_vec(), "JSON"),
        app(b"{\"app\":{\"name\":\"n\x01w\"}}".to_vec(), "JSON"),
        app("{\"app\":{\"name\":\"\\ud800\"}}", "JSON"),
        app("{\"app\":{\"name\":\"\\x41\"}}", "JSON"),
        app(deep, "recursion limit"),
        app(deep_object, "recursion limit"),
        app(b"\x1f\x8b\x08\x00".to_vec(), "JSON"),
        app("<app/>", "JSON"),
        // The same key twice: readers differ in which of them counts.
        app("{\"app\":{\"name\":\"new\",\"name\":\"other\"}}", "name"),
        app("{\"app\":{\"name\":\"new\"},\"app\":{\"name\":\"other\"}}", "app"),
        app(
            "{\"app\":{\"name\":\"new\",\"config\":{\"A\":\"1\",\"A\":\"2\"}}}",
            "config: has the key \"A\" twice",
        ),
        case(
            "PUT",
            "/apps/hello",
            "{\"config\":{\"A\":\"1\",\"A\":\"2\"}}",
            400,
            "config: has the key \"A\" twice",
        ),
    ];
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let mut odd = app("{\"app\":{\"name\":\"new\"}}", "application/json");
        odd.headers = vec![("content-type", content_type.to_owned())];
        cases.push(odd);
    }
    cases
}

fn apps() -> Vec<Case> {
    let letters = "1 to 63 letters";
    let mut cases: Vec<Case> = [
        "",
        " ",
        "a b",
        "a/b",
        "../a",
        "a.b",
        "a\u{0}b",
        "a\nb",
        "a%2fb",
        "grüße",
        "名前",
        "a@b",
        "a:b",
        "\u{202e}a",
        "a\u{200b}",
        "*",
        "~",
        "a?b",
        "a#b",
    ]
    .iter()
    .map(|name| app_named(&json!(name), letters))
    .collect();
    cases.push(app_named(&json!("x".repeat(64)), letters));
    for name in [json!(null), json!(1), json!(true), json!(["a"]), json!({"a": 1}), json!(1e300)] {
        cases.push(app_named(&name, "name"));
    }
    let many: serde_json::Map<String, Value> = (0..129).map(|n| (format!("K{n}"), json!("v"))).collect();
    cases.extend([
        app_with(&json!([]), "config"),
        app_with(&json!("A=1"), "config"),
        app_with(&json!({"A": 1}), "config.A"),
        app_with(&json!({"A": null}), "config.A"),
        app_with(&json!({"A": {"B": "1"}}), "config.A"),
        app_with(&json!({"": "1"}), "config"),
        app_with(&json!({"1A": "1"}), "config"),
        app_with(&json!({"A=B": "1"}), "config"),
        app_with(&json!({"A B": "1"}), "config"),
        app_with(&json!({"Ä": "1"}), "config"),
        app_with(&json!({"A\u{0}": "1"}), "config"),
        app_with(&json!({"A": "1\u{0}2"}), "NUL"),
        app_with(&json!({"K".repeat(129): "1"}), "1 to 128"),
        app_with(&json!({"A": "v".repeat(33_000)}), "32768 bytes"),
        app_with(&Value::Object(many), "128 entries"),
    ]);
    let described = |text: &str| json!({"app": {"name": "new", "description": text}}).to_string();
    cases.extend([
        app(described(&"d".repeat(1025)), "1024"),
        app(json!({"app": {"name": "new", "description": 5}}).to_string(), "description"),
        case("PUT", "/apps/hello", described("x"), 400, "app"),
        case("PUT", "/apps/hello", "[]", 400, "sequence"),
        case("PUT", "/apps/hello", json!({"name": "other"}).to_string(), 400, "name"),
        case("PUT", "/apps/hello", json!({"config": {"": "x"}}).to_string(), 400, "config"),
        case("PUT", "/apps/hello", json!({"description": "d".repeat(1025)}).to_string(), 400, "1024"),
        case("POST", "/apps", json!({"app": {"name": "hello"}}).to_string(), 409, "hello"),
    ]);
    for (field, value, told) in secrets() {
        cases.push(app(json!({"app": {"name": "new", field: value}}).to_string(), &format!("app.{told}")));
        cases.push(case("PUT", "/apps/hello", json!({ field: value }).to_string(), 400, told));
    }
    for (rules, told) in [
        (json!([]), "cors"),
        (json!({"allow_origin": ["*"]}), "allow_origin"),
        (json!({"allow_origins": "*"}), "cors.allow_origins"),
        (json!({"allow_origins": ["example.org"]}), "cors.allow_origins"),
        (json!({"allow_origins": ["https://a.example/path"]}), "cors.allow_origins"),
        (json!({"allow_origins": ["https://a.example\r\nX: 1"]}), "cors.allow_origins"),
        (json!({"allow_origins": ["*"], "allow_credentials": true}), "cors.allow_origins"),
        (json!({"allow_origins": ["*"], "allow_methods": ["A B"]}), "cors.allow_methods"),
        (json!({"allow_origins": ["*"], "allow_headers": ["X:"]}), "cors.allow_headers"),
        (json!({"allow_origins": ["*"], "expose_headers": [1]}), "cors.expose_headers"),
        (json!({"allow_origins": ["*"], "max_age": -1}), "cors.max_age"),
        (json!({"allow_origins": ["*"], "max_age": 10_000_000}), "cors.max_age"),
    ] {
        cases.push(app(json!({"app": {"name": "new", "cors": rules}}).to_string(), told));
        cases.push(case("PUT", "/apps/hello", json!({ "cors": rules }).to_string(), 400, told));
    }
    let large = json!({"app": {"name": "new", "description": "d".repeat(200_000)}}).to_string();
    cases.push(case("POST", "/apps", large, 413, "114688"));
    cases
}

/// Secrets that neither apps nor routes have, and what is said of them.
fn secrets() -> Vec<(&'static str, Value, &'static str)> {
    [
        (json!([]), "secrets"),
        (json!({"A": 1}), "secrets.A"),
        (json!({"A": ["x"]}), "secrets.A"),
        (json!({"A": {}}), "secrets.A"),
        (json!({"A": {"value": 5}}), "secrets.A"),
        (json!({"A": {"value": "x", "as": "argument"}}), "secrets.A"),
        (json!({"A": {"value": "x", "mode": "0777"}}), "secrets.A"),
        (json!({"A": "x\u{0}y"}), "secrets.A"),
        (json!({"A": "barbican:"}), "secrets.A"),
        (json!({"A": "barbican:../../v1/orders"}), "secrets.A"),
        (json!({"A": "barbican:6b9a2f8e-3c1d-4f5a-9e7b-2d8c4a6f1e30"}), "secrets.A"),
        (json!({"": "x"}), "secrets"),
        (json!({"1A": "x"}), "secrets"),
        (json!({"../A": "x"}), "secrets"),
        (json!({"A-B": "x"}), "secrets"),
        (json!({"Ä": "x"}), "secrets"),
        (json!({"A": "x".repeat(33_000)}), "secrets"),
    ]
    .map(|(value, told)| ("secrets", value, told))
    .to_vec()
}

/// What no route asks public callers for.
fn public_access() -> Vec<(&'static str, Value)> {
    vec![
        ("allowed_sources", json!("127.0.0.1")),
        ("allowed_sources", json!(["localhost"])),
        ("allowed_sources", json!(["10.0.0.0/33"])),
        ("allowed_sources", json!(["10.0.0.1:80"])),
        ("allowed_sources", json!([1])),
        ("allowed_sources", json!(vec!["::1"; 65])),
        ("jwt_key", json!("short")),
        ("jwt_key", json!("k".repeat(1025))),
        ("jwt_key", json!(["k"])),
        ("jwt_key", json!(1)),
        ("webhook_secrets", json!(["path"])),
        ("has_jwt_key", json!(true)),
    ]
}

fn routes() -> Vec<Case> {
    let mut cases = vec![
        case("POST", "/apps/hello/routes", "{}", 400, "missing field `route`"),
        case("POST", "/apps/hello/routes", "{\"route\":{}}", 400, "route.path"),
        case("POST", "/apps/hello/routes", "{\"route\":[]}", 400, "route"),
        case("POST", "/apps/hello/routes", "{\"route\":{\"path\":\"/x\"}}", 400, "route.image"),
        case("POST", "/apps/none/routes", "{\"route\":{\"path\":\"/x\",\"image\":\"good:1\"}}", 404, "none"),
        case("PUT", "/apps/hello/routes/none", "{}", 404, "/none"),
        case("PUT", "/apps/hello/routes/a", "[]", 400, "sequence"),
        case("PUT", "/apps/hello/routes/a", "{\"route\":{\"timeout\":5}}", 400, "route"),
    ];
    for path in [
        "//", "/a//b", "/a/", "/..", "/../etc", "/a/./b", "/a\u{0}", "/a\nb", "/a?b", "/a#b", "/%2e%2e",
        "/a%00", "/a\\b", "/*", "/*a/b", "/:", "/:1", "/:a/:a", "/:a/:A", "/:a-b", "/:ä", "/a\u{7f}",
        "/a\u{85}",
    ] {
        cases.push(route_with("path", &json!(path), "route.path"));
    }
    cases.push(route_with("path", &json!(format!("/{}", "p".repeat(512))), "512 bytes"));
    cases.push(route_with("path", &json!(format!("/:{}", "p".repeat(33))), "1 to 32"));
    for image in [
        "",
        " ",
        "Good:1",
        "good:",
        "good:1:2",
        "/good",
        "good//x",
        "good@sha256:12",
        "good@md5:00",
        "../good:1",
        "good:1 ",
        "http://good:1",
        "bad..host/x:1",
        "-a.b/x:1",
        "host.example:99999/x:1",
        "good:1\u{0}",
        "göod:1",
    ] {
        cases.push(route_with("image", &json!(image), "route.image"));
    }
    cases.push(route_with("image", &json!("x".repeat(513)), "512"));
    cases.push(route_with("image", &json!("none:1"), "route.image"));
    for (field, max) in [
        ("memory", 4096_u64),
        ("timeout", 900),
        ("max_concurrency", 1000),
        ("queue_timeout", 300),
        ("idle_timeout", 3600),
    ] {
        let least = u64::from(!matches!(field, "queue_timeout" | "idle_timeout"));
        if least == 1 {
            cases.push(route_with(field, &json!(0), &format!("route.{field}")));
        }
        for value in [
            json!(max + 1),
            json!(-1),
            json!(1.5),
            json!("64"),
            json!([64]),
            json!(true),
            json!(1e30),
            json!(u64::MAX),
        ] {
            cases.push(route_with(field, &value, &format!("route.{field}")));
            cases.push(change_with(field, &value, field));
        }
    }
    for (field, value) in [
        ("type", json!("later")),
        ("type", json!("SYNC")),
        ("type", json!(1)),
        ("format", json!("xml")),
        ("format", json!("")),
        ("network", json!("host")),
        ("methods", json!("GET")),
        ("methods", json!(["PURGE"])),
        ("methods", json!([1])),
        ("methods", json!(["GET\r\nX: 1"])),
        ("is_public", json!("yes")),
        ("is_public", json!(1)),
        ("config", json!({"A": 1})),
        ("config", json!({"A=": "1"})),
        ("concurrency", json!(2)),
        ("min_instances", json!(1)),
        ("retry", json!({"max_attempts": 0})),
        ("retry", json!({"max_attempts": 1_000_000})),
        ("retry", json!({"max_attempts": 2, "on": ["never"]})),
        ("retry", json!({"max_attempts": 2, "backoff": {"factor": 1e9}})),
        ("retry", json!({"max_attempts": 2, "backoff": {"jitter": -1}})),
        ("retry", json!([])),
        ("rate_limit", json!({"calls": 0})),
        ("rate_limit", json!({"calls": 1_000_001})),
        ("rate_limit", json!({"calls": 1, "seconds": 0})),
        ("rate_limit", json!({"calls": 1, "seconds": 86_401})),
        ("rate_limit", json!({"calls": 1, "burst": 0})),
        ("rate_limit", json!({"calls": 1, "burst": u64::MAX})),
        ("rate_limit", json!({"calls": 1.5})),
        ("rate_limit", json!({"calls": -1})),
        ("rate_limit", json!({"calls": 1, "per": "second"})),
        ("rate_limit", json!({"seconds": 1})),
        ("rate_limit", json!(10)),
        ("rate_limit", json!("10/s")),
        ("max_age", json!(0)),
        ("delay", json!(10_000_000)),
        ("priority", json!(3)),
        ("on_success", json!("file:///etc/passwd")),
        ("on_success", json!("route:")),
        ("on_failure", json!("https://user:secret@example.org/")),
        ("on_failure", json!("gopher://example.org/")),
        ("callback_urls", json!(["javascript:alert(1)"])),
        ("callback_urls", json!("https://example.org")),
        ("invoke", json!(["later"])),
    ]
    .into_iter()
    .chain(public_access())
    {
        cases.push(route_with(field, &value, &format!("route.{field}")));
        cases.push(change_with(field, &value, field));
    }
    for (field, value, told) in secrets() {
        cases.push(route_with(field, &value, &format!("route.{told}")));
        cases.push(change_with(field, &value, told));
    }
    for unknown in ["pathe", "__proto__", "constructor", "created_at", "version", "digest", "state"] {
        cases.push(route_with(unknown, &json!("x"), unknown));
    }
    cases.push(case("PUT", "/apps/hello/routes/a", "{\"path\":\"/b\"}", 400, "path"));
    cases
}

fn calls() -> Vec<Case> {
    let mut cases = vec![
        call_with("x-picasso-invoke", "later", "X-Picasso-Invoke"),
        call_with("x-picasso-invoke", "sync", "X-Picasso-Invoke"),
        call_with("x-picasso-delay", "soon", "X-Picasso-Delay"),
        call_with("x-picasso-delay", "-1", "X-Picasso-Delay"),
        call_with("x-picasso-delay", "99999999999999999999", "X-Picasso-Delay"),
        call_with("x-picasso-delay", "2999-01-01T00:00:00Z", "X-Picasso-Delay"),
        call_with("x-picasso-priority", "3", "X-Picasso-Priority"),
        call_with("x-picasso-priority", "high", "X-Picasso-Priority"),
        call_with("x-callback-url", "ftp://example.org/", "X-Callback-Url"),
        call_with("x-callback-url", "http://", "X-Callback-Url"),
        call_with("idempotency-key", "", "Idempotency-Key"),
        call_with("idempotency-key", &"k".repeat(256), "Idempotency-Key"),
        event(&[("ce-specversion", "0.1")], "text/plain", "x", "specversion"),
        event(&[("ce-specversion", "1.0")], "text/plain", "x", "id is missing"),
        event(&[], "application/cloudevents+json", "[]", ""),
        event(&[], "application/cloudevents+json", "{\"specversion\":\"1.0\"}", ""),
        event(&[], "application/cloudevents+xml", "<e/>", "format"),
    ];
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=1e3",
        "since=yesterday",
        "status=odd",
        "marker=none",
        "marker=",
        "limit=1&limit=2",
        "unknown=1",
        "app=%ff",
        "%00=1",
    ] {
        let field = query.split('=').next().unwrap_or_default();
        let told = if field == "%00" { "" } else { field };
        cases.push(case("GET", &format!("/calls?{query}"), "", 400, told));
    }
    for id in ["x", "..", "%00", "00000000-0000-0000-0000-00000000000", "'%20or%201=1", "%f0%9f%92%a9"] {
        cases.push(case("GET", &format!("/calls/{id}"), "", 404, "not found"));
    }
    for body in ["[]", "1", "\"x\"", "{", "nul"] {
        cases.push(case("POST", "/v1/r/{project}/hello/a", body, 400, "JSON object"));
    }
    cases.push(case("PURGE", "/apps", "", 405, "PURGE"));
    cases.push(case("POST", "/apps/hello", "{}", 405, "POST"));
    for name in ["UPPER:1", "x", "x:1@sha256:00", "a..b:1", "x:%00", "x:-1"] {
        cases.push(case("PUT", &format!("/images/{name}"), "no image", 400, ""));
    }
    cases
}

fn paths() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "/apps/..",
        "/apps/%2e%2e",
        "/apps/hello%2f..%2fother",
        "/apps/%00",
        "/apps/hello%00",
        "/apps/%ff",
        "/apps/hello;x=1",
        "/apps/hello%0d%0aX:1",
        "/apps/HELLO",
        "/apps/hello%20",
    ]
    .iter()
    .map(|path| case("GET", path, "", 404, ""))
    .collect();
    for path in [
        "/v1//apps",
        "/v1/{project}//apps",
        "/v2/{project}/apps",
        "/v1/{project}/../{project}/apps/none",
        "/V1/{project}/apps",
        "/v1/%7Bproject%7D/apps",
        "/v1/{project}%00/apps",
        "/v1/*/apps",
        "/v1/{project}/apps/hello/routes/%2e%2e",
    ] {
        cases.push(case("GET", path, "", 404, ""));
    }
    cases
}

fn all_cases() -> Vec<Case> {
    [bodies(), apps(), routes(), calls(), paths()].into_iter().flatten().collect()
}

/// Everything that a project can see of what is stored.
async fn stored(server: &Server) -> Vec<Value> {
    let mut all = Vec::new();
    for url in ["/apps", "/apps/hello", "/apps/hello/routes", "/images", "/calls"] {
        let reply = server.api.get(&format!("/v1/{PROJECT}{url}"), "member").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        all.push(reply.json());
    }
    all
}

/// An app with a route for calls, one for later calls, and one that takes events.
async fn prepared() -> Server {
    let server = Server::start().await;
    server.app().await;
    server.image("good:1", "cat").await;
    server.route("/a", "cat", json!({})).await;
    server.route("/later", "cat", json!({"type": "async"})).await;
    server.route("/event", "cat", json!({"format": "http"})).await;
    server
}

#[tokio::test]
async fn bad_input_is_told_with_a_clear_4xx_and_changes_nothing() {
    let server = prepared().await;
    let before = stored(&server).await;
    let cases = all_cases();
    assert!(cases.len() >= 150, "{}", cases.len());
    let mut wrong = Vec::new();
    for Case { method, url, headers, body, status, told } in &cases {
        let url = if url.starts_with("/v1") || url.starts_with("/V1") || url.starts_with("/v2") {
            url.replace("{project}", PROJECT)
        } else {
            format!("/v1/{PROJECT}{url}")
        };
        let client = if url.starts_with("/v1/f/") { &server.functions } else { &server.api };
        let mut sent = vec![("x-auth-token", "member")];
        sent.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
        let reply = client.send(method, &url, &sent, body.clone()).await;
        let message = reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        if reply.status != *status || message.is_empty() || !message.contains(told.as_str()) {
            let body = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
            wrong.push(format!(
                "{method} {url} {headers:?} {body}\n    {} {message}\n    not {status} {told}",
                reply.status
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(stored(&server).await, before);
}

/// Heads of requests that two parsers may read differently, or that none should take.
const HEADS: &[&str] = &[
    "GET /v1/p/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET /v1/p/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "GET /v1/p/apps HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "GET /v1/p/apps HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na",
    "GET /v1/p/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1\r\n\r\na",
    "GET /v1/p/apps HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity, chunked, x\r\n\r\n0\r\n\r\n",
    "GET /v1/p/apps HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "GET /v1/p/apps HTTP/1.1\r\nHost: x\r\nX-Auth\x00Token: member\r\n\r\n",
    "GET /v1/p/apps HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
    "GET /v1/p/apps HTTP/1.1\r\nHost: x\r\n folded: yes\r\n\r\n",
    "GET /v1/p/apps HTTP/1.1\r\nHost: x\r\nbad name: 1\r\n\r\n",
    "GET /v1/p apps HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET  /v1/p/apps HTTP/1.1\r\nHost: x\r\n\r\n",
    "G\x01T /v1/p/apps HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET /v1/p/apps HTTP/3.7\r\nHost: x\r\n\r\n",
    "GET /v1/p/apps\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
];

#[tokio::test]
async fn a_head_that_could_be_read_in_two_ways_is_refused_and_the_connection_closed() {
    let server = prepared().await;
    for head in HEADS {
        let mut stream = TcpStream::connect(server.api_address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap().ok();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 4"), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head:?}: {answer}");
    }
    let answers = async || server.api.get(&format!("/v1/{PROJECT}/apps"), "reader").await.status == 200;
    wait_until(Duration::from_secs(5), "an answer afterwards", answers).await.unwrap();
}
