//! Triggers as a resource: made, changed, tried, paused, and refused by the name of the field.

use picasso_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::support::{PROJECT, Server};

const SOON: std::time::Duration = std::time::Duration::from_secs(30);

fn url(rest: &str) -> String {
    format!("/v1/{PROJECT}/triggers{rest}")
}

fn hourly() -> Value {
    json!({"name": "hourly", "app": "hello", "route": "/run", "kind": "schedule", "options": {"cron": "0 * * * *"}})
}

async fn server_with_route() -> Server {
    let server = Server::start().await;
    server.app().await;
    server.route("/run", "cat", json!({"type": "async"})).await;
    server
}

impl Server {
    async fn trigger(&self, fields: &Value) -> Value {
        let made = self.api.post(&url(""), "member", &json!({"trigger": fields})).await;
        assert_eq!(made.status, 200, "{}", made.text());
        made.json()
    }
}

#[tokio::test]
async fn a_trigger_is_made_shown_listed_changed_and_deleted() {
    let server = server_with_route().await;
    let made = server.trigger(&hourly()).await["trigger"].clone();
    assert_eq!(
        (&made["kind"], &made["state"], &made["enabled"]),
        (&json!("schedule"), &json!("active"), &json!(true))
    );
    assert_eq!(made["options"]["time_zone"], "UTC");
    assert!(made["next_at"].as_str().is_some_and(|at| at.ends_with(":00:00.000000Z")), "{made}");
    assert_eq!(made["identity"], json!({"type": "none"}));

    let shown = server.api.get(&url("/hourly"), "reader").await;
    assert_eq!(shown.json()["trigger"], made);
    let by_id = server.api.get(&url(&format!("/{}", made["id"].as_str().unwrap())), "reader").await;
    assert_eq!(by_id.json()["trigger"], made);
    let listed = server.api.get(&url("?kind=schedule"), "reader").await.json();
    assert_eq!(listed["triggers"], json!([made]));
    assert_eq!(server.api.get(&url("?kind=webhook"), "reader").await.json()["triggers"], json!([]));

    let tag = shown.header("etag");
    let change = json!({"name": "daily", "options": {"cron": "0 3 * * *"}, "filter": [{"field": "type", "prefix": "org."}]});
    let headers = [("x-auth-token", "member"), ("content-type", "application/json"), ("if-match", tag)];
    let changed = server.api.send("PUT", &url("/hourly"), &headers, change.to_string()).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.json()["trigger"]["filter"], change["filter"]);
    assert_eq!(server.api.get(&url("/hourly"), "reader").await.status, 404);
    let late = server.api.send("PUT", &url("/daily"), &headers, change.to_string()).await;
    assert_eq!((late.status, late.kind().as_str()), (412, "precondition_failed"));

    let gone = server.api.send("DELETE", &url("/daily"), &[("x-auth-token", "member")], "").await;
    assert_eq!(gone.status, 200);
    let missing = server.api.get(&url("/daily"), "reader").await;
    assert_eq!((missing.status, missing.kind().as_str()), (404, "trigger_not_found"));
}

#[tokio::test]
async fn a_trigger_that_is_tried_makes_a_call_with_its_event() {
    let server = server_with_route().await;
    let mut fields = hourly();
    fields["input"] = json!({"template": {"said": "${data.word}", "about": "${subject}"}});
    fields["enabled"] = json!(false);
    server.trigger(&fields).await;
    let event = json!({"event": {"type": "org.example.x", "subject": "it", "data": {"word": "hello"}}});
    let fired = server.api.post(&url("/hourly/fire"), "member", &event).await;
    assert_eq!(fired.status, 200, "{}", fired.text());
    let call = fired.json()["firing"]["call_id"].as_str().unwrap().to_owned();
    let call = format!("/v1/{PROJECT}/calls/{call}");
    wait_until(SOON, "the call to run", async || {
        server.api.get(&call, "reader").await.json()["call"]["status"] == "succeeded"
    })
    .await
    .unwrap();
    let shown = server.api.get(&call, "reader").await.json();
    assert_eq!(shown["call"]["trigger"], "schedule");
    let result = server.api.get(&format!("{call}/result?raw=true"), "reader").await;
    assert_eq!(result.json(), json!({"said": "hello", "about": "it"}));
    wait_until(SOON, "the firing to be written down", async || {
        server.api.get(&url("/hourly/firings"), "reader").await.json()["firings"][0]["outcome"] == "accepted"
    })
    .await
    .unwrap();
    assert_eq!(server.api.get(&url("/hourly"), "reader").await.json()["trigger"]["fired"], 1);
}

