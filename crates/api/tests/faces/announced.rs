//! What requests tell OpenStack's bus, as a real listener of oslo.messaging hears it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use picasso_api::{AnnounceSettings, Announcer, AuditSettings};
use picasso_notify::{Envelope, Notifier, RabbitMqNotifier, RabbitMqSettings};
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::oslo::{OsloListener, keystonemiddleware_events, pycadf_faults};
use picasso_testkit::process::{require, wait_until};
use serde_json::{Value, json};

use crate::support::{OTHER, Options, PROJECT, Server};

const WITHIN: Duration = Duration::from_mins(2);
/// A value that no notification may show.
const SECRET: &str = "configured-secret";

/// A server that tells a broker of everything but reads.
async fn start(broker: &Broker, max_waiting: usize) -> (Server, Arc<RabbitMqNotifier>) {
    let notifier = Arc::new(RabbitMqNotifier::start(RabbitMqSettings {
        urls: vec![broker.url().into()],
        exchange: "picasso".to_owned(),
        topics: vec!["notifications".to_owned()],
        durable: false,
        envelope: Envelope::V2,
        publisher_id: "function.here".to_owned(),
        max_waiting,
    }));
    let settings = AnnounceSettings {
        lifecycle: true,
        audit: Some(AuditSettings { ignore_methods: vec!["GET".to_owned()], ignore_paths: Vec::new() }),
        public_url: Some("http://functions.example.org".to_owned()),
    };
    let announcer = Arc::new(Announcer::new(notifier.clone(), settings));
    (Server::start_with(Options { announcer, ..Options::default() }).await, notifier)
}

fn possible() -> bool {
    require("RabbitMQ and oslo.messaging", OsloListener::missing().as_deref())
}

