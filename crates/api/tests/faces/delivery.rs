//! Delivery options, each through the whole server, with time in the test's hand.

use std::sync::Arc;
use std::time::Duration;

use picasso_engine::EngineSettings;
use picasso_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::clock::AheadClock;
use crate::support::{Options, PROJECT, Server};

const SOON: Duration = Duration::from_mins(1);

async fn start() -> (Server, Arc<AheadClock>) {
    let clock = Arc::new(AheadClock::default());
    let server = Server::start_with(Options { clock: clock.clone(), ..Options::default() }).await;
    server.app().await;
    (server, clock)
}

/// Calls the route by its function URL with a token.
async fn send(server: &Server, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let headers = [&[("x-auth-token", "member")], headers].concat();
    let url = format!("/v1/f/{PROJECT}/hello{path}");
    server.functions.send("POST", &url, &headers, body.as_bytes().to_vec()).await
}

async fn accepted(server: &Server, path: &str, headers: &[(&str, &str)]) -> String {
    let reply = send(server, path, headers, "").await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let id = reply.json()["call_id"].as_str().unwrap().to_owned();
    assert_eq!(reply.header("picasso-call-id"), id);
    id
}

async fn call(server: &Server, id: &str) -> Value {
    server.api.get(&format!("/v1/{PROJECT}/calls/{id}"), "reader").await.json()["call"].clone()
}

async fn comes_to(server: &Server, id: &str, status: &str, attempt: u32) -> Value {
    let there = async || {
        let call = call(server, id).await;
        call["status"] == status && call["attempt"] == attempt
    };
    wait_until(SOON, &format!("{status} after {attempt} runs"), there).await.unwrap();
    call(server, id).await
}

fn refused(reply: &Reply, header: &str) {
    assert_eq!((reply.status, reply.kind().as_str()), (400, "invalid_field"), "{}", reply.text());
    assert!(reply.message().contains(header), "{}", reply.message());
}

