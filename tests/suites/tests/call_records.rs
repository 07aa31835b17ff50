//! Calls as a resource, over real sandboxes and a real Keystone: what becomes of an asynchronous
//! call, and who may see it.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::time::Duration;

use picasso_suites::cloud::{Cloud, ready};
use picasso_suites::host;
use picasso_testkit::process::wait_until;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// Something below `calls` of the project demo1, as the token's user sees it.
async fn calls(cloud: &Cloud, method: Method, rest: &str, token: &str) -> (StatusCode, Value) {
    let path = format!("/v1/{}/calls{rest}", cloud.project("demo1").await);
    let answer = cloud.api(method, &path, Some(token), None).await;
    (answer.status, answer.json())
}

async fn accept(cloud: &Cloud, token: &str, app: &str, path: &str) -> String {
    let path = format!("/v1/r/{}/{app}{path}", cloud.project("demo1").await);
    let answer = cloud.api(Method::POST, &path, Some(token), Some(json!({}))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["call_id"].as_str().unwrap_or_default().to_owned()
}

async fn comes_to(cloud: &Cloud, token: &str, id: &str, status: &str) -> Value {
    let rest = format!("/{id}");
    let there = || async { calls(cloud, Method::GET, &rest, token).await.1["call"]["status"] == status };
    wait_until(SOON, status, there).await.unwrap();
    calls(cloud, Method::GET, &rest, token).await.1["call"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_calls_life_is_seen_by_its_project_and_by_nobody_else() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let (token, other) = (cloud.token("demo1-member").await, cloud.token("demo2-member").await);
    let app = cloud.app(&token, "seen").await;
    let options = json!({"type": "async", "memory": 16, "is_public": "false"});
    cloud.route(&token, &app, "/work", "echo working >&2; echo done", options.clone()).await;
    cloud.route(&token, &app, "/sleep", "b sleep 60", options).await;

    let id = accept(&cloud, &token, &app, "/work").await;
    let ended = comes_to(&cloud, &token, &id, "succeeded").await;
    assert_eq!(
        (&ended["route"], &ended["attempt"], &ended["exit_code"]),
        (&json!("/work"), &json!(1), &json!(0))
    );
    let (_, result) = calls(&cloud, Method::GET, &format!("/{id}/result"), &token).await;
    assert_eq!(result["result"], "done\n");
    let (_, log) = calls(&cloud, Method::GET, &format!("/{id}/log"), &token).await;
    assert_eq!((&log["log"][0]["line"], &log["log"][0]["call_id"]), (&json!("working"), &json!(id)));
    for part in ["", "/log", "/result"] {
        let (status, _) = calls(&cloud, Method::GET, &format!("/{id}{part}"), &other).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{part}");
    }

    let instance = cloud.picasso.instance();
    let id = accept(&cloud, &token, &app, "/sleep").await;
    comes_to(&cloud, &token, &id, "running").await;
    let (status, _) = calls(&cloud, Method::POST, &format!("/{id}/cancel"), &other).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = calls(&cloud, Method::POST, &format!("/{id}/cancel"), &token).await;
    assert_eq!(status, StatusCode::OK);
    comes_to(&cloud, &token, &id, "cancelled").await;
    wait_until(SOON, "its sandbox is gone", || async { host::running_sandboxes(&instance) == 0 })
        .await
        .unwrap();
}
