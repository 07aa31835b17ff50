//! What a whole server tells OpenStack's bus, as a listener of oslo.messaging hears it.

use picasso_suites::cloud::{Cloud, ready};
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::oslo::OsloListener;
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::require;
use reqwest::{Method, StatusCode};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_tells_the_bus_of_changes_and_of_who_was_refused() {
    if !ready() || !require("RabbitMQ and oslo.messaging", OsloListener::missing().as_deref()) {
        return;
    }
    let broker = Broker::start(Kind::RabbitMq).await.unwrap();
    let listener = OsloListener::start(&broker, "picasso").await.unwrap();
    let url = broker.url();
    let (_, address) = url.split_once("://").unwrap();
    let more_config =
        format!("[notifications]\ndrivers = [\"messagingv2\"]\ntransport_url = \"rabbit://{address}\"\n");
    let cloud = Cloud::start_with(PicassoOptions { more_config, ..PicassoOptions::default() }).await;
    let apps = format!("/v1/{}/apps", cloud.project("demo1").await);
    let new = || Some(json!({"app": {"name": "told"}}));
    let refused = cloud.api(Method::POST, &apps, Some(&cloud.token("demo1-reader").await), new()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    let made = cloud.api(Method::POST, &apps, Some(&cloud.token("demo1-member").await), new()).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text());

    let heard = listener
        .heard_until("the new app", |one| one["event_type"] == "function.app.create.end")
        .await
        .unwrap();
    let end = heard.iter().find(|one| one["event_type"] == "function.app.create.end").unwrap();
    assert_eq!(end["payload"]["app_id"], made.json()["app"]["id"]);
    assert_eq!(end["context"]["user_name"], "demo1-member");
    let starts = heard.iter().filter(|one| one["event_type"] == "function.app.create.start").count();
    assert_eq!(starts, 1, "who may not make an app begins none: {heard:?}");
    let refusal = |one: &serde_json::Value| {
        one["event_type"] == "audit.http.response" && one["payload"]["outcome"] == "failure"
    };
    let audited = listener.heard_until("the audit of who was refused", refusal).await.unwrap();
    let event = &audited.into_iter().find(refusal).unwrap()["payload"];
    assert_eq!(event["reason"]["policyId"], "functions:app:create", "{event}");
}
