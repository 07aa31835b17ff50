//! Hearing notifications: a thousand a second past ten thousand subscriptions of two hundred projects, of
//! which one in a hundred fits. The floor is a process that takes the same messages from the same
//! broker in the same seconds and only acknowledges them.

use std::convert::Infallible;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use picasso_suites::cloud::SHELL_IMAGE;
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::process::{Process, TestDir, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

use crate::memory::cpu_seconds;
use crate::queued::number;
use crate::report::Report;
use crate::samples::Samples;
use crate::stage::{Fault, Stage};

/// The word by which this program becomes the floor.
pub const FLOOR: &str = "acknowledge";
/// The floor's queue.
const FLOOR_QUEUE: &str = "floor";
/// What one message in so many is.
const FITTING: u32 = 100;
/// Subscriptions of each project.
const EACH: u32 = 50;
/// Messages of a tick, and ticks a second.
const TICKS: (u32, u32) = (10, 100);
const WITHIN: Duration = Duration::from_mins(2);

/// A project with its token and its subscriptions.
struct Project {
    id: String,
    token: String,
}

/// Measures and publishes `notifications.json`. `BENCH_PROJECTS`: of 50 subscriptions each, 200;
/// `BENCH_SECONDS`: of a thousand messages each, 20.
pub async fn measure() -> Result<(), Fault> {
    let (projects, seconds) = (number("BENCH_PROJECTS", 200)?, number("BENCH_SECONDS", 20)?);
    let broker = Broker::start(Kind::RabbitMq).await?;
    let config = format!(
        "[events]\nenabled = true\nlisten = [\"nova/notifications\"]\npriorities = [\"info\"]\n\
         transport_url = \"{}/\"\n",
        broker.url()
    );
    let stage = Stage::set(&config).await?;
    let mut subscribed = Vec::new();
    for _ in 0..projects {
        subscribed.push(subscribe(&stage).await?);
    }
    let wanted = f64::from(projects * EACH);
    let known = || async { stage.cloud.metric("picasso_notification_subscriptions").await >= wanted };
    wait_until(WITHIN, "all subscriptions", known).await?;
    let (floor, _dir) = floor(&broker).await?;
    let channel = channel(&broker.url()).await?;
    let engine = stage.cloud.picasso.engine_pid().ok_or("no engine")?;

    let before = (cpu_seconds(engine)?, cpu_seconds(floor.pid())?);
    publish(&channel, &subscribed, seconds).await?;
    let told = f64::from(seconds * TICKS.0 * TICKS.1);
    let heard = || async { heard(&stage).await >= told };
    wait_until(WITHIN, "all notifications", heard).await?;
    let after = (cpu_seconds(engine)?, cpu_seconds(floor.pid())?);

    let mut report = Report::new("notifications");
    report.row("from publishing to an accepted call", accepted(&stage, &subscribed).await?);
    report.figure("subscriptions", wanted, "");
    report.figure("notifications", told / f64::from(seconds), "a second");
    report.figure("picasso's engine", (after.0 - before.0) / f64::from(seconds), "cores");
    report.figure("floor: taking and acknowledging", (after.1 - before.1) / f64::from(seconds), "cores");
    report.publish()?;
    Ok(())
}

/// A new project with a user, a route, and subscriptions to many types of events.
async fn subscribe(stage: &Stage) -> Result<Project, Fault> {
    let cloud = &stage.cloud;
    let name = cloud.keystone.create_project().await?;
    let user = cloud.keystone.create_user(&name, &["member"]).await?;
    let (id, token) = (cloud.project(&name).await, cloud.keystone.token(&user.name, &name).await?);
    let base = format!("/v1/{id}");
    let post = async |path: String, body: Value| {
        let answer = cloud.api(Method::POST, &path, Some(&token), Some(body)).await;
        if answer.status.is_success() { Ok(answer.json()) } else { Err(answer.text()) }
    };
    let app = post(format!("{base}/apps"), json!({"app": {"name": "bench"}})).await?;
    let app = app["app"]["name"].as_str().ok_or("an app without a name")?.to_owned();
    let route = json!({
        "path": "/heard", "image": SHELL_IMAGE, "type": "async", "memory": 16, "delay": 3600,
        "config": {"SCRIPT": "true"},
    });
    post(format!("{base}/apps/{app}/routes"), json!({"route": route})).await?;
    for number in 0..EACH {
        // Globs, exact names, and globs that fit but for the payload.
        let (types, filter) = match number {
            0 => (json!(["bench.hit"]), json!([])),
            n if n % 3 == 0 => (json!([format!("volume.{n}.*")]), json!([])),
            n if n % 3 == 1 => (json!([format!("network.{n}.end"), format!("image.{n}.end")]), json!([])),
            n => {
                (json!([format!("*.{n}.update")]), json!([{"field": "data.payload.state", "equals": "gone"}]))
            }
        };
        let trigger = json!({
            "name": format!("t{number}"), "app": app, "route": "/heard", "kind": "notification",
            "options": {"event_types": types}, "filter": filter,
        });
        post(format!("{base}/triggers"), json!({"trigger": trigger})).await?;
    }
    Ok(Project { id, token })
}

/// Publishes at an even pace.
async fn publish(channel: &Channel, projects: &[Project], seconds: u32) -> Result<(), Fault> {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / TICKS.1);
    let mut number = 0_u32;
    for _ in 0..seconds * TICKS.1 {
        tick.tick().await;
        for _ in 0..TICKS.0 {
            number += 1;
            let project = &projects[(number / FITTING) as usize % projects.len()].id;
            let body = message(number, project);
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            let (exchange, key) = ("nova".into(), "notifications.info".into());
            channel.basic_publish(exchange, key, options, &body, properties.with_delivery_mode(2)).await?;
        }
    }
    Ok(())
}

