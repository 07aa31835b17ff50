//! Streamed answers.

use super::*;

#[tokio::test]
async fn a_streamed_head_goes_out_before_the_body_and_each_chunk_as_it_comes() {
    let (mut rig, mut runtime, id, call) = running().await;
    runtime.stream(&id, "Content-Type: application/vnd.awslambda.http-integration-response\r\n").await;
    runtime.chunk(br#"{"statusCode":206,"headers":{"x-a":"#).await;
    runtime.chunk(b"\"b\"}}\0\0\0\0\0\0\0").await;
    runtime.chunk(b"\0").await;
    let answer = answer_of(call).await;
    assert_eq!((answer.status.as_u16(), answer.headers["x-a"].to_str().unwrap()), (206, "b"));
    let mut body = answer.body;
    for text in ["one", "two"] {
        runtime.chunk(text.as_bytes()).await;
        assert_eq!(timeout(SOON, body.next()).await.unwrap().unwrap().unwrap(), text);
    }
    runtime.send("0\r\n\r\n").await;
    assert!(timeout(SOON, body.next()).await.unwrap().is_none());
    assert_eq!(runtime.answer().await.0, 202);
    runtime.ask().await;
    assert!(rig.kept().await);
}

#[tokio::test]
async fn a_stream_without_a_prelude_is_passed_on_as_bytes() {
    let (_rig, mut runtime, id, call) = running().await;
    runtime.stream(&id, "").await;
    runtime.chunk(b"{\"statusCode\":500}\0\0\0\0\0\0\0\0").await;
    runtime.send("0\r\n\r\n").await;
    let answer = answer_of(call).await;
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    assert_eq!(answer.status, 200);
    assert!(body_of(answer).await.unwrap().ends_with("}\0\0\0\0\0\0\0\0"));
}

#[tokio::test]
async fn error_trailers_cut_a_streamed_answer_short() {
    let (mut rig, mut runtime, id, call) = running().await;
    runtime
        .stream(&id, "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n")
        .await;
    runtime.chunk(b"half").await;
    let error = STANDARD.encode(r#"{"errorType":"Oops","errorMessage":"half way"}"#);
    runtime
        .send(format!(
            "0\r\nLambda-Runtime-Function-Error-Type: Function.Oops\r\n\
             Lambda-Runtime-Function-Error-Body: {error}\r\n\r\n"
        ))
        .await;
    let failure = body_of(answer_of(call).await).await.unwrap_err();
    assert_eq!(
        failure,
        Failure::FunctionError { error_type: "Oops".to_owned(), message: "half way".to_owned() }
    );
    assert_eq!(runtime.answer().await.0, 202);
    runtime.ask().await;
    assert!(rig.kept().await);
}

#[tokio::test]
async fn a_stream_that_ends_within_its_prelude_is_no_answer() {
    let (_rig, mut runtime, id, call) = running().await;
    runtime.stream(&id, "Content-Type: application/vnd.awslambda.http-integration-response\r\n").await;
    runtime.chunk(b"{\"statusCode\":200}\0\0").await;
    runtime.send("0\r\n\r\n").await;
    assert!(matches!(fault_of(call).await, LinkFault::Failed(Failure::BadAnswer { .. })));
    assert_eq!(runtime.answer().await.0, 202);
}

#[tokio::test]
async fn a_stream_whose_connection_breaks_is_never_taken_for_whole() {
    let (mut rig, mut runtime, id, call) = running().await;
    runtime.stream(&id, "").await;
    runtime.chunk(b"half").await;
    let answer = answer_of(call).await;
    drop(runtime);
    assert!(matches!(body_of(answer).await, Err(Failure::BadAnswer { .. })));
    assert!(!rig.kept().await);
}
