//! Three nodes on one PostgreSQL and one broker: what one changes the others see, and what a lost
//! one ran runs again elsewhere.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use picasso_suites::cloud::{Cloud, ready};
use picasso_suites::nodes::Wires;
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::keystone::{Keystone, install_tls_provider};
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::postgres::PostgresServer;
use picasso_testkit::process::{TestDir, require, run, wait_until};
use picasso_testkit::registry::Registry;
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(2);

/// Dropped from above: nodes, their wires, the services.
struct Cluster {
    nodes: Vec<Cloud>,
    wires: Wires,
    _services: (Broker, PostgresServer, TestDir),
}

impl Cluster {
    async fn start(count: usize) -> Option<Self> {
        Self::start_with(count, None, 6).await
    }

    /// Nodes that may pull from the registry, and hold a call for so long without a word of it.
    async fn start_with(count: usize, registry: Option<&Registry>, lease_s: u32) -> Option<Self> {
        if !ready()
            || !require("PostgreSQL", PostgresServer::missing().as_deref())
            || !require("NATS", Broker::missing(Kind::Nats).as_deref())
        {
            return None;
        }
        let keystone = Keystone::shared().await.unwrap();
        let database = PostgresServer::start().await.unwrap();
        let broker = Broker::start(Kind::Nats).await.unwrap();
        let dir = TestDir::new("nodes").unwrap();
        let mut wires = Wires::new();
        let auth_url = wires.reach(&keystone.auth_url()).await;
        let database_url = wires.reach(&database.create_database("picasso").unwrap()).await;
        let queue_url = wires.reach(&broker.url()).await;
        let more_config = format!(
            "[database]\nurl = \"{database_url}\"\n[queue]\nurl = \"{queue_url}\"\nlease_s = {lease_s}\n\
             [encryption]\nkey_file = \"{}/key\"\n",
            dir.path().display()
        );
        let more_config = match registry {
            None => more_config,
            Some(registry) => {
                let host = wires.reach(&registry.host()).await;
                let settings = "insecure_http = true\nallow_private = true";
                format!("{more_config}[[images.registries]]\nhost = \"{host}\"\n{settings}\n")
            }
        };
        let mut nodes = Vec::new();
        for _ in 0..count {
            let namespace = Some(wires.namespace(&auth_url));
            let more_config = more_config.clone();
            nodes.push(
                Cloud::start_with(PicassoOptions { more_config, namespace, ..PicassoOptions::default() })
                    .await,
            );
        }
        Some(Self { nodes, wires, _services: (broker, database, dir) })
    }
}

async fn status_of(cloud: &Cloud, app: &str, path: &str) -> StatusCode {
    cloud.send(cloud.http.get(cloud.function_url(app, path))).await.status
}

