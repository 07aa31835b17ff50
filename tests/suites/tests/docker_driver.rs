//! `picasso serve` with functions in Docker containers: the other driver, through the whole.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use picasso_suites::cloud::{Cloud, ready};
use picasso_testkit::docker::DockerEngine;
use picasso_testkit::evidence::note_secret;
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::{require, run, wait_until};
use picasso_types::Digest;
use reqwest::StatusCode;
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn functions_run_in_containers_and_leave_none() {
    if !ready() || !require("docker", DockerEngine::missing().as_deref()) {
        return;
    }
    let engine = DockerEngine::start().await.unwrap();
    // The server's user may use the Engine's socket, as membership of its group would let it.
    run("chgrp", ["picasso", &engine.socket().display().to_string()]).unwrap();
    std::fs::set_permissions(engine.dir(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let more_config =
        format!("[sandbox]\nruntime = \"docker\"\ndocker_socket = \"{}\"\n", engine.socket().display());
    let cloud = Cloud::start_with(PicassoOptions { more_config, ..PicassoOptions::default() }).await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "docker").await;

    let script = "read -r line; echo \"hello $line from $ROUTE\"; echo noted >&2";
    cloud.route(&token, &app, "/hello", script, json!({})).await;
    let url = cloud.function_url(&app, "/hello");
    let answer = cloud.send(cloud.http.post(&url).body("docker\n")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.text(), "hello docker from /hello\n");
    cloud.picasso.logged("noted", SOON).await.unwrap();

    note_secret("a-secret-file-of-docker-51b7");
    let secrets = json!({"secrets": {"KEY": {"value": "a-secret-file-of-docker-51b7", "as": "file"}}});
    let script = "b sha256sum </run/secrets/KEY; echo more 2>/dev/null >>/run/secrets/KEY || echo read-only";
    cloud.route(&token, &app, "/secret", script, secrets).await;
    let answer = cloud.send(cloud.http.get(cloud.function_url(&app, "/secret"))).await;
    let hash = Digest::of(b"a-secret-file-of-docker-51b7");
    let expected = format!("{}  -\nread-only\n", hash.as_str().trim_start_matches("sha256:"));
    assert_eq!(answer.text(), expected);

    cloud.route(&token, &app, "/fail", "exit 3", json!({})).await;
    let answer = cloud.send(cloud.http.post(cloud.function_url(&app, "/fail"))).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(answer.text().contains("exited with code 3"), "{}", answer.text());

    cloud.route(&token, &app, "/slow", "b sleep 60", json!({"timeout": 1})).await;
    let answer = cloud.send(cloud.http.post(cloud.function_url(&app, "/slow"))).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{}", answer.text());

    let none_left =
        || async { engine.docker(&["ps", "--all", "--quiet"]).is_ok_and(|ids| ids.trim().is_empty()) };
    wait_until(SOON, "no container is left", none_left).await.unwrap();
}
