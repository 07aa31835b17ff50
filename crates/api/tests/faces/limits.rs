//! Limits of projects: what is over them is refused in oslo.limit's words, and all can be looked at.

use std::time::Duration;

use picasso_image::ImageBuilder;
use picasso_testkit::process::wait_until;
use picasso_types::Resource;
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::{Options, PROJECT, Server, limits};

const SOON: Duration = Duration::from_mins(1);

/// A server where a project may have one app, two routes, and as many queued calls as it likes.
async fn narrow_server() -> Server {
    let quota = limits(|resource| match resource {
        Resource::Apps => Some(1),
        Resource::Routes => Some(2),
        _ => None,
    });
    Server::start_with(Options { quota, ..Options::default() }).await
}

#[tokio::test]
async fn what_is_over_a_limit_is_refused_in_the_words_of_oslo_limit_and_changes_nothing() {
    let server = narrow_server().await;
    server.app().await;
    for path in ["/a", "/b"] {
        server.route(path, "true", json!({})).await;
    }
    let over = |resource: &str, limit: u64| {
        format!(
            "Project {PROJECT} is over a limit for [Resource {resource} is over limit of {limit} due to current \
             usage {limit} and delta 1]"
        )
    };
    let app = json!({"app": {"name": "second"}});
    let refused = server.api.post(&format!("/v1/{PROJECT}/apps"), "member", &app).await;
    assert_eq!((refused.status, refused.kind().as_str()), (403, "limit_reached"));
    assert_eq!(refused.json()["error"]["message"], over("functions_apps", 1));

    let route = json!({"route": {"path": "/c", "image": "imagea:1"}});
    let refused = server.api.post(&format!("/v1/{PROJECT}/apps/hello/routes"), "member", &route).await;
    assert_eq!((refused.status, refused.kind().as_str()), (403, "limit_reached"), "{}", refused.json());
    assert_eq!(refused.json()["error"]["message"], over("functions_routes", 2));

    let limits = server.api.get(&format!("/v1/{PROJECT}/limits"), "reader").await.json();
    let none = json!({"limit": -1, "usage": 0, "source": "default"});
    assert_eq!(
        limits["limits"],
        json!({
            "functions_apps": {"limit": 1, "usage": 1, "source": "default"},
            "functions_routes": {"limit": 2, "usage": 2, "source": "default"},
            "functions_triggers": none,
            "functions_queued_calls": none,
            "functions_concurrent_calls": none,
            "functions_calls_per_second": none,
            "functions_memory_mb": none,
            "functions_image_mb": none,
            "functions_output_mb": none,
        })
    );
}

/// A server that knows one limit of projects.
async fn limited_server(resource: Resource, max: u64) -> (Server, String) {
    let quota = limits(move |of| (of == resource).then_some(max));
    let server = Server::start_with(Options { quota, ..Options::default() }).await;
    let app = server.app().await;
    (server, app)
}

/// What the usage API says of one resource.
async fn usage(server: &Server, resource: Resource) -> Value {
    let limits = server.api.get(&format!("/v1/{PROJECT}/limits"), "reader").await.json();
    limits["limits"][resource.name()].clone()
}

/// A call in a task of its own that is in its function when this returns.
async fn in_function(server: &Server, url: &str) -> tokio::task::JoinHandle<Result<Reply, String>> {
    let before = server.sandbox.running();
    let (client, url) = (server.functions.clone(), url.to_owned());
    let call = tokio::spawn(async move { client.try_send("GET", &url, &[], "").await });
    wait_until(SOON, "the call", async || server.sandbox.running() == before + 1).await.unwrap();
    call
}

