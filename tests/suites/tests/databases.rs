//! `picasso serve` on PostgreSQL and on MariaDB, alone and with brokers, and without its database for a
//! while.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::time::Duration;

use picasso_suites::cloud::{Cloud, ready};
use picasso_testkit::broker::{self, Broker};
use picasso_testkit::database::{Database, Kind};
use picasso_testkit::picasso::{Picasso, PicassoOptions};
use picasso_testkit::process::{require, run, wait_until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(90);

/// A database server with an empty database, and a cloud on it; `None` where something is missing.
async fn on(kind: Kind, broker: Option<&Broker>) -> Option<(Database, Cloud)> {
    if !ready() || !require(&format!("{kind:?}"), Database::missing(kind).as_deref()) {
        return None;
    }
    let (database, url) = Database::start(kind).await.unwrap();
    let mut more_config = format!("[database]\nurl = \"{url}\"\n");
    if let Some(broker) = broker {
        more_config = format!("{more_config}[queue]\nurl = \"{}\"\n", broker.url());
    }
    let cloud = Cloud::start_with(PicassoOptions { more_config, ..PicassoOptions::default() }).await;
    Some((database, cloud))
}

async fn accept(cloud: &Cloud, token: &str, app: &str) -> String {
    let path = format!("/v1/r/{}/{app}/work", cloud.project("demo1").await);
    let answer = cloud.api(Method::POST, &path, Some(token), Some(json!({}))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["call_id"].as_str().unwrap().to_owned()
}

/// The call once it has succeeded.
async fn succeeded(cloud: &Cloud, token: &str, id: &str) -> Value {
    let path = format!("/v1/{}/calls/{id}", cloud.project("demo1").await);
    let call = || async { cloud.api(Method::GET, &path, Some(token), None).await.json()["call"].clone() };
    wait_until(SOON, format!("{id} succeeded"), || async { call().await["status"] == "succeeded" })
        .await
        .unwrap();
    call().await
}

const ASYNC: &str = r#"{"type": "async", "memory": 16, "is_public": "false"}"#;

async fn an_accepted_call_runs(kind: Kind, broker: Option<broker::Kind>) {
    let broker = match broker {
        Some(kind) if !require(&format!("{kind:?}"), Broker::missing(kind).as_deref()) => return,
        Some(kind) => Some(Broker::start(kind).await.unwrap()),
        None => None,
    };
    let Some((_database, cloud)) = on(kind, broker.as_ref()).await else { return };
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "served").await;
    cloud.route(&token, &app, "/work", "echo done", serde_json::from_str(ASYNC).unwrap()).await;
    let id = accept(&cloud, &token, &app).await;
    let call = succeeded(&cloud, &token, &id).await;
    assert_eq!(call["attempt"], 1);
    assert_eq!(call["node"], cloud.picasso.instance(), "the call says who ran it");
    let path = format!("/v1/{}/calls/{id}/result", cloud.project("demo1").await);
    let result = cloud.api(Method::GET, &path, Some(&token), None).await.json();
    assert_eq!(result["result"], "done\n");

    // The start says what is used, and no password of it.
    let log = cloud.picasso.log();
    let says = log.lines().find(|line| line.contains("dispatched by the queue")).unwrap();
    let scheme = broker.as_ref().map(Broker::url);
    let scheme = scheme.as_deref().and_then(|url| url.split(':').next()).unwrap_or("sqlite");
    let database = if kind == Kind::Postgres { "postgres://" } else { "mysql://" };
    assert!(says.contains(database) && says.contains(&format!("{scheme}:")), "{says}");
    assert!(broker.as_ref().is_none_or(|broker| !log.contains(broker.password())));
    // A queue's file is made only where it is the queue.
    let file = cloud.picasso.data_dir().join("picasso.queue.db");
    assert_eq!(file.exists(), broker.is_none());

    let config = cloud.picasso.config_file().display().to_string();
    let binary = Picasso::binary().display().to_string();
    let checked = run(&binary, ["db", "check", "--config", &config]);
    assert!(checked.is_ok(), "{checked:?}");
    let upgraded = run(&binary, ["db", "upgrade", "--config", &config]);
    assert!(upgraded.is_ok(), "{upgraded:?}");
    assert_eq!(file.exists(), broker.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_call_runs_on_postgresql_alone() {
    an_accepted_call_runs(Kind::Postgres, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_call_runs_on_postgresql_and_rabbitmq() {
    an_accepted_call_runs(Kind::Postgres, Some(broker::Kind::RabbitMq)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_call_runs_on_postgresql_and_nats() {
    an_accepted_call_runs(Kind::Postgres, Some(broker::Kind::Nats)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_call_runs_on_postgresql_and_redis() {
    an_accepted_call_runs(Kind::Postgres, Some(broker::Kind::Redis)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_call_runs_on_mariadb_and_rabbitmq() {
    an_accepted_call_runs(Kind::MariaDb, Some(broker::Kind::RabbitMq)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_functions_answer_while_postgresql_is_away_and_no_accepted_call_is_lost() {
    the_database_is_away(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_functions_answer_while_mariadb_is_away_and_no_accepted_call_is_lost() {
    the_database_is_away(Kind::MariaDb).await;
}

async fn the_database_is_away(kind: Kind) {
    let Some((mut database, cloud)) = on(kind, None).await else { return };
    let token = cloud.token("demo1-member").await;
    let known = cloud.app(&token, "known").await;
    cloud.route(&token, &known, "/hello", "echo hello", json!({"memory": 16})).await;
    let unknown = cloud.app(&token, "unknown").await;
    cloud.route(&token, &unknown, "/hello", "echo hello", json!({"memory": 16})).await;
    cloud.route(&token, &known, "/work", "b sleep 1; echo done", serde_json::from_str(ASYNC).unwrap()).await;
    let (cached, new) = (cloud.function_url(&known, "/hello"), cloud.function_url(&unknown, "/hello"));
    // It sleeps for a second: by its end the changes above are heard, and what is read is kept.
    let first = accept(&cloud, &token, &known).await;
    succeeded(&cloud, &token, &first).await;
    assert_eq!(cloud.send(cloud.http.get(&cached)).await.text(), "hello\n");
    let mut accepted = Vec::new();
    for _ in 0..6 {
        accepted.push(accept(&cloud, &token, &known).await);
    }

    database.kill().await.unwrap();
    cloud.picasso.logged("the database does not answer", SOON).await.unwrap();
    for _ in 0..3 {
        let answer = cloud.send(cloud.http.get(&cached)).await;
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "hello\n"));
    }
    let apps = format!("/v1/{}/apps", cloud.project("demo1").await);
    let run = format!("/v1/r/{}/{known}/work", cloud.project("demo1").await);
    for answer in [
        cloud.api(Method::POST, &run, Some(&token), Some(json!({}))).await,
        cloud.send(cloud.http.get(&new)).await,
        cloud.send(cloud.http.get(cloud.function_url(&known, "/made-meanwhile"))).await,
        cloud.api(Method::GET, &apps, Some(&token), None).await,
    ] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text());
        assert_eq!(answer.headers["picasso-error-kind"], "database_unavailable");
        let seconds = answer.headers["retry-after"].to_str().unwrap().parse::<u32>();
        assert!(seconds.is_ok_and(|seconds| seconds >= 1), "{:?}", answer.headers);
    }

    database.start_again().await.unwrap();
    cloud.picasso.logged("the database answers again", SOON).await.unwrap();
    assert_eq!(cloud.send(cloud.http.get(&new)).await.text(), "hello\n");
    for id in accepted {
        succeeded(&cloud, &token, &id).await;
    }
}
