//! The format against functions that are tasks of the test: sockets are real, sandboxes are not.

use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use picasso_sandbox::SocketFolder;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::*;
use crate::hot::conduct::Conduct;
use crate::hot::lease::Holder;
use crate::testing;

const SOON: Duration = Duration::from_secs(20);

fn folder(dir: &TempDir) -> SocketFolder {
    SocketFolder::new(std::fs::File::open(dir.path()).unwrap().into())
}

async fn not_ready(dir: &TempDir, within: Duration) -> String {
    match ready::socket(&folder(dir), SOCKET, within).await {
        Err(Failure::InitFailed { reason }) => reason,
        other => format!("{other:?}"),
    }
}

/// A socket that is bound and not listened on.
fn bound(path: &Path) -> std::os::fd::OwnedFd {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

#[tokio::test]
async fn a_socket_that_appears_late_is_found_when_it_is_linked_into_place() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(&dir);
    let waiting = ready::socket(&folder, SOCKET, SOON);
    let making = async {
        // Other names come and go before the right one does.
        std::fs::write(dir.path().join("other"), "").unwrap();
        let listener = UnixListener::bind(dir.path().join("made")).unwrap();
        tokio::task::yield_now().await;
        symlink("made", dir.path().join(SOCKET)).unwrap();
        listener
    };
    let (found, _listener) = tokio::join!(waiting, making);
    found.unwrap();
}

#[tokio::test]
async fn a_socket_is_waited_for_until_its_owner_listens() {
    let dir = tempfile::tempdir().unwrap();
    let socket = bound(&dir.path().join(SOCKET));
    let folder = folder(&dir);
    let waiting = tokio::spawn(async move { ready::socket(&folder, SOCKET, SOON).await.map(drop) });
    let refused = UnixStream::connect(dir.path().join(SOCKET)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    rustix::net::listen(&socket, 8).unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_found_instead_of_a_socket_is_told() {
    let brief = Duration::from_millis(50);
    let dir = || tempfile::tempdir().unwrap();
    let nothing = dir();
    assert_eq!(not_ready(&nothing, brief).await, "it made no socket lsnr.sock within 0.05 s");
    let dangling = dir();
    symlink("made", dangling.path().join(SOCKET)).unwrap();
    assert_eq!(not_ready(&dangling, brief).await, "it made no socket lsnr.sock within 0.05 s");
    let deaf = dir();
    let _socket = bound(&deaf.path().join(SOCKET));
    assert_eq!(not_ready(&deaf, brief).await, "it did not listen on its socket lsnr.sock within 0.05 s");
    let file = dir();
    std::fs::write(file.path().join(SOCKET), "").unwrap();
    assert_eq!(not_ready(&file, SOON).await, "lsnr.sock is not a socket");
}

#[tokio::test]
async fn a_link_out_of_the_folder_is_refused_at_once() {
    let host = tempfile::tempdir().unwrap();
    let planted = std::os::unix::net::UnixListener::bind(host.path().join("host.sock")).unwrap();
    planted.set_nonblocking(true).unwrap();
    let up = format!("../{}/host.sock", host.path().file_name().unwrap().display());
    for target in [host.path().join("host.sock"), up.into()] {
        let dir = tempfile::tempdir().unwrap();
        symlink(target, dir.path().join(SOCKET)).unwrap();
        let reason = not_ready(&dir, SOON).await;
        assert_eq!(reason, "lsnr.sock leads out of its folder; a link may only name a sibling");
    }
    assert_eq!(planted.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nobody has connected");
}

#[derive(Debug)]
struct Told(mpsc::UnboundedSender<bool>);

impl Holder for Told {
    fn returned(&self, kept: bool) {
        let _ = self.0.send(kept);
    }
}

/// A function whose connections the test takes by hand.
struct Function {
    listener: UnixListener,
    link: HttpStreamLink,
    told: mpsc::UnboundedReceiver<bool>,
    holder: Arc<Told>,
    conduct: Conduct,
    _dir: TempDir,
}

impl Function {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        let (socket, first) = ready::socket(&folder(&dir), SOCKET, SOON).await.unwrap();
        let conduct = Conduct::default();
        let connections = Arc::new(Connections::new(socket, first, conduct.clone()));
        let link = HttpStreamLink { connections, _stdin: Mutex::new(Box::pin(tokio::io::sink())) };
        let (sender, told) = mpsc::unbounded_channel();
        Self { listener, link, told, holder: Arc::new(Told(sender)), conduct, _dir: dir }
    }

    fn lease(&self) -> Lease {
        Lease::new(self.holder.clone())
    }

    async fn accept(&self) -> UnixStream {
        self.listener.accept().await.unwrap().0
    }

    /// One call, answered over `connection` with `bytes`.
    async fn call(&self, mut connection: UnixStream, bytes: &[u8]) -> Result<HotAnswer, LinkFault> {
        let serve = async {
            read_head(&mut connection).await.unwrap();
            connection.write_all(bytes).await.unwrap();
        };
        tokio::join!(self.link.call(hot_call(), self.lease()), serve).0
    }

    async fn kept(&mut self) -> bool {
        timeout(SOON, self.told.recv()).await.unwrap().unwrap()
    }
}

fn hot_call() -> HotCall {
    HotCall { invocation: testing::invocation("/a"), deadline: Instant::now() + SOON }
}

/// Reads a request's head; an error where the connection ends without one.
async fn read_head(connection: &mut UnixStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await?);
    }
    Ok(())
}

