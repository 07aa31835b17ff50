//! What is the same for all requests: ids, errors, unknown URLs, sizes, discovery, health.

use picasso_api::ApiSettings;
use serde_json::json;

use crate::support::{Options, PROJECT, Server};

#[tokio::test]
async fn every_answer_has_a_request_id_of_ours_also_when_the_caller_sends_one() {
    let server = Server::start().await;
    let theirs = "req-0a1b2c3d-0000-4000-8000-0123456789ab";
    let headers = [("x-openstack-request-id", theirs)];
    let mut seen = std::collections::BTreeSet::new();
    for url in ["/", "/healthcheck", "/nowhere", "/v1/x/apps", "/r/a/b"] {
        let reply = server.api.send("GET", url, &headers, "").await;
        let id = reply.header("x-openstack-request-id").to_owned();
        assert!(id.starts_with("req-") && id.len() == 40 && id != theirs, "{url}: {id}");
        if reply.status >= 400 {
            assert_eq!(reply.json()["error"]["request_id"], id);
        }
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert!(seen.insert(id));
    }
}

#[tokio::test]
async fn unknown_urls_and_methods_answer_in_the_form_of_all_errors() {
    let server = Server::start().await;
    let missing = server.api.send("GET", "/nowhere", &[], "").await;
    assert_eq!((missing.status, missing.kind().as_str()), (404, "url_not_found"));
    assert!(missing.message().contains("/nowhere not found"));
    let wrong = server.api.send("PATCH", &format!("/v1/{PROJECT}/apps"), &[], "").await;
    assert_eq!((wrong.status, wrong.kind().as_str()), (405, "method_not_allowed"));
    assert_eq!(wrong.header("allow"), "GET,HEAD,POST");
    assert_eq!(wrong.json()["error"]["title"], "Method Not Allowed");
}

#[tokio::test]
async fn a_missing_or_bad_token_is_401_with_the_way_to_keystone() {
    let server = Server::start().await;
    for headers in [&[][..], &[("x-auth-token", "garbage")], &[("x-auth-token", "a"), ("x-auth-token", "b")]]
    {
        let reply = server.api.send("GET", &format!("/v1/{PROJECT}/apps"), headers, "").await;
        assert_eq!((reply.status, reply.kind().as_str()), (401, "unauthorized"));
        assert!(reply.message().starts_with("Not authorized. Reason: "));
        assert_eq!(reply.header("www-authenticate"), "Keystone uri=\"http://keystone.example.org/v3\"");
    }
}

#[tokio::test]
async fn while_keystone_is_down_the_answer_is_503_with_retry_after() {
    let server = Server::start().await;
    let reply = server.api.get(&format!("/v1/{PROJECT}/apps"), "keystone-down").await;
    assert_eq!((reply.status, reply.kind().as_str()), (503, "identity_unavailable"));
    assert_eq!(reply.header("retry-after"), "5");
}

#[tokio::test]
async fn a_body_over_the_limit_or_of_another_type_is_refused() {
    let api = ApiSettings { max_api_body_bytes: 200, ..ApiSettings::default() };
    let server = Server::start_with(Options { api, ..Options::default() }).await;
    let body = json!({"app": {"name": "a", "description": "x".repeat(200)}});
    let large = server.api.post(&format!("/v1/{PROJECT}/apps"), "member", &body).await;
    assert_eq!((large.status, large.kind().as_str()), (413, "body_too_large"));
    let headers = [("x-auth-token", "member"), ("content-type", "text/plain")];
    let typed = server.api.send("POST", &format!("/v1/{PROJECT}/apps"), &headers, "{}").await;
    assert_eq!((typed.status, typed.kind().as_str()), (400, "invalid_content_type"));
}

#[tokio::test]
async fn the_service_can_be_discovered_and_read_about_without_a_token() {
    let server = Server::start().await;
    let versions = server.api.send("GET", "/", &[], "").await.json();
    assert_eq!(versions["versions"][0]["id"], "v1.0");
    let href = format!("http://{}/v1/", server.api_address);
    assert_eq!(versions["versions"][0]["links"][0]["href"], href);
    assert_eq!(server.api.send("GET", "/v1/", &[], "").await.json()["version"]["status"], "CURRENT");
    let document = server.api.send("GET", "/api/swagger.json", &[], "").await.json();
    assert!(document["paths"]["/v1/{project_id}/apps/{app}/routes/{route}"]["put"].is_object());
    let page = server.api.send("GET", "/api", &[], "").await;
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert!(page.text().contains("/f/{app}/{route}"));
}

#[tokio::test]
async fn health_is_told_in_the_form_that_is_asked_for() {
    let server = Server::start().await;
    let text = server.api.send("GET", "/healthcheck", &[], "").await;
    assert_eq!((text.status, text.text().as_str()), (200, "OK"));
    let json = server.api.send("GET", "/healthcheck", &[("accept", "application/json")], "").await;
    assert_eq!(json.json(), json!({"detailed": false, "reasons": ["OK"]}));
    assert_eq!(server.api.send("HEAD", "/healthcheck", &[], "").await.status, 204);
}

#[tokio::test]
async fn a_fault_of_ours_says_a_fixed_sentence_and_nothing_of_the_inside() {
    let server = Server::start().await;
    let reply = server.api.get(&format!("/v1/{PROJECT}/apps"), "fault").await;
    assert_eq!((reply.status, reply.kind().as_str()), (500, "internal"));
    assert!(!reply.text().contains("internal-text"));
    assert!(reply.header("x-openstack-request-id").starts_with("req-"));
}
