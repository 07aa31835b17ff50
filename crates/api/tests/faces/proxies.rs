//! What a proxy in front says of a client: believed of those that the operator trusts.

use picasso_api::ApiSettings;
use serde_json::json;

use crate::support::{Options, PROJECT, Server};

const TOLD: [(&str, &str); 6] = [
    ("x-auth-token", "member"),
    ("x-forwarded-for", "8.8.8.8, 192.0.2.7"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "functions.example"),
    ("x-forwarded-prefix", "/faas"),
    ("content-type", "application/json"),
];

async fn server(trusted: &[&str]) -> Server {
    let trusted_proxies = trusted.iter().map(|net| net.parse().unwrap()).collect();
    let api = ApiSettings { trusted_proxies, ..ApiSettings::default() };
    Server::start_with(Options { api, ..Options::default() }).await
}

/// The link of discovery, and what a function learns of its caller.
async fn seen(server: &Server) -> (String, String) {
    let discovery = server.api.send("GET", "/v1", &TOLD, "").await.json();
    let link = discovery["version"]["links"][0]["href"].as_str().unwrap().to_owned();
    server.app().await;
    server.route("/env", "echo \"$REQUEST_URL\"", json!({})).await;
    let run = server.api.send("POST", &format!("/v1/r/{PROJECT}/hello/env"), &TOLD, "{}").await;
    (link, run.json()["result"].as_str().unwrap().trim().to_owned())
}

#[tokio::test]
async fn links_and_request_urls_are_those_that_the_client_of_a_trusted_proxy_used() {
    let server = server(&["127.0.0.0/8"]).await;
    let (link, url) = seen(&server).await;
    assert_eq!(link, "https://functions.example/faas/v1/");
    assert_eq!(url, format!("https://functions.example/faas/v1/r/{PROJECT}/hello/env"));
}

#[tokio::test]
async fn what_a_stranger_says_of_itself_is_ignored() {
    let server = server(&["10.0.0.0/8"]).await;
    let (link, url) = seen(&server).await;
    let base = format!("http://{}", server.api_address);
    assert_eq!(link, format!("{base}/v1/"));
    assert_eq!(url, format!("{base}/v1/r/{PROJECT}/hello/env"));
}
