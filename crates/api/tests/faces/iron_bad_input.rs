//! What clients send the IronFunctions face that nobody should: each gets a 4xx that says what is
//! wrong with it, in the form of this face, and nothing of it is stored.

use serde_json::{Map, Value, json};

use crate::iron::{KEY, ask, token};
use crate::support::{Options, Server};

/// A request and what it must meet: the status, and a part of the error's message or fields.
struct Case {
    method: &'static str,
    path: String,
    body: Vec<u8>,
    status: u16,
    told: &'static str,
}

fn case(method: &'static str, path: &str, body: impl Into<Vec<u8>>, status: u16, told: &'static str) -> Case {
    Case { method, path: path.to_owned(), body: body.into(), status, told }
}

/// A body for which there is an app that would be made of it.
fn app(body: impl Into<Vec<u8>>, told: &'static str) -> Case {
    case("POST", "/v1/apps", body, 400, told)
}

fn app_with(field: &str, value: &Value, told: &'static str) -> Case {
    let mut app = json!({"name": "new"});
    app[field] = value.clone();
    self::app(json!({ "app": app }).to_string(), told)
}

/// A field of a route that would be made but for it.
fn route_with(field: &str, value: &Value, told: &'static str) -> Case {
    let mut route = json!({"path": "/new", "image": "good:1"});
    route[field] = value.clone();
    case("POST", "/v1/apps/app/routes", json!({ "route": route }).to_string(), 400, told)
}

/// A change of the route that is there.
fn change_with(field: &str, value: &Value, told: &'static str) -> Case {
    let body = json!({"route": {field: value}}).to_string();
    case("PATCH", "/v1/apps/app/routes/a", body, 400, told)
}

