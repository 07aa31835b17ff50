//! The life of hot sandboxes, seen from outside: used again, ended when idle, never old, never more
//! than there are calls, replaced when they or the spawner die, evicted when others need memory.
//!
//! The function is a shell script of format `json` that says which sandbox it runs in.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use picasso_suites::cloud::{Answer, Cloud, SHELL_IMAGE, ready};
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::wait_until;
use reqwest::StatusCode;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// Answers `<sandbox> <its calls> <WORD>`; bodies say what else is to happen.
const SCRIPT: &str = r#"
    read -r me < /proc/sys/kernel/random/uuid
    n=0
    while read -r call; do
        n=$((n+1))
        case "$call" in
            *'"body":"crash"'*) exit 3;;
            *'"body":"slow"'*) b usleep 700000;;
        esac
        echo "{\"status\":200,\"headers\":{},\"body\":\"$me $n $WORD\"}"
    done
"#;

struct Hot {
    cloud: Cloud,
    token: String,
    app: String,
}

/// What the function answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    sandbox: String,
    calls: u32,
    word: String,
}

impl Hot {
    async fn start(fields: Value) -> Self {
        Self::start_with(fields, "").await
    }

    async fn start_with(fields: Value, more_config: &str) -> Self {
        let options = PicassoOptions { more_config: more_config.to_owned(), ..Default::default() };
        let cloud = Cloud::start_with(options).await;
        let token = cloud.token("demo1-member").await;
        let app = cloud.app(&token, "hot").await;
        let hot = Self { cloud, token, app };
        hot.route("/hot", fields).await;
        hot
    }

    async fn route(&self, path: &str, fields: Value) {
        let mut route = json!({
            "format": "json", "memory": 16, "idle_timeout": 60,
            "config": {"SCRIPT": SCRIPT, "WORD": "first"},
        });
        for (key, value) in fields.as_object().unwrap() {
            route[key] = value.clone();
        }
        self.cloud.route(&self.token, &self.app, path, "", route).await;
    }

    async fn call(&self, path: &str, body: &'static str) -> Answer {
        self.cloud.send(self.cloud.http.post(self.cloud.function_url(&self.app, path)).body(body)).await
    }

    async fn told(&self, path: &str, body: &'static str) -> Told {
        let answer = self.call(path, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}\n{}", answer.text(), self.cloud.picasso.log());
        told(&answer)
    }

    async fn sandboxes(&self) -> u64 {
        self.cloud.hot_sandboxes().await
    }

    async fn become_sandboxes(&self, wanted: u64) {
        let there = || async { self.sandboxes().await == wanted };
        wait_until(SOON, format!("{wanted} hot sandboxes"), there).await.unwrap();
    }
}

