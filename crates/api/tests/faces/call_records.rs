//! Calls as a resource: what their owners see of them, and nobody else.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use picasso_engine::{CallKeeping, EngineSettings};
use picasso_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::{OTHER, Options, PROJECT, Server};

const SOON: Duration = Duration::from_mins(1);

fn url(id: &str) -> String {
    format!("/v1/{PROJECT}/calls/{id}")
}

/// Accepts an asynchronous call of the route.
async fn accepted(server: &Server, path: &str) -> String {
    let reply = server.api.post(&format!("/v1/r/{PROJECT}/hello{path}"), "member", &json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["call_id"].as_str().unwrap().to_owned()
}

async fn call(server: &Server, id: &str) -> Value {
    let reply = server.api.get(&url(id), "reader").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["call"].clone()
}

/// The call, once it is in this state.
async fn comes_to(server: &Server, id: &str, status: &str) -> Value {
    let there = async || call(server, id).await["status"] == status;
    wait_until(SOON, status, there).await.unwrap();
    call(server, id).await
}

async fn post(server: &Server, id: &str, what: &str) -> Reply {
    server.api.post(&format!("{}/{what}", url(id)), "member", &json!({})).await
}

fn lines(log: &Value) -> Vec<&str> {
    log.as_array().unwrap().iter().map(|line| line["line"].as_str().unwrap()).collect()
}

/// A script that waits until the file is there.
fn until(file: &std::path::Path) -> String {
    format!("until [ -e {} ]; do sleep 0.05; done", file.display())
}

#[tokio::test]
async fn an_async_calls_result_and_log_are_there_for_its_project_and_nobody_else() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "echo one >&2; echo two >&2; printf hi", json!({"type": "async"})).await;
    let id = accepted(&server, "/a").await;
    let ended = comes_to(&server, &id, "succeeded").await;
    assert_eq!((&ended["app"], &ended["route"], &ended["version"]), (&json!(app), &json!("/a"), &json!(1)));
    assert_eq!((&ended["type"], &ended["trigger"]), (&json!("async"), &json!("run")));
    assert_eq!((&ended["attempt"], &ended["exit_code"]), (&json!(1), &json!(0)));
    assert_eq!((&ended["cold_start"], &ended["error"]), (&json!(true), &Value::Null));
    assert!(ended["queue_ms"].is_u64() && ended["run_ms"].is_u64() && ended["node"].is_string(), "{ended}");
    assert!(ended["request_id"].as_str().unwrap().starts_with("req-"));
    let own = ended["links"].as_array().unwrap().iter().find(|link| link["rel"] == "self").unwrap();
    assert!(own["href"].as_str().unwrap().ends_with(&url(&id)), "{own}");

    let result = server.api.get(&format!("{}/result", url(&id)), "reader").await.json();
    assert_eq!((&result["result"], &result["truncated"]), (&json!("hi"), &json!(false)));
    let log = server.api.get(&format!("{}/log", url(&id)), "reader").await.json();
    assert_eq!(lines(&log["log"]), ["one", "two"]);
    assert_eq!(log["log"][0]["call_id"], json!(id));
    assert_eq!(log["log"][0]["stream"], "stderr");

    for part in ["", "/log", "/result"] {
        let foreign = server.api.get(&format!("/v1/{OTHER}/calls/{id}{part}"), "other").await;
        let missing = server.api.get(&format!("/v1/{OTHER}/calls/none{part}"), "other").await;
        for reply in [&foreign, &missing] {
            assert_eq!((reply.status, reply.kind().as_str()), (404, "call_not_found"));
        }
        let through = server.api.get(&format!("{}{part}", url(&id)), "other").await;
        assert_eq!(through.status, 404);
    }
    let foreign = server.api.get(&format!("/v1/{OTHER}/calls"), "other").await.json();
    assert_eq!(foreign["calls"], json!([]));
}

