//! Notifications of a real Keystone, and of a service that tells a lot while everything dies: what the
//! broker has confirmed makes one call each, and nothing comes to another project.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use picasso_suites::cloud::{Cloud, SHELL_IMAGE, ready};
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::keystone::{Keystone, KeystoneOptions, install_tls_provider};
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::{require, wait_until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_mins(3);
/// Notifications of each project.
const EACH: usize = 60;

/// A cloud whose Keystone tells of itself, and whose Picasso hears.
struct Telling {
    broker: Broker,
    keystone: Arc<Keystone>,
    cloud: Cloud,
}

impl Telling {
    /// `durable` exchanges outlive the broker; Keystone's own are not, as it makes them.
    async fn start(durable: bool) -> Self {
        install_tls_provider();
        let broker = Broker::start(Kind::RabbitMq).await.unwrap();
        let options = KeystoneOptions { broker_url: Some(broker.url()), ..KeystoneOptions::default() };
        let keystone = Arc::new(Keystone::start_with(options).await.unwrap());
        let more_config = format!(
            "[events]\nenabled = true\ndurable_exchanges = {durable}\nretry_after_s = 1\n\
             listen = [\"keystone/notifications\", \"nova/notifications\"]\n\
             transport_url = \"{}/\"\n",
            broker.url()
        );
        let options = PicassoOptions { more_config, ..PicassoOptions::default() };
        let cloud = Cloud::start_on(keystone.clone(), options).await;
        let telling = Self { broker, keystone, cloud };
        telling.hears().await;
        telling
    }

    async fn hears(&self) {
        let connected = || async { self.cloud.metric("picasso_notification_connected").await > 0.5 };
        wait_until(WITHIN, "a connection to the broker", connected).await.unwrap();
    }

    /// A function of a project that gives what it got, and a subscription that calls it.
    async fn subscribe(&self, user: &str, project: &str, options: Value) -> String {
        let token = self.keystone.token(user, project).await.unwrap();
        let base = format!("/v1/{}", self.cloud.project(project).await);
        let post = async |path: String, body: Value| {
            let answer = self.cloud.api(Method::POST, &path, Some(&token), Some(body)).await;
            assert!(answer.status.is_success(), "{path}: {}", answer.text());
            answer.json()
        };
        let app = post(format!("{base}/apps"), json!({"app": {"name": "events"}})).await;
        let app = app["app"]["name"].as_str().unwrap().to_owned();
        let route = json!({
            "path": "/heard", "image": SHELL_IMAGE, "type": "async", "memory": 16, "timeout": 30,
            "config": {"SCRIPT": "b cat"},
        });
        post(format!("{base}/apps/{app}/routes"), json!({"route": route})).await;
        let trigger = json!({"name": "heard", "app": app, "route": "/heard", "kind": "notification", "options": options});
        post(format!("{base}/triggers"), json!({"trigger": trigger})).await;
        token
    }

    /// The events that the project's functions have got, by type, with how often.
    async fn heard(&self, token: &str, project: &str) -> BTreeMap<String, u32> {
        let base = format!("/v1/{}/calls", self.cloud.project(project).await);
        let mut heard = BTreeMap::new();
        let calls = self.cloud.api(Method::GET, &format!("{base}?limit=1000"), Some(token), None).await;
        assert_eq!(calls.status, StatusCode::OK, "{}", calls.text());
        for call in calls.json()["calls"].as_array().unwrap() {
            if call["status"] != "succeeded" {
                continue;
            }
            let path = format!("{base}/{}/result?raw=true", call["id"].as_str().unwrap());
            let result = self.cloud.api(Method::GET, &path, Some(token), None).await.json();
            let project_id = self.cloud.project(project).await;
            assert_eq!(result["project_id"], project_id.as_str(), "{result}");
            *heard.entry(result["event_type"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        heard
    }
}

fn possible() -> bool {
    ready() && require("RabbitMQ", Broker::missing(Kind::RabbitMq).as_deref())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_made_in_keystone_runs_the_function_of_who_made_it() {
    if !possible() {
        return;
    }
    let telling = Telling::start(false).await;
    let types = json!({"event_types": ["identity.project.*"]});
    let maker = telling.subscribe("demo1-admin", "demo1", types.clone()).await;
    let other = telling.subscribe("demo2-member", "demo2", types).await;
    telling.keystone.create_project_as("demo1-admin", "demo1").await.unwrap();
    let made = || async { telling.heard(&maker, "demo1").await.contains_key("identity.project.created") };
    wait_until(WITHIN, "the call of the new project", made).await.unwrap();
    assert_eq!(telling.heard(&other, "demo2").await, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_notification_is_lost_and_none_comes_to_another_project_whatever_dies() {
    if !possible() {
        return;
    }
    let mut telling = Telling::start(true).await;
    let all = json!({"event_types": ["*"]});
    let one = telling.subscribe("demo1-member", "demo1", all.clone()).await;
    let two = telling.subscribe("demo2-member", "demo2", all).await;
    let projects = [telling.cloud.project("demo1").await, telling.cloud.project("demo2").await];
    let mut nova = Nova::new(telling.broker.url());
    for number in 0..EACH {
        for project in &projects {
            nova.tell(number, project, &projects).await;
        }
        match number {
            10 | 40 => telling.cloud.picasso.kill_engine(),
            12 | 45 => telling.cloud.picasso.start_again().await.unwrap(),
            20 => telling.broker.kill().await.unwrap(),
            30 => drop(telling.keystone.stop()),
            42 => telling.keystone.restart().await.unwrap(),
            _ => {}
        }
        if number == 20 {
            telling.broker.start_again().await.unwrap();
            telling.hears().await;
        }
    }
    for (token, name, own) in [(&one, "demo1", &projects[0]), (&two, "demo2", &projects[1])] {
        let expected: BTreeMap<_, _> = (0..EACH).map(|number| (format!("of.{own}.{number}"), 1)).collect();
        let whole = || async { telling.heard(token, name).await.len() >= EACH };
        let waited = wait_until(WITHIN, "all events", whole).await;
        assert_eq!(telling.heard(token, name).await, expected, "{waited:?}");
    }
}

/// Tells of events as a service does whose context is its caller's.
struct Nova {
    url: String,
    channel: Option<Channel>,
}

impl Nova {
    const fn new(url: String) -> Self {
        Self { url, channel: None }
    }

    /// Returns when the broker has it on disk. The payload claims to be of both projects.
    async fn tell(&mut self, number: usize, project: &str, projects: &[String]) {
        let message = json!({
            "message_id": format!("{project}-{number}"), "publisher_id": "compute.host1", "priority": "INFO",
            "event_type": format!("of.{project}.{number}"), "timestamp": "2026-11-22 15:19:19.219177",
            "payload": {"project_id": projects[0], "tenant_id": projects[1]}, "_context_project_id": project,
        });
        let body = json!({"oslo.version": "2.0", "oslo.message": message.to_string()}).to_string();
        for _ in 0..100 {
            if self.sent(body.as_bytes()).await == Some(true) {
                return;
            }
            self.channel = None;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        unreachable!("the broker takes nothing");
    }

    async fn sent(&mut self, body: &[u8]) -> Option<bool> {
        if self.channel.is_none() {
            let connection = Connection::connect(&self.url, ConnectionProperties::default()).await.ok()?;
            let channel = connection.create_channel().await.ok()?;
            channel.confirm_select(ConfirmSelectOptions::default()).await.ok()?;
            self.channel = Some(channel);
        }
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = BasicProperties::default().with_delivery_mode(2);
        let (exchange, key) = ("nova".into(), "notifications.info".into());
        let sent =
            self.channel.as_ref()?.basic_publish(exchange, key, options, body, properties).await.ok()?;
        Some(matches!(sent.await.ok()?, Confirmation::Ack(None)))
    }
}
