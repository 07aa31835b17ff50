//! Roles and projects with fixed tokens; the matrix over every endpoint has real ones.

use picasso_api::{EndpointFace, endpoints};
use serde_json::json;

use crate::support::{OTHER, PROJECT, Server};

#[tokio::test]
async fn a_reader_reads_and_nothing_more_and_an_unknown_role_nothing() {
    let server = Server::start().await;
    server.app().await;
    let url = format!("/v1/{PROJECT}/apps/hello");
    assert_eq!(server.api.get(&url, "reader").await.status, 200);
    assert_eq!(server.api.put(&url, "reader", &json!({})).await.status, 403);
    assert_eq!(server.api.delete(&url, "reader").await.status, 403);
    for refused in
        [server.api.get(&url, "stranger").await, server.api.put(&url, "stranger", &json!({})).await]
    {
        assert_eq!((refused.status, refused.kind().as_str()), (403, "forbidden"));
    }
}

#[tokio::test]
async fn an_admin_acts_in_any_project() {
    let server = Server::start().await;
    let made = server.api.post(&format!("/v1/{OTHER}/apps"), "admin", &json!({"app": {"name": "x"}})).await;
    assert_eq!((made.status, &made.json()["app"]["project_id"]), (200, &json!(OTHER)));
    assert_eq!(server.api.get(&format!("/v1/{OTHER}/apps/x"), "other").await.status, 200);
}

#[tokio::test]
async fn a_broken_body_does_not_tell_a_missing_app_from_a_foreign_one() {
    let server = Server::start().await;
    server.app().await;
    let headers = [("x-auth-token", "other"), ("content-type", "application/json")];
    let foreign = format!("/v1/{PROJECT}/apps/hello");
    let missing = format!("/v1/{OTHER}/apps/hello");
    for url in [foreign, missing] {
        for (method, url) in
            [("PUT", url.clone()), ("POST", format!("{url}/routes")), ("PUT", format!("{url}/routes/a"))]
        {
            let reply = server.api.send(method, &url, &headers, "{broken").await;
            assert_eq!((reply.status, reply.message().as_str()), (404, "App hello not found"), "{url}");
        }
    }
}

#[tokio::test]
async fn the_forms_of_urls_for_the_root_route_ask_the_same_of_their_callers() {
    let server = Server::start().await;
    let mut seen = 0;
    for endpoint in endpoints().iter().filter(|endpoint| endpoint.path.ends_with("/{*route}")) {
        let client = match endpoint.face {
            EndpointFace::Api => &server.api,
            EndpointFace::Functions => &server.functions,
        };
        let slash =
            endpoint.path.replace("{*route}", "").replace("{project_id}", PROJECT).replace("{app}", "hello");
        let bare = slash.trim_end_matches('/').to_owned();
        // Without its slash the form of a route's resource is the collection.
        let forms = if slash.ends_with("/routes/") { vec![slash] } else { vec![slash, bare] };
        for url in forms {
            let ask =
                async |token| client.send(endpoint.method, &url, &[("x-auth-token", token)], "").await.status;
            let of_write =
                [ask("garbage").await, ask("stranger").await, ask("reader").await, ask("other").await];
            let reads = |rule: &str| rule.ends_with(":get") || rule.ends_with(":list");
            let expected = match &endpoint.rule {
                None => [404, 404, 404, 404],
                Some(rule) if reads(rule) => [401, 403, 404, 404],
                Some(_) => [401, 403, 403, 404],
            };
            assert_eq!(of_write, expected, "{} {url}", endpoint.method);
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}
