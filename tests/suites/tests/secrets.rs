//! Secrets of apps and routes in real sandboxes, and those of a real Barbican.
//!
//! Functions answer hashes, so that a value that turns up anywhere is one that we let out.

use picasso_suites::cloud::{Answer, Cloud, SHELL_IMAGE, ready};
use picasso_testkit::barbican::Barbican;
use picasso_testkit::evidence::note_secret;
use picasso_testkit::process::require;
use picasso_types::Digest;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// What the function gets of a variable and of a file, as hashes.
const HASHES: &str = "printf %s \"$KEY\" | b sha256sum; b sha256sum </run/secrets/KEY_FILE 2>/dev/null";

fn hash(value: &[u8]) -> String {
    format!("{}  -", Digest::of(value).as_str().trim_start_matches("sha256:"))
}

async fn called(cloud: &Cloud, app: &str, path: &str) -> Vec<String> {
    let answer = cloud.send(cloud.http.get(cloud.function_url(app, path))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.text().lines().map(str::to_owned).collect()
}

async fn save(cloud: &Cloud, token: &str, app: &str, path: &str, secrets: Value) -> Answer {
    let url = format!("/v1/{}/apps/{app}{path}", cloud.project("demo1").await);
    cloud.api(Method::PUT, &url, Some(token), Some(json!({ "secrets": secrets }))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_functions_in_sandboxes_and_a_roll_back_brings_the_routes_old_ones() {
    if !ready() {
        return;
    }
    let (of_app, first, second) = ("app-5f0c1a77", "route-b19e4c02", "route-77d3a9f1");
    for value in [of_app, first, second] {
        note_secret(value);
    }
    let cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "secrets").await;
    let saved = save(&cloud, &token, &app, "", json!({"KEY_FILE": {"value": of_app, "as": "file"}})).await;
    assert_eq!(saved.status, StatusCode::OK, "{}", saved.text());
    for format in ["default", "http"] {
        let path = format!("/{format}");
        let script = if format == "http" { ANSWERING } else { HASHES };
        let more = json!({"format": format, "secrets": {"KEY": first}});
        cloud.route(&token, &app, &path, script, more).await;
        assert_eq!(called(&cloud, &app, &path).await, [hash(first.as_bytes()), hash(of_app.as_bytes())]);
    }

    let changed = save(&cloud, &token, &app, "/routes/default", json!({"KEY": second})).await;
    assert_eq!(called(&cloud, &app, "/default").await[0], hash(second.as_bytes()));
    let id = changed.json()["route"]["id"].as_str().unwrap().to_owned();
    let url = format!("/v1/{}/routes/{id}/rollback", cloud.project("demo1").await);
    let back = cloud.api(Method::POST, &url, Some(&token), Some(json!({"version": 1}))).await;
    assert_eq!(back.status, StatusCode::OK, "{}", back.text());
    assert_eq!(called(&cloud, &app, "/default").await, [hash(first.as_bytes()), hash(of_app.as_bytes())]);
}

/// The same as [`HASHES`] for a hot function: reads one request's head, answers, and ends.
const ANSWERING: &str = "while read -r line && [ \"$line\" != \"$(printf '\\r')\" ]; do :; done; \
    body=$(printf %s \"$KEY\" | b sha256sum; b sha256sum </run/secrets/KEY_FILE); \
    printf 'HTTP/1.1 200 OK\\r\\nContent-Length: %s\\r\\n\\r\\n%s' \"${#body}\" \"$body\"";

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_barbican_are_read_with_the_token_of_whoever_saves_them() {
    if !ready() || !require("Barbican", Barbican::missing().as_deref()) {
        return;
    }
    let cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "barbican").await;
    let project = cloud.project("demo1").await;
    let told = |answer: &Answer| {
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
        answer.json()["error"]["message"].as_str().unwrap().to_owned()
    };

    let none = json!({"KEY": "barbican:6b9a2f8e-3c1d-4f5a-9e7b-2d8c4a6f1e30"});
    let refused = told(&save(&cloud, &token, &app, "", none.clone()).await);
    assert!(refused.starts_with("secrets.KEY") && refused.contains("no key manager"), "{refused}");

    let mut barbican = Barbican::start(&cloud.keystone).await.unwrap();
    cloud.keystone.add_service("key-manager", &barbican.url()).await.unwrap();
    let text = barbican.keep_text(&token, "kept-by-barbican-8c21").await;
    let binary = barbican.keep_base64(&token, "AP8Bd2hhdGV2ZXI=").await;
    let theirs = barbican.keep_text(&cloud.token("demo2-member").await, "of-another-project-03fa").await;
    assert!([&text, &binary, &theirs].iter().all(|id| id.len() == 36), "{text} {binary} {theirs}");

    let secrets = json!({"KEY": format!("barbican:{text}"),
                         "KEY_FILE": {"value": format!("barbican:{binary}"), "as": "file"}});
    let more = json!({ "secrets": secrets });
    cloud.route(&token, &app, "/hashes", HASHES, more).await;
    let expected = [hash(b"kept-by-barbican-8c21"), hash(b"\0\xff\x01whatever")];
    assert_eq!(called(&cloud, &app, "/hashes").await, expected);
    let url = format!("/v1/{project}/apps/{app}/routes/hashes");
    let shown = cloud.api(Method::GET, &url, Some(&token), None).await;
    assert_eq!(shown.json()["route"]["secrets"]["KEY"]["from"], format!("barbican:{text}"));
    assert!(!shown.text().contains("kept-by"), "{}", shown.text());

    // Another project's, one that is not there, and bytes that are no variable.
    let before = shown.json()["route"]["secrets"].clone();
    for (value, why) in [
        (theirs, "Barbican answered with status 40"),
        ("6b9a2f8e-3c1d-4f5a-9e7b-2d8c4a6f1e30".to_owned(), "Barbican answered with status 404"),
        (binary, "UTF-8"),
    ] {
        let change = json!({"KEY": format!("barbican:{value}")});
        let refused = told(&save(&cloud, &token, &app, "/routes/hashes", change.clone()).await);
        assert!(refused.starts_with("secrets.KEY") && refused.contains(why), "{refused}");
        let route = json!({"route": {"path": "/new", "image": SHELL_IMAGE, "secrets": change}});
        let at = format!("/v1/{project}/apps/{app}/routes");
        let refused = told(&cloud.api(Method::POST, &at, Some(&token), Some(route)).await);
        assert!(refused.starts_with("route.secrets.KEY"), "{refused}");
    }

    // What was read stays when Barbican is gone; what is to be read has to wait.
    barbican.stop().await.unwrap();
    assert_eq!(called(&cloud, &app, "/hashes").await, expected);
    let away = save(&cloud, &token, &app, "/routes/hashes", none).await;
    assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE, "{}", away.text());
    assert_eq!(away.json()["error"]["kind"], "key_manager_unavailable");
    let shown = cloud.api(Method::GET, &url, Some(&token), None).await;
    assert_eq!(shown.json()["route"]["secrets"], before);
}