async fn text(answer: HotAnswer) -> String {
    let pieces: Vec<_> = answer.body.map(|piece| piece.unwrap()).collect().await;
    String::from_utf8(pieces.concat()).unwrap()
}

fn failure(outcome: Result<HotAnswer, LinkFault>) -> Failure {
    match outcome {
        Err(LinkFault::Failed(failure)) => failure,
        Err(LinkFault::BrokenOff(reason)) => Failure::BadAnswer { reason },
        Err(LinkFault::Unsent(_)) => Failure::NoCapacity,
        Err(LinkFault::Body(_)) => Failure::HungUp,
        Ok(answer) => Failure::Status { status: answer.status.as_u16() },
    }
}

#[tokio::test]
async fn an_answer_is_the_functions_own_status_headers_and_body() {
    let mut function = Function::new().await;
    let connection = function.accept().await;
    let bytes = b"HTTP/1.1 200 OK\r\nFn-Http-Status: 201\r\nFn-Http-H-Location: /x\r\n\
                  Content-Type: text/plain\r\nFn-Fdk-Version: test\r\nContent-Length: 2\r\n\r\nhi";
    let answer = function.call(connection, bytes).await.ok().unwrap();
    assert_eq!((answer.status, &answer.headers["location"]), (StatusCode::CREATED, &"/x".parse().unwrap()));
    assert_eq!(answer.headers["content-type"], "text/plain");
    assert_eq!(answer.headers.len(), 3, "{:?}", answer.headers);
    assert_eq!(text(answer).await, "hi");
    assert!(function.kept().await);
}

#[tokio::test]
async fn what_an_fdk_says_of_itself_decides_what_becomes_of_the_sandbox() {
    let timeout = Failure::Timeout { limit_s: 30 };
    let boom = Failure::FunctionError { error_type: "FunctionFailed".to_owned(), message: "boom".to_owned() };
    let fault = Failure::BadAnswer { reason: "its FDK answered with status 500".to_owned() };
    for (status, expected, kept) in [(502, boom, true), (504, timeout, true), (500, fault, false)] {
        let mut function = Function::new().await;
        let connection = function.accept().await;
        let bytes = format!("HTTP/1.1 {status} X\r\nContent-Length: 4\r\n\r\nboom");
        assert_eq!(failure(function.call(connection, bytes.as_bytes()).await), expected);
        assert_eq!(function.kept().await, kept, "{status}");
    }
}

/// A small server: answers every request on every connection, notes which connection it came over.
fn serve(listener: UnixListener) -> mpsc::UnboundedReceiver<usize> {
    let (sender, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((mut connection, _)) = listener.accept().await else { return };
            let sender = sender.clone();
            tokio::spawn(async move {
                while read_head(&mut connection).await.is_ok() {
                    let _ = sender.send(number);
                    let _ = connection.write_all(ANSWER).await;
                }
            });
        }
    });
    requests
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

