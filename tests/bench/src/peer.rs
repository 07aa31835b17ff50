//! The floor of every warm call: the function as an ordinary process of this machine, behind a
//! bare hyper proxy that does nothing but pass requests and answers on.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use picasso_testkit::process::{Process, TestDir, free_port};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Mutex;

use crate::stage::Fault;

/// The word by which this program becomes the proxy.
pub const PROXY: &str = "proxy";

/// The function and the proxy, both ended on drop.
pub struct Peer {
    /// The function's socket.
    pub socket: PathBuf,
    port: u16,
    _function: Process,
    _proxy: Process,
    _dir: TestDir,
}

impl Peer {
    /// Starts the function and this program's own proxy before it.
    pub async fn start(function: &Path) -> Result<Self, Fault> {
        let dir = TestDir::new("peer")?;
        let socket = dir.path().join("lsnr.sock");
        let mut command = Command::new(function);
        command.env("FN_LISTENER", format!("unix:{}", socket.display())).env("FN_FORMAT", "http-stream");
        let mut function = Process::spawn("function", dir.path(), command)?;
        let there = || async { UnixStream::connect(&socket).await.is_ok() };
        function.ready(Duration::from_secs(10), "its socket", there).await?;
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(PROXY).arg(port.to_string()).arg(&socket);
        let mut proxy = Process::spawn("proxy", dir.path(), command)?;
        let there = || async { TcpStream::connect(("127.0.0.1", port)).await.is_ok() };
        proxy.ready(Duration::from_secs(10), "its port", there).await?;
        Ok(Self { socket, port, _function: function, _proxy: proxy, _dir: dir })
    }

    /// The proxy's URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/call", self.port)
    }
}

type Sender = hyper::client::conn::http1::SendRequest<BoxBody<Bytes, hyper::Error>>;

/// Idle connections to the function.
#[derive(Debug, Clone)]
struct Idle {
    socket: Arc<PathBuf>,
    senders: Arc<Mutex<Vec<Sender>>>,
}

/// Listens on `port` of loopback and passes every request on to the function at `socket`; runs
/// until it is ended.
pub async fn proxy(port: u16, socket: PathBuf) -> std::io::Result<Infallible> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let idle = Idle { socket: Arc::new(socket), senders: Arc::default() };
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let idle = idle.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| async {
                let answer = pass(&idle, request).await;
                Ok::<_, Infallible>(answer.unwrap_or_else(|_| bad_gateway()))
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn pass(
    idle: &Idle,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Fault> {
    let mut sender = match idle.senders.lock().await.pop() {
        Some(sender) => sender,
        None => {
            let stream = UnixStream::connect(&*idle.socket).await?;
            let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            sender
        }
    };
    let (head, body) = request.into_parts();
    let mut onward = Request::new(body.boxed());
    *onward.method_mut() = Method::POST;
    *onward.uri_mut() = hyper::Uri::from_static("/call");
    *onward.headers_mut() = head.headers;
    sender.ready().await?;
    let answer = sender.send_request(onward).await?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await?;
    idle.senders.lock().await.push(sender);
    Ok(Response::from_parts(head, body.map_err(|never| match never {}).boxed()))
}

fn bad_gateway() -> Response<BoxBody<Bytes, hyper::Error>> {
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}
