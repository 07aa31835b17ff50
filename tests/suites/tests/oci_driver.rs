//! `picasso serve` with functions started by an OCI runtime: the third driver, through the whole.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use picasso_suites::cloud::{Cloud, SHELL_IMAGE, ready};
use picasso_suites::host;
use picasso_testkit::evidence::note_secret;
use picasso_testkit::picasso::{Picasso, PicassoOptions};
use picasso_testkit::process::require;
use picasso_types::Digest;
use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

fn runc() -> bool {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let there = folders.iter().any(|folder| Path::new(folder).join("runc").exists());
    require("runc", (!there).then_some("runc is not there"))
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_run_by_an_oci_runtime_and_leave_nothing() {
    if !ready() || !runc() {
        return;
    }
    let more_config = "[sandbox]\nruntime = \"oci:runc\"\n".to_owned();
    let mut cloud = Cloud::start_with(PicassoOptions { more_config, ..PicassoOptions::default() }).await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "oci").await;

    let script = "read -r line; echo \"hello $line from $ROUTE\"; echo noted >&2";
    cloud.route(&token, &app, "/hello", script, json!({})).await;
    let url = cloud.function_url(&app, "/hello");
    let answer = cloud.send(cloud.http.post(&url).body("runc\n")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.text(), "hello runc from /hello\n");
    cloud.picasso.logged("noted", SOON).await.unwrap();

    note_secret("a-secret-file-of-oci-51b7");
    let secrets = json!({"secrets": {"KEY": {"value": "a-secret-file-of-oci-51b7", "as": "file"}}});
    let script = "b sha256sum </run/secrets/KEY; echo more 2>/dev/null >>/run/secrets/KEY || echo read-only";
    cloud.route(&token, &app, "/secret", script, secrets).await;
    let answer = cloud.send(cloud.http.get(cloud.function_url(&app, "/secret"))).await;
    let hash = Digest::of(b"a-secret-file-of-oci-51b7");
    let expected = format!("{}  -\nread-only\n", hash.as_str().trim_start_matches("sha256:"));
    assert_eq!(answer.text(), expected);

    cloud.route(&token, &app, "/fail", "exit 3", json!({})).await;
    let answer = cloud.send(cloud.http.post(cloud.function_url(&app, "/fail"))).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(answer.text().contains("exited with code 3"), "{}", answer.text());

    cloud.route(&token, &app, "/slow", "b sleep 60", json!({"timeout": 1})).await;
    let answer = cloud.send(cloud.http.post(cloud.function_url(&app, "/slow"))).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{}", answer.text());

    let project = cloud.project("demo1").await;
    let routes = format!("/v1/{project}/apps/{app}/routes");
    let route = json!({"route": {"path": "/socket", "image": SHELL_IMAGE, "format": "http-stream"}});
    let refused = cloud.api(Method::POST, &routes, Some(&token), Some(route)).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text());
    let told = "route.format: \\\"http-stream\\\" is not carried by this cloud's sandbox runtime oci; it \
                carries \\\"default\\\", \\\"http\\\", \\\"json\\\"";
    assert!(refused.text().contains(told), "{}", refused.text());

    let instance = cloud.picasso.instance();
    cloud.picasso.signal(Signal::TERM);
    assert_eq!(cloud.picasso.wait(SOON).await.unwrap(), Some(0));
    assert_eq!(host::traces_of(&instance), Vec::<String>::new());
}

#[test]
fn a_runtime_that_is_not_there_ends_the_start_with_a_sentence() {
    if !require("the picasso binary", Picasso::missing().as_deref()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(Picasso::binary())
        .arg("serve")
        .env("PICASSO_SANDBOX__RUNTIME", "oci:no-such-runtime")
        .env("PICASSO_SERVER__DATA_DIR", folder.path().join("data"))
        .env("PICASSO_KEYSTONE__AUTH_URL", "http://127.0.0.1:9/v3")
        .env("PICASSO_KEYSTONE__USERNAME", "nobody")
        .env("PICASSO_KEYSTONE__PASSWORD", "asks-it")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("the OCI runtime \"no-such-runtime\" is in no folder of root's PATH"), "{told}");
    assert!(!folder.path().join("data").exists(), "nothing is made before that is known");
}
