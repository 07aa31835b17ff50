//! Calls over real pipes: what a well-behaved function sees, and what becomes of every other.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use tokio::time::Instant;

use super::super::pipe_kit::{Function, SOON, Sandbox, sentence, text};
use super::*;
use crate::invocation::BodyError;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: ";

/// The next request's head, up to its empty line.
fn head(function: &mut Function) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push_str(&function.line()?);
    }
    Some(head)
}

/// The next request: its head and as much body as that says.
fn request(function: &mut Function) -> Option<(String, Vec<u8>)> {
    let head = head(function)?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    let body = function.exactly(length.parse().unwrap());
    Some((head, body))
}

/// Answers each request with its own body, and goes on until its input ends.
fn echo(mut function: Function) {
    while let Some((_, body)) = request(&mut function) {
        function.say(&format!("{OK}{}\r\n\r\n", body.len()));
        function.stdout.write_all(&body).unwrap();
    }
}

#[tokio::test]
async fn one_sandbox_answers_call_after_call() {
    let mut sandbox = Sandbox::start(Http, echo).await;
    let long = "0123456789".repeat(50_000);
    for body in ["", "one", "GET / HTTP/1.1\r\n\r\n", &long, "\r\n\r\n"] {
        assert_eq!(sandbox.answered(body).await, body);
    }
    assert_eq!(sandbox.leases.ended(5).await, [true; 5]);
    sandbox.link.close();
    sandbox.joined();
}

