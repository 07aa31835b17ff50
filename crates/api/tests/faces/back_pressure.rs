//! Full queues: who is refused, how they are told, and that nothing of the call is kept.

use std::time::Duration;

use picasso_engine::EngineSettings;
use picasso_testkit::process::wait_until;
use picasso_types::Resource;
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::{Options, PROJECT, Server, limits};

const SOON: Duration = Duration::from_mins(1);

/// A server with one place for asynchronous calls, taken by one that waits for `gate`.
/// Projects may have `queued` calls in the queue.
async fn busy_server(settings: EngineSettings, queued: Option<u64>, gate: &std::path::Path) -> Server {
    let engine = EngineSettings { async_places: 1, ..settings };
    let quota = limits(|resource| queued.filter(|_| resource == Resource::QueuedCalls));
    let server = Server::start_with(Options { engine, quota, ..Options::default() }).await;
    server.app().await;
    let script = format!("until [ -e {} ]; do sleep 0.05; done", gate.display());
    server.route("/a", &script, json!({"type": "async"})).await;
    assert_eq!(call(&server).await.status, 200);
    wait_until(SOON, "the first call to run", || async { statuses(&server).await == ["running"] })
        .await
        .unwrap();
    server
}

async fn call(server: &Server) -> Reply {
    server.api.post(&format!("/v1/r/{PROJECT}/hello/a"), "member", &json!({})).await
}

/// The states of all calls, the newest first.
async fn statuses(server: &Server) -> Vec<String> {
    let reply = server.api.get(&format!("/v1/{PROJECT}/calls"), "reader").await.json();
    let calls = reply["calls"].as_array().unwrap().iter();
    calls.map(|call| call["status"].as_str().unwrap().to_owned()).collect()
}

/// One that is accepted sooner or later: a place in the queue becomes free.
async fn comes_in(server: &Server) {
    wait_until(SOON, "a place in the queue", || async { call(server).await.status == 200 }).await.unwrap();
}

#[tokio::test]
async fn a_project_with_a_full_queue_gets_429_with_its_limit_until_calls_have_left_it() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("go");
    let server = busy_server(EngineSettings::default(), Some(2), &gate).await;
    for _ in 0..2 {
        comes_in(&server).await;
    }
    let refused = call(&server).await;
    assert_eq!((refused.status, refused.kind().as_str()), (429, "project_queue_full"));
    assert_eq!(refused.header("retry-after"), "5");
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("2 queued calls") && message.contains("functions_queued_calls"), "{message}");
    assert_eq!(statuses(&server).await, ["queued", "queued", "running"], "nothing of it is kept");

    std::fs::write(&gate, "").unwrap();
    comes_in(&server).await;
}

#[tokio::test]
async fn a_service_with_a_full_queue_gets_503_and_cancelled_calls_make_room() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("go");
    let settings = EngineSettings { max_queued: 1, ..EngineSettings::default() };
    let server = busy_server(settings, None, &gate).await;
    comes_in(&server).await;
    let refused = call(&server).await;
    assert_eq!((refused.status, refused.kind().as_str()), (503, "service_queue_full"));
    assert_eq!(refused.header("retry-after"), "5");

    let listed = server.api.get(&format!("/v1/{PROJECT}/calls?status=queued"), "reader").await.json();
    let id: &Value = &listed["calls"][0]["id"];
    let url = format!("/v1/{PROJECT}/calls/{}/cancel", id.as_str().unwrap());
    assert_eq!(server.api.post(&url, "member", &json!({})).await.status, 200);
    comes_in(&server).await;
    std::fs::write(&gate, "").unwrap();
}

#[tokio::test]
async fn a_retry_by_hand_finds_a_full_queue_like_any_call() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("go");
    let server = busy_server(EngineSettings::default(), Some(1), &gate).await;
    comes_in(&server).await;
    let listed = server.api.get(&format!("/v1/{PROJECT}/calls?status=queued"), "reader").await.json();
    let id = listed["calls"][0]["id"].as_str().unwrap().to_owned();
    let post = async |rest: &str| {
        server.api.post(&format!("/v1/{PROJECT}/calls/{rest}"), "member", &json!({})).await
    };
    assert_eq!(post(&format!("{id}/cancel")).await.status, 200);
    comes_in(&server).await;
    for rest in [format!("{id}/retry"), "retry?status=cancelled".to_owned()] {
        let refused = post(&rest).await;
        assert_eq!((refused.status, refused.kind().as_str()), (429, "project_queue_full"), "{rest}");
        assert_eq!(refused.header("retry-after"), "5");
    }
    assert_eq!(statuses(&server).await, ["queued", "cancelled", "running"], "nothing is changed");
    std::fs::write(&gate, "").unwrap();
    let queued = || async { post(&format!("{id}/retry")).await.status == 200 };
    wait_until(SOON, "room for it", queued).await.unwrap();
}
