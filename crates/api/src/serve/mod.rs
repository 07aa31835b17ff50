//! Taking connections, bounding them, and ending them well.
//!
//! hyper is used directly because the bounds that matter against strangers - time and size of a
//! request's head, number of connections, a head that contradicts itself about where the request
//! ends - are only visible here.

mod connection;
mod framing;
mod linger;
mod tls;

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::join_all;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use connection::{Connections, Link};
pub use tls::{ServerTls, TlsFault};

/// Bounds of one listener.
#[derive(Debug, Clone)]
pub struct ServeLimits {
    /// What the listener is called in metrics and logs (`api`, `functions`, `admin`).
    pub name: &'static str,
    /// Connections at one time; further ones are closed at once.
    pub max_connections: usize,
    /// How long a request's head may take, also the next one's on a kept connection.
    pub header_timeout: Duration,
    /// Largest head of a request, bytes, at least 8192.
    pub max_header_bytes: usize,
    /// Most headers of one request.
    pub max_headers: usize,
    /// How long running requests may go on after the shutdown began.
    pub grace: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            name: "api",
            max_connections: 4096,
            header_timeout: Duration::from_secs(15),
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            grace: Duration::from_secs(30),
        }
    }
}

/// Serves `router` on a TCP listener until `shutdown`; returns when all connections are done or
/// the time of grace is over.
pub async fn serve_tcp(
    listener: TcpListener,
    router: Router,
    limits: ServeLimits,
    shutdown: CancellationToken,
) {
    serve(Tcp(listener), None, router, limits, shutdown).await;
}

/// A listening socket.
#[derive(Debug)]
pub enum Socket {
    /// Of TCP.
    Tcp(TcpListener),
    /// Of this machine.
    Unix(UnixListener),
}

/// Where one face is reached.
#[derive(Debug)]
pub struct FaceListener {
    /// Its sockets; the bounds hold for each of them.
    pub sockets: Vec<Socket>,
    /// TLS (1.2 or newer) on those of TCP.
    pub tls: Option<Arc<ServerTls>>,
}

impl FaceListener {
    /// The addresses of its TCP sockets.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let address = |socket: &Socket| match socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(_) => None,
        };
        self.sockets.iter().filter_map(address).collect()
    }
}

/// Serves `router` on all sockets of a face, as [`serve_tcp`] and [`serve_unix`] do on one.
pub async fn serve_face(
    face: FaceListener,
    router: Router,
    limits: ServeLimits,
    shutdown: CancellationToken,
) {
    let FaceListener { sockets, tls } = face;
    let all = sockets.into_iter().map(|socket| {
        let (router, limits, shutdown) = (router.clone(), limits.clone(), shutdown.clone());
        let tls = tls.clone();
        async move {
            match socket {
                Socket::Tcp(listener) => serve(Tcp(listener), tls, router, limits, shutdown).await,
                Socket::Unix(listener) => {
                    serve_unix(listener, UnixPeers::All, router, limits, shutdown).await;
                }
            }
        }
    });
    join_all(all).await;
}

/// Who is answered on a Unix socket, beside what the permissions of its file say.
#[derive(Debug, Clone)]
pub enum UnixPeers {
    /// Everybody who can connect.
    All,
    /// Users with one of these ids; the kernel says who they are.
    Users(Vec<u32>),
}

/// Serves `router` on a Unix socket until `shutdown`.
pub async fn serve_unix(
    listener: UnixListener,
    peers: UnixPeers,
    router: Router,
    limits: ServeLimits,
    shutdown: CancellationToken,
) {
    serve(Unix { listener, peers, name: limits.name }, None, router, limits, shutdown).await;
}

/// Where connections come from.
trait Source: Send + Sync {
    type Link: Link;

    /// The next connection and its other end's address, where that has one; `None` for one that
    /// was refused.
    fn accept(&self) -> impl Future<Output = io::Result<Option<(Self::Link, Option<IpAddr>)>>> + Send;
}

struct Tcp(TcpListener);

impl Source for Tcp {
    type Link = TcpStream;

    async fn accept(&self) -> io::Result<Option<(TcpStream, Option<IpAddr>)>> {
        let (stream, peer) = self.0.accept().await?;
        // Small answers must not wait for the peer's acknowledgement.
        stream.set_nodelay(true)?;
        Ok(Some((stream, Some(peer.ip().to_canonical()))))
    }
}

struct Unix {
    listener: UnixListener,
    peers: UnixPeers,
    name: &'static str,
}

impl Source for Unix {
    type Link = UnixStream;

    async fn accept(&self) -> io::Result<Option<(UnixStream, Option<IpAddr>)>> {
        let (stream, _) = self.listener.accept().await?;
        let UnixPeers::Users(users) = &self.peers else { return Ok(Some((stream, None))) };
        let user = stream.peer_cred()?.uid();
        if users.contains(&user) {
            return Ok(Some((stream, None)));
        }
        tracing::warn!(listener = self.name, user, "a user without the right to it was refused");
        Ok(None)
    }
}

async fn serve(
    source: impl Source,
    tls: Option<Arc<ServerTls>>,
    router: Router,
    limits: ServeLimits,
    shutdown: CancellationToken,
) {
    let open = Arc::new(Semaphore::new(limits.max_connections));
    let graceful = GracefulShutdown::new();
    let connections = Connections::new(router, tls, &limits, shutdown.clone());
    loop {
        let accepted = tokio::select! {
            accepted = source.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok(Some((link, peer))) => match open.clone().try_acquire_owned() {
                Ok(place) => connections.spawn(link, peer, place, &graceful),
                Err(_) => {
                    metrics::counter!("picasso_http_connections_refused_total", "face" => limits.name)
                        .increment(1);
                }
            },
            Ok(None) => {}
            Err(error) => pause_after(&error, limits.name, &shutdown).await,
        }
    }
    if tokio::time::timeout(limits.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!(listener = limits.name, "connections did not finish in time and are closed");
    }
    connections.close();
}

/// A connection that broke before it was taken is nothing; a process without free descriptors
/// would spin.
async fn pause_after(error: &io::Error, listener: &'static str, shutdown: &CancellationToken) {
    let ours_to_wait_out = !matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    );
    if ours_to_wait_out {
        tracing::warn!(listener, error = error as &dyn std::error::Error, "no connection could be taken");
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
            () = shutdown.cancelled() => {}
        }
    }
}
