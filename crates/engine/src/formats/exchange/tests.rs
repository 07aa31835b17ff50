//! Exchanges with functions that behave well, badly and strangely, over real Unix sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::hot::lease::Holder;
use crate::invocation::Body;

const SOON: Duration = Duration::from_secs(20);

/// Tells what became of a lease.
#[derive(Debug)]
struct Told(mpsc::UnboundedSender<bool>);

impl Holder for Told {
    fn returned(&self, kept: bool) {
        let _ = self.0.send(kept);
    }
}

struct Call {
    function: UnixStream,
    ours: UnixStream,
    aftermath: Aftermath<UnixStream>,
    kept: mpsc::UnboundedReceiver<bool>,
}

fn call(patience: Option<Duration>) -> Call {
    let (function, ours) = UnixStream::pair().unwrap();
    let (sender, kept) = mpsc::unbounded_channel();
    let lease = Lease::new(Arc::new(Told(sender)));
    let patience = patience.map(|patience| Instant::now() + patience);
    Call { function, ours, aftermath: Aftermath { lease, patience, fit: |_| true, home: None }, kept }
}

async fn post(body: Body) -> Request<RequestBody> {
    let mut headers = HeaderMap::new();
    let body = RequestBody::take(&mut headers, body).await.unwrap();
    let mut request = Request::post("/call").header("host", "localhost").body(body).unwrap();
    request.headers_mut().extend(headers);
    request
}

fn nothing() -> Body {
    Box::pin(stream::empty())
}

/// Begins with `text`, never ends.
fn endless(text: &'static str) -> Body {
    Box::pin(stream::iter([Ok(Bytes::from_static(text.as_bytes()))]).chain(stream::pending()))
}

async fn read_head(function: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(function.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

async fn whole<S: Stream>(mut body: AnswerBody<S>) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    while let Some(piece) = body.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all)
}

async fn told(kept: &mut mpsc::UnboundedReceiver<bool>) -> bool {
    timeout(SOON, kept.recv()).await.unwrap().unwrap()
}

/// What becomes of a call without body that is answered with `bytes`, after which the function
/// closes its connection: the answer's body, and whether the sandbox was kept.
async fn answered_with(bytes: &'static [u8]) -> (Result<Result<Vec<u8>, Failure>, LinkFault>, bool) {
    let Call { mut function, ours, aftermath, mut kept } = call(None);
    let server = tokio::spawn(async move {
        read_head(&mut function).await;
        function.write_all(bytes).await.unwrap();
    });
    let outcome = match exchange(ours, post(nothing()).await, aftermath).await {
        Ok(response) => Ok(whole(response.into_body()).await),
        Err(fault) => Err(fault),
    };
    let _ = server.await;
    (outcome, told(&mut kept).await)
}

fn reason(fault: LinkFault) -> String {
    match fault {
        LinkFault::Failed(Failure::BadAnswer { reason }) | LinkFault::BrokenOff(reason) => reason,
        LinkFault::Failed(other) => other.to_string(),
        LinkFault::Body(error) => error.to_string(),
        LinkFault::Unsent(_) => "unsent".to_owned(),
    }
}

#[tokio::test]
async fn a_complete_answer_keeps_the_sandbox_however_its_length_is_said() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
    ] {
        let (answer, kept) = answered_with(bytes).await;
        assert_eq!(answer.ok().unwrap().unwrap(), b"hello");
        assert!(kept, "{}", String::from_utf8_lossy(bytes));
    }
    let (answer, kept) = answered_with(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(answer.ok().unwrap().unwrap(), b"");
    assert!(kept);
}

#[tokio::test]
async fn bytes_beyond_an_answer_reach_nobody_and_end_the_sandbox() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nmore",
    ] {
        let (answer, kept) = answered_with(bytes).await;
        assert_eq!(answer.ok().unwrap().unwrap(), b"hello");
        assert!(!kept);
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_an_error_and_ends_the_sandbox() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense",
    ] {
        let (answer, kept) = answered_with(bytes).await;
        let failure = answer.ok().unwrap().unwrap_err();
        assert_eq!(failure, Failure::BadAnswer { reason: "its answer was cut short".to_owned() });
        assert!(!kept);
    }
}

