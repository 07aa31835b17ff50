//! The IronFunctions face: apps, routes, and who may speak to it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use picasso_types::{Clock as _, SystemClock};
use ring::hmac;
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::{Options, PROJECT, Server};

/// A request with a JSON body, undeclared, as `curl -d` sends it.
pub async fn ask(server: &Server, method: &str, path: &str, body: &Value) -> Reply {
    server.iron.send(method, path, &[], body.to_string()).await
}

async fn told(server: &Server, method: &str, path: &str, body: &str) -> (u16, String) {
    let reply = server.iron.send(method, path, &[], body.to_owned()).await;
    assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
    (reply.status, reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn apps_are_made_shown_changed_and_deleted_in_ironfunctions_words() {
    let server = Server::start().await;
    let body = json!({"app": {"name": "MyApp_1", "config": {"A": "1", "B": "2"}}});
    let made = ask(&server, "POST", "/v1/apps", &body).await;
    let app = json!({"name": "MyApp_1", "config": {"A": "1", "B": "2"}});
    assert_eq!(made.status, 200);
    assert_eq!(made.json(), json!({"message": "App successfully created", "app": app}));
    let shown = server.iron.send("GET", "/v1/apps/MyApp_1", &[], "").await.json();
    assert_eq!(shown, json!({"message": "Successfully loaded app", "app": app}));
    let change = json!({"app": {"config": {"A": "", "C": "3"}}});
    let changed = ask(&server, "PATCH", "/v1/apps/MyApp_1", &change).await.json();
    let app = json!({"name": "MyApp_1", "config": {"B": "2", "C": "3"}});
    assert_eq!(changed, json!({"message": "App successfully updated", "app": app}));
    let listed = server.iron.send("GET", "/v1/apps", &[], "").await.json();
    assert_eq!(listed, json!({"message": "Successfully listed applications", "apps": [app]}));
    let gone = server.iron.send("DELETE", "/v1/apps/MyApp_1", &[], "").await;
    assert_eq!((gone.status, gone.json()), (200, json!({"message": "App deleted"})));
    assert_eq!(server.iron.send("GET", "/v1/apps/MyApp_1", &[], "").await.status, 404);
}

#[tokio::test]
async fn changes_at_one_time_are_all_merged() {
    let server = Server::start().await;
    server.image("hello:1", "true").await;
    let route = json!({"route": {"path": "/hello", "image": "hello:1"}});
    assert_eq!(ask(&server, "POST", "/v1/apps/app/routes", &route).await.status, 200);
    for (path, part) in [("/v1/apps/app", "app"), ("/v1/apps/app/routes/hello", "route")] {
        let changes = (0..8).map(|n| {
            let body = json!({part: {"config": {format!("KEY_{n}"): "1"}}}).to_string();
            let client = server.iron.clone();
            tokio::spawn(async move { client.send("PATCH", path, &[], body).await.status })
        });
        for change in changes.collect::<Vec<_>>() {
            assert_eq!(change.await.unwrap(), 200);
        }
        let config = server.iron.send("GET", path, &[], "").await.json()[part]["config"].clone();
        assert_eq!(config.as_object().unwrap().len(), 8, "{config}");
    }
}

#[tokio::test]
async fn a_refused_app_is_told_in_ironfunctions_words() {
    let server = Server::start().await;
    ask(&server, "POST", "/v1/apps", &json!({"app": {"name": "taken"}})).await;
    server.image("x:1", "true").await;
    ask(&server, "POST", "/v1/apps/taken/routes", &json!({"route": {"path": "/a", "image": "x:1"}})).await;
    let long = json!({"app": {"name": "x".repeat(31)}}).to_string();
    let list = "validation failure list:\n";
    for (method, path, body, status, message) in [
        ("POST", "/v1/apps", "{", 400, "Invalid JSON".to_owned()),
        ("POST", "/v1/apps", r#"{"app":{"name":1}}"#, 400, "Invalid JSON".to_owned()),
        ("POST", "/v1/apps", "{}", 400, "Missing new application".to_owned()),
        ("POST", "/v1/apps", r#"{"app":{}}"#, 400, format!("{list}Missing app name")),
        ("POST", "/v1/apps", r#"{"app":{"name":"a b"}}"#, 400, format!("{list}Invalid app name")),
        ("POST", "/v1/apps", &long, 400, format!("{list}App name must be 30 characters or less")),
        ("POST", "/v1/apps", r#"{"app":{"name":"taken"}}"#, 409, "App already exists".to_owned()),
        ("PATCH", "/v1/apps/taken", "{}", 400, "Missing new application".to_owned()),
        (
            "PATCH",
            "/v1/apps/taken",
            r#"{"app":{"name":"taken"}}"#,
            400,
            "Could not update app - name is immutable".to_owned(),
        ),
        ("PATCH", "/v1/apps/none", r#"{"app":{}}"#, 404, "App not found".to_owned()),
        ("DELETE", "/v1/apps/none", "", 404, "App not found".to_owned()),
        ("DELETE", "/v1/apps/taken", "", 400, "Cannot remove apps with routes".to_owned()),
        ("GET", "/v1/apps/taken-ironfunctions", "", 404, "App not found".to_owned()),
    ] {
        assert_eq!(told(&server, method, path, body).await, (status, message), "{method} {path} {body}");
    }
}

#[tokio::test]
async fn a_route_makes_its_app_and_is_shown_with_all_its_fields() {
    let server = Server::start().await;
    server.image("hello:1", "true").await;
    let body = json!({"route": {"path": "/hello", "image": "hello:1"}});
    let made = ask(&server, "POST", "/v1/apps/new/routes", &body).await;
    let route = json!({
        "app_name": "new", "path": "/hello", "image": "hello:1", "memory": 128, "headers": {},
        "type": "sync", "format": "default", "max_concurrency": 1, "timeout": 30, "idle_timeout": 30,
        "config": {},
    });
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(made.json(), json!({"message": "Route successfully created", "route": route}));
    assert_eq!(server.iron.send("GET", "/v1/apps/new", &[], "").await.status, 200);
    for path in ["/v1/apps/new/routes/hello", "/v1/apps/new/routes/hello/", "/v1/apps/new/routes//x/../hello"]
    {
        let shown = server.iron.send("GET", path, &[], "").await;
        assert_eq!(shown.json(), json!({"message": "Successfully loaded route", "route": route}), "{path}");
    }
    for (path, routes) in [
        ("/v1/apps/new/routes", json!([route])),
        ("/v1/routes", json!([route])),
        ("/v1/apps/new/routes?image=hello:1", json!([route])),
        ("/v1/apps/new/routes?image=hello:2", json!([])),
    ] {
        let listed = server.iron.send("GET", path, &[], "").await.json();
        assert_eq!(listed, json!({"message": "Sucessfully listed routes", "routes": routes}), "{path}");
    }
    let gone = server.iron.send("DELETE", "/v1/apps/new/routes/hello", &[], "").await;
    assert_eq!((gone.status, gone.json()), (200, json!({"message": "Route deleted"})));
}

#[tokio::test]
async fn a_change_of_a_route_merges_as_ironfunctions_does() {
    let server = Server::start().await;
    server.image("hello:1", "true").await;
    let body = json!({"route": {
        "path": "/", "image": "hello:1", "memory": 64, "config": {"A": "1", "B": "2"},
        "headers": {"X-A": ["1"], "X-B": ["1"]},
    }});
    assert_eq!(ask(&server, "POST", "/v1/apps/new/routes", &body).await.status, 200);
    let change = json!({"route": {
        "memory": 0, "timeout": 5, "type": "async", "max_concurrency": 3, "image": "",
        "config": {"A": "", "C": "3"}, "headers": {"X-A": ["2"], "X-B": [], "X-C": ["3"]},
    }});
    let changed = ask(&server, "PATCH", "/v1/apps/new/routes/", &change).await.json();
    assert_eq!(changed["message"], "Route successfully updated");
    assert_eq!(
        changed["route"],
        json!({
            "app_name": "new", "path": "/", "image": "hello:1", "memory": 64,
            "headers": {"X-A": ["1", "2"], "X-C": ["3"]}, "type": "async", "format": "default",
            "max_concurrency": 3, "timeout": 5, "idle_timeout": 30, "config": {"B": "2", "C": "3"},
        })
    );
}

#[tokio::test]
async fn a_refused_route_is_told_in_ironfunctions_words_and_makes_no_app() {
    let server = Server::start().await;
    server.image("x:1", "true").await;
    let taken = json!({"route": {"path": "/a", "image": "x:1"}});
    ask(&server, "POST", "/v1/apps/app/routes", &taken).await;
    let list = "validation failure list:\nvalidation failure list:\n";
    for (method, path, body, status, message) in [
        ("POST", "/v1/apps/none/routes", "[", 400, "Invalid JSON".to_owned()),
        ("POST", "/v1/apps/none/routes", "{}", 400, "Missing new route".to_owned()),
        (
            "POST",
            "/v1/apps/none/routes",
            r#"{"route":{"path":"/users/:id","type":"later"}}"#,
            400,
            format!("{list}Missing route Image\nDynamic URL is not allowed\nInvalid route Type"),
        ),
        (
            "POST",
            "/v1/apps/none/routes",
            r#"{"route":{"path":"/a","image":"x:1","headers":{"Content-Length":["1"]}}}"#,
            400,
            format!("{list}headers: \"Content-Length\" is not a route's to set"),
        ),
        (
            "POST",
            "/v1/apps/a%20b/routes",
            r#"{"route":{"path":"/a","image":"x:1"}}"#,
            400,
            "validation failure list:\nInvalid app name".to_owned(),
        ),
        ("POST", "/v1/apps/app/routes", &taken.to_string(), 409, "Route already exists".to_owned()),
        (
            "PATCH",
            "/v1/apps/app/routes/a",
            r#"{"route":{"path":"/a"}}"#,
            400,
            "Could not update route - path is immutable".to_owned(),
        ),
        (
            "PATCH",
            "/v1/apps/app/routes/a",
            r#"{"route":{"timeout":-1}}"#,
            400,
            format!("{list}Negative timeout"),
        ),
        ("PATCH", "/v1/apps/app/routes/b", r#"{"route":{}}"#, 404, "Route not found".to_owned()),
        ("GET", "/v1/apps/app/routes/b", "", 404, "Route not found".to_owned()),
        ("GET", "/v1/apps/none/routes/a", "", 404, "Route not found".to_owned()),
        ("DELETE", "/v1/apps/app/routes/b", "", 404, "Route not found".to_owned()),
    ] {
        assert_eq!(told(&server, method, path, body).await, (status, message), "{method} {path} {body}");
    }
    let reply = told(
        &server,
        "POST",
        "/v1/apps/none/routes",
        r#"{"route":{"path":"/a","image":"registry.example.org/x"}}"#,
    )
    .await;
    assert!(reply.0 == 400 && reply.1.contains("image: "), "{reply:?}");
    assert_eq!(server.iron.send("GET", "/v1/apps/none", &[], "").await.status, 404);
}

#[tokio::test]
async fn no_token_gets_into_the_namespace_and_its_apps_are_on_no_other_face() {
    let server = Server::start().await;
    server.image("hello:1", "echo hello").await;
    let full = server.app().await;
    let body = json!({"route": {"path": "/hello", "image": "hello:1"}});
    assert_eq!(ask(&server, "POST", "/v1/apps/hello/routes", &body).await.status, 200);
    assert_eq!(server.iron.send("GET", "/r/hello/hello", &[], "").await.text(), "hello\n");

    assert_eq!(server.api.get("/v1/ironfunctions/apps", "admin").await.status, 404);
    let run = server.api.post("/v1/r/ironfunctions/hello/hello", "admin", &json!({})).await;
    assert_eq!(run.status, 404);
    for name in ["hello", "hello-ironfunctions", "hello-ironfunctio"] {
        assert_eq!(server.functions.send("GET", &format!("/f/{name}/hello"), &[], "").await.status, 404);
        assert_eq!(server.api.post(&format!("/r/{name}/hello"), "", &json!({})).await.status, 404);
        let url = format!("/v1/f/ironfunctions/{name}/hello");
        assert_eq!(server.functions.get(&url, "admin").await.status, 404);
    }
    // The project's own app of the same name has no such route, and is not this face's.
    assert_eq!(server.api.get(&format!("/v1/{PROJECT}/apps/hello/routes/hello"), "member").await.status, 404);
    assert_eq!(server.iron.send("GET", &format!("/v1/apps/{full}"), &[], "").await.status, 404);
    let listed = server.iron.send("GET", "/v1/apps", &[], "").await.json();
    assert_eq!(listed["apps"].as_array().unwrap().len(), 1);
}

/// The key of the service's tokens.
pub const KEY: &str = "the key of this service";

/// What a request with this token has in `Authorization`.
pub fn token(key: &str, claims: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "typ": "JWT"}).to_string());
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), signed.as_bytes());
    format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

#[tokio::test]
async fn the_services_token_guards_v1_and_tasks_and_nothing_else() {
    let server = Server::start_with(Options { iron_key: Some(KEY), ..Options::default() }).await;
    let now = SystemClock.now().0 / 1_000_000;
    let good = token(KEY, &json!({"exp": now + 600, "iat": now, "nbf": now - 60}));
    let guarded = [
        ("GET", "/v1/apps", 200),
        ("POST", "/v1/apps", 400),
        ("GET", "/v1/apps/a", 404),
        ("PATCH", "/v1/apps/a", 400),
        ("DELETE", "/v1/apps/a", 404),
        ("GET", "/v1/routes", 200),
        ("GET", "/v1/apps/a/routes", 404),
        ("POST", "/v1/apps/a/routes", 400),
        ("GET", "/v1/apps/a/routes/b", 404),
        ("PATCH", "/v1/apps/a/routes/b", 400),
        ("DELETE", "/v1/apps/a/routes/b", 404),
        ("GET", "/v1/apps/a/routes/", 404),
        ("GET", "/tasks", 202),
        ("DELETE", "/tasks", 400),
    ];
    let bad = [
        token("another key", &json!({})),
        token(KEY, &json!({"exp": now - 1})),
        "Basic dTpw".to_owned(),
        String::new(),
    ];
    for (method, path, status) in guarded {
        let reply = server.iron.send(method, path, &[("authorization", &good)], "").await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        for bad in &bad {
            let reply = server.iron.send(method, path, &[("authorization", bad)], "").await;
            assert_eq!(reply.status, 401, "{method} {path}");
            assert_eq!(reply.json(), json!({"error": "Invalid API Authorization token."}));
        }
    }
    for (path, status) in [("/", 200), ("/version", 200), ("/stats", 200), ("/r/a/b", 404), ("/v2", 404)] {
        assert_eq!(server.iron.send("GET", path, &[], "").await.status, status, "{path}");
    }
}

#[tokio::test]
async fn tasks_are_nobodys_where_no_key_is_set() {
    let server = Server::start().await;
    assert_eq!(server.iron.send("GET", "/tasks", &[], "").await.status, 401);
    assert_eq!(server.iron.send("DELETE", "/tasks", &[], "").await.status, 401);
}

#[tokio::test]
async fn another_host_or_origin_is_refused_before_anything() {
    let server = Server::start().await;
    for path in ["/", "/v1/apps", "/r/a/b", "/tasks", "/nothing"] {
        let reply = server.iron.send("GET", path, &[("host", "evil.example")], "").await;
        assert_eq!(reply.status, 421, "{path}");
        assert!(reply.json()["error"]["message"].as_str().unwrap().contains("allowed_hosts"));
    }
    let body = json!({"app": {"name": "evil"}}).to_string();
    for origin in ["http://evil.example", "null", "https://127.0.0.1.evil.example"] {
        let reply = server.iron.send("POST", "/v1/apps", &[("origin", origin)], body.clone()).await;
        assert_eq!(reply.status, 403, "{origin}");
    }
    assert_eq!(server.iron.send("GET", "/v1/apps/evil", &[], "").await.status, 404);
    let own = [("origin", "http://127.0.0.1:8080")];
    assert_eq!(server.iron.send("POST", "/v1/apps", &own, body).await.status, 200);
}

#[tokio::test]
async fn the_service_tells_of_itself_and_anything_else_is_not_found() {
    let server = Server::start().await;
    let hello = server.iron.send("GET", "/", &[], "").await.json();
    assert_eq!(hello, json!({"hello": "world!", "goto": "https://github.com/iron-io/functions"}));
    let version = server.iron.send("GET", "/version", &[], "").await.json();
    assert_eq!(version, json!({"version": env!("CARGO_PKG_VERSION")}));
    for (method, path) in [("GET", "/x"), ("PUT", "/v1/apps"), ("GET", "/shutdown"), ("POST", "/version")] {
        let reply = server.iron.send(method, path, &[], "").await;
        assert_eq!((reply.status, reply.json()), (404, json!("Not Found")), "{method} {path}");
    }
}
