//! Changes under load: who calls a hot function while it is deployed, rolled back and shared out anew
//! gets an answer, always.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use picasso_suites::cloud::{Cloud, ready};
use picasso_testkit::process::{require, run};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Answers with the word of its version.
const SCRIPT: &str = r#"
    while read -r call; do
        echo "{\"status\":200,\"headers\":{},\"body\":\"$WORD\"}"
    done
"#;

struct Load {
    cloud: Cloud,
    token: String,
    app: String,
    /// `/v1/{project}/routes/{route_id}`.
    route: String,
}

impl Load {
    async fn start() -> Self {
        let cloud = Cloud::start().await;
        let token = cloud.token("demo1-member").await;
        let app = cloud.app(&token, "busy").await;
        let fields = json!({
            "format": "json", "memory": 16, "idle_timeout": 60, "queue_timeout": 60, "max_concurrency": 8,
            "config": {"SCRIPT": SCRIPT, "WORD": "1"},
        });
        cloud.route(&token, &app, "/hot", "", fields).await;
        let project = cloud.project("demo1").await;
        let url = format!("/v1/{project}/apps/{app}/routes/hot");
        let shown = cloud.api(Method::GET, &url, Some(&token), None).await.json();
        let route = format!("/v1/{project}/routes/{}", shown["route"]["id"].as_str().unwrap());
        Self { cloud, token, app, route }
    }

    async fn ask(&self, method: Method, rest: &str, body: Value) -> Value {
        let url = format!("{}/{rest}", self.route);
        let answer = self.cloud.api(method, &url, Some(&self.token), Some(body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    }

    /// The word that the function says.
    async fn word(&self, selector: &str) -> String {
        let url = self.cloud.function_url(&format!("{}{selector}", self.app), "/hot");
        let answer = self.cloud.send(self.cloud.http.post(url)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}\n{}", answer.text(), self.cloud.picasso.log());
        answer.text()
    }

    /// Deploys, rolls back and moves weights; `number` is the newest version before and after.
    async fn round(&self, number: &mut u32) {
        *number += 1;
        let word = number.to_string();
        self.cloud.change(&self.token, &self.app, "/hot", json!({"config": {"WORD": word}})).await;
        assert_eq!(self.word("").await, word, "a deploy is there when it is answered");
        for weight in [0, 100, 500, 1000] {
            let versions = json!([
                {"version": *number - 1, "weight": 1000 - weight}, {"version": *number, "weight": weight},
            ]);
            self.ask(Method::PUT, "aliases/live", json!({"versions": versions})).await;
        }
        assert_eq!(self.word("@live").await, word, "so is a change of weights");
        let before = self.word("").await;
        let to = self.ask(Method::POST, "rollback", json!({"version": *number - 1})).await;
        *number += 1;
        assert_eq!(to["route"]["active_version"], *number);
        assert_ne!(self.word("").await, before, "and a roll back");
    }
}

/// Four callers for some seconds; what wrk says of them.
fn wrk(url: &str) -> String {
    run("wrk", ["-t1", "-c4", "-d8s", "--timeout", "60s", url]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn deploys_roll_backs_and_changed_weights_under_load_fail_no_call() {
    let no_wrk = run("which", ["wrk"]).err();
    if !ready() || !require("wrk", no_wrk.as_deref()) {
        return;
    }
    let load = Load::start().await;
    let alias = json!({"alias": {"name": "live", "versions": [{"version": 1}], "is_public": true}});
    load.ask(Method::POST, "aliases", alias).await;
    assert_eq!((load.word("").await.as_str(), load.word("@live").await.as_str()), ("1", "1"));

    let callers: Vec<_> = ["", "@live"]
        .into_iter()
        .map(|selector| load.cloud.function_url(&format!("{}{selector}", load.app), "/hot"))
        .map(|url| tokio::task::spawn_blocking(move || wrk(&url)))
        .collect();
    let (mut number, mut rounds) = (1, 0);
    while !callers.iter().any(tokio::task::JoinHandle::is_finished) {
        load.round(&mut number).await;
        rounds += 1;
    }
    assert!(rounds >= 3, "{rounds} rounds say little");
    for said in callers {
        let said = said.await.unwrap();
        assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
        let calls = said.lines().find_map(|line| line.trim().split_once(" requests in"));
        let calls: u64 = calls.unwrap().0.parse().unwrap();
        assert!(calls > 100, "{said}");
        println!("{rounds} rounds: {}", said.replace('\n', "; "));
    }
}