#[tokio::test]
async fn a_project_at_its_limit_of_concurrent_calls_gets_429_and_its_asynchronous_calls_wait() {
    let (server, app) = limited_server(Resource::ConcurrentCalls, 1).await;
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("go");
    server
        .route("/a", &format!("until [ -e {} ]; do sleep 0.05; done; echo ran", gate.display()), json!({}))
        .await;
    server.route("/later", "true", json!({"type": "async", "queue_timeout": 0})).await;
    let url = format!("/f/{app}/a");
    let first = in_function(&server, &url).await;
    assert_eq!(usage(&server, Resource::ConcurrentCalls).await["usage"], 1);

    let stranger = server.functions.send("GET", &url, &[], "").await;
    assert_eq!((stranger.status, stranger.kind().as_str()), (429, "too_many_calls"));
    assert_eq!(stranger.header("retry-after"), "1");
    assert!(!stranger.message().contains("functions_concurrent_calls"), "{}", stranger.message());
    let run = format!("/v1/r/{PROJECT}/hello");
    let member = server.api.post(&format!("{run}/a"), "member", &json!({})).await;
    assert_eq!((member.status, member.kind().as_str()), (429, "too_many_calls"));
    let told = "The project is at its limit of 1 (functions_concurrent_calls); try again later";
    assert_eq!(member.message(), told);

    let accepted = server.api.post(&format!("{run}/later"), "member", &json!({})).await;
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    let call = format!("/v1/{PROJECT}/calls/{}", accepted.json()["call_id"].as_str().unwrap());
    std::fs::write(&gate, "").unwrap();
    assert_eq!(first.await.unwrap().unwrap().status, 200);
    let ended = async || server.api.get(&call, "reader").await.json()["call"]["status"] == "succeeded";
    wait_until(SOON, "the asynchronous call", ended).await.unwrap();
    assert_eq!(usage(&server, Resource::ConcurrentCalls).await["usage"], 0);
}

#[tokio::test]
async fn a_project_whose_functions_hold_all_the_memory_it_may_have_gets_429() {
    let (server, app) = limited_server(Resource::Memory, 150).await;
    server.route("/a", "cat; sleep 60", json!({"memory": 100, "queue_timeout": 0})).await;
    let url = format!("/f/{app}/a");
    let first = in_function(&server, &url).await;
    assert_eq!(
        usage(&server, Resource::Memory).await,
        json!({"limit": 150, "usage": 100, "source": "default"})
    );
    let refused = server.functions.send("GET", &url, &[], "").await;
    assert_eq!((refused.status, refused.kind().as_str()), (429, "too_many_calls"));
    assert_eq!(refused.header("retry-after"), "1");
    first.abort();
    let free = async || usage(&server, Resource::Memory).await["usage"] == 0;
    wait_until(SOON, "its memory", free).await.unwrap();
}