#[tokio::test]
async fn connections_are_used_again_and_each_rests_meanwhile() {
    let Function { listener, link, mut told, holder, _dir, .. } = Function::new().await;
    let mut requests = serve(listener);
    let mut used = Vec::new();
    for _ in 0..40 {
        let answer = link.call(hot_call(), Lease::new(holder.clone())).await.ok().unwrap();
        assert_eq!(text(answer).await, "hi");
        assert_eq!(timeout(SOON, told.recv()).await.unwrap(), Some(true));
        used.push(requests.recv().await.unwrap());
    }
    let different: std::collections::BTreeSet<_> = used.iter().collect();
    assert!(different.len() <= 12, "{used:?}");
    assert!(used.windows(2).all(|pair| pair[0] != pair[1]), "used at once again: {used:?}");
}

#[tokio::test]
async fn a_connection_that_its_answer_closes_is_not_used_again() {
    for head in ["HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", "HTTP/1.0 200 OK\r\n"] {
        let mut function = Function::new().await;
        let connection = function.accept().await;
        let bytes = format!("{head}Content-Length: 2\r\n\r\nhi");
        let answer = function.call(connection, bytes.as_bytes()).await.ok().unwrap();
        assert_eq!(text(answer).await, "hi");
        assert!(function.kept().await);
        assert!(!function.link.connections.is_resting(), "{head}");
    }
}

#[tokio::test]
async fn a_second_answer_is_found_where_nobody_listens_and_costs_the_sandbox_its_place() {
    let mut function = Function::new().await;
    let (mut first, call) = (function.accept().await, function.link.call(hot_call(), function.lease()));
    tokio::select! {
        _ = call => panic!("nobody has answered"),
        read = read_head(&mut first) => read.unwrap(),
    }
    // The caller has left; its answer is read for nobody, and more follows it.
    first.write_all(ANSWER).await.unwrap();
    assert!(function.kept().await);
    first.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate").await.unwrap();
    function.link.connections.end_rest();
    let outcome = function.link.call(hot_call(), function.lease()).await;
    assert!(matches!(outcome, Err(LinkFault::Unsent(_))), "another sandbox may take the call");
    assert!(!function.kept().await);
    assert!(function.conduct.said_more());
}

#[tokio::test]
async fn a_function_that_said_more_once_gets_a_connection_for_each_call() {
    let Function { listener, link, mut told, holder, conduct, _dir } = Function::new().await;
    let mut requests = serve(listener);
    for number in 0..20 {
        if number == 1 {
            // Another sandbox did, while the first connection of this one is at rest.
            assert!(link.connections.is_resting());
            link.connections.end_rest();
            conduct.note_said_more();
        }
        let answer = link.call(hot_call(), Lease::new(holder.clone())).await.ok().unwrap();
        assert_eq!(text(answer).await, "hi");
        assert_eq!(timeout(SOON, told.recv()).await.unwrap(), Some(true));
        assert_eq!(requests.recv().await, Some(number));
    }
}

#[tokio::test]
async fn bytes_that_come_before_a_request_reach_nobody_and_end_the_sandbox() {
    let mut function = Function::new().await;
    let mut early = function.accept().await;
    early.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").await.unwrap();
    let outcome = function.link.call(hot_call(), function.lease()).await;
    assert_eq!(failure(outcome), spoke_unasked());
    assert!(!function.kept().await);
}

#[tokio::test]
async fn a_connection_that_its_server_gave_up_is_replaced() {
    let mut function = Function::new().await;
    drop(function.accept().await);
    let serve = async {
        let mut connection = function.accept().await;
        read_head(&mut connection).await.unwrap();
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
    };
    let (answer, ()) = tokio::join!(function.link.call(hot_call(), function.lease()), serve);
    assert_eq!(text(answer.ok().unwrap()).await, "hi");
    assert!(function.kept().await);
}

#[tokio::test]
async fn a_function_whose_socket_vanished_is_not_given_the_call() {
    let Function { listener, link, mut told, holder, _dir, .. } = Function::new().await;
    drop(listener);
    let outcome = link.call(hot_call(), Lease::new(holder)).await;
    assert!(matches!(outcome, Err(LinkFault::Unsent(_))));
    assert_eq!(told.recv().await, Some(false));
}
