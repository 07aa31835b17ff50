//! What the version of the API that a client asks for changes, and what it does not.

use std::time::Duration;

use picasso_api::ApiSettings;
use picasso_testkit::process::wait_until;
use serde_json::json;

use crate::support::client::{Client, Reply};
use crate::support::{Options, PROJECT, Server};

async fn ask(client: &Client, version: &str, method: &str, path: &str, body: &serde_json::Value) -> Reply {
    let headers = [
        ("x-auth-token", "member"),
        ("content-type", "application/json"),
        ("openstack-api-version", version),
    ];
    client.send(method, path, &headers, body.to_string()).await
}

#[tokio::test]
async fn creates_and_deletes_have_the_guides_statuses_from_1_1_on_and_the_old_ones_before() {
    let server = Server::start().await;
    server.image("shared:1", "cat").await;
    let apps = format!("/v1/{PROJECT}/apps");
    for (name, version, made, gone) in [
        ("old", "functions 1.0", 200, 200),
        ("new", "functions 1.1", 201, 204),
        ("newest", "functions latest", 201, 204),
    ] {
        let body = json!({"app": {"name": name}});
        let app = ask(&server.api, version, "POST", &apps, &body).await;
        assert_eq!((app.status, app.json()["app"]["short_name"].as_str()), (made, Some(name)));
        let routes = format!("{apps}/{name}/routes");
        let body = json!({"route": {"path": "/a b/:id", "image": "shared:1"}});
        let route = ask(&server.api, version, "POST", &routes, &body).await;
        assert_eq!(route.status, made, "{}", route.text());
        for reply in [&app, &route] {
            assert_eq!(reply.headers.contains_key("location"), made == 201);
            if made == 201 {
                let at = reply.header("location");
                let path = at.strip_prefix(&format!("http://{}", server.api_address)).unwrap();
                assert_eq!(server.api.get(path, "reader").await.status, 200, "{at}");
            }
        }
        let gone_route =
            ask(&server.api, version, "DELETE", &format!("{routes}/a%20b/:id"), &json!({})).await;
        let gone_app = ask(&server.api, version, "DELETE", &format!("{apps}/{name}"), &json!({})).await;
        for reply in [gone_route, gone_app] {
            assert_eq!((reply.status, reply.body.is_empty()), (gone, gone == 204));
        }
    }
}

#[tokio::test]
async fn every_answer_of_v1_names_its_version_and_that_it_varies_with_it() {
    let server = Server::start().await;
    let apps = format!("/v1/{PROJECT}/apps");
    for (path, asked, version) in [
        (apps.as_str(), "compute 2.1", "functions 1.0"),
        (&apps, "functions 1.1", "functions 1.1"),
        (&apps, "compute 2.1, functions latest", "functions 1.1"),
        ("/v1/nothing/here", "functions 1.1", "functions 1.1"),
        ("/v1", "functions 1.1", "functions 1.1"),
    ] {
        let reply = ask(&server.api, asked, "GET", path, &json!(null)).await;
        assert_eq!(reply.header("openstack-api-version"), version, "{path}");
        assert_eq!(reply.header("vary"), "OpenStack-API-Version", "{path}");
    }
    let discovery = server.api.get("/", "member").await;
    assert!(!discovery.headers.contains_key("openstack-api-version"));
}

#[tokio::test]
async fn a_version_that_is_not_here_is_406_with_those_that_are_and_changes_nothing() {
    let server = Server::start().await;
    let apps = format!("/v1/{PROJECT}/apps");
    let body = json!({"app": {"name": "hello"}});
    let far = ask(&server.api, "functions 1.99", "POST", &apps, &body).await;
    assert_eq!((far.status, far.kind().as_str()), (406, "version_not_supported"));
    let error = &far.json()["error"];
    assert_eq!((&error["min_version"], &error["max_version"]), (&json!("1.0"), &json!("1.1")));
    let bad = ask(&server.api, "functions one", "POST", &apps, &body).await;
    assert_eq!((bad.status, bad.kind().as_str()), (400, "invalid_field"));
    assert!(bad.message().starts_with("OpenStack-API-Version"), "{}", bad.message());
    assert_eq!(server.api.get(&apps, "reader").await.json()["apps"], json!([]));
}

#[tokio::test]
async fn an_asynchronous_run_is_202_with_its_call_from_1_1_on() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/later", "cat", json!({"type": "async"})).await;
    let url = format!("/v1/r/{PROJECT}/hello/later");
    let old = ask(&server.api, "functions 1.0", "POST", &url, &json!({})).await;
    assert_eq!((old.status, old.headers.contains_key("location")), (200, false));
    let new = ask(&server.api, "functions 1.1", "POST", &url, &json!({})).await;
    assert_eq!(new.status, 202);
    let id = new.json()["call_id"].as_str().unwrap().to_owned();
    assert!(new.header("location").ends_with(&format!("/v1/{PROJECT}/calls/{id}")));
    let public = ask(&server.api, "functions 1.1", "POST", &format!("/r/{app}/later"), &json!({})).await;
    assert_eq!((public.status, public.headers.contains_key("location")), (202, false));
    // The calls end before the server does.
    let url = format!("/v1/{PROJECT}/calls?status=succeeded");
    wait_until(Duration::from_secs(30), "the calls end", async || {
        server.api.get(&url, "reader").await.json()["calls"].as_array().unwrap().len() == 3
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn discovery_says_which_versions_there_are() {
    let server = Server::start().await;
    let base = format!("http://{}", server.api_address);
    let version = json!({
        "id": "v1.0", "status": "CURRENT", "min_version": "1.0", "max_version": "1.1",
        "links": [
            {"rel": "self", "href": format!("{base}/v1/")},
            {"rel": "collection", "href": format!("{base}/")},
            {"rel": "functions", "href": "http://127.0.0.1:10002"},
        ],
    });
    assert_eq!(server.api.send("GET", "/", &[], "").await.json(), json!({"versions": [version]}));
    for path in ["/v1", "/v1/"] {
        assert_eq!(server.api.send("GET", path, &[], "").await.json(), json!({"version": version}));
    }
}

#[tokio::test]
async fn discovery_says_where_function_urls_begin() {
    let begin = async |api: ApiSettings, headers: &[(&str, &str)]| {
        let server = Server::start_with(Options { api, ..Options::default() }).await;
        let answer = server.api.send("GET", "/v1", headers, "").await.json();
        let links = answer["version"]["links"].as_array().unwrap().clone();
        links.into_iter().find(|link| link["rel"] == "functions").unwrap()["href"].clone()
    };
    let port = ApiSettings { functions_port: 12002, ..ApiSettings::default() };
    assert_eq!(begin(port.clone(), &[]).await, "http://127.0.0.1:12002");
    let named = begin(port.clone(), &[("host", "faas.example.org:10001")]).await;
    assert_eq!(named, "http://faas.example.org:12002", "the host that the client used");
    let base = Some("https://fn.example.org".to_owned());
    let configured = ApiSettings { functions_base: base, ..port };
    assert_eq!(begin(configured, &[]).await, "https://fn.example.org");
}
