//! A real Zaqar runs functions, by a trigger that reads a queue and by a subscription to a webhook,
//! while the server is killed: no message is lost.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use picasso_suites::cloud::{Cloud, ready};
use picasso_testkit::keystone::User;
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::{require, wait_until};
use picasso_testkit::zaqar::Zaqar;
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Longer than a claim: its messages come again when it ends, should a kill come just between a claim
/// and what is written down of it.
const WITHIN: Duration = Duration::from_mins(8);
/// Messages that the trigger reads, posted so many at a time, and the largest batch.
const MESSAGES: usize = 18;
const AT_ONCE: usize = 6;
const BATCH: usize = 4;
/// The message that the function cannot handle: of the last batch, as pauses grow with each that has one.
const BAD: usize = 16;

/// Names the bad message as failed, and says what it got.
const GIVES_BACK: &str = r#"body=$(b cat); b sleep 2
    bad=$(printf '%s' "$body" | b sed 's/},{/},\n{/g' | b grep '"n":16}' | b sed 's/.*"id":"\([^"]*\)".*/\1/')
    failures=""; [ -z "$bad" ] || failures="{\"itemIdentifier\":\"$bad\"}"
    printf '{"batchItemFailures":[%s],"got":%s}' "$failures" "$body""#;
const TAKES_ALL: &str = r#"printf '{"got":%s}' "$(b cat)""#;

struct Stage {
    cloud: Cloud,
    zaqar: Zaqar,
    owner: User,
    token: String,
    project: String,
    app: String,
}

impl Stage {
    async fn start() -> Self {
        let options = PicassoOptions {
            more_config: "[queue]\nlease_s = 5\n".to_owned(),
            cache_seconds: Some(600),
            ..PicassoOptions::default()
        };
        let cloud = Cloud::start_with(options).await;
        let zaqar = Zaqar::start(&cloud.keystone, "signs-confirmations-of-the-tests").await.unwrap();
        // Zaqar looks for its own address by this name.
        cloud.keystone.add_service_named("messaging", "zaqar", &zaqar.url()).await.unwrap();
        let owner = cloud.keystone.create_user("demo1", &["member"]).await.unwrap();
        let token = cloud.keystone.token(&owner.name, "demo1").await.unwrap();
        let (project, app) = (cloud.project("demo1").await, cloud.app(&token, "messages").await);
        Self { cloud, zaqar, owner, token, project, app }
    }

    /// A function, and a trigger of the same name that calls it; the answer to whoever made that.
    async fn trigger(&self, name: &str, script: &str, fields: Value) -> Value {
        let (path, route) = (format!("/{name}"), json!({"type": "async", "memory": 16}));
        self.cloud.route(&self.token, &self.app, &path, script, route).await;
        let mut trigger = json!({"name": name, "app": self.app, "route": path});
        trigger.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let url = format!("/v1/{}/triggers", self.project);
        let made =
            self.cloud.api(Method::POST, &url, Some(&self.token), Some(json!({"trigger": trigger}))).await;
        assert!(made.status.is_success(), "{}", made.text());
        made.json()
    }

    async fn get(&self, path: &str) -> Value {
        let path = format!("/v1/{}/{path}", self.project);
        let answer = self.cloud.api(Method::GET, &path, Some(&self.token), None).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
        answer.json()
    }

    /// The calls of a function.
    async fn calls(&self, name: &str) -> Vec<Value> {
        let listed = self.get(&format!("calls?app={}&limit=500", self.app)).await;
        let (route, calls) = (format!("/{name}"), listed["calls"].as_array().unwrap().iter());
        calls.filter(|call| call["route"] == route).cloned().collect()
    }

    /// What succeeded calls of a function answered.
    async fn answers(&self, name: &str) -> Vec<Value> {
        let mut answers = Vec::new();
        for call in self.calls(name).await {
            if call["status"] == "succeeded" {
                answers
                    .push(self.get(&format!("calls/{}/result?raw=true", call["id"].as_str().unwrap())).await);
            }
        }
        answers
    }

    /// The numbers of the messages that each succeeded call of the trigger got.
    async fn batches(&self) -> Vec<Vec<usize>> {
        let number = |message: &Value| usize::try_from(message["body"]["n"].as_u64().unwrap()).unwrap();
        let batch = |answer: &Value| {
            assert_eq!(answer["got"]["queue"], "jobs", "{answer}");
            answer["got"]["messages"].as_array().unwrap().iter().map(number).collect()
        };
        self.answers("jobs").await.iter().map(batch).collect()
    }

    async fn post(&self, queue: &str, numbers: std::ops::Range<usize>) {
        let bodies: Vec<_> = numbers.map(|n| json!({"n": n})).collect();
        assert!(self.zaqar.post(&self.token, queue, &bodies).await);
    }

