//! The Runtime API over a real listener, spoken to with raw requests: what a runtime may do, what
//! it may not, and what its caller gets either way.

mod life;
mod requests;
mod streams;

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
    let Ok(answer) = timeout(SOON, call).await.unwrap().unwrap() else { panic!("no answer") };
    answer
}
