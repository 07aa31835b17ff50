//! Policy files of a running server: changes count without a restart, broken ones do not, and policy
//! servers are asked only where the operator lets them be.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use picasso_suites::cloud::{Cloud, ready};
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::{TestDir, wait_until};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(30);

/// A policy server that says yes where the path ends in `/yes`; what it was asked.
struct PolicyServer {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl PolicyServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = asked.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut question = Vec::new();
                // The enforcer's questions end with the credentials.
                while !String::from_utf8_lossy(&question).contains("&credentials=") {
                    if stream.read_buf(&mut question).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                let question = String::from_utf8_lossy(&question).into_owned();
                let is_yes = question.lines().next().unwrap_or_default().contains("/yes HTTP");
                let answer = if is_yes { "True" } else { "False" };
                kept.lock().unwrap().push(question);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    answer.len()
                );
                let _ = stream.write_all(format!("{head}{answer}").as_bytes()).await;
            }
        });
        Self { port, asked }
    }
}

fn write(path: &Path, text: &str) {
    // At once or not at all, as an operator's tools do it.
    let next = path.with_extension("next");
    std::fs::write(&next, text).unwrap();
    std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::rename(next, path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_policy_files_count_without_a_restart_and_broken_ones_leave_the_rules_before_them() {
    if !ready() {
        return;
    }
    let dir = TestDir::new("policy").unwrap();
    let (file, folder) = (dir.path().join("policy.yaml"), dir.path().join("policy.d"));
    std::fs::create_dir(&folder).unwrap();
    for open in [dir.path(), &folder] {
        std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    write(&file, "\"functions:app:create\": \"!\"\n");
    let servers = [PolicyServer::start().await, PolicyServer::start().await];
    let more_config = format!(
        "[policy]\nfile = \"{}\"\ndirs = [\"{}\"]\nreload_s = 1\nremote_allow = [\"127.0.0.1:{}\"]\n",
        file.display(),
        folder.display(),
        servers[0].port
    );
    let cloud = Cloud::start_with(PicassoOptions { more_config, ..PicassoOptions::default() }).await;
    let member = cloud.token("demo1-member").await;
    let apps = format!("/v1/{}/apps", cloud.project("demo1").await);
    let create = async |name: &str| {
        let body = json!({"app": {"name": name}});
        cloud.api(Method::POST, &apps, Some(&member), Some(body)).await
    };
    let refused = create("one").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("functions:app:create is disallowed by policy"), "{}", refused.text());

    // A file of the folder wins.
    let override_file = folder.join("10-create.yaml");
    write(&override_file, "\"functions:app:create\": \"role:member\"\n");
    let made = || async { create("one").await.status.is_success() };
    wait_until(SOON, "the changed rule", made).await.unwrap();

    // A broken one is told, and changes nothing.
    let health =
        async || cloud.http.get(format!("{}/healthcheck", cloud.picasso.api_url())).send().await.unwrap();
    write(&override_file, "\"functions:app:create\": \"!\"\n\"functions:app:get\":\n");
    let is_told =
        || async { health().await.text().await.unwrap().contains("The policy files cannot be used") };
    wait_until(SOON, "a broken file in the health check", is_told).await.unwrap();
    assert_eq!(health().await.status(), 200, "it can answer requests all the same");
    assert!(cloud.metric("picasso_policy_files_broken").await > 0.5);
    cloud.picasso.logged("10-create.yaml:2: \"functions:app:get\" has no value", SOON).await.unwrap();
    assert!(create("two").await.status.is_success(), "the rules before it are in force");

    // A good one ends that.
    write(&override_file, "\"functions:app:create\": \"!\"\n\"functions:apps:get\": \"@\"\n");
    let refused = || async { create("three").await.status == 403 };
    wait_until(SOON, "the rule of the repaired file", refused).await.unwrap();
    assert_eq!(health().await.text().await.unwrap(), "OK");
    assert!(cloud.metric("picasso_policy_files_broken").await < 0.5);
    cloud.picasso.logged("did you mean", SOON).await.unwrap();

    // A policy server, and one that nobody allowed.
    let list = async || cloud.api(Method::GET, &apps, Some(&member), None).await.status.as_u16();
    for (port, answer, expected) in
        [(servers[0].port, "no", 403), (servers[0].port, "yes", 200), (servers[1].port, "yes", 503)]
    {
        let rule = format!("\"functions:app:list\": \"http://127.0.0.1:{port}/%(project_id)s/{answer}\"\n");
        write(&override_file, &rule);
        let decided = || async { list().await == expected };
        wait_until(SOON, format!("status {expected} by the policy server"), decided).await.unwrap();
    }
    let asked = servers[0].asked.lock().unwrap().join("\n");
    assert!(asked.contains("rule=%22functions%3Aapp%3Alist%22&target="), "{asked}");
    assert!(!asked.contains(&member), "no token leaves the server");
    assert!(
        servers[1].asked.lock().unwrap().is_empty(),
        "an address that is not allowed is not connected to"
    );
}
