//! Function URLs: the request as it is, the bytes as they are.

use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use picasso_engine::EngineSettings;
use picasso_testkit::process::wait_until;
use serde_json::json;

use crate::support::client::Reply;
use crate::support::{Options, PROJECT, Server};

/// Prints what a function sees.
const ECHO: &str = "env | sort; echo --; cat";

fn line<'a>(reply: &'a str, name: &str) -> Option<&'a str> {
    reply.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

async fn failing(server: &Server, path: &str, script: &str, fields: serde_json::Value) -> Reply {
    let app = format!("hello-{}", &PROJECT[..24]);
    server.route(path, script, fields).await;
    server.functions.send("GET", &format!("/f/{app}{path}"), &[], "").await
}

#[tokio::test]
async fn method_query_headers_parameters_and_body_reach_the_function() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/users/:id/*rest", ECHO, json!({})).await;
    let url = format!("/f/{app}/users/j%C3%BCrgen/a/b?x=1&y=%20");
    let headers = [("x-custom", "yes"), ("content-type", "application/octet-stream")];
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let reply = server.functions.send(method, &url, &headers, "body \u{fc}").await;
        let text = reply.text();
        assert_eq!(reply.status, 200, "{text}");
        assert_eq!(line(&text, "METHOD"), Some(method));
        assert_eq!(line(&text, "PARAM_ID"), Some("jürgen"));
        assert_eq!(line(&text, "PARAM_REST"), Some("a/b"));
        assert_eq!(line(&text, "HEADER_X_CUSTOM"), Some("yes"));
        let seen = line(&text, "REQUEST_URL").unwrap();
        assert_eq!(seen, format!("http://{}{url}", server.functions_address));
        assert!(text.ends_with("--\nbody \u{fc}"), "{text}");
        assert_eq!(line(&text, "PICASSO_CALL_ID"), Some(reply.header("picasso-call-id")));
    }
    let head = server.functions.send("HEAD", &url, &headers, "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn credentials_and_identity_do_not_reach_the_function() {
    let server = Server::start().await;
    server.app().await;
    server.route("/a", ECHO, json!({"is_public": false})).await;
    let headers = [
        ("x-auth-token", "member"),
        ("x-service-token", "secret-service"),
        ("authorization", "secret-authorization"),
        ("x-user-id", "forged"),
        ("x-roles", "admin"),
        ("x_project_id", "forged"),
        ("cookie", "picasso_session=secret-cookie; mine=1"),
        ("connection", "x-secret-hop"),
        ("x-secret-hop", "secret-hop"),
    ];
    let reply = server.functions.send("GET", &format!("/v1/f/{PROJECT}/hello/a"), &headers, "").await;
    let text = reply.text();
    assert_eq!(reply.status, 200, "{text}");
    for bad in ["secret", "forged", "HEADER_X_ROLES", "HEADER_AUTHORIZATION", "HEADER_X_AUTH_TOKEN"] {
        assert!(!text.contains(bad), "{bad} reached the function:\n{text}");
    }
    assert_eq!(line(&text, "HEADER_COOKIE"), Some("mine=1"));
}

/// As an application behind keystonemiddleware with `delay_auth_decision` that asks for nobody.
#[tokio::test]
async fn a_public_function_is_called_as_nobody_whatever_token_comes_along() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", ECHO, json!({})).await;
    let forged = ["x-user-id", "x-roles", "x-identity-status", "x-service-user-id", "openstack-system-scope"];
    for is_run in [false, true] {
        let seen = async |tokens: &[(&str, &str)]| {
            let identity = forged.iter().filter(|_| !tokens.is_empty()).map(|name| (*name, "forged"));
            let headers: Vec<_> = tokens.iter().copied().chain(identity).collect();
            let reply = if is_run {
                server.api.send("POST", &format!("/r/{app}/a"), &headers, "").await
            } else {
                server.functions.send("POST", &format!("/f/{app}/a"), &headers, "").await
            };
            assert_eq!(reply.status, 200, "{tokens:?}: {}", reply.text());
            let text =
                if is_run { reply.json()["result"].as_str().unwrap().to_owned() } else { reply.text() };
            assert!(line(&text, "METHOD").is_some(), "{text}");
            // Each call has ids, and a trace, of its own.
            let ids = ["PICASSO_CALL_ID=", "FN_CALL_ID=", "HEADER_TRACEPARENT="];
            let own = |line: &&str| !ids.iter().any(|id| line.starts_with(id));
            text.lines().filter(own).map(str::to_owned).collect::<Vec<_>>()
        };
        let nobody = seen(&[]).await;
        for tokens in [
            &[("x-auth-token", "garbage")][..],
            &[("x-auth-token", "")],
            &[("x-auth-token", "a"), ("x-auth-token", "b")],
            &[("x-auth-token", "keystone-down")],
            &[("x-auth-token", "member")],
            &[("x-auth-token", "other"), ("x-service-token", "garbage")],
            &[("x-storage-token", "garbage"), ("x-service-token", "service")],
        ] {
            assert_eq!(seen(tokens).await, nobody, "{tokens:?}");
        }
    }
}

#[tokio::test]
async fn a_strangers_authorization_belongs_to_the_function() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", ECHO, json!({})).await;
    let headers = [("authorization", "Bearer of-the-function"), ("x-auth-token", "secret")];
    let text = server.functions.send("GET", &format!("/f/{app}/a"), &headers, "").await.text();
    assert_eq!(line(&text, "HEADER_AUTHORIZATION"), Some("Bearer of-the-function"));
    assert!(!text.contains("secret"));
}

#[tokio::test]
async fn a_trace_goes_on_and_a_call_without_one_begins_one() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", ECHO, json!({})).await;
    let url = format!("/f/{app}/a");
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("traceparent", given), ("tracestate", "a=1"), ("x-request-id", "mine")];
    let text = server.functions.send("GET", &url, &headers, "").await.text();
    assert_eq!(line(&text, "HEADER_TRACEPARENT"), Some(given));
    assert_eq!(line(&text, "HEADER_TRACESTATE"), Some("picasso=d:0,a=1"));
    assert_eq!(line(&text, "HEADER_X_REQUEST_ID"), Some("mine"));
    let headers = [("traceparent", "broken"), ("tracestate", "a=1"), ("x-request-id", "not an id")];
    let text = server.functions.send("GET", &url, &headers, "").await.text();
    assert_eq!(line(&text, "HEADER_TRACEPARENT").map(str::len), Some(55));
    assert_eq!(line(&text, "HEADER_TRACESTATE"), Some("picasso=d:0"));
    assert_eq!(line(&text, "HEADER_X_REQUEST_ID"), None);
}

#[tokio::test]
async fn private_and_missing_functions_answer_alike() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/private", "cat", json!({"is_public": false})).await;
    server.route("/private-get", "cat", json!({"is_public": false, "methods": ["GET"]})).await;
    let known = |reply: Reply, path: &str| {
        let id = reply.json()["error"]["request_id"].as_str().unwrap().to_owned();
        let mut headers: Vec<_> = reply
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap().replace(&id, "ID")))
            .filter(|header| !header.starts_with("date") && !header.starts_with("content-length"))
            .collect();
        headers.sort();
        (reply.status, headers, reply.text().replace(&id, "ID").replace(path, "PATH"))
    };
    let mut all = Vec::new();
    let other = format!("hello-{}", "f".repeat(24));
    for path in [
        format!("{app}/private"),
        format!("{app}/private-get"),
        format!("{app}/missing"),
        format!("{other}/missing"),
        "hello/private".to_owned(),
    ] {
        let reply = server.functions.send("POST", &format!("/f/{path}"), &[], "").await;
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
        all.push(known(reply, &path));
    }
    for one in &all {
        assert_eq!(one, &all[0]);
    }
}

#[tokio::test]
async fn the_methods_of_private_routes_are_not_told() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "cat", json!({"methods": ["GET"]})).await;
    server.image("private:1", "cat").await;
    let route = json!({"path": "/a", "image": "private:1", "methods": ["PUT"], "is_public": false});
    let url = format!("/v1/{PROJECT}/apps/hello/routes");
    assert_eq!(server.api.post(&url, "member", &json!({"route": route})).await.status, 200);
    let reply = server.functions.send("DELETE", &format!("/f/{app}/a"), &[], "").await;
    assert_eq!((reply.status, reply.header("allow")), (405, "GET"));
    let reply = server.functions.send("PUT", &format!("/f/{app}/a"), &[], "").await;
    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn a_function_with_a_token_url_is_called_by_short_and_full_name() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "cat", json!({"is_public": false})).await;
    for name in ["hello", &app] {
        let url = format!("/v1/f/{PROJECT}/{name}/a");
        let reply = server.functions.send("POST", &url, &[("x-auth-token", "member")], "hi").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "hi"));
        let reader = server.functions.send("POST", &url, &[("x-auth-token", "reader")], "hi").await;
        assert_eq!(reader.status, 403);
        assert_eq!(server.functions.send("POST", &url, &[], "hi").await.status, 401);
    }
    for url in [format!("/v1/f/{PROJECT}/hello/b"), format!("/v1/f/{PROJECT}/nobody/a")] {
        let reply = server.functions.send("GET", &url, &[("x-auth-token", "member")], "").await;
        assert_eq!((reply.status, reply.kind().as_str()), (404, "function_not_found"));
    }
}

#[tokio::test]
async fn text_and_other_bytes_are_told_apart_and_never_guessed_at() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/text", "printf '<html>gr\\303\\274n'", json!({})).await;
    server.route("/bytes", "printf '\\377\\330'", json!({})).await;
    let text = server.functions.send("GET", &format!("/f/{app}/text"), &[], "").await;
    assert_eq!(text.headers[CONTENT_TYPE], "text/plain; charset=utf-8");
    let bytes = server.functions.send("GET", &format!("/f/{app}/bytes"), &[], "").await;
    assert_eq!(bytes.headers[CONTENT_TYPE], "application/octet-stream");
    assert_eq!(&bytes.body[..], b"\xff\xd8");
    for reply in [text, bytes] {
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn each_failure_before_the_answer_has_its_status() {
    let server = Server::start().await;
    server.app().await;
    let cases = [
        ("/exit", "exit 7", json!({}), 502, "function_exited"),
        ("/signal", "kill -SEGV $$", json!({}), 502, "function_signaled"),
        ("/memory", "kill -KILL $$", json!({}), 502, "function_out_of_memory"),
        ("/slow", "sleep 30", json!({"timeout": 1}), 504, "function_timeout"),
    ];
    for (path, script, fields, status, kind) in cases {
        let reply = failing(&server, path, script, fields).await;
        assert_eq!((reply.status, reply.kind().as_str()), (status, kind), "{path}");
        assert!(!reply.text().contains("call_id"));
    }
    let memory = server
        .functions
        .send("GET", &format!("/v1/f/{PROJECT}/hello/memory"), &[("x-auth-token", "member")], "")
        .await;
    assert!(memory.message().contains("out of memory"), "{}", memory.message());
}

#[tokio::test]
async fn without_a_place_the_answer_says_when_to_come_back() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "cat; sleep 30", json!({"max_concurrency": 1, "queue_timeout": 0})).await;
    let url = format!("/f/{app}/a");
    let (client, first_url) = (server.functions.clone(), url.clone());
    let first = tokio::spawn(async move { client.try_send("GET", &first_url, &[], "").await });
    wait_until(Duration::from_secs(10), "the first call", async || server.sandbox.running() == 1)
        .await
        .unwrap();
    let refused = server.functions.send("GET", &url, &[], "").await;
    assert_eq!((refused.status, refused.kind().as_str()), (503, "no_capacity"));
    assert!(refused.headers[RETRY_AFTER].to_str().unwrap().parse::<u32>().unwrap() >= 1);
    first.abort();
    // A hang-up ends the call and gives the place back.
    wait_until(Duration::from_secs(10), "the end of the call", async || server.sandbox.running() == 0)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_failure_after_the_head_aborts_the_connection() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/late", "head -c 200000 /dev/zero; exit 1", json!({})).await;
    server.route("/good", "head -c 200000 /dev/zero", json!({})).await;
    let good = server.functions.send("GET", &format!("/f/{app}/good"), &[], "").await;
    assert_eq!(good.body.len(), 200_000);
    let broken = server.functions.try_send("GET", &format!("/f/{app}/late"), &[], "").await;
    assert!(broken.is_err(), "half an answer passed for a whole one");
}

#[tokio::test]
async fn a_large_body_is_streamed_and_one_over_the_limit_refused() {
    let mut options = Options::default();
    options.api.max_function_body_bytes = 1_000_000;
    let server = Server::start_with(options).await;
    let app = server.app().await;
    server.route("/a", "wc -c | tr -d ' \\n'", json!({})).await;
    let url = format!("/f/{app}/a");
    let good = server.functions.send("POST", &url, &[], vec![b'x'; 1_000_000]).await;
    assert_eq!((good.status, good.text().as_str()), (200, "1000000"));
    let large = server.functions.send("POST", &url, &[], vec![b'x'; 1_000_001]).await;
    assert_eq!((large.status, large.kind().as_str()), (413, "body_too_large"));
}

#[tokio::test]
async fn too_much_output_before_the_head_is_an_error() {
    let engine = EngineSettings { max_output_bytes: 1000, ..EngineSettings::default() };
    let server = Server::start_with(Options { engine, ..Options::default() }).await;
    server.app().await;
    let reply = failing(&server, "/a", "head -c 1001 /dev/zero", json!({})).await;
    assert_eq!((reply.status, reply.kind().as_str()), (502, "function_output_too_large"));
}

#[tokio::test]
async fn an_async_function_is_accepted() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "cat", json!({"type": "async"})).await;
    let reply = server.functions.send("PUT", &format!("/f/{app}/a"), &[], vec![0xff_u8; 10]).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(reply.json()["call_id"], reply.header("picasso-call-id"));
}

#[tokio::test]
async fn the_root_route_is_reached_with_and_without_a_slash() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/", "cat", json!({})).await;
    for url in [format!("/f/{app}"), format!("/f/{app}/")] {
        assert_eq!(server.functions.send("POST", &url, &[], "hi").await.text(), "hi");
    }
}

#[tokio::test]
async fn the_functions_listener_has_nothing_but_functions() {
    let server = Server::start().await;
    for url in ["/", "/v1", "/api", "/healthcheck", "/metrics", &format!("/v1/{PROJECT}/apps"), "/r/a/b"] {
        let reply = server.functions.get(url, "member").await;
        assert_eq!((reply.status, reply.kind().as_str()), (404, "url_not_found"), "{url}");
    }
}
