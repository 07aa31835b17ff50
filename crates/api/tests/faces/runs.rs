//! Wrapped runs, private and public.

use std::time::Duration;

use picasso_api::ApiSettings;
use picasso_testkit::process::wait_until;
use picasso_types::{CallId, CallState};
use serde_json::json;

use crate::support::{Options, PROJECT, Server};

#[tokio::test]
async fn the_body_reaches_stdin_byte_for_byte_and_the_output_comes_back_wrapped() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a/b", "cat", json!({})).await;
    // Spacing and order of a body are the caller's.
    let body = "{\"b\": 1,  \"a\":\"\\u00fc\"}";
    let headers = [("x-auth-token", "member"), ("content-type", "application/json; charset=utf-8")];
    for url in
        [format!("/v1/r/{PROJECT}/hello/a/b"), format!("/v1/r/{PROJECT}/{app}/a/b"), format!("/r/{app}/a/b")]
    {
        let reply = server.api.send("POST", &url, &headers, body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let expected =
            json!({"result": body, "message": format!("App {app} sync route /a/b execution finished")});
        assert_eq!(reply.json(), expected);
        assert!(!reply.header("picasso-call-id").is_empty());
    }
    let empty = server.api.send("POST", &format!("/r/{app}/a/b"), &[], "").await;
    assert_eq!(empty.json()["result"], "");
}

#[tokio::test]
async fn output_that_is_not_text_comes_as_base64() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "printf '\\377\\000'", json!({})).await;
    let reply = server.api.send("POST", &format!("/r/{app}/a"), &[], "").await.json();
    assert_eq!((&reply["result"], &reply["encoding"]), (&json!("/wA="), &json!("base64")));
}

#[tokio::test]
async fn a_public_run_of_a_private_route_is_403_or_hidden() {
    for (hide, status, message) in
        [(false, 403, "Unable to execute private route /a"), (true, 404, "Route /a not found")]
    {
        let api = ApiSettings { hide_private_routes: hide, ..ApiSettings::default() };
        let server = Server::start_with(Options { api, ..Options::default() }).await;
        let app = server.app().await;
        server.route("/a", "cat", json!({"is_public": false})).await;
        let reply = server.api.send("POST", &format!("/r/{app}/a"), &[], "").await;
        assert_eq!((reply.status, reply.message().as_str()), (status, message));
        let missing = server.api.send("POST", &format!("/r/{app}/b"), &[], "").await;
        assert_eq!((missing.status, missing.message().as_str()), (404, "Route /b not found"));
        let private = server.api.post(&format!("/v1/r/{PROJECT}/hello/a"), "member", &json!({})).await;
        assert_eq!(private.status, 200);
    }
}

#[tokio::test]
async fn public_runs_take_the_full_name_only() {
    let server = Server::start().await;
    server.app().await;
    server.route("/a", "cat", json!({})).await;
    let reply = server.api.send("POST", "/r/hello/a", &[], "").await;
    assert_eq!((reply.status, reply.message().as_str()), (404, "App hello not found"));
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "cat", json!({})).await;
    let url = format!("/r/{app}/a");
    let json = [("content-type", "application/json")];
    for bad in ["[]", "x", "1", "{"] {
        let reply = server.api.send("POST", &url, &json, bad).await;
        assert_eq!((reply.status, reply.kind().as_str()), (400, "invalid_body"), "{bad}");
    }
    let reply = server.api.send("POST", &url, &[("content-type", "text/plain")], "{}").await;
    assert_eq!(reply.status, 400);
    assert!(reply.message().starts_with("Invalid content type"));
}

#[tokio::test]
async fn a_failed_run_tells_its_caller_and_tells_strangers_less() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "echo secret-reason >&2; exit 3", json!({})).await;
    let private = server.api.post(&format!("/v1/r/{PROJECT}/hello/a"), "member", &json!({})).await;
    assert_eq!((private.status, private.kind().as_str()), (502, "function_exited"));
    assert_eq!(private.json()["error"]["stderr"], "secret-reason\n");
    assert!(CallId::parse(private.json()["error"]["call_id"].as_str().unwrap()).is_ok());
    let public = server.api.send("POST", &format!("/r/{app}/a"), &[], "").await;
    assert_eq!(public.status, 502);
    assert!(!public.text().contains("secret-reason"));
    assert!(public.json()["error"].get("call_id").is_none());
    for reply in [private, public] {
        assert!(CallId::parse(reply.header("picasso-call-id")).is_ok());
        assert_eq!(reply.header("fn-call-id"), reply.header("picasso-call-id"));
    }
}

#[tokio::test]
async fn an_async_run_answers_its_call_id_and_runs_later() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "cat >/dev/null", json!({"type": "async"})).await;
    for url in [format!("/v1/r/{PROJECT}/hello/a"), format!("/r/{app}/a")] {
        let reply = server.api.post(&url, "member", &json!({"a": 1})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["message"], format!("App {app} async route /a execution started"));
        let id = CallId::parse(reply.json()["call_id"].as_str().unwrap()).unwrap();
        let ended = async || {
            server.state.store.get_call(&id).await.is_ok_and(|call| call.state == CallState::Succeeded)
        };
        wait_until(Duration::from_secs(20), "the call", ended).await.unwrap();
    }
}

#[tokio::test]
async fn a_result_over_the_limit_is_an_error_and_not_half_a_result() {
    let api = ApiSettings { max_result_bytes: 1000, ..ApiSettings::default() };
    let server = Server::start_with(Options { api, ..Options::default() }).await;
    let app = server.app().await;
    server.route("/a", "head -c 1001 /dev/zero", json!({})).await;
    server.route("/b", "head -c 1000 /dev/zero", json!({})).await;
    let reply = server.api.send("POST", &format!("/r/{app}/a"), &[], "").await;
    assert_eq!((reply.status, reply.kind().as_str()), (502, "function_output_too_large"));
    assert_eq!(server.api.send("POST", &format!("/r/{app}/b"), &[], "").await.status, 200);
}

#[tokio::test]
async fn a_route_that_does_not_take_post_says_what_it_takes() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "cat", json!({"methods": ["GET", "PUT"]})).await;
    let reply = server.api.send("POST", &format!("/r/{app}/a"), &[], "").await;
    assert_eq!((reply.status, reply.header("allow")), (405, "GET, PUT"));
}