fn of_type<'a>(heard: &'a [Value], event_type: &str) -> Vec<&'a Value> {
    heard.iter().filter(|one| one["event_type"] == event_type).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_an_app_and_a_route_is_heard_by_oslo_messaging() {
    if !possible() {
        return;
    }
    let broker = Broker::start(Kind::RabbitMq).await.unwrap();
    let listener = OsloListener::start(&broker, "picasso").await.unwrap();
    let (server, notifier) = start(&broker, 1000).await;
    let apps = format!("/v1/{PROJECT}/apps");
    let body = json!({"app": {"name": "hello", "config": {"PASSWORD": SECRET}}});
    let made = server.api.post(&apps, "member", &body).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let app = made.json()["app"].clone();
    assert_eq!(server.api.post(&apps, "member", &body).await.kind(), "app_exists");
    assert_eq!(server.api.post(&apps, "stranger", &body).await.status, 403);
    assert_eq!(server.api.post(&apps, "nobody", &body).await.status, 401);
    let route = server.route("/a", "cat", json!({"config": {"TOKEN": SECRET}})).await.json()["route"].clone();
    let route_url = format!("{apps}/hello/routes/a");
    let changed = server.api.put(&route_url, "member", &json!({"timeout": 7})).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let of_route = format!("/v1/{PROJECT}/routes/{}", route["id"].as_str().unwrap());
    let back = server.api.post(&format!("{of_route}/rollback"), "member", &json!({"version": 1})).await;
    assert_eq!(back.status, 200, "{}", back.text());
    let alias = json!({"alias": {"name": "live", "versions": [{"version": 1, "weight": 1}]}});
    let aliased = server.api.post(&format!("{of_route}/aliases"), "member", &alias).await;
    assert_eq!(aliased.status, 200, "{}", aliased.text());
    let live = format!("{of_route}/aliases/live");
    assert_eq!(server.api.put(&live, "member", &json!({"is_public": true})).await.status, 200);
    assert_eq!(server.api.delete(&live, "member").await.status, 200);
    let key = server.api.post(&format!("{apps}/hello/signing-key"), "member", &json!({})).await.json();
    assert_eq!(server.api.delete(&format!("/v1/{PROJECT}/images/none:1"), "member").await.status, 404);
    assert_eq!(server.api.delete(&route_url, "member").await.status, 200);
    assert_eq!(server.api.get(&apps, "member").await.status, 200);
    let deleted = server.api.delete(&format!("{apps}/hello"), "member").await;
    assert_eq!(deleted.status, 200);
    notifier.flush(WITHIN).await;

    let is_error = |one: &Value| one["event_type"] == "function.image.delete.error";
    listener.heard_until("the error of an image", is_error).await.unwrap();
    let ended = |one: &Value| one["event_type"] == "function.app.delete.end";
    let heard = listener.heard_until("the end of the app", ended).await.unwrap();
    let lifecycle: BTreeSet<&str> = heard
        .iter()
        .filter_map(|one| one["event_type"].as_str().unwrap().strip_prefix("function."))
        .collect();
    let expected = [
        "app.create.start",
        "app.create.end",
        "app.create.error",
        "route.create.start",
        "route.create.end",
        "route.update.start",
        "route.update.end",
        "version.roll_back.start",
        "version.roll_back.end",
        "alias.create.start",
        "alias.create.end",
        "alias.update.start",
        "alias.update.end",
        "alias.delete.start",
        "alias.delete.end",
        "app.rotate_signing_key.start",
        "app.rotate_signing_key.end",
        "image.delete.start",
        "image.delete.error",
        "route.delete.start",
        "route.delete.end",
        "app.delete.start",
        "app.delete.end",
    ];
    assert_eq!(lifecycle, BTreeSet::from(expected));

    let end = of_type(&heard, "function.app.create.end")[0];
    assert_eq!((&end["publisher_id"], &end["priority"]), (&json!("function.here"), &json!("info")));
    assert_eq!(end["payload"]["app_id"], app["id"]);
    assert_eq!(end["payload"]["app_name"], app["name"]);
    assert_eq!(end["payload"]["project_id"], PROJECT);
    assert_eq!(end["context"]["request_id"], made.header("x-openstack-request-id"));
    assert_eq!(end["context"]["user_id"], "user-member");
    assert_eq!(end["context"]["project_id"], PROJECT);
    let error = of_type(&heard, "function.app.create.error");
    assert_eq!(error.len(), 1, "a caller without the right begins no change: {error:?}");
    assert_eq!(error[0]["priority"], "error");
    assert_eq!(error[0]["payload"]["error"], json!({"kind": "app_exists", "status": 409}));
    let of_route = &of_type(&heard, "function.route.delete.end")[0]["payload"];
    assert_eq!((&of_route["route_id"], &of_route["path"]), (&route["id"], &json!("/a")));
    assert_eq!(of_type(&heard, "function.route.update.end")[0]["payload"]["version"], 2);
    let rolled_back = &of_type(&heard, "function.version.roll_back.end")[0]["payload"];
    assert_eq!((&rolled_back["source_version"], &rolled_back["version"]), (&json!(1), &json!(3)));
    let aliased = &of_type(&heard, "function.alias.update.end")[0]["payload"];
    assert_eq!((&aliased["alias"], &aliased["route_id"]), (&json!("live"), &route["id"]));
    assert_eq!(aliased["versions"], json!([{"version": 1, "weight": 1}]));
    let unaliased = &of_type(&heard, "function.alias.delete.end")[0]["payload"];
    assert_eq!((&unaliased["alias"], &unaliased["app_id"]), (&json!("live"), &app["id"]));
    let of_app = &of_type(&heard, "function.app.delete.end")[0]["payload"];
    assert_eq!((&of_app["app_id"], &of_app["app_name"]), (&app["id"], &app["name"]));

    let all = Value::from(heard).to_string();
    assert!(!all.contains(SECRET) && !all.contains(key["signing_key"].as_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_events_are_those_of_keystonemiddleware_and_valid_for_pycadf() {
    if !possible() {
        return;
    }
    let broker = Broker::start(Kind::RabbitMq).await.unwrap();
    let listener = OsloListener::start(&broker, "picasso").await.unwrap();
    let (server, notifier) = start(&broker, 1000).await;
    let path = format!("/v1/{PROJECT}/apps?token=s3cret");
    let headers =
        [("x-auth-token", "member"), ("content-type", "application/json"), ("user-agent", "a-client/1")];
    let body = json!({"app": {"name": "hello"}}).to_string();
    assert_eq!(server.api.send("POST", &path, &headers, body.clone()).await.status, 200);
    assert_eq!(server.api.send("POST", &path, &headers, body).await.status, 409);
    let app = format!("/v1/{PROJECT}/apps/hello");
    assert_eq!(server.api.delete(&app, "stranger").await.status, 403);
    // Refused by the rule, too; only the caller must not learn it.
    assert_eq!(server.api.delete(&app, "other").await.status, 404);
    // A call that was refused has no record.
    let call = format!("/v1/r/{PROJECT}/hello/a");
    assert_eq!(server.api.post(&call, "stranger", &json!({})).await.status, 403);
    assert_eq!(server.api.delete(&app, "nobody").await.status, 401);
    assert_eq!(server.api.send("DELETE", &app, &[], "").await.status, 401);
    notifier.flush(WITHIN).await;
    let all = |heard: &[Value]| of_type(heard, "audit.http.response").len() == 7;
    wait_until(WITHIN, "the audit of all seven", || async { all(&listener.heard()) }).await.unwrap();
    let heard = listener.heard();
    let requests = of_type(&heard, "audit.http.request");
    let responses = of_type(&heard, "audit.http.response");
    assert_eq!(requests.len(), 4, "calls, and callers whom Keystone does not know, are told of once");
    let events: Vec<&Value> = requests.iter().chain(&responses).map(|one| &one["payload"]).collect();
    let faults = tokio::task::block_in_place(|| pycadf_faults(&events)).unwrap();
    assert_eq!(faults, "", "pycadf");
    let outcomes: Vec<_> = responses.iter().map(|one| one["payload"]["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, [&["success"][..], &["failure"; 6][..]].concat());
    let rule = |name: &str, status: &str| json!({"reasonType": "HTTP", "reasonCode": status, "policyType": "oslo.policy", "policyId": name});
    let answered = |status: &str| json!({"reasonType": "HTTP", "reasonCode": status});
    let reasons: Vec<_> = responses.iter().map(|one| one["payload"]["reason"].clone()).collect();
    let expected = [
        answered("200"),
        answered("409"),
        rule("functions:app:delete", "403"),
        rule("functions:app:delete", "404"),
        rule("functions:function:invoke", "403"),
        answered("401"),
        answered("401"),
    ];
    assert_eq!(reasons, expected);
    let projects = responses.iter().map(|one| one["payload"]["initiator"]["project_id"].as_str().unwrap());
    let expected = [PROJECT, PROJECT, PROJECT, OTHER, PROJECT, "unknown", "unknown"];
    assert_eq!(projects.collect::<Vec<_>>(), expected);
    assert_eq!(responses[5]["payload"]["initiator"]["credential"]["identity_status"], "Invalid");
    assert!(!Value::from(heard.clone()).to_string().contains("nobody"), "a token");

    let request = &requests[0]["payload"];
    assert_eq!(request["requestPath"], format!("/v1/{PROJECT}/apps?token=***"));
    assert_eq!(request["initiator"]["credential"]["token"], "***");
    assert_eq!(request["initiator"]["host"], json!({"address": "127.0.0.1", "agent": "a-client/1"}));
    let catalog = json!([{"type": "functions", "name": "picasso",
        "endpoints": [{"publicURL": "http://functions.example.org"}]}]);
    let theirs = tokio::task::block_in_place(|| {
        keystonemiddleware_events(&json!({
            "method": "POST", "path": format!("/v1/{PROJECT}/apps?token=***"), "status": 200,
            "audit_map": "[DEFAULT]\ntarget_endpoint_type = functions\n[path_keywords]\napps = app\n\
                [service_endpoints]\nfunctions = service/functions\n",
            "environ": {
                "REMOTE_ADDR": "127.0.0.1", "HTTP_USER_AGENT": "a-client/1",
                "HTTP_X_USER_ID": "user-member", "HTTP_X_USER_NAME": "member",
                "HTTP_X_PROJECT_ID": PROJECT, "HTTP_X_IDENTITY_STATUS": "Confirmed",
                "HTTP_X_AUTH_TOKEN": "a-token", "HTTP_X_SERVICE_CATALOG": catalog.to_string(),
                "openstack.request_id": request["initiator"]["request_id"],
            },
        }))
    })
    .unwrap();
    assert_eq!(theirs.len(), 2);
    for (theirs, ours) in theirs.iter().zip([requests[0], responses[0]]) {
        assert_eq!(theirs["event_type"], ours["event_type"]);
        assert_eq!(without_chance(&theirs["payload"]), without_chance(&ours["payload"]));
    }
}

/// An event with what differs from one to the next replaced: ids, times, and how a token is hidden.
fn without_chance(event: &Value) -> Value {
    let mut event = event.clone();
    let mut same = |pointer: &str, is_right: fn(&str) -> bool| {
        if let Some(value) = event.pointer_mut(pointer) {
            assert!(value.as_str().is_some_and(is_right), "{pointer}: {value}");
            *value = pointer.into();
        }
    };
    let is_time: fn(&str) -> bool = |text| text.len() == 31 && text.ends_with("+0000");
    same("/id", |id| id.len() == 36);
    same("/eventTime", is_time);
    same("/reporterchain/0/reporterTime", is_time);
    same("/tags/0", |tag| tag.starts_with("correlation_id?value=") && tag.len() == 57);
    same("/initiator/credential/token", |_| true);
    event
}

#[tokio::test]
async fn a_killed_broker_harms_no_request_and_hears_of_later_ones() {
    if !possible() {
        return;
    }
    // One thread, so that the recorder of this test hears of everything.
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let mut broker = Broker::start(Kind::RabbitMq).await.unwrap();
    let (server, notifier) = start(&broker, 10).await;
    let update = async |description: String| {
        let body = json!({"description": description});
        server.api.put(&format!("/v1/{PROJECT}/apps/hello"), "member", &body).await
    };
    server.app().await;
    notifier.flush(WITHIN).await;
    broker.kill().await.unwrap();
    // Four notifications each: far more than the buffer and the batch under way hold.
    for number in 0..60 {
        assert_eq!(update(format!("change {number}")).await.status, 200);
    }
    let counted = metrics.render();
    let full = r#"picasso_notifications_total{outcome="dropped_full"}"#;
    let dropped = counted.lines().find_map(|line| line.strip_prefix(full)?.trim().parse::<u64>().ok());
    assert!(dropped > Some(0), "{counted}");
    broker.start_again().await.unwrap();
    let listener = OsloListener::start(&broker, "picasso").await.unwrap();
    wait_until(WITHIN, "a later event", || async {
        let id = update("after the outage".to_owned()).await.header("x-openstack-request-id").to_owned();
        notifier.flush(Duration::from_secs(5)).await;
        listener.heard().iter().any(|one| one["context"]["request_id"] == id.as_str())
    })
    .await
    .unwrap();
}