async fn total(server: &Server) -> usize {
    let calls = server.api.get(&format!("/v1/{PROJECT}/calls"), "reader").await.json();
    calls["calls"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_routes_delivery_options_are_shown_changed_and_set_back() {
    let (server, _) = start().await;
    let options = json!({
        "type": "async", "max_age": 600, "delay": 5, "priority": 2,
        "retry": {"max_attempts": 5, "backoff": {"initial": 2, "factor": 1.5, "max": 60, "jitter": 0.25},
                  "on": ["timeout", "error"]},
        "on_success": "route:hello/done", "on_failure": "https://example.org/failed",
        "callback_urls": ["https://example.org/hook"], "invoke": ["sync"],
    });
    let made = server.route("/a", "true", options.clone()).await.json();
    for (name, value) in options.as_object().unwrap() {
        assert_eq!(&made["route"][name], value, "{name}");
    }
    let url = format!("/v1/{PROJECT}/apps/hello/routes/a");
    let shown = server.api.get(&url, "reader").await.json();
    assert_eq!(shown["route"]["retry"], options["retry"]);
    let changed = server.api.put(&url, "member", &json!({"retry": null, "delay": 6})).await.json();
    assert_eq!((&changed["route"]["retry"], &changed["route"]["delay"]), (&Value::Null, &json!(6)));
    assert_eq!(changed["route"]["on_failure"], options["on_failure"], "what is not named stays");
    for (change, field) in [
        (json!({"retry": {"max_attempts": 101}}), "retry.max_attempts"),
        (json!({"retry": {"max_attempts": 2, "backoff": {"max": 99_999_999}}}), "retry.backoff.max"),
        (json!({"on_success": "mailto:me"}), "on_success"),
        (json!({"priority": 9}), "priority"),
        // This server has no Zaqar.
        (json!({"on_failure": "zaqar:failed-calls"}), "on_failure"),
    ] {
        refused(&server.api.put(&url, "member", &change).await, field);
    }
    let after = server.api.get(&url, "reader").await.json();
    assert_eq!(after["route"]["version"], changed["route"]["version"], "a refused change changes nothing");
}

#[tokio::test]
async fn a_failing_function_is_repeated_by_its_policy_until_it_succeeds_or_is_dead() {
    let (server, clock) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("go");
    let script = format!("test -e {}", gate.display());
    let retry = json!({"max_attempts": 3, "backoff": {"initial": 600, "factor": 1, "jitter": 0}});
    server.route("/a", &script, json!({"type": "async", "retry": retry})).await;

    let id = accepted(&server, "/a", &[]).await;
    let waiting = comes_to(&server, &id, "queued", 1).await;
    assert!(waiting["error"].as_str().unwrap().contains("exited with code 1"), "{waiting}");
    assert!(waiting["not_before"].as_str() > waiting["created_at"].as_str());
    clock.pass(600);
    comes_to(&server, &id, "queued", 2).await;
    std::fs::write(&gate, "").unwrap();
    clock.pass(600);
    let ended = comes_to(&server, &id, "succeeded", 3).await;
    assert_eq!(ended["error"], Value::Null);

    std::fs::remove_file(&gate).unwrap();
    let id = accepted(&server, "/a", &[]).await;
    for attempt in 1..=2 {
        comes_to(&server, &id, "queued", attempt).await;
        clock.pass(600);
    }
    let dead = comes_to(&server, &id, "dead", 3).await;
    assert_eq!(dead["exit_code"], 1);

    std::fs::write(&gate, "").unwrap();
    let url = format!("/v1/{PROJECT}/calls/{id}/retry");
    assert_eq!(server.api.post(&url, "member", &json!({})).await.status, 200);
    comes_to(&server, &id, "succeeded", 4).await;
}

#[tokio::test]
async fn a_failure_that_no_policy_lists_fails_the_call_at_once() {
    let (server, _) = start().await;
    let retry = json!({"max_attempts": 3, "on": ["timeout"]});
    server.route("/listed", "exit 3", json!({"type": "async", "retry": retry})).await;
    server.route("/none", "exit 3", json!({"type": "async"})).await;
    for path in ["/listed", "/none"] {
        let id = accepted(&server, path, &[]).await;
        comes_to(&server, &id, "failed", 1).await;
    }
}

#[tokio::test]
async fn no_attempt_begins_after_the_max_age() {
    let (server, clock) = start().await;
    let retry = json!({"max_attempts": 9, "backoff": {"initial": 60, "factor": 1, "jitter": 0}});
    server.route("/a", "exit 3", json!({"type": "async", "max_age": 100, "retry": retry})).await;
    let id = accepted(&server, "/a", &[]).await;
    comes_to(&server, &id, "queued", 1).await;
    clock.pass(61);
    let dead = comes_to(&server, &id, "dead", 2).await;
    let error = dead["error"].as_str().unwrap();
    assert!(error.contains("max_age of 100 s") && error.contains("exited with code 3"), "{error}");
}

#[tokio::test]
async fn a_delayed_call_runs_when_it_is_due() {
    let (server, clock) = start().await;
    server.route("/a", "true", json!({"type": "async"})).await;
    server.route("/late", "true", json!({"type": "async", "delay": 1000, "max_age": 100})).await;
    let now = accepted(&server, "/late", &[("x-picasso-delay", "0")]).await;
    let by_header = accepted(&server, "/a", &[("x-picasso-delay", "1000")]).await;
    let by_route = accepted(&server, "/late", &[]).await;
    comes_to(&server, &now, "succeeded", 1).await;
    clock.pass(900);
    let control = accepted(&server, "/a", &[]).await;
    comes_to(&server, &control, "succeeded", 1).await;
    for id in [&by_header, &by_route] {
        assert_eq!(call(&server, id).await["status"], "queued");
    }
    clock.pass(150);
    for id in [&by_header, &by_route] {
        comes_to(&server, id, "succeeded", 1).await;
    }
    let calls = total(&server).await;
    for bad in ["soon", "-1", "1209601", "2999-01-01T00:00:00Z"] {
        refused(&send(&server, "/a", &[("x-picasso-delay", bad)], "").await, "X-Picasso-Delay");
    }
    assert_eq!(total(&server).await, calls, "nothing was stored");
}

#[tokio::test]
async fn a_priority_is_the_routes_or_its_callers() {
    let (server, _) = start().await;
    server.route("/a", "true", json!({"type": "async", "priority": 0, "delay": 1000})).await;
    let own = accepted(&server, "/a", &[]).await;
    let asked = accepted(&server, "/a", &[("x-picasso-priority", "2")]).await;
    assert_eq!(call(&server, &own).await["priority"], 0);
    assert_eq!(call(&server, &asked).await["priority"], 2);
    refused(&send(&server, "/a", &[("x-picasso-priority", "3")], "").await, "X-Picasso-Priority");
}

#[tokio::test]
async fn the_same_idempotency_key_answers_the_same_call_within_its_window() {
    let (server, clock) = start().await;
    server.route("/a", "cat", json!({"type": "async"})).await;
    let key = [("idempotency-key", "order-7")];
    let first = send(&server, "/a", &key, "body").await.json();
    assert_eq!(first["status"], "queued");
    let id = first["call_id"].as_str().unwrap();
    comes_to(&server, id, "succeeded", 1).await;
    let again = send(&server, "/a", &key, "body").await;
    assert_eq!(again.status, 202);
    assert_eq!((&again.json()["call_id"], &again.json()["status"]), (&first["call_id"], &json!("succeeded")));
    assert_eq!(again.header("picasso-call-id"), id);
    assert_eq!(total(&server).await, 1);

    let other = send(&server, "/a", &key, "another body").await;
    assert_eq!((other.status, other.kind().as_str()), (422, "idempotency_key_reused"));
    let long = "k".repeat(256);
    refused(&send(&server, "/a", &[("idempotency-key", &long)], "").await, "Idempotency-Key");
    assert_eq!(total(&server).await, 1, "nothing was stored");

    clock.pass(24 * 3600 + 1);
    let later = send(&server, "/a", &key, "body").await.json();
    assert_ne!(later["call_id"], first["call_id"], "the window is over");
}

#[tokio::test]
async fn a_caller_chooses_sync_or_async_where_the_route_allows_it() {
    let (server, _) = start().await;
    server.route("/both", "printf hi", json!({"type": "sync", "invoke": ["async"]})).await;
    server.route("/sync", "printf hi", json!({})).await;
    let id = accepted(&server, "/both", &[("x-picasso-invoke", "async")]).await;
    comes_to(&server, &id, "succeeded", 1).await;
    let waited = send(&server, "/both", &[("x-picasso-invoke", "sync")], "").await;
    assert_eq!((waited.status, waited.text().as_str()), (200, "hi"));
    refused(&send(&server, "/sync", &[("x-picasso-invoke", "async")], "").await, "X-Picasso-Invoke");
    refused(&send(&server, "/both", &[("x-picasso-invoke", "later")], "").await, "X-Picasso-Invoke");

    let url = format!("/v1/r/{PROJECT}/hello/both");
    let headers =
        [("x-auth-token", "member"), ("content-type", "application/json"), ("x-picasso-invoke", "async")];
    let run = server.api.send("POST", &url, &headers, b"{}".to_vec()).await;
    assert_eq!(run.status, 200, "{}", run.text());
    let id = run.json()["call_id"].as_str().unwrap().to_owned();
    comes_to(&server, &id, "succeeded", 1).await;
}

#[tokio::test]
async fn a_function_is_told_how_deep_it_is_and_a_loop_is_refused() {
    let engine = EngineSettings { max_call_depth: 2, ..EngineSettings::default() };
    let server = Server::start_with(Options { engine, ..Options::default() }).await;
    server.app().await;
    let script = "echo $HEADER_X_PICASSO_DEPTH $HEADER_TRACESTATE $HEADER_X_PICASSO_DELAY";
    server.route("/a", script, json!({"invoke": ["async"]})).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (headers, told) in [
        (&[][..], "0 picasso=d:0\n"),
        (&[("x-picasso-depth", "0")][..], "1 picasso=d:1\n"),
        (&[("traceparent", trace), ("tracestate", "a=1,picasso=d:1")], "2 picasso=d:2,a=1\n"),
        (&[("x-picasso-depth", "nonsense")], "0 picasso=d:0\n"),
    ] {
        assert_eq!(send(&server, "/a", headers, "").await.text(), told, "{headers:?}");
    }
    for headers in [
        &[("x-picasso-depth", "2")][..],
        &[("tracestate", "picasso=d:2")],
        &[("x-picasso-depth", "999999"), ("x-picasso-invoke", "async")],
    ] {
        let refused = send(&server, "/a", headers, "").await;
        assert_eq!((refused.status, refused.kind().as_str()), (508, "call_loop"), "{}", refused.text());
        assert!(refused.message().contains("more than 2 calls"), "{}", refused.message());
    }
    let deep = accepted(&server, "/a", &[("x-picasso-depth", "1"), ("x-picasso-invoke", "async")]).await;
    let ended = comes_to(&server, &deep, "succeeded", 1).await;
    assert_eq!(ended["depth"], 2);
    let result = server.api.get(&format!("/v1/{PROJECT}/calls/{deep}/result"), "reader").await.json();
    assert_eq!(result["result"], "2 picasso=d:2\n");
    let stored = server.api.get(&format!("/v1/{PROJECT}/calls?status=queued"), "reader").await.json();
    assert_eq!(stored["calls"], json!([]), "nothing of the refused ones was stored");
}

#[tokio::test]
async fn all_dead_calls_are_retried_in_batches() {
    let (server, _) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("go");
    let script = format!("test -e {}", gate.display());
    server.route("/a", &script, json!({"type": "async", "retry": {"max_attempts": 1}})).await;
    server.route("/failed", &script, json!({"type": "async"})).await;
    let mut dead = Vec::new();
    for _ in 0..3 {
        let id = accepted(&server, "/a", &[]).await;
        comes_to(&server, &id, "dead", 1).await;
        dead.push(id);
    }
    let failed = accepted(&server, "/failed", &[]).await;
    comes_to(&server, &failed, "failed", 1).await;
    std::fs::write(&gate, "").unwrap();

    let url = format!("/v1/{PROJECT}/calls/retry");
    let retry = async |query: &str| server.api.post(&format!("{url}{query}"), "member", &json!({})).await;
    let first = retry("?app=hello&route=/a&limit=2").await.json();
    assert_eq!((&first["retried"], &first["more"]), (&json!(2), &json!(true)));
    for id in &dead[..2] {
        comes_to(&server, id, "succeeded", 2).await;
    }
    assert_eq!(call(&server, &dead[2]).await["status"], "dead");
    let rest = retry("").await.json();
    assert_eq!((&rest["retried"], &rest["more"]), (&json!(1), &json!(false)));
    comes_to(&server, &dead[2], "succeeded", 2).await;
    assert_eq!(call(&server, &failed).await["status"], "failed", "only dead ones without a status");
    assert_eq!(retry("?status=failed").await.json()["retried"], 1);
    comes_to(&server, &failed, "succeeded", 2).await;
    for (query, field) in [
        ("?status=queued", "status"),
        ("?status=succeeded", "status"),
        ("?limit=251", "limit"),
        ("?marker=x", "marker"),
    ] {
        refused(&retry(query).await, field);
    }
}
