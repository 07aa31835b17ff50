//! Notifications of a real Keystone, and of a service that tells a lot while everything dies: what the
//! broker has confirmed makes one call each, and nothing comes to another project. Keystone is away for a
//! whole minute; webhooks and schedules go on, too.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use picasso_suites::cloud::{Cloud, SHELL_IMAGE, ready};
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::keystone::{Keystone, KeystoneOptions, install_tls_provider};
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::postgres::PostgresServer;
use picasso_testkit::process::{require, wait_until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_mins(3);
/// How long Keystone is away, and how often each project's service tells of something meanwhile.
const AWAY: Duration = Duration::from_mins(1);
const EVERY: Duration = Duration::from_millis(250);
/// Seconds between two times of the schedule.
const TICK: i64 = 5;
/// How long the database is away at least, and what the broker hands over at a time there.
const OUTAGE: Duration = Duration::from_secs(10);
const PREFETCH: usize = 8;

/// A cloud whose Keystone tells of itself, and whose Picasso hears.
struct Telling {
    broker: Broker,
    keystone: Arc<Keystone>,
    cloud: Cloud,
}

impl Telling {
    /// `durable` exchanges outlive the broker; Keystone's own are not, as it makes them.
    async fn start(durable: bool) -> Self {
        Self::start_with(durable, |_| String::new()).await
    }

    /// With more settings behind those of `[events]`, which may name the broker.
    async fn start_with(durable: bool, more: impl FnOnce(&str) -> String) -> Self {
        install_tls_provider();
        let broker = Broker::start(Kind::RabbitMq).await.unwrap();
        let options = KeystoneOptions { broker_url: Some(broker.url()), ..KeystoneOptions::default() };
        let keystone = Arc::new(Keystone::start_with(options).await.unwrap());
        let more_config = format!(
            "[events]\nenabled = true\ndurable_exchanges = {durable}\nretry_after_s = 1\n\
             listen = [\"keystone/notifications\", \"nova/notifications\"]\n\
             transport_url = \"{url}/\"\n{more}",
            url = broker.url(),
            more = more(&broker.url())
        );
        // Tokens that were looked at are good while Keystone is away: tests ask what goes on meanwhile.
        let options = PicassoOptions { more_config, cache_seconds: Some(600), ..PicassoOptions::default() };
        let cloud = Cloud::start_on(keystone.clone(), options).await;
        let telling = Self { broker, keystone, cloud };
        telling.hears().await;
        telling
    }

    async fn hears(&self) {
        let connected = || async { self.cloud.metric("picasso_notification_connected").await > 0.5 };
        wait_until(WITHIN, "a connection to the broker", connected).await.unwrap();
    }

    /// Somebody of a project, with an app and its function that gives back what it got.
    async fn member(&self, user: &str, project: &str) -> Member {
        let token = self.keystone.token(user, project).await.unwrap();
        let project = self.cloud.project(project).await;
        let base = format!("{}/v1/{project}", self.cloud.picasso.api_url());
        let http = self.cloud.http.clone();
        let mut member = Member { http, base, token, project, app: String::new() };
        let app = member.post("apps", json!({"app": {"name": "events"}})).await;
        member.app = app["app"]["name"].as_str().unwrap().to_owned();
        for path in ["/heard", "/hook", "/tick"] {
            let route = json!({
                "path": path, "image": SHELL_IMAGE, "type": "async", "memory": 16, "timeout": 30,
                "config": {"SCRIPT": "b cat"},
            });
            member.post(&format!("apps/{}/routes", member.app), json!({"route": route})).await;
        }
        member
    }
}

/// A project's member, their functions, and how they look at what those did.
struct Member {
    http: reqwest::Client,
    base: String,
    token: String,
    project: String,
    app: String,
}

impl Member {
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let request = self.http.request(method, format!("{}/{path}", self.base));
        let request = request.header("X-Auth-Token", &self.token);
        let request = if let Some(body) = body { request.json(&body) } else { request };
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// A trigger that calls the function of its name.
    async fn trigger(&self, name: &str, kind: &str, options: Value) -> Value {
        let (app, route) = (&self.app, format!("/{name}"));
        let trigger = json!({"name": name, "app": app, "route": route, "kind": kind, "options": options});
        self.post("triggers", json!({"trigger": trigger})).await
    }

    async fn subscribe(&self, types: &[&str]) {
        self.trigger("heard", "notification", json!({"event_types": types})).await;
    }

    /// A webhook that takes anything; its URL.
    async fn webhook(&self) -> String {
        let made = self.trigger("hook", "webhook", json!({})).await;
        made["webhook"]["url"].as_str().unwrap().to_owned()
    }

    /// The calls of a function, in whatever state.
    async fn calls(&self, name: &str) -> Vec<Value> {
        let mut listed = self.ask(Method::GET, &format!("calls?app={}&limit=1000", self.app), None).await;
        let mut calls = std::mem::take(listed["calls"].as_array_mut().unwrap());
        let route = format!("/{name}");
        calls.retain(|call| call["route"] == route);
        calls
    }

    /// How many calls of a function have succeeded.
    async fn succeeded(&self, name: &str) -> usize {
        self.calls(name).await.iter().filter(|call| call["status"] == "succeeded").count()
    }

    /// The events that the function has got, by type, with how often.
    async fn heard(&self) -> BTreeMap<String, u32> {
        let mut heard = BTreeMap::new();
        for call in self.calls("heard").await {
            if call["status"] != "succeeded" {
                *heard.entry(call.to_string()).or_default() += 1;
                continue;
            }
            let path = format!("calls/{}/result?raw=true", call["id"].as_str().unwrap());
            let result = self.ask(Method::GET, &path, None).await;
            assert_eq!(result["project_id"], self.project.as_str(), "{result}");
            *heard.entry(result["event_type"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        heard
    }

    /// Waits until the function has got so many events, and looks that each of the project's came once.
    async fn has_heard(&self, told: usize) {
        let whole = || async { self.succeeded("heard").await >= told };
        let waited = wait_until(WITHIN, format!("{told} events"), whole).await;
        let expected: BTreeMap<_, _> =
            (0..told).map(|number| (format!("of.{}.{number}", self.project), 1)).collect();
        assert_eq!(self.heard().await, expected, "{waited:?}");
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
    let types = ["identity.project.*"];
    let maker = telling.member("demo1-admin", "demo1").await;
    maker.subscribe(&types).await;
    let other = telling.member("demo2-member", "demo2").await;
    other.subscribe(&types).await;
    telling.keystone.create_project_as("demo1-admin", "demo1").await.unwrap();
    let made = || async { maker.heard().await.contains_key("identity.project.created") };
    wait_until(WITHIN, "the call of the new project", made).await.unwrap();
    assert_eq!(other.heard().await, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_notification_is_lost_and_none_comes_to_another_project_whatever_dies() {
    if !possible() {
        return;
    }
    let mut telling = Telling::start(true).await;
    let members =
        [telling.member("demo1-member", "demo1").await, telling.member("demo2-member", "demo2").await];
    let mut nova = Nova::new(telling.broker.url(), &members);
    for member in &members {
        member.subscribe(&["*"]).await;
    }
    for number in 0..30 {
        nova.tell_each().await;
        match number {
            10 => telling.cloud.picasso.kill_engine(),
            12 => telling.cloud.picasso.start_again().await.unwrap(),
            20 => {
                telling.broker.kill().await.unwrap();
                telling.broker.start_again().await.unwrap();
                telling.hears().await;
            }
            _ => {}
        }
    }
    everything_goes_on_without_keystone(&mut telling, &members[0], &mut nova).await;
    for member in &members {
        member.has_heard(nova.told).await;
    }
}

/// Keystone is away for a minute, the server is killed and starts meanwhile.
async fn everything_goes_on_without_keystone(telling: &mut Telling, member: &Member, nova: &mut Nova) {
    let hook = member.webhook().await;
    member.trigger("tick", "schedule", json!({"cron": format!("*/{TICK} * * * * *")})).await;
    telling.keystone.stop();
    let (began, from) = (Instant::now(), Timestamp::now());
    let mut beat = tokio::time::interval(EVERY);
    let mut posted = 0;
    for beats in 1.. {
        beat.tick().await;
        nova.tell_each().await;
        match beats {
            40 => telling.cloud.picasso.kill_engine(),
            50 => telling.cloud.picasso.start_again().await.unwrap(),
            10 | 60 | 80 => {
                let answer = member.http.post(&hook).body("x").send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::ACCEPTED, "{}", answer.text().await.unwrap());
                posted += 1;
            }
            _ if began.elapsed() >= AWAY => break,
            _ => {}
        }
    }
    let back = Timestamp::now();
    telling.keystone.restart().await.unwrap();

    let all_posted = || async { member.succeeded("hook").await == posted };
    wait_until(WITHIN, "the calls of what was posted", all_posted).await.unwrap();
    let at = |call: &Value, field: &str| call[field].as_str().unwrap().parse::<Timestamp>().unwrap();
    let ended: Vec<_> = member.calls("hook").await.iter().map(|call| at(call, "finished_at")).collect();
    assert!(ended.iter().any(|ended| *ended < back), "no call of a webhook ran before {back}: {ended:?}");

    let planned = || async {
        let calls = member.calls("tick").await;
        let mut times: Vec<_> = calls.iter().map(|call| at(call, "not_before").as_second()).collect();
        times.retain(|time| (from.as_second() + 1..back.as_second()).contains(time));
        times.sort_unstable();
        times
    };
    let mut expected: Vec<_> = (from.as_second() + 1..back.as_second()).collect();
    expected.retain(|time| time % TICK == 0);
    let waited =
        wait_until(WITHIN, "the planned times", async || planned().await.len() >= expected.len()).await;
    assert_eq!(planned().await, expected, "{waited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_while_the_database_is_away_waits_at_the_broker_and_makes_one_call_each() {
    if !possible() || !require("PostgreSQL", PostgresServer::missing().as_deref()) {
        return;
    }
    let mut database = PostgresServer::start().await.unwrap();
    let url = database.create_database("picasso").unwrap();
    let more = |broker: &str| {
        format!(
            "prefetch = {PREFETCH}\n[database]\nurl = \"{url}\"\n\
             [queue]\nurl = \"{broker}\"\nlease_s = 5\n"
        )
    };
    let telling = Telling::start_with(true, more).await;
    let members =
        [telling.member("demo1-member", "demo1").await, telling.member("demo2-member", "demo2").await];
    for member in &members {
        member.subscribe(&["*"]).await;
    }
    let hook = members[0].webhook().await;
    let engine = telling.cloud.picasso.engine_pid();
    let mut nova = Nova::new(telling.broker.url(), &members);
    for _ in 0..20 {
        nova.tell_each().await;
    }
    database.kill().await.unwrap();
    let began = Instant::now();
    let mut beat = tokio::time::interval(EVERY);
    // What is handed over and not acknowledged is not counted as waiting.
    while began.elapsed() < OUTAGE || nova.waiting().await < 5 * PREFETCH {
        assert!(began.elapsed() < WITHIN, "the broker does not keep what is told");
        beat.tick().await;
        nova.tell_each().await;
    }
    let refused = members[0].http.post(&hook).body("x").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text().await.unwrap());
    database.start_again().await.unwrap();

    for member in &members {
        member.has_heard(nova.told).await;
    }
    let all_taken = async || nova.waiting().await == 0;
    wait_until(WITHIN, "an empty queue", all_taken).await.unwrap();
    assert_eq!(telling.cloud.picasso.engine_pid(), engine, "the server was started again");
    assert_eq!(members[0].calls("hook").await, [] as [Value; 0]);
}

/// Tells of events as a service does whose context is its caller's.
struct Nova {
    url: String,
    channel: Option<Channel>,
    projects: [String; 2],
    /// How many events of each project were told.
    told: usize,
}

impl Nova {
    fn new(url: String, members: &[Member; 2]) -> Self {
        Self {
            url,
            channel: None,
            projects: members.each_ref().map(|member| member.project.clone()),
            told: 0,
        }
    }

    /// Tells of one more event of each project.
    async fn tell_each(&mut self) {
        for project in self.projects.clone() {
            self.tell(&project).await;
        }
        self.told += 1;
    }

    /// Returns when the broker has it on disk. The payload claims to be of both projects.
    async fn tell(&mut self, project: &str) {
        let (number, projects) = (self.told, &self.projects);
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

    /// How many notifications lie in Picasso's queue and are not handed over.
    async fn waiting(&self) -> usize {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let channel = self.channel.as_ref().unwrap();
        let queue = channel.queue_declare("picasso".into(), options, FieldTable::default()).await.unwrap();
        queue.message_count() as usize
    }
}
