//! `clients/swift-middleware` in a real Swift proxy, with a real Keystone: each change of an object is told
//! once, also when the receiver was away and the proxy was killed, and no client notices.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use picasso_suites::object_events::Receiver;
use picasso_testkit::keystone::{Keystone, Scope};
use picasso_testkit::process::{require, wait_until};
use picasso_testkit::swift::Swift;
use picasso_testkit::swift_events::EventSpool;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);

/// A Swift with the filter, whose events a receiver takes.
struct Stage {
    keystone: Arc<Keystone>,
    swift: Swift,
    spool: EventSpool,
    receiver: Receiver,
    http: Client,
    token: String,
    project: String,
}

impl Stage {
    async fn start(options: &str) -> Option<Self> {
        if !require("Keystone", Keystone::missing().as_deref()) {
            return None;
        }
        let keystone = Keystone::shared().await.unwrap();
        let receiver = Receiver::start().await.unwrap();
        let spool = EventSpool::new().unwrap();
        let filter = spool.filter(&keystone, receiver.url(), options);
        let swift = Swift::with_filter(&keystone, filter).await.unwrap();
        let token = keystone.token("demo1-member", "demo1").await.unwrap();
        let project = keystone.project_id("demo1").await.unwrap();
        let stage = Self { keystone, swift, spool, receiver, http: Client::new(), token, project };
        stage.made("photos", &[]).await;
        Some(stage)
    }

    async fn made(&self, container: &str, headers: &[(&str, &str)]) -> Response {
        self.succeeds(Method::PUT, container, headers, "").await
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        self.send_as(&self.token, method, path, headers, body).await
    }

    async fn send_as(
        &self,
        token: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let url = format!("{}/v1/AUTH_{}/{path}", self.swift.url(), self.project);
        let mut request = self.http.request(method, url).header("x-auth-token", token).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn succeeds(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let answer = self.send(method, path, headers, body).await;
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer
    }

    /// The events of an object, once there are `count`.
    async fn told(&self, object: &str, count: usize) -> Vec<Value> {
        let there = || async { self.receiver.of(object).len() >= count };
        wait_until(SOON, format!("{count} events of {object}"), there).await.unwrap();
        self.receiver.of(object)
    }

    /// The only event of an object.
    async fn one(&self, object: &str) -> Value {
        self.told(object, 1).await.remove(0)
    }
}

#[tokio::test]
async fn each_way_to_change_an_object_is_told_once_and_the_answer_is_swifts_own() {
    let Some(stage) = Stage::start("").await else { return };

    let answer =
        stage.succeeds(Method::PUT, "photos/in/a.jpg", &[("content-type", "image/jpeg")], "hello").await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.headers()["etag"], "5d41402abc4b2a76b9719d911017c592");
    let transaction = answer.headers()["x-trans-id"].to_str().unwrap().to_owned();
    let put = stage.one("in/a.jpg").await;
    let user = stage.keystone.user_id("demo1-member").await.unwrap();
    let expected = json!({
        "id": put["id"], "time": put["time"], "operation": "put", "account": format!("AUTH_{}", stage.project),
        "project_id": stage.project, "container": "photos", "object": "in/a.jpg", "size": 5,
        "etag": "5d41402abc4b2a76b9719d911017c592", "content_type": "image/jpeg", "user_id": user,
        "user_project_id": stage.project, "request_id": transaction,
    });
    assert_eq!(put, expected);