#[tokio::test]
async fn a_running_calls_log_is_followed_to_its_end() {
    let server = Server::start().await;
    server.app().await;
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("go");
    let script = format!("echo before >&2; {}; echo after >&2", until(&gate));
    server.route("/a", &script, json!({"type": "async"})).await;
    let id = accepted(&server, "/a").await;
    let log = format!("{}/log", url(&id));
    let seen = async || lines(&server.api.get(&log, "reader").await.json()["log"]) == ["before"];
    wait_until(SOON, "its first line while it runs", seen).await.unwrap();
    assert_eq!(call(&server, &id).await["status"], "running");
    let not_yet = server.api.get(&format!("{}/result", url(&id)), "reader").await;
    assert_eq!((not_yet.status, not_yet.kind().as_str()), (409, "call_not_finished"));

    let follow = format!("{log}?follow=true");
    let (followed, ()) = tokio::join!(server.api.get(&follow, "reader"), async {
        std::fs::write(&gate, "").unwrap();
    });
    assert_eq!(followed.header("content-type"), "application/x-ndjson");
    let text = followed.text();
    let followed: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines(&json!(followed)), ["before", "after"]);
    comes_to(&server, &id, "succeeded").await;
}

#[tokio::test]
async fn results_and_logs_are_cut_with_a_note() {
    let calls = CallKeeping { max_result_bytes: 10, max_log_bytes: 100, ..CallKeeping::default() };
    let engine = EngineSettings { calls, ..EngineSettings::default() };
    let server = Server::start_with(Options { engine, ..Options::default() }).await;
    server.app().await;
    server.route("/a", "yes | head -c 100000 >&2; head -c 100000 /dev/zero", json!({"type": "async"})).await;
    let id = accepted(&server, "/a").await;
    comes_to(&server, &id, "succeeded").await;
    let result = server.api.get(&format!("{}/result", url(&id)), "reader").await.json();
    assert_eq!(result["result"].as_str().unwrap().len(), 10);
    assert_eq!((&result["truncated"], &result["total_bytes"]), (&json!(true), &json!(100_000)));
    let log = server.api.get(&format!("{}/log", url(&id)), "reader").await.json();
    assert_eq!(log["truncated"], true);
    let lines = lines(&log["log"]);
    assert!(lines.len() <= 3);
    let (note, kept) = lines.split_last().unwrap();
    let dropped = 50_000 - kept.len();
    assert_eq!(*note, format!("[log cut: {dropped} more lines, {dropped} bytes, were not kept]"));
    assert_eq!(log["log"][kept.len()]["stream"], "picasso");
}

/// A result of every byte, and as many lines.
const LARGE: &str = "i=0; while [ $i -lt 40000 ]; do echo \"line number $i of the log\" >&2; i=$((i+1)); done; \
                     i=0; while [ $i -lt 3000 ]; do echo \"$i\"; printf '%01020d' 0; printf '\\377\\000\"'; i=$((i+1)); done";

fn large_result() -> Vec<u8> {
    let one = |i| [format!("{i}\n").into_bytes(), vec![b'0'; 1020], b"\xff\0\"".to_vec()].concat();
    (0..3000).flat_map(one).collect()
}

#[tokio::test]
async fn large_results_and_logs_come_back_whole_from_the_object_store() {
    let server = Server::start().await;
    server.app().await;
    server.route("/a", LARGE, json!({"type": "async"})).await;
    let id = accepted(&server, "/a").await;
    comes_to(&server, &id, "succeeded").await;
    let whole = large_result();
    let result = format!("{}/result", url(&id));
    let raw = server.api.get(&format!("{result}?raw=true"), "reader").await;
    assert_eq!(raw.header("content-type"), "application/octet-stream");
    assert_eq!(raw.header("content-length"), whole.len().to_string());
    assert_eq!(raw.header("content-disposition"), "attachment");
    assert!(raw.body == whole);
    let json = server.api.get(&result, "reader").await;
    assert_eq!(json.header("content-length"), json.body.len().to_string());
    let json = json.json();
    assert_eq!((&json["encoding"], &json["truncated"]), (&json!("base64"), &json!(false)));
    assert_eq!(json["total_bytes"], json!(whole.len()));
    assert!(STANDARD.decode(json["result"].as_str().unwrap()).unwrap() == whole);

    let wanted: Vec<_> = (0..40_000).map(|i| format!("line number {i} of the log")).collect();
    let log = server.api.get(&format!("{}/log", url(&id)), "reader").await.json();
    let shown = lines(&log["log"]);
    assert_eq!(shown.len(), 40_000);
    assert!(shown == wanted);
    assert_eq!((&log["truncated"], &log["log"][39_999]["call_id"]), (&json!(false), &json!(id)));
    let followed = server.api.get(&format!("{}/log?follow=true", url(&id)), "reader").await.text();
    let followed: Vec<Value> = followed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines(&json!(followed)) == wanted);

    let odd = server.api.get(&format!("{result}?raw=maybe"), "reader").await;
    assert_eq!((odd.status, odd.kind().as_str()), (400, "invalid_field"));
}

