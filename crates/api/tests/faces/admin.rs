//! The admin socket and the admin listener.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use picasso_api::{ApiSettings, ServeLimits, UnixPeers, admin_router, admin_socket_router, serve_unix};
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::support::{Options, PROJECT, Server};

async fn ask(socket: &Path, method: &str, path: &str, body: Vec<u8>) -> Result<(u16, Value), String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).body(Full::new(Bytes::from(body))).unwrap();
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok((status, serde_json::from_slice(&body).unwrap()))
}

fn serve(server: &Server, socket: &Path, users: Vec<u32>) {
    let listener = UnixListener::bind(socket).unwrap();
    let router = admin_socket_router(server.state.clone());
    tokio::spawn(serve_unix(
        listener,
        UnixPeers::Users(users),
        router,
        ServeLimits::default(),
        CancellationToken::new(),
    ));
}

#[tokio::test]
async fn images_for_all_projects_are_kept_over_the_socket() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    serve(&server, &socket, vec![rustix::process::geteuid().as_raw()]);
    let (status, loaded) = ask(&socket, "PUT", "/images/tool:1", server.image_tar("true")).await.unwrap();
    assert_eq!((status, &loaded["image"]["shared"]), (200, &json!(true)), "{loaded}");
    let (_, listed) = ask(&socket, "GET", "/images", Vec::new()).await.unwrap();
    assert_eq!(listed["images"][0]["name"], "tool:1");
    let seen = server.api.get(&format!("/v1/{PROJECT}/images"), "reader").await.json();
    assert_eq!(seen["images"][0]["name"], "tool:1");
    let theirs = server.api.delete(&format!("/v1/{PROJECT}/images/tool:1"), "member").await;
    assert_eq!(theirs.status, 404, "a project removed the operator's image");
    let (status, _) = ask(&socket, "DELETE", "/images/tool:1", Vec::new()).await.unwrap();
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_user_without_the_right_to_it_gets_no_answer() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    serve(&server, &socket, vec![rustix::process::geteuid().as_raw() + 1]);
    assert!(ask(&socket, "GET", "/images", Vec::new()).await.is_err());
}

#[tokio::test]
async fn the_admin_listener_shows_metrics_and_health_and_changes_nothing() {
    let server = Server::start().await;
    let router = admin_router(server.state.clone(), Arc::new(|| "picasso_up 1\n".to_owned()));
    let get = async |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).body(axum::body::Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(get("GET", "/metrics").await, (200, "picasso_up 1\n".to_owned()));
    assert_eq!(get("GET", "/healthcheck").await, (200, "OK".to_owned()));
    assert_eq!(get("GET", "/images").await.0, 404);
    assert_eq!(get("PUT", "/images/x:1").await.0, 404);
}

#[tokio::test]
async fn a_node_is_drained_by_a_file_and_told_so_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("drain");
    let api = ApiSettings { drain_file: Some(file.clone()), ..ApiSettings::default() };
    let server = Server::start_with(Options { api, ..Options::default() }).await;
    let ask = async |method, accept| server.api.send(method, "/healthcheck", &[("accept", accept)], "").await;
    assert_eq!(ask("GET", "text/plain").await.text(), "OK");
    std::fs::write(&file, "").unwrap();
    let drained = ask("GET", "text/plain").await;
    assert_eq!((drained.status, drained.text().as_str()), (503, "DISABLED BY FILE"));
    assert_eq!(drained.header("picasso-error-kind"), "unhealthy");
    let drained = ask("GET", "application/json").await;
    assert_eq!(drained.status, 503);
    assert_eq!(drained.json(), json!({"detailed": false, "reasons": ["DISABLED BY FILE"]}));
    assert_eq!(ask("HEAD", "*/*").await.status, 503);
    assert_eq!(
        server.api.get(&format!("/v1/{PROJECT}/apps"), "reader").await.status,
        200,
        "it still answers"
    );
    std::fs::remove_file(&file).unwrap();
    assert_eq!(ask("HEAD", "*/*").await.status, 204);
}

#[tokio::test]
async fn a_health_check_is_for_the_addresses_that_the_operator_names() {
    for (range, status) in [("127.0.0.0/8", 200), ("10.0.0.0/8", 404)] {
        let api = ApiSettings { health_sources: vec![range.parse().unwrap()], ..ApiSettings::default() };
        let server = Server::start_with(Options { api, ..Options::default() }).await;
        assert_eq!(server.api.send("GET", "/healthcheck", &[], "").await.status, status, "{range}");
    }
}
