//! One connection: HTTP/1.1 with its bounds, the check of each head, and its end.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::framing::{Heads, Watched};
use super::{ServeLimits, ServerTls};
use crate::request::layer::AmbiguousHead;
use crate::request::origin::{Encrypted, Peer};

/// A byte stream of a listener.
pub(crate) trait Link: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Link for T {}

/// Starts the connections of one listener.
pub(crate) struct Connections {
    router: Router,
    tls: Option<Arc<ServerTls>>,
    http: http1::Builder,
    name: &'static str,
    handshake_timeout: Duration,
    stopping: CancellationToken,
    closing: CancellationToken,
}

impl Connections {
    /// `stopping` ends what has not sent a request yet.
    pub(crate) fn new(
        router: Router,
        tls: Option<Arc<ServerTls>>,
        limits: &ServeLimits,
        stopping: CancellationToken,
    ) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_headers(limits.max_headers)
            .max_header_size(limits.max_header_bytes)
            // hyper's smallest buffer is 8 KiB; the head has to fit into it.
            .max_buf_size(limits.max_header_bytes.max(8192))
            // A caller that closed its side has hung up: the call ends.
            .half_close(false);
        Self {
            router,
            tls,
            http,
            name: limits.name,
            handshake_timeout: limits.header_timeout,
            stopping,
            closing: CancellationToken::new(),
        }
    }

    /// Runs a connection in a task of its own; `place` is free again when it ends.
    pub(crate) fn spawn<L: Link>(
        &self,
        link: L,
        peer: Option<IpAddr>,
        place: OwnedSemaphorePermit,
        graceful: &GracefulShutdown,
    ) {
        let served = Served {
            router: self.router.clone(),
            peer: peer.map(Peer),
            http: self.http.clone(),
            name: self.name,
            watcher: graceful.watcher(),
        };
        let acceptor = self.tls.as_ref().map(|tls| tls.acceptor());
        let (name, closing) = (self.name, self.closing.clone());
        let (patience, stopping) = (self.handshake_timeout, self.stopping.clone());
        tokio::spawn(async move {
            metrics::gauge!("picasso_http_connections", "face" => name).increment(1.0);
            let exchange = async {
                let Some(acceptor) = acceptor else { return served.run(link, false).await };
                let handshake = tokio::time::timeout(patience, acceptor.accept(link));
                let shaken = tokio::select! {
                    shaken = handshake => shaken,
                    () = stopping.cancelled() => return,
                };
                match shaken {
                    Ok(Ok(link)) => served.run(link, true).await,
                    Ok(Err(error)) => {
                        tracing::debug!(
                            listener = name,
                            error = &error as &dyn std::error::Error,
                            "no TLS connection came about"
                        );
                    }
                    Err(_) => tracing::debug!(listener = name, "a TLS handshake took too long"),
                }
            };
            tokio::select! {
                () = exchange => {}
                () = closing.cancelled() => {}
            }
            metrics::gauge!("picasso_http_connections", "face" => name).decrement(1.0);
            drop(place);
        });
    }

    /// Ends what is still open.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }
}

/// What an accepted connection is served with.
struct Served {
    router: Router,
    peer: Option<Peer>,
    http: http1::Builder,
    name: &'static str,
    watcher: Watcher,
}

impl Served {
    async fn run<L: Link>(self, link: L, encrypted: bool) {
        let heads = Heads::default();
        let service = Checked { router: self.router, heads: heads.clone(), peer: self.peer, encrypted };
        let connection = self.http.serve_connection(TokioIo::new(Watched::new(link, heads)), service);
        if let Err(error) = self.watcher.watch(connection).await {
            // Strangers cause most of these: broken requests, lost peers, aborted answers.
            let error = &error as &dyn std::error::Error;
            tracing::debug!(listener = self.name, error, "connection ended");
        }
    }
}

/// The router behind the check of each head.
struct Checked {
    router: Router,
    heads: Heads,
    peer: Option<Peer>,
    encrypted: bool,
}

impl Service<Request<Incoming>> for Checked {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        if self.heads.next_is_ambiguous() {
            request.extensions_mut().insert(AmbiguousHead);
        }
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(peer);
        }
        if self.encrypted {
            request.extensions_mut().insert(Encrypted);
        }
        Box::pin(self.router.clone().oneshot(request))
    }
}
