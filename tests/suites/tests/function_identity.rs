//! Functions with an identity, through the whole: a trust of a real Keystone, its token in real
//! sandboxes, and what becomes of both when another user changes the function.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::path::Path;
use std::time::Duration;

use picasso_suites::cloud::{Answer, Cloud, ready};
use picasso_testkit::evidence::note_secret;
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::{require, wait_until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// Says its token's hash, and what the variables name.
const HASHES: &str = "b sha256sum </run/picasso/identity/token 2>/dev/null || echo none; \
    echo \"$OS_CLOUD $OS_CLIENT_CONFIG_FILE\"; \
    (echo x >/run/picasso/identity/token) 2>/dev/null || echo read-only";

/// The same for a hot function, which serves one request after the other.
const HOT: &str = "while :; do \
    while read -r line || exit 0; do [ \"$line\" = \"$(printf '\\r')\" ] && break; done; \
    body=$(b sha256sum </run/picasso/identity/token 2>/dev/null || echo none; \
        echo \"$OS_CLOUD $OS_CLIENT_CONFIG_FILE\"; \
        (echo x >/run/picasso/identity/token) 2>/dev/null || echo read-only); \
    printf 'HTTP/1.1 200 OK\\r\\nContent-Length: %s\\r\\n\\r\\n%s' \"${#body}\" \"$body\"; done";

/// A user of demo1 and what they ask of the API.
struct User<'a> {
    cloud: &'a Cloud,
    token: String,
    project: String,
}

impl<'a> User<'a> {
    async fn new(cloud: &'a Cloud) -> Self {
        let user = cloud.keystone.create_user("demo1", &["member"]).await.unwrap();
        let token = cloud.keystone.token(&user.name, "demo1").await.unwrap();
        Self { cloud, token, project: cloud.project("demo1").await }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let path = format!("/v1/{}{path}", self.project);
        self.cloud.api(method, &path, Some(&self.token), body).await
    }

    async fn identity(&self, method: Method, route: &str, more: &str, body: Option<Value>) -> Answer {
        self.ask(method, &format!("/routes/{route}/identity{more}"), body).await
    }

    async fn grant(&self, route: &str) {
        let trust = json!({"identity": {"type": "trust", "roles": ["reader"]}});
        let granted = self.identity(Method::PUT, route, "", Some(trust)).await;
        assert!(granted.status.is_success(), "{}", granted.text());
    }
}

/// Makes a function of this format; its path and id.
async fn function(me: &User<'_>, app: &str, format: &str, script: &str) -> (String, String) {
    let path = format!("/{format}");
    me.cloud.route(&me.token, app, &path, script, json!({"format": format})).await;
    let shown = me.ask(Method::GET, &format!("/apps/{app}/routes{path}"), None).await;
    (path, shown.json()["route"]["id"].as_str().unwrap().to_owned())
}

async fn call(cloud: &Cloud, app: &str, path: &str) -> Answer {
    cloud.send(cloud.http.get(cloud.function_url(app, path))).await
}

async fn lines(cloud: &Cloud, app: &str, path: &str) -> Vec<String> {
    let answer = call(cloud, app, path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.text().lines().map(str::to_owned).collect()
}

/// Whether a function says so soon.
async fn comes(cloud: &Cloud, app: &str, path: &str, first: impl Fn(&str) -> bool) -> bool {
    let seen = async || lines(cloud, app, path).await.first().is_some_and(|line| first(line));
    wait_until(SOON, "another first line", seen).await.is_ok()
}

fn is_hash(line: &str) -> bool {
    line.strip_suffix("  -").is_some_and(|hash| hash.len() == 64)
}

async fn functions_have_their_identities(runtime: &str) {
    let more_config = format!("[sandbox]\nruntime = \"{runtime}\"\n");
    let cloud = Cloud::start_with(PicassoOptions { more_config, ..PicassoOptions::default() }).await;
    let (me, other) = (User::new(&cloud).await, User::new(&cloud).await);
    let app = cloud.app(&me.token, "identities").await;
    for (format, script) in [("default", HASHES), ("http", HOT)] {
        let (path, id) = function(&me, &app, format, script).await;
        assert_eq!(lines(&cloud, &app, &path).await, ["none", " ", "read-only"], "{format}");

        me.grant(&id).await;
        assert!(comes(&cloud, &app, &path, is_hash).await, "{format}");
        let said = lines(&cloud, &app, &path).await;
        let variables = "picasso /run/picasso/identity/clouds.yaml";
        assert_eq!(said[1..], [variables, "read-only"], "{format}");

        // Another user's change takes it from the function, and calls do not go on without.
        let change = json!({"config": {"SCRIPT": script, "CHANGED": "yes"}});
        cloud.change(&other.token, &app, &path, change).await;
        let refused = call(&cloud, &app, &path).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{format}: {}", refused.text());
        assert_eq!(refused.headers["picasso-error-kind"], "identity_suspended");
        let not_theirs = other.identity(Method::POST, &id, "/consent", None).await;
        assert_eq!(not_theirs.status, StatusCode::FORBIDDEN, "{}", not_theirs.text());
        let consented = me.identity(Method::POST, &id, "/consent", None).await;
        assert!(consented.status.is_success(), "{}", consented.text());
        assert!(comes(&cloud, &app, &path, is_hash).await, "{format}");

        let taken = me.identity(Method::DELETE, &id, "", None).await;
        assert!(taken.status.is_success(), "{}", taken.text());
        assert!(comes(&cloud, &app, &path, |line| line == "none").await, "{format}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_have_their_identities_until_another_user_changes_them() {
    if ready() {
        functions_have_their_identities("native").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_of_an_oci_runtime_have_their_identities_too() {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let there = folders.iter().any(|folder| Path::new(folder).join("runc").exists());
    if ready() && require("runc", (!there).then_some("runc is not there")) {
        functions_have_their_identities("oci:runc").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_in_a_sandbox_is_the_grantors_with_the_chosen_roles_and_on_no_disk() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let me = User::new(&cloud).await;
    let app = cloud.app(&me.token, "token").await;
    // Its one caller is this test, which keeps the answer to itself.
    let cat = "b cat /run/picasso/identity/token; b sleep 0";
    let (path, id) = function(&me, &app, "default", cat).await;
    me.grant(&id).await;
    let url = cloud.function_url(&app, &path);
    let token = cloud.http.get(&url).send().await.unwrap().text().await.unwrap();
    note_secret(&token);
    assert!(token.len() > 100 && token != me.token, "{} characters", token.len());

    let apps = format!("/v1/{}/apps", me.project);
    let read = cloud.api(Method::GET, &apps, Some(&token), None).await;
    assert_eq!(read.status, StatusCode::OK, "{}", read.text());
    let body = json!({"app": {"name": "more"}});
    let write = cloud.api(Method::POST, &apps, Some(&token), Some(body)).await;
    assert_eq!(write.status, StatusCode::FORBIDDEN, "{}", write.text());

    assert!(!cloud.picasso.log().contains(&token), "it is in the log");
    assert!(!holds(&cloud.picasso.data_dir(), token.as_bytes()), "it is on the disk");
}

/// Whether a file below a folder has these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds(&entry.path(), bytes),
        Ok(kind) if kind.is_file() => {
            let content = std::fs::read(entry.path()).unwrap_or_default();
            content.windows(bytes.len()).any(|window| window == bytes)
        }
        _ => false,
    })
}