#[tokio::test]
async fn a_large_result_that_is_gone_from_the_object_store_is_not_kept() {
    let server = Server::start().await;
    server.app().await;
    server.route("/a", "head -c 2000000 /dev/zero", json!({"type": "async"})).await;
    let id = accepted(&server, "/a").await;
    comes_to(&server, &id, "succeeded").await;
    std::fs::remove_dir_all(server.folder.path().join("outputs")).unwrap();
    for query in ["", "?raw=true"] {
        let gone = server.api.get(&format!("{}/result{query}", url(&id)), "reader").await;
        assert_eq!((gone.status, gone.kind().as_str()), (404, "result_not_kept"));
    }
}

#[tokio::test]
async fn a_waiting_call_is_cancelled_and_an_ended_one_is_not() {
    let engine = EngineSettings { async_places: 1, ..EngineSettings::default() };
    let server = Server::start_with(Options { engine, ..Options::default() }).await;
    server.app().await;
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("go");
    server.route("/a", &until(&gate), json!({"type": "async"})).await;
    let first = accepted(&server, "/a").await;
    comes_to(&server, &first, "running").await;
    let second = accepted(&server, "/a").await;
    assert_eq!(call(&server, &second).await["status"], "queued");
    let cancelled = post(&server, &second, "cancel").await;
    assert_eq!((cancelled.status, &cancelled.json()["call"]["status"]), (200, &json!("cancelled")));
    let again = post(&server, &second, "cancel").await;
    assert_eq!((again.status, again.kind().as_str()), (409, "call_finished"));
    std::fs::write(&gate, "").unwrap();
    comes_to(&server, &first, "succeeded").await;
    assert_eq!(call(&server, &second).await["status"], "cancelled");
}

#[tokio::test]
async fn a_running_call_is_ended_when_it_is_cancelled_and_can_be_retried() {
    let server = Server::start().await;
    server.app().await;
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("go");
    let script = format!("echo begun >&2; {}", until(&gate));
    server.route("/a", &script, json!({"type": "async"})).await;
    let id = accepted(&server, "/a").await;
    let log = format!("{}/log", url(&id));
    let seen = async || lines(&server.api.get(&log, "reader").await.json()["log"]) == ["begun"];
    wait_until(SOON, "the function", seen).await.unwrap();
    let cancelled = post(&server, &id, "cancel").await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
    comes_to(&server, &id, "cancelled").await;
    assert_eq!(lines(&server.api.get(&log, "reader").await.json()["log"]), ["begun"]);
    std::fs::write(&gate, "").unwrap();
    let retried = post(&server, &id, "retry").await;
    assert_eq!(retried.status, 200, "{}", retried.text());
    let ended = comes_to(&server, &id, "succeeded").await;
    assert_eq!((&ended["attempt"], &ended["cancel_requested"]), (&json!(2), &json!(false)));
}

#[tokio::test]
async fn a_failed_call_is_retried_under_its_id_with_what_its_caller_sent() {
    let server = Server::start().await;
    server.app().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mended");
    let script = format!("cat; [ -e {} ] || exit 3", file.display());
    server.route("/a", &script, json!({"type": "async"})).await;
    let id = accepted(&server, "/a").await;
    let failed = comes_to(&server, &id, "failed").await;
    assert_eq!(
        (&failed["exit_code"], &failed["error"]),
        (&json!(3), &json!("The function exited with code 3"))
    );
    std::fs::write(&file, "").unwrap();
    assert_eq!(post(&server, &id, "retry").await.status, 200);
    let ended = comes_to(&server, &id, "succeeded").await;
    assert_eq!((&ended["attempt"], &ended["error"]), (&json!(2), &Value::Null));
    let result = server.api.get(&format!("{}/result", url(&id)), "reader").await.json();
    assert_eq!(result["result"], "{}", "the body came again");
    let again = post(&server, &id, "retry").await;
    assert_eq!((again.status, again.kind().as_str()), (409, "call_finished"));
}