    stage.succeeds(Method::POST, "photos/in/a.jpg", &[("x-object-meta-color", "red")], "").await;
    let copy = Method::from_bytes(b"COPY").unwrap();
    stage.succeeds(copy, "photos/in/a.jpg", &[("destination", "photos/copied")], "").await;
    stage.succeeds(Method::PUT, "photos/put-copied", &[("x-copy-from", "photos/in/a.jpg")], "").await;
    let segments = json!([{"path": "/photos/in/a.jpg"}]).to_string();
    stage.succeeds(Method::PUT, "photos/large?multipart-manifest=put", &[], &segments).await;
    let late = "photos/large-late?multipart-manifest=put&heartbeat=on";
    let answer = stage.succeeds(Method::PUT, late, &[], &segments).await;
    assert!(answer.text().await.unwrap().contains("201 Created"));
    stage.succeeds(Method::PUT, "photos/dynamic", &[("x-object-manifest", "photos/in/")], "-").await;
    let answer = stage.succeeds(Method::DELETE, "photos/large-late?multipart-manifest=delete", &[], "").await;
    assert!(answer.text().await.unwrap().contains("200 OK"));
    stage.succeeds(Method::DELETE, "photos/copied", &[], "").await;

    // What does not succeed, also where only the body says so.
    let segments = json!([{"path": "/photos/not-there"}]).to_string();
    let broken = "photos/broken?multipart-manifest=put&heartbeat=on";
    assert!(
        stage.succeeds(Method::PUT, broken, &[], &segments).await.text().await.unwrap().contains("400 Bad")
    );
    assert_eq!(stage.send(Method::DELETE, "photos/copied", &[], "").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(stage.send(Method::PUT, "nowhere/x", &[], "").await.status(), StatusCode::NOT_FOUND);
    let other = stage.keystone.token("demo2-member", "demo2").await.unwrap();
    let refused = stage.send_as(&other, Method::PUT, "photos/foreign", &[], "x").await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    stage.succeeds(Method::PUT, "photos/last", &[], "x").await;
    stage.one("last").await;

    let told: Vec<(String, String)> = stage
        .receiver
        .events()
        .iter()
        .map(|event| (text(&event["object"]), text(&event["operation"])))
        .collect();
    let expected = [
        ("in/a.jpg", "put"),
        ("in/a.jpg", "post"),
        ("copied", "copy"),
        ("put-copied", "copy"),
        ("large", "segments_completed"),
        ("large-late", "segments_completed"),
        ("dynamic", "segments_completed"),
        ("large-late", "delete"),
        ("copied", "delete"),
        ("last", "put"),
    ];
    assert_eq!(told, expected.map(|(object, operation)| (object.to_owned(), operation.to_owned())));
    assert_eq!(
        stage.receiver.of("copied")[0]["source"],
        json!({"container": "photos", "object": "in/a.jpg"})
    );
}

#[tokio::test]
async fn the_objects_of_bulk_requests_are_told_of_each() {
    let Some(stage) = Stage::start("").await else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    let tar =
        Command::new("tar").args(["cf", "-", "-C"]).arg(folder.path()).args(["one", "two"]).output().unwrap();
    let url = format!("{}/v1/AUTH_{}/photos?extract-archive=tar", stage.swift.url(), stage.project);
    let answer =
        stage.http.put(url).header("x-auth-token", &stage.token).body(tar.stdout).send().await.unwrap();
    assert!(answer.text().await.unwrap().contains("Number Files Created: 2"));
    let headers = [("content-type", "text/plain")];
    stage.succeeds(Method::POST, "?bulk-delete", &headers, "photos/one\nphotos/not-there\n").await;
    let operations: Vec<String> =
        stage.told("one", 2).await.iter().map(|event| text(&event["operation"])).collect();
    assert_eq!(operations, ["put", "delete"]);
    stage.one("two").await;
    assert!(stage.receiver.of("not-there").is_empty());
}

#[tokio::test]
async fn events_say_through_which_trust_or_credential_they_came_and_hold_no_token() {
    let Some(stage) = Stage::start("").await else { return };
    let Stage { keystone, .. } = &stage;
    let trust = keystone.create_trust("demo1-member", "picasso", "demo1", "member").await.unwrap();
    let credential = keystone.create_application_credential("demo1-member", "demo1", None).await.unwrap();
    let by_trust = keystone.scoped_token("picasso", Scope::Trust(&trust)).await.unwrap();
    let by_credential = keystone.token_of(&credential).await.unwrap();
    for (token, object) in [(&by_trust, "by-trust"), (&by_credential, "by-credential")] {
        let answer = stage.send_as(token, Method::PUT, &format!("photos/{object}"), &[], "x").await;
        assert_eq!(answer.status(), StatusCode::CREATED);
    }
    let member = keystone.user_id("demo1-member").await.unwrap();
    let event = stage.one("by-trust").await;
    assert_eq!((text(&event["trust_id"]), text(&event["user_id"])), (trust, member.clone()));
    let event = stage.one("by-credential").await;
    assert_eq!((text(&event["application_credential_id"]), text(&event["user_id"])), (credential.id, member));

    for batch in stage.receiver.batches() {
        assert_eq!(batch.path, "/v1/object-events");
        let ours = &batch.headers["x-auth-token"];
        let everything = format!("{:?}{}", batch.events, stage.swift.log());
        for token in [&stage.token, &by_trust, &by_credential, ours] {
            assert!(!everything.contains(token.as_str()));
        }
        assert_ne!(ours, &stage.token);
    }
}

#[tokio::test]
async fn nothing_is_lost_while_the_receiver_is_away_and_the_proxy_is_killed() {
    let Some(mut stage) = Stage::start("").await else { return };
    stage.receiver.answer(503);
    let mut expected = BTreeSet::new();
    for round in 0..3 {
        for number in 0..20 {
            let name = format!("o-{round}-{number}");
            // The client has its answer, as if nothing were wrong.
            let answer = stage.succeeds(Method::PUT, &format!("photos/{name}"), &[], "x").await;
            assert_eq!(answer.status(), StatusCode::CREATED);
            expected.insert(name);
        }
        stage.swift.kill();
        let spooled = stage.spool.text();
        assert!(expected.iter().all(|name| spooled.contains(&format!("\"{name}\""))), "{spooled}");
        assert!(!spooled.contains(&stage.token));
        stage.swift.start_again().await.unwrap();
    }
    stage.receiver.answer(202);
    // A request that only reads makes a new process look into the spool.
    stage.succeeds(Method::GET, "photos", &[], "").await;
    let arrived = || async {
        let names: BTreeSet<String> =
            stage.receiver.events().iter().map(|event| text(&event["object"])).collect();
        names == expected
    };
    wait_until(SOON, "all events", arrived).await.unwrap();
    wait_until(SOON, "an empty spool", || async { stage.spool.text().is_empty() }).await.unwrap();
    let ids: BTreeSet<String> = stage.receiver.events().iter().map(|event| text(&event["id"])).collect();
    assert_eq!((ids.len(), stage.receiver.events().len()), (60, 60), "each once");
}

#[tokio::test]
async fn events_wait_for_keystone_and_are_sent_when_it_is_back() {
    if !require("Keystone", Keystone::missing().as_deref()) {
        return;
    }
    // Of its own: it goes away. The proxy keeps the tokens it has seen for a while.
    let keystone = Keystone::start().await.unwrap();
    let receiver = Receiver::start().await.unwrap();
    let spool = EventSpool::new().unwrap();
    let filter = spool.filter(&keystone, receiver.url(), "");
    let swift = Swift::with_filter(&keystone, filter).await.unwrap();
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    let project = keystone.project_id("demo1").await.unwrap();
    let http = Client::new();
    let put = async |path: &str| {
        let url = format!("{}/v1/AUTH_{project}/{path}", swift.url());
        http.put(url).header("x-auth-token", &token).body("x").send().await.unwrap().status()
    };
    assert_eq!(put("photos").await, StatusCode::CREATED);
    keystone.stop();
    assert_eq!(put("photos/now").await, StatusCode::CREATED);
    wait_until(SOON, "a failed batch", || async { !spool.text().is_empty() }).await.unwrap();
    assert!(receiver.events().is_empty());
    keystone.restart().await.unwrap();
    wait_until(SOON, "the event", || async { receiver.of("now").len() == 1 }).await.unwrap();
}

#[tokio::test]
async fn metadata_of_a_container_subscribe_functions_and_whoever_sets_them_hears_how() {
    let Some(stage) = Stage::start("only_subscribed = true").await else { return };
    let headers = [
        ("x-container-meta-function-thumb", "img/resize ops=put,delete prefix=in/ suffix=.jpg"),
        ("x-container-meta-function-odd", "http://elsewhere/x"),
    ];
    let answer = stage.made("watched", &headers).await;
    let said = answer.headers()["x-container-function-status"].to_str().unwrap();
    assert!(said.contains("thumb accepted") && said.contains("odd ignored: "), "{said}");
    stage.succeeds(Method::PUT, "photos/in/a.jpg", &[], "x").await;
    stage.succeeds(Method::PUT, "watched/in/b.png", &[], "x").await;
    stage.succeeds(Method::PUT, "watched/in/c.jpg", &[], "x").await;
    stage.succeeds(Method::DELETE, "watched/in/c.jpg", &[], "").await;
    let told = stage.told("in/c.jpg", 2).await;
    assert!(told.iter().all(|event| event["subscription"] == json!({"app": "img", "route": "/resize"})));
    assert_eq!(stage.receiver.events().len(), 2, "only what was subscribed to");

    // Metadata that are taken away end it at once.
    stage.succeeds(Method::POST, "watched", &[("x-remove-container-meta-function-thumb", "x")], "").await;
    stage.succeeds(Method::PUT, "watched/in/d.jpg", &[], "x").await;
    stage.succeeds(Method::POST, "watched", &[("x-container-meta-function-all", "img/all")], "").await;
    stage.succeeds(Method::PUT, "watched/e", &[], "x").await;
    assert_eq!(stage.one("e").await["subscription"]["route"], "/all");
    assert!(stage.receiver.of("in/d.jpg").is_empty());
}

#[tokio::test]
async fn the_old_header_counts_for_urls_of_picasso_alone() {
    let Some(stage) = Stage::start("").await else { return };
    let ours = stage.receiver.url().to_owned();
    for (object, url, counts) in [
        ("public", format!("{ours}/r/app/hello"), true),
        ("private", format!("{ours}/v1/r/{}/app/hello", stage.project), true),
        ("foreign", format!("{ours}/v1/r/0123456789abcdef/app/hello"), false),
        ("elsewhere", "http://169.254.169.254/r/app/hello".to_owned(), false),
    ] {
        let path = format!("photos/{object}");
        let answer = stage.succeeds(Method::PUT, &path, &[("x-function-url", &url)], "x").await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        let said = answer.headers()["x-function-url-status"].to_str().unwrap();
        assert_eq!(said == "accepted", counts, "{url}: {said}");
        let event = stage.one(object).await;
        assert_eq!(event.get("function_url").is_some(), counts, "{event}");
    }
}

#[tokio::test]
async fn a_batch_that_is_refused_costs_only_the_event_at_fault() {
    let Some(stage) = Stage::start("").await else { return };
    stage.receiver.answer(400);
    stage.succeeds(Method::PUT, "photos/bad", &[], "x").await;
    wait_until(SOON, "the event dropped", || async { stage.spool.text().is_empty() }).await.unwrap();
    stage.receiver.answer(202);
    stage.succeeds(Method::PUT, "photos/good", &[], "x").await;
    stage.one("good").await;
    assert!(stage.receiver.of("bad").is_empty());
}

#[test]
fn the_filters_own_tests_pass() {
    if !require("Keystone", Keystone::missing().as_deref()) {
        return;
    }
    let python = picasso_testkit::keystone::python().unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/swift-middleware");
    let ran = Command::new(python)
        .args(["-W", "ignore", "-B", "-m", "unittest", "discover", "-s", "tests", "-t", "."])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
