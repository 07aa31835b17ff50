//! Limits of projects: what is over them is refused in oslo.limit's words, and all can be looked at.

use picasso_types::Resource;
use serde_json::json;

use crate::support::{Options, PROJECT, Server, limits};

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
    assert_eq!(
        limits["limits"],
        json!({
            "functions_apps": {"limit": 1, "usage": 1, "source": "default"},
            "functions_routes": {"limit": 2, "usage": 2, "source": "default"},
            "functions_queued_calls": {"limit": -1, "usage": 0, "source": "default"},
        })
    );
}