#[tokio::test]
async fn status_and_headers_are_the_functions_and_its_connection_its_own() {
    let sandbox = Sandbox::start(Http, |mut function| {
        let (head, _) = request(&mut function).unwrap();
        assert!(head.starts_with("POST /f/app/a HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nTask-Id: ") && head.contains("\r\nRequest_url: http://"), "{head}");
        function.say("HTTP/1.1 418 Teapot\r\nTransfer-Encoding: chunked\r\nX-Tea: green\r\n\r\n");
        function.say("3\r\none\r\n");
        function.say("3\r\ntwo\r\n0\r\n\r\n");
        echo(function);
    })
    .await;
    let answer = sandbox.call("").await.ok().unwrap();
    assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(answer.headers["x-tea"], "green");
    assert_eq!(answer.headers.len(), 1);
    assert_eq!(text(answer).await.unwrap(), "onetwo");
    assert_eq!(sandbox.answered("next").await, "next");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_chunked_and_flows_both_ways_at_once() {
    let sandbox = Sandbox::start(Http, |mut function| {
        let head = head(&mut function).unwrap();
        assert!(head.contains("\r\nTransfer-Encoding: chunked\r\n"), "{head}");
        function.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        loop {
            let size = function.line().unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let part = function.exactly(size);
            function.line();
            function.say(&format!("{size:x}\r\n{}\r\n", String::from_utf8(part).unwrap()));
            if size == 0 {
                return echo(function);
            }
        }
    })
    .await;
    let (sender, receiver) = mpsc::channel(1);
    let mut invocation = crate::testing::invocation("/a");
    invocation.body = Box::pin(stream::unfold(receiver, |mut receiver| async {
        let part: Bytes = receiver.recv().await?;
        Some((Ok(part), receiver))
    }));
    sender.send(Bytes::from_static(b"one")).await.unwrap();
    let call = HotCall { invocation, deadline: Instant::now() + SOON };
    let mut answer = sandbox.link.call(call, sandbox.lease()).await.ok().unwrap();
    assert_eq!(answer.body.next().await.unwrap().unwrap(), "one", "before the request has ended");
    sender.send(Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(answer.body.next().await.unwrap().unwrap(), "two");
    drop(sender);
    assert!(answer.body.next().await.is_none());
    assert_eq!(sandbox.answered("next").await, "next");
    assert_eq!(sandbox.leases.ended(2).await, [true, true]);
}

#[tokio::test]
async fn what_a_function_says_before_it_read_the_request_fails_the_call_and_is_shown_to_nobody() {
    for bytes_read in [0, 1, 40] {
        let sandbox = Sandbox::start(Http, move |mut function| {
            function.exactly(bytes_read);
            function.say(&format!("{OK}6\r\n\r\nsecret"));
            while function.line().is_some() {}
        })
        .await;
        let fault = sandbox.failed("mine").await;
        assert!(fault.contains("without being asked"), "{fault}");
        assert!(!fault.contains("secret"));
        assert_eq!(sandbox.leases.ended(1).await, [false]);
    }
}

#[tokio::test]
async fn bytes_beyond_the_answer_end_the_sandbox() {
    let sandbox = Sandbox::start(Http, |mut function| {
        request(&mut function);
        function.say(&format!("{OK}2\r\n\r\nok{OK}2\r\n\r\nno"));
        while function.line().is_some() {}
    })
    .await;
    assert!(sandbox.failed("").await.contains("more than one answer"));
    assert_eq!(sandbox.leases.ended(1).await, [false]);
}

#[tokio::test]
async fn a_late_second_answer_sends_the_next_call_to_another_sandbox() {
    let (late, wait) = std::sync::mpsc::channel();
    let (said, heard) = std::sync::mpsc::channel();
    let sandbox = Sandbox::start(Http, move |mut function| {
        request(&mut function);
        function.say(&format!("{OK}5\r\n\r\nfirst"));
        wait.recv().unwrap();
        function.say(&format!("{OK}6\r\n\r\nsecond"));
        said.send(()).unwrap();
        while function.line().is_some() {}
    })
    .await;
    assert_eq!(sandbox.answered("").await, "first");
    late.send(()).unwrap();
    heard.recv().unwrap();
    assert_eq!(sandbox.failed("").await, "unsent");
    assert_eq!(sandbox.leases.ended(2).await, [true, false]);
}

#[tokio::test]
async fn a_function_that_leaves_a_body_unread_takes_no_other_call() {
    let sandbox = Sandbox::start(Http, |mut function| {
        head(&mut function);
        function.say(&format!("{OK}2\r\n\r\nok"));
        // More than any buffer of its own holds: the rest would begin the next request.
        std::thread::park();
    })
    .await;
    let fault = sandbox.failed(&"GET / HTTP/1.1\r\n\r\n".repeat(2000)).await;
    assert!(fault.contains("did not read the whole"), "{fault}");
    assert_eq!(sandbox.leases.ended(1).await, [false]);
    sandbox.function.unwrap().thread().unpark();
}

#[tokio::test]
async fn each_broken_answer_is_told_in_a_sentence_without_its_bytes() {
    let long = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(100_000));
    for (answer, part) in [
        ("secret\r\n\r\n".to_owned(), "is not HTTP/1.1"),
        (long, "longer than 65536 bytes"),
        ("HTTP/1.1 200 OK\r\n\r\nsecret".to_owned(), "neither Content-Length nor"),
        ("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_owned(), "status"),
        ("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n".to_owned(), "status"),
        (format!("{OK}6\r\nContent-Length: 7\r\n\r\nsecret"), "is not HTTP/1.1"),
        (format!("{OK}10\r\n\r\nsecret"), "closed its stdin or stdout, or ended"),
        (format!("{OK}6\r\nTask-ID: another\r\n\r\nsecret"), "call id"),
        (String::new(), "closed its stdin or stdout, or ended"),
    ] {
        let shown = answer.clone();
        let sandbox = Sandbox::start(Http, move |mut function| {
            request(&mut function);
            let _ = function.stdout.write_all(answer.as_bytes());
        })
        .await;
        let fault = sandbox.failed("").await;
        assert!(fault.contains(part), "{shown:.60}: {fault}");
        assert!(!fault.contains("secret"), "{fault}");
        assert_eq!(sandbox.leases.ended(1).await, [false]);
    }
}

#[tokio::test]
async fn a_function_that_says_it_closes_is_not_asked_again() {
    for answer in ["HTTP/1.1 200 OK\r\nConnection: close\r\n", "HTTP/1.0 200 OK\r\n"] {
        let sandbox = Sandbox::start(Http, move |mut function| {
            request(&mut function);
            function.say(&format!("{answer}Content-Length: 2\r\n\r\nok"));
            while function.line().is_some() {}
        })
        .await;
        assert_eq!(sandbox.answered("").await, "ok");
        assert_eq!(sandbox.leases.ended(1).await, [false]);
    }
}

#[tokio::test]
async fn a_function_whose_caller_hung_up_finishes_and_lives_on() {
    let sandbox = Sandbox::start(Http, |mut function| {
        request(&mut function);
        function.say(&format!("{OK}1000000\r\n\r\n"));
        function.say(&"x".repeat(1_000_000));
        echo(function);
    })
    .await;
    let answer = sandbox.call("first").await.ok().unwrap();
    drop(answer);
    assert_eq!(sandbox.leases.ended(1).await, [true]);
    assert_eq!(sandbox.answered("second").await, "second");
}

#[tokio::test]
async fn a_caller_who_goes_in_the_middle_of_the_body_ends_the_sandbox() {
    let sandbox = Sandbox::start(Http, |mut function| while function.line().is_some() {}).await;
    let mut invocation = crate::testing::invocation("/a");
    let parts = [Ok(Bytes::from_static(b"part")), Err(BodyError::Aborted)];
    invocation.body = Box::pin(stream::iter(parts));
    let call = HotCall { invocation, deadline: Instant::now() + SOON };
    let fault = sandbox.link.call(call, sandbox.lease()).await.err().unwrap();
    assert_eq!(sentence(fault), BodyError::Aborted.to_string());
    assert_eq!(sandbox.leases.ended(1).await, [false]);
}

#[tokio::test]
async fn at_the_deadline_an_answer_is_cut_short_and_the_sandbox_given_up() {
    let sandbox = Sandbox::start(Http, |mut function| {
        request(&mut function);
        function.say(&format!("{OK}10\r\n\r\nhalf"));
        while function.line().is_some() {}
    })
    .await;
    let answer = sandbox.call_until("", Instant::now() + Duration::from_millis(300)).await.ok().unwrap();
    assert_eq!(text(answer).await.unwrap_err(), Failure::Timeout { limit_s: 30 }.to_string());
    assert_eq!(sandbox.leases.ended(1).await, [false]);
}
