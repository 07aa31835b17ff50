//! The format against servers that are tasks of the test: connections are real, sandboxes are not.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::StreamExt;
use picasso_sandbox::{Dial, SandboxError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::*;
use crate::hot::lease::Holder;
use crate::testing;

const SOON: Duration = Duration::from_secs(20);

/// Makes sockets where the test itself is.
#[derive(Debug)]
struct Here;

#[async_trait]
impl Dial for Here {
    async fn socket(&self) -> Result<TcpSocket, SandboxError> {
        let failed = |error: std::io::Error| SandboxError::Failed {
            context: String::new(),
            reason: error.to_string(),
        };
        TcpSocket::new_v4().map_err(failed)
    }
}

#[derive(Debug)]
struct Told(mpsc::UnboundedSender<bool>);

impl Holder for Told {
    fn returned(&self, kept: bool) {
        let _ = self.0.send(kept);
    }
}

struct Server {
    listener: TcpListener,
    link: HttpServerLink,
    told: mpsc::UnboundedReceiver<bool>,
    holder: Arc<Told>,
}

impl Server {
    async fn new(one_at_a_time: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialer = Dialer::new(Arc::new(Here), listener.local_addr().unwrap().port());
        let (sender, told) = mpsc::unbounded_channel();
        let link = HttpServerLink { dialer, one_at_a_time };
        Self { listener, link, told, holder: Arc::new(Told(sender)) }
    }

    fn lease(&self) -> Lease {
        Lease::new(self.holder.clone())
    }

    async fn accept(&self) -> TcpStream {
        let mut connection = self.listener.accept().await.unwrap().0;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.read_u8().await.unwrap());
        }
        connection
    }

    async fn kept(&mut self) -> bool {
        timeout(SOON, self.told.recv()).await.unwrap().unwrap()
    }

    /// A call whose caller leaves once the server has read it.
    async fn left(&self) -> TcpStream {
        tokio::select! {
            _ = self.link.call(hot_call(), self.lease()) => panic!("nobody has answered"),
            connection = self.accept() => connection,
        }
    }
}

fn hot_call() -> HotCall {
    HotCall { invocation: testing::invocation("/a"), deadline: Instant::now() + SOON }
}

const ANSWER: &[u8] =
    b"HTTP/1.1 404 Not Found\r\nConnection: x-gone\r\nX-Gone: 1\r\nContent-Length: 2\r\n\r\nhi";

#[tokio::test]
async fn a_server_that_listens_late_is_waited_for_and_one_that_never_does_is_told_of() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let dialer = Dialer::new(Arc::new(Here), address.port());
    let outcome = ready::wait(&dialer, PORT, Duration::from_millis(50)).await;
    let reason = "it did not listen on 0.0.0.0:8080 ($PORT) within 0.05 s".to_owned();
    assert_eq!(outcome, Err(Failure::InitFailed { reason }));
    let listening = async {
        assert_eq!(dialer.connect().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        TcpListener::bind(address).await.unwrap()
    };
    let (outcome, _listener) = tokio::join!(ready::wait(&dialer, PORT, SOON), listening);
    outcome.unwrap();
}

#[tokio::test]
async fn an_answer_is_the_servers_own_and_its_connection_ends_by_a_reset() {
    let mut server = Server::new(true).await;
    let serve = async {
        let mut connection = server.accept().await;
        connection.write_all(ANSWER).await.unwrap();
        connection
    };
    let (answer, mut connection) = tokio::join!(server.link.call(hot_call(), server.lease()), serve);
    let answer = answer.ok().unwrap();
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.headers.len(), 1, "{:?}", answer.headers);
    let pieces: Vec<_> = answer.body.map(|piece| piece.unwrap()).collect().await;
    assert_eq!(pieces.concat(), b"hi");
    assert!(server.kept().await);
    // A reset leaves no port waiting on either side.
    assert_eq!(connection.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn alone_in_its_sandbox_a_call_whose_caller_left_may_finish() {
    let mut server = Server::new(true).await;
    let mut connection = server.left().await;
    connection.write_all(ANSWER).await.unwrap();
    assert!(server.kept().await);
}

#[tokio::test]
async fn beside_others_a_call_whose_caller_left_closes_its_connection_and_condemns_the_sandbox() {
    let mut server = Server::new(false).await;
    let mut connection = server.left().await;
    assert!(!server.kept().await);
    assert_eq!(connection.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_server_that_is_gone_is_not_given_the_call() {
    let Server { listener, link, mut told, holder } = Server::new(true).await;
    drop(listener);
    assert!(matches!(link.call(hot_call(), Lease::new(holder)).await, Err(LinkFault::Unsent(_))));
    assert_eq!(told.recv().await, Some(false));
}
