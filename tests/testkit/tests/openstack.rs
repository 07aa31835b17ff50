//! OpenStack's services of the testkit do what tests rely on: they answer at addresses in a network of
//! their own, and what happens in them is told.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use picasso_testkit::aodh::Aodh;
use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::keystone::{Keystone, Scope};
use picasso_testkit::network::CloudNetwork;
use picasso_testkit::nova::Nova;
use picasso_testkit::openstack::OpenStack;
use picasso_testkit::place::Place;
use picasso_testkit::process::{require, run, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

const SOON: Duration = Duration::from_mins(1);

/// Requests that came to a port, head and body as they are.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<String>>>);

impl Received {
    async fn listen(address: std::net::Ipv4Addr) -> (Self, String) {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let url = format!("http://{}/alarm", listener.local_addr().unwrap());
        let received = Self::default();
        let kept = received.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut text = String::new();
                let mut buffer = [0; 4096];
                while !complete(&text) {
                    let read = stream.read(&mut buffer).await.unwrap_or(0);
                    if read == 0 {
                        break;
                    }
                    text.push_str(&String::from_utf8_lossy(&buffer[..read]));
                }
                let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await;
                kept.0.lock().await.push(text);
            }
        });
        (received, url)
    }

    async fn with(&self, part: &str) -> String {
        let found = || async { self.0.lock().await.iter().any(|request| request.contains(part)) };
        wait_until(SOON, format!("a request with {part}"), found).await.unwrap();
        self.0.lock().await.iter().find(|request| request.contains(part)).unwrap().clone()
    }
}

fn complete(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length =
        head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_alarm_of_aodh_reaches_a_url_plain_and_with_a_trust() {
    if !require("Aodh", Aodh::missing().as_deref()) {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let broker = Broker::start(Kind::RabbitMq).await.unwrap();
    let began = Instant::now();
    let aodh = Aodh::start(&Place::default(), &keystone, &broker).await.unwrap();
    println!("Aodh is up after {:?}", began.elapsed());
    let (received, url) = Received::listen(std::net::Ipv4Addr::LOCALHOST).await;
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    let project = keystone.project_id("demo1").await.unwrap();
    let stopped = json!([{"field": "traits.state", "op": "eq", "type": "string", "value": "stopped"}]);
    let alarm = aodh.event_alarm(&token, "compute.instance.update", stopped, &url).await.unwrap();
    aodh.event(&project, "compute.instance.update", &[("state", "active")]).await.unwrap();
    aodh.event(&project, "compute.instance.update", &[("state", "stopped")]).await.unwrap();
    let request = received.with(&alarm).await;
    assert!(request.contains("\"stopped\"") && !request.to_lowercase().contains("x-auth-token"), "{request}");

    let trusted = url.replace("http://", "trust+http://");
    let alarm = aodh.event_alarm(&token, "trusted", json!([]), &trusted).await.unwrap();
    aodh.event(&project, "trusted", &[]).await.unwrap();
    assert!(received.with(&alarm).await.to_lowercase().contains("x-auth-token"));
    assert_eq!(received.0.lock().await.len(), 2, "the event of another state was no reason for an alarm");
}

#[tokio::test(flavor = "multi_thread")]
async fn nova_lists_the_servers_of_the_tokens_project_only() {
    if !require("Nova", Nova::missing().as_deref()) {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let began = Instant::now();
    let nova = Nova::start(&Place::default(), &keystone).await.unwrap();
    println!("Nova is up after {:?}", began.elapsed());
    let (project, user) =
        (keystone.project_id("demo1").await.unwrap(), keystone.user_id("demo1-member").await.unwrap());
    let ids = nova.add_servers(&project, &user, &["web-1", "web-2"]).await.unwrap();
    assert_eq!(ids.len(), 2);
    let names = async |user: &str, project: &str| -> Vec<String> {
        let token = keystone.token(user, project).await.unwrap();
        let url = format!("{}/servers", nova.endpoint());
        let answer = reqwest::Client::new().get(url).header("x-auth-token", token).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        let listed: Value = answer.json().await.unwrap();
        let servers = listed["servers"].as_array().unwrap().clone();
        servers.iter().map(|server| server["name"].as_str().unwrap().to_owned()).collect()
    };
    let mut listed = names("demo1-member", "demo1").await;
    listed.sort();
    assert_eq!(listed, ["web-1", "web-2"]);
    assert_eq!(names("demo2-member", "demo2").await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_cloud_is_reached_at_addresses_of_its_own() {
    if !require("OpenStack", OpenStack::missing().as_deref()) {
        return;
    }
    let began = Instant::now();
    let openstack = OpenStack::shared().await.unwrap();
    println!("Keystone and RabbitMQ are up after {:?}", began.elapsed());
    let (nova, aodh, swift) = tokio::join!(openstack.nova(), openstack.aodh(), openstack.swift());
    println!("all are up after {:?}", began.elapsed());
    let (nova, aodh, swift) = (nova.unwrap(), aodh.unwrap(), swift.unwrap());
    let address = openstack.network.address().to_string();
    for url in [openstack.keystone.url(), &nova.url(), &aodh.url(), &swift.url()] {
        assert!(url.contains(&address), "{url}");
    }
    // The catalog leads there, and the real clients follow it.
    let client = async |words: &[&str]| -> Value {
        let all: Vec<&str> = words.iter().copied().chain(["-f", "json"]).collect();
        let output = openstack.keystone.openstack("demo1-member", "demo1", &all).await.unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    };
    assert_eq!(client(&["server", "list"]).await, json!([]));
    assert_eq!(client(&["alarm", "list"]).await, json!([]));
    client(&["container", "create", "photos"]).await;
    assert_eq!(client(&["container", "list"]).await[0]["Name"], "photos");
    // Aodh finds who listens outside.
    let (received, url) = Received::listen(openstack.network.host_address()).await;
    let token = openstack.keystone.token("demo1-member", "demo1").await.unwrap();
    let project = openstack.keystone.project_id("demo1").await.unwrap();
    let alarm = aodh.event_alarm(&token, "anything", json!([]), &url).await.unwrap();
    aodh.event(&project, "anything", &[]).await.unwrap();
    received.with(&alarm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keystone_notifies_the_broker_of_what_changes() {
    if !require("OpenStack", OpenStack::missing().as_deref()) {
        return;
    }
    let openstack = OpenStack::shared().await.unwrap();
    let broker = openstack.broker().lock().await;
    let listener = picasso_testkit::oslo::OsloListener::start(&broker, "keystone").await.unwrap();
    let made = openstack.keystone.create_project().await.unwrap();
    let id = openstack.keystone.project_id(&made).await.unwrap();
    let told = |event: &Value| {
        event["event_type"] == "identity.project.created" && event["payload"]["resource_info"] == id.as_str()
    };
    let heard = listener.heard_until("the notification of a new project", told).await.unwrap();
    let event = heard.iter().find(|event| told(event)).unwrap();
    assert_eq!(event["payload"]["typeURI"], "http://schemas.dmtf.org/cloud/audit/1.0/event", "CADF");
    let token = openstack.keystone.scoped_token("admin", Scope::System).await;
    assert!(token.is_ok(), "{token:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_gone_when_dropped() {
    if !require("a network", CloudNetwork::missing().as_deref()) {
        return;
    }
    let network = CloudNetwork::start().unwrap();
    let ours = network.host_address().to_string();
    let sees = || run("ip", ["-o", "address"]).unwrap().contains(&format!("{ours}/30"));
    assert!(sees());
    drop(network);
    assert!(!sees());
}
