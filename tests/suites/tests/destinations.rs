//! What ended calls send: destinations, callbacks and their signatures, over a real server and a
//! receiver that goes away, comes back, and counts.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use picasso_suites::cloud::{Cloud, ready};
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::wait_until;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_mins(1);

/// What a receiver got.
#[derive(Debug, Clone)]
struct Got {
    path: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// An HTTP server that keeps what it is sent and answers with one status.
struct Receiver {
    address: String,
    got: Arc<Mutex<Vec<Got>>>,
    status: Arc<AtomicU16>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (got, status) = (Arc::default(), Arc::new(AtomicU16::new(200)));
        let this = Self { address, got, status };
        let (got, status) = (this.got.clone(), this.status.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (got, status) = (got.clone(), status.clone());
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    while let Some(one) = read_one(&mut stream, &mut bytes).await {
                        got.lock().unwrap().push(one);
                        let status = status.load(Ordering::SeqCst);
                        let answer = format!(
                            "HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
                        );
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        this
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn at(&self, path: &str) -> Vec<Got> {
        self.got.lock().unwrap().iter().filter(|got| got.path == path).cloned().collect()
    }

    async fn gets(&self, path: &str, count: usize) -> Vec<Got> {
        let there = || async { self.at(path).len() >= count };
        wait_until(SOON, format!("{count} deliveries at {path}"), there).await.unwrap();
        self.at(path)
    }
}

async fn read_one(stream: &mut tokio::net::TcpStream, bytes: &mut Vec<u8>) -> Option<Got> {
    let mut chunk = [0; 4096];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let (first, rest) = head.split_once("\r\n").unwrap();
    let headers: HashMap<String, String> = rest
        .split("\r\n")
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
    while bytes.len() < end + 4 + length {
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
    }
    let body = bytes[end + 4..end + 4 + length].to_vec();
    bytes.drain(..end + 4 + length);
    Some(Got { path: first.split(' ').nth(1).unwrap().to_owned(), headers, body })
}

async fn cloud_that_allows(addresses: &[&str]) -> Cloud {
    let allow = serde_json::to_string(addresses).unwrap();
    let more_config =
        format!("[outbound]\nallow = {allow}\nretry_initial_s = 1\nretry_max_s = 2\ntimeout_s = 5\n");
    Cloud::start_with(PicassoOptions { more_config, ..PicassoOptions::default() }).await
}

async fn accept(cloud: &Cloud, app: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut request = cloud.http.post(cloud.function_url(app, path)).body("the request");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = cloud.send(request).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    answer.json()["call_id"].as_str().unwrap().to_owned()
}

async fn call(cloud: &Cloud, token: &str, id: &str) -> Value {
    let path = format!("/v1/{}/calls/{id}", cloud.project("demo1").await);
    cloud.api(Method::GET, &path, Some(token), None).await.json()["call"].clone()
}

async fn delivery_comes_to(cloud: &Cloud, token: &str, id: &str, state: &str) -> Value {
    let there = || async { call(cloud, token, id).await["deliveries"][0]["state"] == state };
    wait_until(SOON, state, there).await.unwrap();
    call(cloud, token, id).await["deliveries"][0].clone()
}

fn signed_by(got: &Got, key: &str) -> bool {
    let key = STANDARD.decode(key.strip_prefix("whsec_").unwrap()).unwrap();
    let (id, time) = (&got.headers["webhook-id"], &got.headers["webhook-timestamp"]);
    let message = [format!("{id}.{time}.").as_bytes(), &got.body].concat();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
    let signatures = got.headers.get("webhook-signature").cloned().unwrap_or_default();
    signatures
        .split(' ')
        .filter_map(|one| one.strip_prefix("v1,"))
        .any(|one| ring::hmac::verify(&key, &message, &STANDARD.decode(one).unwrap()).is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_calls_report_to_their_destinations_and_callbacks_signed_by_the_apps_keys() {
    if !ready() {
        return;
    }
    let receiver = Receiver::start().await;
    let cloud = cloud_that_allows(&[&receiver.address]).await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "reporting").await;
    let path = format!("/v1/{}/apps/{app}/signing-key", cloud.project("demo1").await);
    let rotate = || async {
        let answer = cloud.api(Method::POST, &path, Some(&token), Some(json!({}))).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["signing_key"].as_str().unwrap().to_owned()
    };
    let key = rotate().await;
    let listed = receiver.url("/listed");
    let options = json!({
        "type": "async", "memory": 16,
        "on_success": receiver.url("/good?secret=1"), "on_failure": receiver.url("/bad"),
        "callback_urls": [listed],
    });
    cloud.route(&token, &app, "/work", "echo done", options.clone()).await;
    cloud.route(&token, &app, "/fail", "echo half; exit 3", options).await;

    let id = accept(&cloud, &app, "/work", &[("x-callback-url", &listed)]).await;
    let report = receiver.gets("/good?secret=1", 1).await.remove(0);
    let document: Value = serde_json::from_slice(&report.body).unwrap();
    assert_eq!(document["call"]["id"], json!(id));
    assert_eq!(document["call"]["status"], "succeeded");
    assert_eq!(document["request"]["payload"], "the request");
    assert_eq!(document["response"]["payload"], "done\n");
    assert_eq!(report.headers["ce-type"], "org.openstack.picasso.call.succeeded");
    assert!(signed_by(&report, &key), "{report:?}");
    let answer = receiver.gets("/listed", 1).await.remove(0);
    assert_eq!(answer.body, b"done\n");
    assert_eq!(
        (&answer.headers["x-call-id"], &answer.headers["x-function-status"]),
        (&id, &"200".to_owned())
    );
    assert!(answer.headers["x-duration-seconds"].parse::<f64>().is_ok());
    assert!(signed_by(&answer, &key), "{answer:?}");
    let shown = delivery_comes_to(&cloud, &token, &id, "delivered").await;
    assert!(!shown.to_string().contains("secret"), "{shown}");

    let newer = rotate().await;
    let id = accept(&cloud, &app, "/fail", &[]).await;
    let report = receiver.gets("/bad", 1).await.remove(0);
    let document: Value = serde_json::from_slice(&report.body).unwrap();
    assert_eq!((&document["call"]["id"], &document["call"]["status"]), (&json!(id), &json!("failed")));
    assert!(signed_by(&report, &key) && signed_by(&report, &newer), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_survives_its_receivers_and_the_servers_death() {
    if !ready() {
        return;
    }
    let receiver = Receiver::start().await;
    receiver.answer(503);
    let mut cloud = cloud_that_allows(&[&receiver.address]).await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "stubborn").await;
    let options = json!({"type": "async", "memory": 16, "on_success": receiver.url("/down")});
    cloud.route(&token, &app, "/work", "echo done", options).await;
    let id = accept(&cloud, &app, "/work", &[]).await;
    receiver.gets("/down", 2).await;
    let waiting = call(&cloud, &token, &id).await["deliveries"][0].clone();
    assert_eq!(waiting["state"], "waiting");
    assert_eq!(waiting["last_error"], "the receiver answered with status 503");
    let signatures = |got: &Got| got.headers["webhook-signature"].split(' ').count();
    assert_eq!(signatures(&receiver.at("/down")[0]), 1, "signed before anybody asked for a key");
    let path = format!("/v1/{}/apps/{app}/signing-key", cloud.project("demo1").await);
    let key = cloud.api(Method::POST, &path, Some(&token), Some(json!({}))).await.json();
    let key = key["signing_key"].as_str().unwrap().to_owned();
    cloud.picasso.kill_engine();
    cloud.picasso.wait(SOON).await.unwrap();
    receiver.answer(204);
    let before = receiver.at("/down");
    cloud.picasso.start_again().await.unwrap();
    let all = receiver.gets("/down", before.len() + 1).await;
    assert!(all.iter().all(|got| got.headers["webhook-id"] == all[0].headers["webhook-id"]));
    delivery_comes_to(&cloud, &token, &id, "delivered").await;
    let last = all.last().unwrap();
    assert!(signed_by(last, &key) && signatures(last) == 2, "the key before signs beside the new one");

    receiver.answer(410);
    let gone = accept(&cloud, &app, "/work", &[]).await;
    let failed = delivery_comes_to(&cloud, &token, &gone, "failed").await;
    assert_eq!(failed["attempts"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_may_be_another_route_of_the_project() {
    if !ready() {
        return;
    }
    let receiver = Receiver::start().await;
    let cloud = cloud_that_allows(&[&receiver.address]).await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "chain").await;
    let last = json!({"type": "async", "memory": 16, "on_success": receiver.url("/end")});
    cloud.route(&token, &app, "/second", "cat", last).await;
    let first = json!({"type": "async", "memory": 16, "on_success": format!("route:{app}/second")});
    cloud.route(&token, &app, "/first", "echo one", first).await;
    let id = accept(&cloud, &app, "/first", &[]).await;
    let report = receiver.gets("/end", 1).await.remove(0);
    let document: Value = serde_json::from_slice(&report.body).unwrap();
    // The second function said what it was sent: the report on the first.
    let inner: Value = serde_json::from_str(document["response"]["payload"].as_str().unwrap()).unwrap();
    assert_eq!((&inner["call"]["id"], &inner["response"]["payload"]), (&json!(id), &json!("one\n")));
    let second = call(&cloud, &token, document["call"]["id"].as_str().unwrap()).await;
    assert_eq!((&second["trigger"], &second["depth"]), (&json!("destination"), &json!(1)));
    delivery_comes_to(&cloud, &token, &id, "delivered").await;
}

/// A listener that only counts who connects.
async fn trap() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("[::]:0").await.unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (port, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_and_callbacks_reach_no_forbidden_target() {
    if !ready() {
        return;
    }
    let receiver = Receiver::start().await;
    let (port, count) = trap().await;
    let cloud = cloud_that_allows(&[&receiver.address]).await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "aimed").await;
    let hosts = [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0177.0.0.1",
        "0x7f000001",
        "127.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
        "169.254.169.254",
        "10.255.255.1",
    ];
    for (number, host) in hosts.iter().enumerate() {
        let url = format!("http://{host}:{port}/");
        let path = format!("/r{number}");
        let options = json!({"type": "async", "memory": 16, "on_success": url});
        cloud.route(&token, &app, &path, "echo x", options).await;
        let id = accept(&cloud, &app, &path, &[]).await;
        let failed = delivery_comes_to(&cloud, &token, &id, "failed").await;
        assert_eq!(failed["attempts"], 1, "{host}: {failed}");

        let run = format!("/v1/r/{}/{app}{path}", cloud.project("demo1").await);
        let request = cloud.http.post(format!("{}{run}", cloud.picasso.api_url()));
        let request = request.header("x-auth-token", &token).header("x-callback-url", &url).json(&json!({}));
        let answer = cloud.send(request).await;
        if *host == "localhost" {
            assert_eq!(answer.status, StatusCode::OK, "names are judged when they are resolved");
        } else {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{host}");
            assert!(answer.text().contains("X-Callback-Url"), "{}", answer.text());
        }
    }
    // A redirect leads nowhere, and a caller without a token names no URL of its own.
    receiver.answer(302);
    let options = json!({"type": "async", "memory": 16, "on_success": receiver.url("/redirect")});
    cloud.route(&token, &app, "/redirected", "echo x", options).await;
    let id = accept(&cloud, &app, "/redirected", &[]).await;
    let failed = delivery_comes_to(&cloud, &token, &id, "failed").await;
    assert_eq!(failed["last_error"], "the receiver answered with status 302");
    let url = receiver.url("/unlisted");
    let request = cloud.http.post(cloud.function_url(&app, "/redirected")).header("x-callback-url", url);
    assert_eq!(cloud.send(request).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(count.load(Ordering::SeqCst), 0, "somebody connected to the trap");
}
