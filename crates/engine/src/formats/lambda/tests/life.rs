//! What becomes of a sandbox when its caller, its runtime or its connections go.

use super::*;

#[tokio::test]
async fn a_caller_who_hangs_up_costs_no_sandbox() {
    let (mut rig, mut runtime, id, call) = running().await;
    call.abort();
    assert!(call.await.err().unwrap().is_cancelled());
    runtime.stream(&id, "").await;
    for _ in 0..100 {
        runtime.chunk(&[b'x'; 1000]).await;
    }
    runtime.send("0\r\n\r\n").await;
    assert_eq!(runtime.answer().await.0, 202);
    runtime.ask().await;
    assert!(rig.kept().await);
}

#[tokio::test]
async fn a_runtime_that_never_answers_is_given_up_at_the_deadline() {
    let (mut rig, mut runtime) = asking().await;
    let invocation = testing::invocation("/a");
    let call = rig.call_until(invocation, Instant::now() + Duration::from_millis(50));
    runtime.answer().await;
    assert!(!rig.kept().await);
    // Its caller enforces the deadline itself.
    assert!(!call.is_finished());
    call.abort();
}

#[tokio::test]
async fn the_end_of_a_process_ends_its_call_at_once() {
    let (mut rig, runtime, _id, call) = running().await;
    drop(runtime);
    rig.link.ended();
    assert!(matches!(fault_of(call).await, LinkFault::BrokenOff(_)));
    assert!(!rig.kept().await);
    let (_, call) = rig.call("next");
    assert!(matches!(fault_of(call).await, LinkFault::Unsent(_)));
}

#[tokio::test]
async fn what_a_process_wrote_before_its_end_counts() {
    let (rig, mut runtime, id, call) = running().await;
    let mut other = rig.connect().await;
    rig.link.ended();
    runtime.stream(&id, "").await;
    runtime.chunk(b"last words").await;
    runtime.send("0\r\n\r\n").await;
    assert_eq!(runtime.answer().await.0, 202);
    drop(runtime);
    assert_eq!(body_of(answer_of(call).await).await.unwrap(), "last words");
    assert_eq!(other.request("GET", "/ping", "", "").await.0, 200, "a connection that waited is served");
}

#[tokio::test]
async fn a_dropped_link_drops_calls_and_connections() {
    let (rig, mut runtime, _id, call) = running().await;
    call.abort();
    let _ = call.await;
    let Rig { link, mut returns, .. } = rig;
    drop(link);
    assert_eq!(timeout(SOON, returns.recv()).await.unwrap(), Some(false));
    runtime.closed().await;
}

#[tokio::test]
async fn a_call_that_was_not_sent_leaves_its_sandbox_fit() {
    let (mut rig, mut runtime) = asking().await;
    let mut invocation = testing::invocation("/a");
    invocation.body = Box::pin(futures_util::stream::iter([Err(BodyError::Aborted)]));
    assert!(matches!(fault_of(rig.call_by(invocation)).await, LinkFault::Body(BodyError::Aborted)));
    assert!(rig.kept().await);

    let mut invocation = testing::invocation("/a");
    let chunk = Bytes::from(vec![0; MAX_BODY / 6]);
    invocation.body = Box::pin(futures_util::stream::iter(vec![Ok(chunk); 7]));
    assert!(matches!(fault_of(rig.call_by(invocation)).await, LinkFault::Body(BodyError::TooLarge(_))));
    assert!(rig.kept().await);

    let mut invocation = testing::invocation("/a");
    invocation.headers.insert("content-length", (MAX_BODY + 1).into());
    invocation.body = Box::pin(futures_util::stream::pending());
    assert!(matches!(fault_of(rig.call_by(invocation)).await, LinkFault::Body(BodyError::TooLarge(_))));
    assert!(rig.kept().await);

    let (id, call) = rig.call("now");
    runtime.answer().await;
    assert_eq!(runtime.post(&id, "response", "1").await.0, 202);
    assert_eq!(body_of(answer_of(call).await).await.unwrap(), "1");
}

#[tokio::test]
async fn a_runtime_that_lost_its_connection_asks_on_another() {
    let (mut rig, mut runtime) = asking().await;
    let mut again = rig.connect().await;
    again.ask().await;
    assert_eq!(runtime.answer().await.0, 403, "the newest question counts");
    let (id, call) = rig.call("x");
    assert_eq!(again.answer().await.0, 200);
    assert_eq!(again.post(&id, "response", "1").await.0, 202);
    assert_eq!(body_of(answer_of(call).await).await.unwrap(), "1");
    again.ask().await;
    assert!(rig.kept().await);
}

#[tokio::test]
async fn a_call_for_a_runtime_that_is_gone_goes_to_another_sandbox() {
    let (mut rig, mut runtime) = asking().await;
    runtime.0.shutdown().await.unwrap();
    runtime.closed().await;
    drop(runtime);
    let (id, call) = rig.call("keep me");
    let LinkFault::Unsent(call) = fault_of(call).await else { panic!("it was sent") };
    assert_eq!(call.invocation.call_id.as_str(), id);
    let body: Vec<_> = call.invocation.body.collect().await;
    assert_eq!(body, [Ok(Bytes::from("keep me"))]);
    assert!(!rig.kept().await);
}

#[tokio::test]
async fn connections_left_open_make_room_for_the_runtime() {
    let (rig, mut runtime) = asking().await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        let mut half = rig.connect().await;
        half.send("POST /2018-06-01/runtime/invo").await;
        idle.push(half);
    }
    let (id, call) = rig.call("x");
    assert_eq!(runtime.answer().await.0, 200);
    let mut other = rig.connect().await;
    assert_eq!(other.post(&id, "response", "1").await.0, 202);
    assert_eq!(body_of(answer_of(call).await).await.unwrap(), "1");
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let rig = Rig::new().await;
    let mut runtime = rig.connect().await;
    let mut head = b"GET /ping HTTP/1.1\r\nHost: x\r\nX-Big: ".to_vec();
    head.resize(256 * 1024, b'x');
    // The refusal may come before all of it is written.
    let _ = runtime.0.write_all(&head).await;
    assert_eq!(runtime.answer().await.0, 431);
}