#[tokio::test]
async fn what_is_no_answer_says_why_and_ends_the_sandbox() {
    let large = format!("HTTP/1.1 200 OK\r\nX-Large: {}\r\n\r\n", "x".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Many: 1\r\n".repeat(101));
    for (bytes, expected) in [
        (&b""[..], "the function closed the connection before it answered"),
        (b"HTTP/1.1 200 O", "the function closed the connection before it answered"),
        (b"Hello, World!\r\n\r\n", "what it sent is not HTTP/1.1"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "it switched protocols, which nobody asked for"),
        (large.leak().as_bytes(), "its response header is too large (64 KiB and 100 headers are the limit)"),
        (many.leak().as_bytes(), "its response header is too large (64 KiB and 100 headers are the limit)"),
    ] {
        let (answer, kept) = answered_with(bytes).await;
        let told = answer.map_or_else(reason, |body| format!("{body:?}"));
        assert_eq!((told.as_str(), kept), (expected, false));
    }
}

#[tokio::test]
async fn an_answer_counts_that_comes_before_the_body_was_read_and_little_of_it_was_taken() {
    let Call { mut function, ours, aftermath, mut kept } = call(None);
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    let chunks = stream::repeat_with(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(Bytes::from(vec![7; 64 * 1024]))
    });
    let request = post(Box::pin(chunks.take(16 * 1024))).await;
    let server = tokio::spawn(async move {
        read_head(&mut function).await;
        function.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        function
    });
    let response = exchange(ours, request, aftermath).await.ok().unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(whole(response.into_body()).await.unwrap(), b"no");
    assert!(told(&mut kept).await);
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken <= 32, "{taken} pieces of 64 KiB were taken from the caller");
    drop(server.await.unwrap());
}

#[tokio::test]
async fn an_answer_counts_of_a_function_that_stopped_listening() {
    let Call { mut function, ours, aftermath, .. } = call(None);
    // The function has answered and gone before the first byte of the request is written.
    function.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
    drop(function);
    let request = post(Box::pin(stream::iter([Ok(Bytes::from_static(b"x"))]))).await;
    let response = exchange(ours, request, aftermath).await.ok().unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(whole(response.into_body()).await.unwrap(), b"no");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_callers_fault() {
    let Call { function, ours, aftermath, mut kept } = call(Some(SOON));
    let body = stream::iter([Ok(Bytes::from_static(b"a")), Ok(Bytes::from_static(b"b"))])
        .chain(stream::once(async { Err(BodyError::TooLarge(2)) }));
    let outcome = exchange(ours, post(Box::pin(body)).await, aftermath).await;
    assert!(matches!(outcome.err(), Some(LinkFault::Body(BodyError::TooLarge(2)))));
    assert!(!told(&mut kept).await);
    drop(function);
}

/// A call that its caller leaves once the function has seen the request's head.
async fn left_early(patience: Option<Duration>, body: Body) -> (UnixStream, mpsc::UnboundedReceiver<bool>) {
    let Call { mut function, ours, aftermath, kept } = call(patience);
    let request = post(body).await;
    let mut exchange = Box::pin(exchange(ours, request, aftermath));
    tokio::select! {
        _ = &mut exchange => panic!("nobody has answered"),
        _ = read_head(&mut function) => {}
    }
    drop(exchange);
    (function, kept)
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_is_read_and_the_sandbox_kept() {
    let (mut function, mut kept) = left_early(Some(SOON), nothing()).await;
    function.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel").await.unwrap();
    function.write_all(b"lo").await.unwrap();
    assert!(told(&mut kept).await);
}

#[tokio::test]
async fn an_answer_whose_caller_left_in_its_middle_is_read_and_the_sandbox_kept() {
    let Call { mut function, ours, aftermath, mut kept } = call(Some(SOON));
    function.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel").await.unwrap();
    let response = exchange(ours, post(nothing()).await, aftermath).await.ok().unwrap();
    let mut body = response.into_body();
    assert_eq!(body.next().await.unwrap().unwrap(), "hel");
    drop(body);
    function.write_all(b"lo").await.unwrap();
    assert!(told(&mut kept).await);
}

#[tokio::test]
async fn an_unwanted_answer_that_is_no_good_ends_the_sandbox() {
    let (mut function, mut kept) = left_early(Some(SOON), nothing()).await;
    function.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more").await.unwrap();
    assert!(!told(&mut kept).await);
}

#[tokio::test]
async fn an_unwanted_answer_that_does_not_come_until_the_deadline_ends_the_sandbox() {
    let (function, mut kept) = left_early(Some(Duration::from_millis(200)), nothing()).await;
    assert!(!told(&mut kept).await);
    drop(function);
}

#[tokio::test]
async fn a_caller_that_leaves_before_its_request_was_sent_costs_the_sandbox() {
    let (mut function, mut kept) = left_early(Some(SOON), endless("half")).await;
    assert!(!told(&mut kept).await);
    let mut rest = Vec::new();
    function.read_to_end(&mut rest).await.unwrap();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "half a body must not look like a whole one");
}

#[tokio::test]
async fn where_a_sandbox_serves_others_too_a_caller_that_leaves_closes_its_own_connection() {
    let (mut function, mut kept) = left_early(None, nothing()).await;
    assert!(!told(&mut kept).await);
    assert_eq!(function.read(&mut [0; 16]).await.unwrap(), 0);
}
