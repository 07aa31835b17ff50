//! The Runtime API over a real listener, spoken to with raw requests: what a runtime may do, what
//! it may not, and what its caller gets either way.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt;
use picasso_types::{Failure, Trigger};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::link::LambdaLink;
use super::session::{Initialised, Session};
use crate::hot::lease::{Holder, Lease};
use crate::hot::link::{HotAnswer, HotCall, Link, LinkFault};
use crate::invocation::{BodyError, Invocation};
use crate::testing;

/// The largest body of a call here.
const MAX_BODY: usize = 64 * 1024;
const MAX_ANSWER: usize = MAX_BODY + super::ANSWER_EXTRA;

/// Longer than anything here takes; a test that waits for it has failed.
const SOON: Duration = Duration::from_secs(20);

/// Notes what becomes of leases.
#[derive(Debug)]
struct Returns(mpsc::UnboundedSender<bool>);

impl Holder for Returns {
    fn returned(&self, kept: bool) {
        self.0.send(kept).unwrap();
    }
}

/// A sandbox without a sandbox: the endpoint and a pool that has just this one.
struct Rig {
    link: Arc<LambdaLink>,
    address: std::net::SocketAddr,
    initialised: Option<oneshot::Receiver<Initialised>>,
    holder: Arc<Returns>,
    returns: mpsc::UnboundedReceiver<bool>,
}

impl Rig {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (session, initialised) = Session::new(MAX_ANSWER);
        let link = Arc::new(LambdaLink::serve(listener, session, &testing::target("/a"), MAX_BODY));
        let (sender, returns) = mpsc::unbounded_channel();
        Self { link, address, initialised: Some(initialised), holder: Arc::new(Returns(sender)), returns }
    }

    async fn connect(&self) -> Runtime {
        Runtime(TcpStream::connect(self.address).await.unwrap())
    }

    fn call_by(&self, invocation: Invocation) -> JoinHandle<Result<HotAnswer, LinkFault>> {
        self.call_until(invocation, Instant::now() + SOON)
    }

    fn call_until(
        &self,
        invocation: Invocation,
        deadline: Instant,
    ) -> JoinHandle<Result<HotAnswer, LinkFault>> {
        let (link, lease) = (self.link.clone(), Lease::new(self.holder.clone()));
        tokio::spawn(async move { link.call(HotCall { invocation, deadline }, lease).await })
    }

    /// A call with a body, and its id.
    fn call(&self, body: &'static str) -> (String, JoinHandle<Result<HotAnswer, LinkFault>>) {
        let mut invocation = testing::invocation("/a");
        invocation.body = Box::pin(futures_util::stream::iter([Ok(Bytes::from(body))]));
        (invocation.call_id.to_string(), self.call_by(invocation))
    }

    /// Whether the next lease that comes back was kept.
    async fn kept(&mut self) -> bool {
        timeout(SOON, self.returns.recv()).await.unwrap().unwrap()
    }
}

/// A connection of a runtime.
struct Runtime(TcpStream);

impl Runtime {
    async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.0.write_all(text.as_ref()).await.unwrap();
    }

    /// The next answer: status, headers in lower case, body.
    async fn answer(&mut self) -> (u16, String, String) {
        timeout(SOON, async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            self.0.read_exact(&mut body).await.unwrap();
            (head[9..12].parse().unwrap(), head, String::from_utf8(body).unwrap())
        })
        .await
        .unwrap()
    }

    async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> (u16, String, String) {
        let length = body.len();
        self.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ))
        .await;
        self.answer().await
    }

    async fn ask(&mut self) {
        self.send("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n").await;
    }

    async fn post(&mut self, id: &str, kind: &str, body: &str) -> (u16, String, String) {
        self.request("POST", &format!("/2018-06-01/runtime/invocation/{id}/{kind}"), "", body).await
    }

    /// Begins a streamed answer.
    async fn stream(&mut self, id: &str, headers: &str) {
        self.send(format!(
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: x\r\n\
             Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n{headers}\r\n"
        ))
        .await;
    }

    async fn chunk(&mut self, data: &[u8]) {
        self.send(format!("{:x}\r\n", data.len())).await;
        self.send(data).await;
        self.send("\r\n").await;
    }

    /// Waits until the other side has closed the connection.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is as good an end.
        let _ = timeout(SOON, self.0.read_to_end(&mut rest)).await.unwrap();
    }
}

async fn body_of(answer: HotAnswer) -> Result<String, Failure> {
    let mut body = answer.body;
    let mut whole = Vec::new();
    while let Some(piece) = timeout(SOON, body.next()).await.unwrap() {
        whole.extend_from_slice(&piece?);
    }
    Ok(String::from_utf8(whole).unwrap())
}

/// A runtime that has asked once.
async fn asking() -> (Rig, Runtime) {
    let mut rig = Rig::new().await;
    let mut runtime = rig.connect().await;
    runtime.ask().await;
    timeout(SOON, rig.initialised.take().unwrap()).await.unwrap().unwrap().unwrap();
    (rig, runtime)
}

/// A runtime that holds a call; its id and its caller.
async fn running() -> (Rig, Runtime, String, JoinHandle<Result<HotAnswer, LinkFault>>) {
    let (rig, mut runtime) = asking().await;
    let (id, call) = rig.call("hello");
    let (status, head, _) = runtime.answer().await;
    assert_eq!(status, 200);
    assert!(head.contains(&format!("lambda-runtime-aws-request-id: {id}\r\n")), "{head}");
    (rig, runtime, id, call)
}

async fn fault_of(call: JoinHandle<Result<HotAnswer, LinkFault>>) -> LinkFault {
    timeout(SOON, call).await.unwrap().unwrap().err().expect("a fault")
}

async fn answer_of(call: JoinHandle<Result<HotAnswer, LinkFault>>) -> HotAnswer {
    match timeout(SOON, call).await.unwrap().unwrap() {
        Ok(answer) => answer,
        Err(_) => panic!("no answer"),
    }
}

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
        ("GET", &format!("/2020-01-01/runtime/invocation/next"), 404, "NotFound"),
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