    /// Returns when a call of the trigger has run for a moment.
    async fn is_under_way(&self) {
        let since = Cell::new(None);
        wait_until(WITHIN, "a call that runs", async || {
            let is_running = self.calls("jobs").await.iter().any(|call| call["status"] == "running");
            since.set(since.get().filter(|_| is_running).or_else(|| is_running.then(Instant::now)));
            since.get().is_some_and(|since: Instant| since.elapsed() > Duration::from_millis(500))
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_zaqar_run_functions_by_trigger_and_subscription_while_the_server_is_killed() {
    if !ready() || !require("Zaqar", Zaqar::missing().as_deref()) {
        return;
    }
    let mut stage = Stage::start().await;
    a_subscription_is_confirmed_and_its_messages_arrive(&mut stage).await;
    a_queue_is_read_in_batches(&mut stage).await;
    it_is_read_with_the_trust_of_its_owner(&stage).await;
}

async fn a_subscription_is_confirmed_and_its_messages_arrive(stage: &mut Stage) {
    let hook = json!({"kind": "webhook", "options": {"sender": "zaqar"}});
    let made = stage.trigger("told", "b cat", hook).await;
    let url = made["webhook"]["url"].as_str().unwrap();
    assert!(stage.zaqar.subscribe(&stage.token, "told", url).await);
    let confirmed = || async {
        let subscriptions = stage.zaqar.subscriptions(&stage.token, "told").await;
        subscriptions.len() == 1 && subscriptions[0]["confirmed"] == true
    };
    wait_until(WITHIN, "the confirmation", confirmed).await.unwrap();

    stage.post("told", 0..1).await;
    let told = async |stage: &Stage| {
        let mut told = BTreeMap::new();
        for message in stage.answers("told").await {
            assert_eq!(message["queue_name"], "told", "{message}");
            *told.entry(message["body"]["n"].as_u64().unwrap()).or_insert(0) += 1;
        }
        told
    };
    wait_until(WITHIN, "the message", async || !told(stage).await.is_empty()).await.unwrap();
    // Zaqar tries again where it finds nobody.
    stage.cloud.picasso.signal(Signal::KILL);
    stage.cloud.picasso.wait(WITHIN).await.unwrap();
    stage.post("told", 1..2).await;
    stage.cloud.picasso.start_again().await.unwrap();
    wait_until(WITHIN, "the second message", async || told(stage).await.len() == 2).await.unwrap();
    assert_eq!(told(stage).await, BTreeMap::from([(0, 1), (1, 1)]));
}

async fn a_queue_is_read_in_batches(stage: &mut Stage) {
    stage.post("jobs", 0..AT_ONCE).await;
    let reads = json!({
        "kind": "queue", "options": {"queue": "jobs", "batch_size": BATCH},
        "identity": {"type": "trust", "roles": ["member"]},
    });
    let made = stage.trigger("jobs", GIVES_BACK, reads).await;
    assert_eq!(made["trigger"]["identity"]["user_id"], stage.owner.id.as_str(), "{made}");
    // Killed whole, then its engine alone; messages come while it is away.
    for round in 1..MESSAGES / AT_ONCE {
        stage.is_under_way().await;
        if round == 1 {
            stage.cloud.picasso.signal(Signal::KILL);
        } else {
            stage.cloud.picasso.kill_engine();
        }
        stage.cloud.picasso.wait(WITHIN).await.unwrap();
        stage.post("jobs", round * AT_ONCE..(round + 1) * AT_ONCE).await;
        stage.cloud.picasso.start_again().await.unwrap();
    }

    // What was named as failed comes again, and it alone.
    let count = async || stage.zaqar.count(&stage.token, "jobs").await;
    let one_left = || async {
        count().await == Some(1)
            && stage.batches().await.iter().filter(|batch| batch.contains(&BAD)).count() >= 2
    };
    let waited = wait_until(WITHIN, "one message is left", one_left).await;
    let batches = stage.batches().await;
    assert!(waited.is_ok(), "{:?} left: {batches:?}", count().await);
    let got: BTreeSet<usize> = batches.iter().flatten().copied().collect();
    assert_eq!(got, (0..MESSAGES).collect(), "{batches:?}");
    assert!(batches.iter().all(|batch| batch.len() <= BATCH), "{batches:?}");
    assert!(batches.iter().any(|batch| batch.len() == BATCH), "{batches:?}");

    let mended = json!({"config": {"SCRIPT": TAKES_ALL}});
    stage.cloud.change(&stage.token, &stage.app, "/jobs", mended).await;
    wait_until(WITHIN, "no message is left", async || count().await == Some(0)).await.unwrap();
}

async fn it_is_read_with_the_trust_of_its_owner(stage: &Stage) {
    let keystone = &stage.cloud.keystone;
    keystone.remove_role(&stage.owner.name, "demo1", "member").await.unwrap();
    let other = stage.cloud.token("demo1-member").await;
    let url = format!("/v1/{}/triggers/jobs", stage.project);
    let shown =
        async || stage.cloud.api(Method::GET, &url, Some(&other), None).await.json()["trigger"].take();
    wait_until(WITHIN, "it is suspended", async || shown().await["state"] == "suspended").await.unwrap();
    let reason = shown().await["state_reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("trust"), "{reason}");
    assert!(stage.zaqar.post(&other, "jobs", &[json!({"n": MESSAGES})]).await);
    assert_eq!(stage.zaqar.messages(&other, "jobs").await, [json!({"n": MESSAGES})]);
}