#[tokio::test]
async fn images_over_the_projects_limit_are_refused_in_the_words_of_oslo_limit_and_not_kept() {
    let (server, _) = limited_server(Resource::Images, 1).await;
    let url = |name: &str| format!("/v1/{PROJECT}/images/{name}");
    let load = async |name: &str, tar: Vec<u8>| {
        server.api.send("PUT", &url(name), &[("x-auth-token", "member")], tar).await
    };
    assert_eq!(load("small:1", server.image_tar("true")).await.status, 200);
    let small = usage(&server, Resource::Images).await;
    assert_eq!(small, json!({"limit": 1, "usage": 1, "source": "default"}));
    let mut image = ImageBuilder::new();
    image.entrypoint(["/bin/true"]);
    image.bytes(vec![7; 3 << 20], "/large", 0o644).unwrap();
    let tar = server.folder.path().join("large.tar");
    image.write(&tar).unwrap();
    let refused = load("large:1", std::fs::read(&tar).unwrap()).await;
    assert_eq!((refused.status, refused.kind().as_str()), (403, "limit_reached"), "{}", refused.text());
    let text = refused.message();
    let begin = format!(
        "Project {PROJECT} is over a limit for [Resource functions_image_mb is over limit of 1 due to current \
         usage 1 and delta "
    );
    assert!(text.starts_with(&begin), "{text}");
    assert_eq!(usage(&server, Resource::Images).await, small);
    let listed = server.api.get(&format!("/v1/{PROJECT}/images"), "reader").await.json();
    assert_eq!(listed["images"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_project_that_calls_too_often_gets_429_with_its_rate_and_others_do_not() {
    let (server, app) = limited_server(Resource::CallRate, 1).await;
    server.route("/a", "true", json!({"type": "async"})).await;
    let call = async || server.api.post(&format!("/v1/r/{PROJECT}/hello/a"), "member", &json!({})).await;
    let mut accepted = 0;
    let refused = loop {
        let reply = call().await;
        if reply.status != 200 {
            break reply;
        }
        accepted += 1;
        assert!(accepted < 1000, "nothing is refused");
    };
    assert!(accepted >= 2, "two seconds' worth may come at once");
    assert_eq!((refused.status, refused.kind().as_str()), (429, "rate_limited"));
    assert_eq!(refused.header("ratelimit-policy"), "\"project\";q=1;w=1");
    assert_eq!(refused.header("ratelimit"), "\"project\";r=0;t=1");
    assert_eq!(refused.header("retry-after"), "1");
    assert!(refused.message().contains("functions_calls_per_second"), "{}", refused.message());
    // A stranger learns nothing of the project's limits.
    let strangers = async || {
        let reply = server.functions.send("GET", &format!("/f/{app}/a"), &[], "").await;
        (reply.status == 429).then_some(reply)
    };
    let mut refused = None;
    while refused.is_none() {
        refused = strangers().await;
    }
    let refused = refused.unwrap();
    assert_eq!((refused.kind().as_str(), refused.header("ratelimit-policy")), ("rate_limited", ""));
    assert_eq!(refused.message(), "The function is called too often; try again later");
}

#[tokio::test]
async fn a_public_route_has_a_rate_for_callers_without_a_token_that_a_deploy_does_not_reset() {
    let server = Server::start().await;
    let app = server.app().await;
    let slow = json!({"calls": 2, "seconds": 3600, "burst": 3});
    let made = server.route("/a", "echo hello", json!({"rate_limit": slow})).await;
    assert_eq!(made.json()["route"]["rate_limit"], slow);
    server.route("/free", "echo hello", json!({})).await;
    let stranger = async |path: &str| server.functions.send("GET", &format!("/f/{app}{path}"), &[], "").await;
    for n in 0..3 {
        assert_eq!(stranger("/a").await.status, 200, "call {n}");
    }
    let refused = stranger("/a").await;
    assert_eq!((refused.status, refused.kind().as_str()), (429, "rate_limited"));
    assert_eq!(refused.header("ratelimit-policy"), "\"route\";q=2;w=3600");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=1800).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit"), format!("\"route\";r=0;t={wait}"));
    assert_eq!(refused.message(), "The function may be called 2 times in 3600 s; try again later");
    let run = server.api.send("POST", &format!("/r/{app}/a"), &[], "").await;
    assert_eq!(run.status, 429, "whichever way they come");
    assert_eq!(stranger("/free").await.status, 200);
    let own = server.api.post(&format!("/v1/r/{PROJECT}/hello/a"), "member", &json!({})).await;
    assert_eq!(own.status, 200, "whoever has a token is not a stranger");

    // A new version is no new bucket, and neither is a roll back.
    let route = format!("/v1/{PROJECT}/apps/hello/routes/a");
    let changed = server.api.put(&route, "member", &json!({"memory": 64})).await;
    assert_eq!((changed.status, &changed.json()["route"]["rate_limit"]), (200, &slow), "{}", changed.text());
    assert_eq!(stranger("/a").await.status, 429);
    let id = changed.json()["route"]["id"].as_str().unwrap().to_owned();
    let back = format!("/v1/{PROJECT}/routes/{id}/rollback");
    let back = server.api.post(&back, "member", &json!({"version": 1})).await;
    assert_eq!((back.status, &back.json()["route"]["rate_limit"]), (200, &slow), "{}", back.text());
    assert_eq!(stranger("/a").await.status, 429);
    // Another rate counts at once, as does none.
    server.api.put(&route, "member", &json!({"rate_limit": null})).await;
    assert_eq!(stranger("/a").await.status, 200);
    assert_eq!(server.api.get(&route, "reader").await.json()["route"]["rate_limit"], Value::Null);
}
