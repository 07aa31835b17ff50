//! Schedules on two servers with one database, of which one is killed: no planned time makes two calls,
//! and none is left out.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::collections::BTreeSet;
use std::time::Duration;

use picasso_suites::cloud::{Cloud, ready};
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::postgres::PostgresServer;
use picasso_testkit::process::{TestDir, require, wait_until};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(2);
/// The place between a call and what is planned behind it.
const COMMITTED: &str = "after-commit-before-answer";

struct Pair {
    nodes: Vec<Cloud>,
    project: String,
    token: String,
    _services: (PostgresServer, TestDir),
}

impl Pair {
    async fn start() -> Option<Self> {
        if !ready() || !require("PostgreSQL", PostgresServer::missing().as_deref()) {
            return None;
        }
        let database = PostgresServer::start().await.unwrap();
        let dir = TestDir::new("schedules").unwrap();
        let url = database.create_database("picasso").unwrap();
        let key = dir.path().join("key");
        let more_config =
            format!("[database]\nurl = \"{url}\"\n[encryption]\nkey_file = \"{}\"\n", key.display());
        let mut nodes = Vec::new();
        for _ in 0..2 {
            let more_config = more_config.clone();
            nodes.push(Cloud::start_with(PicassoOptions { more_config, ..PicassoOptions::default() }).await);
        }
        let (project, token) = (nodes[1].project("demo1").await, nodes[1].token("demo1-member").await);
        Some(Self { nodes, project, token, _services: (database, dir) })
    }

    /// Asks the second node, which lives.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let path = format!("/v1/{}/{path}", self.project);
        let answer = self.nodes[1].api(method, &path, Some(&self.token), body).await;
        assert!(answer.status.is_success(), "{path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// When the app's calls were planned, each as often as it made one.
    async fn planned(&self, app: &str) -> Vec<String> {
        let answer = self.ask(Method::GET, &format!("calls?app={app}&limit=100"), None).await;
        let calls = answer["calls"].as_array().unwrap().iter();
        let mut times: Vec<_> = calls.map(|call| call["not_before"].as_str().unwrap().to_owned()).collect();
        times.sort();
        times
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_second_makes_two_calls_or_none_while_a_server_is_killed_between_call_and_plan() {
    let Some(mut pair) = Pair::start().await else { return };
    let app = pair.nodes[1].app(&pair.token, "clockwork").await;
    pair.nodes[1]
        .route(&pair.token, &app, "/tick", "echo tick", json!({"type": "async", "memory": 16}))
        .await;
    let trigger = json!({"trigger": {
        "name": "every-second", "app": app, "route": "/tick", "kind": "schedule",
        "options": {"cron": "* * * * * *"},
    }});
    pair.ask(Method::POST, "triggers", Some(trigger)).await;
    let count = async |pair: &Pair| pair.planned(&app).await.len();
    wait_until(SOON, "it fires", || async { count(&pair).await >= 3 }).await.unwrap();

    pair.nodes[0].picasso.arm(COMMITTED).unwrap();
    wait_until(SOON, "the first server ends between call and plan", || async {
        !pair.nodes[0].picasso.is_armed()
    })
    .await
    .unwrap();
    pair.nodes[0].picasso.signal(Signal::KILL);
    let before = count(&pair).await;
    // The second server takes up what the first one held when its lease has ended.
    wait_until(SOON, "the second server goes on", || async { count(&pair).await >= before + 5 })
        .await
        .unwrap();
    pair.ask(Method::POST, "triggers/every-second/pause", None).await;

    let planned = pair.planned(&app).await;
    let seconds: Vec<i64> = planned
        .iter()
        .map(|time| {
            time.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{time}: {error}")).as_second()
        })
        .collect();
    let different: BTreeSet<_> = seconds.iter().copied().collect();
    assert_eq!(different.len(), seconds.len(), "a second made two calls: {planned:?}");
    let (first, last) = (*different.first().unwrap(), *different.last().unwrap());
    let all: BTreeSet<_> = (first..=last).collect();
    assert_eq!(different, all, "a second made no call");
}
