//! Between projects the queue is fair: with the real server, a long queue of one project, and functions
//! that hold their places for long.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use picasso_suites::cloud::{Answer, Cloud, ready};
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::{run, wait_until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(2);
/// How long the long queue is.
const CALLS: u32 = 100_000;
/// How many of them are accepted one by one: more than run in the time of the test.
const ACCEPTED: u32 = 64;

/// Puts copies of the last accepted call, due after it, into the database of a stopped server, until
/// there are as many as there are to be. They have no body, which is looked for only when they run.
const COPY: &str = r#"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
columns = [column[1] for column in db.execute("PRAGMA table_info(calls)") if column[1] != "id"]
names = ", ".join(columns)
db.execute(f"""
    WITH RECURSIVE copy (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM copy WHERE number < ?),
    last AS (SELECT * FROM calls WHERE state = 'queued' ORDER BY not_before DESC LIMIT 1)
    INSERT INTO calls (id, {names})
    SELECT substr(last.id, 1, 24) || printf('%012x', number), {names} FROM last, copy""",
    (int(sys.argv[2]),))
db.execute("""
    INSERT INTO outbox (call_id, project_id, state, not_before, priority)
    SELECT id, project_id, 'waiting', not_before + 1, priority FROM calls
    WHERE state = 'queued' AND id NOT IN (SELECT call_id FROM outbox)""")
db.commit()
"#;

/// An app of demo2's with an asynchronous route; the URL that calls it, and the project.
async fn other_project(cloud: &Cloud, token: &str) -> (String, String) {
    let project = cloud.project("demo2").await;
    let post = async |path: String, body: Value| -> Answer {
        let answer = cloud.api(Method::POST, &path, Some(token), Some(body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer
    };
    let made = post(format!("/v1/{project}/apps"), json!({"app": {"name": "short"}})).await;
    let app = made.json()["app"]["name"].as_str().unwrap_or_default().to_owned();
    let route = json!({
        "path": "/one", "image": picasso_suites::cloud::SHELL_IMAGE, "type": "async", "is_public": "true",
        "memory": 16, "timeout": 30, "config": {"SCRIPT": "echo done"},
    });
    post(format!("/v1/{project}/apps/{app}/routes"), json!({"route": route})).await;
    (format!("/v1/r/{project}/{app}/one"), project)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projects_single_call_does_not_wait_behind_anothers_long_queue_of_slow_calls() {
    if !ready() {
        return;
    }
    let options = PicassoOptions {
        more_config: "[quota]\nqueued_calls = 1000000\n".to_owned(),
        ..PicassoOptions::default()
    };
    let mut cloud = Cloud::start_with(options).await;
    let (long, short) = (cloud.token("demo1-member").await, cloud.token("demo2-member").await);
    let app = cloud.app(&long, "long").await;
    cloud
        .route(&long, &app, "/slow", "b sleep 30", json!({"type": "async", "memory": 16, "timeout": 60}))
        .await;
    let (one, project) = other_project(&cloud, &short).await;

    let url = cloud.function_url(&app, "/slow");
    let accepted = stream::iter(0..ACCEPTED).map(|_| cloud.send(cloud.http.post(&url))).buffer_unordered(64);
    let refused = accepted.filter(|answer| std::future::ready(answer.status != StatusCode::ACCEPTED)).count();
    assert_eq!(refused.await, 0);
    cloud.picasso.kill_engine();
    cloud.picasso.wait(SOON).await.unwrap();
    let database = cloud.picasso.data_dir().join("picasso.db").display().to_string();
    let more = (CALLS - ACCEPTED).to_string();
    run("python3", ["-c", COPY, &database, &more]).unwrap();
    cloud.picasso.start_again().await.unwrap();
    let runs = || async { cloud.metric("picasso_calls_in_flight").await >= 2.0 };
    wait_until(SOON, "the first slow calls to run", runs).await.unwrap();

    let answer = cloud.api(Method::POST, &one, Some(&short), Some(json!({}))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let id = answer.json()["call_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/{project}/calls/{id}");
    let call = async || cloud.api(Method::GET, &path, Some(&short), None).await.json()["call"].clone();
    wait_until(SOON, "the other project's call", || async { call().await["status"] == "succeeded" })
        .await
        .unwrap();
    let waited = call().await["queue_ms"].as_u64();
    println!("it waited {waited:?} ms behind {CALLS} calls of another project");
    assert!(waited.is_some_and(|ms| ms <= 1000), "{waited:?} ms");
    // What ran meanwhile was a few places' worth, not the queue: it only becomes shorter, and the
    // gauge follows within seconds.
    let most_wait = || async { cloud.metric("picasso_calls_queued").await >= f64::from(CALLS) * 0.99 };
    wait_until(SOON, "nearly all of the long queue to be still there", most_wait).await.unwrap();
}
