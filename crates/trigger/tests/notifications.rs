//! Notifications through a real RabbitMQ, most of them from a real oslo.messaging, with a real database
//! of subscriptions. What would fire is written down instead, and may be made to fail.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

mod hearing;

use std::time::Duration;

use hearing::{Hearing, possible};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use picasso_testkit::oslo::{Notification, OsloListener, notify};
use picasso_testkit::process::wait_until;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);

fn told<'a>(event_type: &'a str, project: &str) -> Notification<'a> {
    Notification {
        exchange: "nova",
        publisher_id: "compute.host1",
        event_type,
        context: json!({"project_id": project}),
        payload: json!({"state": "active", "größe": 7}),
        ..Notification::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_drivers_of_oslo_messaging_are_heard_and_no_other_listener_loses_a_message() {
    if !possible() {
        return;
    }
    let hearing = Hearing::start().await;
    hearing.subscribe("all-of-p1", "p1", json!({"event_types": ["compute.instance.*"]}), json!([])).await;
    let listener = OsloListener::start(&hearing.broker, "nova").await.unwrap();
    let v1 = Notification { driver: "messaging", ..told("compute.instance.update", "p1") };
    let v2 = Notification { priority: "error", ..told("compute.instance.create.error", "p1") };
    notify(&hearing.broker.url(), &[v1, v2]).await.unwrap();
    hearing.heard_events("all-of-p1", 2).await;
    for (event, kind) in
        hearing.events("all-of-p1").iter().zip(["compute.instance.update", "compute.instance.create.error"])
    {
        assert_eq!((event.kind.as_str(), event.source.as_str()), (kind, "/openstack/compute.host1"));
        assert_eq!(event.id.len(), 36, "{event:?}");
        assert!(event.time.as_ref().unwrap().ends_with('Z'), "{event:?}");
        let data = event.json();
        assert_eq!((&data["event_type"], &data["project_id"]), (&json!(kind), &json!("p1")));
        assert_eq!(data["payload"], json!({"state": "active", "größe": 7}));
    }
    let is_error = |heard: &Value| heard["event_type"] == "compute.instance.create.error";
    let heard = listener.heard_until("the error", is_error).await.unwrap();
    assert_eq!(heard.len(), 2, "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_claims_another_project_is_not_believed() {
    if !possible() {
        return;
    }
    let hearing = Hearing::start().await;
    for (name, project) in [("victim", "p1"), ("sender", "p2")] {
        hearing.subscribe(name, project, json!({"event_types": ["*"]}), json!([])).await;
    }
    hearing.subscribe("admin", "p3", json!({"event_types": ["*"], "scope": "all"}), json!([])).await;
    let claims = json!({
        "project_id": "p1", "tenant_id": "p1", "_context_project_id": "p1", "initiator": {"project_id": "p1"},
        "typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event",
    });
    let claiming =
        |event_type, context| Notification { context, payload: claims.clone(), ..told(event_type, "") };
    let sent = [
        claiming("compute.instance.update", json!({"project_id": "p2"})),
        claiming("image.update", json!({})),
        claiming("identity.project.created", json!({})),
        claiming("audit.http.request", json!({"project_id": null})),
        claiming("orchestration.stack.create.end", json!({"tenant": "p1", "tenant_id": "p2"})),
    ];
    notify(&hearing.broker.url(), &sent).await.unwrap();
    hearing.heard_events("admin", sent.len()).await;
    assert_eq!(hearing.kinds("sender"), ["compute.instance.update", "orchestration.stack.create.end"]);
    assert_eq!(hearing.kinds("victim"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_choose_by_exchange_topic_and_what_the_payload_says() {
    if !possible() {
        return;
    }
    let hearing = Hearing::start().await;
    let types = json!(["compute.*"]);
    let of = |more: Value| {
        let mut options = json!({"event_types": types});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        options
    };
    hearing.subscribe("nova", "p1", of(json!({"exchange": "nova"})), json!([])).await;
    hearing.subscribe("cinder", "p1", of(json!({"exchange": "cinder"})), json!([])).await;
    hearing.subscribe("versioned", "p1", of(json!({"topic": "versioned_notifications"})), json!([])).await;
    let active = json!([{"field": "data.payload.state", "equals": "active"}]);
    hearing.subscribe("active", "p1", of(json!({})), active).await;
    hearing.subscribe("last", "p1", json!({"event_types": ["last"]}), json!([])).await;
    let stopped = Notification { payload: json!({"state": "stopped"}), ..told("compute.b", "p1") };
    let versioned = Notification { topic: "versioned_notifications", ..told("compute.c", "p1") };
    notify(&hearing.broker.url(), &[told("compute.a", "p1"), stopped, versioned, told("last", "p1")])
        .await
        .unwrap();
    hearing.heard_events("last", 1).await;
    assert_eq!(hearing.kinds("nova"), ["compute.a", "compute.b", "compute.c"]);
    assert_eq!(hearing.kinds("cinder"), Vec::<String>::new());
    assert_eq!(hearing.kinds("versioned"), ["compute.c"]);
    assert_eq!(hearing.kinds("active"), ["compute.a", "compute.c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_at_a_subscription_holds_for_the_next_event() {
    if !possible() {
        return;
    }
    let hearing = Hearing::start().await;
    let made = hearing.subscribe("one", "p1", json!({"event_types": ["a"]}), json!([])).await;
    hearing.subscribe("last", "p1", json!({"event_types": ["last"]}), json!([])).await;
    notify(&hearing.broker.url(), &[told("a", "p1")]).await.unwrap();
    hearing.heard_events("one", 1).await;
    hearing.change(&made, json!({"event_types": ["b"]})).await;
    notify(&hearing.broker.url(), &[told("a", "p1"), told("b", "p1"), told("last", "p1")]).await.unwrap();
    hearing.heard_events("last", 1).await;
    assert_eq!(hearing.kinds("one"), ["a", "b"]);
    hearing.delete(&made).await;
    notify(&hearing.broker.url(), &[told("b", "p1"), told("last", "p1")]).await.unwrap();
    hearing.heard_events("last", 2).await;
    assert_eq!(hearing.kinds("one"), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_while_we_were_away_or_the_broker_was_killed_is_heard_once_it_is_back() {
    if !possible() {
        return;
    }
    let mut hearing = Hearing::start_with(|settings| settings.durable = true).await;
    hearing.subscribe("one", "p1", json!({"event_types": ["*"]}), json!([])).await;
    hearing.publish("nova", "notifications.info", &hearing::message("before", "p1")).await;
    hearing.heard_events("one", 1).await;
    hearing.stop().await;
    hearing.publish("nova", "notifications.info", &hearing::message("while-away", "p1")).await;
    hearing.broker.kill().await.unwrap();
    hearing.broker.start_again().await.unwrap();
    hearing.listen().await;
    hearing.heard_events("one", 2).await;
    // The broker is killed below a living listener, too.
    hearing.broker.kill().await.unwrap();
    hearing.broker.start_again().await.unwrap();
    hearing.publish("nova", "notifications.info", &hearing::message("after", "p1")).await;
    hearing.heard_events("one", 3).await;
    assert_eq!(hearing.kinds("one"), ["before", "while-away", "after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_on_disk_when_we_were_killed_comes_again() {
    if !possible() {
        return;
    }
    let mut hearing = Hearing::start().await;
    hearing.subscribe("one", "p1", json!({"event_types": ["*"]}), json!([])).await;
    hearing.sink.hang();
    hearing.publish("nova", "notifications.info", &hearing::message("first", "p1")).await;
    wait_until(SOON, "it is being fired", || async { hearing.sink.hanging() == 1 }).await.unwrap();
    hearing.kill();
    hearing.sink.go_on();
    hearing.listen().await;
    hearing.heard_events("one", 1).await;
    hearing.is_drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_projects_full_queue_holds_up_nobody_and_its_event_is_tried_again() {
    if !possible() {
        return;
    }
    let mut hearing = Hearing::start_with(|settings| {
        settings.prefetch = 2;
        settings.max_parallel = 1;
        settings.retry_after = Duration::from_secs(1);
    })
    .await;
    hearing.subscribe("full", "p1", json!({"event_types": ["*"]}), json!([])).await;
    hearing.subscribe("free", "p2", json!({"event_types": ["*"]}), json!([])).await;
    hearing.subscribe("admin", "p3", json!({"event_types": ["*"], "scope": "all"}), json!([])).await;
    hearing.sink.refuse("full");
    for number in 0..4 {
        let body = hearing::message(&format!("kept-{number}"), "p1");
        hearing.publish("nova", "notifications.info", &body).await;
    }
    hearing.publish("nova", "notifications.info", &hearing::message("through", "p2")).await;
    hearing.heard_events("free", 1).await;
    hearing.sink.accept("full");
    hearing.heard_events("full", 4).await;
    hearing.is_drained().await;
    // Whose call was made is not asked again.
    assert_eq!(hearing.sink.asked("admin"), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_make_a_call_is_given_up() {
    if !possible() {
        return;
    }
    let mut hearing = Hearing::start_with(|settings| {
        settings.retry_after = Duration::from_secs(1);
        settings.give_up_after = Duration::from_secs(2);
    })
    .await;
    hearing.subscribe("full", "p1", json!({"event_types": ["*"]}), json!([])).await;
    hearing.sink.refuse("full");
    hearing.publish("nova", "notifications.info", &hearing::message("lost", "p1")).await;
    wait_until(SOON, "it is given up", || async { hearing.sink.given_up() == ["full lost"] }).await.unwrap();
    hearing.is_drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_left_out_and_holds_up_nothing() {
    if !possible() {
        return;
    }
    let mut hearing = Hearing::start_with(|settings| settings.max_message_bytes = 4096).await;
    hearing.subscribe("one", "p1", json!({"event_types": ["*"]}), json!([])).await;
    let large = hearing::message(&"x".repeat(5000), "p1");
    let deep = format!(
        r#"{{"event_type":"deep","publisher_id":"p","_context_project_id":"p1","payload":{}{}}}"#,
        "[".repeat(500),
        "]".repeat(500)
    );
    for body in [b"\xff".to_vec(), b"{}".to_vec(), b"[1]".to_vec(), large, deep.into_bytes()] {
        hearing.publish("nova", "notifications.info", &body).await;
    }
    hearing.publish("nova", "notifications.info", &hearing::message("good", "p1")).await;
    hearing.heard_events("one", 1).await;
    assert_eq!(hearing.kinds("one"), ["good"]);
    hearing.is_drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_and_queues_that_others_made_are_used_as_they_are() {
    if !possible() {
        return;
    }
    // Another one made the queue before us, as a quorum queue, and the exchange durable.
    let hearing = Hearing::start_with(|settings| {
        settings.quorum = true;
        settings.durable = true;
    })
    .await;
    hearing.subscribe("one", "p1", json!({"event_types": ["*"]}), json!([])).await;
    hearing.publish("nova", "notifications.info", &hearing::message("quorum", "p1")).await;
    hearing.heard_events("one", 1).await;
    let mut hearing = hearing;
    hearing.stop().await;
    hearing.settings.quorum = false;
    hearing.settings.durable = false;
    hearing.listen().await;
    hearing.publish("nova", "notifications.info", &hearing::message("as it is", "p1")).await;
    hearing.heard_events("one", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_deleted_below_us_is_made_again() {
    if !possible() {
        return;
    }
    let hearing = Hearing::start().await;
    hearing.subscribe("one", "p1", json!({"event_types": ["*"]}), json!([])).await;
    let channel = hearing.channel().await;
    channel.queue_delete("picasso".into(), QueueDeleteOptions::default()).await.unwrap();
    let there = || async {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let channel = hearing.channel().await;
        channel.queue_declare("picasso".into(), passive, FieldTable::default()).await.is_ok()
    };
    wait_until(SOON, "the queue", there).await.unwrap();
    // It is bound a moment later.
    let heard = || async {
        hearing.publish("nova", "notifications.info", &hearing::message("again", "p1")).await;
        !hearing.kinds("one").is_empty()
    };
    wait_until(SOON, "an event", heard).await.unwrap();
}