#[tokio::test]
async fn a_trigger_is_paused_and_resumed_as_often_as_one_likes() {
    let server = server_with_route().await;
    server.trigger(&hourly()).await;
    for (act, state) in [("pause", "paused"), ("pause", "paused"), ("resume", "active"), ("resume", "active")]
    {
        let done = server.api.post(&url(&format!("/hourly/{act}")), "member", &json!({})).await;
        assert_eq!((done.status, &done.json()["trigger"]["state"]), (200, &json!(state)));
    }
    let off = server.api.put(&url("/hourly"), "member", &json!({"enabled": false})).await;
    assert_eq!(off.json()["trigger"]["enabled"], false);
}

#[tokio::test]
async fn a_webhooks_secrets_are_shown_when_they_are_made_and_never_again() {
    let server = server_with_route().await;
    let hook = json!({"name": "hook", "app": "hello", "route": "/run", "kind": "webhook", "options": {"sender": "github"}});
    let made = server.trigger(&hook).await;
    let (url_shown, key) =
        (made["webhook"]["url"].as_str().unwrap(), made["webhook"]["signing_key"].as_str().unwrap());
    assert!(url_shown.contains("/t/~whp_") && key.len() == 64, "{made}");
    let shown = server.api.get(&url("/hook"), "reader").await.text();
    let rotated = server.api.post(&url("/hook/secret"), "member", &json!({})).await;
    assert_eq!(rotated.status, 200);
    assert_ne!(rotated.json()["webhook"]["url"], url_shown);
    for secret in [key, url_shown.rsplit('_').next().unwrap()] {
        assert!(!shown.contains(secret) && !rotated.text().contains(secret));
    }
    server.trigger(&hourly()).await;
    let none = server.api.post(&url("/hourly/secret"), "member", &json!({})).await;
    assert_eq!((none.status, none.kind().as_str()), (400, "invalid_field"));
}

#[tokio::test]
async fn a_refused_trigger_names_its_field_and_nothing_is_made() {
    let server = server_with_route().await;
    for (field, value, told) in [
        ("name", json!("Nightly"), "trigger.name"),
        ("app", json!("nope"), "trigger.app"),
        ("route", json!("/nope"), "trigger.route"),
        ("kind", json!("clock"), "trigger.kind"),
        ("options", json!({"cron": "61 * * * *"}), "trigger.options.cron"),
        ("options", json!({"cron": "* * * * *", "time_zone": "Mars/Olympus"}), "trigger.options.time_zone"),
        ("options", json!({"at": "2001-01-01T00:00:00Z"}), "trigger.options"),
        ("filter", json!([{"field": "type"}]), "trigger.filter[0]"),
        ("input", json!({"template": "${"}), "trigger.input.template"),
        ("version", json!(7), "trigger.version"),
        ("alias", json!("live"), "trigger.alias"),
        ("surprise", json!(1), "trigger.surprise"),
    ] {
        let mut fields = hourly();
        fields[field] = value;
        let refused = server.api.post(&url(""), "member", &json!({"trigger": fields})).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.message().starts_with(told), "{told}: {}", refused.message());
    }
    let all = json!({"name": "all", "app": "hello", "route": "/run", "kind": "notification",
                     "options": {"event_types": ["*"], "scope": "all"}});
    let refused = server.api.post(&url(""), "member", &json!({"trigger": all})).await;
    assert!(refused.message().starts_with("trigger.options.scope"), "{}", refused.message());
    assert_eq!(server.api.get(&url(""), "reader").await.json()["triggers"], json!([]));
    server.trigger(&hourly()).await;
    let twice = server.api.post(&url(""), "member", &json!({"trigger": hourly()})).await;
    assert_eq!((twice.status, twice.kind().as_str()), (409, "trigger_exists"));
}
