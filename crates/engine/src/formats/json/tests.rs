//! Calls over real pipes: what a well-behaved function sees, and what becomes of every other.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::pipe_kit::{Function, MAX_BODY, SOON, Sandbox, sentence, text};
use super::*;

/// The next request of a function.
fn request(function: &mut Function) -> Option<Value> {
    Some(serde_json::from_str(&function.line()?).unwrap())
}

/// Answers each request with its own body, and goes on until its input ends.
fn echo(mut function: Function) {
    while let Some(request) = request(&mut function) {
        function.say(&json!({"body": request["body"]}).to_string());
        function.say("\n");
    }
}

#[tokio::test]
async fn one_sandbox_answers_call_after_call() {
    let mut sandbox = Sandbox::start(Json, echo).await;
    for body in ["", "one", "zwölf\n\"quoted\"", "}\n{"] {
        assert_eq!(sandbox.answered(body).await, body);
    }
    assert_eq!(sandbox.leases.ended(4).await, [true; 4]);
    sandbox.link.close();
    sandbox.joined();
}

#[tokio::test]
async fn status_and_headers_are_the_functions() {
    let sandbox = Sandbox::start(Json, |mut function| {
        request(&mut function);
        function.say("  {\"status\": 418,\n \"headers\": {\"X-Tea\": \"green\"}, \"body\": {\"a\": 1}}\n\n");
    })
    .await;
    let answer = sandbox.call("").await.ok().unwrap();
    assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(answer.headers["x-tea"], "green");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(text(answer).await.unwrap(), "{\"a\": 1}");
}

#[tokio::test]
async fn a_body_over_the_limit_reaches_no_function_and_harms_none() {
    let sandbox = Sandbox::start(Json, echo).await;
    let long = "x".repeat(usize::try_from(MAX_BODY).unwrap() + 1);
    assert_eq!(sandbox.failed(&long).await, BodyError::TooLarge(MAX_BODY).to_string());
    assert_eq!(sandbox.answered(&long[1..]).await, long[1..]);
    assert_eq!(sandbox.leases.ended(2).await, [true, true]);
}

#[tokio::test]
async fn a_caller_who_goes_while_sending_leaves_the_sandbox_as_it_was() {
    let sandbox = Sandbox::start(Json, echo).await;
    let mut invocation = crate::testing::invocation("/a");
    invocation.body = Box::pin(stream::iter([Ok(Bytes::from_static(b"a"))]).chain(stream::pending()));
    let call = HotCall { invocation, deadline: Instant::now() + SOON };
    let gone = tokio::time::timeout(Duration::from_millis(20), sandbox.link.call(call, sandbox.lease()));
    assert!(gone.await.is_err());
    assert_eq!(sandbox.leases.ended(1).await, [true]);
    assert_eq!(sandbox.answered("next").await, "next");
}