fn bodies() -> Vec<Case> {
    let deep = format!("{{\"app\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let deep_object = format!("{}1{}", "{\"more\":".repeat(3000), "}".repeat(3000));
    let mut cases = vec![
        app("", "not valid JSON"),
        app(" ", "not valid JSON"),
        app("{", "not valid JSON"),
        app("nul", "not valid JSON"),
        app("null", "null"),
        app("[]", "sequence"),
        app("1", "integer"),
        app("\"app\"", "string"),
        app("true", "boolean"),
        app("{}", "Missing new application"),
        app("{\"app\":null}", "Missing new application"),
        app("{\"App\":{\"name\":\"new\"}}", "Missing new application"),
        app("{\"app\":{}}", "Missing app name"),
        app("{\"app\":{\"name\":null}}", "Missing app name"),
        app("{\"app\":[]}", "app: "),
        app("{\"app\":[\"new\",null]}", "app: "),
        app("{\"app\":\"new\"}", "app: "),
        app("{\"app\":{\"name\":\"new\"}}x", "not valid JSON"),
        app("{\"app\":{\"name\":\"new\"}}{}", "not valid JSON"),
        app("{\"app\":{\"name\":\"new\",}}", "not valid JSON"),
        app("{'app':{'name':'new'}}", "not valid JSON"),
        app("\u{feff}{\"app\":{\"name\":\"new\"}}", "not valid JSON"),
        app(b"{\"app\":{\"name\":\"n\xffw\"}}".to_vec(), "JSON"),
        app(b"{\"app\":{\"name\":\"n\x01w\"}}".to_vec(), "JSON"),
        app("{\"app\":{\"name\":\"\\ud800\"}}", "JSON"),
        app(b"\x1f\x8b\x08\x00".to_vec(), "JSON"),
        app("app=new", "JSON"),
        app(deep, "recursion limit"),
        app(deep_object, "recursion limit"),
        // The same key twice: readers differ in which of them counts.
        app("{\"app\":{\"name\":\"new\",\"name\":\"other\"}}", "\"name\" twice"),
        app("{\"app\":{\"name\":\"new\"},\"app\":{\"name\":\"other\"}}", "\"app\" twice"),
        app("{\"app\":{\"name\":\"new\",\"n\\u0061me\":\"other\"}}", "\"name\" twice"),
        app("{\"app\":{\"name\":\"new\",\"config\":{\"A\":\"1\",\"A\":\"2\"}}}", "\"A\" twice"),
        case("POST", "/v1/apps", vec![b' '; 112 * 1024 + 1], 413, "114688"),
        case("POST", "/v1/apps/app/routes", "{}", 400, "Missing new route"),
        case("POST", "/v1/apps/app/routes", "{\"route\":[]}", 400, "route: "),
        case("POST", "/v1/apps/app/routes", "{\"route\":null}", 400, "Missing new route"),
        case("PATCH", "/v1/apps/app", "{}", 400, "Missing new application"),
        case("PATCH", "/v1/apps/app", "{\"app\":{\"name\":\"other\"}}", 400, "name is immutable"),
        case("PATCH", "/v1/apps/app", "{\"app\":{\"config\":{\"A=B\":\"1\"}}}", 400, "config"),
        case("PATCH", "/v1/apps/app", "{\"app\":{\"config\":[]}}", 400, "app.config: "),
        case("PATCH", "/v1/apps/none", "{\"app\":{\"config\":{}}}", 404, "App not found"),
        case("PATCH", "/v1/apps/app/routes/a", "{\"route\":{\"path\":\"/b\"}}", 400, "path is immutable"),
        case("PATCH", "/v1/apps/app/routes/none", "{\"route\":{}}", 404, "Route not found"),
    ];
    let twice = "{\"route\":{\"path\":\"/new\",\"image\":\"good:1\",\"image\":\"other:1\"}}";
    cases.push(case("POST", "/v1/apps/app/routes", twice, 400, "\"image\" twice"));
    cases
}

fn apps() -> Vec<Case> {
    let invalid = "Invalid app name";
    let names = [
        " ",
        "a b",
        "a/b",
        "..",
        "a.b",
        "a\u{0}b",
        "a\nb",
        "a%2fb",
        "grüße",
        "名前",
        "\u{202e}a",
        "a\u{200b}",
        "*",
        "~",
        "[",
        "a:b",
        "a?b",
    ];
    let mut cases: Vec<Case> = names.iter().map(|name| app_with("name", &json!(name), invalid)).collect();
    // Thirty characters, and more bytes.
    cases.push(app_with("name", &json!("ä".repeat(16)), "30 characters or less"));
    cases.push(app_with("name", &json!("x".repeat(31)), "30 characters or less"));
    for name in [json!(1), json!(true), json!(["a"]), json!({"a": 1}), json!(1e300)] {
        cases.push(app_with("name", &name, "app.name: "));
    }
    let many: Map<String, Value> = (0..129).map(|n| (format!("K{n}"), json!("v"))).collect();
    for (config, told) in [
        (json!([]), "app.config: "),
        (json!("A=1"), "app.config: "),
        (json!({"A": 1}), "app.config.A: "),
        (json!({"A": {"B": "1"}}), "app.config.A: "),
        (json!({"": "1"}), "config: "),
        (json!({"A=B": "1"}), "config: "),
        (json!({"1A": "1"}), "config: "),
        (json!({"A\u{0}": "1"}), "config: "),
        (json!({"A": "1\u{0}"}), "config.A: "),
        (json!({"A": "x".repeat(33 * 1024)}), "config: "),
        (Value::Object(many), "config: "),
    ] {
        cases.push(app_with("config", &config, told));
    }
    cases
}

fn routes() -> Vec<Case> {
    let long = format!("/{}", "x".repeat(4096));
    let mut cases = Vec::new();
    for (path, told) in [
        (json!(""), "Missing route Path"),
        (json!(null), "Missing route Path"),
        (json!(1), "route.path: "),
        (json!(["/a"]), "route.path: "),
        (json!("a"), "Invalid Path format"),
        (json!("//a"), "Invalid Path format"),
        (json!("/a/"), "Invalid Path format"),
        (json!("/a/./b"), "Invalid Path format"),
        (json!("/../etc/passwd"), "Invalid Path format"),
        (json!("http://evil.example/a"), "Dynamic URL is not allowed"),
        (json!("/a?b"), "Invalid Path format"),
        (json!("/a#b"), "Invalid Path format"),
        (json!("/a\u{0}"), "Path malformed"),
        (json!("/a\r\nb"), "Path malformed"),
        (json!("/%zz"), "Path malformed"),
        (json!("/a%2"), "Path malformed"),
        (json!("/:id"), "Dynamic URL is not allowed"),
        (json!("/a/*rest"), "Dynamic URL is not allowed"),
        (json!(long), "Invalid Path format"),
    ] {
        cases.push(route_with("path", &path, told));
    }
    for (field, value, told) in [
        ("image", json!(""), "Missing route Image"),
        ("image", json!(null), "Missing route Image"),
        ("image", json!(1), "route.image: "),
        ("image", json!("UPPER:1"), "image: "),
        ("image", json!("a b"), "image: "),
        ("image", json!("../x"), "image: "),
        ("image", json!("none:1"), "image: "),
        ("image", json!("registry.example.org/x"), "image: "),
        ("image", json!("x".repeat(600)), "image: "),
        ("memory", json!(-1), "route.memory: "),
        ("memory", json!(1.5), "route.memory: "),
        ("memory", json!("128"), "route.memory: "),
        ("memory", json!(1e30), "route.memory: "),
        ("memory", json!(u64::MAX), "memory: must be"),
        ("memory", json!(4097), "memory: must be"),
        ("timeout", json!(2_147_483_648_u64), "route.timeout: "),
        ("timeout", json!(901), "timeout: must be"),
        ("timeout", json!("30"), "route.timeout: "),
        ("timeout", json!(-1), "Negative timeout"),
        ("idle_timeout", json!(-1), "Negative idle timeout"),
        ("idle_timeout", json!(i32::MAX), "idle_timeout: must be"),
        ("max_concurrency", json!(-1), "Negative MaxConcurrency"),
        ("max_concurrency", json!(1001), "max_concurrency: must be"),
        ("max_concurrency", json!(9_223_372_036_854_775_808_u64), "route.max_concurrency: "),
        ("type", json!("later"), "Invalid route Type"),
        ("type", json!("SYNC"), "Invalid route Type"),
        ("type", json!(1), "route.type: "),
        ("format", json!("carrier-pigeon"), "Invalid route Format"),
        ("format", json!({}), "route.format: "),
        ("headers", json!([]), "route.headers: "),
        ("headers", json!({"X": "x"}), "route.headers.X: "),
        ("headers", json!({"X": [1]}), "route.headers.X[0]: "),
        ("headers", json!({"": ["x"]}), "headers: "),
        ("headers", json!({"a b": ["x"]}), "headers: "),
        ("headers", json!({"X": ["a\r\nSet-Cookie: b=c"]}), "headers: "),
        ("headers", json!({"Content-Length": ["1"]}), "headers: "),
        ("headers", json!({"transfer-encoding": ["chunked"]}), "headers: "),
        ("headers", json!({"Picasso-Call-Id": ["x"]}), "headers: "),
        ("headers", json!({"X": ["x".repeat(9000)]}), "headers: "),
        ("config", json!({"A B": "1"}), "config: "),
        ("config", json!({"A": true}), "route.config.A: "),
        ("config", json!({"A": "x".repeat(33 * 1024)}), "config: "),
        ("jwt_key", json!(1), "route.jwt_key: "),
    ] {
        cases.push(route_with(field, &value, told));
        if field != "image" || told != "Missing route Image" {
            cases.push(change_with(field, &value, told));
        }
    }
    let good = json!({"route": {"path": "/new", "image": "good:1"}}).to_string();
    for name in ["a%20b", "%2e%2e", "%00", "gr%C3%BC%C3%9Fe", "a%2fb"] {
        let path = format!("/v1/apps/{name}/routes");
        cases.push(case("POST", &path, good.clone(), 400, "Invalid app name"));
    }
    let path = format!("/v1/apps/{}/routes", "x".repeat(31));
    cases.push(case("POST", &path, good, 400, "30 characters or less"));
    cases
}

fn paths() -> Vec<Case> {
    let (no_app, no_route) = ("App not found", "Route not found");
    let mut cases = Vec::new();
    for (path, told) in [
        ("/v1/apps/%00", no_app),
        ("/v1/apps/%ff", no_app),
        ("/v1/apps/%2e%2e", no_app),
        ("/v1/apps/a%2fb", no_app),
        ("/v1/apps/APP", no_app),
        ("/v1/apps/app%20", no_app),
        ("/v1/apps/app;x=1", no_app),
        ("/v1/apps/app%0d%0aX:1", no_app),
        ("/v1/apps/app-ironfunctions", no_app),
        ("/v1/apps/none/routes", no_app),
        ("/v1/apps/app/routes/%00", no_route),
        ("/v1/apps/app/routes/%ff", no_app),
        ("/v1/apps/app/routes/%2e%2e/%2e%2e/a%00", no_route),
        ("/v1/apps/app/routes/A", no_route),
        ("/v1/apps/app/routes/:a", no_route),
        ("/r/app/%00", "Route not found on that application"),
        ("/r/app/*", "Route not found on that application"),
        ("/r/app/A", "Route not found on that application"),
        ("/r/%00/a", no_app),
        ("/r/app%2fa/a", no_app),
        ("/r/none/../app/x", "App not found"),
    ] {
        cases.push(case("GET", path, "", 404, told));
    }
    cases
}

/// Everything of this face that is stored.
async fn stored(server: &Server) -> Vec<Value> {
    let mut all = Vec::new();
    for path in ["/v1/apps", "/v1/routes"] {
        let reply = server.iron.send("GET", path, &[], "").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        all.push(reply.json());
    }
    all
}

#[tokio::test]
async fn bad_input_on_the_ironfunctions_face_is_told_and_changes_nothing() {
    let server = Server::start().await;
    server.image("good:1", "cat").await;
    let route = json!({"route": {"path": "/a", "image": "good:1", "config": {"A": "1"}}});
    assert_eq!(ask(&server, "POST", "/v1/apps/app/routes", &route).await.status, 200);
    let before = stored(&server).await;
    let cases: Vec<Case> = [bodies(), apps(), routes(), paths()].into_iter().flatten().collect();
    assert!(cases.len() >= 150, "{}", cases.len());
    let mut wrong = Vec::new();
    for Case { method, path, body, status, told } in &cases {
        let reply = server.iron.send(method, path, &[], body.clone()).await;
        let json = reply.header("content-type") == "application/json; charset=utf-8";
        let error: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let [message, fields] = ["message", "fields"].map(|name| error["error"][name].as_str().unwrap_or(""));
        let says = message.contains(told) || fields.contains(told);
        if reply.status != *status || !json || message.is_empty() || !says {
            let body = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
            wrong.push(format!(
                "{method} {path} {body}\n    {} {}\n    not {status} {told}",
                reply.status, error
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert_eq!(stored(&server).await, before);
}

#[tokio::test]
async fn a_task_that_is_none_is_refused_by_its_field() {
    let server = Server::start_with(Options { iron_key: Some(KEY), ..Options::default() }).await;
    let good = token(KEY, &json!({}));
    for (body, status, told) in [
        ("", 400, "not valid JSON"),
        ("[]", 400, "sequence"),
        ("{}", 400, "missing field `id`"),
        (r#"{"id":1}"#, 400, "id: "),
        (r#"{"id":null}"#, 400, "id: "),
        (r#"{"id":"a","id":"b"}"#, 400, "\"id\" twice"),
        (r#"{"id":""}"#, 404, "Task not found"),
        (r#"{"id":"../x"}"#, 404, "Task not found"),
        (r#"{"id":"\u0000"}"#, 404, "Task not found"),
    ] {
        let reply = server.iron.send("DELETE", "/tasks", &[("authorization", &good)], body).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text());
        assert!(reply.text().contains(&told.replace('"', "\\\"")), "{body}: {}", reply.text());
    }
}

#[tokio::test]
async fn urls_that_are_none_of_this_face_are_not_found() {
    let server = Server::start().await;
    for path in [
        "/v1",
        "/v1/",
        "/v1//apps",
        "/V1/apps",
        "/v2/apps",
        "/v1/apps/a/b",
        "/r",
        "/r/",
        "/TASKS",
        "/tasks/x",
    ] {
        let reply = server.iron.send("GET", path, &[], "").await;
        assert_eq!((reply.status, reply.json()), (404, json!("Not Found")), "{path}");
    }
}