/// Until the node answers with `expected`; how long that took.
async fn comes_to(cloud: &Cloud, app: &str, expected: StatusCode) -> Duration {
    let began = Instant::now();
    let there = || async { status_of(cloud, app, "/open").await == expected };
    wait_until(SOON, format!("{expected}"), there).await.unwrap();
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_seen_at_once_where_it_was_made_and_within_a_second_elsewhere() {
    // So long that no extension of a lease tells of anything here.
    let Some(all) = Cluster::start_with(3, None, 600).await else { return };
    let nodes = &all.nodes;
    let token = nodes[0].token("demo1-member").await;
    let app = nodes[0].app(&token, "shared").await;
    nodes[0].route(&token, &app, "/open", "echo open", json!({"memory": 16})).await;
    for node in nodes {
        comes_to(node, &app, StatusCode::OK).await;
    }
    let mut times = Vec::new();
    for (round, public) in ["false", "true", "false", "true"].into_iter().enumerate() {
        let expected = if public == "true" { StatusCode::OK } else { StatusCode::NOT_FOUND };
        let (changed, others) = (round % 3, [(round + 1) % 3, (round + 2) % 3]);
        nodes[changed].change(&token, &app, "/open", json!({"is_public": public})).await;
        let seen = others.map(|other| comes_to(&nodes[other], &app, expected));
        let (here, seen) = tokio::join!(status_of(&nodes[changed], &app, "/open"), join_all(seen));
        assert_eq!(here, expected, "node {changed} made the change");
        times.extend(seen);
    }
    // A call of its own lies in each of these times, and one of them may meet a hiccup of the machine.
    times.sort();
    let most = times[times.len() * 3 / 4];
    assert!(most <= Duration::from_secs(1), "{times:?}");
    a_call_is_cancelled_on_every_node(&all, &token, &app).await;
}

/// Whichever node runs a call, each ends it.
async fn a_call_is_cancelled_on_every_node(all: &Cluster, token: &str, app: &str) {
    let options = json!({"type": "async", "memory": 16});
    all.nodes[0].route(token, app, "/long", "b sleep 600", options).await;
    let project = all.nodes[0].project("demo1").await;
    for node in &all.nodes {
        let answer = node.send(node.http.post(node.function_url(app, "/long"))).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        let path = format!("/v1/{project}/calls/{}", answer.json()["call_id"].as_str().unwrap());
        let shown = async || node.api(Method::GET, &path, Some(token), None).await.json()["call"].clone();
        wait_until(SOON, "it runs", || async { shown().await["status"] == "running" }).await.unwrap();
        let running_on = shown().await["node"].clone();
        let other = all.nodes.iter().find(|node| running_on != node.picasso.instance().as_str()).unwrap();
        let cancel = other.api(Method::POST, &format!("{path}/cancel"), Some(token), Some(json!({}))).await;
        assert!(cancel.status.is_success(), "{}", cancel.text());
        let ended = || async { shown().await["status"] == "cancelled" };
        wait_until(Duration::from_secs(20), "the call ends", ended).await.unwrap();
    }
}

/// The calls of the app by their ids.
async fn calls(cloud: &Cloud, token: &str, app: &str) -> BTreeMap<String, Value> {
    let path = format!("/v1/{}/calls?app={app}&limit=100", cloud.project("demo1").await);
    let answer = cloud.api(Method::GET, &path, Some(token), None).await;
    let calls = answer.json()["calls"].as_array().cloned().unwrap_or_default();
    calls.into_iter().map(|call| (call["id"].as_str().unwrap().to_owned(), call)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_ran_that_is_cut_off_and_killed_runs_again_elsewhere_and_nothing_else_does() {
    const CALLS: usize = 60;
    let Some(mut all) = Cluster::start(3).await else { return };
    let token = all.nodes[0].token("demo1-member").await;
    let app = all.nodes[0].app(&token, "lost").await;
    let options = json!({"type": "async", "memory": 16, "is_public": "false"});
    all.nodes[0].route(&token, &app, "/work", "b sleep 2; echo done", options).await;
    let path = format!("/v1/r/{}/{app}/work", all.nodes[0].project("demo1").await);
    let accept = |n: usize| all.nodes[n % 3].api(Method::POST, &path, Some(&token), None);
    for answer in join_all((0..CALLS).map(accept)).await {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
    let lost = all.nodes[2].picasso.instance();
    let is = |call: &Value, status: &str| call["node"] == lost.as_str() && call["status"] == status;
    let busy = || async {
        let now = calls(&all.nodes[0], &token, &app).await;
        now.values().any(|call| is(call, "succeeded")) && now.values().any(|call| is(call, "running"))
    };
    wait_until(SOON, "the third node has run some and runs others", busy).await.unwrap();

    all.wires.cut(2);
    // What was on its way when the wire was cut is settled by then.
    all.nodes[2].picasso.logged("the database does not answer", SOON).await.unwrap();
    let before = calls(&all.nodes[0], &token, &app).await;
    assert_eq!(before.len(), CALLS);
    assert!(before.values().any(|call| is(call, "running")), "it was cut off from calls that ran");
    all.nodes[2].picasso.signal(Signal::KILL);

    let done = || async {
        let now = calls(&all.nodes[0], &token, &app).await;
        now.values().all(|call| call["status"] == "succeeded")
    };
    wait_until(SOON, "every call has succeeded", done).await.unwrap();
    let after = calls(&all.nodes[0], &token, &app).await;
    assert_eq!(after.len(), CALLS);
    for (id, call) in &before {
        let now = &after[id];
        match call["status"].as_str().unwrap() {
            "succeeded" => assert_eq!(now, call, "a finished call did not run again"),
            "running" if call["node"] == lost.as_str() => {
                assert_eq!(now["attempt"], 2, "{now}");
                assert_ne!(now["node"], lost.as_str(), "{now}");
            }
            _ => assert_eq!(now["attempt"], 1, "{now}"),
        }
    }
}

/// Pushes an OCI layout's image as `shell:1`.
async fn push(registry: &Registry, archive: &Path) {
    let layout = TestDir::new("layout").unwrap();
    let folder = layout.path().display().to_string();
    run("tar", ["-xf", &archive.display().to_string(), "-C", &folder]).unwrap();
    let blob = |digest: &Value| {
        let digest = digest.as_str().unwrap().to_owned();
        let bytes = std::fs::read(layout.path().join("blobs").join(digest.replace(':', "/"))).unwrap();
        (digest, bytes)
    };
    let index: Value =
        serde_json::from_slice(&std::fs::read(layout.path().join("index.json")).unwrap()).unwrap();
    let (_, bytes) = blob(&index["manifests"][0]["digest"]);
    let manifest: Value = serde_json::from_slice(&bytes).unwrap();
    for descriptor in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
        let (digest, bytes) = blob(&descriptor["digest"]);
        registry.push_blob("shell", &digest, bytes).await.unwrap();
    }
    let media_type = index["manifests"][0]["mediaType"].as_str().unwrap();
    registry.push_manifest("shell", "1", media_type, bytes).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gets_the_image_that_another_one_prepared_by_its_digest() {
    if !require("docker-registry", Registry::missing().as_deref()) {
        return;
    }
    install_tls_provider();
    let registry = Registry::start().await.unwrap();
    let Some(mut all) = Cluster::start_with(2, Some(&registry), 6).await else { return };
    push(&registry, &all.nodes[0].unknown_shell()).await;
    let host = all.wires.reach(&registry.host()).await;
    let token = all.nodes[0].token("demo1-member").await;
    let app = all.nodes[0].app(&token, "pulled").await;
    let image = json!({"memory": 16, "image": format!("{host}/shell:1")});
    all.nodes[0].route(&token, &app, "/open", "echo open", image).await;
    comes_to(&all.nodes[0], &app, StatusCode::OK).await;
    let by_digest = || registry.log().contains("/v2/shell/manifests/sha256:");
    assert!(!by_digest(), "the first node asked for the tag");
    comes_to(&all.nodes[1], &app, StatusCode::OK).await;
    assert!(by_digest(), "the second asked for the very image that the version has");
}