#[tokio::test]
async fn what_a_function_says_before_its_first_request_fails_the_call_and_is_shown_to_nobody() {
    for before_reading in [true, false] {
        let sandbox = Sandbox::start(Json, move |mut function| {
            if !before_reading {
                function.exactly(1);
            }
            function.say("{\"body\": \"secret\"}\n");
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
async fn a_second_answer_ends_the_sandbox_and_is_never_the_next_ones() {
    let sandbox = Sandbox::start(Json, |mut function| {
        request(&mut function);
        function.say("{\"body\":\"first\"}\n{\"body\":\"second\"}\n");
        while function.line().is_some() {}
    })
    .await;
    assert!(sandbox.failed("").await.contains("more than one JSON document"));
    assert_eq!(sandbox.leases.ended(1).await, [false]);
}

#[tokio::test]
async fn a_late_second_answer_sends_the_next_call_to_another_sandbox() {
    let (late, wait) = std::sync::mpsc::channel();
    let (said, heard) = std::sync::mpsc::channel();
    let sandbox = Sandbox::start(Json, move |mut function| {
        request(&mut function);
        function.say("{\"body\":\"first\"}\n");
        wait.recv().unwrap();
        function.say("{\"body\":\"second\"}\n");
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
async fn an_answer_before_the_whole_request_was_read_fails_the_call() {
    let sandbox = Sandbox::start(Json, |mut function| {
        request(&mut function);
        function.say("{\"body\":\"first\"}\n");
        // The next request has begun to come, and is answered with something of the first.
        function.exactly(1);
        function.say("{\"body\":\"first again\"}\n");
        while function.line().is_some() {}
    })
    .await;
    assert_eq!(sandbox.answered("").await, "first");
    assert!(sandbox.failed("").await.contains("without being asked"));
    assert_eq!(sandbox.leases.ended(2).await, [true, false]);
}

#[tokio::test]
async fn each_broken_answer_is_told_in_a_sentence_without_its_bytes() {
    for (answer, part) in [
        ("secret\n", "an answer begins with \"{\""),
        ("{\"body\": secret}\n", "is not valid JSON, at line 1"),
        ("{\"call_id\": \"secret\"}", "`call_id`"),
        ("{\"body\": \"secre", "closed its stdin or stdout, or ended"),
        ("", "closed its stdin or stdout, or ended"),
    ] {
        let sandbox = Sandbox::start(Json, move |mut function| {
            request(&mut function);
            function.say(answer);
        })
        .await;
        let fault = sandbox.failed("").await;
        assert!(fault.contains(part), "{answer}: {fault}");
        assert!(!fault.contains("secre"), "{fault}");
        assert_eq!(sandbox.leases.ended(1).await, [false]);
    }
}

#[tokio::test]
async fn an_endless_answer_is_given_up_at_its_limit() {
    let sandbox = Sandbox::start(Json, |mut function| {
        use std::io::Write;
        request(&mut function);
        function.say("{\"body\":\"");
        while function.stdout.write_all(&[b'x'; 4096]).is_ok() {}
    })
    .await;
    let limit = Failure::OutputTooLarge { limit_bytes: MAX_BODY };
    assert_eq!(sandbox.failed("").await, limit.to_string());
    assert_eq!(sandbox.leases.ended(1).await, [false]);
}

#[tokio::test]
async fn a_function_whose_caller_hung_up_finishes_and_lives_on() {
    let (go, wait) = std::sync::mpsc::channel();
    let sandbox = Sandbox::start(Json, move |mut function| {
        request(&mut function);
        wait.recv().unwrap();
        function.say("{\"body\":\"for nobody\"}\n");
        echo(function);
    })
    .await;
    let hung_up = tokio::time::timeout(Duration::from_millis(50), sandbox.call("first"));
    assert!(hung_up.await.is_err());
    go.send(()).unwrap();
    assert_eq!(sandbox.leases.ended(1).await, [true]);
    assert_eq!(sandbox.answered("second").await, "second");
}

#[tokio::test]
async fn at_the_deadline_the_sandbox_is_given_up() {
    let sandbox = Sandbox::start(Json, |mut function| while function.line().is_some() {}).await;
    let fault = sandbox.call_until("", Instant::now() + Duration::from_millis(20)).await;
    assert_eq!(sentence(fault.err().unwrap()), Failure::Timeout { limit_s: 30 }.to_string());
    assert_eq!(sandbox.leases.ended(1).await, [false]);
}

#[tokio::test]
async fn a_process_that_ended_while_idle_has_seen_nothing_of_the_next_call() {
    let mut sandbox = Sandbox::start(Json, |mut function| {
        request(&mut function);
        function.say("{\"body\":\"only one\"}\n");
    })
    .await;
    assert_eq!(sandbox.answered("").await, "only one");
    sandbox.joined();
    let mut invocation = crate::testing::invocation("/a");
    invocation.body = Box::pin(stream::iter([Ok(Bytes::from_static(b"whole"))]));
    let call = HotCall { invocation, deadline: Instant::now() + SOON };
    let Err(LinkFault::Unsent(mut call)) = sandbox.link.call(call, sandbox.lease()).await.map(drop) else {
        panic!("another sandbox may take it");
    };
    assert_eq!(collect(&mut call.invocation.body, MAX_BODY).await.unwrap(), "whole");
}
