//! Raw sockets: what no well-behaved client sends, and clients that go away.

use std::time::Duration;

use picasso_api::ServeLimits;
use picasso_testkit::process::wait_until;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Options, Server};

/// Everything that comes back until the server closes.
async fn answer(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.api_address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap().ok();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_request_with_both_lengths_is_refused_and_the_connection_closed() {
    let server = Server::start().await;
    let smuggled = "GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        let bytes = format!("POST /r/a/b HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n0\r\n\r\n{smuggled}");
        let answer = answer(&server, bytes.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("\"kind\":\"ambiguous_length\""), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
}

#[tokio::test]
async fn a_good_request_before_an_ambiguous_one_is_served() {
    let server = Server::start().await;
    let bytes = "GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n\
                 POST /r/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = answer(&server, bytes.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("HTTP/1.1 400 ") && answer.contains("ambiguous_length"), "{answer}");
}

#[tokio::test]
async fn two_lengths_and_lengths_that_are_none_are_refused() {
    let server = Server::start().await;
    for head in ["Content-Length: 5\r\nContent-Length: 6", "Content-Length: x", "Transfer-Encoding: gzip"] {
        let bytes = format!("POST /r/a/b HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\nhello!");
        assert!(answer(&server, bytes.as_bytes()).await.starts_with("HTTP/1.1 400 "), "{head}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_or_too_slow_is_given_up() {
    let limits = ServeLimits {
        header_timeout: Duration::from_millis(300),
        max_header_bytes: 8192,
        max_headers: 20,
        ..ServeLimits::default()
    };
    let server = Server::start_with(Options { limits, ..Options::default() }).await;
    let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(9000));
    assert!(answer(&server, large.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: 1\r\n".repeat(30));
    assert!(answer(&server, many.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    // The head never ends; the server does not wait for it.
    let slow = answer(&server, b"GET / HTTP/1.1\r\nHost: x\r\n").await;
    assert!(slow.is_empty() || slow.starts_with("HTTP/1.1 408 "), "{slow}");
}

#[tokio::test]
async fn connections_over_the_maximum_are_closed_at_once() {
    let limits = ServeLimits { max_connections: 2, ..ServeLimits::default() };
    let server = Server::start_with(Options { limits, ..Options::default() }).await;
    let first = TcpStream::connect(server.api_address).await.unwrap();
    let _second = TcpStream::connect(server.api_address).await.unwrap();
    assert_eq!(answer(&server, b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n").await, "");
    drop(first);
    let request = b"GET /healthcheck HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let has_room = async || answer(&server, request).await.starts_with("HTTP/1.1 200 ");
    wait_until(Duration::from_secs(10), "a free place", has_room).await.unwrap();
}

#[tokio::test]
async fn a_caller_who_hangs_up_ends_its_call() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "cat; exec sleep 60", json!({})).await;
    for (address, url) in
        [(server.functions_address, format!("/f/{app}/a")), (server.api_address, format!("/r/{app}/a"))]
    {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST {url} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let running = async || server.sandbox.running() == 1;
        wait_until(Duration::from_secs(10), "the call", running).await.unwrap();
        drop(stream);
        let gone = async || server.sandbox.running() == 0;
        wait_until(Duration::from_secs(10), "the end of the call", gone).await.unwrap();
    }
}

#[tokio::test]
async fn a_shutdown_lets_a_running_call_finish() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "cat; sleep 1; echo done", json!({})).await;
    let client = server.functions.clone();
    let call = tokio::spawn(async move { client.send("POST", &format!("/f/{app}/a"), &[], "hi ").await });
    wait_until(Duration::from_secs(10), "the call", async || server.sandbox.running() == 1).await.unwrap();
    server.shut_down();
    assert_eq!(call.await.unwrap().text(), "hi done\n");
    let refused = async || TcpStream::connect(server.functions_address).await.is_err();
    wait_until(Duration::from_secs(10), "the end of the listener", refused).await.unwrap();
}

#[tokio::test]
async fn who_sends_a_large_body_gets_the_refusal_and_no_broken_pipe() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.api_address).await.unwrap();
    let head =
        "PUT /v1/p/images/x:1 HTTP/1.1\r\nHost: x\r\nX-Auth-Token: bad\r\nContent-Length: 20000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // A simple client writes everything before it reads.
    stream.write_all(&vec![b'x'; 20_000_000]).await.unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 401 "));
}
