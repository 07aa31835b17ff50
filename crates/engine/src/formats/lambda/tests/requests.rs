//! What a runtime may ask and post, with the status of each.

use super::*;

#[tokio::test]
async fn a_runtime_asks_answers_and_asks_again() {
    let (mut rig, mut runtime) = asking().await;
    let mut invocation = testing::invocation("/a");
    let id = invocation.call_id.to_string();
    invocation
        .headers
        .insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap());
    let call = rig.call_by(invocation);
    let (status, head, body) = runtime.answer().await;
    assert_eq!(status, 200);
    for header in [
        format!("lambda-runtime-aws-request-id: {id}\r\n"),
        "lambda-runtime-trace-id: root=1-4bf92f35-77b34da6a3ce929d0e0e4736;parent=00f067aa0ba902b7;sampled=1\r\n"
            .to_owned(),
        "lambda-runtime-invoked-function-arn: arn:picasso:lambda:".to_owned(),
        "content-type: application/json\r\n".to_owned(),
    ] {
        assert!(head.contains(&header), "{header} in {head}");
    }
    let ends = head.lines().find_map(|line| line.strip_prefix("lambda-runtime-deadline-ms: ")).unwrap();
    let left = ends.parse::<i64>().unwrap() - jiff::Timestamp::now().as_millisecond();
    assert!((0..=20_000).contains(&left), "{left} ms are left");
    assert!(!head.contains("client-context"));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap()["version"], "2.0");

    let (status, _, body) = runtime.post(&id, "response", r#"{"statusCode":201,"body":"done"}"#).await;
    assert_eq!((status, body.as_str()), (202, r#"{"status":"OK"}"#));
    let answer = answer_of(call).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.headers["content-length"], "4");
    assert_eq!(body_of(answer).await.unwrap(), "done");
    assert!(rig.returns.try_recv().is_err(), "the sandbox is busy until its runtime asks again");
    runtime.ask().await;
    assert!(rig.kept().await);
}

#[tokio::test]
async fn each_request_gets_the_contracts_status() {
    let running_state = r#""errorType":"InvalidStateTransition""#;
    let (_rig, mut runtime, id, _call) = running().await;
    let base = "/2018-06-01/runtime";
    let cases = [
        ("GET", "/ping", 200, "pong"),
        ("GET", "/2018-06-01/ping", 200, "pong"),
        ("GET", &format!("{base}/invocation/next"), 403, running_state),
        ("POST", &format!("{base}/init/error"), 403, running_state),
        ("GET", &format!("{base}/restore/next"), 403, running_state),
        ("POST", &format!("{base}/restore/error"), 403, running_state),
        ("POST", &format!("{base}/invocation/{id}x/response"), 400, r#""errorType":"InvalidRequestID""#),
        ("POST", &format!("{base}/invocation//error"), 400, r#""errorType":"InvalidRequestID""#),
        ("POST", &format!("{base}/invocation/{id}/other"), 404, "NotFound"),
        ("POST", &format!("{base}/invocation/{id}"), 404, "NotFound"),
        ("GET", "/2020-01-01/runtime/invocation/next", 404, "NotFound"),
        ("POST", "/2020-01-01/extension/register", 404, "NotFound"),
        ("GET", "/", 404, "NotFound"),
        ("POST", &format!("{base}/invocation/next"), 405, "GET only"),
        ("GET", &format!("{base}/init/error"), 405, "POST only"),
        ("GET", &format!("{base}/invocation/{id}/response"), 405, "POST only"),
        ("PUT", &format!("{base}/invocation/{id}/error"), 405, "POST only"),
    ];
    for (method, path, expected, text) in cases {
        let (status, head, body) = runtime.request(method, path, "", "").await;
        assert_eq!(status, expected, "{method} {path}: {body}");
        assert!(body.contains(text), "{method} {path}: {body}");
        assert!(status != 405 || head.contains("allow: "), "{head}");
    }
}

#[tokio::test]
async fn a_state_error_names_both_states() {
    let (_rig, mut runtime, _id, _call) = running().await;
    let (_, head, body) = runtime.request("GET", "/2018-06-01/runtime/invocation/next", "", "").await;
    assert!(head.contains("content-type: application/json"));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&body).unwrap()["errorMessage"],
        "State transition from Running to Ready failed for runtime. Error: State transition is not allowed"
    );
}

#[tokio::test]
async fn answers_before_the_first_call_are_refused() {
    let rig = Rig::new().await;
    let mut runtime = rig.connect().await;
    assert_eq!(runtime.post("id", "response", "{}").await.0, 400);
    assert_eq!(runtime.post("id", "error", "{}").await.0, 400);
}

#[tokio::test]
async fn an_init_error_is_told_and_nothing_follows_it() {
    let mut rig = Rig::new().await;
    let mut runtime = rig.connect().await;
    let body = r#"{"errorMessage":"No module named 'app'","errorType":"Runtime.ImportModuleError"}"#;
    let (status, _, text) = runtime.request("POST", "/2018-06-01/runtime/init/error", "", body).await;
    assert_eq!((status, text.as_str()), (202, r#"{"status":"OK"}"#));
    let reason = timeout(SOON, rig.initialised.take().unwrap()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(reason, "Runtime.ImportModuleError: No module named 'app'");
    assert_eq!(runtime.request("POST", "/2018-06-01/runtime/init/error", "", body).await.0, 403);
    assert_eq!(runtime.request("GET", "/2018-06-01/runtime/invocation/next", "", "").await.0, 403);
}

#[tokio::test]
async fn an_error_fails_its_call_and_the_sandbox_lives_on() {
    let (mut rig, mut runtime, id, call) = running().await;
    let body = r#"{"errorMessage":"no","errorType":"ValueError","stackTrace":["x"]}"#;
    assert_eq!(runtime.post(&id, "error", body).await.0, 202);
    let fault = fault_of(call).await;
    let LinkFault::Failed(Failure::FunctionError { error_type, message }) = fault else { panic!() };
    assert_eq!((error_type.as_str(), message.as_str()), ("ValueError", "no"));
    assert_eq!(runtime.post(&id, "error", body).await.0, 400, "it is answered already");
    runtime.ask().await;
    assert!(rig.kept().await);
}

#[tokio::test]
async fn a_second_or_late_answer_reaches_nobody() {
    let (mut rig, mut runtime, first, call) = running().await;
    assert_eq!(runtime.post(&first, "response", "\"one\"").await.0, 202);
    assert_eq!(body_of(answer_of(call).await).await.unwrap(), "\"one\"");
    assert_eq!(runtime.post(&first, "response", "\"again\"").await.0, 400);
    runtime.ask().await;
    assert!(rig.kept().await);
    let (second, call) = rig.call("two");
    runtime.answer().await;
    assert_eq!(runtime.post(&first, "response", "\"late\"").await.0, 400);
    assert_eq!(runtime.post(&first, "error", "{}").await.0, 400);
    assert_eq!(runtime.post(&second, "response", "\"two\"").await.0, 202);
    assert_eq!(body_of(answer_of(call).await).await.unwrap(), "\"two\"");
}

#[tokio::test]
async fn an_answer_while_another_of_the_same_call_is_read_is_a_state_error() {
    let (rig, mut runtime, id, call) = running().await;
    runtime.stream(&id, "Content-Type: text/plain\r\n").await;
    let answer = answer_of(call).await;
    let mut other = rig.connect().await;
    assert_eq!(other.post(&id, "response", "{}").await.0, 403);
    assert_eq!(other.request("GET", "/2018-06-01/runtime/invocation/next", "", "").await.0, 403);
    runtime.chunk(b"whole").await;
    runtime.send("0\r\n\r\n").await;
    assert_eq!(runtime.answer().await.0, 202);
    assert_eq!(body_of(answer).await.unwrap(), "whole");
}

#[tokio::test]
async fn a_result_that_is_no_valid_answer_fails_its_call_only() {
    let (mut rig, mut runtime, id, call) = running().await;
    assert_eq!(runtime.post(&id, "response", r#"{"statusCode":9}"#).await.0, 202);
    let LinkFault::Failed(Failure::BadAnswer { reason }) = fault_of(call).await else { panic!() };
    assert!(reason.contains("statusCode"), "{reason}");
    runtime.ask().await;
    assert!(rig.kept().await);
}

#[tokio::test]
async fn the_result_of_a_wrapped_run_is_taken_as_it_is() {
    let (rig, mut runtime) = asking().await;
    let mut invocation = testing::invocation("/a");
    invocation.trigger = Trigger::Run;
    let id = invocation.call_id.to_string();
    let call = rig.call_by(invocation);
    assert_eq!(runtime.answer().await.2, "{}");
    let result = r#"{"statusCode":500,"body":"x"}"#;
    assert_eq!(runtime.post(&id, "response", result).await.0, 202);
    let answer = answer_of(call).await;
    assert_eq!(answer.status, 200);
    assert_eq!(body_of(answer).await.unwrap(), result);
}

#[tokio::test]
async fn an_answer_over_the_limit_is_413_and_the_sandbox_lives_on() {
    let (mut rig, mut runtime, id, call) = running().await;
    let (status, _, body) = runtime.post(&id, "response", &"9".repeat(MAX_ANSWER + 1)).await;
    assert_eq!(status, 413);
    assert!(body.contains("RequestEntityTooLarge"), "{body}");
    let LinkFault::Failed(Failure::OutputTooLarge { limit_bytes }) = fault_of(call).await else { panic!() };
    assert_eq!(limit_bytes, MAX_ANSWER as u64);
    runtime.ask().await;
    assert!(rig.kept().await);
    let (id, call) = rig.call("");
    runtime.answer().await;
    assert_eq!(runtime.post(&id, "response", &"9".repeat(MAX_ANSWER)).await.0, 202);
    assert_eq!(body_of(answer_of(call).await).await.unwrap().len(), MAX_ANSWER);
}

#[tokio::test]
async fn an_unknown_response_mode_ends_the_sandbox() {
    let (mut rig, mut runtime, id, call) = running().await;
    let path = format!("/2018-06-01/runtime/invocation/{id}/response");
    let mode = "Lambda-Runtime-Function-Response-Mode: sometimes\r\n";
    let (status, _, body) = runtime.request("POST", &path, mode, "").await;
    assert_eq!(status, 400);
    assert!(body.contains("InvalidFunctionResponseMode"), "{body}");
    assert!(matches!(fault_of(call).await, LinkFault::BrokenOff(_)));
    assert!(!rig.kept().await);
}

#[tokio::test]
async fn a_truncated_answer_fails_its_call_at_once_and_ends_the_sandbox() {
    let (mut rig, mut runtime, id, call) = running().await;
    runtime
        .send(format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n\"ha"
        ))
        .await;
    runtime.0.shutdown().await.unwrap();
    assert!(matches!(fault_of(call).await, LinkFault::BrokenOff(_)));
    assert!(!rig.kept().await);
    // What the contract has for it, where the runtime still listens.
    let (status, _, body) = runtime.answer().await;
    assert_eq!(status, 400);
    assert!(body.contains("TruncatedHTTPRequest"), "{body}");
}
