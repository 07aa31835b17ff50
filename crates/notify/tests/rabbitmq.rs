//! Notifications through a real RabbitMQ to a real listener of oslo.messaging.

use std::time::Duration;

use picasso_notify::{Envelope, Notification, Notifier, Priority, RabbitMqNotifier, RabbitMqSettings};
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::oslo::OsloListener;
use picasso_testkit::process::require;
use serde_json::{Map, Value, json};

const WITHIN: Duration = Duration::from_mins(1);

fn settings(urls: &[String]) -> RabbitMqSettings {
    RabbitMqSettings {
        urls: urls.iter().map(|url| url.as_str().into()).collect(),
        exchange: "picasso".to_owned(),
        topics: vec!["notifications".to_owned()],
        durable: false,
        envelope: Envelope::V2,
        publisher_id: "function.here".to_owned(),
        max_waiting: 100,
    }
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { return Map::new() };
    object
}

fn told(event_type: &str, priority: Priority) -> Notification {
    let context = object(json!({ "request_id": "req-1", "project_id": "p" }));
    Notification::new(event_type, priority, context, object(json!({ "app_id": "1", "größe": 7 })))
}

fn possible() -> bool {
    require("RabbitMQ and oslo.messaging", OsloListener::missing().as_deref())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_of_oslo_messaging_reads_both_envelopes_and_both_priorities() {
    if !possible() {
        return;
    }
    let broker = Broker::start(Kind::RabbitMq).await.unwrap();
    // Nobody listens yet: the queues that the notifier makes keep what comes.
    let first = RabbitMqNotifier::start(settings(&[broker.url()]));
    first.notify(&told("function.app.create.start", Priority::Info));
    first.flush(WITHIN).await;
    let listener = OsloListener::start(&broker, "picasso").await.unwrap();
    let plain = RabbitMqSettings { envelope: Envelope::V1, ..settings(&[broker.url()]) };
    let second = RabbitMqNotifier::start(plain);
    second.notify(&told("function.app.create.error", Priority::Error));
    second.flush(WITHIN).await;
    let is_error = |heard: &Value| heard["event_type"] == "function.app.create.error";
    listener.heard_until("the error", is_error).await.unwrap();
    let is_start = |heard: &Value| heard["event_type"] == "function.app.create.start";
    let heard = listener.heard_until("the start", is_start).await.unwrap();
    assert_eq!(heard.len(), 2, "{heard:?}");
    for one in &heard {
        assert_eq!(one["publisher_id"], "function.here");
        assert_eq!(one["payload"], json!({ "app_id": "1", "größe": 7 }));
        let context = &one["context"];
        assert_eq!((&context["request_id"], &context["project_id"]), (&json!("req-1"), &json!("p")));
        assert_eq!(one["metadata"]["message_id"].as_str().unwrap().len(), 36);
        assert_eq!(one["metadata"]["timestamp"].as_str().unwrap().len(), 26);
        assert_eq!(one["priority"], if is_error(one) { "error" } else { "info" });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_broker_is_used_where_one_does_not_answer() {
    if !possible() {
        return;
    }
    let broker = Broker::start(Kind::RabbitMq).await.unwrap();
    let nobody = picasso_testkit::process::free_port().unwrap();
    let urls = [format!("amqp://picasso:x@127.0.0.1:{nobody}/%2f"), broker.url()];
    let listener = OsloListener::start(&broker, "picasso").await.unwrap();
    let notifier = RabbitMqNotifier::start(settings(&urls));
    notifier.notify(&told("function.app.delete.end", Priority::Info));
    notifier.flush(WITHIN).await;
    listener.heard_until("the event", |heard| heard["priority"] == "info").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_service_declared_durable_is_used_as_it_is() {
    if !possible() {
        return;
    }
    let broker = Broker::start(Kind::RabbitMq).await.unwrap();
    let durable = RabbitMqSettings { durable: true, ..settings(&[broker.url()]) };
    let first = RabbitMqNotifier::start(durable);
    first.notify(&told("function.app.create.end", Priority::Info));
    first.flush(WITHIN).await;
    let second = RabbitMqNotifier::start(settings(&[broker.url()]));
    second.notify(&told("function.app.update.end", Priority::Info));
    second.flush(WITHIN).await;
    // The durable queue has both: it was there, and nobody was refused.
    let properties = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(&broker.url(), properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let exists = lapin::options::QueueDeclareOptions {
        passive: true,
        ..lapin::options::QueueDeclareOptions::default()
    };
    let arguments = lapin::types::FieldTable::default();
    let queue = channel.queue_declare("notifications.info".into(), exists, arguments).await.unwrap();
    assert_eq!(queue.message_count(), 2);
}