fn told(answer: &Answer) -> Told {
    let text = answer.text();
    let mut words = text.split_whitespace().map(str::to_owned);
    let mut next = || words.next().unwrap();
    Told { sandbox: next(), calls: next().parse().unwrap(), word: next() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_sandbox_takes_one_call_after_the_other() {
    if !ready() {
        return;
    }
    let hot = Hot::start(json!({})).await;
    let first = hot.told("/hot", "").await;
    for calls in 2..=20 {
        assert_eq!(hot.told("/hot", "").await, Told { calls, ..first.clone() });
    }
    assert_eq!(hot.sandboxes().await, 1);
    assert!((hot.cloud.metric("picasso_cold_starts_total{outcome=\"ready\"}").await - 1.0).abs() < 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_sandbox_ends_after_its_idle_timeout_and_zero_ends_it_with_its_call() {
    if !ready() {
        return;
    }
    let hot = Hot::start(json!({"idle_timeout": 1})).await;
    hot.route("/once", json!({"idle_timeout": 0})).await;
    let first = hot.told("/hot", "").await;
    hot.become_sandboxes(0).await;
    let second = hot.told("/hot", "").await;
    assert_ne!(second.sandbox, first.sandbox);
    assert_eq!(second.calls, 1);

    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        let once = hot.told("/once", "").await;
        assert_eq!(once.calls, 1);
        seen.insert(once.sandbox);
    }
    assert_eq!(seen.len(), 5);
    hot.become_sandboxes(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_or_image_never_meets_an_old_sandbox() {
    if !ready() {
        return;
    }
    let hot = Hot::start(json!({})).await;
    hot.cloud.load_other_shell("shell:2").await;
    // Several sandboxes are warm before each change.
    let warm = join_all((0..4).map(|_| hot.told("/hot", "slow"))).await;
    let mut old: BTreeSet<String> = warm.into_iter().map(|told| told.sandbox).collect();
    for (n, change) in [
        json!({"config": {"WORD": "second"}}),
        json!({"image": "shell:2"}),
        json!({"image": SHELL_IMAGE, "config": {"WORD": "third"}}),
    ]
    .into_iter()
    .enumerate()
    {
        hot.cloud.change(&hot.token, &hot.app, "/hot", change).await;
        let now = join_all((0..4).map(|_| hot.told("/hot", "slow"))).await;
        for told in &now {
            assert!(!old.contains(&told.sandbox), "change {n}: {told:?} is an old sandbox");
            assert_eq!(told.word, ["second", "second", "third"][n]);
        }
        old.extend(now.into_iter().map(|told| told.sandbox));
    }
    // What no call can meet any more does not stay.
    let left = || async { hot.sandboxes().await <= 4 };
    wait_until(SOON, "the old sandboxes end", left).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_sandbox_fails_only_its_call() {
    if !ready() {
        return;
    }
    let hot = Hot::start(json!({})).await;
    join_all((0..4).map(|_| hot.told("/hot", "slow"))).await;
    let calls = (0..8).map(|n| hot.call("/hot", if n == 3 { "crash" } else { "slow" }));
    let answers = join_all(calls).await;
    for (n, answer) in answers.iter().enumerate() {
        let expected = if n == 3 { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
        assert_eq!(answer.status, expected, "call {n}: {}", answer.text());
    }
    assert_eq!(hot.told("/hot", "").await.word, "first");
}

#[tokio::test(flavor = "multi_thread")]
async fn max_concurrency_bounds_the_sandboxes() {
    if !ready() {
        return;
    }
    let hot = Hot::start(json!({"max_concurrency": 2, "queue_timeout": 60})).await;
    let answers = join_all((0..12).map(|_| hot.told("/hot", "slow"))).await;
    let sandboxes: BTreeSet<String> = answers.iter().map(|told| told.sandbox.clone()).collect();
    assert_eq!(sandboxes.len(), 2, "{answers:?}");
    assert!((hot.cloud.metric("picasso_cold_starts_total{outcome=\"ready\"}").await - 2.0).abs() < 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_never_makes_more_sandboxes_than_calls() {
    if !ready() {
        return;
    }
    let hot = Hot::start(json!({"queue_timeout": 60})).await;
    let mut calls = 0.0;
    for burst in [1_u32, 3, 9, 9, 27] {
        let answers = join_all((0..burst).map(|_| hot.told("/hot", ""))).await;
        assert_eq!(answers.len(), burst as usize);
        calls += f64::from(burst);
        let started = hot.cloud.metric("picasso_cold_starts_total{outcome=\"ready\"}").await;
        assert!(started <= calls, "{started} sandboxes for {calls} calls");
        assert!(hot.sandboxes().await <= u64::from(burst.max(9)));
    }
    let started = hot.cloud.metric("picasso_cold_starts_total{outcome=\"ready\"}").await;
    assert!(started <= 27.0, "{started} sandboxes, never more than 27 calls at one time");
}

#[tokio::test(flavor = "multi_thread")]
async fn min_instances_are_there_before_the_first_call_and_after_a_crash() {
    if !ready() {
        return;
    }
    let hot = Hot::start(json!({"min_instances": 2, "idle_timeout": 1})).await;
    hot.become_sandboxes(2).await;
    assert_eq!(hot.call("/hot", "crash").await.status, StatusCode::BAD_GATEWAY);
    hot.become_sandboxes(2).await;
    // The idle timeout does not end them: the same one answers after it.
    let first = hot.told("/hot", "").await;
    let idle = || async {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        uptime.split('.').next().unwrap().parse::<u64>().unwrap()
    };
    let began = idle().await;
    wait_until(SOON, "three seconds go by", || async { idle().await >= began + 3 }).await.unwrap();
    assert_eq!(hot.sandboxes().await, 2);
    assert!(hot.told("/hot", "").await.calls >= 1);
    hot.cloud.change(&hot.token, &hot.app, "/hot", json!({"min_instances": 0})).await;
    hot.become_sandboxes(0).await;
    assert_ne!(hot.told("/hot", "").await.sandbox, first.sandbox);
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_functions_outlive_the_spawner() {
    if !ready() {
        return;
    }
    let hot = Hot::start(json!({"queue_timeout": 30})).await;
    let before = hot.told("/hot", "").await;
    hot.cloud.picasso.kill_spawner();
    // Calls in between get an error that says so; then all is well.
    let well = || async {
        let answer = hot.call("/hot", "").await;
        assert!(
            [
                StatusCode::OK,
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::INTERNAL_SERVER_ERROR
            ]
            .contains(&answer.status),
            "{} {}",
            answer.status,
            answer.text()
        );
        answer.status == StatusCode::OK && told(&answer).sandbox != before.sandbox
    };
    wait_until(SOON, "the function runs again", well).await.unwrap();
    hot.become_sandboxes(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sandboxes_make_room_for_another_function() {
    if !ready() {
        return;
    }
    // Room for four sandboxes of 64 MiB, of which one project may use all.
    let engine = "[engine]\nmemory_mb = 256\nproject_share_percent = 100\n";
    let hot = Hot::start_with(json!({"memory": 64, "queue_timeout": 30}), engine).await;
    hot.route("/other", json!({"memory": 64, "queue_timeout": 30})).await;
    join_all((0..4).map(|_| hot.told("/hot", "slow"))).await;
    assert_eq!(hot.sandboxes().await, 4);
    let others = join_all((0..3).map(|_| hot.told("/other", "slow"))).await;
    assert_eq!(others.iter().map(|told| &told.sandbox).collect::<BTreeSet<_>>().len(), 3);
    assert!(hot.sandboxes().await <= 4);
    assert!(hot.cloud.metric("picasso_evictions_total").await >= 3.0);
}