#[tokio::test]
async fn a_call_that_is_tried_in_vain_for_its_max_age_ends_as_dead_and_can_be_retried() {
    let engine = EngineSettings {
        memory_mb: 10_000,
        project_memory_mb: 10_000,
        async_max_age: Duration::ZERO,
        cpu_millis: 1000,
        ..EngineSettings::default()
    };
    let server = Server::start_with(Options { engine, ..Options::default() }).await;
    server.app().await;
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("go");
    let one = json!({"type": "async", "max_concurrency": 1, "queue_timeout": 1});
    server.route("/a", &until(&gate), one).await;
    let first = accepted(&server, "/a").await;
    comes_to(&server, &first, "running").await;
    let second = accepted(&server, "/a").await;
    let dead = comes_to(&server, &second, "dead").await;
    assert!(dead["error"].as_str().unwrap().contains("No place"), "{dead}");
    std::fs::write(&gate, "").unwrap();
    comes_to(&server, &first, "succeeded").await;
    assert_eq!(post(&server, &second, "retry").await.status, 200);
    comes_to(&server, &second, "succeeded").await;
}

#[tokio::test]
async fn a_synchronous_call_appears_in_the_list_and_is_not_retried() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "exit 3", json!({})).await;
    let reply = server.api.send("POST", &format!("/r/{app}/a"), &[], "").await;
    let id = reply.header("picasso-call-id").to_owned();
    let there = async || server.api.get(&url(&id), "reader").await.status == 200;
    wait_until(SOON, "the record", there).await.unwrap();
    let call = call(&server, &id).await;
    assert_eq!((&call["status"], &call["type"]), (&json!("failed"), &json!("sync")));
    assert_eq!((&call["exit_code"], &call["attempt"]), (&json!(3), &json!(1)));
    assert_eq!(call["request_id"], reply.header("x-openstack-request-id"));
    let listed = server.api.get(&format!("/v1/{PROJECT}/calls?status=failed"), "reader").await.json();
    assert_eq!(listed["calls"][0]["id"], json!(id));
    let retried = post(&server, &id, "retry").await;
    assert_eq!((retried.status, retried.kind().as_str()), (409, "call_body_gone"));
    let result = server.api.get(&format!("{}/result", url(&id)), "reader").await;
    assert_eq!((result.status, result.kind().as_str()), (404, "result_not_kept"));
}

#[tokio::test]
async fn synchronous_calls_are_not_recorded_where_that_is_off() {
    let calls = CallKeeping { record_sync_percent: 0, ..CallKeeping::default() };
    let engine = EngineSettings { calls, ..EngineSettings::default() };
    let server = Server::start_with(Options { engine, ..Options::default() }).await;
    let app = server.app().await;
    server.route("/a", "cat", json!({})).await;
    assert_eq!(server.api.send("POST", &format!("/r/{app}/a"), &[], "").await.status, 200);
    // Shutting down writes what has gathered.
    server.state.engine.shut_down(SOON).await;
    let listed = server.api.get(&format!("/v1/{PROJECT}/calls"), "reader").await.json();
    assert_eq!(listed["calls"], json!([]));
}

#[tokio::test]
async fn a_list_is_read_page_by_page_through_its_links() {
    let server = Server::start().await;
    server.app().await;
    server.route("/a-b", "true", json!({"type": "async"})).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(accepted(&server, "/a-b").await);
    }
    made.reverse();
    let mut next = Some(format!("/v1/{PROJECT}/calls?limit=2&app=hello&route=%2Fa-b"));
    let mut seen = Vec::new();
    while let Some(page) = next {
        let reply = server.api.get(&page, "reader").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let page = reply.json();
        seen.extend(
            page["calls"].as_array().unwrap().iter().map(|call| call["id"].as_str().unwrap().to_owned()),
        );
        next = page["calls_links"].as_array().unwrap().first().map(|link| {
            assert_eq!(link["rel"], "next");
            let href = link["href"].as_str().unwrap();
            href[href.find("/v1/").unwrap()..].to_owned()
        });
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn a_filter_that_is_refused_is_named() {
    let server = Server::start().await;
    server.app().await;
    let bad = [
        ("status=done", "status"),
        ("since=yesterday", "since"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("marker=gone", "marker"),
        ("marker=../..", "marker"),
        ("sort=id", "sort"),
        ("app=a&app=b", "app"),
    ];
    for (query, field) in bad {
        let reply = server.api.get(&format!("/v1/{PROJECT}/calls?{query}"), "reader").await;
        assert_eq!((reply.status, reply.kind().as_str()), (400, "invalid_field"), "{query}");
        assert!(reply.message().starts_with(&format!("{field}:")), "{query}: {}", reply.message());
    }
    let future = server.api.get(&format!("/v1/{PROJECT}/calls?since=2999-01-01T00:00:00Z"), "reader").await;
    assert_eq!((future.status, &future.json()["calls"]), (200, &json!([])));
}
