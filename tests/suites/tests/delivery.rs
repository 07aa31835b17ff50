//! Delivery options over a real server, real sandboxes and a real Keystone: a function that really
//! fails is repeated, a delayed call waits, a request that is sent again makes no second call.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::time::Duration;

use picasso_suites::cloud::{Cloud, ready};
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::wait_until;
use reqwest::StatusCode;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);

/// Calls the public function with these headers; gives the id of the accepted call.
async fn accept(cloud: &Cloud, app: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut request = cloud.http.post(cloud.function_url(app, path)).body("body");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = cloud.send(request).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    answer.json()["call_id"].as_str().unwrap().to_owned()
}

async fn call(cloud: &Cloud, token: &str, id: &str) -> Value {
    let path = format!("/v1/{}/calls/{id}", cloud.project("demo1").await);
    cloud.api(reqwest::Method::GET, &path, Some(token), None).await.json()["call"].clone()
}

async fn comes_to(cloud: &Cloud, token: &str, id: &str, status: &str) -> Value {
    let there = || async { call(cloud, token, id).await["status"] == status };
    wait_until(SOON, status, there).await.unwrap();
    call(cloud, token, id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_function_is_repeated_a_delay_kept_and_a_repeated_request_answered_once() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "delivered").await;
    let retry = json!({"max_attempts": 3, "backoff": {"initial": 1, "factor": 1, "jitter": 0}});
    let failing = json!({"type": "async", "memory": 16, "retry": retry});
    cloud.route(&token, &app, "/fail", "exit 3", failing).await;
    cloud.route(&token, &app, "/work", "echo done", json!({"type": "async", "memory": 16})).await;

    let failing = accept(&cloud, &app, "/fail", &[]).await;
    let delayed = accept(&cloud, &app, "/work", &[("x-picasso-delay", "3")]).await;
    let once = accept(&cloud, &app, "/work", &[("idempotency-key", "order-7")]).await;
    let again = accept(&cloud, &app, "/work", &[("idempotency-key", "order-7")]).await;
    assert_eq!(once, again);

    let dead = comes_to(&cloud, &token, &failing, "dead").await;
    assert_eq!((&dead["attempt"], &dead["exit_code"]), (&json!(3), &json!(3)));
    let late = comes_to(&cloud, &token, &delayed, "succeeded").await;
    assert!(late["started_at"].as_str() >= late["not_before"].as_str(), "{late}");
    assert!(late["not_before"].as_str() > late["created_at"].as_str(), "{late}");
    let ended = comes_to(&cloud, &token, &once, "succeeded").await;
    assert_eq!(ended["attempt"], 1);

    let path = format!("/v1/{}/calls/retry", cloud.project("demo1").await);
    let retried = cloud.api(reqwest::Method::POST, &path, Some(&token), None).await.json();
    assert_eq!((&retried["retried"], &retried["more"]), (&json!(1), &json!(false)));
    let again = || async { call(&cloud, &token, &failing).await["attempt"] == 6 };
    wait_until(SOON, "its attempts are used up again", again).await.unwrap();
    comes_to(&cloud, &token, &failing, "dead").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_higher_priority_overtake_those_that_wait() {
    if !ready() {
        return;
    }
    let more_config = "[queue]\nworkers = 1\n".to_owned();
    let cloud = Cloud::start_with(PicassoOptions { more_config, ..PicassoOptions::default() }).await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "urgent").await;
    let options = |priority: u8| json!({"type": "async", "memory": 16, "priority": priority});
    cloud.route(&token, &app, "/hold", "b sleep 4", options(1)).await;
    for priority in [0, 1, 2] {
        cloud.route(&token, &app, &format!("/p{priority}"), "echo done", options(priority)).await;
    }
    let hold = accept(&cloud, &app, "/hold", &[]).await;
    comes_to(&cloud, &token, &hold, "running").await;
    // While the only place is taken, the least urgent first.
    let mut ids = Vec::new();
    for path in ["/p0", "/p0", "/p1", "/p1", "/p2", "/p2"] {
        ids.push(accept(&cloud, &app, path, &[]).await);
    }
    let mut order = Vec::new();
    for id in &ids {
        let ended = comes_to(&cloud, &token, id, "succeeded").await;
        order.push((ended["started_at"].as_str().unwrap().to_owned(), id));
    }
    order.sort();
    let order: Vec<_> = order.into_iter().map(|(_, id)| id).collect();
    assert_eq!(order, [&ids[4], &ids[5], &ids[2], &ids[3], &ids[0], &ids[1]]);
}