/// As Nova tells of an instance, with about as much of it.
fn message(number: u32, project: &str) -> Vec<u8> {
    let event_type = match number % FITTING {
        0 => "bench.hit".to_owned(),
        other => format!("compute.instance.{other}.update"),
    };
    let details: Value =
        (0..30).map(|n| (format!("detail_{n}"), json!(format!("value {n} of it")))).collect();
    let message = json!({
        "message_id": format!("{}-{number}", micros(SystemTime::now())), "publisher_id": "compute.host1",
        "event_type": event_type, "priority": "INFO", "timestamp": "2026-11-22 15:19:19.219177",
        "_unique_id": number.to_string(), "_context_project_id": project, "_context_user_id": "u",
        "_context_roles": ["member", "reader"], "_context_request_id": "req-1",
        "payload": {"state": "active", "instance_id": number, "tenant_id": project, "details": details},
    });
    json!({"oslo.version": "2.0", "oslo.message": message.to_string()}).to_string().into_bytes()
}

/// Notifications that the server has looked at.
async fn heard(stage: &Stage) -> f64 {
    let of = |outcome: &str| format!("picasso_notification_events_total{{outcome=\"{outcome}\"}}");
    stage.cloud.metric(&of("ignored")).await + stage.cloud.metric(&of("taken")).await
}

/// From the time in an event's id to the time of its firing.
async fn accepted(stage: &Stage, projects: &[Project]) -> Result<crate::samples::Summary, Fault> {
    let mut samples = Samples::default();
    for project in projects {
        let path = format!("/v1/{}/triggers/t0/firings", project.id);
        let firings = stage.cloud.api(Method::GET, &path, Some(&project.token), None).await.json();
        for firing in firings["firings"].as_array().into_iter().flatten() {
            if firing["outcome"] != "accepted" {
                return Err(format!("a call was not accepted: {firing}").into());
            }
            let published: i64 = firing["event_id"]
                .as_str()
                .and_then(|id| id.split('-').next())
                .unwrap_or_default()
                .parse()?;
            let at: jiff::Timestamp = firing["at"].as_str().unwrap_or_default().parse()?;
            samples.add(Duration::from_micros(u64::try_from(at.as_microsecond() - published).unwrap_or(0)));
        }
    }
    Ok(samples.summary())
}

fn micros(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()
}

async fn channel(url: &str) -> Result<Channel, Fault> {
    Ok(Connection::connect(url, ConnectionProperties::default()).await?.create_channel().await?)
}

/// Starts the floor as a process of its own.
async fn floor(broker: &Broker) -> Result<(Process, TestDir), Fault> {
    let dir = TestDir::new("floor")?;
    let mut command = Command::new(std::env::current_exe()?);
    // The password of the tests' broker is no secret.
    command.arg(FLOOR).arg(broker.url());
    let mut process = Process::spawn("floor", dir.path(), command)?;
    let asking = channel(&broker.url()).await?;
    let consumes = || async {
        let (options, arguments) = (QueueDeclareOptions::default(), FieldTable::default());
        let queue = asking.queue_declare(FLOOR_QUEUE.into(), options, arguments).await;
        queue.is_ok_and(|queue| queue.consumer_count() > 0)
    };
    process.ready(WITHIN, "its consumer", consumes).await?;
    Ok((process, dir))
}

/// Takes and acknowledges messages until it is ended.
pub async fn acknowledge(url: &str) -> Result<Infallible, Fault> {
    let channel = channel(url).await?;
    channel.basic_qos(200, BasicQosOptions::default()).await?;
    let arguments = FieldTable::default;
    channel.queue_declare(FLOOR_QUEUE.into(), QueueDeclareOptions::default(), arguments()).await?;
    let (exchange, key) = ("nova".into(), "notifications.info".into());
    channel.queue_bind(FLOOR_QUEUE.into(), exchange, key, QueueBindOptions::default(), arguments()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume(FLOOR_QUEUE.into(), "floor".into(), options, arguments()).await?;
    while let Some(delivery) = consumer.next().await {
        channel.basic_ack(delivery?.delivery_tag, BasicAckOptions::default()).await?;
    }
    Err("the broker delivers no more".into())
}
