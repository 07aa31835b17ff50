//! How `picasso serve` starts and ends: what it says when it cannot start, how calls outlive the
//! first signal and not the second, and that nothing is left.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use picasso_suites::cloud::{Cloud, ready};
use picasso_suites::host;
use picasso_testkit::keystone::Keystone;
use picasso_testkit::memcached::Memcached;
use picasso_testkit::picasso::{Picasso, PicassoOptions};
use picasso_testkit::process::{require, wait_until};
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

/// Runs a second `picasso serve` that is expected to end by itself; its exit code and its words.
fn second_server(cloud: &Cloud, settings: &[String]) -> (Option<i32>, String) {
    let mut command = Command::new("timeout");
    command.arg("20").arg(Picasso::binary()).arg("serve").arg("--config").arg(cloud.picasso.config_file());
    for setting in settings {
        command.arg("--set").arg(setting);
    }
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_running_calls_finish_and_leaves_nothing() {
    if !ready() {
        return;
    }
    let mut cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "finish").await;
    cloud.route(&token, &app, "/slow", "b sleep 2; echo done", json!({"memory": 16})).await;
    let instance = cloud.picasso.instance();
    let family = host::descendants(cloud.picasso.pid());
    let url = cloud.function_url(&app, "/slow");
    let call = tokio::spawn(cloud.http.get(&url).send());
    let runs = || async { host::running_sandboxes(&instance) == 1 };
    wait_until(SOON, "the function runs", runs).await.unwrap();

    cloud.picasso.signal(Signal::TERM);
    cloud.picasso.logged("stopping: no new calls", SOON).await.unwrap();
    let refused = || async { cloud.http.get(&url).send().await.is_err() };
    wait_until(Duration::from_secs(1), "new connections are refused", refused).await.unwrap();
    let answer = call.await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.text().await.unwrap(), "done\n");
    assert_eq!(cloud.picasso.wait(SOON).await.unwrap(), Some(0));
    assert_eq!(host::traces_of(&instance), Vec::<String>::new());
    for pid in family {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is left");
    }
    assert!(!cloud.picasso.data_dir().join("admin.sock").exists());
    assert!(!cloud.picasso.log().contains("ERROR"), "{}", cloud.picasso.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_running_calls_at_once() {
    if !ready() {
        return;
    }
    let mut cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "insist").await;
    cloud.route(&token, &app, "/sleep", "b sleep 60", json!({"memory": 16, "timeout": 90})).await;
    let instance = cloud.picasso.instance();
    let call = tokio::spawn(cloud.http.get(cloud.function_url(&app, "/sleep")).send());
    let runs = || async { host::running_sandboxes(&instance) == 1 };
    wait_until(SOON, "the function runs", runs).await.unwrap();

    cloud.picasso.signal(Signal::TERM);
    cloud.picasso.logged("stopping: no new calls", SOON).await.unwrap();
    cloud.picasso.signal(Signal::TERM);
    // Well below the 30 s of grace and the 60 s of the function.
    cloud.picasso.wait(Duration::from_secs(10)).await.unwrap();
    let gone = || async { host::traces_of(&instance).is_empty() };
    wait_until(Duration::from_secs(5), "nothing is left", gone).await.unwrap();
    assert!(!call.await.unwrap().is_ok_and(|answer| answer.status().is_success()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_and_a_used_data_directory_are_told_by_name() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let port = cloud.picasso.functions_url().rsplit(':').next().unwrap().to_owned();
    let other = cloud.picasso.data_dir().with_file_name("other-data");
    let other_data = format!("server.data_dir={}", other.display());
    let free = ["api", "functions", "admin"].map(|face| format!("listeners.{face}.port=0"));

    let same_port = [free[0].clone(), free[2].clone(), other_data];
    let (code, told) = second_server(&cloud, &same_port);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(&format!("cannot listen on 127.0.0.1:{port} for the function URLs")), "{told}");
    assert!(told.contains("set listeners.functions.port"), "{told}");

    let (code, told) = second_server(&cloud, &free);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("is in use by another server"), "{told}");
    // Neither attempt disturbed the first.
    let health = cloud.http.get(format!("{}/healthcheck", cloud.picasso.admin_url())).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_start_says_why_before_it_touches_anything() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let untouched = cloud.picasso.data_dir().with_file_name("untouched");
    for (setting, words) in [
        ("log.level=loud=er", "log.level \"loud=er\" is not understood"),
        ("server.user=nobody-of-this-name", "there is no user nobody-of-this-name"),
        ("keystone.cache_s=99999", "keystone.cache_s: must be -1 to 3600"),
        ("listeners.api.prot=1", "did you mean listeners.api.port?"),
    ] {
        let settings = [setting.to_owned(), format!("server.data_dir={}", untouched.display())];
        let (code, told) = second_server(&cloud, &settings);
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains(words), "{setting}: {told}");
        assert!(!untouched.join("picasso.db").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_start_before_its_keystone() {
    if !ready() {
        return;
    }
    let keystone = Keystone::start().await.unwrap();
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    keystone.stop();
    let picasso = Picasso::start(&keystone).await.unwrap();
    picasso.logged("Keystone does not take our service user yet", SOON).await.unwrap();
    let http = reqwest::Client::new();
    let apps = || async {
        let project = "0123456789abcdef0123456789abcdef";
        let url = format!("{}/v1/{project}/apps", picasso.api_url());
        http.request(Method::GET, url).header("x-auth-token", &token).send().await.unwrap().status()
    };
    assert_eq!(apps().await, StatusCode::SERVICE_UNAVAILABLE);
    keystone.restart().await.unwrap();
    // The token is of another project than the URL's: known now, and refused.
    let known = || async { apps().await == StatusCode::FORBIDDEN || apps().await == StatusCode::NOT_FOUND };
    wait_until(SOON, "the token is validated", known).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_logs_json_when_asked_to() {
    if !ready() {
        return;
    }
    let options =
        PicassoOptions { more_config: "[log]\nformat = \"json\"\n".to_owned(), ..Default::default() };
    let mut cloud = Cloud::start_with(options).await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "json").await;
    cloud.route(&token, &app, "/hi", "echo hi; echo aside >&2", json!({"memory": 16})).await;
    let answer = cloud.send(cloud.http.get(cloud.function_url(&app, "/hi"))).await;
    assert_eq!(answer.text(), "hi\n");
    cloud.picasso.signal(Signal::TERM);
    assert_eq!(cloud.picasso.wait(SOON).await.unwrap(), Some(0));
    let log = cloud.picasso.log();
    // The first line of a new data directory is for people: keep a copy of the key.
    let lines: Vec<serde_json::Value> = log
        .lines()
        .filter(|line| !line.starts_with("made the key"))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")))
        .collect();
    for target in ["picasso_sandbox::spawner", "picasso_server::engine_process", "picasso::call"] {
        assert!(lines.iter().any(|line| line["target"] == target), "no line of {target}:\n{log}");
    }
    let ended = lines.iter().find(|line| line["message"] == "call ended").unwrap();
    for field in ["call_id", "project", "app", "route"] {
        assert!(ended[field].is_string(), "{ended}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_share_what_keystone_said_and_go_on_without_the_cache() {
    if !ready() || !require("memcached", Memcached::missing().as_deref()) {
        return;
    }
    let mut memcached = Memcached::start().await.unwrap();
    let options = PicassoOptions { memcached: Some(memcached.address()), ..PicassoOptions::default() };
    let cloud = Cloud::start_with(options.clone()).await;
    let other = Picasso::start_with(&cloud.keystone, options).await.unwrap();
    let apps = format!("/v1/{}/apps", cloud.project("demo1").await);
    let token = cloud.token("demo1-member").await;
    let asks = async |server: &Picasso, token: &str| {
        let request = cloud.http.get(format!("{}{apps}", server.api_url())).header("x-auth-token", token);
        assert_eq!(cloud.send(request).await.status, StatusCode::OK);
        cloud.send(cloud.http.get(format!("{}/metrics", server.admin_url()))).await.text()
    };
    let asked = "picasso_keystone_validation_seconds_count";
    let first = asks(&cloud.picasso, &token).await;
    assert!(first.contains(asked), "{first}");
    assert!(first.contains("picasso_shared_token_cache_total{outcome=\"miss\"} 1"), "{first}");
    let second = asks(&other, &token).await;
    assert!(!second.contains(asked), "Keystone was asked twice: {second}");
    assert!(second.contains("picasso_shared_token_cache_total{outcome=\"hit\"} 1"), "{second}");
    memcached.kill();
    let token = cloud.token("demo1-member").await;
    for server in [&cloud.picasso, &other] {
        let after = asks(server, &token).await;
        assert!(after.contains("picasso_shared_token_cache_total{outcome=\"unavailable\"} 1"), "{after}");
        assert!(server.log().contains("the shared token cache does not answer"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_calls_and_requests() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "metrics").await;
    cloud.route(&token, &app, "/hi", "echo hi", json!({"memory": 16})).await;
    for _ in 0..3 {
        cloud.send(cloud.http.get(cloud.function_url(&app, "/hi"))).await;
    }
    let url = format!("{}/metrics", cloud.picasso.admin_url());
    let text = cloud.http.get(url).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("picasso_calls_total{outcome=\"succeeded\"} 3"), "{text}");
    assert!(text.contains("picasso_call_duration_seconds_bucket{le=\"0.01\"}"), "{text}");
    assert!(text.contains("picasso_http_requests_total{"), "{text}");
}
